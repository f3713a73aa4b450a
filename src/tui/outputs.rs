//! The outputs of the screen: commands to the engine, files, what-if requests, the clipboard.

use std::io;
use std::path::PathBuf;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use super::terminal::{Host, MAX_COPY};
use super::ui::Ui;
use crate::event::{Command, WhatIfRequest};
use crate::settings::Policy;
use crate::time::Timestamp;

/// The receivers of the screen's outputs. The default has none: a session that is only watched.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Commands to the engine.
    pub commands: Option<mpsc::Sender<Command>>,
    /// Files to save.
    pub saves: Option<SaveChannel>,
    /// Sent prompts, to keep them for the next session.
    pub prompts: Option<std::sync::mpsc::Sender<String>>,
    /// The edited policy to evaluate; the receiver sees the latest one only.
    pub whatif: watch::Sender<Option<WhatIfRequest>>,
}

/// A file to save.
#[derive(Clone, Debug, PartialEq)]
pub struct SaveRequest {
    /// The policy; `None`: the commands of the session, as a scenario.
    pub policy: Option<Box<Policy>>,
    /// The name of a new file; `None`: a name with the date.
    pub file: Option<PathBuf>,
}

/// The channel to the task that saves files.
#[derive(Debug)]
pub struct SaveChannel {
    /// Requests to save.
    pub requests: mpsc::Sender<SaveRequest>,
    /// A message for each request, with the result.
    pub results: mpsc::Receiver<String>,
}

impl Outputs {
    /// Sends a command to the engine.
    pub(super) fn send(&self, command: Command, ui: &mut Ui, now: Timestamp) {
        let Some(commands) = &self.commands else {
            ui.say("this session is read-only", now);
            return;
        };
        match commands.try_reserve() {
            Ok(permit) => {
                ui.sent(&command);
                if let (Command::Send { prompt, .. }, Some(prompts)) = (&command, &self.prompts) {
                    // without a reader they last as long as the session
                    prompts.send(prompt.clone()).ok();
                }
                permit.send(command);
            }
            Err(TrySendError::Full(())) => {
                ui.not_sent("engine busy: not sent, press the key again", now);
            }
            Err(TrySendError::Closed(())) => ui.not_sent("not sent: the engine has ended", now),
        }
    }

    /// Requests that a file is saved.
    pub(super) fn save(&self, request: SaveRequest, ui: &mut Ui, now: Timestamp) {
        let (name, started) = match request.policy {
            None => ("drill", "saving the drill: running it once headless"),
            Some(_) => ("policy", "saving the policy"),
        };
        let Some(saves) = &self.saves else {
            ui.say(format!("this session cannot save a {name}"), now);
            return;
        };
        let text = match saves.requests.try_send(request) {
            Ok(()) => started,
            Err(TrySendError::Full(_)) => "already saving",
            Err(TrySendError::Closed(_)) => "not saved: the session has ended",
        };
        ui.say(text, now);
    }

    /// Waits for the result of the next save; never returns without a channel.
    pub(super) async fn saved(&mut self) -> String {
        let message = match &mut self.saves {
            Some(saves) => saves.results.recv().await,
            None => None,
        };
        match message {
            Some(message) => message,
            None => std::future::pending().await,
        }
    }

    /// Publishes the policy to evaluate if it has changed.
    pub(super) fn publish(&self, ui: &Ui) {
        self.whatif.send_if_modified(|request| {
            let is_new = *request != ui.whatif.request;
            if is_new {
                request.clone_from(&ui.whatif.request);
            }
            is_new
        });
    }
}

/// Copies text to the clipboard of the terminal.
pub(super) fn copy<H: Host>(text: &str, host: &mut H, ui: &mut Ui, now: Timestamp) -> io::Result<()> {
    let bytes = text.len();
    if bytes > MAX_COPY {
        ui.say(
            format!("too long to copy: {bytes} bytes, at most {MAX_COPY}"),
            now,
        );
        return Ok(());
    }
    ui.say(format!("copied {bytes} bytes (if the terminal allows it)"), now);
    host.copy(text)
}
