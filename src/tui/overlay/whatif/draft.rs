//! The edited policy, kept as changes over the running one, which may change independently.

use std::collections::BTreeMap;

use crate::event::WhatIfRequest;
use crate::settings::{Policy, SETTINGS, Setting, SettingKind};
use crate::tui::editor::Editor;

use super::value;

/// The longest typed value, in bytes.
const MAX_VALUE: usize = 200;

/// The reason why some settings cannot be changed here.
pub const AT_START: &str = "takes effect when a session starts: set it in the policy file";

/// The values of all settings, in the order of [`SETTINGS`].
pub type Values = Vec<String>;

/// The state of the what-if overlay; kept while it is closed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// Edited values by the path of the setting. A value equal to the running one is not a change.
    changes: BTreeMap<&'static str, String>,
    /// Counts edits: a result carries the number of the edit it belongs to.
    pub edit: u64,
    /// The selected setting, as index in [`SETTINGS`].
    pub row: usize,
    /// The first visible line of the list.
    pub top: usize,
    /// The value being typed.
    pub line: Option<ValueLine>,
    /// The reason why the edited policy is invalid.
    pub error: Option<String>,
    /// The policy to evaluate; `None` while the overlay is closed.
    pub request: Option<WhatIfRequest>,
}

/// A value being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueLine {
    /// The text.
    pub editor: Editor,
    /// The reason why it was rejected.
    pub error: Option<String>,
}

/// The values of all settings of a policy.
pub fn values(policy: &Policy) -> Values {
    let mut all = policy.settings();
    let none = || crate::settings::UNSET.to_owned();
    SETTINGS
        .iter()
        .map(|setting| all.remove(setting.path).unwrap_or_else(none))
        .collect()
}

impl Draft {
    /// The selected setting.
    pub fn setting(&self) -> Option<&'static Setting> {
        SETTINGS.get(self.row)
    }

    /// The edited value of a setting; `None` if it equals the running one.
    pub fn changed(&self, setting: &Setting, running: &str) -> Option<&str> {
        let value = self.changes.get(setting.path)?;
        (value != running).then_some(value)
    }

    /// The number of changed settings.
    pub fn count(&self, running: &[String]) -> usize {
        let rows = SETTINGS.iter().zip(running);
        rows.filter(|(setting, value)| self.changed(setting, value).is_some())
            .count()
    }

    /// The edited value at a row.
    pub fn value<'a>(&'a self, row: usize, running: &'a [String]) -> &'a str {
        let value = running.get(row).map_or("", String::as_str);
        let setting = SETTINGS.get(row);
        setting
            .and_then(|setting| self.changed(setting, value))
            .unwrap_or(value)
    }

    /// The edited policy, or the error of a value.
    pub fn policy(&self, running: &Policy) -> Result<Policy, String> {
        let mut edited = running.clone();
        for (path, value) in &self.changes {
            edited = edited.with(path, value).map_err(|error| error.to_string())?;
        }
        Ok(edited)
    }

    /// The edited policy if it is valid; otherwise sets [`error`](Self::error).
    pub fn check(&mut self, running: &Policy) -> Option<Policy> {
        let edited = self.policy(running).and_then(|edited| {
            let valid = edited.validate();
            valid.map(|()| edited).map_err(|error| error.to_string())
        });
        self.error = edited.as_ref().err().cloned();
        edited.ok()
    }

    /// Requests the evaluation of the edited policy. An invalid one leaves the previous request.
    pub fn evaluate(&mut self, running: &Policy) {
        self.edit += 1;
        if let Some(policy) = self.check(running) {
            let edit = self.edit;
            self.request = Some(WhatIfRequest { edit, policy });
        }
    }

    /// Sets the selected setting; returns false if the value is unchanged.
    pub fn set(&mut self, running: &Policy, value: &str) -> Result<bool, String> {
        let Some(setting) = self.setting() else {
            return Ok(false);
        };
        let set = running
            .with(setting.path, value)
            .map_err(|error| error.message.trim().to_owned())?;
        // in the form of a policy file, however it was typed
        let (value, runs) = (setting.value(&set), setting.value(running));
        let before = self.changed(setting, &runs).unwrap_or(&runs).to_owned();
        if value == runs {
            self.changes.remove(setting.path);
        } else {
            self.changes.insert(setting.path, value.clone());
        }
        Ok(before != value)
    }

    /// The next higher or lower value of the selected setting.
    pub fn stepped(&self, running: &Policy, up: bool) -> Option<String> {
        let setting = self.setting()?;
        let runs = setting.value(running);
        let value = self.changed(setting, &runs).unwrap_or(&runs);
        Some(setting.step(value, up))
    }

    /// Starts to type the selected value: with `first`, or with the current value.
    pub fn edit_value(&mut self, running: &Policy, first: Option<char>) {
        let Some(setting) = self.setting() else { return };
        let runs = setting.value(running);
        let text = match first {
            Some(first) => first.to_string(),
            None => self.changed(setting, &runs).unwrap_or(&runs).to_owned(),
        };
        self.line = Some(ValueLine {
            editor: Editor::from_text(&text),
            error: None,
        });
    }

    /// Accepts the typed value; returns true if it changed the policy. An invalid one stays, with the reason.
    pub fn accept_value(&mut self, running: &Policy) -> bool {
        let Some(line) = self.line.take() else {
            return false;
        };
        let text = line.editor.text().trim().to_owned();
        let taken = if text.is_empty() {
            Err("type a value, or press Esc to keep the old one".to_owned())
        } else if text.len() > 18 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Err("number too large".to_owned())
        } else if text.len() > MAX_VALUE {
            Err(format!("too long: at most {MAX_VALUE} bytes"))
        } else {
            let read = self.setting().and_then(|setting| as_shown(setting, &text));
            let set = self.set(running, read.as_deref().unwrap_or(&text));
            // the parser's message is for programmers
            set.map_err(|error| {
                let takes = self.setting().map(value::takes);
                takes.map_or(error, |takes| format!("invalid value '{text}'; expected {takes}"))
            })
        };
        match taken {
            Ok(changed) => changed,
            Err(error) => {
                self.line = Some(ValueLine {
                    editor: line.editor,
                    error: Some(error),
                });
                false
            }
        }
    }

    /// Drops changes that equal the running values.
    pub fn drop_applied(&mut self, running: &[String]) {
        for (setting, value) in SETTINGS.iter().zip(running) {
            if self.changes.get(setting.path) == Some(value) {
                self.changes.remove(setting.path);
            }
        }
    }

    /// Drops every change.
    pub fn discard(&mut self) {
        self.changes.clear();
        self.error = None;
    }

    /// The edited policy, named after its changes.
    pub fn apply(&mut self, running: &Policy) -> Option<Policy> {
        let mut edited = self.check(running)?;
        edited.name = name_with_changes(&running.name, &self.changes);
        Some(edited)
    }
}

