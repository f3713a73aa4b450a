//! Reading policy files, fault files and keys. A mistake is told with its line and the nearest right name.

mod dated;
mod labels;
mod listing;
mod overrides;
mod write;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

pub(crate) use dated::create_dated;
pub use labels::{add_labels, labels_file, read_labels};
pub use listing::settings_text;
pub use write::{policy_text, save_policy};

use crate::client::{ApiKey, is_loopback};
use crate::settings::{FaultProfile, Policy, nearest};
use crate::simulator::fault;
use crate::text::SafeText;

/// The presets that ship with the program.
pub const POLICIES: [(&str, &str); 2] = [
    ("production", include_str!("../assets/policies/production.toml")),
    ("exercise", include_str!("../assets/policies/exercise.toml")),
];

/// No policy, profile or scenario is larger; a device or a pipe may have no end.
const LARGEST_FILE: u64 = 1 << 20;
/// A file of pairs of prompts may be larger: sets of others are.
const LARGEST_PAIRS: u64 = 64 << 20;
/// Characters of a mistake that are told.
const LONGEST_MESSAGE: usize = 400;

/// Why something that was asked for cannot be used. What is told is one line that a terminal may print: a file
/// names other files, and its words are not ours.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", shown(path))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that is too large to be one.
    #[error("{} is larger than {largest} bytes: give a {kind}", shown(path))]
    TooLarge {
        /// The most it may have.
        largest: u64,
        /// What it should be.
        kind: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {error}", shown(path))]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file or preset that does not parse.
    #[error("{name}, line {line}: {message}")]
    Syntax {
        /// The file, or the preset.
        name: SafeText,
        /// From 1.
        line: usize,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// A value out of its bounds.
    #[error("{name}: {message}")]
    Value {
        /// The file, or the preset.
        name: SafeText,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// Neither a preset nor a file.
    #[error("no {kind} '{name}': it is neither a file nor one of {known}{hint}")]
    Unknown {
        /// `policy` or `fault profile`.
        kind: &'static str,
        /// What was asked for.
        name: SafeText,
        /// What there is.
        known: String,
        /// The nearest name.
        hint: String,
    },
    /// Names of users that cannot be used.
    #[error("--users: {message}")]
    Users {
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// A URL that cannot be used.
    #[error("{option} {url}: {message}")]
    Url {
        /// Which option gave it.
        option: &'static str,
        /// What was given.
        url: SafeText,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// A key file that others can read.
    #[error("{} can be read by others (mode {mode:o}): run chmod 600 on it", shown(path))]
    OpenKeyFile {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A key file without a key.
    #[error("{} holds no key: put it on the first line", shown(path))]
    EmptyKeyFile {
        /// Which.
        path: PathBuf,
    },
    /// A file of certificates that holds something else.
    #[error("--ca-file {}: {message}", path.display())]
    CaFile {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to write instead.
        message: String,
    },
}

/// A policy: a preset by name or a file, with single settings that differ where some are given:
/// `production+retry.attempts=1`.
pub fn policy(name: &str) -> Result<Policy, ConfigError> {
    if let Some((base, settings)) = overrides::split(name) {
        let changed = overrides::apply(&policy(base)?, settings)?;
        return checked(changed, name);
    }
    let (shown, text) = find("policy", name, &POLICIES)?;
    read_policy(&shown, &text)
}

/// A policy with one setting changed: `retry.attempts`, `1`.
pub fn policy_with(policy: &Policy, setting: &str, value: &str) -> Result<Policy, ConfigError> {
    checked(overrides::set(policy, setting, value)?, setting)
}

/// A policy from its text; `shown` is what errors call it.
pub fn read_policy(shown: &str, text: &str) -> Result<Policy, ConfigError> {
    let mut policy: Policy = parse(shown, text)?;
    if !text.lines().any(|line| line.trim_start().starts_with("name")) {
        shown.clone_into(&mut policy.name);
    }
    checked(policy, shown)
}

/// Within all bounds, with a name that titles and reports can print.
fn checked(mut policy: Policy, shown: &str) -> Result<Policy, ConfigError> {
    policy.name = one_line(&policy.name).to_string();
    policy
        .validate()
        .map_err(|error| value_error(shown, &error.to_string()))?;
    Ok(policy)
}

/// A fault profile: a bundled one by name, or a file.
pub fn faults(name: &str) -> Result<FaultProfile, ConfigError> {
    let (shown, text) = find("fault profile", name, fault::bundled())?;
    read_faults(&shown, &text)
}

/// A fault profile from its text; `shown` is what errors call it.
pub fn read_faults(shown: &str, text: &str) -> Result<FaultProfile, ConfigError> {
    let mut profile: FaultProfile = parse(shown, text)?;
    profile.name = one_line(&profile.name).to_string();
    profile.about = one_line(&profile.about).to_string();
    profile
        .validate()
        .map_err(|message| value_error(shown, &message))?;
    Ok(profile)
}

/// The profiles that ship with the program; those that do not parse are left out (a test parses them all).
pub fn bundled_faults() -> Vec<FaultProfile> {
    fault::bundled()
        .iter()
        .filter_map(|(name, _)| faults(name).ok())
        .collect()
}

/// Users that can be named; a screen and a person can follow no more.
const MOST_USERS: usize = 64;
/// Characters of a user's name.
const LONGEST_USER: usize = 64;
/// Where nobody is named, as many of `usual` are added as make so many: fewer show nothing of fairness.
const USUAL_USERS: usize = 4;

/// Who can ask: those named on the command line; where none is, those that the policy names, and of `usual` as
/// many as make four.
pub fn users(named: &[String], policy: &Policy, usual: &[&str]) -> Result<Vec<String>, ConfigError> {
    let refuse = |message: String| Err(ConfigError::Users { message });
    if named.is_empty() {
        let mut users: Vec<String> = policy.limit.users.keys().take(MOST_USERS).cloned().collect();
        let more = usual
            .iter()
            .filter(|name| !policy.limit.users.contains_key(**name));
        let missing = USUAL_USERS.saturating_sub(users.len());
        users.extend(more.take(missing).map(|name| (*name).to_owned()));
        return Ok(users);
    }
    if named.len() > MOST_USERS {
        return refuse(format!("{} names: at most {MOST_USERS}", named.len()));
    }
    let mut users: Vec<String> = Vec::new();
    for (index, name) in named.iter().map(|name| name.trim()).enumerate() {
        let shown = SafeText::excerpt(name, 40).single_line();
        let length = name.chars().count();
        if name.is_empty() {
            return refuse(format!("name {} is empty: write them as ann,ben,cleo", index + 1));
        }
        if length > LONGEST_USER {
            return refuse(format!(
                "'{shown}' has {length} characters: at most {LONGEST_USER}"
            ));
        }
        if name.contains('\n') || SafeText::new(name).as_str() != name {
            return refuse(format!(
                "'{shown}' cannot be printed: write letters, digits, - and _"
            ));
        }
        if users.iter().any(|user| user == name) {
            return refuse(format!("'{shown}' is named twice: each name once"));
        }
        users.push(name.to_owned());
    }
    Ok(users)
}

/// The URL of an upstream: http or https, with a host.
pub fn upstream(text: &str) -> Result<Url, ConfigError> {
    server("--upstream", "SEAWALL_API_KEY", text)
}

/// The URL of an embeddings API, by the same rules.
pub fn embedder(text: &str) -> Result<Url, ConfigError> {
    server("--embedder", EMBEDDER_KEY, text)
}

/// The variable with the key of an embeddings API.
pub const EMBEDDER_KEY: &str = "SEAWALL_EMBEDDER_API_KEY";

/// The key for an embeddings API. Its own alone: that of the upstream must not travel to another host. `env` looks
/// a variable up.
pub fn embedder_key(env: impl Fn(&str) -> Option<String>) -> Option<ApiKey> {
    let value = env(EMBEDDER_KEY)?.trim().to_owned();
    (!value.is_empty()).then(|| ApiKey {
        name: EMBEDDER_KEY.to_owned(),
        secret: SecretString::from(value),
    })
}

fn server(option: &'static str, key: &str, text: &str) -> Result<Url, ConfigError> {
    let refuse = |message: String| ConfigError::Url {
        option,
        url: SafeText::excerpt(text, 120),
        message,
    };
    let with_scheme = format!("http://{text}");
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        // `localhost:8033` parses as a URL of scheme `localhost`
        _ if !text.contains("://") && Url::parse(&with_scheme).is_ok() => {
            return Err(refuse(format!("a URL needs its scheme: write {with_scheme}")));
        }
        Ok(url) => {
            return Err(refuse(format!(
                "scheme '{}' is not spoken here: use http or https",
                url.scheme()
            )));
        }
        Err(error) => return Err(refuse(format!("{error}; write it as http://127.0.0.1:8033"))),
    };
    if url.host().is_none() {
        return Err(refuse(
            "it names no host; write it as http://127.0.0.1:8033".into(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::Url {
            option,
            url: SafeText::new(url.host_str().unwrap_or_default()),
            message: format!("keys and passwords do not belong into a URL: put the key into {key}"),
        });
    }
    if url.scheme() == "http" && !is_loopback(&url) && !is_private(&url) {
        return Err(refuse(
            "plain http would send your prompts and your key in the open: use https".into(),
        ));
    }
    Ok(url)
}

/// Whether the host is in a private network, where plain http is usual.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_private() || address.is_link_local(),
        Some(url::Host::Ipv6(address)) => address.is_unique_local() || address.is_unicast_link_local(),
        Some(url::Host::Domain(name)) => {
            !name.contains('.')
                || ["local", "internal"].contains(&name.rsplit('.').next().unwrap_or_default())
        }
        None => false,
    }
}

/// The API key for an upstream: a file if one is named, else the variable. `env` looks a variable up.
///
/// `OPENAI_API_KEY` is only ever sent to OpenAI: a key must not travel to whoever `--upstream` names.
pub fn api_key(
    upstream: &Url,
    file: Option<&Path>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<ApiKey>, ConfigError> {
    if let Some(path) = file {
        return key_file(path).map(Some);
    }
    let openai = upstream.host_str() == Some("api.openai.com");
    let names = ["SEAWALL_API_KEY", "OPENAI_API_KEY"];
    let found = names.iter().take(if openai { 2 } else { 1 }).find_map(|name| {
        let value = env(name)?;
        let value = value.trim().to_owned();
        (!value.is_empty()).then(|| ApiKey {
            name: (*name).to_owned(),
            secret: SecretString::from(value),
        })
    });
    Ok(found)
}

fn key_file(path: &Path) -> Result<ApiKey, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(ConfigError::OpenKeyFile {
                path: path.to_owned(),
                mode,
            });
        }
    }
    let text = read_bounded(path, LARGEST_FILE).map_err(unreadable)?;
    let key = text.lines().next().unwrap_or_default().trim().to_owned();
    if key.is_empty() {
        return Err(ConfigError::EmptyKeyFile {
            path: path.to_owned(),
        });
    }
    Ok(ApiKey {
        name: shown(path).to_string(),
        secret: SecretString::from(key),
    })
}

/// The text of a file of pairs of prompts.
pub fn pairs_file(path: &Path) -> Result<String, ConfigError> {
    let text = read_bounded(path, LARGEST_PAIRS).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    if text.len() as u64 > LARGEST_PAIRS {
        return Err(ConfigError::TooLarge {
            largest: LARGEST_PAIRS,
            kind: "smaller file of pairs",
            path: path.to_owned(),
        });
    }
    Ok(text)
}

/// Certificates to trust beside those of the system, out of a PEM file: those of a private CA.
pub fn ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let refuse = |message: String| ConfigError::CaFile {
        path: path.to_owned(),
        message,
    };
    let text = fs::read(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let roots =
        roots.map_err(|error| refuse(format!("broken PEM ({error}): export the certificate again")))?;
    if roots.is_empty() {
        return Err(refuse(
            "no certificate in it: write PEM, which begins with -----BEGIN CERTIFICATE-----".into(),
        ));
    }
    // one that cannot be used would be left out in silence later, and every connection refused
    let mut store = RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        store
            .add(root.clone())
            .map_err(|error| refuse(format!("certificate {} cannot be used: {error}", index + 1)))?;
    }
    Ok(roots)
}

/// A value out of its bounds, in a file that is called `shown`.
pub(crate) fn value_error(shown: &str, message: &str) -> ConfigError {
    ConfigError::Value {
        name: one_line(shown),
        message: one_line(message).to_string(),
    }
}

/// A path, so that it can be printed.
fn shown(path: &Path) -> SafeText {
    one_line(&path.display().to_string())
}

/// One line of bounded length, whatever is in the text.
pub(crate) fn one_line(text: &str) -> SafeText {
    SafeText::excerpt(&text.replace('\n', " "), LONGEST_MESSAGE)
}

/// The text of a preset or a file, and what to call it.
pub(crate) fn find(
    kind: &'static str,
    name: &str,
    known: &[(&str, &str)],
) -> Result<(String, String), ConfigError> {
    if let Some((name, text)) = known.iter().find(|(known, _)| *known == name) {
        return Ok(((*name).to_owned(), (*text).to_owned()));
    }
    let path = Path::new(name);
    match read_bounded(path, LARGEST_FILE) {
        Ok(text) if text.len() as u64 > LARGEST_FILE => Err(ConfigError::TooLarge {
            largest: LARGEST_FILE,
            kind,
            path: path.to_owned(),
        }),
        Ok(text) => Ok((shown(path).to_string(), text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ConfigError::Unknown {
            kind,
            name: SafeText::excerpt(name, 80),
            known: known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            hint: nearest(name, known.iter().map(|(name, _)| *name))
                .map_or_else(String::new, |near| format!("; did you mean {near}?")),
        }),
        Err(error) => Err(ConfigError::Unreadable {
            path: path.to_owned(),
            error,
        }),
    }
}

/// Reads a file up to the first byte that is too many.
fn read_bounded(path: &Path, largest: u64) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(largest + 1)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Reads TOML; a mistake is told with its line.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| parse_error(name, text, &error))
}

