//! Records of a segment and the protobuf messages in them.
//!
//! A segment is a row of frames: a 64-bit little-endian length (low 56 bits: bytes of the record; top bit: the three bits
//! below it are bytes of padding) and a protobuf Record with a CRC-32C that runs over the data of all records before it.
//! A length of zero is space that was allocated ahead.

pub const METADATA: u64 = 1;
pub const ENTRY: u64 = 2;
pub const STATE: u64 = 3;
pub const CRC: u64 = 4;
pub const SNAPSHOT: u64 = 5;

/// Bytes of a frame's length.
pub const HEAD: usize = 8;

/// One record; its sum is not checked.
pub struct Record<'a> {
    pub kind: u64,
    pub crc: u32,
    pub data: &'a [u8],
}

/// What lies at a place of a segment.
pub enum Frame<'a> {
    /// Nothing more: the end of the bytes, or space that was allocated ahead.
    End,
    /// Fewer bytes than the frame has.
    Short,
    /// As many bytes as the frame has, and `record` if it can be read.
    Whole { record: Option<Record<'a>>, body: &'a [u8] },
}

/// The frame at `at`.
pub fn frame(segment: &[u8], at: usize) -> Frame<'_> {
    let rest = segment.get(at..).unwrap_or_default();
    let Some((head, after)) = rest.split_first_chunk::<HEAD>() else {
        return if rest.is_empty() { Frame::End } else { Frame::Short };
    };
    let length = u64::from_le_bytes(*head);
    if length == 0 {
        return Frame::End;
    }
    let bytes = usize::try_from(length & !(0xff << 56)).unwrap_or(usize::MAX);
    let padding = if length >> 63 == 1 { usize::try_from((length >> 56) & 7).unwrap_or(0) } else { 0 };
    match bytes.checked_add(padding).and_then(|n| after.get(..n)) {
        None => Frame::Short,
        Some(body) => {
            // etcd pads to a multiple of eight; any other padding is a damaged length.
            let fits = padding == 0 || body.len() % 8 == 0;
            Frame::Whole { record: body.get(..bytes).filter(|_| fits).and_then(Record::parse), body }
        }
    }
}

/// The bytes of a frame with this record.
pub fn framed(kind: u64, crc: u32, data: &[u8]) -> Vec<u8> {
    let mut record = number(1, kind);
    record.extend(number(2, u64::from(crc)));
    if kind != CRC {
        record.extend(bytes(3, data));
    }
    let padding = record.len().wrapping_neg() % 8;
    let mut length = u64::try_from(record.len()).unwrap_or(u64::MAX);
    if padding > 0 {
        length |= (0x80 | u64::try_from(padding).unwrap_or(0)) << 56;
    }
    let mut frame = length.to_le_bytes().to_vec();
    frame.append(&mut record);
    frame.resize(frame.len().saturating_add(padding), 0);
    frame
}

impl<'a> Record<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut record = Record { kind: 0, crc: 0, data: &[] };
        for field in fields(bytes)? {
            match field {
                (1, Value::Number(kind)) => record.kind = kind,
                (2, Value::Number(crc)) => record.crc = u32::try_from(crc).ok()?,
                (3, Value::Bytes(data)) => record.data = data,
                _ => return None,
            }
        }
        Some(record)
    }
}

/// A field's value, of the two wire types that etcd uses here.
pub enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Fields of a protobuf message: tag and value. `None`: not one, or with a wire type that etcd does not use here.
pub fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(value)
            }
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

/// The number under a tag, 0 where there is none; `None`: something else lies there.
pub fn number_of(fields: &[(u64, Value<'_>)], tag: u64) -> Option<u64> {
    let last = fields.iter().rev().find(|(t, _)| *t == tag);
    last.map_or(Some(0), |(_, v)| if let Value::Number(n) = v { Some(*n) } else { None })
}

/// A field with a number.
pub fn number(tag: u8, value: u64) -> Vec<u8> {
    let mut out = vec![tag << 3];
    put_varint(&mut out, value);
    out
}

/// A field with bytes.
pub fn bytes(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    put_varint(&mut out, u64::try_from(value.len()).unwrap_or(u64::MAX));
    out.extend(value);
    out
}

fn put_varint(out: &mut Vec<u8>, mut left: u64) {
    while left >= 0x80 {
        out.push(u8::try_from(left & 0x7f).unwrap_or(0) | 0x80);
        left >>= 7;
    }
    out.push(u8::try_from(left).unwrap_or(0));
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// CRC-32C (Castagnoli), going on from `crc`.
pub fn crc32c(crc: u32, data: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        let at = usize::from((sum ^ u32::from(*byte)).to_le_bytes()[0]);
        (sum >> 8) ^ TABLE.get(at).copied().unwrap_or(0)
    };
    !data.iter().fold(!crc, step)
}

#[expect(clippy::indexing_slicing, reason = "in a constant: the compiler checks it")]
const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};
