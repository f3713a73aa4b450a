//! The terminal as a guard: every exit restores the state of the shell.
//!
//! ```text
//! stdin --reader--> bytes --decoder--> events --> the loop --> Screen --Output--> stdout
//! ```
//!
//! Exits: the end of the loop (also after a signal), an error, a panic of the drawing thread, Ctrl-Z. A panic in a
//! background task is not an exit: the screen is still in use, so it is recorded and printed after the end.
//!
//! A terminal that is gone is an exit too: from then on reads return nothing or an error, and writes fail.

mod decoder;
mod reader;

use std::io::{self, BufWriter, Stdout, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crossterm::cursor;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::execute;
use crossterm::queue;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Rect, Size};
use rustix::process::{getpid, kill_process};
use rustix::termios::{QueueSelector, tcflush};

use super::Exit;
use super::keymap::Keymap;
use super::signals::Signals;
use super::view::{View, draw};
use crate::text::SafeText;
use crate::time::Clock;

pub(super) use reader::events;

/// The number of panics of background tasks kept.
const MAX_PANICS: usize = 32;

/// The longest text, in bytes, that OSC 52 carries in every terminal: `xterm` and `tmux` truncate after 74,994
/// bytes of base64.
pub const MAX_COPY: usize = 74_994 / 4 * 3;

/// The surface that the loop draws on: [`Screen`], or a recorder in tests.
pub trait Host {
    /// Draws a frame.
    fn draw(&mut self, view: &View<'_>, keymap: &Keymap) -> io::Result<()>;
    /// Sends text to the clipboard of the terminal, which does not acknowledge it.
    fn copy(&mut self, text: &str) -> io::Result<()>;
    /// Restores the terminal for another program. [`Host::resume`] takes it back.
    fn release(&mut self) -> io::Result<()>;
    /// Restores the terminal and stops the process. Returns after it was continued, or at once where it cannot be
    /// stopped.
    fn suspend(&mut self) -> io::Result<()>;
    /// Sets up the terminal again and discards the previous frame.
    fn resume(&mut self) -> io::Result<()>;
    /// The current size.
    fn size(&self) -> io::Result<Size>;
}

/// The terminal while the program uses it.
#[derive(Debug)]
pub struct Screen {
    // dropped first: shows the cursor again
    terminal: Terminal<CrosstermBackend<BufWriter<Output>>>,
    /// True after a write failed because the terminal is gone.
    is_gone: Arc<AtomicBool>,
    guard: Guard,
}

impl Screen {
    /// Sets up the terminal. Call it on the drawing thread: panics of that thread restore the terminal, those of
    /// other threads do not.
    pub fn enter(mouse: bool) -> io::Result<Self> {
        // see theme::choose: the mono theme uses no colour, but bold and reverse must remain
        crossterm::style::force_color_output(true);
        let guard = Guard::new(mouse)?;
        let is_gone = Arc::new(AtomicBool::new(false));
        let output = Output {
            stdout: io::stdout(),
            is_gone: Arc::clone(&is_gone),
        };
        let backend = CrosstermBackend::new(BufWriter::with_capacity(64 << 10, output));
        Ok(Self {
            terminal: Terminal::new(backend)?,
            is_gone,
            guard,
        })
    }

    /// Fails if the terminal is gone.
    fn checked(&self, written: io::Result<()>) -> io::Result<()> {
        if self.is_gone.load(Ordering::Relaxed) {
            return Err(rustix::io::Errno::IO.into());
        }
        written
    }

    /// The panic messages of background tasks so far.
    pub fn panics(&self) -> Vec<SafeText> {
        self.guard.shared.panics()
    }
}

impl Host for Screen {
    fn draw(&mut self, view: &View<'_>, keymap: &Keymap) -> io::Result<()> {
        // ratatui does not do this; without it a partial frame may be visible
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| {
            let area = frame.area();
            if let Some(position) = draw(view, keymap, area, frame.buffer_mut()) {
                frame.set_cursor_position(position);
            }
        })?;
        let written = execute!(self.terminal.backend_mut(), EndSynchronizedUpdate);
        self.checked(written)
    }

    fn copy(&mut self, text: &str) -> io::Result<()> {
        let copy = crossterm::clipboard::CopyToClipboard::to_clipboard_from(text);
        let written = execute!(self.terminal.backend_mut(), copy);
        self.checked(written)
    }

    fn release(&mut self) -> io::Result<()> {
        self.terminal.show_cursor()?;
        restore(self.guard.shared.mouse);
        self.checked(Ok(()))
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.release()?;
        #[cfg(unix)]
        // the whole foreground group, as the key does in a cooked terminal: `seawall | tee` stops as one
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        Ok(())
    }

    fn resume(&mut self) -> io::Result<()> {
        set_up(self.guard.shared.mouse)?;
        // not `clear`: it queries the cursor position, and the event stream would read the reply
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }
}

/// Returns true for an error of a terminal that was closed.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [
        Errno::IO,
        Errno::NXIO,
        Errno::NODEV,
        Errno::PIPE,
        Errno::NOTTY,
        Errno::BADF,
    ];
    Errno::from_io_error(error).is_some_and(|error| gone.contains(&error))
}