/// What is wrong with TOML, and where.
fn parse_error(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let mut message = error.message().to_owned();
    if let Some(near) = near_field(&message) {
        // before the list of all there are, which may be longer than a message can be
        let (wrong, all) = message.split_once(", ").unwrap_or((&message, ""));
        message = format!("{wrong}; did you mean `{near}`? {all}");
    }
    ConfigError::Syntax {
        name: one_line(name),
        line: line_at(text, error.span().map_or(0, |span| span.start)),
        message: one_line(&message).to_string(),
    }
}

/// The line, from 1, that holds the byte at `at`.
fn line_at(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// The right name nearest to the wrong one, out of serde's own sentence.
fn near_field(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("unknown field `")
        .or_else(|| message.strip_prefix("unknown variant `"))?;
    let (wrong, expected) = rest.split_once('`')?;
    // odd pieces stand between backticks
    let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    nearest(wrong, names.iter().copied()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::settings::UserLimits;

    fn message<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn the_production_file_says_what_the_code_says() {
        assert_eq!(policy("production").unwrap(), Policy::default());
    }

    #[test]
    fn every_shipped_file_is_valid() {
        for (name, _) in POLICIES {
            assert_eq!(policy(name).unwrap().name, name);
        }
        for (name, _) in fault::bundled() {
            assert_eq!(&faults(name).unwrap().name, name);
        }
    }

    #[test]
    fn the_key_of_the_upstream_is_not_that_of_an_embedder() {
        let env = |name: &str| {
            ["SEAWALL_API_KEY", "OPENAI_API_KEY"]
                .contains(&name)
                .then(|| "upstream".into())
        };
        assert!(embedder_key(env).is_none());
        let own = embedder_key(|name| (name == EMBEDDER_KEY).then(|| " own ".into())).unwrap();
        assert_eq!(
            (own.name.as_str(), own.secret.expose_secret()),
            (EMBEDDER_KEY, "own")
        );
        assert!(
            message(embedder("http://example.com")).starts_with("--embedder http://example.com: plain http")
        );
        let with_key = message(embedder("https://user:pw@h"));
        assert!(
            with_key.contains("SEAWALL_EMBEDDER_API_KEY") && !with_key.contains("pw"),
            "{with_key}"
        );
    }

    #[test]
    fn mistakes_are_told_with_line_and_nearest_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let try_text = |text: &str| {
            fs::write(path, text).unwrap();
            message(policy(path)).replace(path, "FILE")
        };
        let unknown = try_text("# mine\n[retry]\natempts = 3\n");
        assert!(
            unknown.starts_with("FILE, line 3: unknown field `atempts`"),
            "{unknown}"
        );
        assert!(
            unknown.contains("; did you mean `attempts`? expected one of"),
            "{unknown}"
        );
        let wrong_type = try_text("[retry]\nattempts = \"three\"\n");
        assert!(
            wrong_type.starts_with("FILE, line 2: invalid type: string \"three\""),
            "{wrong_type}"
        );
        let bound = try_text("[breaker]\nfailure_rate = 50\n");
        assert_eq!(
            bound,
            "FILE: breaker.failure_rate = 50: above 0 and at most 1 (0.5 opens at half)"
        );
        let variant = try_text("[retry]\njitter = \"ful\"\n");
        assert!(variant.contains("did you mean `full`?"), "{variant}");
        let preset = message(policy("prodution"));
        assert!(
            preset.ends_with("one of production, exercise; did you mean production?"),
            "{preset}"
        );
    }

    #[test]
    fn a_partial_file_keeps_the_defaults_and_takes_its_own_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "[retry]\nattempts = 7\n").unwrap();
        let name = file.path().to_str().unwrap();
        let policy = policy(name).unwrap();
        assert_eq!((policy.retry.attempts, policy.name.as_str()), (7, name));
        assert_eq!(policy.breaker, Policy::default().breaker);
    }

    #[test]
    fn urls_are_refused_with_the_remedy() {
        assert_eq!(
            upstream("http://127.0.0.1:8033").unwrap().as_str(),
            "http://127.0.0.1:8033/"
        );
        assert!(message(upstream("localhost:8033")).ends_with("write http://localhost:8033"));
        assert!(message(upstream("ftp://x")).contains("use http or https"));
        assert!(message(upstream("http://")).contains("write it as http://127.0.0.1:8033"));
        assert!(message(upstream("http://api.example.com")).contains("use https"));
        let with_password = message(upstream("https://me:sk-verysecret@h"));
        assert!(!with_password.contains("verysecret"), "{with_password}");
    }

    #[test]
    fn users_are_those_named_or_those_of_the_policy_and_some_more() {
        const USUAL: [&str; 4] = ["ana", "ben", "cleo", "dev"];
        let mut policy = Policy::default();
        let named = |names: &[&str], policy: &Policy| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            users(&names, policy, &USUAL)
        };
        assert_eq!(named(&[], &policy).unwrap(), USUAL);
        assert_eq!(named(&["zoe", " bob "], &policy).unwrap(), ["zoe", "bob"]);
        for name in ["team red", "cleo"] {
            policy.limit.users.insert(name.into(), UserLimits::default());
        }
        assert_eq!(named(&[], &policy).unwrap(), ["cleo", "team red", "ana", "ben"]);
        let long = "x".repeat(65);
        let many = ["u"; 65];
        let table: [(&[&str], &str); 6] = [
            (
                &["ann", ""],
                "--users: name 2 is empty: write them as ann,ben,cleo",
            ),
            (&["ann", "ann"], "--users: 'ann' is named twice: each name once"),
            (
                &["a\u{1b}[2J"],
                "--users: 'a\u{241b}[2J' cannot be printed: write letters, digits, - and _",
            ),
            (
                &["a\nb"],
                "--users: 'a b' cannot be printed: write letters, digits, - and _",
            ),
            (&[&long], "has 65 characters: at most 64"),
            (&many, "--users: 65 names: at most 64"),
        ];
        for (names, told) in table {
            let said = message(named(names, &Policy::default()));
            assert!(said.contains(told), "{said}");
        }
    }

    #[test]
    fn keys_come_from_the_right_variable_only() {
        let env = |name: &str| (name == "OPENAI_API_KEY").then(|| "sk-open".to_owned());
        let local = upstream("http://127.0.0.1:8033").unwrap();
        assert!(api_key(&local, None, env).unwrap().is_none());
        let openai = upstream("https://api.openai.com").unwrap();
        let key = api_key(&openai, None, env).unwrap().unwrap();
        assert_eq!(
            (key.name.as_str(), key.secret.expose_secret()),
            ("OPENAI_API_KEY", "sk-open")
        );
        assert!(!format!("{key:?}").contains("sk-open"));
    }

    #[test]
    fn a_ca_file_must_hold_certificates() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let try_text = |text: &str| {
            fs::write(file.path(), text).unwrap();
            ca_file(file.path())
        };
        let key = rcgen::generate_simple_self_signed(["ca.test".into()]).unwrap();
        let (good, other) = (key.cert.pem(), key.signing_key.serialize_pem());
        assert_eq!(try_text(&format!("{good}{good}")).unwrap().len(), 2);
        for (text, expected) in [
            ("", "no certificate in it"),
            (other.as_str(), "no certificate in it"),
            (
                "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
                "broken PEM",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "certificate 1 cannot be used",
            ),
        ] {
            let said = message(try_text(text));
            assert!(
                said.starts_with("--ca-file ") && said.contains(expected),
                "{said}"
            );
        }
        assert!(message(ca_file(Path::new("/nowhere/ca.pem"))).starts_with("cannot read /nowhere/ca.pem"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_must_be_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "sk-file\n").unwrap();
        let local = upstream("http://127.0.0.1:8033").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(message(api_key(&local, Some(file.path()), |_| None)).contains("chmod 600"));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let key = api_key(&local, Some(file.path()), |_| None).unwrap().unwrap();
        assert_eq!(key.secret.expose_secret(), "sk-file");
    }
}
