//! What formation may do to this node: start and stop the kubelet, end pods, boot again.

use super::{Node, services};
use crate::formation::Host;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodeimg_contract::fault::Fault;
use std::time::Duration;

const KUBELET_GRACE: Duration = Duration::from_secs(15);

impl Host for Node {
    fn start_kubelet(&self, arguments: Vec<String>) -> Result<(), Fault> {
        services::start_kubelet(self, arguments)
    }

    fn stop_kubelet(&self) {
        if let Some(kubelet) = self.shutdown.take_kubelet() {
            kubelet.stop(KUBELET_GRACE);
            self.reporter.line("kubelet has ended");
        }
    }

    fn stop_pods(&self) {
        crate::shutdown::end_pods(&self.processes, &self.reporter);
    }

    fn reboot(&self) {
        // As the command does it: one way down for all.
        if let Err(e) = kill(Pid::this(), Signal::SIGINT) {
            self.reporter.warn(format!("the node cannot ask itself to reboot: {e}; reboot it by hand"));
        }
    }
}
