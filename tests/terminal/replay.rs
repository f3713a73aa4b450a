//! A recorded session, and its playback by the same program.

use std::fs;
use std::process::Command;

use super::Terminal;

#[test]
fn a_live_session_is_recorded_and_played_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("live.ndjson");
    let file = file.to_str().unwrap();
    let mut live = Terminal::start(&["--seed", "7", "--journal", file], &[]);
    live.until("upstream ready");
    live.ask("what does a token bucket do?", 1);
    live.keys("q");
    assert_eq!(live.ended().0, 0);
    // the header has the users
    let text = fs::read_to_string(file).unwrap();
    let header = text.lines().next().unwrap();
    assert!(
        header.contains(r#""users":["ana","ben","cleo","dev"]"#),
        "{header}"
    );
    assert!(text.ends_with("}\n") && text.contains("{\"end\":"), "{text}");

    let mut replay = Terminal::start(&["replay", file], &[]);
    replay.until("REPLAY");
    replay.until("playing");
    // to the end, one event back, and to the beginning
    replay.keys("\x1b[F");
    replay.until("the end");
    replay.until("#1 answered, 1 attempt");
    replay.until("1 call ");
    replay.keys(",");
    replay.until("paused");
    replay.keys("b");
    replay.until("b: not in a replay");
    replay.keys("\x1b[H");
    replay.until("No questions in this recording.");
    replay.keys("q");
    assert_eq!(replay.ended().0, 0);

    // truncated in the middle of a line
    fs::write(file, &text[..text.len() * 2 / 3]).unwrap();
    let mut truncated = Terminal::start(&["replay", file], &[]);
    truncated.until("the last line is incomplete");
    truncated.until("damaged at line ");
    truncated.keys("?");
    truncated.until("In a replay");
    // Esc and q at once would be Alt-q
    truncated.keys("\x1b");
    truncated.until_matches("no help", |screen| !screen.contains("In a replay"));
    truncated.keys("q");
    let (code, left) = truncated.ended();
    // printed after the end, where it stays
    assert!(
        code == 0 && left.contains("the last line is incomplete: the program was stopped"),
        "{left}"
    );
}

#[test]
fn files_that_cannot_be_read_or_written_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.txt");
    fs::write(&other, "hello\n").unwrap();
    let mut refused = Terminal::start(&["replay", other.to_str().unwrap()], &[]);
    refused.until("line 1: not a journal");
    assert_eq!(refused.ended().0, 2);
    let mut missing = Terminal::start(&["replay", "/nowhere/x.ndjson"], &[]);
    missing.until("/nowhere/x.ndjson");
    assert_eq!(missing.ended().0, 2);
    let mut unwritable = Terminal::start(&["--journal", "/nowhere/x.ndjson"], &[]);
    unwritable.until("cannot write /nowhere/x.ndjson");
    assert_eq!(unwritable.ended().0, 2);

    let piped = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["replay", "x.ndjson"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&piped.stderr);
    assert_eq!(piped.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("replay needs a terminal"), "{stderr}");
}
