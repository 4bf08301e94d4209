//! The store as a tree: what lies where, what the databases say, what is refused.

mod support;

use nodeimg_contract::paths::STORE;
use nodeimg_contract::store::StoreManifest;
use nodeimg_payload::Image;
use nodeimg_store::bolt::{self, Bucket};
use nodeimg_store::encoding::{go_time, uvarint, varint};
use nodeimg_store::{LEASE, StoreError, bake};
use nodeimg_tree::{Entry, Kind, Part, RootTree, TreePath};
use support::{image, two_images};

const EPOCH: u64 = 1_700_000_000;

fn images() -> (tempfile::TempDir, Vec<Image>) {
    let folder = tempfile::tempdir().unwrap();
    let images = two_images(folder.path());
    (folder, images)
}

fn entry<'a>(tree: &'a RootTree, path: &str) -> &'a Entry {
    tree.get(&TreePath::parse(STORE).unwrap().join(path).unwrap()).unwrap_or_else(|| panic!("no {path}"))
}

fn bytes(tree: &RootTree, path: &str) -> Vec<u8> {
    match &entry(tree, path).kind {
        Kind::File(content) => content.read().unwrap(),
        kind => panic!("{path} is {kind:?}"),
    }
}

fn database(tree: &RootTree, path: &str) -> Bucket {
    bolt::read(&bytes(tree, path)).unwrap()
}

#[test]
fn everything_lies_where_the_contract_says() {
    let (_folder, images) = images();
    let (tree, manifest) = bake(&images, EPOCH).unwrap();
    assert_eq!(serde_json::from_slice::<StoreManifest>(&bytes(&tree, "store.json")).unwrap(), manifest);
    assert_eq!(manifest.snapshots, [1, 2]);
    assert_eq!(manifest.images[1].name, "nodeimg.invalid/test/two:1");
    assert_eq!(manifest.images[1].digest, images[1].manifest_digest);
    for image in &images {
        for (digest, blob) in
            [(&image.manifest_digest, &image.manifest), (&image.config_digest, &image.config)]
        {
            assert_eq!(&bytes(&tree, &digest.replace("sha256:", "blobs/sha256/")), blob);
        }
    }
    assert_eq!(bytes(&tree, "snapshots/2/fs/etc/name"), b"two");
    assert_eq!(entry(&tree, "snapshots/2/fs/tmp").mode, 0o1777);
    assert_eq!(entry(&tree, "snapshots/1/fs").kind, Kind::Dir);
    assert!(tree.iter().all(|(path, entry)| entry.part == Part::Images && path.as_str().len() <= 4096));
}

#[test]
fn equal_files_of_two_images_are_one() {
    let (_folder, images) = images();
    let (tree, _) = bake(&images, EPOCH).unwrap();
    for shared in ["bin/program", "etc/passwd"] {
        let first = TreePath::parse(&format!("{STORE}/snapshots/1/fs/{shared}")).unwrap();
        assert_eq!(entry(&tree, &format!("snapshots/2/fs/{shared}")).kind, Kind::Hardlink(first));
    }
}