/// Parses a value in display form: `35%`, `on`, `2 MiB`.
fn as_shown(setting: &Setting, text: &str) -> Option<String> {
    match (setting.kind, text) {
        (SettingKind::Toggle, "on") => Some("true".to_owned()),
        (SettingKind::Toggle, "off") => Some("false".to_owned()),
        (SettingKind::Ratio { .. }, text) => {
            let percent: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
            Some(format!("{:?}", percent / 100.0))
        }
        (SettingKind::Bytes, text) => value::whole_bytes(text).map(|bytes| bytes.to_string()),
        _ => None,
    }
}

/// The name with its changes: `production+retry.attempts=5`, each setting once.
fn name_with_changes(name: &str, changes: &BTreeMap<&'static str, String>) -> String {
    let mut parts = name.split('+');
    let base = parts.next().unwrap_or_default();
    let mut settings: BTreeMap<&str, &str> = parts.filter_map(|part| part.split_once('=')).collect();
    settings.extend(changes.iter().map(|(path, value)| (*path, value.as_str())));
    let texts = settings.iter().map(|(path, value)| format!("+{path}={value}"));
    format!("{base}{}", texts.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Draft {
        Draft {
            row: SETTINGS.iter().position(|setting| setting.path == path).unwrap(),
            ..Draft::default()
        }
    }

    #[test]
    fn a_value_is_kept_in_the_form_of_a_policy_file() {
        let running = Policy::default();
        let mut draft = at("breaker.open");
        assert_eq!(draft.set(&running, "90s"), Ok(true));
        assert_eq!(draft.value(draft.row, &values(&running)), "1m 30s");
        assert_eq!(draft.set(&running, "1m 30s"), Ok(false));
        let back = Setting::find("breaker.open").unwrap().value(&running);
        assert_eq!(draft.set(&running, &back), Ok(true));
        assert_eq!(draft.count(&values(&running)), 0);
        let mut share = at("breaker.failure_rate");
        share.edit_value(&running, None);
        share.line.as_mut().unwrap().editor = Editor::from_text("35 %");
        assert!(share.accept_value(&running));
        assert_eq!(share.value(share.row, &values(&running)), "0.35");
        let mut waiters = at("limit.max_waiters");
        waiters.edit_value(&running, None);
        waiters.line.as_mut().unwrap().editor = Editor::from_text(&"9".repeat(20));
        assert!(!waiters.accept_value(&running));
        let error = waiters.line.and_then(|line| line.error).unwrap();
        assert!(error.contains("number too large"), "{error}");
        let mut bytes = at("cache.max_bytes");
        bytes.edit_value(&running, None);
        bytes.line.as_mut().unwrap().editor = Editor::from_text("2 MiB");
        assert!(bytes.accept_value(&running));
        assert_eq!(bytes.value(bytes.row, &values(&running)), "2097152");
    }

    #[test]
    fn the_draft_keeps_only_its_own_changes() {
        let mut running = Policy::default();
        let mut draft = at("retry.attempts");
        draft.set(&running, "7").unwrap();
        running.cache.enabled = !running.cache.enabled;
        let edited = draft.policy(&running).unwrap();
        assert_eq!(
            (edited.retry.attempts, edited.cache.enabled),
            (7, running.cache.enabled)
        );
    }

    #[test]
    fn a_name_has_each_setting_once() {
        let changes = BTreeMap::from([("retry.attempts", "4".to_owned())]);
        let name = name_with_changes("production+breaker.open=10s+retry.attempts=5", &changes);
        assert_eq!(name, "production+breaker.open=10s+retry.attempts=4");
        assert_eq!(name_with_changes("mine", &changes), "mine+retry.attempts=4");
    }
}
