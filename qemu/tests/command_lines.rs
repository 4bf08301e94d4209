//! The command lines, word for word: what a guest gets is decided here and nowhere else.

use nodeimg_qemu::{
    Accel, Boot, Cable, Forward, LAB_ARGUMENTS_TCG, Network, QemuProgram, Sockets, VmSpec, command_line,
};
use std::path::PathBuf;

fn files() -> Sockets {
    Sockets {
        status: "/s/status".into(),
        qmp: "/s/qmp".into(),
        esp: "/w/esp.img".into(),
        vars: "/w/vars.fd".into(),
    }
}

fn program() -> QemuProgram {
    QemuProgram {
        command: vec!["qemu".into()],
        environment: vec![],
        ovmf_code: Some("/fw/code.fd".into()),
        ovmf_vars: Some("/fw/vars.fd".into()),
    }
}

fn spec(accel: Accel, boot: Boot) -> VmSpec {
    VmSpec {
        name: "cp1".into(),
        accel,
        cpus: 2,
        memory_mib: 2048,
        boot,
        extra_arguments: String::new(),
        root_img: "/d/cplane/root.img".into(),
        state_disk: Some("/w/state.img".into()),
        seed_disk: Some("/w/seed.img".into()),
        network: Network { forwards: vec![Forward { host: 40001, guest: 6443 }], ..Network::default() },
    }
}

fn text(spec: &VmSpec) -> String {
    let words = command_line(spec, &program(), &files());
    let mut out = String::new();
    for word in words {
        let word = word.into_string().expect("text");
        out.push(if word.starts_with('-') && !out.is_empty() { '\n' } else { ' ' });
        out.push_str(&word);
    }
    out.trim().to_owned()
}

#[test]
fn uefi_under_tcg() {
    let mut spec = spec(Accel::Tcg, Boot::Uefi { uki: "/d/cplane/cplane.efi".into() });
    spec.extra_arguments = LAB_ARGUMENTS_TCG.into();
    insta::assert_snapshot!(text(&spec));
}

#[test]
fn direct_under_kvm() {
    let boot = Boot::Direct {
        kernel: "/d/vmlinuz".into(),
        initrd: "/d/initrd".into(),
        cmdline: "roothash=00 ro\n".into(),
    };
    let mut spec = spec(Accel::Kvm, boot);
    spec.extra_arguments = "quiet".into();
    spec.seed_disk = None;
    spec.network.restrict = false;
    insta::assert_snapshot!(text(&spec));
}

#[test]
fn a_cable_leads_to_a_switch_and_the_forwards_have_one_of_their_own() {
    let mut spec = spec(Accel::Tcg, Boot::Uefi { uki: "/d/cplane/cplane.efi".into() });
    spec.network.cable = Some(Cable {
        card: "/l/cp1,card".into(),
        way: "/l/cp1.way".into(),
        guest: "10.77.0.11".parse().expect("an address"),
        prefix: 24,
        host: "10.77.0.253".parse().expect("an address"),
    });
    insta::assert_snapshot!(text(&spec));
    spec.network.forwards.clear();
    assert!(!text(&spec).contains("user,"), "nothing but the cable");
}

#[test]
fn commas_stay_in_their_field() {
    let mut spec = spec(Accel::Tcg, Boot::Uefi { uki: "/u".into() });
    spec.root_img = PathBuf::from("/a,readonly=off/root.img");
    spec.extra_arguments = "console=ttyS0,115200".into();
    spec.name = "x,debug-threads=on".into();
    let text = text(&spec);
    for wanted in [
        "file=/a,,readonly=off/root.img\n",
        "kernel-cmdline-extra=console=ttyS0,,115200\n",
        "guest=x,,debug-threads=on\n",
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
}

#[test]
fn what_belongs_to_a_lab_reaches_no_image() {
    let none = text(&spec(Accel::Tcg, Boot::Uefi { uki: "/u".into() }));
    assert!(!none.contains("-smbios") && !none.contains("mitigations"));
}