/// stdout until its terminal is gone: then writes are dropped, and [`Screen`] fails. An error must not be returned
/// here: `Terminal` prints those of its end, and a print to a terminal that is gone panics.
#[derive(Debug)]
struct Output {
    stdout: Stdout,
    is_gone: Arc<AtomicBool>,
}

impl Output {
    /// Writes unless the terminal is gone; `dropped` is the result of a write that is dropped.
    fn unless_gone<T>(
        &mut self,
        dropped: T,
        write: impl FnOnce(&mut Stdout) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.is_gone.load(Ordering::Relaxed) {
            return Ok(dropped);
        }
        match write(&mut self.stdout) {
            Err(error) if is_gone(&error) => {
                self.is_gone.store(true, Ordering::Relaxed);
                Ok(dropped)
            }
            written => written,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(bytes.len(), |stdout| stdout.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone((), Stdout::flush)
    }
}

/// Time after a signal in which a terminal that reads takes a frame.
const STUCK: Duration = Duration::from_millis(500);
/// Time between two tries to unblock a write.
const AGAIN: Duration = Duration::from_millis(100);

/// After a signal that ends the program, unblocks writes to a terminal that does not read until dropped: discards
/// what waits there, and interrupts the write by a signal, so that it is tried again. Otherwise the loop would never
/// see the signal. While the terminal is `lent` to another program, Ctrl-C does not end this one.
pub(super) async fn unblock(mut signals: Signals, clock: Clock, lent: Arc<AtomicBool>) {
    while signals.ended().await == Exit::Interrupted && lent.load(Ordering::SeqCst) {}
    let mut pause = STUCK;
    loop {
        clock.sleep(pause).await;
        pause = AGAIN;
        // there is nothing to do about an error
        tcflush(io::stdout(), QueueSelector::OFlush).ok();
        kill_process(getpid(), rustix::process::Signal::WINCH).ok();
    }
}

/// Raw mode, alternate screen, paste and mouse, undone when dropped.
#[derive(Debug)]
struct Guard {
    shared: Arc<Shared>,
}

/// State shared with the panic hook.
#[derive(Debug)]
struct Shared {
    drawing: ThreadId,
    active: AtomicBool,
    mouse: bool,
    panics: Mutex<Vec<SafeText>>,
}

impl Guard {
    fn new(mouse: bool) -> io::Result<Self> {
        let guard = Self {
            shared: Arc::new(Shared {
                drawing: thread::current().id(),
                active: AtomicBool::new(true),
                mouse,
                panics: Mutex::default(),
            }),
        };
        // the guard exists before the set-up, so that dropping it undoes a partial set-up
        set_up(mouse)?;
        let (shared, previous) = (Arc::clone(&guard.shared), panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            if shared.on_panic(info, thread::current().id()) {
                previous(info);
            }
        }));
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.shared.active.swap(false, Ordering::SeqCst) {
            restore(self.shared.mouse);
        }
    }
}

impl Shared {
    /// Restores the terminal or records the panic. Returns true if it may be printed.
    fn on_panic(&self, info: &PanicHookInfo<'_>, thread: ThreadId) -> bool {
        if !self.active.load(Ordering::SeqCst) {
            return true;
        }
        if thread == self.drawing {
            self.active.store(false, Ordering::SeqCst);
            restore(self.mouse);
            return true;
        }
        self.record(&panic_text(info));
        false
    }

    fn record(&self, text: &str) {
        let mut panics = self.panics.lock().unwrap_or_else(PoisonError::into_inner);
        if panics.len() < MAX_PANICS {
            panics.push(SafeText::excerpt(text, 500));
        }
    }

    fn panics(&self) -> Vec<SafeText> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The message of a panic and its location, on one line.
fn panic_text(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no message");
    match info.location() {
        Some(location) => format!("{message} ({location})"),
        None => message.to_owned(),
    }
}

/// Sets up raw mode, alternate screen, paste and mouse.
fn set_up(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    let mut out = io::stdout();
    execute!(out, EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    if mouse {
        execute!(out, EnableMouseCapture)?;
    }
    Ok(())
}

/// Restores the terminal. Ignores errors: the terminal may be closed already.
fn restore(mouse: bool) {
    let mut out = io::stdout();
    if mouse {
        execute!(out, DisableMouseCapture).ok();
    }
    execute!(
        out,
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    )
    .ok();
    out.flush().ok();
    disable_raw_mode().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_panics_are_bounded_and_printable() {
        let shared = Shared {
            drawing: thread::current().id(),
            active: AtomicBool::new(true),
            mouse: false,
            panics: Mutex::default(),
        };
        for _ in 0..100 {
            shared.record("\x1b[2Jboom");
        }
        let panics = shared.panics();
        assert_eq!(panics.len(), MAX_PANICS);
        assert_eq!(panics.first().map(SafeText::as_str), Some("␛[2Jboom"));
    }
}
