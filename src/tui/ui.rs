//! The state of the screen itself: focus, scroll anchors, overlays. It refers to the model by id, never by row.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ratatui::layout::{Position, Size};

use crate::event::{CallId, ChatOptions, Command, UserId};
use crate::settings::FaultProfile;
use crate::state::Status;
use crate::time::Timestamp;

use super::editor::{Edit, Editor, History};
use super::filter::Filter;
use super::keymap::Context;
use super::overlay::{Overlay, whatif};
use super::pane::PaneId;
use super::playback::bar::Playback;
use super::plot::Window;
use super::tour::Tour;
use super::undo::{Change, Reverse, Undo};

/// The lifetime of a message.
const TOAST: Duration = Duration::from_secs(3);

/// The lifetime of a message that offers to undo a change.
const OFFER: Duration = Duration::from_secs(5);

/// The least time that a chip stays visible: a shorter one cannot be read.
const VISIBLE: Duration = Duration::from_millis(500);

/// The state that the sentence shows.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownStatus {
    /// The state.
    pub status: Status,
    /// Time of its first frame.
    pub since: Timestamp,
    /// True if it has ended, and stays until it can be read.
    pub held: bool,
}

/// The state of the screen itself.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the view")]
pub struct Ui {
    /// The pane that receives keys. Focus on Chat is typing: see [`Ui::typing`].
    pub focus: PaneId,
    /// The last pane with the focus before this one; never Chat.
    pub previous: PaneId,
    /// True if the focused pane fills the screen.
    pub zoomed: bool,
    /// The time that the charts cover.
    pub window: Window,
    /// The instant selected in the charts, while paused or in a replay.
    pub crosshair: Option<Timestamp>,
    /// The selected call of the Calls pane; `None`: the newest.
    pub selected_call: Option<CallId>,
    /// True if each lane of the Calls pane begins with its call.
    pub align_calls: bool,
    /// Calls of opened groups in the Calls pane.
    pub open_groups: BTreeSet<CallId>,
    /// The filters of lists.
    pub filters: BTreeMap<PaneId, Editor>,
    /// True while the whole filter is selected, so that typing replaces it.
    pub filter_selected: bool,
    /// The state that the sentence of a live view shows; `None`: that of the instant drawn.
    pub shown: Option<ShownStatus>,
    /// The size of the terminal.
    pub size: Size,
    /// The target of typed keys.
    pub mode: Mode,
    /// The prompt in the input field.
    pub draft: Editor,
    /// Prompts sent before.
    pub history: History,
    /// System prompt and temperature of the chat.
    pub chat: ChatOptions,
    /// True if earlier turns are sent with each prompt.
    pub conversation: bool,
    /// The users to send as.
    pub users: Vec<UserId>,
    /// Index of the current user in `users`.
    pub user: usize,
    /// Fault profiles to choose from.
    pub profiles: Vec<FaultProfile>,
    /// Overlays, the topmost last.
    pub overlays: Vec<Overlay>,
    /// The edited policy; kept while its overlay is closed.
    pub whatif: whatif::Draft,
    /// The first visible row of the open story.
    pub story_top: usize,
    /// The message in the footer.
    pub toast: Option<Toast>,
    /// Events since the view was paused; `None` while it is live.
    pub paused: Option<u64>,
    /// The selected log line, by `seq`; `None`: follows the newest.
    pub log_cursor: Option<u64>,
    /// The top line of the conversation; `None`: follows the end.
    pub chat_top: Option<ChatAnchor>,
    /// The time and place of the last click, unless it was a second one.
    pub clicked: Option<(Timestamp, Position)>,
    /// Until this time another Ctrl-C quits.
    pub quits_until: Option<Timestamp>,
    /// The changes that can be undone.
    pub undo: Undo,
    /// True if there is no engine to command: playback, or a session that is only watched.
    pub read_only: bool,
    /// The position of playback; `None` for a live session.
    pub playback: Option<Playback>,
    /// The guided tour, while it runs.
    pub tour: Option<Box<Tour>>,
}

/// The target of typed keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Keys belong to the focused pane: text in Chat, commands in all others.
    #[default]
    Normal,
    /// Keys edit the filter of the focused pane.
    Filter,
}

/// A scroll position in the conversation that does not move when text is added below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatAnchor {
    /// The turn.
    pub call: CallId,
    /// The row within the turn.
    pub row: usize,
}

/// A short message that expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toast {
    /// The text.
    pub text: String,
    /// The time it expires.
    pub until: Timestamp,
}

impl Ui {
    /// Returns true if the prompt has the focus. A visible prompt that ignores letters, or takes them for commands,
    /// does not exist: Chat has the focus exactly while it takes text, except in a recording.
    pub fn typing(&self) -> bool {
        self.focus == PaneId::Chat && !self.read_only
    }

    /// Moves the focus to a pane.
    pub fn focus_on(&mut self, pane: PaneId) {
        if self.focus != PaneId::Chat && self.focus != pane {
            self.previous = self.focus;
        }
        self.focus = pane;
    }

    /// Moves the focus to the prompt. The other panes stay visible beside it.
    pub fn start_typing(&mut self) {
        self.focus_on(PaneId::Chat);
        self.zoomed = false;
        self.mode = Mode::Normal;
    }

