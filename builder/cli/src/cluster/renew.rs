//! `nodeimg cluster kubeconfig`: a new administrator's certificate from the kept CA. Nothing else of the cluster changes.

use super::args::ClusterKubeconfigArgs;
use super::kept::Kept;
use super::made::until;
use super::{ClusterError, KUBECONFIG, kubeconfig};
use jiff::Timestamp;
use std::fmt;
use std::path::{Path, PathBuf};

/// A new kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Where it lies.
    pub kubeconfig: PathBuf,
    /// Where the one before lies now.
    pub before: Option<PathBuf>,
    /// End of its certificate.
    pub ends: Timestamp,
}

/// Writes a new `admin.kubeconfig`.
pub fn renew(args: &ClusterKubeconfigArgs) -> Result<Renewed, ClusterError> {
    let mut kept = Kept::open(&args.folder)?;
    kept.spec.issued_at = Timestamp::now();
    kept.spec.permit_lifetime = None;
    kept.spec.token_lifetime = args.ttl;
    let checked = kept.spec.check()?;
    let pki = kept.pki()?;
    pki.outlives(kept.spec.issued_at, &checked)?;
    let admin = pki.admin(kept.spec.issued_at, checked.tokens_end)?;
    let server = format!("https://{}:{}", kept.spec.endpoint_name, kept.spec.endpoint_port);
    let text = kubeconfig::render(&kept.spec.name, &server, &pki, &admin);
    let before = kept.set_aside(KUBECONFIG)?;
    let kubeconfig = kept.write(Path::new(KUBECONFIG), text.as_bytes())?;
    Ok(Renewed { kubeconfig, before, ends: checked.tokens_end })
}

impl fmt::Display for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "New certificate of the administrator, until {}\n", until(self.ends))?;
        write!(f, "  {}\n      for kubectl", self.kubeconfig.display())?;
        match &self.before {
            Some(before) => write!(
                f,
                "\n\nThe one before lies in {}; it holds until its own end, for nothing takes a certificate back.",
                before.display()
            ),
            None => Ok(()),
        }
    }
}
