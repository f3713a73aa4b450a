//! Good journals that pass, and broken ones that fail: each check is shown to be able to fail.
//!
//! The good journals in `tests/journals` were recorded by [`record`] in virtual time. A broken one is a good one with one
//! deliberate error, a row of [`broken::MISTAKES`].

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "journals/broken.rs"]
mod broken;
#[path = "journals/record.rs"]
mod record;
#[path = "journals/screens.rs"]
mod screens;

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::Command;

use seawall::check::{CheckError, INVARIANTS, Summary, check};
use seawall::journal::Reader;

/// The committed journals: the guards in the order of `production` and of `exercise`, the semantic cache, and many
/// users.
const GOOD: [&str; 4] = ["production", "exercise", "semantic", "users"];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/journals/{name}.ndjson"))
}

fn checked(text: &str) -> Result<Summary, CheckError> {
    check(Reader::open(Cursor::new(text.to_owned()))?)
}

#[test]
fn good_journals_pass() {
    for name in GOOD {
        let text = fs::read_to_string(path(name)).unwrap();
        let summary = checked(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(summary.complete && summary.calls > 10, "{name}: {summary}");
    }
}

/// Set `RECORD_JOURNALS` to write the committed journals again after a change of the event format.
#[test]
fn the_same_session_gives_the_same_journal_to_the_last_byte() {
    for name in GOOD {
        let text = record::session(name);
        if std::env::var_os("RECORD_JOURNALS").is_some() {
            fs::write(path(name), &text).unwrap();
        }
        checked(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text == record::session(name), "{name}: the journals differ");
    }
}

#[test]
fn a_journal_draws_what_the_session_drew() {
    for name in GOOD {
        let (journal, moments) = record::filmed(name);
        assert!(!moments.is_empty(), "{name}: {} moments", moments.len());
        screens::compare(name, &journal, &moments);
        screens::compare_played(name, &journal, &moments);
    }
}

#[test]
fn a_session_on_threads_in_real_time_passes() {
    let summary = checked(&record::threads()).unwrap_or_else(|error| panic!("{error}"));
    assert!(summary.complete && summary.lost == 0, "{summary}");
    assert_eq!(summary.calls, 600);
}

#[test]
fn every_mistake_is_detected_by_its_invariant() {
    let mut wrong = Vec::new();
    for mistake in broken::MISTAKES {
        let text = fs::read_to_string(path(mistake.journal)).unwrap();
        let found = match checked(&mistake.make(&text)) {
            Err(CheckError::Violation(violation)) => {
                assert!(!violation.events.is_empty(), "{}", mistake.name);
                (violation.number, violation.to_string())
            }
            Err(CheckError::Journal(error)) => panic!("{}: {error}", mistake.name),
            Ok(summary) => (0, summary.to_string()),
        };
        if found.0 != mistake.number {
            wrong.push(format!(
                "{}: {} expected, found {}",
                mistake.name, mistake.number, found.1
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_invariant_has_a_journal_that_breaks_it() {
    let broken: BTreeSet<u8> = broken::MISTAKES.iter().map(|mistake| mistake.number).collect();
    let checked: BTreeSet<u8> = (1..=INVARIANTS.len() as u8).collect();
    assert_eq!(broken, checked);
}

#[test]
fn a_journal_that_stops_early_is_checked_as_far_as_it_goes() {
    let text = fs::read_to_string(path(GOOD[0])).unwrap();
    for lines in [1, 2, 50, 200] {
        let beginning: Vec<&str> = text.lines().take(lines).collect();
        let summary = checked(&beginning.join("\n")).unwrap();
        assert_eq!((summary.events, summary.complete), (lines as u64 - 1, false));
    }
    let summary = checked(&text[..text.len() * 2 / 3]).unwrap();
    assert!(summary.torn.is_some(), "{summary}");
}

#[test]
fn behind_a_gap_only_the_order_is_checked() {
    let text = fs::read_to_string(path(GOOD[0])).unwrap();
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    lines.splice(100..110, ["{\"gap\":10}".to_owned()]);
    let summary = checked(&lines.join("\n")).unwrap();
    assert_eq!((summary.lost, summary.after_gap), (10, lines.len() as u64 - 102));
    lines[100] = "{\"gap\":9}".into();
    assert!(matches!(
        checked(&lines.join("\n")),
        Err(CheckError::Violation(_))
    ));
}

/// Runs the program and returns its output and exit code.
fn program(file: &str) -> (String, String, i32) {
    let run = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["check", file])
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(run.stdout), text(run.stderr), run.status.code().unwrap())
}

#[test]
fn the_program_prints_what_it_found() {
    let good = path(GOOD[0]);
    let file = good.to_str().unwrap();
    let (out, _, code) = program(file);
    let counts = format!("{} invariants hold\n", INVARIANTS.len());
    assert!(
        out.starts_with(&format!("{file}: ")) && out.ends_with(&counts),
        "{out}"
    );
    assert_eq!(code, 0);

    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.ndjson");
    let broken = broken.to_str().unwrap();
    let text = fs::read_to_string(&good).unwrap();
    fs::write(broken, broken::MISTAKES[0].make(&text)).unwrap();
    let (out, _, code) = program(broken);
    let expected = format!("{broken}: invariant {} failed: ", broken::MISTAKES[0].number);
    assert!(out.starts_with(&expected) && out.contains("\"seq\":"), "{out}");
    assert_eq!(code, 1);

    fs::write(broken, "hello").unwrap();
    let (out, error, code) = program(broken);
    assert!(out.is_empty() && error.contains("not a journal"), "{error}");
    assert_eq!(code, 2);
    assert_eq!(program("/nowhere").2, 2);
}
