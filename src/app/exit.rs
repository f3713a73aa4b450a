//! SIGTERM ends the program with exit code 143: at any time, in every mode.
//!
//! ```text
//! nothing to save        the signal handler exits
//! while a Hold exists    the mode is notified (`tui::signals`), saves its files and returns
//! at the end             a SIGTERM that arrived meanwhile decides the exit code
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGTERM;
use signal_hook::flag;

use crate::tui::Exit;

/// Exit code after SIGTERM.
const TERMINATED: u8 = Exit::Terminated.code();

/// The reaction to SIGTERM.
#[derive(Debug)]
pub(crate) struct Exits {
    /// True while the signal handler exits by itself.
    at_once: Arc<AtomicBool>,
    /// True after SIGTERM.
    terminated: Arc<AtomicBool>,
}

/// While it exists, SIGTERM is left to the mode, which has files to save.
#[derive(Debug)]
pub(crate) struct Hold<'a>(&'a AtomicBool);

impl Exits {
    /// Installs the handler.
    pub(crate) fn install() -> io::Result<Self> {
        let exits = Self {
            at_once: Arc::new(AtomicBool::new(true)),
            terminated: Arc::default(),
        };
        // in this order: in between, the signal exits too
        flag::register_conditional_shutdown(SIGTERM, TERMINATED.into(), Arc::clone(&exits.at_once))?;
        flag::register(SIGTERM, Arc::clone(&exits.terminated))?;
        Ok(exits)
    }

    /// Leaves SIGTERM to the mode.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.at_once.store(false, Ordering::SeqCst);
        Hold(&self.at_once)
    }

    /// The exit code of a program that ends with `code`.
    pub(crate) fn code(&self, code: u8) -> u8 {
        if self.terminated.load(Ordering::SeqCst) {
            TERMINATED
        } else {
            code
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
