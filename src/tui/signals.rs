//! Signals that end the event loop, and the signal that resumes it.
//!
//! A process killed by a signal runs no destructors and would leave the terminal in raw mode. So the loop handles
//! the signals and ends normally.
//!
//! `nohup` and shells start a program in the background with SIGHUP or SIGINT ignored, and they stay so.

use std::io;

use super::Exit;

/// A signal to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT from another process; Ctrl-C arrives as a key.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal was closed.
    HangUp,
    /// SIGCONT: another program may have drawn on the terminal.
    Continue,
}

impl Signal {
    /// The reason to end, if it ends the program.
    pub fn exit(self) -> Option<Exit> {
        match self {
            Self::Interrupt => Some(Exit::Interrupted),
            Self::Terminate => Some(Exit::Terminated),
            Self::HangUp => Some(Exit::HungUp),
            Self::Continue => None,
        }
    }
}

/// The stream of signals. The default never yields one.
#[derive(Debug, Default)]
pub struct Signals {
    streams: Option<Streams>,
}

#[derive(Debug)]
struct Streams {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: tokio::signal::unix::Signal,
    hang_up: Option<tokio::signal::unix::Signal>,
    carry_on: tokio::signal::unix::Signal,
}

impl Signals {
    /// Installs the handlers.
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let carry_on = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
        let unless_ignored = |kind| (!is_ignored(kind)).then(|| signal(kind)).transpose();
        Ok(Self {
            streams: Some(Streams {
                interrupt: unless_ignored(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hang_up: unless_ignored(SignalKind::hangup())?,
                carry_on: signal(carry_on)?,
            }),
        })
    }

    /// Waits for a signal that ends the program. Cancel safe.
    pub async fn ended(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.next().await.exit() {
                return exit;
            }
        }
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        let Some(streams) = &mut self.streams else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            Some(()) = streams.terminate.recv() => Signal::Terminate,
            () = received(streams.hang_up.as_mut()) => Signal::HangUp,
            () = received(streams.interrupt.as_mut()) => Signal::Interrupt,
            Some(()) = streams.carry_on.recv() => Signal::Continue,
            else => std::future::pending().await,
        }
    }
}

/// Waits for a signal that may be ignored.
async fn received(signal: Option<&mut tokio::signal::unix::Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Returns true if the process ignores this signal; false where the system does not show it.
fn is_ignored(kind: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
