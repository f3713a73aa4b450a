//! A drill in the control room, saved as a scenario and run headless.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::Terminal;

/// Runs a saved drill headless.
fn run_headless(file: &Path) -> Output {
    let mut run = Command::new(env!("CARGO_BIN_EXE_seawall"));
    run.args(["run", file.to_str().unwrap()]).output().unwrap()
}

/// Burst, outage on, burst, outage off, burst; waits for each.
fn drill(terminal: &mut Terminal) {
    terminal.until("upstream ready");
    terminal.keys("b");
    terminal.until_ended(10);
    terminal.keys("F");
    terminal.until("FAULTS ON");
    terminal.keys("B");
    terminal.until_ended(60);
    terminal.keys("F");
    terminal.until_matches("faults off", |screen| !screen.contains("FAULTS ON"));
    terminal.keys("b");
    terminal.until_ended(70);
}

#[test]
fn a_recorded_drill_is_saved_and_passes_headless() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drill.toml");
    let mut live = Terminal::start(
        &[
            "--seed",
            "7",
            "--faults",
            "outage",
            "--record",
            file.to_str().unwrap(),
        ],
        &[],
    );
    drill(&mut live);
    live.keys("w\r");
    live.until("saved drill.toml: 5 commands, 10 expectations");
    let first = fs::read_to_string(&file).unwrap();
    assert!(first.contains("duration = "), "{first}");
    // commands after `w` are in the file saved at the end
    live.keys("b");
    live.until_ended(80);
    live.keys("q");
    let (code, left) = live.ended();
    assert_eq!(code, 0);
    assert!(left.contains("saved drill.toml: 6 commands, "), "{left}");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("[[command]]").count(), 6, "{text}");
    assert_eq!(
        text.matches("faults = { on = true, profile = \"outage\" }")
            .count(),
        1,
        "{text}"
    );
    let run = run_headless(&file);
    let report = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{report}\n{text}");
    assert!(report.contains("passed"), "{report}");
}

#[test]
fn a_file_that_cannot_be_created_is_rejected_before_the_drill() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there.toml");
    fs::write(&there, "mine").unwrap();
    let mut refused = Terminal::start(&["--record", there.to_str().unwrap()], &[]);
    refused.until("the file exists already");
    assert_eq!(refused.ended().0, 2);
    assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
    let nowhere = folder.path().join("no").join("x.toml");
    let mut refused = Terminal::start(&["--record", nowhere.to_str().unwrap()], &[]);
    refused.until("cannot create the file");
    assert_eq!(refused.ended().0, 2);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
