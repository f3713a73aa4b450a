//! What the system tells the process: end, or that it was stopped and goes on.
//!
//! A process that dies of a signal runs no destructors, so a terminal in raw mode would stay so. The loop
//! listens instead, and ends by its normal path.

use std::io;

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// SIGINT, from outside: the key itself arrives as a key.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is gone.
    HangUp,
    /// SIGCONT: somebody else may have drawn on the terminal meanwhile.
    Continue,
}

/// The signals the loop listens to.
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
    /// Listens. The default listens to nothing.
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

    /// Waits for the next one. Can be dropped and called again without loss.
    pub async fn next(&mut self) -> Told {
        let Some(streams) = &mut self.streams else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            Some(()) = streams.terminate.recv() => Told::Terminate,
            Some(()) = streams.hang_up.recv() => Told::HangUp,
            Some(()) = streams.interrupt.recv() => Told::Interrupt,
            Some(()) = streams.carry_on.recv() => Told::Continue,
            else => std::future::pending().await,
        }
    }
}

/// The signals the loop listens to.
#[cfg(not(unix))]
#[derive(Debug, Default)]
pub struct Signals {
    listening: bool,
}

#[cfg(not(unix))]
impl Signals {
    /// Listens. The default listens to nothing.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { listening: true })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Told {
        if self.listening && tokio::signal::ctrl_c().await.is_ok() {
            return Told::Interrupt;
        }
        std::future::pending().await
    }
}
