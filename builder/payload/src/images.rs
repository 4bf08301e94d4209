//! Container images of one layer, made of compiled programs and of Debian's `nft`.
//!
//! Takes image descriptions, programs in the cache, and the tree of Debian packages for images. Gives [`Image`]s: the
//! layer as a tree (that is how the baked store wants it), and the OCI documents that name its digest. The digest of a
//! layer is kept in the cache by what the layer holds, since hashing some hundred megabytes takes seconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nodeimg_cache::{Cache, Origin, digest_text};
use nodeimg_tree::{Content, Kind, RootTree};
use sha2::{Digest as _, Sha256};

use crate::PayloadError;
use crate::compile::{Program, file_io};
use crate::description::{ImageSpec, WantedBy};
use crate::elf;
use crate::layer::{self, LayerDigest};
use crate::oci;

/// An image, ready to be laid into a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Repository and tag.
    pub name: String,
    /// Who asks for it.
    pub wanted_by: WantedBy,
    /// The OCI manifest's bytes.
    pub manifest: Vec<u8>,
    /// `sha256:…` of the manifest: the image's own digest.
    pub manifest_digest: String,
    /// The OCI image configuration's bytes.
    pub config: Vec<u8>,
    /// `sha256:…` of the configuration.
    pub config_digest: String,
    /// `sha256:…` of the layer's tar stream; it is not compressed, so that this is the layer's digest as well, and,
    /// the layer being alone, its chain ID.
    pub diff_id: String,
    /// Bytes of the layer's tar stream.
    pub layer_size: u64,
    /// The layer's content.
    pub tree: RootTree,
}

/// Makes one image, dated `epoch` (seconds since 1970), and says whether its layer had to be hashed. `debian` is the
/// unpacked tree of the packages for images.
pub fn image(
    spec: &ImageSpec,
    programs: &BTreeMap<String, Program>,
    debian: &RootTree,
    epoch: u64,
    cache: &Cache,
) -> Result<(Image, Origin), PayloadError> {
    let mut tree = layer::base()?;
    for (name, path) in &spec.programs {
        let program = &programs[name];
        let content = Content::Path { path: program.path.clone(), size: program.size };
        layer::add_file(&mut tree, path, 0o755, content)?;
    }
    for wanted in &spec.debian {
        let files = elf::closure(debian, wanted)
            .map_err(|source| PayloadError::Debian { image: spec.reference(), source })?;
        for (path, content) in files {
            layer::add_file(&mut tree, &path, 0o755, content)?;
        }
    }
    let (layer, origin) = layer_digest(&tree, &facts(&tree, programs, epoch)?, epoch, cache)?;
    let documents = oci::documents(&layer, &spec.entrypoint, &oci::rfc3339(epoch));
    let image = Image {
        name: spec.reference(),
        wanted_by: spec.wanted_by.clone(),
        manifest_digest: documents.manifest.digest(),
        manifest: documents.manifest.bytes,
        config_digest: documents.config.digest(),
        config: documents.config.bytes,
        diff_id: format!("sha256:{}", layer.sha256),
        layer_size: layer.size,
        tree,
    };
    Ok((image, origin))
}

/// Everything that decides the layer's bytes, one fact a line: every entry with its mode and the digest of its content.
/// Programs are not read again, their digests are known.
fn facts(tree: &RootTree, programs: &BTreeMap<String, Program>, epoch: u64) -> Result<String, PayloadError> {
    let mut facts = format!("epoch {epoch}\n");
    for (path, entry) in tree.iter() {
        let known = |file: &Path| programs.values().find(|program| program.path == file);
        let what = match &entry.kind {
            Kind::File(content) => match content {
                Content::Path { path: file, .. } if let Some(program) = known(file) => program.sha256.clone(),
                _ => hex::encode(Sha256::digest(file_io("read", Path::new(path.as_str()), content.read())?)),
            },
            other => format!("{other:?}"),
        };
        facts += &format!("{path} {:o} {}:{} {what}\n", entry.mode, entry.uid, entry.gid);
    }
    Ok(facts)
}

