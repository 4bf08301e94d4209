//! A machine's life, with a stand-in that speaks as QEMU does, and with the real one of the tools tree.

use nodeimg_qemu::{
    Accel, Boot, Cable, Event, Exit, Forward, Network, QemuProgram, Vm, VmError, VmSpec, create_state_disk,
};
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn spec(dir: &Path) -> VmSpec {
    let file = |name: &str| {
        let path = dir.join(name);
        create_state_disk(&path, 1 << 20).expect("disk");
        path
    };
    VmSpec {
        name: "test".into(),
        accel: Accel::Tcg,
        cpus: 1,
        memory_mib: 64,
        boot: Boot::Direct { kernel: file("kernel"), initrd: file("initrd"), cmdline: "x".into() },
        extra_arguments: String::new(),
        root_img: file("root.img"),
        state_disk: Some(file("state.img")),
        seed_disk: None,
        network: Network::default(),
    }
}

fn stand_in(script: &str) -> QemuProgram {
    QemuProgram {
        command: ["sh", "-c", script, "qemu"].map(Into::into).to_vec(),
        environment: std::env::vars_os().filter(|(name, _)| name == "PATH").collect(),
        ovmf_code: None,
        ovmf_vars: None,
    }
}

fn until_exit(vm: &Vm) -> Vec<Event> {
    let deadline = Instant::now() + LONG;
    let mut events = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event =
            vm.next_event(left).unwrap_or_else(|| panic!("no end within a minute; so far: {events:#?}"));
        let end = matches!(event, Event::Exited(_));
        events.push(event);
        if end {
            return events;
        }
    }
}

#[test]
fn console_and_errors_come_before_the_end() {
    let dir = tempfile::tempdir().expect("temp");
    let program = stand_in(r"printf 'one\r\ntwo'; echo oops >&2; exit 3");
    let vm = Vm::start(&spec(dir.path()), &program, dir.path()).expect("start");
    let events = until_exit(&vm);
    assert_eq!(events.last(), Some(&Event::Exited(Exit::Code(3))));
    for wanted in [Event::Console("one".into()), Event::Console("two".into()), Event::Qemu("oops".into())] {
        assert!(events.contains(&wanted), "{events:?}");
    }
}

#[test]
fn a_failed_assertion_of_qemu_is_told_from_a_power_cut() {
    let dir = tempfile::tempdir().expect("temp");
    let end = |script: &str| {
        let vm = Vm::start(&spec(dir.path()), &stand_in(script), dir.path()).expect("start");
        match until_exit(&vm).pop() {
            Some(Event::Exited(exit)) => exit,
            other => panic!("{other:?}"),
        }
    };
    assert!(end("kill -ABRT $$").is_crash());
    assert!(!end("kill -KILL $$").is_crash());
    assert!(!end("exit 1").is_crash());
}

#[test]
fn a_power_cut_ends_it_and_a_drop_leaves_no_process() {
    let dir = tempfile::tempdir().expect("temp");
    let program = stand_in("echo $$; exec sleep 1000");
    let pid = |vm: &Vm| match vm.next_event(LONG) {
        Some(Event::Console(pid)) => pid,
        other => panic!("{other:?}"),
    };
    let vm = Vm::start(&spec(dir.path()), &program, dir.path()).expect("start");
    pid(&vm);
    vm.power_cut();
    assert_eq!(until_exit(&vm).last(), Some(&Event::Exited(Exit::Signal(9))));
    vm.power_cut();
    let vm = Vm::start(&spec(dir.path()), &program, dir.path()).expect("start");
    let pid = pid(&vm);
    assert!(Path::new("/proc").join(&pid).exists());
    drop(vm);
    assert!(!Path::new("/proc").join(&pid).exists(), "killed and reaped");
}

#[test]
fn what_cannot_start_is_named() {
    let dir = tempfile::tempdir().expect("temp");
    let mut program = stand_in("");
    program.command = vec!["/nonexistent/qemu".into()];
    let text = Vm::start(&spec(dir.path()), &program, dir.path()).err().expect("must fail").to_string();
    assert!(text.contains("/nonexistent/qemu"), "{text}");
    let mut uefi = spec(dir.path());
    uefi.boot = Boot::Uefi { uki: dir.path().join("kernel") };
    let failed = Vm::start(&uefi, &stand_in(""), dir.path()).err().expect("must fail");
    assert!(matches!(failed, VmError::NoFirmware));
}

#[test]
fn nobody_hears_a_command_after_the_end() {
    let dir = tempfile::tempdir().expect("temp");
    let vm = Vm::start(&spec(dir.path()), &stand_in("exit 0"), dir.path()).expect("start");
    until_exit(&vm);
    assert!(matches!(vm.powerdown(), Err(VmError::Deaf { command: "system_powerdown", .. })));
}

