//! Which nodeinit is baked: `--nodeinit FILE`, else the one beside nodeimg, else built from the checkout.
//!
//! Gives a static x86-64 ELF with its digest. May run cargo; never takes a dynamically linked program.

use crate::failure::Failure;
use nodeimg_progress::{Outcome, Progress};
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A nodeinit to bake.
#[derive(Debug, Clone)]
pub struct Nodeinit {
    /// The file.
    pub path: PathBuf,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Finds it or builds it.
pub fn find(flag: Option<&Path>, folder: &Path, progress: &Progress) -> Result<Nodeinit, Failure> {
    let path = match flag {
        Some(path) => std::path::absolute(path)?,
        None => {
            let exe = std::env::current_exe()?;
            match exe.parent().map(|dir| dir.join("nodeinit")).filter(|p| p.is_file() && is_static(p)) {
                Some(beside) => beside,
                None => match checkout(&exe, folder) {
                    Some(root) => build(&root, progress)?,
                    None => {
                        return Err(Failure::new(
                            "no nodeinit to bake: none lies beside nodeimg, and this is no checkout",
                            "give one with --nodeinit FILE",
                        ));
                    }
                },
            }
        }
    };
    if !path.is_file() {
        return Err(Failure::new(
            format!("there is no nodeinit \"{}\"", path.display()),
            "give a file with --nodeinit FILE, or leave it out",
        ));
    }
    if !is_static(&path) {
        return Err(Failure::new(
            format!("\"{}\" is no static x86-64 program", path.display()),
            format!(
                "build it with RUSTFLAGS=\"-C target-feature=+crt-static\" cargo build --release -p nodeinit --target {TARGET}"
            ),
        ));
    }
    let sha256 = nodeimg_cache::sha256_file(&path)?;
    Ok(Nodeinit { path, sha256 })
}

/// The checkout that the running program or the profile lies in.
fn checkout(exe: &Path, folder: &Path) -> Option<PathBuf> {
    let is_ours = |p: &Path| p.join("init/agent/Cargo.toml").is_file() && p.join("Cargo.lock").is_file();
    exe.ancestors().chain(folder.ancestors()).find(|p| is_ours(p)).map(Path::to_owned)
}

fn build(root: &Path, progress: &Progress) -> Result<PathBuf, Failure> {
    let step = progress.step("nodeinit");
    // A target folder of its own: other flags than the rest of the workspace would make both build again and again.
    let target = root.join("target/nodeinit");
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    let mut remap =
        |from: PathBuf, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    remap(root.to_owned(), "/nodeimg");
    if let Some(home) = std::env::var_os("CARGO_HOME").map(PathBuf::from) {
        remap(home, "/cargo");
    } else if let Some(home) = std::env::var_os("HOME").map(PathBuf::from) {
        remap(home.join(".cargo"), "/cargo");
    }
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--release", "--quiet", "-p", "nodeinit", "--target", TARGET])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .output()
        .map_err(|e| {
            Failure::because(
                "cannot start cargo to build nodeinit",
                e,
                "put cargo on the PATH, or give a nodeinit with --nodeinit FILE",
            )
        })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let tail: Vec<_> = text.lines().rev().take(20).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        return Err(Failure::new(
            format!("nodeinit does not build\n{}", tail.join("\n")),
            "cargo's words above say where",
        ));
    }
    step.finish(Outcome::Built);
    Ok(target.join(TARGET).join("release/nodeinit"))
}

/// ELF64, x86-64, and no PT_INTERP: it needs no loader.
fn is_static(path: &Path) -> bool {
    fn look(path: &Path) -> std::io::Result<bool> {
        use std::io::Read;
        let mut head = Vec::new();
        std::fs::File::open(path)?.take(64 << 10).read_to_end(&mut head)?;
        let at = |o: usize, n: usize| -> u64 {
            head.get(o..o + n).map_or(0, |b| b.iter().rev().fold(0, |v, x| v << 8 | u64::from(*x)))
        };
        if head.get(..6) != Some(b"\x7fELF\x02\x01") || at(18, 2) != 62 {
            return Ok(false);
        }
        let (offset, size, count) = (at(32, 8) as usize, at(54, 2) as usize, at(56, 2) as usize);
        const PT_INTERP: u64 = 3;
        Ok(count > 0 && (0..count).all(|i| at(offset + i * size, 4) != PT_INTERP))
    }
    look(path).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_or_a_text_is_not_static() {
        assert!(!is_static(Path::new("/bin/sh")));
        assert!(!is_static(Path::new("/etc/passwd")));
        assert!(!is_static(Path::new("/nonexistent")));
    }
}
