//! The label file of a policy: next to the policy file, or in the state directory of the user for a preset.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::semantic::label_store::label_set::{self, LocatedLabel};
use crate::settings::file::POLICIES;
use crate::settings::file::{ConfigError, printable_path, single_line};
use crate::settings::file::{MAX_FILE_BYTES, line_at, parse_error, read_limited};
use crate::settings::{Policy, SemanticLabel};

/// The remedy for an invalid label file.
const REMEDY: &str = "correct it, or delete the file: it holds only what you said of semantic hits";

/// Returns the label file of the policy `name`; `env` looks up a variable. `None` for a preset if neither
/// XDG_STATE_HOME nor HOME is set.
pub(crate) fn labels_file(name: &str, env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if !POLICIES.iter().any(|(preset, _)| *preset == name) {
        let path = Path::new(name);
        let mut file = path.file_stem()?.to_owned();
        file.push(".labels.toml");
        return Some(path.with_file_name(file));
    }
    // the XDG specification ignores a relative path
    let folder = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("seawall").join(format!("{name}.labels.toml")))
}

/// Adds the labels in `file` to a policy; they replace labels of the policy for the same request. A missing file
/// has no labels.
pub(crate) fn add_labels(policy: &mut Policy, file: &Path) -> Result<(), ConfigError> {
    let text = match read_limited(file, MAX_FILE_BYTES, "label file") {
        Ok(text) => text,
        Err(ConfigError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let found = read_labels(&printable_path(file), &text)?;
    let labels = &mut policy.semantic.labels;
    labels.retain(|own| !found.iter().any(|label| label.request == own.request));
    labels.extend(found);
    Ok(())
}

/// Parses labels; errors call the file `shown`.
pub(crate) fn read_labels(shown: &str, text: &str) -> Result<Vec<SemanticLabel>, ConfigError> {
    let found = label_set::parse_labels(text).map_err(|error| match parse_error(shown, text, &error) {
        ConfigError::Syntax { name, line, message } => ConfigError::Syntax {
            name,
            line,
            message: format!("{message}; {REMEDY}"),
        },
        other => other,
    })?;
    if let Some((at, wrong)) = found.iter().find_map(|label| Some((label.at, wrong(label)?))) {
        return Err(ConfigError::Syntax {
            name: single_line(shown),
            line: line_at(text, at),
            message: format!("{}; {REMEDY}", single_line(&wrong)),
        });
    }
    Ok(found.into_iter().map(|label| label.label).collect())
}

/// Returns the error in a label, if any.
fn wrong(label: &LocatedLabel) -> Option<String> {
    let label = &label.label;
    let request = &label.request;
    if request.is_empty() || request.len() > 64 || !request.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(format!(
            "request '{request}' is not a fingerprint: expected hex digits"
        ));
    }
    let threshold = label.threshold?;
    let fits = threshold > 0.0 && threshold <= 1.0;
    (!fits).then(|| format!("threshold {threshold} must be above 0 and at most 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(name: &str, variables: &[(&str, &str)]) -> Option<String> {
        let env = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| OsString::from(value))
        };
        labels_file(name, env).map(|path| path.display().to_string())
    }

    #[test]
    fn labels_are_beside_a_file_and_a_preset_has_the_state_directory() {
        let both = [("XDG_STATE_HOME", "/state"), ("HOME", "/home/ana")];
        let table = [
            ("mine.toml", &both[..], Some("mine.labels.toml")),
            ("conf.d/mine.toml", &both, Some("conf.d/mine.labels.toml")),
            (
                "/etc/seawall/strict",
                &both,
                Some("/etc/seawall/strict.labels.toml"),
            ),
            ("production", &both, Some("/state/seawall/production.labels.toml")),
            (
                "exercise",
                &both[1..],
                Some("/home/ana/.local/state/seawall/exercise.labels.toml"),
            ),
            ("production", &[("XDG_STATE_HOME", "relative")], None),
            ("production", &[], None),
        ];
        for (name, variables, file) in table {
            assert_eq!(file_of(name, variables).as_deref(), file, "{name} {variables:?}");
        }
    }

    #[test]
    fn the_labels_of_the_file_come_before_those_of_the_policy() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("mine.labels.toml");
        let full = |request: &str| format!("{request:0>32}");
        let own = |request: &str, bad| SemanticLabel {
            request: full(request),
            bad,
            ..SemanticLabel::default()
        };
        let mut policy = Policy::default();
        policy.semantic.labels = vec![own("0a", 1), own("0b", 1)];
        add_labels(&mut policy, &file).unwrap();
        assert_eq!(policy.semantic.labels.len(), 2);
        let text = format!(
            "[[label]]\nrequest = '{}'\nbad = 7\nthreshold = 0.95\n",
            full("0a")
        );
        std::fs::write(&file, text).unwrap();
        add_labels(&mut policy, &file).unwrap();
        let labels: Vec<_> = policy
            .semantic
            .labels
            .iter()
            .map(|label| (label.request.clone(), label.bad))
            .collect();
        assert_eq!(labels, [(full("0b"), 1), (full("0a"), 7)]);
        policy.validate().unwrap();
    }

    #[test]
    fn a_damaged_file_is_reported_with_line_and_remedy() {
        let error = |text: &str| read_labels("x.labels.toml", text).unwrap_err().to_string();
        let table = [
            (
                "[[label]]\nrequest = '0a'\ngood = ???\n",
                "x.labels.toml, line 3: ",
            ),
            (
                "# mine\n[[label]]\nreqest = '0a'\n",
                "line 3: unknown field `reqest`; did you mean `request`?",
            ),
            (
                "\n[[label]]\nrequest = '0a'\n[[label]]\nrequest = '0b'\nthreshold = 1.5\n",
                "line 4: threshold 1.5 must be above 0 and at most 1; ",
            ),
            (
                "[[label]]\nrequest = 'a question'\n",
                "line 1: request 'a question' is not a fingerprint",
            ),
        ];
        for (text, part) in table {
            let message = error(text);
            assert!(message.contains(part), "{message}");
            assert!(message.ends_with(REMEDY), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn an_unreadable_file_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let error = add_labels(&mut Policy::default(), home.path())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cannot read "), "{error}");
        let file = home.path().join("long.labels.toml");
        std::fs::write(&file, "#".repeat(1 << 21)).unwrap();
        let error = add_labels(&mut Policy::default(), &file).unwrap_err().to_string();
        assert!(error.contains("is larger than 1048576 bytes"), "{error}");
    }
}
