//! The Go command as it is run here: a clean environment, the user's own settings for fetching, fixed flags.
//!
//! Takes the user's environment and a folder of the cache. Gives [`Go`], which makes commands. Everything that could
//! change a program's bytes is fixed here and stands in [`fixed_flags`], so that it is part of the cache key; GOFLAGS
//! of the user is passed on, but each flag that matters is given on the command line too, where it wins.
//! Never writes outside its folder, never uses another Go of the machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::PayloadError;
use crate::description::ModuleSpec;

/// What a user may set about fetching modules; everything else of the environment stays outside.
const PASSED_ON: [&str; 24] = [
    "GOPROXY",
    "GONOPROXY",
    "GOPRIVATE",
    "GOSUMDB",
    "GONOSUMDB",
    "GONOSUMCHECK",
    "GOINSECURE",
    "GOFLAGS",
    "GOAUTH",
    "GOVCS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NETRC",
    "SSH_AUTH_SOCK",
    "GIT_SSL_CAINFO",
    "GIT_CONFIG_GLOBAL",
];

/// The user's settings for fetching modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchSettings(BTreeMap<String, String>);

impl FetchSettings {
    /// Picks them out of an environment. `go env -w` writes to a file; its text, when there is one, stands behind the
    /// environment, as with Go itself. Go's home is not the user's here, so that `.netrc` is named by its path.
    pub fn from_user(environment: impl IntoIterator<Item = (String, String)>, go_env_file: &str) -> Self {
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        let written = go_env_file.lines().filter_map(|line| line.split_once('='));
        let mut settings: BTreeMap<String, String> = written
            .filter(|(name, _)| name.starts_with("GO") && PASSED_ON.contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let set = environment
            .iter()
            .filter(|(name, value)| PASSED_ON.contains(&name.as_str()) && !value.is_empty());
        settings.extend(set.map(|(name, value)| (name.clone(), value.clone())));
        if let Some(home) = environment.get("HOME").filter(|home| !home.is_empty()) {
            settings.entry("NETRC".to_owned()).or_insert_with(|| format!("{home}/.netrc"));
        }
        if let Some(path) = environment.get("PATH") {
            settings.insert("PATH".to_owned(), path.clone());
        }
        Self(settings)
    }

    /// Reads the environment of this process, and the file that `go env -w` writes.
    pub fn of_this_process() -> Self {
        let environment =
            || std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
        let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let file = named("GOENV").or_else(|| {
            let config = named("XDG_CONFIG_HOME").or_else(|| named("HOME").map(|home| home.join(".config")));
            config.map(|config| config.join("go/env"))
        });
        let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        Self::from_user(environment(), &text)
    }
}

/// A folder of the cache where Go keeps modules, compiled packages and its home; and what it is told.
#[derive(Debug, Clone)]
pub struct Go {
    folder: PathBuf,
    settings: FetchSettings,
}

/// Whether a command may use the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// By the user's settings.
    Allowed,
    /// Modules that are not in the cache are an error.
    Refused,
}

impl Go {
    /// A Go that keeps everything below `folder`.
    pub fn new(folder: &Path, settings: FetchSettings) -> Self {
        Self { folder: folder.to_owned(), settings }
    }

    /// Where modules are kept.
    pub fn module_cache(&self) -> PathBuf {
        self.folder.join("mod")
    }

    /// The folder, made when missing; a command that needs no module runs there.
    pub fn ready(&self) -> Result<&Path, PayloadError> {
        let made = std::fs::create_dir_all(&self.folder);
        made.map_err(|source| PayloadError::File { action: "create", path: self.folder.clone(), source })?;
        Ok(&self.folder)
    }

    /// A command that runs the program `go` (of `goroot`, where it cannot find that by itself).
    pub fn command(&self, go: &Path, goroot: Option<&Path>, network: Network) -> Command {
        let mut command = Command::new(go);
        command.env_clear().envs(&self.settings.0);
        if network == Network::Refused {
            command.env("GOPROXY", "off");
        }
        if let Some(goroot) = goroot {
            command.env("GOROOT", goroot);
        }
        command
            .env("HOME", &self.folder)
            .env("GOPATH", self.folder.join("path"))
            .env("GOMODCACHE", self.module_cache())
            .env("GOCACHE", self.folder.join("build"))
            .env("GOENV", "off")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .env("GOTELEMETRY", "off")
            .envs(TARGET)
            .stdin(Stdio::null());
        command
    }
}

