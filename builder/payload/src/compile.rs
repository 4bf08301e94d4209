//! Compiles the programs that the cache does not have.
//!
//! Takes the payload data and a way to the pinned toolchain. Gives one [`Program`] for each name asked for. A module's
//! missing programs are compiled by one `go build`, so that Go shares what they share. Two commands a module: `go list`
//! fetches (the network is used here only), `go build` compiles with the module proxy turned off. What is compiled goes
//! to a folder of its own and into the cache by rename; a build that is cut short leaves Go's own caches, which the
//! next run goes on from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nodeimg_cache::{Cache, sha256_file};
use nodeimg_progress::{Outcome, Progress};

use crate::PayloadError;
use crate::data::Data;
use crate::description::{ModuleSpec, ProgramSpec};
use crate::go::{Go, Network, executable_name, fixed_flags};
use crate::run;
use crate::toolchain::{Bootstrap, Toolchain};

/// A static program in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// One in the whole payload.
    pub name: String,
    /// The file, mode 0755. Its name is the program's.
    pub path: PathBuf,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Upstream's version, as upstream writes it.
    pub version: String,
    /// Where it lies in the node's root; absent for programs that only images hold.
    pub node: Option<String>,
}

/// What compiling needs beside the data.
pub struct Compiler<'a> {
    /// Where programs are kept.
    pub cache: &'a Cache,
    /// Who is told.
    pub progress: &'a Progress,
    /// How Go is run.
    pub go: Go,
    /// Debian's Go, used only when something must be compiled.
    pub bootstrap: &'a Bootstrap,
}

/// A program that the cache lacks.
struct Missing<'a> {
    module: &'a ModuleSpec,
    programs: Vec<(&'a ProgramSpec, String)>,
}

/// How often a line says how far a long compilation has come.
const REPORT: Duration = Duration::from_secs(10);

/// Where the program with this key lies or would lie.
pub fn entry_folder(cache: &Cache, key: &str) -> PathBuf {
    cache.root().join("program").join(key)
}

