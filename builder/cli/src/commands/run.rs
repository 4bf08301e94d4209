//! `nodeimg run`: builds what is missing, boots it, stays until Ctrl-C or until the node is Ready.
//!
//! Order: image, node folder (seed and state disk), machine, watch. The folder is temporary unless `--state` names one.

mod node_folder;
mod watch;

use crate::args::{Accelerator, Global, RunArgs};
use crate::failure::Failure;
use crate::pipeline::{Builder, Built};
use crate::project::Project;
use crate::settings::{self, LockMode};
use crate::timeline::Timeline;
use node_folder::NodeFolder;
use nodeimg_qemu::{Accel, Boot, Forward, Network, QemuProgram, Vm, VmSpec};
use nodeimg_tree::ToolsTree;
use std::process::ExitCode;
use watch::Watched;

pub use watch::End;

/// kubeadm's port of the API server.
const API_PORT: u16 = 6443;

/// How often a machine is switched on again whose QEMU crashed before the guest had said anything. QEMU's software CPUs
/// (TCG), when there are several, now and then fail an assertion (`iotlb_to_section`) while the kernel maps its devices.
const CRASHES: u32 = 2;

/// Boots and stays.
pub fn run(global: &Global, args: &RunArgs) -> Result<ExitCode, Failure> {
    let (end, _) = boot(global, args, true)?;
    match end {
        End::Done => Ok(ExitCode::SUCCESS),
        End::Failed(failure) => Err(failure),
    }
}

/// Boots, with the console shown or not; gives the timeline when the node became Ready.
pub fn boot(global: &Global, args: &RunArgs, console: bool) -> Result<(End, Option<Timeline>), Failure> {
    let progress = settings::progress(global);
    let project = Project::of(&args.profile)?;
    let cache = settings::cache(global)?;
    let builder = Builder::new(&cache, &progress, &project, &args.input);
    let built = builder.image(&args.image, LockMode::of(&args.input))?;
    let locked = builder.locked(LockMode::Write)?;
    let tools = builder.tools(&locked, &builder.fetched(&locked)?)?;
    if !global.quiet {
        eprint!("{}", progress.summary());
    }
    let program = qemu(&tools)?;
    let choice = match args.vm.accel {
        Some(Accelerator::Kvm) => (Accel::Kvm, "KVM, as asked for".to_owned()),
        Some(Accelerator::Tcg) => (Accel::Tcg, "TCG, as asked for".to_owned()),
        None => {
            let choice = nodeimg_qemu::choose_accel(&program)?;
            (choice.accel, choice.why)
        }
    };
    progress.line(&format!("accelerator: {}", choice.1));

    let node = NodeFolder::prepare(args, &built.manifest)?;
    let api = nodeimg_qemu::free_port()?;
    let spec = machine(args, &built, &node, choice.0, api);
    let describes = format!(
        "{} {}, {} vCPU, {} MiB, {}",
        built.manifest.root.profile,
        if choice.0 == Accel::Kvm { "KVM" } else { "TCG" },
        args.vm.cpus,
        args.vm.memory,
        if args.vm.direct { "direct kernel boot" } else { "UEFI" }
    );
    let ready = watch::ReadyLine {
        kubectl: nodeimg_payload::cached_program(&cache, "kubectl"),
        kubeconfig: node.host_kubeconfig(api)?,
    };
    let mut crashes = 0;
    loop {
        let vm = Vm::start(&spec, &program, node.path())?;
        let watch = watch::Watch::new(args, console, describes.clone(), ready.clone());
        match watch.until_the_end(&vm)? {
            Watched::Crashed(exit) if crashes < CRASHES => {
                crashes += 1;
                eprintln!("{exit} before the guest had said anything: a fault of QEMU; switching on again.");
            }
            Watched::Crashed(exit) => return Err(watch::went_off(exit)),
            Watched::Ended(end, timeline) => return Ok((end, timeline)),
        }
    }
}

fn machine(args: &RunArgs, built: &Built, node: &NodeFolder, accel: Accel, api: u16) -> VmSpec {
    let file = |name: &str| built.folder.join(name);
    let boot = if args.vm.direct {
        Boot::Direct {
            kernel: file(nodeimg_output::KERNEL),
            initrd: file(nodeimg_output::INITRD),
            cmdline: std::fs::read_to_string(file(nodeimg_output::CMDLINE))
                .unwrap_or_default()
                .trim()
                .to_owned(),
        }
    } else {
        Boot::Uefi { uki: file(&nodeimg_output::uki_name(&built.manifest.root.profile)) }
    };
    let mut forwards = vec![Forward { host: api, guest: API_PORT }];
    forwards.extend(args.vm.forward.iter().map(|(host, guest)| Forward { host: *host, guest: *guest }));
    VmSpec {
        name: built.manifest.root.profile.clone(),
        accel,
        cpus: args.vm.cpus,
        memory_mib: args.vm.memory,
        boot,
        extra_arguments: match accel {
            Accel::Tcg => nodeimg_qemu::LAB_ARGUMENTS_TCG.to_owned(),
            Accel::Kvm => String::new(),
        },
        root_img: file(nodeimg_output::ROOT_IMG),
        state_disk: Some(node.state_disk()),
        seed_disk: Some(node.seed_disk()),
        network: Network { restrict: args.vm.isolated, forwards, ..Network::default() },
    }
}

fn qemu(tools: &ToolsTree) -> Result<QemuProgram, Failure> {
    let command = tools.command("qemu-system-x86_64")?;
    let firmware = |name: &str| tools.path(&format!("usr/share/OVMF/{name}"));
    Ok(QemuProgram::from_command(&command)
        .with_ovmf(firmware("OVMF_CODE_4M.fd")?, firmware("OVMF_VARS_4M.fd")?))
}