fn layer_digest(
    tree: &RootTree,
    facts: &str,
    epoch: u64,
    cache: &Cache,
) -> Result<(LayerDigest, Origin), PayloadError> {
    let key = digest_text(facts);
    let (path, origin) = cache.entry("layer", &key, |fresh| {
        let digest = file_io("read the contents of", fresh, layer::digest(tree, epoch))?;
        file_io("write", fresh, fs::write(fresh, format!("{} {}\n", digest.sha256, digest.size)))
    })?;
    let text = file_io("read", &path, fs::read_to_string(&path))?;
    let parsed = text.trim().split_once(' ').and_then(|(sha256, size)| Some((sha256, size.parse().ok()?)));
    let (sha256, size) = parsed.ok_or_else(|| PayloadError::File {
        action: "understand",
        path: path.clone(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, "no digest and size; remove the file"),
    })?;
    Ok((LayerDigest { sha256: sha256.to_owned(), size }, origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ImageSpec {
        ImageSpec {
            name: "nodeimg.invalid/k8s/x".to_owned(),
            tag: "v1".to_owned(),
            wanted_by: WantedBy::Kubeadm,
            programs: [("x".to_owned(), "/usr/local/bin/x".to_owned())].into(),
            entrypoint: vec!["/usr/local/bin/x".to_owned()],
            roles: Vec::new(),
            debian: Vec::new(),
        }
    }

    fn make(text: &str, epoch: u64) -> Image {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        let path = folder.path().join("x");
        fs::write(&path, text).unwrap();
        let (sha256, size, version) = (digest_text(text), text.len() as u64, "v1".to_owned());
        let program = Program { name: "x".to_owned(), path, sha256, size, version, node: None };
        let programs = [("x".to_owned(), program)].into();
        let (mut image, _) = image(&spec(), &programs, &RootTree::new(), epoch, &cache).unwrap();
        let digest = layer::digest(&image.tree, epoch).unwrap();
        assert_eq!(
            (image.diff_id.as_str(), image.layer_size),
            (&*format!("sha256:{}", digest.sha256), digest.size)
        );
        image.tree = RootTree::new();
        image
    }

    #[test]
    fn two_builds_in_two_folders_are_the_same_image() {
        assert_eq!(make("one", 7), make("one", 7));
    }

    #[test]
    fn another_program_or_date_is_another_image() {
        assert_ne!(make("one", 7).manifest_digest, make("two", 7).manifest_digest);
        assert_ne!(make("one", 7).manifest_digest, make("one", 8).manifest_digest);
    }

    #[test]
    fn the_key_of_a_layer_changes_with_every_entry() {
        let file = |text: &str| Content::Bytes(text.as_bytes().into());
        let key = |tree: &RootTree| facts(tree, &BTreeMap::new(), 7).unwrap();
        let base = layer::base().unwrap();
        let mut keys = vec![key(&base), facts(&base, &BTreeMap::new(), 8).unwrap()];
        for (path, mode, text) in [("x", 0o644, "a"), ("x", 0o755, "a"), ("x", 0o644, "b"), ("y", 0o644, "a")]
        {
            let mut tree = base.clone();
            layer::add_file(&mut tree, path, mode, file(text)).unwrap();
            keys.push(key(&tree));
        }
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn a_debian_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache")).unwrap();
        let mut spec = spec();
        spec.programs.clear();
        spec.debian.push("/usr/sbin/nft".to_owned());
        let error = image(&spec, &BTreeMap::new(), &RootTree::new(), 0, &cache).map(|_| ()).unwrap_err();
        assert!(matches!(error, PayloadError::Debian { image, .. } if image == "nodeimg.invalid/k8s/x:v1"));
    }
}
