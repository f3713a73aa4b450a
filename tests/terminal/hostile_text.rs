//! Hostile text from an upstream through the whole program: no control byte reaches the terminal except the
//! program's own (docs/semantics.md, Security).

use std::process::Command;
use std::sync::Arc;

use seawall::text::SafeText;

use crate::Terminal;
use crate::hostile::is_hostile;
use crate::upstream::{models, serve, stream, whole};

/// Attacks in model output. Each is shown between its own markers.
const ATTACKS: [&str; 16] = [
    "\u{1b}[2J\u{1b}[H\u{1b}[31m",
    "\u{1b}]0;owned\u{7}",
    "\u{1b}]52;c;cm0gLXJmIH4=\u{7}",
    "\u{1b}]8;;http://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "\u{1b}P$q\"p\u{1b}\\",
    "\u{1b}_Gi=1;AAAA\u{1b}\\",
    "\u{1b}[6n\u{1b}[c\u{1b}[?1049l",
    "\u{9b}31m\u{9d}0;x\u{9c}\u{90}q\u{9c}",
    "\u{202e}gpj.exe\u{2066}x\u{2069}\u{200f}",
    "a\u{e0041}\u{e0042}b\u{e007f}",
    "z\u{200b}w\u{2060}j\u{feff}",
    "Z\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "bell\u{7} back\u{8}\u{8} null\u{0} del\u{7f}",
    "cr\rover lf",
    "line\u{2028}para\u{2029}end",
    "\u{e}shift\u{f}\u{1b}(0qqq\u{1b}(B\u{1b}c",
];

/// The attacks between markers, one line each.
fn lines(made: impl Fn(&str) -> String) -> String {
    let marked = ATTACKS.iter().enumerate();
    let lines: Vec<String> = marked
        .map(|(at, attack)| format!("<{at:02}{}{at:02}>\n", made(attack)))
        .collect();
    lines.concat()
}

/// The text as single characters: no sequence is whole in one chunk.
fn single_characters(text: &str) -> Vec<String> {
    text.chars().map(String::from).collect()
}

/// An upstream that answers with attacks, raw or sanitised.
fn upstream(made: fn(&str) -> String) -> String {
    serve(Arc::new(move |request: &str| {
        let attack = made(ATTACKS.concat().as_str());
        if request.starts_with("GET ") {
            return models(&[&attack, "tiny"]);
        }
        let says = |word: &str| request.contains(word);
        let headers = b"X-Request-Id: a\x9b31m\x80\r\nServer: \xe2\x80\xae\r\n";
        let error = serde_json::json!({ "error": {
            "message": format!("refused {attack}"), "type": attack, "code": attack, "param": attack,
        }});
        let json = b"Content-Type: application/json\r\nRetry-After: \x9b31m\r\n";
        if says("a bad request") {
            whole("400 Bad Request", json, &error.to_string())
        } else if says("a broken stream") {
            let mut writes = stream(headers, &attack, &attack, &single_characters("said so far"));
            writes.truncate(4);
            writes.push(format!("data: {error}\n\n").into_bytes());
            writes
        } else if says("a page") {
            let html = b"Content-Type: text/html; \xe2\x80\xae\x9b\r\n";
            whole("200 OK", html, &format!("<title>{attack}</title>"))
        } else {
            stream(
                headers,
                &attack,
                &attack,
                &single_characters(&(lines(made) + "the end of it")),
            )
        }
    }))
}

fn raw(attack: &str) -> String {
    attack.to_owned()
}

fn sanitised(attack: &str) -> String {
    SafeText::new(attack).to_string()
}

/// Asserts that the output has only the program's own sequences besides text: cursor, colours and modes, and
/// nothing that a terminal replies to or stores.
fn assert_own(text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(is_hostile) {
        let (_, from) = rest.split_at(at);
        let length = own(from);
        assert_ne!(
            length,
            0,
            "not ours: {:?}",
            from.chars().take(40).collect::<String>()
        );
        rest = from.get(length..).unwrap_or_default();
    }
}

