//! A control group of its own for each node, in whatever hierarchies the host has.
//!
//! Takes the lab's and the node's names. Gives open `cgroup.procs` files for the node's first process, and what has to
//! be mounted inside. May touch: groups below `nodeimg-lab` in each hierarchy, and on cgroup v2 the controllers that
//! the host's root group gives to its children.

use nodeimg_contract::machine::Cgroups;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Name of the group that holds all labs.
const OURS: &str = "nodeimg-lab";
/// Controllers that the kubelet wants.
const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// How long the kernel may take to let go of an ended process.
const EMPTY_LIMIT: Duration = Duration::from_secs(10);

/// One hierarchy of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Where the host has it.
    mount: PathBuf,
    /// Mount options that name it (`cpu,cpuacct`); empty for v2.
    pub(crate) options: String,
}

/// The host's hierarchies that a node takes part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    /// Their version.
    pub(crate) version: Cgroups,
    /// v1: one for each controller; v2: the one.
    pub(crate) all: Vec<Hierarchy>,
}

impl Hierarchies {
    /// Of this host.
    pub(crate) fn of_this_host() -> io::Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let v2_has = |mount: &Path| {
            std::fs::read_to_string(mount.join("cgroup.controllers"))
                .is_ok_and(|t| NEEDED.iter().all(|n| t.split_whitespace().any(|c| c == *n)))
        };
        parse(&mounts, &v2_has)
            .ok_or_else(|| io::Error::other("the host has neither cgroup v2 nor v1 mounted"))
    }

    /// Makes a node's group everywhere and opens its `cgroup.procs` files.
    pub(crate) fn open(&self, lab: &str, node: &str) -> io::Result<Vec<File>> {
        self.all.iter().map(|h| self.open_one(h, &[OURS, lab, node])).collect()
    }

    fn open_one(&self, hierarchy: &Hierarchy, path: &[&str]) -> io::Result<File> {
        let mut folder = hierarchy.mount.clone();
        for name in path {
            if self.version == Cgroups::V2 {
                for controller in NEEDED {
                    std::fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"))?;
                }
            }
            let parent = folder.clone();
            folder.push(name);
            match std::fs::create_dir(&folder) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            // A cpuset of v1 is born empty, and nothing can run in it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if self.version == Cgroups::V1 && folder.join(file).exists() {
                    std::fs::write(folder.join(file), std::fs::read(parent.join(file))?)?;
                }
            }
        }
        OpenOptions::new().write(true).open(folder.join("cgroup.procs"))
    }

    /// Removes a node's groups, or with no node a lab's. Their processes have ended.
    pub(crate) fn remove(&self, lab: &str, node: Option<&str>) {
        for hierarchy in &self.all {
            let mut folder = hierarchy.mount.join(OURS).join(lab);
            folder.extend(node);
            let until = Instant::now() + EMPTY_LIMIT;
            while folder.exists() && !remove_tree(&folder) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
            if node.is_none() {
                let _ = std::fs::remove_dir(hierarchy.mount.join(OURS));
            }
        }
    }
}

/// Groups are removed from the leaves; their files go with them.
fn remove_tree(folder: &Path) -> bool {
    if let Ok(entries) = std::fs::read_dir(folder) {
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
            remove_tree(&entry.path());
        }
    }
    std::fs::remove_dir(folder).is_ok()
}

/// Reads mounts(5) lines. `v2_has`: whether the v2 hierarchy mounted there has the controllers that are needed.
fn parse(mounts: &str, v2_has: &dyn Fn(&Path) -> bool) -> Option<Hierarchies> {
    const CONTROLLERS: [&str; 13] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls",
        "net_prio",
        "perf_event",
        "rdma",
    ];
    let fields = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    let mut v1 = Vec::new();
    for field in fields {
        let [_, mount, kind, options, ..] = field.as_slice() else { continue };
        match *kind {
            "cgroup2" if v2_has(Path::new(mount)) => {
                let all = vec![Hierarchy { mount: mount.into(), options: String::new() }];
                return Some(Hierarchies { version: Cgroups::V2, all });
            }
            "cgroup" => {
                let options: Vec<_> = options.split(',').filter(|o| CONTROLLERS.contains(o)).collect();
                let known = v1.iter().any(|h: &Hierarchy| h.options == options.join(","));
                if !options.is_empty() && !known {
                    v1.push(Hierarchy { mount: mount.into(), options: options.join(",") });
                }
            }
            _ => {}
        }
    }
    (!v1.is_empty()).then_some(Hierarchies { version: Cgroups::V1, all: v1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hosts_are_v1_and_pure_ones_v2() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
            cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = parse(hybrid, &|_| false).expect("hierarchies");
        assert_eq!((found.version, found.all.len()), (Cgroups::V1, 1));
        assert_eq!(found.all[0].options, "cpu,cpuacct");
        let pure = parse("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", &|_| true).expect("hierarchies");
        assert_eq!(pure.version, Cgroups::V2);
        assert_eq!(parse("", &|_| true), None);
    }
}
