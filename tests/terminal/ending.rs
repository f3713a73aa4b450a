//! The end of the program: the terminal disappears, or SIGTERM.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, Terminal};

/// Reads `/proc/PID/FILE`; also of a process that has ended and was not waited for.
fn proc(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
}

/// The state letter and the processor time of a process, in ticks of 10 ms.
fn state_and_ticks(pid: u32) -> (char, u64) {
    let stat = proc(pid, "stat");
    // the name in parentheses may contain spaces
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    (fields[0].chars().next().unwrap(), ticks(11) + ticks(12))
}

/// Waits until `is_so`, which is checked every few milliseconds: /proc has no events.
#[expect(clippy::disallowed_methods, reason = "the program runs by the real clock")]
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Terminal {
    /// Closes the terminal, and returns the exit code, the processor time until then, and the time it took.
    #[expect(clippy::disallowed_methods, reason = "the program runs by the real clock")]
    fn hang_up(mut self) -> (u32, Duration, Duration) {
        let pid = self.child.process_id().unwrap();
        // the reader notices at the next output that it is no longer needed
        drop(self.bytes);
        self.keyboard.write_all(b"\x0c").unwrap();
        self.reader.join().unwrap();
        let ((_, before), started) = (state_and_ticks(pid), Instant::now());
        drop(self.keyboard);
        drop(self.master);
        wait_until("the program runs without a terminal", || {
            state_and_ticks(pid).0 == 'Z'
        });
        let (took, (_, after)) = (started.elapsed(), state_and_ticks(pid));
        let busy = Duration::from_millis(10 * (after - before));
        (self.child.wait().unwrap().exit_code(), busy, took)
    }
}

pub(super) fn is_closed_journal(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .last()
        .is_some_and(|last| last.starts_with("{\"end\":"))
}

#[test]
fn a_terminal_that_disappears_ends_the_session_and_its_files_are_saved() {
    for controlling in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (drill, journal) = (
            folder.path().join("drill.toml"),
            folder.path().join("live.ndjson"),
        );
        let mut terminal = Terminal::start_on(
            &[
                "--record",
                drill.to_str().unwrap(),
                "--journal",
                journal.to_str().unwrap(),
            ],
            &[],
            controlling,
        );
        terminal.until("upstream ready");
        terminal.ask("what does a token bucket do?", 1);
        let (code, busy, took) = terminal.hang_up();
        let case = format!("controlling terminal: {controlling}");
        assert_eq!(code, 129, "{case}");
        // the drill is run once to be saved; a loop would take all of the time
        assert!(
            busy < took / 20 + Duration::from_millis(300),
            "{case}: {busy:?} of {took:?}"
        );
        assert!(is_closed_journal(&journal), "{case}");
        let saved = fs::read_to_string(&drill).unwrap();
        assert!(saved.contains("what does a token bucket do?"), "{case}: {saved}");
    }
}

#[test]
fn a_replay_without_a_terminal_ends_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.ndjson");
    let file = file.to_str().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["run", "calm", "--journal", file])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(0));
    let mut replay = Terminal::start_on(&["replay", file], &[], false);
    replay.until("REPLAY");
    let (code, busy, took) = replay.hang_up();
    assert_eq!(code, 129);
    assert!(
        busy < took / 20 + Duration::from_millis(300),
        "{busy:?} of {took:?}"
    );
}

fn kill(pid: u32, name: &str) {
    let kill = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(kill.unwrap().success());
}

pub(super) fn signal(child: &Child, name: &str) {
    kill(child.id(), name);
}

