//! An API key that the upstream echoes is in no output of the program (docs/semantics.md, Security):
//! searched byte by byte, whole, in parts, and in base64.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Terminal;
use crate::upstream::{Answer, models, serve, stream, whole};

/// Matches no known pattern of keys.
const SECRET: &str = "harbour.Tq7_Lantern-93.Vellum_Kite";
/// Its base64, computed by another program.
const BASE64: &str = "aGFyYm91ci5UcTdfTGFudGVybi05My5WZWxsdW1fS2l0ZQ";
/// The length of the parts searched for.
const PART: usize = 12;

/// The number of ways to echo.
const CASES: usize = 12;

/// Echoes the key in way number `case`.
fn echo(case: usize) -> Vec<Vec<u8>> {
    let json = b"Content-Type: application/json\r\n".as_slice();
    let header = |name: &str| format!("Content-Type: application/json\r\n{name}: {SECRET}\r\n").into_bytes();
    let error = |place: &str| {
        let mut error = serde_json::json!({ "error": { "message": "no", "type": "server_error" } });
        error["error"][place] = format!("the key {SECRET} is bad; its end is {}", &SECRET[9..]).into();
        error.to_string()
    };
    let page = b"Content-Type: text/html\r\n";
    let answer = serde_json::json!({
        "model": SECRET,
        "choices": [{ "message": { "content": format!("yours is {SECRET}, thanks") }, "finish_reason": SECRET }],
    });
    match case {
        0 => whole("401 Unauthorized", &header("WWW-Authenticate"), &error("message")),
        1 => whole("400 Bad Request", json, &error("type")),
        2 => whole(
            "500 Internal Server Error",
            &header("X-Request-Id"),
            &error("code"),
        ),
        3 => whole("429 Too Many Requests", &header("Retry-After"), &error("param")),
        4 => whole(
            "302 Found",
            format!("Location: http://h/?k={SECRET}\r\n").as_bytes(),
            "",
        ),
        5 => whole("200 OK", page, &format!("<title>{SECRET}</title>")),
        6 => whole("200 OK", format!("Content-Type: {SECRET}\r\n").as_bytes(), SECRET),
        7 => whole("200 OK", json, &format!("not JSON {SECRET}")),
        8 => whole("200 OK", json, &answer.to_string()),
        9 => {
            let mut writes = stream(b"", SECRET, "stop", &["so far ".to_owned()]);
            writes.truncate(2);
            writes.push(format!("data: {}\n\n", error("message")).into_bytes());
            writes
        }
        10 => stream(
            b"",
            SECRET,
            SECRET,
            &[format!("the key is {SECRET}."), "end".to_owned()],
        ),
        // a letter at a time: no piece is a key
        _ => stream(
            b"",
            SECRET,
            SECRET,
            &SECRET.chars().map(String::from).collect::<Vec<_>>(),
        ),
    }
}

/// An upstream that echoes in the way named by the prompt, or in each way in turn.
fn upstream() -> String {
    let turn = AtomicUsize::new(0);
    let answer: Arc<Answer> = Arc::new(move |request: &str| {
        if request.starts_with("GET ") {
            return models(&[SECRET, "tiny"]);
        }
        assert!(request.contains(SECRET), "the key was sent");
        let named = request
            .split_once("case ")
            .and_then(|(_, rest)| rest.get(..2)?.parse().ok());
        echo(named.unwrap_or_else(|| turn.fetch_add(1, Ordering::Relaxed) % CASES))
    });
    serve(answer)
}