/// What is compiled for. Baseline amd64, since a node is not the build machine.
const TARGET: [(&str, &str); 4] =
    [("GOOS", "linux"), ("GOARCH", "amd64"), ("GOAMD64", "v1"), ("CGO_ENABLED", "0")];

/// The flags of `go build` (and `go list`) for a module. They name everything that GOFLAGS could turn otherwise.
pub fn fixed_flags(module: &ModuleSpec) -> Vec<String> {
    let mut linker = vec!["-s".to_owned(), "-w".to_owned(), "-buildid=".to_owned()];
    linker.extend(module.variables.iter().map(|(name, value)| format!("-X {name}={value}")));
    let plain = [
        "-trimpath",
        "-buildvcs=false",
        "-mod=readonly",
        "-modfile=",
        "-overlay=",
        "-buildmode=default",
        "-compiler=gc",
        "-pgo=off",
        "-race=false",
        "-msan=false",
        "-asan=false",
        "-cover=false",
        "-linkshared=false",
        "-gcflags=",
        "-asmflags=",
        "-toolexec=",
        "-installsuffix=",
    ];
    let mut flags: Vec<String> = plain.into_iter().map(str::to_owned).collect();
    flags.push(format!("-tags={}", module.tags.join(",")));
    flags.push(format!("-ldflags={}", linker.join(" ")));
    flags
}

/// Everything outside the module's own files that decides a program's bytes, one fact a line.
pub fn fixed_facts(module: &ModuleSpec) -> String {
    let target = TARGET.iter().map(|(name, value)| format!("{name}={value}\n"));
    let flags = fixed_flags(module).into_iter().map(|flag| format!("{flag}\n"));
    target.chain(flags).collect()
}

/// The name that `go build -o FOLDER/` gives to a package's program.
pub fn executable_name<'a>(package: &'a str, module_folder: &'a str) -> &'a str {
    if package == "." {
        return module_folder;
    }
    let mut parts = package.rsplit('/');
    let last = parts.next().unwrap_or(package);
    let is_major =
        last.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if is_major { parts.next().unwrap_or(last) } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::Description;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn the_users_settings_for_fetching_pass_and_nothing_else() {
        let environment =
            pairs(&[("GOPROXY", "file:///m"), ("GOROOT", "/x"), ("GOFLAGS", "-race"), ("HOME", "/home/u")]);
        let settings = FetchSettings::from_user(environment, "GOPROXY=off\nGOSUMDB=off\nGOAMD64=v4\n");
        let expected = pairs(&[
            ("GOPROXY", "file:///m"),
            ("GOSUMDB", "off"),
            ("GOFLAGS", "-race"),
            ("NETRC", "/home/u/.netrc"),
        ]);
        assert_eq!(settings, FetchSettings(expected.into_iter().collect()));
    }

    #[test]
    fn a_command_sees_only_what_is_named() {
        let settings = FetchSettings::from_user(pairs(&[("GOPROXY", "file:///m"), ("GODEBUG", "x=1")]), "");
        let command = Go::new(Path::new("/c"), settings).command(Path::new("/go"), None, Network::Refused);
        let environment: BTreeMap<_, _> =
            command.get_envs().map(|(n, v)| (n.to_str().unwrap(), v.unwrap())).collect();
        assert_eq!(environment["GOPROXY"], "off");
        assert_eq!(environment["GOMODCACHE"], "/c/mod");
        assert_eq!(environment["GOAMD64"], "v1");
        assert!(!environment.contains_key("GODEBUG") && !environment.contains_key("PATH"));
    }

    #[test]
    fn flags_hold_versions_and_overrule_goflags() {
        let description = Description::parse(include_str!("../../../payload/payload.toml")).unwrap();
        let (module, _) = description.program("kubelet").unwrap();
        let flags = fixed_flags(module);
        assert!(flags.contains(&"-race=false".to_owned()) && flags.contains(&"-mod=readonly".to_owned()));
        let linker = flags.iter().find(|flag| flag.starts_with("-ldflags=")).unwrap();
        assert!(linker.starts_with("-ldflags=-s -w -buildid= -X "));
        assert!(linker.contains("-X k8s.io/component-base/version.gitVersion=v1.36.3"));
    }

    #[test]
    fn names_are_gos_own() {
        assert_eq!(executable_name("go.etcd.io/etcd/server/v3", "etcd"), "server");
        assert_eq!(executable_name("k8s.io/kubernetes/cmd/kubelet", "kubernetes"), "kubelet");
        assert_eq!(executable_name(".", "flannel"), "flannel");
    }
}
