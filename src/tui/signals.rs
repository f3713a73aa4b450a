//! Signals that end the event loop, and the signal that resumes it.
//!
//! A process killed by a signal runs no destructors and would leave the terminal in raw mode. So the loop handles
//! the signals and ends normally.

use std::io;

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

/// The stream of signals. The default never yields one.
#[cfg(unix)]
#[derive(Debug, Default)]
pub struct Signals {
    streams: Option<Streams>,
}

#[cfg(unix)]
#[derive(Debug)]
struct Streams {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    carry_on: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Installs the handlers.
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let carry_on = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
        Ok(Self {
            streams: Some(Streams {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hang_up: signal(SignalKind::hangup())?,
                carry_on: signal(carry_on)?,
            }),
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        let Some(streams) = &mut self.streams else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            Some(()) = streams.terminate.recv() => Signal::Terminate,
            Some(()) = streams.hang_up.recv() => Signal::HangUp,
            Some(()) = streams.interrupt.recv() => Signal::Interrupt,
            Some(()) = streams.carry_on.recv() => Signal::Continue,
            else => std::future::pending().await,
        }
    }
}

/// The stream of signals. The default never yields one.
#[cfg(not(unix))]
#[derive(Debug, Default)]
pub struct Signals {
    listening: bool,
}

#[cfg(not(unix))]
impl Signals {
    /// Installs the handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { listening: true })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        if self.listening && tokio::signal::ctrl_c().await.is_ok() {
            return Signal::Interrupt;
        }
        std::future::pending().await
    }
}
