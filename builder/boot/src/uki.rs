//! Unified kernel images: PE sections behind systemd's stub, and the way back.
//!
//! Takes the stub's bytes and the parts, gives the UKI's bytes. Pure. Nothing but the inputs goes in: two runs give
//! the same bytes.
//!
//! Format: UAPI group's *Unified Kernel Image* specification and Microsoft's *PE Format*; order and alignment as
//! systemd-ukify 257 has them: sections follow the stub's own in memory and in the file, `.linux` comes last and
//! spans in memory what the kernel's own PE header asks for.

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile64};

const SECTION_HEADER: usize = 40;
/// A UKI is loaded by 32-bit offsets, and firmware has its own limits far below.
const MAX_SIZE: usize = 1 << 30;

/// Sections that could not be appended, or a file that is no PE image.
#[derive(Debug, thiserror::Error)]
pub enum UkiError {
    /// No 64-bit PE image.
    #[error("UKI: the {what} is no 64-bit PE image: {why}")]
    NotPe {
        /// Stub, kernel or UKI.
        what: &'static str,
        /// The reader's words.
        why: String,
    },
    /// The stub's headers have no room for more sections.
    #[error(
        "UKI: the stub's header has room for {room} more sections, {wanted} are wanted\n\
         help: take the stub of systemd-boot-efi 252 or newer"
    )]
    NoRoom {
        /// Free slots.
        room: usize,
        /// Sections to append.
        wanted: usize,
    },
    /// The stub is signed: appending would break the signature.
    #[error("UKI: the stub is signed; take the unsigned one, the UKI is signed as a whole")]
    Signed,
    /// The stub has a section of this name already.
    #[error("UKI: the stub already has a section \"{0}\"")]
    Taken(String),
    /// Larger than a PE image may be.
    #[error("UKI: the image would be larger than 1 GiB")]
    TooLarge,
}

/// What a UKI is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// `/usr/lib/os-release`.
    pub os_release: &'a [u8],
    /// Kernel release.
    pub uname: &'a str,
    /// Kernel command line.
    pub cmdline: &'a str,
    /// initramfs.
    pub initrd: &'a [u8],
    /// Kernel (bzImage with an EFI stub, itself a PE image).
    pub linux: &'a [u8],
}

/// A section as it lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section<'a> {
    /// Name with its dot.
    pub name: String,
    /// Bytes in the file, without the padding behind them where the header tells.
    pub data: &'a [u8],
}

/// Appends the parts to `stub`.
pub fn assemble(stub: &[u8], parts: &Parts<'_>) -> Result<Vec<u8>, UkiError> {
    let kernel_span = span_in_memory(parts.linux)?.max(parts.linux.len());
    let sections: [(&str, &[u8], usize); 5] = [
        (".osrel", parts.os_release, parts.os_release.len()),
        (".cmdline", parts.cmdline.as_bytes(), parts.cmdline.len()),
        (".uname", parts.uname.as_bytes(), parts.uname.len()),
        (".initrd", parts.initrd, parts.initrd.len()),
        (".linux", parts.linux, kernel_span),
    ];
    let layout = Layout::read(stub, &sections)?;
    let mut image = stub.to_vec();
    pad(&mut image, layout.file_alignment)?;
    let (mut address, mut table, mut added) = (layout.next_address, layout.table_end, 0usize);
    for (name, data, span) in sections {
        let start = image.len();
        image.extend_from_slice(data);
        pad(&mut image, layout.file_alignment)?;
        let characteristics =
            if name == ".linux" { pe::IMAGE_SCN_CNT_CODE } else { pe::IMAGE_SCN_CNT_INITIALIZED_DATA };
        let mut header = [0u8; SECTION_HEADER];
        header[..name.len()].copy_from_slice(name.as_bytes());
        put(&mut header, 8, size32(span)?);
        put(&mut header, 12, size32(address)?);
        put(&mut header, 16, size32(image.len() - start)?);
        put(&mut header, 20, size32(start)?);
        put(&mut header, 36, (characteristics | pe::IMAGE_SCN_MEM_READ).0);
        image[table..table + SECTION_HEADER].copy_from_slice(&header);
        table += SECTION_HEADER;
        added += span;
        address = align(address + span, layout.section_alignment)?;
    }
    layout.write_totals(&mut image, sections.len(), added, address)?;
    Ok(image)
}

/// The sections of a PE image, in the order of its table.
pub fn sections(image: &[u8]) -> Result<Vec<Section<'_>>, UkiError> {
    let not_pe = |e: object::read::Error| UkiError::NotPe { what: "image", why: e.to_string() };
    let file = PeFile64::parse(image).map_err(not_pe)?;
    let mut out = Vec::new();
    for section in file.section_table().iter() {
        let data = section.pe_data(image).map_err(not_pe)?;
        let len = (section.virtual_size.get(LE) as usize).min(data.len());
        let end = section.name.iter().position(|b| *b == 0).unwrap_or(section.name.len());
        let name = String::from_utf8_lossy(section.name.get(..end).unwrap_or(&[])).into_owned();
        out.push(Section { name, data: data.get(..len).unwrap_or(&[]) });
    }
    Ok(out)
}