    /// The current key context.
    pub fn context(&self) -> Context {
        match (self.overlays.last(), self.mode) {
            (Some(Overlay::WhatIf), _) if self.whatif.line.is_some() => Context::Value,
            (Some(overlay), _) => overlay.context(),
            (None, Mode::Filter) => Context::Line,
            (None, Mode::Normal) if self.typing() => Context::Input,
            (None, Mode::Normal) => Context::Normal,
        }
    }

    /// The context for key lookup: playback has keys of its own.
    pub fn keys(&self) -> Context {
        match self.context() {
            Context::Normal if self.playback.is_some() => Context::Replay,
            context => context,
        }
    }

    /// The next change of the playback bar, in recorded time: the next full second.
    pub fn playback_change(&self) -> Option<Timestamp> {
        let playing = self.playback.as_ref().filter(|playback| playback.playing)?;
        let second = playing.at.0 / 1_000_000_000;
        Some(Timestamp((second + 1).saturating_mul(1_000_000_000)))
    }

    /// The filter of a pane.
    pub fn filter_of(&self, pane: PaneId) -> Filter {
        Filter::new(self.filters.get(&pane).map_or("", Editor::text))
    }

    /// The text of a pane's filter; `None` while it has none and none is typed.
    pub fn filter_text(&self, pane: PaneId) -> Option<&str> {
        let text = self.filters.get(&pane).map_or("", Editor::text);
        (self.filters_now(pane) || !text.is_empty()).then_some(text)
    }

    /// Returns true while a filter of the pane is typed.
    pub fn filters_now(&self, pane: PaneId) -> bool {
        self.mode == Mode::Filter && self.focus == pane
    }

    /// Begins to type a filter of a pane. The old text is selected.
    pub fn start_filter(&mut self, pane: PaneId) {
        self.focus_on(pane);
        self.mode = Mode::Filter;
        self.filter_selected = true;
        self.filters.entry(pane).or_default().edit(Edit::End);
    }

    /// Ends the typing of a filter.
    pub fn end_filter(&mut self) {
        self.mode = Mode::Normal;
        self.filter_selected = false;
        self.filters.retain(|_, filter| !filter.is_empty());
    }

    /// The current user.
    pub fn asking(&self) -> UserId {
        self.users
            .get(self.user)
            .or_else(|| self.users.first())
            .cloned()
            .unwrap_or_else(|| UserId::new("you"))
    }

    /// Shows a message for three seconds.
    pub fn say(&mut self, text: impl Into<String>, now: Timestamp) {
        self.toast = Some(Toast {
            text: text.into(),
            until: now + TOAST,
        });
    }

    /// Reports a change for five seconds, and records it so that `U` undoes it.
    pub fn report(&mut self, text: &str, reverse: Reverse, now: Timestamp) {
        let mut letters = text.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        // in the chat U is a letter
        let key = if self.typing() { "Esc, then U" } else { "U" };
        self.toast = Some(Toast {
            text: format!("{first}{}. {key} undoes it.", letters.as_str()),
            until: now + OFFER,
        });
        self.undo.record(Change {
            text: text.to_owned(),
            reverse,
        });
    }

    /// Shows a message; as long as it is shown, Ctrl-C quits.
    pub fn offer_to_quit(&mut self, text: impl Into<String>, now: Timestamp) {
        self.say(text, now);
        self.quits_until = Some(now + TOAST);
    }

    /// The message to show at `now`.
    pub fn message(&self, now: Timestamp) -> Option<&str> {
        self.toast
            .as_ref()
            .filter(|toast| now < toast.until)
            .map(|toast| toast.text.as_str())
    }

    /// The next change of the screen without an event.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let message = self.toast.as_ref().map(|toast| toast.until);
        let held = self.shown.as_ref().filter(|shown| shown.held);
        let held = held.map(|shown| shown.since + VISIBLE);
        let changes = [message, held].into_iter().flatten();
        changes.filter(|until| now < *until).min()
    }

    /// Takes the state of a frame at `now`. A state with a chip stays for half a second at least, or else a short
    /// one could not be read; its figures follow while it lasts. The breaker that you force open shows at once.
    pub fn settle(&mut self, status: Status, now: Timestamp) {
        let kind = std::mem::discriminant::<Status>;
        let since = match self.shown.take() {
            Some(shown) if kind(&shown.status) == kind(&status) => shown.since,
            Some(shown)
                if now < shown.since + VISIBLE && !shown.status.is_calm() && status != Status::ForcedOpen =>
            {
                self.shown = Some(ShownStatus { held: true, ..shown });
                return;
            }
            _ => now,
        };
        self.shown = Some(ShownStatus {
            status,
            since,
            held: false,
        });
    }

    /// Records that the engine accepted a command: clears a sent prompt and follows its answer.
    pub fn sent(&mut self, command: &Command) {
        if let Command::SetChat { options } = command {
            self.chat = options.clone();
        }
        if let Command::Send { prompt, .. } = command {
            self.history.push(prompt);
            self.draft = Editor::default();
            self.chat_top = None;
        }
        self.undo.on_accepted();
    }

    /// Records that the engine rejected a command: the prompt is kept, and there is no change to undo.
    pub fn not_sent(&mut self, reason: &str, now: Timestamp) {
        self.undo.on_rejected();
        self.say(reason, now);
    }
}
