//! The endpoint's name: in `/etc/hosts` when the seed has addresses, else it must resolve by DNS (NI-NET-004).

use super::{Formation, files};
use nodeimg_contract::fault::{Code, Fault};
use nodeimg_contract::paths;
use std::path::Path;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(2);

/// Writes `/etc/hosts`, and waits until the name leads somewhere.
pub fn make_known(f: &Formation<'_>) -> Result<(), Fault> {
    files::folder(paths::RUN_ETC, 0o755)?;
    files::write(Path::new(paths::RUN_ETC).join("hosts"), f.config.hosts_file().as_bytes(), 0o644)?;
    if !f.config.endpoint.addresses.is_empty() {
        return Ok(());
    }
    let name = f.config.endpoint.name.as_str();
    let fault = Fault {
        code: Code::NetEndpointName,
        object: name.to_owned(),
        cause: "no DNS server has been asked yet".into(),
        help: "add the name to DNS, or set nodeimg.endpoint.addresses in the seed".into(),
    };
    let wait = f.reporter.waiting(format!("the endpoint's name {name}"), DEADLINE, fault.clone());
    loop {
        match (f.resolve)(name) {
            Ok(addresses) if !addresses.is_empty() => return Ok(()),
            Ok(_) => wait.cause("the name has no address"),
            Err(cause) => wait.cause(cause),
        }
        if !f.pause(PAUSE) {
            return Err(fault);
        }
    }
}
