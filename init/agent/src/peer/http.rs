//! The little of HTTP/1.1 (RFC 9112) that the peer protocol needs: a head without a body there, a head and a body of a
//! named length back, and the connection ends.

use super::MAX_HEAD;
use nodeimg_init_core::peer::{ASKER, Asker};
use std::io::{self, Read};

const MAX_HEADERS: usize = 32;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    HeadTooLarge,
    InternalError,
}

impl Status {
    pub fn code(self) -> u16 {
        match self {
            Status::Ok => 200,
            Status::BadRequest => 400,
            Status::Forbidden => 403,
            Status::NotFound => 404,
            Status::MethodNotAllowed => 405,
            Status::HeadTooLarge => 431,
            Status::InternalError => 500,
        }
    }
    fn reason(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::BadRequest => "Bad Request",
            Status::Forbidden => "Forbidden",
            Status::NotFound => "Not Found",
            Status::MethodNotAllowed => "Method Not Allowed",
            Status::HeadTooLarge => "Request Header Fields Too Large",
            Status::InternalError => "Internal Server Error",
        }
    }
}

/// Method and path of a request without a body, and what the asker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub asker: Option<Asker>,
}

/// Status and body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A head and its length in bytes, or `None`: it is not complete yet.
type Head<T> = Result<Option<(T, usize)>, HttpError>;

/// What arrived is not what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("the head is longer than {MAX_HEAD} bytes")]
    HeadTooLong,
    #[error("it is not HTTP/1.1")]
    NotHttp,
    #[error("a body came with the request")]
    Body,
    #[error("the answer has no length")]
    NoLength,
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Bytes of a `GET`.
pub fn get(host: &str, path: &str, asker: Option<&Asker>) -> Vec<u8> {
    let asker = asker.map(|a| format!("{ASKER}: {}\r\n", a.to_text())).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: nodeinit\r\nAccept: application/json\r\n{asker}Connection: close\r\n\r\n"
    )
    .into_bytes()
}

/// Bytes of an answer in JSON.
pub fn answer(status: Status, json: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        status.code(),
        status.reason(),
        json.len()
    )
    .into_bytes();
    bytes.extend_from_slice(json);
    bytes
}

/// Reads one request.
pub fn read_request(from: &mut impl Read) -> Result<Request, HttpError> {
    read_head(from, parse_request).map(|(request, _)| request)
}

/// Reads one answer with a body of at most `max` bytes.
pub fn read_response(from: &mut impl Read, max: usize) -> Result<Response, HttpError> {
    let ((status, length), mut body) = read_head(from, parse_response)?;
    if length > max {
        return Err(HttpError::TooLong(max));
    }
    body.truncate(length);
    let rest = length.saturating_sub(body.len());
    let got = from.take(rest as u64).read_to_end(&mut body)?;
    if got < rest {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Response { status, body })
}

/// Reads until `parse` has a head; gives it and the bytes that came after it.
fn read_head<T>(from: &mut impl Read, parse: impl Fn(&[u8]) -> Head<T>) -> Result<(T, Vec<u8>), HttpError> {
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 2048];
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if let Some((head, length)) = parse(&bytes)? {
            if length > MAX_HEAD {
                return Err(HttpError::HeadTooLong);
            }
            return Ok((head, bytes.split_off(length.min(bytes.len()))));
        }
        if bytes.len() >= MAX_HEAD {
            return Err(HttpError::HeadTooLong);
        }
    }
}

fn parse_request(bytes: &[u8]) -> Head<Request> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let Some(head) = complete(request.parse(bytes))? else { return Ok(None) };
    let (Some(method), Some(path), Some(1)) = (request.method, request.path, request.version) else {
        return Err(HttpError::NotHttp);
    };
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut said = headers.iter().filter(|h| h.name.eq_ignore_ascii_case(ASKER));
    let asker = said.next().and_then(|h| Asker::parse(std::str::from_utf8(h.value).ok()?));
    let request = Request { method, path, asker };
    let has_body = headers.iter().any(|h| {
        h.name.eq_ignore_ascii_case("transfer-encoding")
            || (h.name.eq_ignore_ascii_case("content-length") && h.value != b"0")
    });
    if has_body { Err(HttpError::Body) } else { Ok(Some((request, head))) }
}

/// Status and the length of the body.
fn parse_response(bytes: &[u8]) -> Head<(u16, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let Some(head) = complete(response.parse(bytes))? else { return Ok(None) };
    let status = response.code.ok_or(HttpError::NotHttp)?;
    let mut lengths = headers.iter().filter(|h| h.name.eq_ignore_ascii_case("content-length"));
    let (length, another) = (lengths.next(), lengths.next());
    let length = length
        .filter(|_| another.is_none())
        .and_then(|h| std::str::from_utf8(h.value).ok())
        .filter(|text| text.bytes().all(|c| c.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or(HttpError::NoLength)?;
    Ok(Some(((status, length), head)))
}

/// The length of a complete head.
fn complete(parsed: httparse::Result<usize>) -> Result<Option<usize>, HttpError> {
    match parsed {
        Ok(httparse::Status::Complete(length)) => Ok(Some(length)),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(HttpError::HeadTooLong),
        Err(_) => Err(HttpError::NotHttp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives what it has in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000), piece in 1usize..50) {
            let _ = read_request(&mut Pieces(&bytes, piece));
            let _ = read_response(&mut Pieces(&bytes, piece), 100);
        }

        #[test]
        fn what_is_written_is_read(body in prop::collection::vec(any::<u8>(), 0..3000), piece in 1usize..3000) {
            let bytes = answer(Status::NotFound, &body);
            let read = read_response(&mut Pieces(&bytes, piece), 3000).expect("an answer");
            prop_assert_eq!(read, Response { status: 404, body });
            let text = format!("member {} {}", "a".repeat(32), "b".repeat(64));
            let asker = Asker::parse(&text).filter(|_| piece % 2 == 0);
            let bytes = get("cp1.peer.nodeimg.invalid", "/nodeimg/v1/standing", asker.as_ref());
            let read = read_request(&mut Pieces(&bytes, piece)).expect("a request");
            let (method, path) = ("GET".into(), "/nodeimg/v1/standing".into());
            prop_assert_eq!(read, Request { method, path, asker });
        }
    }

    #[test]
    fn bounds_and_what_is_not_ours() {
        let request = |text: &str| read_request(&mut Pieces(text.as_bytes(), 1000));
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(MAX_HEAD));
        assert!(matches!(request(&long), Err(HttpError::HeadTooLong)));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1));
        assert!(matches!(request(&many), Err(HttpError::HeadTooLong)));
        assert!(matches!(request("GET / HTTP/1.0\r\n\r\n"), Err(HttpError::NotHttp)));
        assert!(matches!(request("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"), Err(HttpError::Body)));
        assert!(matches!(request("GET / HTTP/1.1\r\n"), Err(HttpError::Io(_))));

        let response = |text: &str| read_response(&mut Pieces(text.as_bytes(), 1000), 5);
        assert!(response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").is_ok());
        for (lengths, name) in [("", "none"), ("Content-Length: +5\r\n", "a sign")] {
            let text = format!("HTTP/1.1 200 OK\r\n{lengths}\r\nhello");
            assert!(matches!(response(&text), Err(HttpError::NoLength)), "{name}");
        }
        assert!(matches!(
            response("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!"),
            Err(HttpError::TooLong(5))
        ));
        assert!(matches!(
            response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"),
            Err(HttpError::Io(_))
        ));
    }
}
