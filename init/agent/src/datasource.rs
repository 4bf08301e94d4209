//! Where a node's seed comes from: reads each datasource, gives documents. What they mean is decided elsewhere.
//!
//! Takes [`Sources`] (a node's own places, or others for tests), gives the first seed that is there, whole, with the
//! names of those that came later. May touch: block devices (reads), a read-only mount below `/run/nodeimg`, the
//! network (the remote round). Absent is not failed: `Ok(None)` says that nobody has a seed. The caller keeps looking.
//!
//! Order (DESIGN): command line, SMBIOS, NoCloud disk, folder baked by the profile; then, with a network, NoCloud URL.
//! NoCloud's words `h` and `i` stand over the meta-data of whichever NoCloud seed is found, as in cloud-init.

mod disk;
mod folder;
mod http;

use crate::machine;
use nodeimg_contract::cmdline::{CommandLine, DATASOURCE};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use nodeimg_init_core::nocloud::{self, SeedFrom, WordError, Words};
use nodeimg_init_core::seed::{self, Documents, Seed, SeedError};
use std::net::IpAddr;
use std::path::PathBuf;

/// Loads a kernel module by name; a module that is built in or loaded already is fine.
pub type LoadModule = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Resolves a name, for a seed by URL.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Result<Vec<IpAddr>, String>;

/// A node's places.
pub struct Sources {
    /// The kernel's command line.
    pub cmdline: String,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
    /// The folder baked by the profile.
    pub baked: PathBuf,
    /// Where a seed disk is mounted while it is read.
    pub mount_point: PathBuf,
    /// For `vfat`, `isofs` and their character sets.
    pub load_module: LoadModule,
}

/// A seed's documents and where they lay.
pub struct Found {
    /// As a person would name it: `NoCloud disk /dev/vdb`.
    pub datasource: String,
    /// What was read.
    pub documents: Documents,
    /// NoCloud's words, which stand over meta-data.
    pub words: Option<Words>,
    /// Datasources that have a seed too, and are not used.
    pub later: Vec<String>,
    /// Places that could not be read, and other things worth a word.
    pub warnings: Vec<String>,
}

impl Found {
    /// Parses the documents. `None`: there is neither user-data nor meta-data.
    pub fn parse(&self) -> Result<Option<Seed>, SeedError> {
        let Some(mut seed) = seed::parse(&self.documents, &self.datasource)? else { return Ok(None) };
        if let Some(words) = &self.words {
            let over = |field: &mut Option<String>, word: &Option<String>| {
                if word.is_some() {
                    field.clone_from(word);
                }
            };
            over(&mut seed.meta_data.instance_id, &words.instance_id);
            over(&mut seed.meta_data.local_hostname, &words.local_hostname);
        }
        Ok(Some(seed))
    }
}

impl Sources {
    /// This node's own.
    pub fn of_this_node(load_module: LoadModule) -> Self {
        Self {
            cmdline: match machine::namespace() {
                Some(namespace) => namespace.command_line.clone(),
                None => folder::read_text("/proc/cmdline".as_ref(), 64 * 1024).unwrap_or_default(),
            },
            sys: "/sys".into(),
            dev: "/dev".into(),
            baked: paths::BAKED_SEED.into(),
            mount_point: format!("{}/seed", paths::RUN).into(),
            load_module,
        }
    }

    /// The local round. A place that cannot be read is a warning as long as another place has a seed, else a fault.
    pub fn find_local(&self) -> Result<Option<Found>, Fault> {
        let mut search = Search::default();
        let words = self.words(&mut search);
        for (origin, words) in &words {
            if let Some(SeedFrom::Folder(path)) = &words.seed_from {
                search.add(format!("NoCloud folder {path} ({origin})"), folder::read(path.as_ref()));
            }
        }
        for disk in disk::candidates(&self.sys, &self.dev) {
            let name = format!("NoCloud disk {}", disk.device.display());
            search.add(name, disk::read(&disk, &self.mount_point, &self.load_module));
        }
        search.add(format!("folder {} of the image", self.baked.display()), folder::read(&self.baked));
        search.finish(words.into_iter().next())
    }