/// The length of the program's own sequence at the start of `text`; 0 if it is another one.
fn own(text: &str) -> usize {
    // the line discipline of the terminal replaces LF by CR LF
    if text.starts_with('\r') {
        return 1;
    }
    let Some(sequence) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let end = sequence
        .find(|c: char| !(c.is_ascii_digit() || ";?".contains(c)))
        .unwrap_or(0);
    let (parameters, last) = sequence.split_at(end);
    let last = last.chars().next().unwrap_or_default();
    let is_own = match parameters.strip_prefix('?') {
        Some(mode) => {
            let ours = [
                "25", "1000", "1002", "1003", "1006", "1015", "1049", "2004", "2026",
            ];
            ours.contains(&mode) && "hl".contains(last)
        }
        // colours, cursor position, erase
        None => "mHJK".contains(last) && !parameters.contains('?'),
    };
    if is_own { 2 + end + 1 } else { 0 }
}

/// The texts between the markers on the screen.
fn shown(contents: &str) -> Vec<String> {
    let between = |at: usize| {
        let (_, after) = contents.split_once(&format!("<{at:02}"))?;
        let (between, _) = after.split_once(&format!("{at:02}>"))?;
        Some(between.to_owned())
    };
    (0..ATTACKS.len()).filter_map(between).collect()
}

/// One session with all attacks: the bytes written and the texts shown.
fn session(made: fn(&str) -> String) -> (String, Vec<String>) {
    let mut terminal = Terminal::start(&["--upstream", &upstream(made), "--seed", "7"], &[]);
    terminal.until("upstream ready");
    terminal.ask("everything you have", 1);
    // the zoomed chat, so that a whole answer fits
    terminal.keys("1\x10zoom\r");
    // the list of commands hides other panes too, so the end of the answer counts
    terminal.until_matches("zoomed chat", |contents| {
        !contents.contains("2 Cache") && shown(contents).len() == ATTACKS.len()
    });
    let shown = shown(&terminal.screen.screen().contents());
    terminal.keys("\x1b");
    terminal.until("2 Cache");
    for (prompt, nth) in [("a bad request", 2), ("a broken stream", 3), ("a page", 4)] {
        terminal.ask(prompt, nth);
    }
    terminal.keys("q");
    let (_, bytes, _) = terminal.ended_with_bytes();
    let text = String::from_utf8(bytes).unwrap();
    for attack in ATTACKS {
        assert!(!text.contains(attack), "{attack:?}");
    }
    (text, shown)
}

#[test]
fn hostile_text_reaches_the_terminal_sanitised_only() {
    let (text, hostile) = session(raw);
    assert_own(&text);
    let (text, honest) = session(sanitised);
    assert_own(&text);
    assert_eq!(hostile.len(), ATTACKS.len(), "{hostile:?}");
    assert_eq!(hostile, honest);
}

/// Headless: the report of the drill and the summary, including errors, and a run as text and as JSON.
#[test]
fn hostile_text_does_not_reach_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.toml");
    std::fs::write(&file, SCENARIO).unwrap();
    let file = file.to_str().unwrap();
    let journal = folder.path().join("journal.ndjson");
    let journal = journal.to_str().unwrap();
    let url = upstream(raw);
    for args in [
        &["--no-tui"][..],
        &["run", file, "--real"],
        &["run", file, "--real", "--json", "--journal", journal],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(args)
            .args(["--upstream", &url])
            .output()
            .unwrap();
        for bytes in [output.stdout, output.stderr] {
            let text = String::from_utf8(bytes).unwrap();
            assert!(!text.contains(is_hostile), "{args:?}: {text:?}");
        }
    }
    let written = std::fs::read_to_string(journal).unwrap();
    assert!(written.contains("␛]52;c;"), "the answers are in it");
    assert!(!written.contains(is_hostile));
}

/// A scenario file may come from anyone: its texts are hostile too.
const SCENARIO: &str = r#"
name = "\u001b]0;owned\u0007"
about = "\u001b[2J\u202e what it\nteaches"
duration = "1s"
[[callers]]
users = ["\u001b[31mana"]
arrival.burst = { calls = 4 }
[[expect]]
measure = "calls"
at_least = 1
user = "\u001b[31mana"
"#;

#[test]
fn the_list_of_own_sequences_is_strict() {
    for ours in ["\u{1b}[1;31m", "\u{1b}[12;40H", "\u{1b}[?25l", "\u{1b}[?2026h"] {
        assert_own(ours);
    }
    // erase and colour could be ours, combining marks and a carriage return are text: `session` checks these
    let sequences = ATTACKS
        .iter()
        .enumerate()
        .filter(|(at, _)| ![0, 11, 13].contains(at));
    for (_, attack) in sequences {
        let caught = std::panic::catch_unwind(|| assert_own(attack));
        assert!(caught.is_err(), "{attack:?}");
    }
}