impl Compiler<'_> {
    /// The programs of these names; every name must be one of the description's.
    pub fn programs(
        &self,
        data: &Data,
        names: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, Program>, PayloadError> {
        let step = self.progress.step("compile the payload");
        let missing = self.missing(data, names);
        if missing.is_empty() {
            let programs = self.collect(data, names);
            step.finish(Outcome::Cached);
            return programs;
        }
        let toolchain = {
            let _alone = self.cache.lock("go-toolchain")?;
            step.note(&format!("Go {}", data.description.toolchain.version));
            Toolchain::get(&self.go, self.bootstrap, &data.description.toolchain)?
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = (cores / 4).clamp(1, missing.len());
        let queue = Mutex::new(missing.iter());
        let failure = OnceLock::new();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while failure.get().is_none() {
                        let next = queue.lock().unwrap_or_else(|poison| poison.into_inner()).next();
                        let Some(missing) = next else { break };
                        let say = |text: &str| step.note(&format!("{}: {text}", missing.module.name));
                        if let Err(error) =
                            self.module(data, &toolchain, missing, cores.div_ceil(workers), &say)
                        {
                            let _ = failure.set(error);
                        }
                    }
                });
            }
        });
        if let Some(error) = failure.into_inner() {
            return Err(error);
        }
        let programs = self.collect(data, names);
        step.finish(Outcome::Built);
        programs
    }

    fn missing<'d>(&self, data: &'d Data, names: &BTreeSet<&str>) -> Vec<Missing<'d>> {
        let of_module = |module: &'d ModuleSpec| {
            let wanted = module.programs.iter().filter(|program| names.contains(program.name.as_str()));
            let keyed = wanted.map(|program| (program, data.program_key(module, program)));
            let programs = keyed.filter(|(_, key)| !self.entry_folder(key).exists()).collect();
            Missing { module, programs }
        };
        data.description
            .modules
            .iter()
            .map(of_module)
            .filter(|missing| !missing.programs.is_empty())
            .collect()
    }

    fn entry_folder(&self, key: &str) -> PathBuf {
        entry_folder(self.cache, key)
    }

    /// Fetches and compiles the missing programs of one module, and puts them into the cache.
    fn module(
        &self,
        data: &Data,
        toolchain: &Toolchain,
        missing: &Missing<'_>,
        jobs: usize,
        say: &dyn Fn(&str),
    ) -> Result<(), PayloadError> {
        let _alone = self.cache.lock(&format!("go-{}", missing.module.name))?;
        let work = self.work_folder(missing.module)?;
        let source = work.path().join(&missing.module.name);
        file_io("create", &source, fs::create_dir(&source))?;
        for (name, bytes) in data.files(missing.module) {
            file_io("write", &source.join(name), fs::write(source.join(name), bytes))?;
        }
        let packages: Vec<&str> =
            missing.programs.iter().map(|(program, _)| program.package.as_str()).collect();

        say("fetching modules");
        let mut list = toolchain.command(&self.go, Network::Allowed);
        list.current_dir(&source)
            .args(["list", "-deps", "-modcacherw"])
            .args(fixed_flags(missing.module))
            .args(&packages);
        let listed = run::captured(&mut list)?;
        if !listed.success {
            let what = format!("the modules of payload/{}", missing.module.name);
            return Err(run::go_failure(&listed.stderr, |reason| PayloadError::Fetch { what, reason }));
        }
        let all: BTreeSet<&str> = listed.stdout.lines().collect();
        let names: Vec<&str> = missing.programs.iter().map(|(program, _)| program.name.as_str()).collect();
        say(&format!("compiling {} ({} packages)", names.join(", "), all.len()));

        let built = work.path().join("built");
        let begin = Instant::now();
        let (mut done, mut told) = (0, begin);
        let mut build = toolchain.command(&self.go, Network::Refused);
        build
            .current_dir(&source)
            .arg("build")
            .arg("-v")
            .arg(format!("-p={jobs}"))
            .args(fixed_flags(missing.module));
        build.arg("-o").arg(format!("{}/", built.display())).args(&packages);
        let output = run::followed(&mut build, |line| {
            done += usize::from(all.contains(line));
            if told.elapsed() >= REPORT {
                told = Instant::now();
                say(&format!(
                    "{done} of {} packages compiled, {}",
                    all.len(),
                    time_left(begin.elapsed(), done, all.len())
                ));
            }
        })?;
        if !output.success {
            let errors: Vec<&str> = output.stderr.lines().filter(|line| !all.contains(line)).collect();
            let programs = names.join(", ");
            return Err(run::go_failure(&errors.join("\n"), |reason| PayloadError::Compile {
                programs,
                reason,
            }));
        }
        for (program, key) in &missing.programs {
            let made = built.join(executable_name(&program.package, &missing.module.name));
            self.cache.entry("program", key, |fresh| admit(&made, &program.name, fresh))?;
        }
        say(&format!("done in {} s", begin.elapsed().as_secs()));
        Ok(())
    }

    fn work_folder(&self, module: &ModuleSpec) -> Result<tempfile::TempDir, PayloadError> {
        let tmp = self.cache.root().join("tmp");
        // The cache sweeps folders of this form when their process is gone.
        let prefix = format!("work-{}-go-{}-", std::process::id(), module.name);
        file_io("create a folder in", &tmp, tempfile::Builder::new().prefix(&prefix).tempdir_in(&tmp))
    }

    fn collect(
        &self,
        data: &Data,
        names: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, Program>, PayloadError> {
        let mut programs = BTreeMap::new();
        for (module, spec) in names.iter().filter_map(|name| data.description.program(name)) {
            let folder = self.entry_folder(&data.program_key(module, spec));
            let path = folder.join(&spec.name);
            let digest = folder.join(DIGEST);
            let sha256 = file_io("read", &digest, fs::read_to_string(&digest))?.trim().to_owned();
            let size = file_io("read", &path, fs::metadata(&path))?.len();
            let (version, node) = (module.version.clone(), spec.node.clone());
            programs.insert(
                spec.name.clone(),
                Program { name: spec.name.clone(), path, sha256, size, version, node },
            );
        }
        Ok(programs)
    }
}

/// How long it took, and would take on at the same rate. Packages that Go has cached are not counted as done, so that
/// a compilation which goes on from an earlier one ends sooner than this says.
fn time_left(elapsed: Duration, done: usize, all: usize) -> String {
    match (all.saturating_sub(done) as u64 * elapsed.as_secs()).checked_div(done as u64) {
        Some(left) => format!("{} s, at most {left} s left", elapsed.as_secs()),
        None => format!("{} s", elapsed.as_secs()),
    }
}

/// Beside the program in its folder of the cache: its SHA-256.
const DIGEST: &str = "SHA256";

fn admit(made: &Path, name: &str, fresh: &Path) -> Result<(), PayloadError> {
    file_io("create", fresh, fs::create_dir(fresh))?;
    let sha256 = file_io("read", made, sha256_file(made))?;
    file_io("write", fresh, fs::write(fresh.join(DIGEST), format!("{sha256}\n")))?;
    file_io("move into place", made, fs::rename(made, fresh.join(name)))
}

pub(crate) fn file_io<T>(
    action: &'static str,
    path: &Path,
    result: std::io::Result<T>,
) -> Result<T, PayloadError> {
    result.map_err(|source| PayloadError::File { action, path: path.to_owned(), source })
}
