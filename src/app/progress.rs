//! Progress of a long run, on one line of stderr.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A progress line, shown if stderr is a terminal.
pub(crate) struct Progress {
    /// Units done so far.
    pub(crate) at: Arc<AtomicU64>,
    over: std::sync::mpsc::Sender<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    pub(crate) fn start(what: &'static str, whole: u64) -> Self {
        let at = Arc::new(AtomicU64::new(0));
        let (over, ended) = std::sync::mpsc::channel();
        let shown = Arc::clone(&at);
        let thread = std::io::stderr().is_terminal().then(|| {
            std::thread::spawn(move || {
                let every = std::time::Duration::from_millis(100);
                let mut err = std::io::stderr();
                while ended.recv_timeout(every) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    let done = shown.load(Ordering::Relaxed);
                    let percent = (done as f64 / whole.max(1) as f64 * 100.0).min(100.0);
                    drop(write!(err, "\r{percent:>5.1}%  {done} of {whole} {what}"));
                    drop(err.flush());
                }
                // clear the line
                drop(write!(err, "\r\x1b[K"));
            })
        });
        Self { at, over, thread }
    }

    pub(crate) fn end(self) {
        drop(self.over);
        if let Some(thread) = self.thread {
            drop(thread.join());
        }
    }
}
