//! The program in a real pty: every exit restores the terminal.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test, and the helpers of one")]

#[path = "terminal/api_key.rs"]
mod api_key;
#[path = "terminal/editor.rs"]
mod editor;
#[path = "terminal/ending.rs"]
mod ending;
#[path = "terminal/gateway.rs"]
mod gateway;
#[path = "fuzz/hostile.rs"]
mod hostile;
#[path = "terminal/hostile_text.rs"]
mod hostile_text;
#[path = "terminal/outputs.rs"]
mod outputs;
#[path = "terminal/record.rs"]
mod record;
#[path = "terminal/replay.rs"]
mod replay;
#[path = "terminal/splits.rs"]
mod splits;
#[path = "terminal/upstream.rs"]
mod upstream;

use std::io::{BufRead as _, Read, Write};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// The longest wait, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, its output so far, and the resulting screen.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    bytes: Receiver<Vec<u8>>,
    /// Reads until the child is gone or `bytes` is dropped.
    reader: JoinHandle<()>,
    raw: Vec<u8>,
    screen: vt100::Parser,
}

/// An empty screen of the size every test uses.
fn blank() -> vt100::Parser {
    vt100::Parser::new(40.try_into().unwrap(), 120.try_into().unwrap(), 0)
}

impl Terminal {
    fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_on(args, env, true)
    }

    /// Starts the program; without a controlling terminal the kernel sends no SIGHUP.
    fn start_on(args: &[&str], env: &[(&str, &str)], controlling: bool) -> Self {
        let size = PtySize {
            rows: 40,
            cols: 120,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(args);
        command.set_controlling_tty(controlling);
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        command.env("LC_ALL", "C.UTF-8");
        // a backtrace would scroll the expected text off the screen
        command.env("RUST_BACKTRACE", "0");
        // prompts of tests are not those of their user
        command.env("SEAWALL_NO_HISTORY", "1");
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (send, bytes) = channel();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keyboard = pair.master.take_writer().unwrap();
        let screen = blank();
        Self {
            child,
            master: pair.master,
            keyboard,
            bytes,
            reader,
            raw: Vec::new(),
            screen,
        }
    }

    /// Waits until `text` is on the screen. The limit is for the whole wait: the clock in the title bar writes
    /// every second.
    fn until(&mut self, text: &str) {
        self.until_matches(text, |contents| contents.contains(text));
    }

    /// Waits until `matches` accepts the screen; `what` names the expectation.
    #[expect(clippy::disallowed_methods, reason = "the program runs by the real clock")]
    fn until_matches(&mut self, what: &str, matches: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !matches(&self.screen.screen().contents()) {
            match self
                .bytes
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => {
                    self.screen.process(&bytes);
                    self.raw.extend(bytes);
                }
                Err(error) => panic!("{error}: no '{what}' on:\n{}", self.screen.screen().contents()),
            }
        }
    }

    fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Sends a prompt, leaves the input, and waits until this call, the `nth`, has ended.
    fn ask(&mut self, prompt: &str, nth: usize) {
        self.keys("i");
        self.until("Enter to send");
        self.keys(&format!("{prompt}\r\x1b"));
        self.until_ended(nth);
    }

    /// Waits until this number of calls has started and all have ended.
    fn until_ended(&mut self, calls: usize) {
        let started = format!("{calls} call");
        self.until_matches(&started, |screen| {
            screen.contains(&started) && screen.contains(" 0 running")
        });
    }

    fn signal(&self, name: &str) {
        let pid = self.child.process_id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the exit, checks that the terminal is restored, and returns the exit code and the screen.
    fn ended(self) -> (u32, String) {
        let (code, _, left) = self.ended_with_bytes();
        (code, left)
    }

    /// The same, with every byte written.
    fn ended_with_bytes(mut self) -> (u32, Vec<u8>, String) {
        let code = self.child.wait().unwrap().exit_code();
        // the slave side is closed with the child: the reader ends after the last byte
        drop(self.keyboard);
        while let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(500)) {
            self.screen.process(&bytes);
            self.raw.extend(bytes);
        }
        let termios = self.master.get_termios();
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the alternate screen is still on");
        assert!(!screen.hide_cursor(), "the cursor is still hidden");
        assert!(!screen.bracketed_paste(), "bracketed paste is still on");
        assert_eq!(
            screen.mouse_protocol_mode(),
            vt100::MouseProtocolMode::None,
            "the mouse is still taken"
        );
        if let Some(termios) = termios {
            let flags = format!("{:?}", termios.local_flags);
            assert!(
                flags.contains("ECHO") && flags.contains("ICANON"),
                "still raw: {flags}"
            );
        }
        let left = screen.contents();
        (code, self.raw, left)
    }
}

#[test]
fn plain_http_to_another_machine_is_warned_of_on_the_screen() {
    let mut terminal = Terminal::start(&["--upstream", "http://[fd00::1]:9"], &[]);
    terminal.until("prompts are sent to [fd00::1] over plain http");
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
}