/// Where the stub's headers lie and what comes next.
struct Layout {
    nt: usize,
    optional: usize,
    table_end: usize,
    section_alignment: usize,
    file_alignment: usize,
    next_address: usize,
}

impl Layout {
    fn read(stub: &[u8], sections: &[(&str, &[u8], usize)]) -> Result<Self, UkiError> {
        let not_pe = |e: object::read::Error| UkiError::NotPe { what: "stub", why: e.to_string() };
        let odd = |why: &str| UkiError::NotPe { what: "stub", why: why.to_owned() };
        let file = PeFile64::parse(stub).map_err(not_pe)?;
        if file.data_directories().get(pe::IMAGE_DIRECTORY_ENTRY_SECURITY).is_some() {
            return Err(UkiError::Signed);
        }
        let headers = file.nt_headers();
        let optional = headers.optional_header();
        let nt = file.dos_header().nt_headers_offset() as usize;
        let table = nt + 24 + headers.file_header().size_of_optional_header.get(LE) as usize;
        let table_end = table + file.section_table().len() * SECTION_HEADER;
        let (section_alignment, file_alignment) =
            (optional.section_alignment() as usize, optional.file_alignment() as usize);
        if !section_alignment.is_power_of_two() || !file_alignment.is_power_of_two() {
            return Err(odd("its alignments are no powers of two"));
        }
        let mut first_data = optional.size_of_headers() as usize;
        let mut end = 0;
        for s in file.section_table().iter() {
            let name = String::from_utf8_lossy(&s.name).trim_end_matches('\0').to_owned();
            if sections.iter().any(|(n, ..)| *n == name) {
                return Err(UkiError::Taken(name));
            }
            if s.size_of_raw_data.get(LE) > 0 {
                first_data = first_data.min(s.pointer_to_raw_data.get(LE) as usize);
            }
            end = end.max(s.virtual_address.get(LE) as usize + s.virtual_size.get(LE) as usize);
        }
        let room = first_data.min(stub.len()).saturating_sub(table_end) / SECTION_HEADER;
        if room < sections.len() {
            return Err(UkiError::NoRoom { room, wanted: sections.len() });
        }
        let next_address = align(end, section_alignment)?;
        Ok(Self { nt, optional: nt + 24, table_end, section_alignment, file_alignment, next_address })
    }

    /// Offsets: PE Format, "COFF File Header" and "Optional Header" (PE32+).
    fn write_totals(&self, image: &mut [u8], more: usize, data: usize, end: usize) -> Result<(), UkiError> {
        let count = u16::from_le_bytes([image[self.nt + 6], image[self.nt + 7]]) as usize + more;
        let count = u16::try_from(count).map_err(|_| UkiError::TooLarge)?;
        image[self.nt + 6..self.nt + 8].copy_from_slice(&count.to_le_bytes());
        // No symbol table: what the stub's header points at would now lie inside a section.
        put(image, self.nt + 12, 0);
        put(image, self.nt + 16, 0);
        let at = self.optional + 8;
        let before = u32::from_le_bytes([image[at], image[at + 1], image[at + 2], image[at + 3]]);
        put(image, at, before.checked_add(size32(data)?).ok_or(UkiError::TooLarge)?);
        put(image, self.optional + 56, size32(end)?);
        put(image, self.optional + 64, 0);
        Ok(())
    }
}

/// Bytes that the kernel's own PE header asks for in memory.
fn span_in_memory(linux: &[u8]) -> Result<usize, UkiError> {
    let file = PeFile64::parse(linux).map_err(|e| UkiError::NotPe { what: "kernel", why: e.to_string() })?;
    let span = file.nt_headers().optional_header().size_of_image() as usize;
    if span > MAX_SIZE { Err(UkiError::TooLarge) } else { Ok(span) }
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn size32(n: usize) -> Result<u32, UkiError> {
    u32::try_from(n).ok().filter(|_| n <= MAX_SIZE).ok_or(UkiError::TooLarge)
}

fn align(n: usize, to: usize) -> Result<usize, UkiError> {
    n.checked_next_multiple_of(to.max(1)).filter(|n| *n <= MAX_SIZE).ok_or(UkiError::TooLarge)
}

fn pad(image: &mut Vec<u8>, to: usize) -> Result<(), UkiError> {
    let len = align(image.len(), to)?;
    image.resize(len, 0);
    Ok(())
}
