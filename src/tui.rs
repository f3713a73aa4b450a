//! The terminal: one loop, and a screen that is a pure function of `(State, Ui, Theme, now)`.
//!
//! ```text
//!  key ----> update(&mut Ui, &State) --> command --> engine
//!  event --> State::apply --> dirty --> frame due --> draw(&View)
//! ```
//!
//! The loop awaits nothing but its `select!`. Between two frames lie at least 33 ms (5 where a key waits for its
//! answer); while nothing changes there are none.

pub mod action;
pub mod editor;
pub mod footer;
pub mod input;
pub mod keymap;
pub mod layout;
pub mod overlay;
pub mod pace;
pub mod pane;
pub mod playback;
pub mod signals;
pub mod terminal;
pub mod theme;
pub mod ui;
pub mod update;
pub mod view;
pub mod wrap;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event as Terminal, EventStream};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use crate::event::{Command, Event, UserId};
use crate::session::source::{Received, Tail};
use crate::settings::{FaultProfile, Policy};
use crate::state::State;
use crate::text::SafeText;
use crate::time::{Clock, Timestamp};

use keymap::{Keymap, KeymapError};
use pace::Pace;
use pane::PaneId;
use playback::bar::{Control, PlaybackChange, Playback};
use ratatui::layout::Rect;
use signals::{Signals, Signal};
use terminal::{Host, MAX_COPY, Screen};
use theme::Theme;
use ui::Ui;
use update::{Effect, UpdateContext};
use view::View;

/// The most events folded in before the loop looks at keys again; a feed should give no more at once.
pub const BATCH: usize = 256;

/// How long a stop may take to reach this process after Ctrl-Z was passed on.
const STOPPING: Duration = Duration::from_millis(300);

/// Where events come from: a live session, a recorded one or somebody else's.
pub trait EventFeed {
    /// Waits for events and adds at most [`BATCH`] of them to `batch`. Can be dropped and called again
    /// without loss.
    fn recv(&mut self, batch: &mut Vec<Arc<Event>>) -> impl Future<Output = Feed> + Send;

    /// The instant to draw while the clock reads `now`: another one where what is shown was recorded.
    fn shown_at(&self, now: Timestamp) -> Timestamp {
        now
    }

    /// When it will be time to draw the instant `shown`; nothing while time stands still.
    fn due(&self, shown: Timestamp, _now: Timestamp) -> Option<Timestamp> {
        Some(shown)
    }

    /// Where a replay is; nothing for what happens now.
    fn playback(&self, _now: Timestamp) -> Option<Playback> {
        None
    }

    /// Moves a replay.
    fn control(&mut self, _control: Control, _now: Timestamp) -> PlaybackChange {
        PlaybackChange::default()
    }
}

/// The events of this process's own session.
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

/// What a feed gave.
#[derive(Debug)]
pub enum Feed {
    /// The batch holds events.
    Events,
    /// This screen was too slow: here is the state as it is now.
    Resynced {
        /// All of it.
        state: Box<State>,
        /// Events that were skipped.
        skipped: u64,
    },
    /// No more events will come.
    Closed,
}

/// What the screen shows and whom it commands.
#[derive(Debug)]
pub struct Session<F> {
    /// Events.
    pub feed: F,
    /// The state the first of them applies to.
    pub state: State,
    /// Where commands go; nothing for a session that can only be watched.
    pub commands: Option<mpsc::Sender<Command>>,
    /// Who keeps what was done; nothing where nobody does.
    pub saves: Option<SaveChannel>,
    /// The time.
    pub clock: Clock,
    /// Ends the loop.
    pub quit: CancellationToken,
}

/// What can be kept as a file.
#[derive(Clone, Debug, PartialEq)]
pub enum SaveRequest {
    /// What was done, as a scenario.
    Drill,
    /// This policy.
    Policy(Box<Policy>),
}

/// Keeps drills and policies, elsewhere: it takes a while.
#[derive(Debug)]
pub struct SaveChannel {
    /// Asks for it.
    pub asked: mpsc::Sender<SaveRequest>,
    /// What became of it, in a sentence for each time.
    pub told: mpsc::Receiver<String>,
}

/// How the screen looks and behaves.
#[derive(Clone, Debug)]
pub struct TuiOptions {
    /// Whether clicks and the wheel are taken; without, the terminal selects text as it always does.
    pub mouse: bool,
    /// Colours and marks.
    pub theme: Theme,
    /// Who can ask; the first one asks at first.
    pub users: Vec<UserId>,
    /// Fault profiles to choose from.
    pub profiles: Vec<FaultProfile>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A key.
    Quit,
    /// The token.
    Asked,
    /// SIGINT, or the key that stands for it.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// SIGHUP, or the keyboard is gone.
    HungUp,
}

