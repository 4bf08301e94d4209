//! A seed by plain HTTP, for a trusted link: a seed with keys must not travel any other way than local media yet.
//!
//! HTTP/1.0 (RFC 1945), so that no server answers in chunks; everything bounded.

use super::Resolve;
use nodeimg_init_core::seed::{Documents, MAX_BYTES};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(20);
const MAX_HEAD: usize = 16 * 1024;

/// Fetches the documents that are there; 404 says that one is not.
pub fn read(host: &str, port: u16, path: &str, resolve: Resolve<'_>) -> Result<Documents, String> {
    let addresses: Vec<SocketAddr> = match host.parse() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => resolve(host)?.into_iter().take(8).map(|address| SocketAddr::new(address, port)).collect(),
    };
    let get = |name: &str| {
        let mut last = format!("\"{host}\" has no address");
        for address in &addresses {
            match get(*address, host, &format!("{path}{name}")) {
                Ok(document) => return Ok(document),
                Err(error) => last = format!("{name} from {address}: {error}"),
            }
        }
        Err(last)
    };
    Ok(Documents {
        meta_data: get("meta-data")?,
        user_data: get("user-data")?,
        vendor_data: get("vendor-data")?,
        network_config: get("network-config")?,
    })
}

fn get(address: SocketAddr, host: &str, path: &str) -> Result<Option<Vec<u8>>, String> {
    let began = Instant::now();
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, CONNECT).map_err(said)?;
    stream.set_write_timeout(Some(CONNECT)).map_err(said)?;
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: nodeimg\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(said)?;
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 8192];
    loop {
        let left =
            WHOLE.checked_sub(began.elapsed()).filter(|left| !left.is_zero()).ok_or("it takes too long")?;
        stream.set_read_timeout(Some(left)).map_err(said)?;
        let got = stream.read(&mut buffer).map_err(said)?;
        if got == 0 {
            break;
        }
        bytes.extend_from_slice(buffer.get(..got).unwrap_or_default());
        if bytes.len() > MAX_BYTES + MAX_HEAD {
            return Err(format!("the answer has more than {MAX_BYTES} bytes"));
        }
    }
    answer(&bytes)
}

/// Splits head and body. Pure.
fn answer(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let end =
        bytes.windows(4).take(MAX_HEAD).position(|window| window == b"\r\n\r\n").ok_or("no HTTP answer")?;
    let head = std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map_err(|_| "no HTTP answer")?;
    let body = bytes.get(end + 4..).unwrap_or_default();
    let mut lines = head.split("\r\n");
    let mut status = lines.next().unwrap_or_default().split(' ');
    if !status.next().is_some_and(|version| version.starts_with("HTTP/1.")) {
        return Err("no HTTP answer".into());
    }
    match status.next() {
        Some("200") => {}
        Some("404" | "410") => return Ok(None),
        other => return Err(format!("HTTP status {}", other.unwrap_or("missing"))),
    }
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") && value.parse::<usize>() != Ok(body.len()) {
            return Err(format!("{} of {value} bytes came", body.len()));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && !value.eq_ignore_ascii_case("identity") {
            return Err(format!("transfer encoding {value} in answer to HTTP/1.0"));
        }
    }
    match body.len() <= MAX_BYTES {
        true => Ok(Some(body.to_vec())),
        false => Err(format!("the answer has more than {MAX_BYTES} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers() {
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), Ok(Some(b"hi".to_vec())));
        assert_eq!(answer(b"HTTP/1.0 404 Not Found\r\n\r\n<html>"), Ok(None));
        assert!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi").is_err());
        assert!(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi").is_err());
        assert!(answer(b"HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n").is_err());
        assert!(answer(b"SSH-2.0\r\n\r\n").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), status in "[0-9 ]{0,6}") {
            let _ = answer(&bytes);
            let mut good = format!("HTTP/1.1 {status}\r\n").into_bytes();
            good.extend(&bytes);
            let _ = answer(&good);
        }
    }
}
