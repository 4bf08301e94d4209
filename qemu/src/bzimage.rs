//! The uncompressed kernel inside a bzImage.
//!
//! Takes a bzImage's bytes, gives the ELF image that QEMU starts through its PVH entry. Pure. Under TCG this saves the
//! guest from decompressing itself by translated code: some six seconds of a boot.
//!
//! Format: kernel `Documentation/arch/x86/boot.rst`, fields `setup_sects`, `payload_offset`, `payload_length`; the
//! payload's last four bytes are its uncompressed size. PVH: Xen's `docs/misc/pvh.pandoc`, ELF note 18.

use std::io::Read;

/// More than any kernel is.
const MOST: u64 = 512 << 20;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The kernel, uncompressed; none when the image is none, its payload is no zstd, or the kernel has no PVH entry: such
/// an image is booted as it is.
pub(crate) fn vmlinux(image: &[u8]) -> Option<Vec<u8>> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?));
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup = match *image.get(0x1f1)? {
        0 => 4,
        n => usize::from(n),
    };
    let start = (setup + 1) * 512 + u32_at(0x248)? as usize;
    let payload = image.get(start..start.checked_add(u32_at(0x24c)? as usize)?)?;
    let (packed, size) = payload.split_at_checked(payload.len().checked_sub(4)?)?;
    let size = u64::from(u32::from_le_bytes(size.try_into().ok()?));
    if !packed.starts_with(&ZSTD_MAGIC) || size > MOST {
        return None;
    }
    let mut kernel = Vec::new();
    zstd::Decoder::new(packed).ok()?.take(MOST).read_to_end(&mut kernel).ok()?;
    (kernel.len() as u64 == size && kernel.starts_with(b"\x7fELF") && has_pvh_entry(&kernel))
        .then_some(kernel)
}

/// Looks for the note's header: name size 4, descriptor size 4 or 8, type 18, name "Xen".
fn has_pvh_entry(kernel: &[u8]) -> bool {
    [4u8, 8].iter().any(|size| {
        let note = [4, 0, 0, 0, *size, 0, 0, 0, 18, 0, 0, 0, b'X', b'e', b'n', 0];
        kernel
            .chunks(4)
            .enumerate()
            .any(|(i, word)| word == &note[..4] && kernel.get(i * 4..i * 4 + note.len()) == Some(&note[..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kernel(pvh: bool) -> Vec<u8> {
        let mut k = vec![0u8; 4096];
        k[..4].copy_from_slice(b"\x7fELF");
        if pvh {
            k[2048..2064].copy_from_slice(&[4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0, b'X', b'e', b'n', 0]);
        }
        k
    }

    fn bzimage(kernel: &[u8]) -> Vec<u8> {
        let mut payload = zstd::bulk::compress(kernel, 3).expect("zstd");
        payload.extend((kernel.len() as u32).to_le_bytes());
        let mut b = vec![0u8; 1024 + 16];
        b[0x1f1] = 1;
        b[0x202..0x206].copy_from_slice(b"HdrS");
        b[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        b[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        b.extend(payload);
        b
    }

    #[test]
    fn the_kernel_comes_out_if_it_can_be_started() {
        assert_eq!(vmlinux(&bzimage(&kernel(true))), Some(kernel(true)));
        assert_eq!(vmlinux(&bzimage(&kernel(false))), None, "no PVH entry");
        assert_eq!(vmlinux(b"no kernel at all"), None);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in prop::collection::vec((0usize..1040, any::<u8>()), 0..8), cut in 0usize..1200) {
            let mut image = bzimage(&kernel(true));
            for (at, byte) in at {
                image[at] = byte;
            }
            image.truncate(cut);
            let _ = vmlinux(&image);
        }
    }
}