impl Exit {
    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Quit | Self::Asked => 0,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// What is left when the screen is gone.
#[derive(Debug)]
pub struct Summary {
    /// Why it ended.
    pub exit: Exit,
    /// The last state.
    pub state: State,
    /// Frames drawn.
    pub frames: u64,
    /// Events this screen never saw.
    pub skipped: u64,
    /// What background tasks said when they panicked: recorded, not printed under the screen.
    pub panics: Vec<SafeText>,
}

/// Why the screen could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// The terminal.
    #[error("terminal: {0}")]
    Terminal(#[from] io::Error),
    /// The key table.
    #[error(transparent)]
    Keymap(#[from] KeymapError),
}

/// Takes the terminal and runs until somebody quits. Run it on the main thread with `block_on`, not in a
/// spawned task: only the panics of its own thread restore the terminal.
pub async fn run<F: EventFeed>(session: Session<F>, options: TuiOptions) -> Result<Summary, TuiError> {
    let keymap = Keymap::builtin()?;
    let signals = Signals::listen()?;
    let host = Screen::enter(options.mouse)?;
    let mut event_loop = EventLoop::new(session, host, keymap, options)?;
    event_loop.signals = signals;
    let exit = event_loop.drive(EventStream::new()).await;
    let panics = event_loop.host.panics();
    let (frames, skipped, state) = (event_loop.pace.frames(), event_loop.skipped, event_loop.session.state);
    // the terminal is given back before anything is said about an error
    drop(event_loop.host);
    Ok(Summary {
        exit: exit?,
        state,
        frames,
        skipped,
        panics,
    })
}

/// Everything the loop holds.
#[derive(Debug)]
struct EventLoop<F, H> {
    session: Session<F>,
    host: H,
    keymap: Keymap,
    theme: Theme,
    ui: Ui,
    signals: Signals,
    pace: Pace,
    /// The picture a paused view shows, and when it was taken. The session goes on underneath, so nothing
    /// has to be kept back and nothing can be lost.
    frozen: Option<Box<(State, Timestamp)>>,
    skipped: u64,
    /// The latest question to the judge, where the engine had no room for it.
    unasked: Option<Command>,
}

/// What woke the loop.
enum Wake {
    Signal(Signal),
    Input(Option<io::Result<Terminal>>),
    Kept(String),
    Room,
    Fed(Feed),
    Due,
}

impl<F: EventFeed, H: Host> EventLoop<F, H> {
    fn new(session: Session<F>, host: H, keymap: Keymap, options: TuiOptions) -> io::Result<Self> {
        let now = session.clock.now();
        let mut ui = Ui {
            size: host.size()?,
            users: options.users,
            profiles: options.profiles,
            read_only: session.commands.is_none(),
            playback: session.feed.playback(now),
            ..Ui::default()
        };
        let damage = ui.playback.as_ref().and_then(|playback| playback.damage.as_ref());
        if let Some((_, full)) = damage {
            ui.say(full.to_string(), now);
        }
        Ok(Self {
            session,
            host,
            keymap,
            theme: options.theme,
            ui,
            signals: Signals::default(),
            pace: Pace::default(),
            frozen: None,
            skipped: 0,
            unasked: None,
        })
    }

    /// The loop. Keys before events, events before frames; a frame that is due is drawn in between,
    /// however many of them keep coming.
    async fn drive<I>(&mut self, mut input: I) -> io::Result<Exit>
    where
        I: Stream<Item = io::Result<Terminal>> + Unpin,
    {
        let mut batch = Vec::with_capacity(BATCH);
        let mut open = true;
        loop {
            self.draw_if_due()?;
            let due = self.pace.due();
            let clock = self.session.clock;
            let woken = tokio::select! {
                biased;
                () = self.session.quit.cancelled() => return Ok(Exit::Asked),
                told = self.signals.next() => Wake::Signal(told),
                event = input.next() => Wake::Input(event),
                kept = said(&mut self.session.saves) => Wake::Kept(kept),
                () = room(self.session.commands.as_ref()), if self.unasked.is_some() => Wake::Room,
                fed = self.session.feed.recv(&mut batch), if open => Wake::Fed(fed),
                () = until(clock, due) => Wake::Due,
            };
            let exit = match woken {
                Wake::Signal(told) => self.told(told)?,
                Wake::Input(Some(Ok(event))) => self.obey(&event).await?,
                Wake::Input(Some(Err(error))) => return Err(error),
                Wake::Input(None) => Some(Exit::HungUp),
                Wake::Fed(fed) => {
                    open = !matches!(fed, Feed::Closed);
                    self.fold(fed, &mut batch);
                    None
                }
                Wake::Kept(sentence) => {
                    self.ui.say(sentence, clock.now());
                    self.pace.touch();
                    None
                }
                Wake::Room => {
                    self.ask();
                    None
                }
                Wake::Due => None,
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
        // messages expire by the real clock, so a paused view keeps time for them only
        let mut ui_change = self.ui.next_change(now);
        if self.ui.message(now).is_none() {
            self.ui.toast = None;
            ui_change = None;
        }
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
        let moving = [
            state_change,
            self.retries_change(shown_at),
            self.ui.playback_change(),
        ];
        let moving = moving.into_iter().flatten().min();
        let moving = moving.and_then(|shown| self.session.feed.due(shown, now));
        let change = [ui_change, moving].into_iter().flatten().min();
        self.pace.drawn(now, change);
        Ok(())
    }

    /// When the chart of retries moves on, where it is on the screen and not paused: once a second, until what it
    /// shows has wandered out of it.
    fn retries_change(&self, now: Timestamp) -> Option<Timestamp> {
        let size = self.ui.size;
        let areas = layout::layout(Rect::new(0, 0, size.width, size.height), &self.ui);
        areas.pane(PaneId::Retries).filter(|_| self.frozen.is_none())?;
        self.session.state.retry.next_change(now)
    }

    /// Takes events in.
    fn fold(&mut self, fed: Feed, batch: &mut Vec<Arc<Event>>) {
        let now = self.session.clock.now();
        match fed {
            Feed::Events => {}
            Feed::Resynced { state, skipped } => {
                self.session.state = *state;
                self.skipped += skipped;
                self.ui.say(format!("resynced, {skipped} events skipped"), now);
            }
            Feed::Closed => self.ui.say("the session has ended: q quits", now),
        }
        let state = &mut self.session.state;
        for event in batch.drain(..) {
            // after a resync the feed may repeat what the new state knows already
            if event.seq >= state.next_seq {
                state.apply(&event);
            }
        }
        if let Some(frozen) = &self.frozen {
            self.ui.paused = Some(state.next_seq.saturating_sub(frozen.0.next_seq));
        }
        self.pace.touch();
    }

    /// Obeys a signal.
    fn told(&mut self, told: Signal) -> io::Result<Option<Exit>> {
        let exit = match told {
            Signal::Interrupt => Exit::Interrupted,
            Signal::Terminate => Exit::Terminated,
            Signal::HangUp => Exit::HungUp,
            Signal::Continue => {
                self.retake()?;
                return Ok(None);
            }
        };
        Ok(Some(exit))
    }

    /// Takes the terminal back after somebody else had it.
    fn retake(&mut self) -> io::Result<()> {
        self.host.resume()?;
        self.ui.size = self.host.size()?;
        self.pace.touch();
        Ok(())
    }

    /// Obeys a key, a click or a paste.
    async fn obey(&mut self, input: &Terminal) -> io::Result<Option<Exit>> {
        if !update::matters(input) {
            return Ok(None);
        }
        match input {
            // these come in storms, and nobody reads meanwhile
            Terminal::Resize(..) => self.pace.touch(),
            _ => self.pace.hurry(),
        }
        let now = self.session.clock.now();
        let context = UpdateContext {
            state: &self.session.state,
            shown: self
                .frozen
                .as_ref()
                .map_or(&self.session.state, |frozen| &frozen.0),
            keymap: &self.keymap,
            now,
        };
        match update::update(&mut self.ui, &context, input) {
            None => {}
            Some(Effect::Send(command)) => {
                self.send(&command, now);
            }
            Some(Effect::SendAll(commands)) => self.send_all(&commands, now),
            Some(Effect::Copy(text)) => self.copy(&text, now)?,
            Some(Effect::SaveDrill) => self.keep(SaveRequest::Drill, now),
            Some(Effect::SavePolicy) => {
                let policy = Box::new(self.session.state.session.policy.clone());
                self.keep(SaveRequest::Policy(policy), now);
            }
            Some(Effect::Pause) => self.pause(now),
            Some(Effect::Control(control)) => self.control(control, now),
            Some(Effect::Redraw) => self.retake()?,
            Some(Effect::Quit) => return Ok(Some(Exit::Quit)),
            Some(Effect::Interrupt) => return Ok(Some(Exit::Interrupted)),
            Some(Effect::Suspend) => {
                self.host.suspend()?;
                // The stop may reach us a moment later; where it cannot at all, nobody will continue us.
                let told = tokio::select! {
                    biased;
                    told = self.signals.next() => told,
                    () = self.session.clock.sleep(STOPPING) => Signal::Continue,
                };
                return self.told(told);
            }
        }
        Ok(None)
    }

    /// Hands a command to the engine; whether it took it.
    fn send(&mut self, command: &Command, now: Timestamp) -> bool {
        let Some(commands) = &self.session.commands else {
            self.ui.say("this session is read-only", now);
            return false;
        };
        let sent = commands.try_send(command.clone());
        match &sent {
            Ok(()) => self.ui.sent(command),
            // nobody pressed a key for this question alone, so nobody would press it again
            Err(TrySendError::Full(Command::EvaluatePolicy { .. })) => {}
            Err(TrySendError::Full(_)) => self.ui.not_sent(command, "engine busy: not sent, try again", now),
            Err(TrySendError::Closed(_)) => self.ui.not_sent(command, "not sent: the engine has ended", now),
        }
        if let Command::EvaluatePolicy { .. } = command {
            self.unasked = matches!(sent, Err(TrySendError::Full(_))).then(|| command.clone());
        }
        sent.is_ok()
    }

    /// Hands commands over in this order: what comes after one that was not sent makes no sense without it.
    fn send_all(&mut self, commands: &[Command], now: Timestamp) {
        let all = commands.iter().all(|command| self.send(command, now));
        if !all && self.unasked.is_none() {
            self.unasked = update::evaluation(&mut self.ui, &self.session.state.session.policy);
        }
    }

    /// Asks what could not be asked before.
    fn ask(&mut self) {
        if let Some(question) = self.unasked.take() {
            self.send(&question, self.session.clock.now());
        }
    }

    fn keep(&mut self, keep: SaveRequest, now: Timestamp) {
        let drill = keep == SaveRequest::Drill;
        let Some(saves) = &self.session.saves else {
            let what = if drill { "drill" } else { "policy" };
            self.ui.say(format!("this session keeps no {what}"), now);
            return;
        };
        let text = match saves.asked.try_send(keep) {
            Ok(()) if drill => "saving the drill: it is played once without a screen",
            Ok(()) => "saving the policy",
            Err(TrySendError::Full(SaveRequest::Drill)) => "the drill is being saved already",
            Err(TrySendError::Full(SaveRequest::Policy(_))) => "something is being saved already, try again",
            Err(TrySendError::Closed(_)) => "not saved: the session has ended",
        };
        self.ui.say(text, now);
    }

    fn copy(&mut self, text: &str, now: Timestamp) -> io::Result<()> {
        let bytes = text.len();
        if bytes > MAX_COPY {
            self.ui.say(
                format!("too long to copy: {bytes} bytes, at most {MAX_COPY}"),
                now,
            );
            return Ok(());
        }
        self.ui
            .say(format!("copied {bytes} bytes (terminal permitting)"), now);
        self.host.copy(text)
    }

    /// Moves a replay: the state goes where it went.
    fn control(&mut self, control: Control, now: Timestamp) {
        let mut moved = self.session.feed.control(control, now);
        if let Some(said) = moved.said.take() {
            self.ui.say(said, now);
        }
        moved.apply(&mut self.session.state);
        self.ui.playback = self.session.feed.playback(now);
    }

    fn pause(&mut self, now: Timestamp) {
        if self.frozen.take().is_some() {
            self.ui.paused = None;
        } else {
            self.frozen = Some(Box::new((self.session.state.clone(), now)));
            self.ui.paused = Some(0);
        }
    }
}

/// What the saves says next; for ever where there is none.
async fn said(saves: &mut Option<SaveChannel>) -> String {
    match saves {
        Some(saves) => match saves.told.recv().await {
            Some(sentence) => sentence,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Waits until the engine has room for a command, or has ended; for ever where there is none.
async fn room(commands: Option<&mpsc::Sender<Command>>) {
    match commands {
        Some(commands) => drop(commands.reserve().await),
        None => std::future::pending().await,
    }
}

/// Sleeps until then; for ever where there is no then.
async fn until(clock: Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
