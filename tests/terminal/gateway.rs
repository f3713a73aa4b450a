//! The gateway in the program: its end by a signal, and its calls under the keys of the control room.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use super::ending::{is_closed_journal, signal};
use super::{PATIENCE, Terminal};

/// An upstream whose streams wait after their first word.
#[derive(Clone)]
struct Gated {
    url: String,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Gated {
    /// Serves until the test ends.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let gated = Self {
            url,
            gate: Arc::default(),
        };
        let server = gated.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let server = server.clone();
                std::thread::spawn(move || server.exchange(stream.unwrap()));
            }
        });
        gated
    }

    /// Lets the waiting streams end.
    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    /// A client that disconnects is not an error.
    fn exchange(&self, mut stream: TcpStream) -> Option<()> {
        let mut head = [0; 4096];
        let count = stream.read(&mut head).ok()?;
        let head = String::from_utf8_lossy(&head[..count]).into_owned();
        let (first, last) = match head.split(' ').nth(1)? {
            "/v1/chat/completions" => (
                data("", r#"{"choices":[{"index":0,"delta":{"content":"word"}}]}"#),
                data(
                    "",
                    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                ) + "data: [DONE]\n\n",
            ),
            "/v1/responses" => (
                data(
                    "response.output_text.delta",
                    r#"{"type":"response.output_text.delta","delta":"word"}"#,
                ),
                String::new(),
            ),
            "/v1/messages" => (
                data(
                    "content_block_delta",
                    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word"}}"#,
                ),
                String::new(),
            ),
            _ => {
                let body = r#"{"data":[]}"#;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 11\r\n\r\n";
                return write!(stream, "{head}{body}").ok();
            }
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        write!(stream, "{head}{first}").ok()?;
        let is_shut = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(is_shut, |open| !*open).unwrap());
        stream.write_all(last.as_bytes()).ok()
    }
}

fn data(name: &str, value: &str) -> String {
    let name = if name.is_empty() {
        String::new()
    } else {
        format!("event: {name}\n")
    };
    format!("{name}data: {value}\n\n")
}

/// A client whose stream has come as far as its first word.
struct Client(TcpStream, String);

impl Client {
    fn streaming(port: u16, endpoint: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let messages = r#"[{"role":"user","content":"hello"}]"#;
        let body = format!(
            r#"{{"model":"m","max_tokens":32000,"stream":true,"messages":{messages},"input":"hello"}}"#
        );
        write!(
            stream,
            "POST /v1/{endpoint} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut client = Self(stream, String::new());
        let mut bytes = [0; 4096];
        while !client.1.contains("word") {
            let count = client.0.read(&mut bytes).unwrap();
            assert!(count > 0, "{}", client.1);
            client.1 += &String::from_utf8_lossy(&bytes[..count]);
        }
        client
    }

    /// The response to the end of the connection.
    fn rest(mut self) -> String {
        let mut rest = Vec::new();
        // a reset is an end too
        drop(self.0.read_to_end(&mut rest));
        self.1 + &String::from_utf8_lossy(&rest)
    }

    /// Asserts that the stream ends with an error event of its dialect and a broken framing.
    fn assert_broken(self, error: &str) {
        let response = self.rest();
        assert!(response.contains(error), "{response}");
        assert!(!response.ends_with("0\r\n\r\n"), "{response}");
    }
}

/// Asserts that a journal is complete and that every invariant holds.
fn is_sound(journal: &Path) {
    assert!(is_closed_journal(journal));
    let checked = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["check", journal.to_str().unwrap()])
        .status();
    assert!(checked.unwrap().success());
}

/// Row 62 of the fault matrix.
#[test]
fn sigterm_ends_running_streams_as_broken_within_ten_seconds() {
    let upstream = Gated::start();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("serve.ndjson");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["serve", "--listen", "127.0.0.1:0", "--upstream", &upstream.url])
        .args(["--journal", journal.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(serve.stderr.take().unwrap());
    let mut line = String::new();
    let port = loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "no gateway");
        if let Some((_, rest)) = line.split_once("gateway at http://127.0.0.1:") {
            break rest.split('/').next().unwrap().parse().unwrap();
        }
    };
    // the pipe must not fill
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    let endpoints = [
        ("chat/completions", "data: {\"error\":{"),
        ("responses", "event: error\ndata: {"),
        ("messages", "event: error\ndata: {"),
    ];
    let clients = endpoints.map(|(endpoint, error)| (Client::streaming(port, endpoint), error));
    signal(&serve, "TERM");
    let refused = || TcpStream::connect(("127.0.0.1", port)).is_err();
    super::ending::wait_until("it still accepts", refused);
    for (client, error) in clients {
        client.assert_broken(error);
    }
    assert_eq!(serve.wait().unwrap().code(), Some(143));
    is_sound(&journal);
}

/// Row 70.
#[test]
fn a_port_in_use_is_named_and_exits_with_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["serve", "--listen", &address])
        .output()
        .unwrap();
    let stderr = String::from_utf8(serve.stderr).unwrap();
    let expected = format!("seawall: cannot listen on {address}: ");
    assert!(stderr.starts_with(&expected), "{stderr}");
    assert!(
        stderr.contains("choose another address with --listen"),
        "{stderr}"
    );
    assert_eq!(
        (serve.status.code(), stderr.lines().count()),
        (Some(2), 1),
        "{stderr}"
    );
    let (code, left) = Terminal::start(&["--listen", &address], &[]).ended();
    assert!(code == 2 && left.contains(&expected), "{code}: {left}");
}

/// A control room with a gateway, and its port.
fn control_room(upstream: &Gated, journal: &Path) -> (Terminal, u16) {
    let journal = journal.to_str().unwrap();
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        &upstream.url,
        "--journal",
        journal,
    ];
    let mut terminal = Terminal::start(&options, &[]);
    terminal.until("upstream ready");
    terminal.until("gateway :");
    let screen = terminal.screen.screen().contents();
    let port = screen.split("gateway :").nth(1).unwrap();
    let port = port.split(' ').next().unwrap().parse().unwrap();
    (terminal, port)
}

#[test]
fn x_stops_the_calls_of_the_gateway_and_its_journal_is_played_back() {
    let upstream = Gated::start();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("live.ndjson");
    let (mut terminal, port) = control_room(&upstream, &journal);
    let client = Client::streaming(port, "messages");
    terminal.until("1 running");
    terminal.keys("x");
    client.assert_broken("event: error\ndata: {");
    terminal.until_ended(1);
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
    is_sound(&journal);
    let mut replay = Terminal::start(&["replay", journal.to_str().unwrap()], &[]);
    replay.until("REPLAY");
    replay.keys("\x1b[F");
    replay.until("the end");
    replay.until("#1 stopped");
    replay.keys("q");
    assert_eq!(replay.ended().0, 0);
}

#[test]
fn q_asks_and_then_lets_the_calls_of_the_gateway_end() {
    let upstream = Gated::start();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("live.ndjson");
    let (mut terminal, port) = control_room(&upstream, &journal);
    let client = Client::streaming(port, "chat/completions");
    terminal.until("1 running");
    terminal.keys("q");
    terminal.until("1 call is running. Quit? y/N");
    terminal.keys("y");
    terminal.until("waiting for 1 call of the gateway");
    upstream.open();
    let response = client.rest();
    assert!(
        response.contains("[DONE]") && response.ends_with("0\r\n\r\n"),
        "{response}"
    );
    let (code, left) = terminal.ended();
    assert!(code == 0 && left.contains("1 answered"), "{code}: {left}");
    is_sound(&journal);
}
