//! A web server on the loopback address for tests: one thread a connection, gone with the test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Path with its leading slash.
    pub path: String,
    /// First byte of a `Range` header.
    pub from: Option<usize>,
}

/// What to answer.
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// Body; its length is announced.
    pub body: Vec<u8>,
    /// The connection is cut after this many bytes of the body.
    pub cut_after: Option<usize>,
}

impl Reply {
    /// A whole file, ranges not understood.
    pub fn whole(body: &[u8]) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_vec(), cut_after: None }
    }
    /// Only a status.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut_after: None }
    }
    /// A file, from where the request wants it.
    pub fn range(body: &[u8], from: Option<usize>) -> Self {
        match from {
            Some(from) if from < body.len() => Self {
                status: 206,
                headers: vec![(
                    "Content-Range".into(),
                    format!("bytes {from}-{}/{}", body.len() - 1, body.len()),
                )],
                body: body[from..].to_vec(),
                cut_after: None,
            },
            Some(_) => Self::status(416),
            None => Self::whole(body),
        }
    }
    /// With the connection cut in the middle of the body.
    pub fn cut(mut self, after: usize) -> Self {
        self.cut_after = Some(after);
        self
    }
}

/// A running server.
pub struct Server {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers every request by `answer`, which is told how many requests came before.
    pub fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let answer = Arc::new(answer);
        let all = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, seen) = (answer.clone(), all.clone());
                std::thread::spawn(move || serve(stream, &*answer, &seen));
            }
        });
        Self { url, seen }
    }
    /// A folder of files.
    pub fn files(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::start(move |request, _| match files.get(&request.path) {
            Some(body) => Reply::range(body, request.from),
            None => Reply::status(404),
        })
    }
    /// What was asked for so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

/// Serves one request and closes the connection.
fn serve(mut stream: TcpStream, answer: &dyn Fn(&Request, usize) -> Reply, seen: &Mutex<Vec<Request>>) {
    let mut lines = BufReader::new(stream.try_clone().expect("clone")).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or("").to_owned();
    let mut from = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    let request = Request { path, from };
    let before = {
        let mut seen = seen.lock().expect("not poisoned");
        seen.push(request.clone());
        seen.len() - 1
    };
    let reply = answer(&request, before);
    let mut head = format!(
        "HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let end = reply.cut_after.unwrap_or(reply.body.len()).min(reply.body.len());
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(b"\r\n");
    let _ = stream.write_all(&reply.body[..end]);
}