#[test]
fn q_leaves_a_clean_terminal_and_a_summary() {
    let mut terminal = Terminal::start(&[], &[]);
    terminal.until("upstream ready");
    terminal.keys("q");
    let (code, left) = terminal.ended();
    assert_eq!(code, 0);
    assert!(left.contains("calls     0: none yet"), "{left}");
}

#[test]
fn control_c_stops_what_runs_and_then_quits() {
    let mut terminal = Terminal::start(&[], &[]);
    terminal.until("upstream ready");
    terminal.keys("B");
    terminal.until("burst 1: ");
    terminal.keys("\x03");
    terminal.until("^C again quits");
    terminal.keys("\x03");
    assert_eq!(terminal.ended().0, 130);
}

#[test]
fn signals_end_it_by_the_normal_path() {
    for (name, expected) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut terminal = Terminal::start(&[], &[]);
        terminal.until("upstream ready");
        terminal.signal(name);
        assert_eq!(terminal.ended().0, expected, "SIG{name}");
    }
}

#[test]
fn a_repeated_prompt_is_a_hit() {
    let mut terminal = Terminal::start(&[], &[]);
    terminal.until("upstream ready");
    for answered in ["answered, 1 attempt", "exact hit"] {
        terminal.keys("i");
        terminal.until("Enter to send");
        terminal.keys("What is a token bucket?\r");
        terminal.keys("\x1b");
        terminal.until(answered);
    }
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
}

#[test]
fn a_panic_of_the_drawing_thread_restores_the_terminal_first() {
    let mut terminal = Terminal::start(&["--panic-in", "ui"], &[]);
    terminal.until("upstream ready");
    let (code, left) = terminal.ended();
    assert_ne!(code, 0);
    assert!(left.contains("panic requested in ui"), "{left}");
}

#[test]
fn a_panic_in_a_task_does_not_touch_the_screen() {
    let mut terminal = Terminal::start(&["--panic-in", "task"], &[]);
    terminal.until("upstream ready");
    // answers take seconds, the panic half a second: the control room continued after it
    terminal.keys("b");
    terminal.until("answered, 1 attempt");
    assert!(
        terminal.screen.screen().alternate_screen(),
        "the screen was left under a running program"
    );
    // q asks while a call has not ended yet
    terminal.keys("xqy");
    let (code, left) = terminal.ended();
    assert_eq!(code, 0);
    assert!(
        left.contains("a background task panicked: panic requested in task"),
        "{left}"
    );
}

#[test]
fn no_color_disables_colours_but_not_bold() {
    let mut terminal = Terminal::start(&[], &[("NO_COLOR", "1")]);
    terminal.until("upstream ready");
    terminal.keys("q");
    let mut parser = blank();
    parser.process(&terminal.raw);
    let cells = (0..40).flat_map(|row| (0..120).map(move |col| (row, col)));
    let cells: Vec<_> = cells
        .filter_map(|(row, col)| parser.screen().cell(row, col))
        .collect();
    assert!(cells.iter().all(|cell| cell.fgcolor() == vt100::Color::Default));
    assert!(cells.iter().any(|cell| cell.bold()));
    terminal.ended();
}

#[test]
fn bad_input_is_reported_in_one_line_and_exits_with_2() {
    for (args, expected) in [
        (
            &["--upstream", "api.example.com/v1"][..],
            "the scheme is missing: write https://api.example.com/v1",
        ),
        (&["--policy", "prodution"], "did you mean production?"),
        (&["--faults", "outag"], "did you mean outage?"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(args)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.contains(expected) && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
}

#[test]
fn an_unreachable_upstream_exits_with_3() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://127.0.0.1:{port}");
    let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["--upstream", &url, "--no-tui"])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let expected = format!("nothing listens at 127.0.0.1:{port} (connection refused); start the server");
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn a_port_in_use_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["simulate", "--port", &port])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.matches(&port).count(), 1, "{stderr}");
}

/// The upstream of [`an_answer_cannot_command_the_terminal`]: every request gets the same answer.
fn hostile_upstream(answer: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}",
        answer.len()
    );
    // ends with the test's process
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 16 << 10];
            // the client's requests are small; unread bytes do not matter
            if stream.read(&mut request).is_ok() {
                drop(stream.write_all(response.as_bytes()));
            }
        }
    });
    url
}

