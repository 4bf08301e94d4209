//! A whole root from small packages: what goes in, what stays out, and that the same inputs give the same root.

use nodeimg_cache::Cache;
use nodeimg_contract::image::{Role, RootManifest};
use nodeimg_progress::{Outcome, Progress};
use nodeimg_tree::{
    Assembled, Deb, Entry, Kind, NodeProgram, Part, RootError, RootInputs, RootTree, ToolsTree, TreePath,
    root,
};
use std::fs;
use std::path::{Path, PathBuf};

/// Stands in for depmod: lists the modules that it is shown. `$2` is the folder, `$3` the release.
const DEPMOD: &[u8] = b"#!/bin/sh\ncd \"$2/lib/modules/$3\" || exit 1\n\
    find kernel -type f | sort > modules.dep\n: > modules.symbols\n";

type File<'a> = (&'a str, u32, &'a [u8]);

fn deb(folder: &Path, name: &str, files: &[File]) -> Deb {
    let mut builder = tar::Builder::new(vec![]);
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        if let Some(target) = path.split_once(" -> ").map(|(_, t)| t) {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name(target).expect("target");
        }
        header.set_size(content.len() as u64);
        let path = path.split(" -> ").next().expect("path");
        builder.append_data(&mut header, path, *content).expect("append");
    }
    let data = builder.into_inner().expect("tar");
    let mut out = b"!<arch>\n".to_vec();
    for (member, bytes) in [("debian-binary", &b"2.0\n"[..]), ("data.tar", &data)] {
        out.extend(format!("{member:<48}{:<10}`\n", bytes.len()).bytes());
        out.extend(bytes);
    }
    let path = folder.join(name);
    fs::write(&path, &out).expect("write");
    let sha256 = nodeimg_cache::sha256_file(&path).expect("digest");
    Deb { name: name.into(), sha256, path }
}

struct Project {
    dir: tempfile::TempDir,
    tools: Vec<Deb>,
    image: Vec<Deb>,
    exclude: Vec<String>,
    overlays: Vec<PathBuf>,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temp folder");
        let at = dir.path();
        let tools = vec![deb(at, "kmod", &[("sbin/depmod", 0o755, DEPMOD)])];
        let kernel = deb(
            at,
            "linux-image",
            &[
                ("boot/vmlinuz-6.12", 0o644, b"kernel"),
                ("usr/lib/modules/6.12/kernel/net/bridge/bridge.ko.xz", 0o644, b"bridge"),
                ("usr/lib/modules/6.12/kernel/sound/snd.ko.xz", 0o644, b"sound"),
                ("usr/lib/modules/6.12/modules.order", 0o644, b"order"),
            ],
        );
        let base = deb(
            at,
            "base",
            &[
                ("bin/mount", 0o4755, b"mount"),
                ("usr/share/man/man8/mount.8.gz", 0o644, b"page"),
                ("var/lib/base/state", 0o644, b"state"),
                ("usr/lib/os-release", 0o644, b"ID=debian\n"),
                ("usr/bin/sh -> mount", 0o777, b""),
            ],
        );
        for (name, content) in [("nodeinit", "nodeinit"), ("kubelet", "kubelet")] {
            fs::write(at.join(name), content).expect("write");
        }
        for (name, content) in
            [("over/etc/motd", "hello"), ("flannel/addon.toml", "name"), ("pods/x.yaml", "pod")]
        {
            let path = at.join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, content).expect("write");
        }
        let overlays = vec![at.join("over")];
        Self { tools, image: vec![base, kernel], exclude: vec![], overlays, dir }
    }

    fn assemble(&self, cache: &str, progress: &Progress) -> Result<(Assembled, Cache), RootError> {
        let at = self.dir.path();
        let cache = Cache::open(at.join(cache)).expect("cache");
        let (tools, _) = ToolsTree::from_debs(&cache, &self.tools).expect("tools");
        let mut store = RootTree::new();
        let blob = TreePath::parse("usr/lib/nodeimg/store/store.json").expect("path");
        store.insert(blob, Entry::file(*b"{}", 0o644, Part::Images));
        let assembled = root::assemble(RootInputs {
            cache: &cache,
            tools: &tools,
            packages: &self.image,
            exclude: &self.exclude,
            programs: &[NodeProgram { file: &at.join("kubelet"), to: "/usr/bin/kubelet" }],
            nodeinit: &at.join("nodeinit"),
            store: &store,
            addons: &[("flannel".into(), at.join("flannel"))],
            static_pods: Some(&at.join("pods")),
            overlays: &self.overlays,
            manifest: &manifest(),
            progress,
        })?;
        Ok((assembled, cache))
    }
}

