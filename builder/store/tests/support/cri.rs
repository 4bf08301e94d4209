//! One question to the CRI plugin, as the kubelet asks it: which images are there?
//!
//! gRPC over HTTP/2 over a Unix socket, written out: one request on one stream, headers of the answer not looked at.
//! Source: RFC 9113 (frames), RFC 7541 (literal header fields), cri-api runtime/v1 api.proto (ListImages).

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What the kubelet learns of an image.
#[derive(Debug, PartialEq, Eq)]
pub struct CriImage {
    pub id: String,
    pub tags: Vec<String>,
    pub size: u64,
    pub pinned: bool,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// `ListImages` without a filter, sorted by tag.
pub fn list_images(socket: &Path) -> Vec<CriImage> {
    let answer = unary(socket, "/runtime.v1.ImageService/ListImages");
    let mut images: Vec<CriImage> = fields(&answer)
        .into_iter()
        .filter(|field| field.number == 1)
        .map(|field| image(field.bytes))
        .collect();
    images.sort_by(|a, b| a.tags.cmp(&b.tags));
    images
}

fn image(bytes: &[u8]) -> CriImage {
    let mut image = CriImage { id: String::new(), tags: Vec::new(), size: 0, pinned: false };
    for field in fields(bytes) {
        let text = || String::from_utf8(field.bytes.to_vec()).unwrap();
        match field.number {
            1 => image.id = text(),
            2 => image.tags.push(text()),
            4 => image.size = field.varint,
            8 => image.pinned = field.varint == 1,
            _ => {}
        }
    }
    image
}

fn unary(socket: &Path, method: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    send(&mut stream, SETTINGS, 0, 0, &[]);
    // Indexed :method POST and :scheme http; then literals without indexing by indexed or literal name.
    let mut headers = vec![0x83, 0x86];
    for (name, value) in [
        (vec![0x04], method),
        (vec![0x01], "localhost"),
        (vec![0x0f, 31 - 15], "application/grpc"),
        (b"\x00\x02te".to_vec(), "trailers"),
    ] {
        headers.extend(name);
        headers.push(value.len() as u8);
        headers.extend(value.as_bytes());
    }
    send(&mut stream, HEADERS, END_HEADERS, 1, &headers);
    send(&mut stream, DATA, END_STREAM, 1, &[0; 5]);
    let mut answer = Vec::new();
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).unwrap();
        let [a, b, c, kind, flags, ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).unwrap();
        match kind {
            DATA => answer.extend(payload),
            SETTINGS if flags & ACK == 0 => send(&mut stream, SETTINGS, ACK, 0, &[]),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            break;
        }
    }
    assert!(answer.len() >= 5, "{method} was answered with an error");
    answer.split_off(5)
}

fn send(stream: &mut UnixStream, kind: u8, flags: u8, number: u32, payload: &[u8]) {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(number.to_be_bytes());
    frame.extend(payload);
    stream.write_all(&frame).unwrap();
}

struct Field<'a> {
    number: u64,
    varint: u64,
    bytes: &'a [u8],
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = varint(&mut bytes);
        let (here, rest) = match tag & 7 {
            0 => (&bytes[..0], bytes),
            2 => bytes.split_at(value as usize),
            wire => panic!("wire type {wire} in a message of the CRI"),
        };
        bytes = rest;
        out.push(Field { number: tag >> 3, varint: value, bytes: here });
    }
    out
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a varint ends");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}