/// Row 61 of the fault matrix. The answer is also a list of models, so that one server serves both.
#[test]
fn an_answer_cannot_command_the_terminal() {
    let text = r"\u001b]0;pwned\u0007\u001b]52;c;cHduZWQ=\u0007\u001b[2J\u009b31mtake that";
    let answer = format!(
        r#"{{"data":[{{"id":"m{text}"}}],"model":"m{text}","choices":[{{"message":{{"content":"{text}"}},"finish_reason":"stop"}}]}}"#
    );
    let url = hostile_upstream(&answer);
    let mut terminal = Terminal::start(&["--upstream", &url], &[]);
    terminal.until("upstream ready");
    terminal.keys("i");
    terminal.keys("hello\r");
    // this emulator does not draw U+FFFD, the replacement of the CSI, so text without a cursor move is one cell
    // off
    terminal.until_matches("take that", |screen| {
        screen.contains("take that") || screen.contains("take  that")
    });
    let mut raw = std::mem::take(&mut terminal.raw);
    terminal.keys("\x1b");
    terminal.signal("TERM");
    while let Ok(bytes) = terminal.bytes.recv_timeout(PATIENCE) {
        terminal.screen.process(&bytes);
        raw.extend(bytes);
    }
    for command in [
        &b"\x1b]0;"[..],
        b"\x1b]52;c;cHdu",
        b"\x1b[2J\xc2\x9b",
        b"\xc2\x9b31m",
        b"\x07",
    ] {
        assert!(
            !raw.windows(command.len()).any(|here| here == command),
            "{:?} reached the terminal",
            String::from_utf8_lossy(command)
        );
    }
    assert_eq!(terminal.ended().0, 143);
}

/// Row 55 of the fault matrix.
#[test]
fn survives_every_size_and_redraws() {
    let mut terminal = Terminal::start(&[], &[]);
    terminal.until("upstream ready");
    let storm = (1..40).map(|n| (n * 7 % 50, n * 13 % 200));
    for (rows, cols) in [(1, 1), (0, 0), (1000, 1000), (1, 500), (500, 1)]
        .into_iter()
        .chain(storm)
        .chain([(40, 120)])
    {
        let size = PtySize {
            rows,
            cols,
            pixel_width: 0,
            pixel_height: 0,
        };
        terminal.master.resize(size).unwrap();
    }
    // a blank screen: only a full redraw brings the text back
    while terminal.bytes.try_recv().is_ok() {}
    terminal.screen = blank();
    terminal.keys("\x0c");
    terminal.until("upstream ready");
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
}

/// Row 56 of the fault matrix.
#[test]
fn a_closed_stdout_exits_quietly() {
    for args in [
        &["run", "outage"][..],
        &["run", "outage", "--json"],
        &["scenarios"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(args)
            .stdout(writer)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), stderr.as_ref()),
            (Some(141), ""),
            "{args:?}"
        );
    }
}

/// Row 56 of the fault matrix.
#[test]
fn without_a_terminal_the_drill_runs() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(
        line.contains("stdout is not a terminal; running the drill"),
        "{line}"
    );
    // the rest is tested with the drill
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!output.stdout.contains(&0x1b), "escape sequences into a pipe");
}

/// Row 56 of the fault matrix.
#[test]
fn draws_on_a_dumb_terminal() {
    let mut terminal = Terminal::start(&[], &[("TERM", "dumb")]);
    terminal.until("upstream ready");
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
}

/// Row 60 of the fault matrix.
#[test]
fn leaves_the_screen_when_stopped_and_redraws_when_continued() {
    let mut terminal = Terminal::start(&[], &[]);
    terminal.until("upstream ready");
    terminal.keys("\x1a");
    while terminal.screen.screen().alternate_screen() {
        let bytes = terminal.bytes.recv_timeout(PATIENCE).unwrap();
        terminal.screen.process(&bytes);
    }
    assert!(!terminal.screen.screen().bracketed_paste() && !terminal.screen.screen().hide_cursor());
    terminal.signal("CONT");
    terminal.screen = blank();
    terminal.until("upstream ready");
    let screen = terminal.screen.screen();
    assert!(screen.alternate_screen() && screen.bracketed_paste());
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
}

#[test]
fn s_cycles_from_the_semantic_mode_of_the_command_line() {
    let mut terminal = Terminal::start(&["--semantic", "on"], &[]);
    terminal.until("upstream ready");
    terminal.keys("s");
    terminal.until("Semantic shadow: ask the upstream, log would-be hits");
    // the key depends on the current mode: wait until the command was executed
    terminal.until("applied: semantic cache in");
    terminal.keys("s");
    terminal.until("Semantic off: only equal requests hit");
    terminal.keys("q");
    assert_eq!(terminal.ended().0, 0);
}

#[test]
fn a_damaged_label_file_and_a_bad_embedder_are_reported_before_the_start() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("seawall");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("production.labels.toml"),
        "[[label]]\nreqest = '0a'\n",
    )
    .unwrap();
    let stderr = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(args)
            .env("XDG_STATE_HOME", home.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let damaged = stderr(&["--no-tui"]);
    assert!(
        damaged.contains("production.labels.toml, line 2: unknown field `reqest`; did you mean `request`?")
            && damaged.contains("correct it, or delete the file"),
        "{damaged}"
    );
    let embedder = stderr(&[
        "--policy",
        "exercise",
        "--embedder",
        "api.example.com",
        "--no-tui",
    ]);
    assert!(
        embedder.contains("--embedder api.example.com: the scheme is missing: write https://api.example.com"),
        "{embedder}"
    );
}