fn manifest() -> RootManifest {
    RootManifest {
        schema: 1,
        profile: "cplane".into(),
        role: Role::ControlPlane,
        source_date_epoch: 1,
        suite: "trixie".into(),
        kernel: String::new(),
        kubernetes: "1.36.3".into(),
        image_repository: "nodeimg.invalid/k8s".into(),
        image_tags: Default::default(),
        versions: Default::default(),
        nodeinit: "0".repeat(64),
        addons: vec!["flannel".into()],
    }
}

fn read(tree: &RootTree, path: &str) -> Option<String> {
    let content = tree.resolve(&TreePath::parse(path).expect("path"))?;
    Some(String::from_utf8(content.read().expect("bytes")).expect("text"))
}

#[test]
fn a_root_holds_what_a_node_needs_and_nothing_else() {
    let project = Project::new();
    let (root, _) = project.assemble("cache", &Progress::silent()).expect("root");
    let tree = &root.tree;
    let read = |path: &str| read(tree, path);
    assert_eq!((root.kernel.release.as_str(), root.manifest.kernel.as_str()), ("6.12", "6.12"));
    assert_eq!(root.kernel.vmlinuz.read().expect("kernel"), b"kernel");
    for (path, content) in [
        ("usr/bin/mount", "mount"),
        ("bin/mount", "mount"),
        ("sbin/init", "nodeinit"),
        ("usr/bin/kubelet", "kubelet"),
        ("etc/motd", "hello"),
        ("usr/lib/nodeimg/addons/flannel/addon.toml", "name"),
        ("usr/lib/nodeimg/static-pods/x.yaml", "pod"),
        ("usr/lib/nodeimg/store/store.json", "{}"),
        ("usr/lib/modules/6.12/modules.dep", "kernel/net/bridge/bridge.ko.xz\n"),
        ("usr/lib/modules/6.12/modules.order", "order"),
    ] {
        assert_eq!(read(path).as_deref(), Some(content), "{path}");
    }
    let baked: RootManifest =
        serde_json::from_str(&read("usr/lib/nodeimg/root.json").expect("root.json")).expect("JSON");
    assert_eq!(baked, root.manifest);
    for gone in ["boot/vmlinuz-6.12", "var/lib", "usr/share/man", "usr/lib/modules/6.12/modules.symbols"] {
        assert!(tree.get(&TreePath::parse(gone).expect("path")).is_none(), "{gone}");
    }
    assert!(tree.iter().all(|(_, e)| e.mode & 0o6000 == 0 || e.kind == Kind::Dir));
}

#[test]
fn the_same_inputs_give_the_same_root_and_the_second_comes_from_the_cache() {
    let project = Project::new();
    let digest = |(root, cache): (Assembled, Cache)| root.tree.digest(&cache).expect("digest");
    let first = digest(project.assemble("one", &Progress::silent()).expect("root"));
    assert_eq!(digest(project.assemble("two", &Progress::silent()).expect("root")), first);
    let progress = Progress::silent();
    assert_eq!(digest(project.assemble("one", &progress).expect("root")), first);
    let outcomes: Vec<Outcome> = progress.finished().into_iter().map(|f| f.outcome).collect();
    assert_eq!(outcomes, [Outcome::Cached]);
    fs::write(project.dir.path().join("over/etc/motd"), "other").expect("write");
    assert_ne!(digest(project.assemble("one", &Progress::silent()).expect("root")), first);
}

#[test]
fn what_is_wrong_is_named() {
    let fails =
        |project: &Project| project.assemble("cache", &Progress::silent()).expect_err("refused").to_string();
    let mut project = Project::new();
    project.image.pop();
    assert!(fails(&project).contains("linux-image-amd64"));
    let mut project = Project::new();
    project.exclude.push("usr/[".into());
    assert!(fails(&project).contains("\"usr/[\""));
    let mut project = Project::new();
    project.overlays.push(project.dir.path().join("nowhere"));
    assert!(fails(&project).contains("nowhere"));
    let mut project = Project::new();
    let failing: &[File] = &[("sbin/depmod", 0o755, b"#!/bin/sh\necho no memory >&2\nexit 1\n")];
    project.tools = vec![deb(project.dir.path(), "kmod", failing)];
    assert!(fails(&project).contains("no memory"));
}

#[test]
fn the_tools_tree_says_what_it_lacks() {
    let project = Project::new();
    let cache = Cache::open(project.dir.path().join("cache")).expect("cache");
    let (tools, _) = ToolsTree::from_debs(&cache, &project.tools).expect("tools");
    assert!(tools.command("depmod").is_ok() && tools.path("sbin/depmod").is_ok());
    let error = tools.command("mkfs.erofs").expect_err("missing").to_string();
    assert!(error.contains("\"mkfs.erofs\"") && error.contains("--update"), "{error}");
    assert!(tools.go().is_err() && tools.command("../sbin/depmod").is_err());
}
