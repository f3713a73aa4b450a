//! The terminal as a guard value: what it takes from the shell, it gives back on every way out.
//!
//! Ways out: the end of the loop, an error, a signal (the loop ends by itself then), a panic of the thread
//! that draws, Ctrl-Z. A panic in a background task is *not* one: its hook runs under a screen that is still
//! being drawn, so it is only recorded and told after the end.

use std::io::{self, BufWriter, Stdout, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

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

use super::keymap::Keymap;
use super::view::{View, draw};
use crate::text::SafeText;

/// Panics of background tasks that are kept.
const MAX_PANICS: usize = 32;

/// The longest text OSC 52 carries everywhere, before base64: `xterm` and `tmux` cut at 74,994 bytes after it.
pub const MAX_COPY: usize = 74_994 / 4 * 3;

/// What the loop draws on. The real one is [`Screen`]; tests count frames with another.
pub trait Host {
    /// Draws a frame.
    fn draw(&mut self, view: &View<'_>, keymap: &Keymap) -> io::Result<()>;
    /// Hands text to the clipboard of the terminal; there is no answer that says whether it was taken.
    fn copy(&mut self, text: &str) -> io::Result<()>;
    /// Gives the terminal back and stops the process. Returns after it was continued, or at once where it
    /// cannot be stopped.
    fn suspend(&mut self) -> io::Result<()>;
    /// Takes the terminal (again) and forgets what was drawn.
    fn resume(&mut self) -> io::Result<()>;
    /// Its size now.
    fn size(&self) -> io::Result<Size>;
}

/// The terminal in our hands.
#[derive(Debug)]
pub struct Screen {
    // dropped first: it shows the cursor again
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    guard: Guard,
}

impl Screen {
    /// Takes the terminal. Call it on the thread that will draw: its panics restore the terminal, those of
    /// other threads do not.
    pub fn enter(mouse: bool) -> io::Result<Self> {
        // see theme::choose: the mono theme asks for no colour, and needs bold and reverse to survive
        crossterm::style::force_color_output(true);
        let guard = Guard::new(mouse)?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(64 << 10, io::stdout()));
        Ok(Self {
            terminal: Terminal::new(backend)?,
            guard,
        })
    }

    /// What background tasks said when they panicked, until now.
    pub fn panics(&self) -> Vec<SafeText> {
        self.guard.shared.panics()
    }
}

impl Host for Screen {
    fn draw(&mut self, view: &View<'_>, keymap: &Keymap) -> io::Result<()> {
        // ratatui does not do this: without it a half-drawn frame may be seen
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| {
            let area = frame.area();
            if let Some(position) = draw(view, keymap, area, frame.buffer_mut()) {
                frame.set_cursor_position(position);
            }
        })?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }

    fn copy(&mut self, text: &str) -> io::Result<()> {
        let copy = crossterm::clipboard::CopyToClipboard::to_clipboard_from(text);
        execute!(self.terminal.backend_mut(), copy)
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.terminal.show_cursor()?;
        leave(self.guard.shared.mouse);
        #[cfg(unix)]
        // the whole foreground group, as the key does in a cooked terminal: `seawall | tee` stops as one
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        Ok(())
    }

    fn resume(&mut self) -> io::Result<()> {
        take(self.guard.shared.mouse)?;
        // Not `clear`: it asks the terminal for its cursor, and the event stream would read the answer.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }
}

/// Raw mode, alternate screen, paste and mouse, undone when dropped.
#[derive(Debug)]
struct Guard {
    shared: Arc<Shared>,
}

/// What the panic hook must know.
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
        // the guard exists before anything is taken: where half of it fails, dropping it undoes the rest
        take(mouse)?;
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
            leave(self.shared.mouse);
        }
    }
}

impl Shared {
    /// Restores the terminal or records the panic; true if it may be printed.
    fn on_panic(&self, info: &PanicHookInfo<'_>, thread: ThreadId) -> bool {
        if !self.active.load(Ordering::SeqCst) {
            return true;
        }
        if thread == self.drawing {
            self.active.store(false, Ordering::SeqCst);
            leave(self.mouse);
            return true;
        }
        self.record(&told(info));
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

/// A panic on one line: what it says, then where.
fn told(info: &PanicHookInfo<'_>) -> String {
    let said = info.payload_as_str().unwrap_or("no text");
    match info.location() {
        Some(place) => format!("{said} ({place})"),
        None => said.to_owned(),
    }
}

/// Takes the terminal from the shell.
fn take(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    let mut out = io::stdout();
    execute!(out, EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    if mouse {
        execute!(out, EnableMouseCapture)?;
    }
    Ok(())
}

/// Gives it back. Tries everything: the terminal may be gone already, and then nobody is there to tell.
fn leave(mouse: bool) {
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
