//! The edited copy of the running policy, as the changes it makes: what runs may change underneath, and the copy
//! keeps its own changes only.

use std::collections::BTreeMap;

use crate::settings::{Policy, SETTINGS, Setting, SettingKind};
use crate::tui::editor::Editor;

use super::value;

/// Commits that can be taken back.
const MAX_COMMITS: usize = 32;

/// The longest value that is written by hand.
const MAX_VALUE: usize = 200;

/// Why a setting cannot be changed here.
pub const AT_START: &str = "takes effect when a session starts: write it into the policy file";

/// The values of all settings, in the order of [`SETTINGS`].
pub type Values = Vec<String>;

/// What the view of the copy knows. Kept while it is closed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shadow {
    /// What is asked for beside what runs, by the path of the setting. A value that runs by now is no change.
    changes: BTreeMap<&'static str, String>,
    /// Counts the questions to the judge, so that an answer to an earlier one is known.
    pub edit: u64,
    /// The setting under the cursor, by its place in [`SETTINGS`].
    pub row: usize,
    /// The first line of the list that is seen.
    pub top: usize,
    /// The value being written.
    pub line: Option<Written>,
    /// Why the copy cannot hold, if so: the bounds across settings.
    pub error: Option<String>,
    /// What held before each commit, and what the commit changed; the newest last.
    commits: Vec<Commit>,
    /// The commit that is done or taken back now, and its copy's changes then, until the engine has taken it.
    step: Option<Step>,
}

/// What is asked of the engine.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Commit,
    TakeBack(Box<Commit>, BTreeMap<&'static str, String>),
}

/// A value being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The text so far.
    pub editor: Editor,
    /// Why it was not taken.
    pub error: Option<String>,
}

/// A commit that can be taken back.
#[derive(Clone, Debug, PartialEq)]
struct Commit {
    before: Policy,
    changes: BTreeMap<&'static str, String>,
}

/// The values of all settings of a policy.
pub fn values(policy: &Policy) -> Values {
    let mut all = policy.settings();
    let of = |setting: &Setting| all.remove(setting.path);
    let none = || crate::settings::UNSET.to_owned();
    SETTINGS
        .iter()
        .map(of)
        .map(|value| value.unwrap_or_else(none))
        .collect()
}

