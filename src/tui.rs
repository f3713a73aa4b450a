//! The terminal interface: one event loop, and a screen that is a pure function of `(State, Ui, Theme, now)`.
//!
//! ```text
//!  key ----> update(&mut Ui, &State) --> effect --> Outputs: engine, files, what-if
//!  event --> State::apply --> dirty --> frame due --> draw(&View)
//! ```
//!
//! The loop awaits only its `select!`. Frames are at least 33 ms apart (5 ms after a key); without changes no
//! frame is drawn.

pub mod action;
pub mod editor;
mod external;
pub mod filter;
pub mod footer;
pub mod input;
pub mod keymap;
pub mod layout;
mod markdown;
pub mod outputs;
pub mod overlay;
pub mod pace;
pub mod pane;
pub mod playback;
pub mod plot;
pub mod signals;
pub mod terminal;
pub mod theme;
pub(crate) mod tour;
pub mod ui;
pub mod undo;
pub mod update;
pub mod view;
pub mod wrap;

use std::future::Future;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::Event as Terminal;
use futures_util::{Stream, StreamExt};
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Load, UserId};
use crate::session::source::{Received, Tail};
use crate::settings::FaultProfile;
use crate::state::State;
use crate::text::SafeText;
use crate::time::{Clock, Timestamp};

use editor::{Editor, History};
use external::PromptFile;
use keymap::{Keymap, KeymapError};
use outputs::{Outputs, SaveRequest};
use overlay::save::Saved;
use pace::Pace;
use pane::PaneId;
use playback::bar::{Control, Playback, PlaybackChange};
use ratatui::layout::Rect;
use signals::{Signal, Signals};
use terminal::{Host, Screen, is_gone};
use theme::Theme;
use ui::Ui;
use update::{Effect, UpdateContext};
use view::View;

/// The maximum number of events per batch of a feed, so that keys are handled in between.
pub const BATCH: usize = 256;

/// The time for a stop signal to reach this process after Ctrl-Z.
const STOPPING: Duration = Duration::from_millis(300);

/// The source of events: a live session or a journal.
pub trait EventFeed {
    /// Waits for events and adds at most [`BATCH`] of them to `batch`. Cancel safe.
    fn recv(&mut self, batch: &mut Vec<Arc<Event>>) -> impl Future<Output = Feed> + Send;

    /// The time to draw at clock time `now`; recorded time during playback.
    fn shown_at(&self, now: Timestamp) -> Timestamp {
        now
    }

    /// The clock time at which `shown` is reached; `None` while playback is paused.
    fn due(&self, shown: Timestamp, _now: Timestamp) -> Option<Timestamp> {
        Some(shown)
    }

    /// The position of playback; `None` for a live session.
    fn playback(&self, _now: Timestamp) -> Option<Playback> {
        None
    }

    /// Controls playback.
    fn control(&mut self, _control: Control, _now: Timestamp) -> PlaybackChange {
        PlaybackChange::default()
    }
}

/// The events of a live session.
impl EventFeed for Tail {
    async fn recv(&mut self, batch: &mut Vec<Arc<Event>>) -> Feed {
        match self.recv_many(batch, BATCH).await {
            Received::Events(_) => Feed::Events,
            Received::Lagged(skipped) => match self.resubscribe() {
                Some(state) => Feed::Resynced {
                    state: Box::new(state),
                    skipped,
                },
                None => Feed::Closed,
            },
            Received::Closed => Feed::Closed,
        }
    }
}

/// The result of waiting for a feed.
#[derive(Debug)]
pub enum Feed {
    /// The batch holds events.
    Events,
    /// The screen was too slow and lost events: the current state instead.
    Resynced {
        /// The current state.
        state: Box<State>,
        /// Number of events lost.
        skipped: u64,
    },
    /// The feed has ended.
    Closed,
}

/// The inputs and outputs of the screen.
#[derive(Debug)]
pub struct Session<F> {
    /// The events.
    pub feed: F,
    /// The state before the first event.
    pub state: State,
    /// The outputs.
    pub outputs: Outputs,
    /// The clock.
    pub clock: Clock,
    /// Cancelled to end the loop.
    pub quit: CancellationToken,
    /// The signals that end the loop.
    pub signals: Signals,
}

