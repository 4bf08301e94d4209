use super::*;
use std::io::{Read, Write};
use std::path::Path;

fn sources(folder: &Path, cmdline: &str) -> Sources {
    Sources {
        cmdline: cmdline.into(),
        sys: folder.join("sys"),
        dev: folder.join("dev"),
        baked: folder.join("baked"),
        mount_point: folder.join("mnt"),
        load_module: Box::new(|_| Ok(())),
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

#[test]
fn nobody_is_none_and_not_a_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(sources(folder.path(), "ro quiet").find_local().expect("no fault").is_none());
}

#[test]
fn the_command_lines_folder_stands_before_the_baked_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = folder.path().join("named");
    write(&named.join("user-data"), "#cloud-config\nhostname: one\n");
    write(&folder.path().join("baked/meta-data"), "local-hostname: two\n");
    let cmdline = format!("ro ds=nocloud;h=cp9;s={}/", named.display());
    let found = sources(folder.path(), &cmdline).find_local().expect("no fault").expect("a seed");
    assert!(found.datasource.contains("named"), "{}", found.datasource);
    assert_eq!(found.later.len(), 1);
    let seed = found.parse().expect("parses").expect("a seed");
    assert_eq!(seed.user_data.hostname.as_deref(), Some("one"));
    assert_eq!(seed.meta_data.local_hostname.as_deref(), Some("cp9"));
}

#[test]
fn smbios_words_fill_the_baked_seeds_meta_data() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("sys/class/dmi/id/product_serial"), "ds=nocloud;i=i-7\n");
    write(&folder.path().join("baked/META-DATA"), "local-hostname: two\n");
    let found = sources(folder.path(), "").find_local().expect("no fault").expect("a seed");
    let seed = found.parse().expect("parses").expect("a seed");
    assert_eq!(seed.meta_data.instance_id.as_deref(), Some("i-7"));
    assert_eq!(seed.meta_data.local_hostname.as_deref(), Some("two"));
}

#[test]
fn a_word_that_cannot_be_followed_is_a_fault_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let sources = sources(folder.path(), "ds=nocloud;s=https://seed.example.net/");
    let fault = sources.find_local().err().expect("a fault");
    assert_eq!(fault.code, Code::SeedMalformed);
    assert!(fault.cause.contains("https://"), "{}", fault.cause);
}

#[test]
fn a_seed_that_is_a_link_or_too_large_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("secret"), "x");
    std::fs::create_dir_all(folder.path().join("baked")).expect("made");
    std::os::unix::fs::symlink("../secret", folder.path().join("baked/user-data")).expect("linked");
    assert!(sources(folder.path(), "").find_local().is_err());
    std::fs::remove_file(folder.path().join("baked/user-data")).expect("removed");
    write(&folder.path().join("baked/user-data"), &"x".repeat(seed::MAX_BYTES + 1));
    assert!(sources(folder.path(), "").find_local().is_err());
}

#[test]
fn a_seed_by_url() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0u8; 1024];
            let len = stream.read(&mut request).expect("a request");
            let request = String::from_utf8_lossy(&request[..len]).into_owned();
            let answer = if request.starts_with("GET /s/user-data ") {
                "HTTP/1.0 200 OK\r\n\r\n#cloud-config\nhostname: far\n"
            } else {
                "HTTP/1.0 404 Not Found\r\n\r\n"
            };
            stream.write_all(answer.as_bytes()).expect("answered");
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let sources = sources(folder.path(), &format!("ds=nocloud-net;s=http://seed.example.net:{port}/s/"));
    assert!(sources.find_local().expect("no fault").is_none());
    assert!(sources.remote().is_some());
    let resolve = |_: &str| Ok(vec!["127.0.0.1".parse().expect("an address")]);
    let found = sources.find_remote(&resolve).expect("no fault").expect("a seed");
    assert_eq!(found.parse().expect("parses").expect("a seed").user_data.hostname.as_deref(), Some("far"));
}

/// Needs root, loop devices and a kernel with FAT; says so and passes otherwise.
#[test]
fn a_disk_with_the_label_is_mounted_and_read() {
    use std::process::Command;
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("seed.img");
    let text = "#cloud-config\nhostname: disk\n";
    write(&folder.path().join("user-data"), text);
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        Command::new(program).args(args).output().ok().filter(|out| out.status.success())
    };
    let file = std::fs::File::create(&image).expect("an image");
    file.set_len(4 << 20).expect("a size");
    let user_data = folder.path().join("user-data");
    let made = run("mkfs.vfat", &["-n".as_ref(), "CIDATA".as_ref(), image.as_ref()])
        .and_then(|_| {
            run("mcopy", &["-i".as_ref(), image.as_ref(), user_data.as_ref(), "::user-data".as_ref()])
        })
        .and_then(|_| run("losetup", &["--show".as_ref(), "-rf".as_ref(), image.as_ref()]));
    let Some(made) = made else {
        return eprintln!("skipped: needs root, mkfs.vfat, mcopy and a loop device");
    };
    let device = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    let mut sources = sources(folder.path(), "");
    (sources.sys, sources.dev) = ("/sys".into(), "/dev".into());
    let found = sources.find_local();
    run("losetup", &["-d".as_ref(), device.as_ref()]).expect("detached");
    match found {
        Err(fault) if fault.cause.contains("mounted") => eprintln!("skipped: {}", fault.cause),
        found => {
            let found = found.expect("no fault").expect("a seed");
            assert_eq!(found.datasource, format!("NoCloud disk {device}"));
            assert_eq!(found.documents.user_data.as_deref(), Some(text.as_bytes()));
        }
    }
}