impl Shadow {
    /// The setting under the cursor.
    pub fn setting(&self) -> Option<&'static Setting> {
        SETTINGS.get(self.row)
    }

    /// The value that the copy has in place of the running one; nothing where it is the same.
    pub fn changed(&self, setting: &Setting, running: &str) -> Option<&str> {
        let value = self.changes.get(setting.path)?;
        (value != running).then_some(value)
    }

    /// How many settings differ from those that run.
    pub fn count(&self, running: &[String]) -> usize {
        let rows = SETTINGS.iter().zip(running);
        rows.filter(|(setting, value)| self.changed(setting, value).is_some())
            .count()
    }

    /// The value of the copy at a row.
    pub fn value<'a>(&'a self, row: usize, running: &'a [String]) -> &'a str {
        let value = running.get(row).map_or("", String::as_str);
        let setting = SETTINGS.get(row);
        setting
            .and_then(|setting| self.changed(setting, value))
            .unwrap_or(value)
    }

    /// The copy, or why there is none.
    pub fn policy(&self, running: &Policy) -> Result<Policy, String> {
        let mut copy = running.clone();
        for (path, value) in &self.changes {
            copy = copy.with(path, value).map_err(|error| error.to_string())?;
        }
        Ok(copy)
    }

    /// The copy if it can hold; notes why not.
    pub fn check(&mut self, running: &Policy) -> Option<Policy> {
        let copy = self.policy(running).and_then(|copy| {
            let bounds = copy.validate();
            bounds.map(|()| copy).map_err(|error| error.to_string())
        });
        match copy {
            Ok(copy) => {
                self.error = None;
                Some(copy)
            }
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    /// Sets the value under the cursor; `false` where it was that already.
    pub fn set(&mut self, running: &Policy, value: &str) -> Result<bool, String> {
        let Some(setting) = self.setting() else {
            return Ok(false);
        };
        let set = running
            .with(setting.path, value)
            .map_err(|error| error.message.trim().to_owned())?;
        // as it is written in a policy, however it was typed
        let (value, runs) = (setting.value(&set), setting.value(running));
        let before = self.changed(setting, &runs).unwrap_or(&runs).to_owned();
        if value == runs {
            self.changes.remove(setting.path);
        } else {
            self.changes.insert(setting.path, value.clone());
        }
        Ok(before != value)
    }

    /// The next value of the setting under the cursor, up or down.
    pub fn stepped(&self, running: &Policy, up: bool) -> Option<String> {
        let setting = self.setting()?;
        let runs = setting.value(running);
        let value = self.changed(setting, &runs).unwrap_or(&runs);
        Some(setting.step(value, up))
    }

    /// Begins to write the value under the cursor: from `first`, or from what it is.
    pub fn write(&mut self, running: &Policy, first: Option<char>) {
        let Some(setting) = self.setting() else { return };
        let runs = setting.value(running);
        let text = match first {
            Some(first) => first.to_string(),
            None => self.changed(setting, &runs).unwrap_or(&runs).to_owned(),
        };
        self.line = Some(Written {
            editor: Editor::from_text(&text),
            error: None,
        });
    }

    /// Takes what was written. What is no value is kept for mending, with the reason.
    pub fn take_line(&mut self, running: &Policy) -> bool {
        let Some(line) = self.line.take() else {
            return false;
        };
        let text = line.editor.text().trim().to_owned();
        let taken = if text.is_empty() {
            Err("write a value, or Esc leaves it as it was".to_owned())
        } else if text.len() > 18 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Err("too large a number".to_owned())
        } else if text.len() > MAX_VALUE {
            Err(format!("too long: at most {MAX_VALUE} bytes"))
        } else {
            let read = self.setting().and_then(|setting| as_shown(setting, &text));
            let set = self.set(running, read.as_deref().unwrap_or(&text));
            // what the parser says is for programmers
            set.map_err(|error| {
                let takes = self.setting().map(value::takes);
                takes.map_or(error, |takes| format!("'{text}' will not do; it takes {takes}"))
            })
        };
        match taken {
            Ok(changed) => changed,
            Err(error) => {
                self.line = Some(Written {
                    editor: line.editor,
                    error: Some(error),
                });
                false
            }
        }
    }

    /// Forgets the changes that run by now: they are the copy's own no more.
    pub fn forget_what_runs(&mut self, running: &[String]) {
        for (setting, value) in SETTINGS.iter().zip(running) {
            if self.changes.get(setting.path) == Some(value) {
                self.changes.remove(setting.path);
            }
        }
    }

    /// Forgets every change.
    pub fn discard(&mut self) {
        self.changes.clear();
        self.error = None;
    }

    /// The copy as it is to run, named for what differs; noted so that it can be taken back.
    pub fn commit(&mut self, running: &Policy) -> Option<Policy> {
        let mut copy = self.check(running)?;
        copy.name = named(&running.name, &self.changes);
        if self.commits.len() == MAX_COMMITS {
            self.commits.remove(0);
        }
        self.commits.push(Commit {
            before: running.clone(),
            changes: self.changes.clone(),
        });
        self.step = Some(Step::Commit);
        Some(copy)
    }

    /// Whether there is a commit to take back.
    pub fn can_take_back(&self) -> bool {
        !self.commits.is_empty()
    }

    /// What held before the last commit. The copy is what it was then, with what was changed since.
    pub fn take_back(&mut self) -> Option<Policy> {
        let commit = self.commits.pop()?;
        self.step = Some(Step::TakeBack(Box::new(commit.clone()), self.changes.clone()));
        for (path, value) in commit.changes {
            self.changes.entry(path).or_insert(value);
        }
        Some(commit.before)
    }

    /// The engine did not take what was committed or taken back: all is as it was.
    pub fn not_applied(&mut self) {
        match self.step.take() {
            Some(Step::Commit) => {
                self.commits.pop();
            }
            Some(Step::TakeBack(commit, changes)) => {
                self.commits.push(*commit);
                self.changes = changes;
            }
            None => {}
        }
    }

    /// The engine took it.
    pub fn applied(&mut self) {
        self.step = None;
    }
}

