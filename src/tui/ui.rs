//! What only this screen knows: focus, scroll anchors, overlays. It refers to the model by id, never by row.

use std::time::Duration;

use ratatui::layout::Size;

use crate::event::{CallId, Command, UserId};
use crate::settings::FaultProfile;
use crate::time::Timestamp;

use super::editor::{Editor, History};
use super::keymap::Context;
use super::overlay::{Overlay, whatif};
use super::pane::PaneId;
use super::playback::bar::Playback;

/// How long a toast stays.
const TOAST: Duration = Duration::from_secs(3);

/// The state of the screen itself.
#[derive(Clone, Debug, Default)]
pub struct Ui {
    /// The pane that keys go to.
    pub focus: PaneId,
    /// Whether the focused pane has the whole screen.
    pub zoomed: bool,
    /// The call under the cursor of the Attempts pane; the newest where absent.
    pub selected_call: Option<CallId>,
    /// The size of the terminal.
    pub size: Size,
    /// What typing does.
    pub mode: Mode,
    /// The prompt being written.
    pub draft: Editor,
    /// Prompts sent before.
    pub history: History,
    /// Whether the earlier turns are sent too.
    pub conversation: bool,
    /// Who can ask.
    pub users: Vec<UserId>,
    /// Which of them asks.
    pub user: usize,
    /// Fault profiles to choose from.
    pub profiles: Vec<FaultProfile>,
    /// Overlays, the topmost last.
    pub overlays: Vec<Overlay>,
    /// The copy of the policy that is edited and judged; kept while its view is closed.
    pub shadow: whatif::Shadow,
    /// Rows of the open story above the first visible one.
    pub story_top: usize,
    /// A short message in the footer.
    pub toast: Option<Toast>,
    /// How many events came since the view was paused; nothing while it runs.
    pub paused: Option<u64>,
    /// The filter of the log.
    pub filter: Editor,
    /// The line of the log under the cursor, by `seq`; follows the newest where absent.
    pub log_cursor: Option<u64>,
    /// The topmost line of the conversation; follows the end where absent.
    pub chat_top: Option<ChatAnchor>,
    /// When Ctrl-C was pressed last.
    pub interrupted_at: Option<Timestamp>,
    /// Whether nothing can be sent to the engine: a replay, or somebody else's session.
    pub read_only: bool,
    /// Where a replay is; nothing for a session that happens now.
    pub playback: Option<Playback>,
}

/// What typing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Keys are commands.
    #[default]
    Normal,
    /// Keys are the prompt.
    Input,
    /// Keys are the filter of the log.
    Filter,
}

/// A place in the conversation that stays where it is while text is added below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatAnchor {
    /// Which turn.
    pub call: CallId,
    /// Which of its rows.
    pub row: usize,
}

/// A short message that goes away by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toast {
    /// What it says.
    pub text: String,
    /// Until when.
    pub until: Timestamp,
}

impl Ui {
    /// What keys mean now.
    pub fn context(&self) -> Context {
        match (self.overlays.last(), self.mode) {
            (Some(Overlay::Shadow), _) if self.shadow.line.is_some() => Context::Value,
            (Some(overlay), _) => overlay.context(),
            (None, Mode::Normal) => Context::Normal,
            (None, Mode::Input) => Context::Input,
            (None, Mode::Filter) => Context::Line,
        }
    }

    /// The context in which keys are looked up: a replay has some of its own.
    pub fn keys(&self) -> Context {
        match self.context() {
            Context::Normal if self.playback.is_some() => Context::Replay,
            context => context,
        }
    }

    /// When the bar of a replay changes next, in the time that is shown: with the next second.
    pub fn playback_change(&self) -> Option<Timestamp> {
        let playing = self.playback.as_ref().filter(|playback| playback.playing)?;
        let second = playing.at.0 / 1_000_000_000;
        Some(Timestamp((second + 1).saturating_mul(1_000_000_000)))
    }

    /// Who asks.
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

    /// The message to show at `now`.
    pub fn message(&self, now: Timestamp) -> Option<&str> {
        self.toast
            .as_ref()
            .filter(|toast| now < toast.until)
            .map(|toast| toast.text.as_str())
    }

    /// When the screen changes next by itself, without any event.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.toast
            .as_ref()
            .map(|toast| toast.until)
            .filter(|until| now < *until)
    }

    /// The engine took the command: a prompt that was sent leaves the editor, and the view follows it.
    pub fn sent(&mut self, command: &Command) {
        if let Command::Send { prompt, .. } = command {
            self.history.push(prompt);
            self.draft = Editor::default();
            self.chat_top = None;
        }
        if let Command::ApplyPolicy { .. } = command {
            self.shadow.applied();
        }
    }

    /// The engine could not take the command: nothing that was typed is lost, and what was not committed can neither
    /// be taken back.
    pub fn not_sent(&mut self, command: &Command, reason: &str, now: Timestamp) {
        if let Command::ApplyPolicy { .. } = command {
            self.shadow.not_applied();
        }
        self.say(reason, now);
    }
}
