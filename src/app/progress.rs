//! Progress of a long run on stderr: one line that is redrawn on a terminal, and elsewhere plain lines at a low rate.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// Time between two drawings of a line on a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// Time between two plain lines: enough for the log of a CI service.
const PLAIN: Duration = Duration::from_secs(30);
/// Columns of a line: a longer one would wrap, and its first row would stay.
const COLUMNS: usize = 79;

/// A progress line in a thread of its own. It ends when dropped.
pub(crate) struct Progress {
    /// Units done so far.
    pub(crate) at: Arc<AtomicU64>,
    over: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    /// Shows the share of `whole` units that is done.
    pub(crate) fn start(what: &'static str, whole: u64) -> Self {
        let at = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&at);
        let line = move || {
            let done = shown.load(Ordering::Relaxed);
            let percent = (done as f64 / whole.max(1) as f64 * 100.0).min(100.0);
            format!("{percent:>5.1}%  {done} of {whole} {what}")
        };
        let mut progress = Self::of(PLAIN, line);
        progress.at = at;
        progress
    }

    /// Shows the lines that `line` returns; on a terminal often, elsewhere every `plain`.
    pub(crate) fn of(plain: Duration, line: impl Fn() -> String + Send + 'static) -> Self {
        let (over, ended) = std::sync::mpsc::channel();
        let redraws = std::io::stderr().is_terminal();
        let thread = std::thread::spawn(move || {
            let every = if redraws { REDRAW } else { plain };
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let line: String = line().trim_end().chars().take(COLUMNS).collect();
                let mut err = std::io::stderr();
                drop(if redraws {
                    write!(err, "\r\x1b[K{line}").and_then(|()| err.flush())
                } else {
                    writeln!(err, "seawall: {}", line.trim_start())
                });
            }
            if redraws {
                drop(write!(std::io::stderr(), "\r\x1b[K"));
            }
        });
        Self {
            at: Arc::default(),
            over: Some(over),
            thread: Some(thread),
        }
    }

    pub(crate) fn end(self) {
        drop(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
