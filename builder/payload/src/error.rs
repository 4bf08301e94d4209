//! What can go wrong between a lock and a payload.

use std::path::PathBuf;

use nodeimg_cache::CacheError;

use crate::description::DescriptionError;
use crate::elf::ElfError;
use crate::required::Required;

/// Why there is no payload. Each text ends with what to do next.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The cache said no.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The data of `payload/` contradict themselves.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The data of `payload/` name a path that no tree can hold.
    #[error(transparent)]
    Path(#[from] nodeimg_tree::BadPath),
    /// The lock was written for other payload data.
    #[error(
        "the lock has {what} as \"{locked}\", this nodeimg builds \"{ours}\"; nothing was used\n\
         help: renew the lock with --update, or build with the nodeimg that wrote it"
    )]
    Lock {
        /// What differs.
        what: String,
        /// As the lock says.
        locked: String,
        /// As the payload data say.
        ours: String,
    },
    /// A program could not be started at all.
    #[error("cannot run \"{}\"", program.display())]
    Spawn {
        /// Which.
        program: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The toolchain that was fetched is another one than the pinned one.
    #[error(
        "Go toolchain: {what}; expected \"{expected}\", got \"{got}\"; nothing was compiled\n\
         help: remove \"{}\" and build again; if that repeats, do not trust what GOPROXY names", folder.display()
    )]
    Toolchain {
        /// Version or checksum.
        what: &'static str,
        /// As pinned.
        expected: String,
        /// As found.
        got: String,
        /// Where it lies.
        folder: PathBuf,
    },
    /// A module's content does not have the digest of go.sum or of the checksum database.
    #[error(
        "Go module \"{module}\" is not what {authority} says: expected \"{expected}\", got \"{got}\"; nothing was used\n\
         help: another GOPROXY may serve the right one; if it should have changed, renew payload/'s go.sum"
    )]
    Checksum {
        /// Path and version.
        module: String,
        /// `go.sum`, or the checksum database's name.
        authority: String,
        /// As recorded.
        expected: String,
        /// As downloaded.
        got: String,
    },
    /// Go could not fetch.
    #[error(
        "cannot fetch {what}: {reason}\n\
         help: Go fetches through GOPROXY and checks with GOSUMDB; set them (and HTTPS_PROXY) to what this network has"
    )]
    Fetch {
        /// The toolchain, or the modules of which folder.
        what: String,
        /// Go's own words.
        reason: String,
    },
    /// Go could not compile.
    #[error(
        "cannot compile {programs}: {reason}\n\
         help: the last lines of the compiler are above; what is compiled already is kept for the next build"
    )]
    Compile {
        /// Which programs.
        programs: String,
        /// Go's own words, the last lines.
        reason: String,
    },
    /// A file of the cache could not be read or written.
    #[error("cannot {action} \"{}\"\nhelp: is the disk full, or the folder another user's?", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A Debian program cannot be taken into an image.
    #[error("image \"{image}\" cannot be made\nhelp: renew the lock with --update")]
    Debian {
        /// Its reference.
        image: String,
        /// Why.
        #[source]
        source: ElfError,
    },
    /// kubeadm does not tell its images.
    #[error("\"{}\" does not list its images: {reason}", program.display())]
    KubeadmList {
        /// The kubeadm that was asked.
        program: PathBuf,
        /// Its own words.
        reason: String,
    },
    /// Manifests name images that the payload does not have.
    #[error(
        "{} named but not baked: {}\nhelp: baked are:\n  {baked}",
        if missing.len() == 1 { "an image is" } else { "images are" },
        list(missing)
    )]
    NotBaked {
        /// Which, and who names them.
        missing: Vec<Required>,
        /// What there is.
        baked: String,
    },
}

fn list(missing: &[Required]) -> String {
    let named = missing.iter().map(|image| format!("\"{}\" (by {})", image.reference, image.by));
    named.collect::<Vec<_>>().join(", ")
}
