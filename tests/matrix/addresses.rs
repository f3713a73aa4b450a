//! Addresses: base URLs of real servers, probes, further headers, and the proxies of the environment.

use std::io::BufRead as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use seawall::client::{CallContext, ExtraHeader, HttpConfig, HttpTransport};
use seawall::event::{EventKind, UpstreamHealth};
use seawall::session::{Session, SessionConfig, UpstreamConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{KEY, Rig, patiently, prompt, quick};
use crate::server::Server;
use crate::tls::{Certificate, ca_pem};
use crate::upstream::{models, serve, stream, whole};
use crate::wire::{ANSWER, answer, refusal};

const JSON: &[u8] = b"Content-Type: application/json\r\n";

/// The requests of a server: method and target.
type Seen = Arc<Mutex<Vec<String>>>;

fn line_of(request: &str) -> String {
    let line = request.lines().next().unwrap_or_default();
    line.trim_end_matches(" HTTP/1.1").to_owned()
}

/// A server with chat completions at one target and nothing else, and the calls it got.
fn api_at(chat: &'static str) -> (String, Seen) {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let url = serve(Arc::new(move |request: &str| {
        let line = line_of(request);
        let is_call = request.contains("\"messages\"");
        if is_call {
            noted.lock().unwrap().push(line.clone());
        }
        // headers for the simulator, which no other server may see
        let lower = request.to_lowercase();
        let own = lower
            .lines()
            .filter(|line| line.starts_with("idempotency-key") || line.starts_with("x-seawall"));
        noted.lock().unwrap().extend(own.map(str::to_owned));
        if line != format!("POST {chat}") {
            return whole("404 Not Found", JSON, r#"{"detail":"Not Found"}"#);
        }
        if is_call {
            whole("200 OK", JSON, ANSWER)
        } else {
            whole("400 Bad Request", JSON, r#"{"error":{"message":"no messages"}}"#)
        }
    }));
    (url, seen)
}

/// Base URLs as manuals give them, direct and through the proxy that injects faults.
pub(crate) async fn base_urls() {
    let azure = "/openai/deployments/gpt/chat/completions?api-version=2024-06-01";
    for (base, chat) in [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/chat/completions", "/chat/completions"),
        ("/gemini/v1beta/openai/", "/gemini/v1beta/openai/chat/completions"),
        ("/api/paas/v4", "/api/paas/v4/chat/completions"),
        ("/api/v3", "/api/v3/chat/completions"),
        ("/serving-endpoints", "/serving-endpoints/chat/completions"),
        ("/openai/deployments/gpt?api-version=2024-06-01", azure),
        (azure, azure),
        ("/models?api-version=1", "/models/chat/completions?api-version=1"),
        // as earlier releases read it
        ("/api", "/api/v1/chat/completions"),
    ] {
        for faults_on in [false, true] {
            let (url, seen) = api_at(chat);
            let config = SessionConfig {
                upstream: Some(UpstreamConfig::new(format!("{url}{base}").parse().unwrap())),
                faults_on,
                ..SessionConfig::default()
            };
            let session = Session::start(config).await.unwrap();
            let health = patiently("a probe", session.probe()).await;
            assert_eq!(health, UpstreamHealth::Ready { models: Vec::new() }, "{base}");
            for question in ["one?", "two?"] {
                let request = seawall::openai::ChatRequest::prompt(question);
                let answer = patiently("an answer", session.ask(&request)).await;
                assert_eq!(answer.unwrap().text, "hello", "{base}, faults {faults_on}");
            }
            session.shutdown().await;
            let chat = format!("POST {chat}");
            let mut calls = vec![chat.clone(), chat];
            // the probe has found the place for the client, and the first call finds it for the proxy
            if base == "/api" && faults_on {
                calls.insert(0, "POST /api/chat/completions".to_owned());
            }
            assert_eq!(*seen.lock().unwrap(), calls);
        }
    }
}

