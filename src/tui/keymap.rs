//! The key table: `(Context, Chord) -> Action`, read from `assets/keymap.toml`.
//!
//! Ambiguous chords, unknown actions and unknown keys are errors when the table is loaded.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

use super::action::Action;

/// The built-in table.
pub const DEFAULT: &str = include_str!("../../assets/keymap.toml");

/// The mode in which a key is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// Every context.
    Always,
    /// No text field, no overlay.
    Normal,
    /// The same during playback of a journal; takes precedence over `normal`.
    Replay,
    /// The prompt.
    Input,
    /// The filter of the log.
    Line,
    /// The list of commands.
    List,
    /// The help.
    Help,
    /// The fault chooser.
    Faults,
    /// The list of the breaker.
    Breaker,
    /// The name of a file to save.
    Name,
    /// The story of a call.
    Details,
    /// A confirmation.
    Confirm,
    /// The what-if overlay.
    WhatIf,
    /// A value of a setting in the what-if overlay.
    Value,
}

impl Context {
    /// Returns true if keys bound in `bound` apply in this context.
    fn includes(self, bound: Self) -> bool {
        bound == self || bound == Self::Always || (self == Self::Replay && bound == Self::Normal)
    }
}

/// A key with its modifiers. For characters Shift is part of the character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

impl Chord {
    /// Creates the chord of a key press.
    pub fn from_event(event: KeyEvent) -> Self {
        let mut modifiers =
            event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        let mut code = event.code;
        match code {
            // Some terminals report Shift with an upper-case letter, some do not; the letter is enough.
            KeyCode::Char(_) | KeyCode::BackTab => modifiers -= KeyModifiers::SHIFT,
            KeyCode::Tab if modifiers.contains(KeyModifiers::SHIFT) => {
                code = KeyCode::BackTab;
                modifiers -= KeyModifiers::SHIFT;
            }
            _ => {}
        }
        Self { code, modifiers }
    }

    /// Parses `ctrl+p`, `alt+enter`, `B`, `+`, `pgup`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut modifiers = KeyModifiers::NONE;
        loop {
            let (modifier, tail) = if let Some(tail) = rest.strip_prefix("ctrl+") {
                (KeyModifiers::CONTROL, tail)
            } else if let Some(tail) = rest.strip_prefix("alt+") {
                (KeyModifiers::ALT, tail)
            } else if let Some(tail) = rest.strip_prefix("shift+") {
                (KeyModifiers::SHIFT, tail)
            } else {
                break;
            };
            modifiers |= modifier;
            rest = tail;
        }
        let mut chars = rest.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) => KeyCode::Char(c),
            _ => NAMED.iter().find(|(name, ..)| *name == rest)?.1,
        };
        Some(Self { code, modifiers })
    }
}

/// Named keys: name in the file, key code, name on the screen.
const NAMED: [(&str, KeyCode, &str); 16] = [
    ("enter", KeyCode::Enter, "Enter"),
    ("esc", KeyCode::Esc, "Esc"),
    ("tab", KeyCode::Tab, "Tab"),
    ("backtab", KeyCode::BackTab, "S-Tab"),
    ("space", KeyCode::Char(' '), "Space"),
    ("backspace", KeyCode::Backspace, "Bksp"),
    ("delete", KeyCode::Delete, "Del"),
    ("up", KeyCode::Up, "Up"),
    ("down", KeyCode::Down, "Down"),
    ("left", KeyCode::Left, "Left"),
    ("right", KeyCode::Right, "Right"),
    ("pgup", KeyCode::PageUp, "PgUp"),
    ("pgdn", KeyCode::PageDown, "PgDn"),
    ("home", KeyCode::Home, "Home"),
    ("end", KeyCode::End, "End"),
    ("f1", KeyCode::F(1), "F1"),
];

