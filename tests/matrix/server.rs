//! A server that misbehaves byte by byte, over a real socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall::time::Clock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::rig::patiently;

/// A step of the server.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Writes these bytes at once.
    Write(Vec<u8>),
    /// Writes these bytes one by one with this pause.
    Drip(Vec<u8>, Duration),
    /// Repeats these bytes with this pause until the client has gone.
    Repeat(Vec<u8>, Duration),
    /// Waits until the client has gone.
    Hang,
    /// Waits for permission to continue.
    Gate(Arc<Notify>),
    /// Resets the connection.
    Reset,
    /// Waits for the next request on this connection; without this step the connection is closed.
    Next,
}

/// The response to one request, or to one connection.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    /// True if a request is read first.
    asked: bool,
    steps: Vec<Step>,
}

impl Play {
    /// Runs the steps after a request.
    pub(crate) fn new(steps: impl Into<Vec<Step>>) -> Self {
        Self {
            asked: true,
            steps: steps.into(),
        }
    }

    /// Runs the steps as soon as a connection is open.
    pub(crate) fn unasked(steps: impl Into<Vec<Step>>) -> Self {
        Self {
            asked: false,
            steps: steps.into(),
        }
    }

    /// Sends these bytes and closes the connection.
    pub(crate) fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new([Step::Write(bytes.into())])
    }

    /// Sends these bytes and runs another step.
    pub(crate) fn then(bytes: impl Into<Vec<u8>>, step: Step) -> Self {
        Self::new([Step::Write(bytes.into()), step])
    }
}

/// The log of the server.
#[derive(Debug, Default)]
struct Log {
    plays: VecDeque<Play>,
    requests: Vec<String>,
    connections: usize,
    /// Connections that the client closed before the server was done.
    left: usize,
    /// Finished connections.
    ended: usize,
    /// Bytes accepted by the client's side.
    written: u64,
}

/// A scripted server. It plays its list in order and repeats the last entry.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
    /// Aborted with the server.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    log: Mutex<Log>,
    changed: Notify,
    clock: Clock,
}

impl Server {
    pub(crate) async fn start(plays: Vec<Play>) -> Self {
        Self::over(plays, None).await
    }

    /// Starts a server, with TLS if there is an acceptor.
    pub(crate) async fn over(plays: Vec<Play>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            log: Mutex::new(Log {
                plays: plays.into(),
                ..Log::default()
            }),
            changed: Notify::new(),
            clock: Clock::start(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&state)));
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests received.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.log.lock().unwrap().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.log.lock().unwrap().connections
    }

    pub(crate) fn written(&self) -> u64 {
        self.state.log.lock().unwrap().written
    }

    /// Waits until the client has closed `count` connections of an unfinished response.
    pub(crate) async fn until_left(&self, count: usize) {
        self.until("closed connections", |log| log.left >= count).await;
    }

    pub(crate) async fn until_connected(&self, count: usize) {
        self.until("connections", |log| log.connections >= count).await;
    }

    pub(crate) async fn until_asked(&self, count: usize) {
        self.until("requests", |log| log.requests.len() >= count).await;
    }

    async fn until(&self, what: &str, met: impl Fn(&Log) -> bool) {
        let wait = async {
            loop {
                let changed = self.state.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if met(&self.state.log.lock().unwrap()) {
                    return;
                }
                changed.await;
            }
        };
        patiently(what, wait).await;
    }
}

impl State {
    fn note<R>(&self, change: impl FnOnce(&mut Log) -> R) -> R {
        let noted = change(&mut self.log.lock().unwrap());
        self.changed.notify_waiters();
        noted
    }

    /// The next play if it starts in this way.
    fn next_play(&self, asked: bool) -> Option<Play> {
        let mut log = self.log.lock().unwrap();
        let first = log.plays.front().expect("a play");
        if first.asked != asked {
            return None;
        }
        if log.plays.len() > 1 {
            log.plays.pop_front()
        } else {
            Some(first.clone())
        }
    }
}

/// A connection, with or without TLS.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        state.note(|log| log.connections += 1);
        let (state, tls) = (Arc::clone(&state), tls.clone());
        connections.spawn(async move {
            match tls {
                None => serve(stream, &state).await,
                // a client that rejects the certificate ends the handshake here
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, &state).await,
                    Err(_) => state.note(|log| log.left += 1),
                },
            }
            state.note(|log| log.ended += 1);
        });
    }
}

async fn serve(mut stream: impl Wire, state: &State) {
    if let Some(play) = state.next_play(false) {
        perform(&mut stream, &play, state).await;
        return;
    }
    while let Some(request) = read_request(&mut stream).await {
        state.note(|log| log.requests.push(request));
        let play = state.next_play(true).expect("a play that is asked for");
        if !perform(&mut stream, &play, state).await {
            return;
        }
    }
    state.note(|log| log.left += 1);
}

/// Plays a response; returns true if the connection stays open for another request.
async fn perform(stream: &mut impl Wire, play: &Play, state: &State) -> bool {
    for step in &play.steps {
        let here = match step {
            Step::Write(bytes) => write(stream, bytes, state).await,
            Step::Drip(bytes, pause) => drip(stream, bytes, *pause, state).await,
            Step::Repeat(bytes, pause) => loop {
                if !(write(stream, bytes, state).await && stays(stream, *pause, state).await) {
                    break false;
                }
            },
            Step::Gate(gate) => {
                gate.notified().await;
                true
            }
            Step::Hang => stays(stream, Duration::MAX, state).await,
            Step::Reset => {
                let socket = socket2::SockRef::from(stream.socket());
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                return false;
            }
            Step::Next => return true,
        };
        if !here {
            state.note(|log| log.left += 1);
            return false;
        }
    }
    drop(stream.shutdown().await);
    false
}

/// Writes bytes; returns false if the client has gone.
async fn write(stream: &mut impl Wire, bytes: &[u8], state: &State) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match stream.write(rest).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => {
                state.log.lock().unwrap().written += count as u64;
                rest = &rest[count..];
            }
        }
    }
    stream.flush().await.is_ok()
}

async fn drip(stream: &mut impl Wire, bytes: &[u8], pause: Duration, state: &State) -> bool {
    for byte in bytes {
        if !(write(stream, &[*byte], state).await && stays(stream, pause, state).await) {
            return false;
        }
    }
    true
}

/// Waits for `pause`; returns false as soon as the client has gone.
async fn stays(stream: &mut impl Wire, pause: Duration, state: &State) -> bool {
    let mut rest = [0; 1024];
    loop {
        tokio::select! {
            biased;
            read = stream.read(&mut rest) => match read {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            },
            () = state.clock.sleep(pause) => return true,
        }
    }
}

/// Reads one request; `None` if the client has gone.
async fn read_request(stream: &mut impl Wire) -> Option<String> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let here = name.eq_ignore_ascii_case("content-length");
                here.then(|| value.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&part[..read]),
        }
    }
}
