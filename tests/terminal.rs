//! The program in a real pty: whatever ends it, the terminal is left as it was found.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test, and the helpers of one")]

use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// No wait is longer; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, what it wrote so far, and the screen that makes.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    bytes: Receiver<Vec<u8>>,
    raw: Vec<u8>,
    screen: vt100::Parser,
}

/// An empty screen of the size every test uses.
fn blank() -> vt100::Parser {
    vt100::Parser::new(40.try_into().unwrap(), 120.try_into().unwrap(), 0)
}

impl Terminal {
    fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let size = PtySize {
            rows: 40,
            cols: 120,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(args);
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        command.env("LC_ALL", "C.UTF-8");
        // a backtrace would push what is looked for off the screen
        command.env("RUST_BACKTRACE", "0");
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (send, bytes) = channel();
        std::thread::spawn(move || {
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
            raw: Vec::new(),
            screen,
        }
    }

    /// Waits until `text` is on the screen.
    fn until(&mut self, text: &str) {
        while !self.screen.screen().contents().contains(text) {
            match self.bytes.recv_timeout(PATIENCE) {
                Ok(bytes) => {
                    self.screen.process(&bytes);
                    self.raw.extend(bytes);
                }
                Err(error) => panic!("{error}: no '{text}' on:\n{}", self.screen.screen().contents()),
            }
        }
    }

    fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
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

    /// Waits for the end; gives the exit code and checks that the terminal is clean.
    fn ended(mut self) -> (u32, String) {
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
        (code, screen.contents())
    }
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
    terminal.until("BURST");
    terminal.keys("\x03");
    terminal.until("stopped");
    terminal.keys("\x03");
    terminal.ended();
}

#[test]
fn signals_end_it_by_the_normal_path() {
    for (name, expected) in [("TERM", 143), ("HUP", 129)] {
        let mut terminal = Terminal::start(&[], &[]);
        terminal.until("upstream ready");
        terminal.signal(name);
        assert_eq!(terminal.ended().0, expected, "SIG{name}");
    }
}

#[test]
fn a_panic_on_the_screen_gives_the_terminal_back_first() {
    let mut terminal = Terminal::start(&["--panic-in", "ui"], &[]);
    terminal.until("upstream ready");
    let (code, left) = terminal.ended();
    assert_ne!(code, 0);
    assert!(left.contains("asked to panic in ui"), "{left}");
}

#[test]
fn a_panic_in_a_task_does_not_touch_the_screen() {
    let mut terminal = Terminal::start(&["--panic-in", "task"], &[]);
    terminal.until("upstream ready");
    // answers take seconds, the panic half of one: the control room went on after it
    terminal.keys("b");
    terminal.until("answered, 1 try");
    assert!(
        terminal.screen.screen().alternate_screen(),
        "the screen was left under a running program"
    );
    terminal.keys("xq");
    let (code, left) = terminal.ended();
    assert_eq!(code, 0);
    assert!(
        left.contains("a background task panicked: asked to panic in task"),
        "{left}"
    );
}

#[test]
fn no_color_means_no_colour_but_bold_stays() {
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
fn bad_input_is_told_in_one_line_and_exits_with_2() {
    for (args, expected) in [
        (
            &["--upstream", "localhost:8033"][..],
            "write http://localhost:8033",
        ),
        (&["--policy", "prodution"], "did you mean production?"),
        (&["--faults", "outag"], "did you mean outage?"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn an_upstream_that_nobody_serves_exits_with_3() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://127.0.0.1:{port}");
    let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["--upstream", &url, "--no-tui"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let expected = format!("nothing listens at 127.0.0.1:{port} (connection refused); start the server");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_port_in_use_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["simulate", "--port", &port])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.matches(&port).count(), 1, "{said}");
}