/// Options of the screen.
#[derive(Clone, Debug)]
pub struct TuiOptions {
    /// True to capture the mouse; otherwise the terminal selects text as usual.
    pub mouse: bool,
    /// Colours and symbols.
    pub theme: Theme,
    /// Users to send as, starting with the first.
    pub users: Vec<UserId>,
    /// Fault profiles to choose from.
    pub profiles: Vec<FaultProfile>,
    /// The message to show first.
    pub notice: Option<String>,
    /// Prompts of earlier sessions, newest last.
    pub prompts: Vec<String>,
    /// The command that edits a prompt, as a shell reads it.
    pub editor: String,
    /// The load to start first.
    pub load: Option<Load>,
    /// True to begin with the guided tour.
    pub tour: bool,
}

/// The reason why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A key.
    Quit,
    /// The cancellation token.
    Cancelled,
    /// SIGINT or Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// SIGHUP, or the terminal is gone.
    HungUp,
}

impl Exit {
    /// The exit code of the process.
    pub const fn code(self) -> u8 {
        match self {
            Self::Quit | Self::Cancelled => 0,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// The result of the event loop.
#[derive(Debug)]
pub struct Summary {
    /// The reason why it ended.
    pub exit: Exit,
    /// The last state.
    pub state: State,
    /// Frames drawn.
    pub frames: u64,
    /// Events lost by a slow screen.
    pub skipped: u64,
    /// Panic messages of background tasks, to print after the end.
    pub panics: Vec<SafeText>,
}

impl TuiError {
    /// Returns true if the terminal is gone.
    pub fn is_hang_up(&self) -> bool {
        matches!(self, Self::Terminal(error) if is_gone(error))
    }
}

/// An error of the terminal or the key table.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// The terminal.
    #[error("terminal: {0}")]
    Terminal(#[from] io::Error),
    /// The key table.
    #[error(transparent)]
    Keymap(#[from] KeymapError),
}

/// Sets up the terminal and runs until the user quits. Run it on the main thread with `block_on`, not in a spawned
/// task: only panics of its own thread restore the terminal.
///
/// # Errors
/// If the terminal fails or the key table is invalid.
pub async fn run<F: EventFeed>(session: Session<F>, options: TuiOptions) -> Result<Summary, TuiError> {
    let keymap = Keymap::builtin()?;
    // dropped last: the end writes to the terminal too
    let mut rescue = JoinSet::new();
    let lent = Arc::new(AtomicBool::new(false));
    rescue.spawn(terminal::unblock(
        Signals::listen()?,
        session.clock,
        Arc::clone(&lent),
    ));
    let host = Screen::enter(options.mouse)?;
    let mut event_loop = EventLoop::new(session, host, keymap, options)?;
    event_loop.lent = lent;
    let exit = match terminal::events(event_loop.session.clock) {
        Ok(input) => event_loop.drive(input).await,
        Err(error) => Err(error),
    };
    let panics = event_loop.host.panics();
    let (frames, skipped, state) = (
        event_loop.pace.frames(),
        event_loop.skipped,
        event_loop.session.state,
    );
    // restore the terminal before reporting an error
    drop(event_loop.host);
    Ok(Summary {
        exit: exit?,
        state,
        frames,
        skipped,
        panics,
    })
}

/// The event loop and its state.
#[derive(Debug)]
struct EventLoop<F, H> {
    session: Session<F>,
    host: H,
    keymap: Keymap,
    theme: Theme,
    ui: Ui,
    pace: Pace,
    /// The state of a paused view and its time. The session continues, so no event is held back.
    frozen: Option<Box<(State, Timestamp)>>,
    skipped: u64,
    /// The command that edits a prompt.
    editor: String,
    /// True while another program has the terminal: Ctrl-C belongs to it.
    lent: Arc<AtomicBool>,
}

/// An input of the loop.
enum Wake {
    Signal(Signal),
    Input(Option<io::Result<Terminal>>),
    Saved(String),
    Feed(Feed),
    FrameDue,
}

impl<F: EventFeed, H: Host> EventLoop<F, H> {
    fn new(session: Session<F>, host: H, keymap: Keymap, options: TuiOptions) -> io::Result<Self> {
        let now = session.clock.now();
        let mut ui = Ui {
            size: host.size()?,
            users: options.users,
            profiles: options.profiles,
            history: History::new(&options.prompts),
            read_only: session.outputs.commands.is_none(),
            playback: session.feed.playback(now),
            ..Ui::default()
        };
        let damage = ui.playback.as_ref().and_then(|playback| playback.damage.as_ref());
        let damage = damage.map(|(_, full)| full.to_string());
        if let Some(notice) = damage.or(options.notice) {
            ui.say(notice, now);
        }
        let mut event_loop = Self {
            session,
            host,
            keymap,
            theme: options.theme,
            ui,
            pace: Pace::default(),
            frozen: None,
            skipped: 0,
            editor: options.editor,
            lent: Arc::default(),
        };
        event_loop.begin(options.load, options.tour, now);
        Ok(event_loop)
    }

    /// Starts what the command line asks for.
    fn begin(&mut self, load: Option<Load>, tour: bool, now: Timestamp) {
        let (ui, state) = (&mut self.ui, &self.session.state);
        let mut commands = Vec::new();
        if let Some(load) = load {
            commands.extend(update::start_load(ui, state, load, now));
        }
        if tour {
            commands.extend(tour::start(ui, state, now));
        }
        for command in commands {
            self.session.outputs.send(command, &mut self.ui, now);
        }
    }

    /// Goes on with the tour as far as its conditions hold.
    fn advance_tour(&mut self) {
        let now = self.session.clock.now();
        for command in tour::advance(&mut self.ui, &self.session.state, now) {
            self.session.outputs.send(command, &mut self.ui, now);
        }
    }

    /// Runs the loop until it ends, or until the terminal is gone.
    async fn drive<I>(&mut self, input: I) -> io::Result<Exit>
    where
        I: Stream<Item = io::Result<Terminal>> + Unpin,
    {
        match self.run(input).await {
            Err(error) if is_gone(&error) => Ok(Exit::HungUp),
            ended => ended,
        }
    }

    /// Runs the loop. Keys take precedence over events, and a due frame is drawn after each step.
    async fn run<I>(&mut self, mut input: I) -> io::Result<Exit>
    where
        I: Stream<Item = io::Result<Terminal>> + Unpin,
    {
        let mut batch = Vec::with_capacity(BATCH);
        let mut open = true;
        loop {
            self.advance_tour();
            self.draw_if_due()?;
            let due = self.pace.due();
            let clock = self.session.clock;
            let wake = tokio::select! {
                biased;
                () = self.session.quit.cancelled() => return Ok(Exit::Cancelled),
                signal = self.session.signals.next() => Wake::Signal(signal),
                event = input.next() => Wake::Input(event),
                message = self.session.outputs.saved() => Wake::Saved(message),
                fed = self.session.feed.recv(&mut batch), if open => Wake::Feed(fed),
                () = sleep_until(clock, due) => Wake::FrameDue,
            };
            let exit = match wake {
                Wake::Signal(signal) => self.handle_signal(signal)?,
                Wake::Input(Some(Ok(event))) => self.handle_input(&event).await?,
                Wake::Input(Some(Err(error))) => return Err(error),
                Wake::Input(None) => Some(Exit::HungUp),
                Wake::Feed(feed) => {
                    open = !matches!(feed, Feed::Closed);
                    self.apply(feed, &mut batch);
                    None
                }
                Wake::Saved(message) => {
                    self.ui.say(message, clock.now());
                    self.pace.touch();
                    None
                }
                Wake::FrameDue => None,
            };
            if let Some(exit) = exit {
                return Ok(exit);
            }
        }
    }

    fn draw_if_due(&mut self) -> io::Result<()> {
        let now = self.session.clock.now();
        if self.pace.due().is_none_or(|due| due > now) {
            return Ok(());
        }
        let (state, shown_at) = match &self.frozen {
            Some(frozen) => (&frozen.0, frozen.1),
            None => (&self.session.state, self.session.feed.shown_at(now)),
        };
        self.ui.playback = self.session.feed.playback(now);
        // messages expire by the real clock, even in a paused view
        if self.ui.message(now).is_none() {
            self.ui.toast = None;
        }
        if self.frozen.is_some() || self.ui.playback.is_some() {
            self.ui.shown = None;
        } else {
            self.ui.settle(state.status(shown_at), now);
        }
        let ui_change = self.ui.next_change(now);
        let view = View {
            state,
            ui: &self.ui,
            theme: &self.theme,
            now: shown_at,
        };
        self.host.draw(&view, &self.keymap)?;
        let state_change = match self.frozen {
            Some(_) => None,
            None => self.session.state.next_change(shown_at),
        };
        let shown_change = [
            state_change,
            self.charts_change(shown_at),
            self.ui.playback_change(),
        ];
        let shown_change = shown_change.into_iter().flatten().min();
        let shown_change = shown_change.and_then(|shown| self.session.feed.due(shown, now));
        let change = [ui_change, shown_change].into_iter().flatten().min();
        let took = self.session.clock.now().since(now);
        self.pace.drawn(now, took, change);
        Ok(())
    }

    /// The next change of charts that are not paused: once per second until their window is empty, at most ten
    /// minutes.
    fn charts_change(&self, now: Timestamp) -> Option<Timestamp> {
        let size = self.ui.size;
        let areas = layout::layout(Rect::new(0, 0, size.width, size.height), &self.ui);
        let is_visible = areas.plot_columns() > 0 || areas.pane(PaneId::Retries).is_some();
        let is_moving = is_visible && self.frozen.is_none();
        let window = self.ui.window.span(now).min(Duration::from_mins(10));
        self.session
            .state
            .timeline
            .next_change(now, window)
            .filter(|_| is_moving)
    }

    /// Applies the events of a feed.
    fn apply(&mut self, feed: Feed, batch: &mut Vec<Arc<Event>>) {
        let now = self.session.clock.now();
        match feed {
            Feed::Events => {}
            Feed::Resynced { state, skipped } => {
                self.session.state = *state;
                self.skipped += skipped;
                self.ui.say(format!("resynced, {skipped} events skipped"), now);
            }
            Feed::Closed => self.ui.say("the session has ended; q quits", now),
        }
        let state = &mut self.session.state;
        for event in batch.drain(..) {
            // after a resync the feed may repeat events of the new state
            if event.seq >= state.next_seq {
                state.apply(&event);
            }
        }
        if let Some(frozen) = &self.frozen {
            self.ui.paused = Some(state.next_seq.saturating_sub(frozen.0.next_seq));
        }
        self.pace.touch();
    }

    fn handle_signal(&mut self, signal: Signal) -> io::Result<Option<Exit>> {
        let exit = signal.exit();
        if exit.is_none() {
            self.resume()?;
        }
        Ok(exit)
    }

    /// Sets up the terminal again after another program used it.
    fn resume(&mut self) -> io::Result<()> {
        self.host.resume()?;
        self.ui.size = self.host.size()?;
        self.pace.touch();
        Ok(())
    }

    /// Handles a key, click, paste or resize.
    async fn handle_input(&mut self, input: &Terminal) -> io::Result<Option<Exit>> {
        if !update::matters(input) {
            return Ok(None);
        }
        match input {
            // resizes come in series and need no quick response
            Terminal::Resize(..) => self.pace.touch(),
            _ => self.pace.hurry(),
        }
        let now = self.session.clock.now();
        let state = &self.session.state;
        let context = UpdateContext {
            state,
            shown: self.frozen.as_ref().map_or(state, |frozen| &frozen.0),
            shown_at: match &self.frozen {
                Some(frozen) => frozen.1,
                None => self.session.feed.shown_at(now),
            },
            keymap: &self.keymap,
            now,
        };
        let effect = update::update(&mut self.ui, &context, input);
        let exit = match effect {
            Some(effect) => self.carry_out(effect, now).await?,
            None => None,
        };
        self.session.outputs.publish(&self.ui);
        Ok(exit)
    }

    async fn carry_out(&mut self, effect: Effect, now: Timestamp) -> io::Result<Option<Exit>> {
        let (outputs, ui) = (&self.session.outputs, &mut self.ui);
        match effect {
            Effect::Send(command) => outputs.send(command, ui, now),
            Effect::SendAll(commands) => {
                for command in commands {
                    outputs.send(command, ui, now);
                }
            }
            Effect::Copy(text) => outputs::copy(&text, &mut self.host, ui, now)?,
            Effect::Save(content, file) => {
                let policy = match content {
                    Saved::Drill => None,
                    Saved::Policy => Some(Box::new(self.session.state.session.policy.clone())),
                };
                outputs.save(SaveRequest { policy, file }, ui, now);
            }
            Effect::Pause => self.pause(now),
            Effect::Control(control) => self.control(control, now),
            Effect::Redraw => self.resume()?,
            // boxed: its state is large, and seldom needed
            Effect::EditPrompt => return Box::pin(self.edit_prompt()).await,
            Effect::Quit => return Ok(Some(Exit::Quit)),
            Effect::Interrupt => return Ok(Some(Exit::Interrupted)),
            Effect::Suspend => {
                self.host.suspend()?;
                // the stop may arrive a moment later; where stopping is not possible, nothing resumes us
                let signal = tokio::select! {
                    biased;
                    signal = self.session.signals.next() => signal,
                    () = self.session.clock.sleep(STOPPING) => Signal::Continue,
                };
                return self.handle_signal(signal);
            }
        }
        Ok(None)
    }

    /// Lends the terminal to the user's editor, and takes its text as the prompt. Events are applied meanwhile.
    async fn edit_prompt(&mut self) -> io::Result<Option<Exit>> {
        let now = self.session.clock.now();
        let file = match PromptFile::create(&std::env::temp_dir(), self.ui.draft.text()) {
            Ok(file) => file,
            Err(error) => {
                self.ui.say(format!("cannot write a file to edit: {error}"), now);
                return Ok(None);
            }
        };
        self.lent.store(true, Ordering::SeqCst);
        self.host.release()?;
        let ended = match file.edit(&self.editor) {
            Ok(child) => self.until_edited(child).await,
            Err(error) => Ok(Err(error)),
        };
        self.lent.store(false, Ordering::SeqCst);
        let status = match ended {
            Ok(status) => status,
            Err(exit) => return Ok(Some(exit)),
        };
        self.resume()?;
        let now = self.session.clock.now();
        let name = SafeText::excerpt(&self.editor, 40).single_line();
        match status.map(|status| (status.success(), status.code())) {
            Ok((true, _)) => match file.read().map(|text| Editor::try_from_text(&text)) {
                Ok(Some(draft)) => self.ui.draft = draft,
                Ok(None) => self.ui.say("too long: a prompt is at most 64 KiB", now),
                Err(error) => self
                    .ui
                    .say(format!("cannot read the edited prompt: {error}"), now),
            },
            Ok((false, Some(126 | 127))) => {
                self.ui
                    .say(format!("cannot run {name}: set EDITOR to your editor"), now);
            }
            Ok((false, _)) => self
                .ui
                .say(format!("{name} failed; the prompt is unchanged"), now),
            Err(error) => self.ui.say(format!("cannot run {name}: {error}"), now),
        }
        Ok(None)
    }

    /// Waits for the editor. A signal that ends the program ends both; Ctrl-C is a key of the editor.
    async fn until_edited(&mut self, mut child: Child) -> Result<io::Result<ExitStatus>, Exit> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                () = self.session.quit.cancelled() => return Err(Exit::Cancelled),
                signal = self.session.signals.next() => match signal.exit() {
                    None | Some(Exit::Interrupted) => {}
                    Some(exit) => return Err(exit),
                },
                status = child.wait() => return Ok(status),
                fed = self.session.feed.recv(&mut batch), if open => {
                    open = !matches!(fed, Feed::Closed);
                    self.apply(fed, &mut batch);
                }
            }
        }
    }

    /// Controls playback and applies its change to the state.
    fn control(&mut self, control: Control, now: Timestamp) {
        let mut change = self.session.feed.control(control, now);
        if let Some(message) = change.message.take() {
            self.ui.say(message, now);
        }
        change.apply(&mut self.session.state);
        self.ui.playback = self.session.feed.playback(now);
    }

    fn pause(&mut self, now: Timestamp) {
        if self.frozen.take().is_some() {
            self.ui.paused = None;
            self.ui.crosshair = None;
        } else {
            self.frozen = Some(Box::new((self.session.state.clone(), now)));
            self.ui.paused = Some(0);
        }
    }
}

/// Sleeps until `due`; never returns without one.
async fn sleep_until(clock: Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
