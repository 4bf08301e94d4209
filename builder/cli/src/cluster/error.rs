//! What may go wrong with a cluster's folder. Every message has its next step; none has a secret.

use std::path::PathBuf;

/// A cluster, or a change to one, that was not made.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is something already.
    #[error(
        "\"{0}\" exists already\nhelp: choose another folder with --out, or remove it if its keys are not needed any more"
    )]
    Exists(PathBuf),
    /// A value that makes no sense.
    #[error("{what} \"{value}\" is not {wanted}\nhelp: {help}")]
    Value {
        /// Which.
        what: &'static str,
        /// As it was given.
        value: String,
        /// What it should be.
        wanted: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// A number of voters that no etcd should have.
    #[error(
        "{count} {what} are an even number\nhelp: have 1, 3 or 5: an even number survives no more losses than one less, and needs one more to agree"
    )]
    Even {
        /// `control planes`, `etcd nodes`.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// More voters than etcd is good with.
    #[error("{count} {what} are too many\nhelp: give 1, 3 or 5: every write waits for a majority of them")]
    TooMany {
        /// `control planes`, `etcd nodes`.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// Two nodes with one name or address.
    #[error("{what} \"{value}\" is given twice\nhelp: give every node its own")]
    Twice {
        /// `node name`, `node address`.
        what: &'static str,
        /// Which.
        value: String,
    },
    /// cluster.toml cannot be read as one.
    #[error("\"{path}\" is no cluster file\n{message}\nhelp: docs/cluster-file.md has every key")]
    File {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
    /// A node that the cluster does not have.
    #[error("\"{name}\" is no node of this cluster; it has: {has}\nhelp: {help}")]
    NoNode {
        /// Which.
        name: String,
        /// Those that there are.
        has: String,
        /// What to do.
        help: &'static str,
    },
    /// A CA that was brought along.
    #[error("\"{path}\" cannot be used: {cause}\nhelp: {help}")]
    Brought {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
        /// What to do.
        help: &'static str,
    },
    /// Writing failed.
    #[error("cannot write \"{path}\"\nhelp: check the folder's permissions and the space on its disk")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A seed's file.
    #[error("cannot read \"{path}\"\nhelp: a seed's documents are UTF-8 texts of at most 1 MiB")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder that is no cluster's.
    #[error(
        "\"{0}\" is not the folder of a cluster: it has no cluster.toml\nhelp: give the folder that nodeimg cluster new made"
    )]
    NoCluster(PathBuf),
    /// A folder without seed.
    #[error(
        "\"{0}\" holds no seed\nhelp: give a folder with user-data and meta-data, as nodeimg cluster new makes them"
    )]
    NoSeed(PathBuf),
    /// Making keys or certificates failed.
    #[error(
        "cannot make the certificate \"{subject}\": {cause}\nhelp: this is a defect of nodeimg; please report it"
    )]
    Certificate {
        /// Common name.
        subject: String,
        /// Why.
        cause: String,
    },
    /// A document could not be rendered.
    #[error("cannot render \"{document}\": {cause}\nhelp: this is a defect of nodeimg; please report it")]
    Render {
        /// Which.
        document: &'static str,
        /// Why.
        cause: String,
    },
    /// The cluster's API.
    #[error("the cluster's API at \"{server}\" cannot be used: {cause}\nhelp: {help}")]
    Api {
        /// URL.
        server: String,
        /// Why.
        cause: String,
        /// What to do.
        help: &'static str,
    },
    /// The folder cannot be taken for one command alone.
    #[error(
        "cannot lock \"{path}\"\nhelp: check that you may read the folder, and that its file system has locks"
    )]
    Lock {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or folder that was named and is not there.
    #[error("there is no {what} \"{path}\"\nhelp: {help}")]
    Missing {
        /// `file`, `folder`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What to do.
        help: &'static str,
    },
    /// What a node would refuse at power-on.
    #[error("{option} \"{value}\" cannot be used: {cause}\nhelp: {help}")]
    Refused {
        /// As it is given, `--pod-subnet`.
        option: &'static str,
        /// As it was given.
        value: String,
        /// Why.
        cause: String,
        /// What to do.
        help: String,
    },
    /// A signal.
    #[error("interrupted\nhelp: what was half made is removed; give the command again")]
    Interrupted {
        /// Its number.
        signal: usize,
    },
    /// No randomness.
    #[error("the kernel gives no random numbers\nhelp: check that /dev/urandom is there and readable")]
    Random(#[source] std::io::Error),
}