    /// The URL of the remote round, if the command line or SMBIOS names one.
    pub fn remote(&self) -> Option<String> {
        let words = self.words(&mut Search::default());
        words.into_iter().find_map(|(_, words)| match words.seed_from {
            Some(url @ SeedFrom::Http { .. }) => Some(url.to_string()),
            _ => None,
        })
    }

    /// The remote round: needs a network.
    pub fn find_remote(&self, resolve: Resolve<'_>) -> Result<Option<Found>, Fault> {
        let mut search = Search::default();
        let words = self.words(&mut search);
        for (origin, words) in &words {
            if let Some(url @ SeedFrom::Http { host, port, path }) = &words.seed_from {
                let name = format!("NoCloud URL {url} ({origin})");
                search.add(name, http::read(host, *port, path, resolve));
            }
        }
        search.finish(words.into_iter().next())
    }

    /// NoCloud's words, the command line's before SMBIOS's.
    fn words(&self, search: &mut Search) -> Vec<(&'static str, Words)> {
        let cmdline = CommandLine::parse(&self.cmdline);
        let serial =
            folder::read_text(&self.sys.join("class/dmi/id/product_serial"), 4096).unwrap_or_default();
        let said: [(&'static str, Result<Option<Words>, WordError>); 2] = [
            ("kernel command line", cmdline.value(DATASOURCE).map_or(Ok(None), nocloud::parse)),
            ("SMBIOS", nocloud::parse_serial(&serial)),
        ];
        let mut words = Vec::new();
        for (origin, result) in said {
            match result {
                Ok(Some(said)) => {
                    for key in &said.ignored {
                        search
                            .warnings
                            .push(format!("ds=nocloud of the {origin}: \"{key}\" is not acted on"));
                    }
                    words.push((origin, said));
                }
                Ok(None) => {}
                Err(error) => search.failed.push((origin.to_owned(), error.to_string())),
            }
        }
        words
    }
}

#[derive(Default)]
struct Search {
    found: Vec<(String, Documents)>,
    failed: Vec<(String, String)>,
    warnings: Vec<String>,
}

impl Search {
    fn add(&mut self, name: String, read: Result<Documents, String>) {
        match read {
            Ok(documents) if documents.meta_data.is_some() || documents.user_data.is_some() => {
                self.found.push((name, documents));
            }
            Ok(_) => {}
            Err(error) => self.failed.push((name, error)),
        }
    }

    fn finish(self, words: Option<(&'static str, Words)>) -> Result<Option<Found>, Fault> {
        let mut found = self.found.into_iter();
        let words = words.map(|(_, words)| words);
        match (found.next(), self.failed.first()) {
            (Some((datasource, documents)), _) => {
                let failed = self.failed.iter().map(|(name, error)| format!("{name}: {error}"));
                let warnings = self.warnings.into_iter().chain(failed).collect();
                let later = found.map(|(name, _)| name).collect();
                Ok(Some(Found { datasource, documents, words, later, warnings }))
            }
            (None, Some((name, error))) => Err(Fault {
                code: Code::SeedMalformed,
                object: name.clone(),
                cause: error.clone(),
                help: "correct it, or attach a disk with the label cidata; the node keeps looking".into(),
            }),
            (None, None) => Ok(None),
        }
    }
}

/// What to show when nobody has a seed and the wait for one has passed its deadline.
pub fn nobody_has_a_seed() -> Fault {
    Fault {
        code: Code::SeedMissing,
        object: "seed".into(),
        cause: "the command line, SMBIOS, disks with the label cidata and the image have none".into(),
        help: "attach the disk NODE.img that \"nodeimg cluster new\" wrote; the node keeps looking".into(),
    }
}

#[cfg(test)]
mod tests;
