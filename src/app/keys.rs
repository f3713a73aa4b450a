//! Gateway keys: the file that holds their hashes, and `seawall key`.
//!
//! ```toml
//! salt = "5d0c..."
//!
//! [keys]
//! web = "9f31..."      # name = HMAC-SHA256 of the key under the salt
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use color_eyre::eyre;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::cli::{Cli, KeyAction};
use super::complain;
use crate::gateway::{KeyRing, hex};
use crate::semantic::label_store::replace_file;
use crate::settings::file::{ConfigError, MAX_FILE_BYTES, parse_toml, printable_path, read_limited};
use crate::text::{SafeText, units};

/// The prefix by which a gateway key is recognised, by people and by scanners for leaked keys.
const PREFIX: &str = "sw-";
const MAX_NAME_CHARS: usize = 64;

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    salt: String,
    #[serde(default)]
    keys: BTreeMap<String, String>,
}

impl KeyFile {
    fn ring(self) -> KeyRing {
        KeyRing::new(&self.salt, self.keys)
    }
}

/// The file of gateway keys: that of `--keys`, or `keys.toml` in the configuration directory.
fn path(cli: &Cli, env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(file) = &cli.keys_file {
        return Some(file.clone());
    }
    // the XDG specification ignores a relative path
    let folder = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("seawall").join("keys.toml"))
}

/// Returns the gateway keys of the command line.
///
/// # Errors
/// If the file is invalid or readable by other users, or if `--keys` names one without keys: a gateway that is meant
/// to be closed must not start open.
pub(crate) fn load(cli: &Cli) -> Result<KeyRing, ConfigError> {
    let ring = match path(cli, |name| std::env::var_os(name)) {
        Some(path) => read(&path)?.unwrap_or_default().ring(),
        None => KeyFile::default().ring(),
    };
    match &cli.keys_file {
        Some(path) if ring.is_empty() => Err(ConfigError::NoKeys { path: path.clone() }),
        _ => Ok(ring),
    }
}

/// Reads the file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<KeyFile>, ConfigError> {
    let text = match read_limited(path, MAX_FILE_BYTES, "key file") {
        Ok(text) => text,
        Err(ConfigError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    super::config::check_private(path)?;
    parse_toml(printable_path(path).as_str(), &text).map(Some)
}

/// Runs `seawall key`.
pub(crate) fn run(cli: &Cli, action: &KeyAction) -> eyre::Result<u8> {
    let Some(path) = path(cli, |name| std::env::var_os(name)) else {
        complain("neither XDG_CONFIG_HOME nor HOME is set: name the file with --keys FILE");
        return Ok(super::USAGE);
    };
    let mut file = read(&path)?.unwrap_or_default();
    let place = printable_path(&path);
    match action {
        KeyAction::List => {
            for name in file.keys.keys() {
                writeln!(io::stdout(), "{}", SafeText::new(name).single_line())?;
            }
            if file.keys.is_empty() {
                complain(format_args!("no keys in {place}: seawall key add NAME makes one"));
            }
        }
        KeyAction::Add { name } => {
            let name = checked_name(name)?;
            if file.keys.contains_key(name) {
                return Err(ConfigError::KeyName {
                    message: format!(
                        "there is a key {name} already: remove it first, or choose another name"
                    ),
                }
                .into());
            }
            let key = format!("{PREFIX}{}", random()?);
            if file.salt.is_empty() {
                file.salt = random()?;
            }
            let hash = KeyRing::new(&file.salt, []).hash(key.as_bytes());
            file.keys.insert(name.to_owned(), hash);
            write(&path, &file)?;
            writeln!(io::stdout(), "{key}")?;
            complain(format_args!(
                "this key is shown once; its hash is in {place}. Restart a running gateway to use it. \
                 [limit.users.{name}] of the policy sets its limits"
            ));
        }
        KeyAction::Remove { name } => {
            if file.keys.remove(name).is_none() {
                let shown = SafeText::excerpt(name, 40).single_line();
                return Err(ConfigError::KeyName {
                    message: format!("no key {shown} in {place}; `seawall key list` lists the names"),
                }
                .into());
            }
            write(&path, &file)?;
            let left = units::count(file.keys.len() as u64, "key");
            complain(format_args!(
                "{left} left in {place}. Restart a running gateway to lock the removed one out"
            ));
        }
    }
    Ok(0)
}

/// A name that screens, journals and policies can show.
fn checked_name(name: &str) -> Result<&str, ConfigError> {
    let shown = SafeText::excerpt(name, 40).single_line();
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let message = if name.is_empty() || !name.chars().all(is_plain) {
        format!("'{shown}' cannot be a name: use letters, digits, - and _")
    } else if name.chars().count() > MAX_NAME_CHARS {
        format!("'{shown}' is longer than {MAX_NAME_CHARS} characters")
    } else if name.starts_with(PREFIX) && name.len() > 32 {
        "this looks like a key: give it a name, such as web; seawall makes the key".to_owned()
    } else {
        return Ok(name);
    };
    Err(ConfigError::KeyName { message })
}

fn write(path: &Path, file: &KeyFile) -> eyre::Result<()> {
    let text = toml::to_string(file)?;
    let comment = "# gateway keys as hashes; seawall key add|list|remove NAME changes them\n";
    replace_file(path, &format!("{comment}{text}")).map_err(|error| ConfigError::Unwritable {
        path: path.to_owned(),
        error,
    })?;
    Ok(())
}

/// 256 random bits.
fn random() -> eyre::Result<String> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| eyre::eyre!("the system has no random numbers"))?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_follows_the_option_and_the_xdg_specification() {
        let parsed = |line: &[&str]| super::super::applies::parse(line).unwrap();
        let env = |wanted: &str| (wanted == "HOME").then(|| "/home/ana".into());
        let default = parsed(&["seawall", "key", "list"]);
        assert_eq!(
            path(&default, env),
            Some("/home/ana/.config/seawall/keys.toml".into())
        );
        let xdg = |wanted: &str| (wanted == "XDG_CONFIG_HOME").then(|| "/etc/own".into());
        assert_eq!(path(&default, xdg), Some("/etc/own/seawall/keys.toml".into()));
        let named = parsed(&["seawall", "key", "list", "--keys", "here.toml"]);
        assert_eq!(path(&named, env), Some("here.toml".into()));
    }

    #[test]
    fn names_are_plain() {
        for name in ["web", "team-red_2", "ana@example.com", "größe"] {
            assert_eq!(checked_name(name).unwrap(), name);
        }
        let key = format!("{PREFIX}{}", "a".repeat(64));
        for name in ["", "a b", "a\u{1b}[2J", "\"]", &"x".repeat(65), &key] {
            let message = checked_name(name).unwrap_err().to_string();
            assert!(message.len() < 120 && !message.contains('\u{1b}'), "{message}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_damaged_is_an_error() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/keys.toml");
        assert!(read(&file).unwrap().is_none());
        write(&file, &KeyFile::default()).unwrap();
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(read(&file).unwrap().unwrap().ring().is_empty());
        std::fs::write(&file, "salt = 7").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("keys.toml"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("chmod 600"));
    }
}