/// The list of models is missing, odd or forbidden at many servers that answer chats.
#[expect(clippy::too_many_lines, reason = "one table")]
pub(crate) async fn probes() {
    let list = r#"{"data":[{"id":"tiny"}]}"#;
    let error = r#"{"error":{"message":"no"}}"#;
    let page = "<html>hello</html>";
    for (models, health, chat, expected) in [
        ((200, list), 404, (404, error), Ok(&["tiny"][..])),
        ((200, r#"[{"id":"tiny"}]"#), 404, (404, error), Ok(&["tiny"])),
        (
            (200, r#"{"object":"list","data":null}"#),
            404,
            (404, error),
            Ok(&[]),
        ),
        ((404, error), 200, (404, error), Ok(&[])),
        ((404, error), 404, (400, error), Ok(&[])),
        ((404, page), 404, (422, error), Ok(&[])),
        ((405, error), 404, (500, error), Ok(&[])),
        ((400, error), 404, (429, error), Ok(&[])),
        // a server that answers anything, and one that misses the model first
        ((404, error), 404, (200, ANSWER), Ok(&[])),
        (
            (404, error),
            404,
            (404, r#"{"error":{"message":"The model `None` does not exist."}}"#),
            Ok(&[]),
        ),
        // a key that may chat, but not list models
        ((403, error), 404, (400, error), Ok(&[])),
        // a page for people at every path
        ((200, page), 200, (400, error), Ok(&[])),
        (
            (200, page),
            200,
            (405, page),
            Err("is not an OpenAI-compatible API"),
        ),
        (
            (200, page),
            200,
            (200, page),
            Err("is not an OpenAI-compatible API"),
        ),
        (
            (404, error),
            404,
            (404, error),
            Err("neither /v1/models nor /v1/chat/completions (no); check the base URL"),
        ),
        (
            (401, error),
            404,
            (400, error),
            Err("requires a key: set SEAWALL_API_KEY"),
        ),
        ((404, error), 404, (401, error), Err("requires a key")),
        ((403, error), 404, (403, error), Err("requires a key")),
        (
            (500, error),
            200,
            (400, error),
            Err("returned 500 for /v1/models: no"),
        ),
    ] {
        let url = serve(Arc::new(move |request: &str| {
            let line = line_of(request);
            let (status, body) = match line.as_str() {
                "GET /health" => (health, page),
                line if line.starts_with("GET") => models,
                _ => chat,
            };
            whole(&format!("{status} X"), b"", body)
        }));
        let transport = HttpTransport::new(&HttpConfig::new(url.parse().unwrap())).unwrap();
        let found = patiently("a probe", transport.probe()).await;
        match (found, expected) {
            (UpstreamHealth::Ready { models: found }, Ok(names)) => {
                let found: Vec<&str> = found.iter().map(seawall::text::SafeText::as_str).collect();
                assert_eq!(found, names, "{models:?}");
            }
            (UpstreamHealth::Unavailable { message, .. }, Err(part)) => {
                assert!(message.contains(part), "{message}");
            }
            (found, expected) => panic!("{models:?} {chat:?}: {found:?}, not {expected:?}"),
        }
    }
}

/// A header is part of every request; a secret one is a credential like the key.
pub(crate) async fn headers() {
    let echo = format!(r#"{{"message":"bad key {KEY}","code":"invalid_api_key"}}"#);
    let play = refusal("401 Unauthorized", "", &echo);
    let server = Server::start(vec![play, answer()]).await;
    let config = |headers| HttpConfig {
        headers,
        ..HttpConfig::new(server.url().parse().unwrap())
    };
    let title = ExtraHeader::new("X-Title", "seawall").unwrap();
    let key = ExtraHeader::new("api-key", KEY).unwrap();
    let rig = Rig::over(HttpTransport::new(&config(vec![title, key])).unwrap(), quick());
    let error = rig.call().finish().await.unwrap_err();
    assert!(
        error
            .failure
            .message
            .contains("rejected the key in header api-key"),
        "{error}"
    );
    assert!(error.failure.message.contains("bad key [redacted]"), "{error}");
    let answer = rig.client.call(&prompt(), CallContext::default()).finish().await;
    assert_eq!(answer.unwrap().text, "hello");
    for request in server.requests() {
        let request = request.to_lowercase();
        assert!(request.contains("\r\nx-title: seawall\r\n"), "{request}");
        assert!(
            request.contains("\r\napi-key: canary.quitesecret.4711\r\n"),
            "{request}"
        );
        assert!(!request.contains("authorization"), "{request}");
    }
    assert!(rig.count(|kind| matches!(kind, EventKind::AttemptStarted { .. })) == 2);
    rig.rest().await;

    let base = "http://user:canary.password@127.0.0.1:1".parse().unwrap();
    let error = HttpTransport::new(&HttpConfig::new(base))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "the URL of 127.0.0.1:1 must not contain a user or password: use an API key or a header"
    );
}

const SCENARIO: &str = r#"
duration = "1s"
[[command]]
at = "1ms"
do = { send = { prompt = "What is a token bucket?" } }
"#;

/// The program with these variables and no others that name a proxy.
fn program(args: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "REQUEST_METHOD",
    ] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
        .args(args)
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command
}

/// Runs the program to its end.
async fn seawall(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = program(args, variables);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    patiently("the program", run).await.unwrap()
}

/// A running program, killed at the end of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A proxy that answers requests in absolute form itself, and the requests it got.
fn absolute_proxy() -> (String, Seen) {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let url = serve(Arc::new(move |request: &str| {
        let line = line_of(request);
        noted.lock().unwrap().push(line.clone());
        match line.split_once(' ') {
            Some(("GET", _)) => models(&["tiny"]),
            _ => stream(b"", "tiny", "stop", &["hello".to_owned()]),
        }
    }));
    (url, seen)
}

/// A proxy that connects every CONNECT with `server`, and the requests it got.
#[expect(
    clippy::disallowed_methods,
    reason = "its tasks end with the runtime of the test"
)]
async fn connect_proxy(server: std::net::SocketAddr) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                noted
                    .lock()
                    .unwrap()
                    .push(line_of(&String::from_utf8(head).unwrap()));
                let mut server = TcpStream::connect(server).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    (url, seen)
}