/// Starts the program without a terminal. Its input is open and silent.
fn start(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the process has a handler for SIGTERM.
fn until_handled(child: &Child) {
    const SIGTERM: u32 = 15;
    wait_until("no handler", || {
        let status = proc(child.id(), "status");
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() >> (SIGTERM - 1) & 1 == 1
    });
}

#[test]
fn sigterm_is_143_in_every_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (drill, run) = (path("drill.ndjson"), path("run.ndjson"));
    for args in [
        &["--no-tui"][..],
        &["--no-tui", "--journal", &drill],
        &["simulate", "--port", "0"],
        &["run", "outage", "--real", "--journal", &run],
        &["fuzz", "--count", "1000000"],
        &["compare", "exercise", "production", "--scenario", "hour"],
        &["check", "-"],
    ] {
        let mut child = start(args);
        // `wait` would close it, and `check -` end by itself
        let input = child.stdin.take();
        until_handled(&child);
        signal(&child, "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(143), "{args:?}");
        drop(input);
    }
}

#[test]
fn a_signal_closes_the_journal_of_a_drill_and_of_a_run() {
    for (name, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("j.ndjson");
        let journal = file.to_str().unwrap();
        let long = folder.path().join("long.toml");
        let callers = "duration = \"24h\"\n[[callers]]\narrival.steady = { per_s = 1.0 }\n";
        fs::write(&long, callers).unwrap();
        for args in [
            &["--no-tui", "--journal", journal, "--overwrite"][..],
            &["run", long.to_str().unwrap(), "--journal", journal, "--overwrite"],
            &["run", "outage", "--real", "--journal", journal, "--overwrite"],
        ] {
            let mut child = start(args);
            wait_until("no journal", || {
                fs::metadata(&file).is_ok_and(|found| found.len() > 0)
            });
            signal(&child, name);
            signal(&child, name);
            assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?} SIG{name}");
            assert!(is_closed_journal(&file), "{args:?} SIG{name}");
            fs::remove_file(&file).unwrap();
        }
    }
}

#[test]
fn a_signal_ends_a_session_whose_terminal_does_not_read() {
    for (name, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let mut terminal = Terminal::start(&[], &[]);
        terminal.until("upstream ready");
        // the reader stops, and redraws fill the pty
        drop(terminal.bytes);
        terminal.keyboard.write_all(b"\x0c").unwrap();
        terminal.reader.join().unwrap();
        let pid = terminal.child.process_id().unwrap();
        wait_until("the write does not block", || {
            terminal.keyboard.write_all(b"\x0c").unwrap();
            proc(pid, "wchan").contains("wait_woken")
        });
        kill(pid, name);
        assert_eq!(terminal.child.wait().unwrap().exit_code(), code, "SIG{name}");
    }
}

#[test]
fn sigterm_ends_a_program_that_waits_for_the_reader_of_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let journal = pipe.to_str().unwrap();
    for args in [
        &["--no-tui", "--journal", journal][..],
        &["run", "outage", "--journal", journal],
        &["run", "outage", "--real", "--journal", journal],
    ] {
        let mut child = start(args);
        wait_until("the pipe is not opened", || {
            proc(child.id(), "wchan").contains("wait_for_partner")
        });
        signal(&child, "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(143), "{args:?}");
    }
}

#[test]
fn sigterm_ends_a_drill_whose_journal_is_a_pipe_that_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    // opens at once for both ends
    let _reader = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let mut child = start(&["--no-tui", "--journal", pipe.to_str().unwrap()]);
    let writes = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        let waits =
            tasks.map(|task| fs::read_to_string(task.unwrap().path().join("wchan")).unwrap_or_default());
        waits.into_iter().any(|wait| wait.contains("pipe_write"))
    };
    wait_until("the pipe is not full", writes);
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_second_sigterm_changes_nothing() {
    let mut terminal = Terminal::start(&[], &[]);
    terminal.until("upstream ready");
    terminal.signal("TERM");
    terminal.signal("TERM");
    assert_eq!(terminal.ended().0, 143);
    let mut simulator = start(&["simulate", "--port", "0"]);
    let mut line = String::new();
    BufReader::new(simulator.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    signal(&simulator, "TERM");
    signal(&simulator, "TERM");
    assert_eq!(simulator.wait().unwrap().code(), Some(143));
}

#[test]
fn a_background_program_ignores_what_nohup_ignores() {
    let mut child = Command::new("sh")
        .args([
            "-c",
            "trap '' HUP INT; exec \"$0\" simulate --port 0",
            env!("CARGO_BIN_EXE_seawall"),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("simulator at"), "{line}");
    signal(&child, "HUP");
    signal(&child, "INT");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn closed_output_changes_no_exit_code() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut missing = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["run", "no-such-scenario"])
        .stderr(writer)
        .spawn()
        .unwrap();
    assert_eq!(missing.wait().unwrap().code(), Some(2));
}
