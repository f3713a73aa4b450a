//! The prompt in `$EDITOR`, and prompts of earlier sessions.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Terminal;

/// Writes an executable script.
fn script(folder: &Path, text: &str) -> String {
    let path = folder.join("an editor");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    // the value is read by a shell
    format!("'{}'", path.display())
}

/// Leaves the chat and quits. Esc and a letter at once would be Alt and the letter.
fn quit(mut terminal: Terminal) {
    terminal.keys("\x1b");
    terminal.until("burst 10");
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
}

#[test]
fn the_editor_has_the_terminal_and_gives_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let editor = script(
        folder.path(),
        "trap '' INT\nstty -a > \"$0.stty\"\nprintf 'editing %s\\n' \"$(cat \"$1\")\"\nread line\n\
         printf '%s %s\\n' \"$(cat \"$1\")\" \"$line\" > \"$1\"",
    );
    let mut terminal = Terminal::start(&[], &[("VISUAL", ""), ("EDITOR", &editor)]);
    terminal.until("ask a question");
    terminal.keys("i");
    terminal.until("Enter to send");
    terminal.keys("draft\x18");
    terminal.until("editing draft");
    assert!(!terminal.screen.screen().alternate_screen());
    // Ctrl-C belongs to the editor
    terminal.keys("\x03and more\r");
    terminal.until("> draft and more");
    assert!(terminal.screen.screen().alternate_screen());
    let settings = fs::read_to_string(folder.path().join("an editor.stty")).unwrap();
    for mode in ["icanon", "echo", "isig"] {
        let words = settings.split_whitespace();
        assert!(words.clone().any(|word| word == mode), "{mode}: {settings}");
    }
    quit(terminal);
}

#[test]
fn an_editor_that_fails_leaves_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let editor = script(folder.path(), "echo changed > \"$1\"\nexit 1");
    for (editor, message) in [
        (editor.as_str(), "failed; the prompt is unchanged"),
        (
            "/nowhere/editor",
            "cannot run /nowhere/editor: set EDITOR to your editor",
        ),
    ] {
        let mut terminal = Terminal::start(&[], &[("VISUAL", editor)]);
        terminal.until("ask a question");
        terminal.keys("i");
        terminal.until("Enter to send");
        terminal.keys("draft\x1be");
        terminal.until(message);
        terminal.until("> draft");
        quit(terminal);
    }
}

#[test]
fn prompts_are_kept_for_the_next_session_unless_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let kept = [("XDG_STATE_HOME", state), ("SEAWALL_NO_HISTORY", "")];
    let file = folder.path().join("seawall/prompts.jsonl");
    let ask = |args: &[&str]| {
        let mut terminal = Terminal::start(args, &kept);
        terminal.until("ask a question");
        terminal.keys("i");
        terminal.until("Enter to send");
        terminal.keys("What is a buoy?\r");
        terminal.until("1 answered");
        quit(terminal);
    };
    ask(&["--no-history"]);
    assert!(!file.exists());
    ask(&[]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "\"What is a buoy?\"\n");
    let mut terminal = Terminal::start(&[], &kept);
    terminal.until("ask a question");
    terminal.keys("i");
    terminal.until("Enter to send");
    terminal.keys("\x1b[A");
    terminal.until("> What is a buoy?");
    quit(terminal);
}
