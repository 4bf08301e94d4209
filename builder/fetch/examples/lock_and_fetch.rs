//! Locks a profile's Debian side and fetches its packages: `lock_and_fetch PROFILE [LOCK]`.
//!
//! For trying a list of packages by hand; `nodeimg lock` does the same and locks the payload too.

use nodeimg_cache::Cache;
use nodeimg_fetch::{Fetch, archive, debs, http::Client, mirror, release::Keys};
use nodeimg_plan::lock::{Lock, Set};
use nodeimg_plan::{debian::resolve_lock, profile::Profile};
use nodeimg_progress::Progress;
use std::{env, error::Error, fs, path::Path};

fn main() {
    if let Err(e) = run() {
        eprintln!("error: {e}");
        let mut source = e.source();
        while let Some(cause) = source {
            eprintln!("  because: {cause}");
            source = cause.source();
        }
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("usage: lock_and_fetch PROFILE [LOCK]")?;
    let profile = Profile::parse(&fs::read_to_string(&file)?, &file)?;
    let root = Cache::default_root(
        env::var_os("XDG_CACHE_HOME").map(Into::into),
        env::var_os("HOME").map(Into::into),
    )?;
    let (cache, progress, client) = (Cache::open(root)?, Progress::stderr(), Client::from_environment());
    let fetch = Fetch { client: &client, cache: &cache, progress: &progress };
    let flag = env::var("NODEIMG_MIRROR").ok();
    let named =
        mirror::Named { environment: flag.as_deref(), profile: profile.os.mirror.as_deref(), flag: None };
    let mirror = mirror::discover(named, &mirror::AptFolders::of(Path::new("/")), &client)?;
    let now = jiff::Timestamp::now();
    let os = &profile.os;
    let indexes = archive::indexes(fetch, &mirror, os.suite, &os.components, &Keys::debian(), now)?;
    eprintln!("{} packages in {:?}", indexes.len(), indexes.releases());
    let lock = resolve_lock(&profile, &indexes, Vec::new(), None)?;
    for set in [Set::Image, Set::Tools, Set::Nft] {
        let list: Vec<_> = lock.set(set).collect();
        let packed: u64 = list.iter().map(|p| p.size).sum();
        let version =
            |n: &str, v: &str| indexes.versions(n).find(|p| p.version.as_str() == v).map(|p| p.installed_kib);
        let unpacked: u64 = list.iter().filter_map(|p| version(&p.name, &p.version)).sum();
        eprintln!("{set:?}: {} packages, {packed} bytes, {unpacked} KiB unpacked", list.len());
        let mut sizes: Vec<_> =
            list.iter().map(|p| (version(&p.name, &p.version).unwrap_or(0), p.name.as_str())).collect();
        sizes.sort();
        let text: Vec<String> = sizes.iter().rev().map(|(kib, name)| format!("{name} {kib}")).collect();
        eprintln!("  {}", text.join(", "));
    }
    let text = lock.render();
    assert_eq!(Lock::parse(&text, "rendered")?, lock, "a lock reads back as it was written");
    if let Some(path) = arguments.next() {
        fs::write(path, &text)?;
        debs::debs(fetch, &mirror, &lock, &file)?;
    }
    Ok(())
}