impl fmt::Display for Chord {
    /// The form of footer and help: `^P`, `M-Enter`, `b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.modifiers.contains(KeyModifiers::ALT) {
            f.write_str("M-")?;
        }
        if self.modifiers.contains(KeyModifiers::SHIFT) {
            f.write_str("S-")?;
        }
        let control = self.modifiers.contains(KeyModifiers::CONTROL);
        if control {
            f.write_str("^")?;
        }
        if let Some((.., shown)) = NAMED.iter().find(|(_, code, _)| *code == self.code) {
            return f.write_str(shown);
        }
        match self.code {
            KeyCode::Char(c) if control => write!(f, "{}", c.to_ascii_uppercase()),
            KeyCode::Char(c) => write!(f, "{c}"),
            other => write!(f, "{other}"),
        }
    }
}

/// An invalid table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeymapError {
    /// Not the expected TOML.
    #[error("keymap: {0}")]
    Syntax(String),
    /// An unknown action.
    #[error("keymap: unknown action '{0}'")]
    UnknownAction(String),
    /// An unknown key.
    #[error("keymap: unknown key '{key}' for '{action}'; write e.g. 'b', 'ctrl+p', 'enter'")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The action of its row.
        action: &'static str,
    },
    /// One key with two actions.
    #[error("keymap: '{key}' is bound to both '{first}' and '{second}'")]
    Conflict {
        /// The key.
        key: String,
        /// The earlier action.
        first: &'static str,
        /// The later action.
        second: &'static str,
    },
}

/// The table, in the order of the file; help and footer show the first key of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keymap {
    rows: Vec<(Context, Action, Vec<Chord>)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    bind: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    r#where: Context,
    keys: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    action: String,
    on: Vec<String>,
}

impl Keymap {
    /// Returns the built-in table.
    pub fn builtin() -> Result<Self, KeymapError> {
        Self::parse(DEFAULT)
    }