#[test]
fn containerd_finds_images_content_snapshots_and_lease() {
    let (_folder, images) = images();
    let (tree, _) = bake(&images, EPOCH).unwrap();
    let (meta, snapshotter) = (database(&tree, "meta.db"), database(&tree, "metadata.db"));
    assert_eq!(meta.value(&["v1", "version"]), Some(varint(4).as_slice()));
    let image = &images[1];
    let (name, manifest, config) = (image.name.as_str(), &image.manifest_digest, &image.config_digest);
    let chain = &image.diff_id;

    for record in [name, config] {
        let record = meta.at(&["v1", "k8s.io", "images", record]).unwrap();
        assert_eq!(record.value(&["target", "digest"]), Some(manifest.as_bytes()));
        assert_eq!(record.value(&["target", "size"]), Some(&*varint(image.manifest.len() as u64)));
        assert_eq!(record.value(&["labels", "io.cri-containerd.image"]), Some(&b"managed"[..]));
        assert_eq!(record.value(&["labels", "io.cri-containerd.pinned"]), Some(&b"pinned"[..]));
        assert_eq!(record.value(&["createdat"]), Some(&*go_time(EPOCH)));
    }
    let blob = |digest: &str| meta.at(&["v1", "k8s.io", "content", "blob", digest]).unwrap();
    let reference = blob(manifest).value(&["labels", "containerd.io/gc.ref.content.config"]);
    assert_eq!(reference, Some(config.as_bytes()));
    let reference = blob(config).value(&["labels", "containerd.io/gc.ref.snapshot.overlayfs"]);
    assert_eq!(reference, Some(chain.as_bytes()));
    assert!(meta.at(&["v1", "k8s.io", "content", "blob", chain]).is_none(), "layers are left out");

    let backend = format!("k8s.io/2/{chain}");
    let lists = meta.at(&["v1", "k8s.io", "snapshots", "overlayfs"]).unwrap();
    assert_eq!(lists.sequence, 2);
    assert_eq!(lists.value(&[chain, "name"]), Some(backend.as_bytes()));
    let lists = snapshotter.at(&["v1", "snapshots"]).unwrap();
    assert_eq!(lists.sequence, 2);
    assert_eq!(lists.value(&[&backend, "id"]), Some(&*uvarint(2)));
    assert_eq!(lists.value(&[&backend, "kind"]), Some(&[3][..]));
    // The layer's root, bin, etc, tmp and three files.
    assert_eq!(lists.value(&[&backend, "inodes"]), Some(&*varint(7)));
    assert_eq!(lists.value(&[&backend, "size"]), Some(&*varint(7 * 4096)));
    assert!(snapshotter.at(&["v1", "parents"]).is_some());

    let lease = meta.at(&["v1", "k8s.io", "leases", LEASE]).unwrap();
    assert_eq!(lease.value(&["snapshots", "overlayfs", chain]), Some(&[][..]));
    assert_eq!(lease.value(&["content", manifest]), Some(&[][..]));
    assert!(lease.at(&["labels"]).is_none(), "it must not expire");
}

#[test]
fn order_does_not_matter_and_content_and_date_do() {
    let (_folder, mut images) = images();
    let first = bake(&images, EPOCH).unwrap();
    images.reverse();
    assert_eq!(bake(&images, EPOCH).unwrap(), first);
    assert_ne!(bake(&images, EPOCH + 1).unwrap().1.identity, first.1.identity);
    images.pop();
    assert_ne!(bake(&images, EPOCH).unwrap().1.identity, first.1.identity);
}

#[test]
fn two_names_of_one_layer_share_a_snapshot() {
    let (_folder, mut images) = images();
    images[1] = image("nodeimg.invalid/test/alias:1", images[0].tree.clone());
    let (_, manifest) = bake(&images, EPOCH).unwrap();
    assert_eq!(manifest.snapshots, [1]);
    assert_eq!(manifest.images.len(), 2);
}

#[test]
fn no_images_make_an_empty_store() {
    let (tree, manifest) = bake(&[], EPOCH).unwrap();
    assert_eq!((manifest.images.len(), manifest.snapshots.len()), (0, 0));
    assert!(database(&tree, "metadata.db").at(&["v1", "snapshots"]).is_some());
}

#[test]
fn an_image_that_does_not_hold_together_is_named() {
    let (_folder, images) = images();
    let broken = |change: fn(&mut Image)| {
        let mut images = images.clone();
        change(&mut images[0]);
        bake(&images, EPOCH).unwrap_err()
    };
    let cases: [fn(&mut Image); 4] = [
        |image| image.manifest.push(b' '),
        |image| image.config.clear(),
        |image| image.diff_id = format!("sha256:{}", "0".repeat(64)),
        |image| image.config_digest = image.config_digest.replace("sha256:", "sha512:"),
    ];
    for case in cases {
        let error = broken(case);
        assert!(
            matches!(&error, StoreError::Image { image, .. } if image == "nodeimg.invalid/test/one:1"),
            "{error}"
        );
        assert!(error.to_string().contains("help: "), "{error}");
    }
    let error = broken(|image| image.name = "nodeimg.invalid/test/two:1".to_owned());
    assert!(matches!(error, StoreError::Twice(_)), "{error}");
}
