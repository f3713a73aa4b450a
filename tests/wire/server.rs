//! A server that replays responses.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Captures split at every position: one of each kind of short response.
const EVERY: [&str; 7] = [
    "e_404",
    "e_nomessages",
    "k_bad",
    "kvu_3",
    "lcp_badjson",
    "lcp_toolong_stream",
    "loading_chat",
];
/// Splits sampled for the other captures.
const SAMPLE: usize = 8;

/// A response and the way it is written.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    bytes: Arc<[u8]>,
    /// The positions between writes.
    cuts: Vec<usize>,
    reset: bool,
    keep_open: bool,
    /// True if the next request on this connection is read and not answered.
    last: bool,
}

impl Play {
    /// One write, then the connection is closed.
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into(),
            cuts: Vec::new(),
            reset: false,
            keep_open: false,
            last: false,
        }
    }

    /// Resets the connection afterwards.
    pub(crate) fn reset(bytes: Vec<u8>) -> Self {
        Self {
            reset: true,
            ..Self::whole(bytes)
        }
    }

    /// Waits for the next request afterwards.
    pub(crate) fn kept_open(self) -> Self {
        Self {
            keep_open: true,
            ..self
        }
    }

    /// Seems to keep the connection and drops it at the next request, as llama-server does when another connection waits
    /// for one of its threads.
    pub(crate) fn dying(self) -> Self {
        Self {
            last: true,
            ..self.kept_open()
        }
    }

    fn cut(&self, cuts: Vec<usize>) -> Self {
        Self { cuts, ..self.clone() }
    }

    pub(crate) fn cuts(&self) -> &[usize] {
        &self.cuts
    }
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "wire"].iter().collect()
}

fn read(name: &str) -> (Vec<u8>, Vec<u8>) {
    let raw = std::fs::read(folder().join(format!("{name}.raw"))).unwrap();
    let mark = b"\n<<<\n";
    let at = raw.windows(mark.len()).position(|here| here == mark).unwrap();
    let request = raw.get(b">>>\n".len()..at).unwrap().to_vec();
    (request, raw.get(at + mark.len()..).unwrap().to_vec())
}

/// The response of a capture.
pub(crate) fn capture(name: &str) -> Vec<u8> {
    read(name).1
}

/// Captures of a chat completion or an error, by name.
pub(crate) fn captured_names() -> Vec<String> {
    let files = std::fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().path());
    let names = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "raw"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<String> = names
        .filter(|name| {
            let (request, response) = read(name);
            let failed = [&b"HTTP/1.1 4"[..], b"HTTP/1.1 5"];
            request.starts_with(b"POST /v1/chat/completions HTTP")
                || failed.iter().any(|head| response.starts_with(head))
        })
        .collect();
    names.sort();
    names
}

/// The ways to replay a response: one write; two writes, split at every position or a sample; many writes.
pub(crate) fn cuts(name: &str, response: &[u8]) -> Vec<Play> {
    let whole = Play::whole(response.to_vec());
    let length = response.len();
    let mut plays = vec![whole.clone()];
    if EVERY.contains(&name) || length == 0 {
        plays.extend((1..length).map(|at| whole.cut(vec![at])));
        return plays;
    }
    // a small generator: the same splits on every machine
    let mut state = length as u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % length
    };
    for _ in 0..SAMPLE {
        plays.push(whole.cut(vec![draw()]));
    }
    let mut many: Vec<usize> = (0..24).map(|_| draw()).collect();
    many.sort_unstable();
    plays.push(whole.cut(many));
    plays
}

/// A replay server: one response per request, in order.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    plays: VecDeque<Play>,
    requests: Vec<String>,
    connections: usize,
    current: Option<TcpStream>,
    stopped: bool,
}

impl Server {
    pub(crate) fn start(plays: Vec<Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared {
            plays: plays.into(),
            ..Shared::default()
        }));
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            loop {
                let stream = accept(&listener);
                let mut shared = state.lock().unwrap();
                if shared.stopped {
                    break;
                }
                shared.connections += 1;
                shared.current = Some(stream.try_clone().unwrap());
                drop(shared);
                serve(stream, &state);
                state.lock().unwrap().current = None;
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.lock().unwrap().requests.clone()
    }

    /// The number of answered requests.
    pub(crate) fn served(&self) -> usize {
        self.requests().len()
    }

    /// The number of connections.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().unwrap().connections
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut shared = self.shared.lock().unwrap();
        shared.stopped = true;
        if let Some(stream) = shared.current.take() {
            drop(stream.shutdown(Shutdown::Both));
        }
        drop(shared);
        // wakes the accepting thread
        drop(TcpStream::connect(self.address));
    }
}

/// Accepts a connection; a timeout makes a hang fail the test.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn serve(mut stream: TcpStream, shared: &Mutex<Shared>) {
    while let Some(request) = finish_request(&mut stream) {
        let mut state = shared.lock().unwrap();
        state.requests.push(request);
        let play = state.plays.pop_front().expect("a play for each request");
        drop(state);
        let mut from = 0;
        for to in play.cuts.iter().copied().chain([play.bytes.len()]) {
            write_all(&mut stream, play.bytes.get(from..to).unwrap());
            from = to;
            // lets the client read this part before the next one arrives
            std::thread::yield_now();
        }
        if play.reset {
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            // the clone that stops the server would keep the socket open
            shared.lock().unwrap().current = None;
        }
        if play.last {
            drop(finish_request(&mut stream));
        }
        if play.last || !play.keep_open {
            break;
        }
    }
}

/// Writes and flushes. A disconnected client is not an error of the server.
pub(crate) fn write_all(stream: &mut TcpStream, bytes: &[u8]) {
    if stream.write_all(bytes).is_ok() {
        drop(stream.flush());
    }
}

/// Reads one request; `None` if the client has closed the connection.
pub(crate) fn finish_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(request) = complete(&bytes) {
            return Some(request);
        }
        match stream.read(&mut part) {
            Ok(0) => return None,
            Ok(read) => bytes.extend_from_slice(part.get(..read)?),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// The request, once its whole body has arrived.
fn complete(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    (body.len() >= length.unwrap_or(0)).then(|| text.clone().into_owned())
}