/// A value that was written as it is shown: `35%`, `on`, `2 MiB`.
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

/// The name with what differs: `production+retry.attempts=5`, each setting once.
fn named(name: &str, changes: &BTreeMap<&'static str, String>) -> String {
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

    fn at(path: &str) -> Shadow {
        Shadow {
            row: SETTINGS.iter().position(|setting| setting.path == path).unwrap(),
            ..Shadow::default()
        }
    }

    #[test]
    fn a_value_is_kept_as_it_is_written_in_a_policy() {
        let running = Policy::default();
        let mut shadow = at("breaker.open");
        assert_eq!(shadow.set(&running, "90s"), Ok(true));
        assert_eq!(shadow.value(shadow.row, &values(&running)), "1m 30s");
        assert_eq!(shadow.set(&running, "1m 30s"), Ok(false));
        let back = Setting::find("breaker.open").unwrap().value(&running);
        assert_eq!(shadow.set(&running, &back), Ok(true));
        assert_eq!(shadow.count(&values(&running)), 0);
        let mut share = at("breaker.failure_rate");
        share.write(&running, None);
        share.line.as_mut().unwrap().editor = Editor::from_text("35 %");
        assert!(share.take_line(&running));
        assert_eq!(share.value(share.row, &values(&running)), "0.35");
        let mut waiters = at("limit.max_waiters");
        waiters.write(&running, None);
        waiters.line.as_mut().unwrap().editor = Editor::from_text(&"9".repeat(20));
        assert!(!waiters.take_line(&running));
        let told = waiters.line.and_then(|line| line.error).unwrap();
        assert!(told.contains("too large a number"), "{told}");
        let mut bytes = at("cache.max_bytes");
        bytes.write(&running, None);
        bytes.line.as_mut().unwrap().editor = Editor::from_text("2 MiB");
        assert!(bytes.take_line(&running));
        assert_eq!(bytes.value(bytes.row, &values(&running)), "2097152");
    }

    #[test]
    fn the_copy_keeps_its_own_changes_only() {
        let mut running = Policy::default();
        let mut shadow = at("retry.attempts");
        shadow.set(&running, "7").unwrap();
        running.cache.enabled = !running.cache.enabled;
        let copy = shadow.policy(&running).unwrap();
        assert_eq!(
            (copy.retry.attempts, copy.cache.enabled),
            (7, running.cache.enabled)
        );
    }

    #[test]
    fn a_name_tells_each_setting_once() {
        let changes = BTreeMap::from([("retry.attempts", "4".to_owned())]);
        let name = named("production+breaker.open=10s+retry.attempts=5", &changes);
        assert_eq!(name, "production+breaker.open=10s+retry.attempts=4");
        assert_eq!(named("mine", &changes), "mine+retry.attempts=4");
    }

    #[test]
    fn commits_are_bounded() {
        let mut running = Policy::default();
        let mut shadow = at("retry.attempts");
        for attempts in 0..=MAX_COMMITS {
            shadow.set(&running, &(attempts + 4).to_string()).unwrap();
            running = shadow.commit(&running).unwrap();
        }
        let taken = std::iter::from_fn(|| shadow.take_back()).count();
        assert_eq!(taken, MAX_COMMITS);
    }
}