/// Both cases of each variable, both forms of proxying, the exceptions, and the forwarding of the simulator.
#[expect(clippy::too_many_lines, reason = "one variable after the other")]
pub(crate) async fn proxies() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, ca) = (path("one.toml"), path("ca.pem"));
    std::fs::write(&file, SCENARIO).unwrap();
    std::fs::write(&ca, ca_pem()).unwrap();
    let run = |url: &'static str| {
        [
            "run",
            file.as_str(),
            "--real",
            "--upstream",
            url,
            "--ca-file",
            ca.as_str(),
        ]
    };

    // plain http: the request goes to the proxy in absolute form. A key in the clear is warned of
    let (proxy, seen) = absolute_proxy();
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let variables = [(variable, proxy.as_str()), ("SEAWALL_API_KEY", KEY)];
        let output = seawall(&run("http://10.0.0.7/v1"), &variables).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{variable}: {stderr}");
        let warning = "seawall: warning: the key is sent to 10.0.0.7 over plain http";
        assert!(stderr.contains(warning) && !stderr.contains(KEY), "{stderr}");
        let requests = std::mem::take(&mut *seen.lock().unwrap());
        let chat = "POST http://10.0.0.7/v1/chat/completions";
        assert!(
            requests.iter().any(|line| line == chat),
            "{variable}: {requests:?}"
        );
    }

    // TLS: the proxy connects to the host, and sees nothing of the request
    let answer = crate::wire::json(ANSWER);
    let server = Server::over(vec![answer], Some(Certificate::OtherHost.acceptor())).await;
    let (tunnel, tunnelled) = connect_proxy(server.address()).await;
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let output = seawall(&run("https://other.test/v1beta/openai"), &[(variable, &tunnel)]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let requests = std::mem::take(&mut *tunnelled.lock().unwrap());
        assert!(
            requests.iter().all(|line| line == "CONNECT other.test:443"),
            "{requests:?}"
        );
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let asked = server.requests();
        assert!(
            asked
                .iter()
                .any(|text| text.starts_with("POST /v1beta/openai/chat/completions ")),
            "{asked:?}"
        );
    }

    // a proxy that is down is named, and the upstream is not blamed
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let dead = format!("http://user:canary.password@{closed}");
    let output = seawall(&run("http://10.0.0.7/v1"), &[("HTTP_PROXY", &dead)]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let message = format!("10.0.0.7 cannot be reached: through proxy {closed}: ");
    assert!(
        stderr.contains(&message) && !stderr.contains("canary"),
        "{stderr}"
    );

    // this machine is never asked through a proxy; NO_PROXY excludes other hosts
    let (local, asked) = api_at("/v1/chat/completions");
    let output = seawall(
        &["run", &file, "--real", "--upstream", &local],
        &[("ALL_PROXY", &dead)],
    )
    .await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(!asked.lock().unwrap().is_empty());
    for variable in ["NO_PROXY", "no_proxy"] {
        let variables = [("HTTP_PROXY", proxy.as_str()), (variable, "10.1.1.1,.invalid")];
        let output = seawall(&run("http://llm.invalid"), &variables).await;
        assert_eq!(output.status.code(), Some(2), "plain http to a public name");
        let args = [&run("http://llm.invalid")[..], &["--insecure-http"]].concat();
        let output = seawall(&args, &variables).await;
        assert_eq!(output.status.code(), Some(3));
        assert!(seen.lock().unwrap().is_empty());
    }

    // the simulator forwards through the proxy too
    let upstream = "http://10.0.0.7/api/v3?x=1";
    let args = [
        "simulate",
        "--port",
        "0",
        "--upstream",
        upstream,
        "--faults",
        "slow",
    ];
    let mut command = program(&args, &[("HTTP_PROXY", &proxy)]);
    let mut simulator = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut stdout = std::io::BufReader::new(simulator.0.stdout.take().unwrap());
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        line
    });
    let line = patiently("the simulator", line).await.unwrap();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut response = String::new();
    patiently("a response", client.read_to_string(&mut response))
        .await
        .unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(*seen.lock().unwrap(), ["GET http://10.0.0.7/api/v3/models?x=1"]);
    drop(simulator);

    // an address in the environment may hold a password, and the help must not print it
    let variables = [
        ("SEAWALL_UPSTREAM", "https://me:canary@h"),
        ("SEAWALL_EMBEDDER", "https://me:canary@h"),
    ];
    let output = seawall(&["--help"], &variables).await;
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(help.contains("NO_PROXY") && !help.contains("canary"), "{help}");
}