fn assert_unseen(place: &str, bytes: &[u8]) {
    for secret in [SECRET, BASE64] {
        for part in secret.as_bytes().windows(PART) {
            let found = bytes.windows(PART).position(|here| here == part);
            if let Some(at) = found {
                let from = at.saturating_sub(200);
                let around = &bytes[from..(at + 100).min(bytes.len())];
                panic!("{place} holds the key: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

fn seawall(args: &[&str], url: &str) -> Output {
    seawall_with(&[], "SEAWALL_API_KEY", args, url)
}

/// Runs the program with the secret in `variable`, and further options.
fn seawall_with(options: &[&str], variable: &str, args: &[&str], url: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(args)
        .args(["--upstream", url])
        .args(options)
        .env(variable, SECRET)
        .output()
        .unwrap()
}

const SCENARIO: &str = r#"
duration = "2s"
policy.breaker = { enabled = false }
policy.limit = { enabled = false }
[[callers]]
arrival.steady = { per_s = 20.0 }
prompts = { distinct = 20, skew = 0.0 }
"#;

#[test]
fn an_echoed_key_is_in_no_report_and_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, journal, policy) = (path("echo.toml"), path("journal.ndjson"), path("policy.toml"));
    std::fs::write(&file, SCENARIO).unwrap();
    // no breaker that opens and no wait: the recovery of the drill would take a minute
    std::fs::write(&policy, "retry.attempts = 1\nbreaker.enabled = false\n").unwrap();
    for args in [
        &["--no-tui", "--policy", &policy, "--faults", "rate-limit-storm"][..],
        &["run", &file, "--real"],
        &["run", &file, "--real", "--json", "--journal", &journal],
    ] {
        let output = seawall(args, &upstream());
        assert_unseen("stdout", &output.stdout);
        assert_unseen("stderr", &output.stderr);
    }
    let written = std::fs::read(&journal).unwrap();
    assert_unseen("the journal", &written);
    let written = String::from_utf8(written).unwrap();
    // the answers were recorded
    for text in [
        "\"yours is [redacted], thanks\"",
        "the key is [redacted].",
        "the key [redacted] is bad",
    ] {
        assert!(written.contains(text), "no '{text}' in the journal");
    }
}

#[test]
fn an_echoed_header_is_in_no_report_and_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, journal) = (path("echo.toml"), path("journal.ndjson"));
    std::fs::write(&file, SCENARIO).unwrap();
    // a variable is a secret whatever the name of the header
    for (variable, header) in [
        ("AZURE_KEY", "api-key:env:AZURE_KEY"),
        ("TITLE", "X-Title: env:TITLE"),
    ] {
        let args = ["run", &file, "--real", "--json", "--journal", &journal];
        let output = seawall_with(&["--header", header], variable, &args, &upstream());
        assert_unseen("stdout", &output.stdout);
        assert_unseen("stderr", &output.stderr);
        let written = std::fs::read(&journal).unwrap();
        std::fs::remove_file(&journal).unwrap();
        assert_unseen("the journal", &written);
        let written = String::from_utf8(written).unwrap();
        assert!(written.contains("\"yours is [redacted], thanks\""), "{header}");
        assert!(
            written.contains(&format!("rejected the key in {variable}")),
            "{header}"
        );
    }
}

#[test]
fn an_upstream_without_a_usable_answer_does_not_get_the_key_printed() {
    let url = serve(Arc::new(|_: &str| {
        let error = serde_json::json!({ "error": { "message": format!("bad key {SECRET}") } });
        whole("500 Internal Server Error", b"", &error.to_string())
    }));
    for args in [&["--no-tui"][..], &["run", "outage", "--real"]] {
        let output = seawall(args, &url);
        assert_eq!(output.status.code(), Some(3));
        assert!(String::from_utf8_lossy(&output.stderr).contains("bad key [redacted]"));
        assert_unseen("stdout", &output.stdout);
        assert_unseen("stderr", &output.stderr);
    }
}

#[test]
fn an_echoed_key_is_not_on_the_screen() {
    let policy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(policy.path(), "retry.attempts = 1\nbreaker.enabled = false\n").unwrap();
    let args = [
        "--upstream",
        &upstream(),
        "--policy",
        policy.path().to_str().unwrap(),
    ];
    let mut terminal = Terminal::start(&args, &[("SEAWALL_API_KEY", SECRET)]);
    terminal.until("upstream ready: [redacted]");
    for case in 0..CASES {
        terminal.ask(&format!("case {case:02} end"), case + 1);
        assert_unseen("the screen", terminal.screen.screen().contents().as_bytes());
    }
    terminal.keys("q");
    let (_, bytes, left) = terminal.ended_with_bytes();
    assert_unseen("the terminal", &bytes);
    assert_unseen(
        "the terminal without sequences",
        without_sequences(&bytes).as_bytes(),
    );
    assert_unseen("the summary", left.as_bytes());
}

/// The written text without escape sequences.
fn without_sequences(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    let rest = pieces.map(|piece| piece.trim_start_matches(|c: char| !c.is_ascii_alphabetic()));
    rest.fold(first, |text, piece| text + piece.get(1..).unwrap_or_default())
}
