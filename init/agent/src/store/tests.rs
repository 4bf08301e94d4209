use super::*;

use nodeimg_contract::store::StoreImage;
use std::os::unix::fs::symlink;

fn identity(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A store with one image and two snapshots, or none.
fn store(folder: &Path, identity: &str, snapshots: &[u64]) -> PathBuf {
    let store = folder.join(format!("store-{}", &identity[..4]));
    fs::create_dir_all(store.join("blobs/sha256")).unwrap();
    let image =
        StoreImage { name: "nodeimg.invalid/x:1".into(), digest: format!("sha256:{}", "1".repeat(64)) };
    let manifest =
        StoreManifest { identity: identity.into(), images: vec![image], snapshots: snapshots.to_vec() };
    fs::write(store.join("store.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    fs::write(store.join("meta.db"), format!("meta {identity}")).unwrap();
    fs::write(store.join("metadata.db"), "metadata").unwrap();
    fs::write(store.join("blobs/sha256").join("1".repeat(64)), "{}").unwrap();
    fs::write(store.join("blobs/sha256/README"), "not a blob").unwrap();
    for number in snapshots {
        fs::create_dir_all(store.join(format!("snapshots/{number}/fs/bin"))).unwrap();
        fs::write(store.join(format!("snapshots/{number}/fs/bin/x")), number.to_string()).unwrap();
    }
    store
}

#[test]
fn a_new_root_is_seeded_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &identity('a'), &[]);
    let root = folder.path().join("var/lib/containerd");
    let placed = place(&store, &root).unwrap();
    assert_eq!(placed, Placed { seeded: true, images: 1, snapshots: 0 });
    assert_eq!(fs::read(root.join(META_DB)).unwrap(), format!("meta {}", identity('a')).into_bytes());
    let blobs: Vec<_> = fs::read_dir(root.join(BLOBS)).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(blobs, ["1".repeat(64).as_str()]);

    fs::write(root.join(META_DB), "changed by containerd").unwrap();
    assert!(!place(&store, &root).unwrap().seeded);
    assert_eq!(fs::read(root.join(META_DB)).unwrap(), b"changed by containerd");
}

#[test]
fn another_store_takes_the_whole_root() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("containerd");
    place(&store(folder.path(), &identity('a'), &[]), &root).unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("keep"), "kept").unwrap();
    let old = root.join(SNAPSHOTTER).join("snapshots/9/fs/deep/deeper");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("file"), "old").unwrap();
    symlink(&outside, old.join("link")).unwrap();
    symlink(&outside, root.join("link")).unwrap();

    assert!(place(&store(folder.path(), &identity('b'), &[]), &root).unwrap().seeded);
    assert!(!root.join(SNAPSHOTTER).join("snapshots/9").exists());
    assert!(fs::symlink_metadata(root.join("link")).is_err());
    assert_eq!(fs::read(outside.join("keep")).unwrap(), b"kept");
    assert_eq!(fs::read_to_string(root.join(SEEDED)).unwrap(), format!("{}\n", identity('b')));
    assert!(!root.join(".nodeimg-old").exists());
}

#[test]
fn what_a_power_cut_leaves_is_seeded_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &identity('a'), &[]);
    let root = folder.path().join("containerd");
    // Half cleared: something in the trash already; half seeded: databases, no marker.
    fs::create_dir_all(root.join(".nodeimg-old/0/inner")).unwrap();
    fs::write(root.join(".nodeimg-old/file"), "").unwrap();
    fs::create_dir_all(root.join("io.containerd.metadata.v1.bolt")).unwrap();
    fs::write(root.join(META_DB), "half").unwrap();
    fs::write(root.join(format!("{SEEDED}.new")), identity('a')).unwrap();
    assert!(place(&store, &root).unwrap().seeded);
    assert!(fs::read_to_string(root.join(META_DB)).unwrap().starts_with("meta "));
    // A marker without its database is no seed either.
    fs::remove_file(root.join(META_DB)).unwrap();
    assert!(place(&store, &root).unwrap().seeded);
}

#[test]
fn a_tree_deeper_than_any_stack_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    fs::create_dir(&top).unwrap();
    let mut at =
        nix::dir::Dir::open(&top, nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty()).unwrap();
    for _ in 0..3000 {
        let name = c"a-name-that-makes-the-whole-path-longer-than-path-max";
        nix::sys::stat::mkdirat(&at, name, nix::sys::stat::Mode::S_IRWXU).unwrap();
        at = nix::dir::Dir::openat(&at, name, nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty())
            .unwrap();
    }
    clear::clear(&top).unwrap();
    assert_eq!(fs::read_dir(&top).unwrap().count(), 0);
}

#[test]
fn a_folder_of_many_files_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..2500 {
        fs::write(folder.path().join(number.to_string()), "").unwrap();
        fs::create_dir(folder.path().join(format!("d{number}"))).unwrap();
    }
    clear::clear(folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn bad_manifests_are_told_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &identity('a'), &[]);
    for text in ["", "{}", "[", r#"{"identity":"../../x","images":[],"snapshots":[]}"#] {
        fs::write(store.join("store.json"), text).unwrap();
        let error = place(&store, &folder.path().join("root")).unwrap_err();
        assert!(matches!(error, StoreError::Manifest { .. }), "{error}");
        assert_eq!(error.fault().code, Code::StoreFailed);
    }
    assert!(!folder.path().join("root").exists());
}

/// In a mount namespace of this thread's own; as another user than root there is none to be had.
fn in_mount_namespace(name: &str, test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: {name}: needs root, for mounts");
        return;
    }
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
        test();
    });
    thread.join().unwrap();
}

#[test]
fn layers_are_mounted_read_only_and_survive_a_second_call() {
    in_mount_namespace("layers_are_mounted_read_only_and_survive_a_second_call", || {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), &identity('a'), &[1, 2]);
        let root = folder.path().join("containerd");
        for _ in 0..2 {
            assert_eq!(place(&store, &root).unwrap().snapshots, 2);
            let layer = root.join(SNAPSHOTTER).join("snapshots/2/fs");
            assert_eq!(fs::read(layer.join("bin/x")).unwrap(), b"2");
            let error = fs::write(layer.join("bin/x"), "3").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        }
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let ours = mounts.lines().filter(|line| line.contains("snapshots/2/fs")).count();
        assert_eq!(ours, 1, "{mounts}");
    });
}

#[test]
fn nothing_behind_a_mount_is_deleted() {
    in_mount_namespace("nothing_behind_a_mount_is_deleted", || {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("containerd");
        let first = store(folder.path(), &identity('a'), &[1]);
        // The layer is mounted read-only; mount something writable, as the sealed root would never be.
        place(&first, &root).unwrap();
        let precious = folder.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("keep"), "kept").unwrap();
        let mounted = root.join("mounted");
        fs::create_dir(&mounted).unwrap();
        mount(Some(&precious), &mounted, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();

        let error = place(&store(folder.path(), &identity('b'), &[1]), &root).unwrap_err();
        assert!(
            matches!(&error, StoreError::File { source, .. } if source.raw_os_error() == Some(libc::EBUSY)),
            "{error}"
        );
        assert!(error.fault().help.contains("unmount"));
        assert_eq!(fs::read(precious.join("keep")).unwrap(), b"kept");
        assert_eq!(fs::read(first.join("snapshots/1/fs/bin/x")).unwrap(), b"1");
        assert!(!root.join(SEEDED).exists());
    });
}