    /// Parses and checks a table.
    pub fn parse(text: &str) -> Result<Self, KeymapError> {
        let file: File = toml::from_str(text).map_err(|error| KeymapError::Syntax(error.to_string()))?;
        let mut keymap = Self::default();
        for section in file.bind {
            for row in section.keys {
                let action = Action::by_name(&row.action)
                    .ok_or_else(|| KeymapError::UnknownAction(row.action.clone()))?;
                let mut chords = Vec::with_capacity(row.on.len());
                for key in row.on {
                    let chord = Chord::parse(&key).ok_or_else(|| KeymapError::UnknownKey {
                        key: key.clone(),
                        action: action.name(),
                    })?;
                    keymap.check(section.r#where, chord, action)?;
                    chords.push(chord);
                }
                keymap.rows.push((section.r#where, action, chords));
            }
        }
        Ok(keymap)
    }

    fn check(&self, context: Context, chord: Chord, action: Action) -> Result<(), KeymapError> {
        let clash = self
            .bound()
            .find(|(other, bound, _)| {
                *bound == chord
                    && (*other == context || *other == Context::Always || context == Context::Always)
            })
            .map(|(.., first)| first);
        if let Some(first) = clash {
            return Err(KeymapError::Conflict {
                key: chord.to_string(),
                first: first.name(),
                second: action.name(),
            });
        }
        Ok(())
    }

    /// Returns the action of a key in a context.
    pub fn action(&self, context: Context, chord: Chord) -> Option<Action> {
        // about ninety rows: a linear scan is fast enough
        let find = |context| {
            self.bound()
                .find(|(other, bound, _)| *other == context && *bound == chord)
        };
        let below = (context == Context::Replay).then_some(Context::Normal);
        find(context)
            .or_else(|| below.and_then(find))
            .or_else(|| find(Context::Always))
            .map(|(.., action)| action)
    }

    /// Every chord with its context and action.
    fn bound(&self) -> impl Iterator<Item = (Context, Chord, Action)> {
        self.rows
            .iter()
            .flat_map(|(context, action, chords)| chords.iter().map(|chord| (*context, *chord, *action)))
    }

    /// The key to show for an action in a context; `None` if it is only in the palette.
    pub fn key(&self, context: Context, action: Action) -> Option<String> {
        self.rows
            .iter()
            .filter(|(bound, ..)| context.includes(*bound))
            .find(|(_, row, _)| *row == action)
            .and_then(|(.., chords)| chords.first())
            .map(Chord::to_string)
    }

    /// All keys of an action in a context.
    pub fn keys(&self, context: Context, action: Action) -> Vec<String> {
        self.rows
            .iter()
            .filter(|(bound, row, _)| context.includes(*bound) && *row == action)
            .flat_map(|(.., chords)| chords.iter().map(Chord::to_string))
            .collect()
    }

    /// All rows: context, action, keys.
    pub fn rows(&self) -> impl Iterator<Item = (Context, Action, &[Chord])> {
        self.rows
            .iter()
            .map(|(context, action, chords)| (*context, *action, chords.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_loads_without_conflict() {
        let keymap = Keymap::builtin().unwrap();
        let chord = |text| Chord::parse(text).unwrap();
        assert_eq!(keymap.action(Context::Normal, chord("b")), Some(Action::Burst10));
        assert_eq!(keymap.action(Context::Input, chord("b")), None);
        assert_eq!(
            keymap.action(Context::Confirm, chord("ctrl+c")),
            Some(Action::StopOrQuit)
        );
        assert_eq!(keymap.key(Context::Normal, Action::Palette).as_deref(), Some(":"));
    }

    #[test]
    fn rejects_conflicts_unknown_actions_and_unknown_keys() {
        let table = |rows: &str| Keymap::parse(&format!("[[bind]]\nwhere = \"normal\"\nkeys = [{rows}]"));
        let conflict = table("{action = \"quit\", on = [\"q\"]}, {action = \"zoom\", on = [\"q\"]}");
        assert_eq!(
            conflict.unwrap_err().to_string(),
            "keymap: 'q' is bound to both 'quit' and 'zoom'"
        );
        let unknown = table("{action = \"fly\", on = [\"q\"]}");
        assert_eq!(unknown.unwrap_err().to_string(), "keymap: unknown action 'fly'");
        let key = table("{action = \"quit\", on = [\"hyper+q\"]}");
        assert_eq!(
            key.unwrap_err().to_string(),
            "keymap: unknown key 'hyper+q' for 'quit'; write e.g. 'b', 'ctrl+p', 'enter'"
        );
        assert!(table("{action = \"quit\", on = [\"q\"], why = 1}").is_err());
    }

    #[test]
    fn rejects_a_key_bound_in_always_and_in_another_context() {
        let text = "[[bind]]\nwhere = \"always\"\nkeys = [{action = \"quit\", on = [\"ctrl+c\"]}]\n\
                    [[bind]]\nwhere = \"input\"\nkeys = [{action = \"leave\", on = [\"ctrl+c\"]}]";
        assert!(matches!(Keymap::parse(text), Err(KeymapError::Conflict { .. })));
    }

    #[test]
    fn shift_is_part_of_the_letter() {
        let pressed = KeyEvent::new(KeyCode::Char('B'), KeyModifiers::SHIFT);
        assert_eq!(Some(Chord::from_event(pressed)), Chord::parse("B"));
        let back = KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT);
        assert_eq!(Some(Chord::from_event(back)), Chord::parse("backtab"));
        assert_eq!(
            Chord::parse("ctrl++").map(|c| c.to_string()).as_deref(),
            Some("^+")
        );
    }

    #[test]
    fn every_action_has_a_key_except_those_of_the_palette() {
        let keymap = Keymap::builtin().unwrap();
        let unbound: Vec<_> = Action::ALL
            .iter()
            .filter(|action| !keymap.rows().any(|(_, row, _)| row == **action))
            .collect();
        assert_eq!(
            unbound,
            [
                &Action::BurstOf,
                &Action::ClearCache,
                &Action::ForgetConversation,
                &Action::SetSystem,
                &Action::SetTemperature
            ]
        );
    }
}