/// A kernel that is none: SeaBIOS says so on nothing, but QEMU itself runs, connects its sockets and obeys.
#[test]
fn a_real_qemu_obeys() {
    let Some(command) = nodeimg_test_programs::tool("a_real_qemu_obeys", "qemu-system-x86_64") else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp");
    let mut spec = spec(dir.path());
    spec.boot = Boot::Direct {
        kernel: multiboot(dir.path()),
        initrd: dir.path().join("initrd"),
        cmdline: "x".into(),
    };
    let vm = Vm::start(&spec, &QemuProgram::from_command(&command), dir.path()).expect("start");
    let deadline = Instant::now() + LONG;
    loop {
        match vm.next_event(deadline.saturating_duration_since(Instant::now())) {
            Some(Event::Console(line)) if line.contains('A') => break,
            Some(Event::Exited(code)) => panic!("ended with {code:?}"),
            Some(_) => {}
            None => panic!("the guest said nothing within a minute"),
        }
    }
    vm.reset().expect("reset");
    loop {
        match vm.next_event(deadline.saturating_duration_since(Instant::now())) {
            Some(Event::Reset) => break,
            Some(Event::Exited(code)) => panic!("ended with {code:?}"),
            Some(_) => {}
            None => panic!("no reset within a minute"),
        }
    }
    vm.quit().expect("quit");
    assert_eq!(until_exit(&vm).last(), Some(&Event::Exited(Exit::Code(0))));
}

/// The card and the forwards plug in at their sockets; whoever connects to a forwarded port is looked for on the way.
#[test]
fn a_real_qemu_plugs_into_a_switch() {
    let name = "a_real_qemu_plugs_into_a_switch";
    let Some(command) = nodeimg_test_programs::tool(name, "qemu-system-x86_64") else { return };
    let dir = tempfile::tempdir().expect("temp");
    let (card, way) = (dir.path().join("card"), dir.path().join("way"));
    let listen = |path| UnixListener::bind(path).expect("a socket");
    let (cards, ways) = (listen(&card), listen(&way));
    let mut spec = spec(dir.path());
    spec.boot = Boot::Direct {
        kernel: multiboot(dir.path()),
        initrd: dir.path().join("initrd"),
        cmdline: "x".into(),
    };
    let port = nodeimg_qemu::free_port().expect("a port");
    let guest = Ipv4Addr::new(10, 77, 0, 11);
    spec.network.forwards = vec![Forward { host: port, guest: 6443 }];
    spec.network.cable = Some(Cable { card, way, guest, prefix: 24, host: Ipv4Addr::new(10, 77, 0, 253) });
    let vm = Vm::start(&spec, &QemuProgram::from_command(&command), dir.path()).expect("start");
    let plugged = |listener: &UnixListener| {
        listener.set_nonblocking(true).expect("a mode");
        let deadline = Instant::now() + LONG;
        loop {
            match (listener.accept(), vm.next_event(Duration::from_millis(20))) {
                (Ok((stream, _)), _) => {
                    stream.set_nonblocking(false).expect("a mode");
                    stream.set_read_timeout(Some(LONG)).expect("a limit");
                    return stream;
                }
                (_, Some(Event::Exited(exit))) => panic!("{exit}"),
                _ => assert!(Instant::now() < deadline, "nobody plugs in"),
            }
        }
    };
    let (_card, mut way) = (plugged(&cards), plugged(&ways));
    vm.link(false).expect("set_link");
    let _asks = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the forwarded port");
    loop {
        let mut length = [0; 4];
        way.read_exact(&mut length).expect("a frame in time");
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        way.read_exact(&mut frame).expect("a frame");
        // ARP (RFC 826): the address that is asked for stands at its end.
        if frame.get(12..14) == Some(&[8, 6]) && frame.get(38..42) == Some(&guest.octets()) {
            break;
        }
    }
    vm.quit().expect("quit");
}

/// A multiboot kernel (Multiboot Specification 0.6.96) in a 32-bit ELF that writes "A\n" to the first serial port and
/// halts.
fn multiboot(dir: &Path) -> std::path::PathBuf {
    let code: &[u8] = &[
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xb0, b'A', 0xee, // mov al, 'A'; out dx, al
        0xb0, b'\n', 0xee, // mov al, '\n'; out dx, al
        0xf4, 0xeb, 0xfd, // hlt; jmp back
    ];
    const LOAD: u32 = 0x10_0000;
    let magic = 0x1bad_b002u32;
    let mut text = Vec::new();
    for word in [magic, 0, 0u32.wrapping_sub(magic)] {
        text.extend(word.to_le_bytes());
    }
    text.extend(code);
    let mut elf = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    elf.extend([2, 0, 3, 0]);
    for word in [1, LOAD + 12, 52, 0, 0] {
        elf.extend(u32::to_le_bytes(word));
    }
    for half in [52u16, 32, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let size = text.len() as u32;
    for word in [1, 84, LOAD, LOAD, size, size, 5, 4] {
        elf.extend(u32::to_le_bytes(word));
    }
    elf.extend(text);
    let path = dir.join("multiboot");
    std::fs::write(&path, elf).expect("write");
    path
}
