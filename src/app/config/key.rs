//! API keys: each comes from its own variable or a private file, and is sent to its own server only.

#[cfg(unix)]
use std::fs;
use std::path::Path;

use secrecy::SecretString;
use url::Url;

use crate::client::ApiKey;
use crate::settings::file::{ConfigError, MAX_FILE_BYTES, printable_path, read_limited};

/// The environment variable with the key of the embeddings API.
pub(crate) const EMBEDDER_KEY: &str = "SEAWALL_EMBEDDER_API_KEY";

/// Returns the key of the embeddings API. The key of the upstream is never used: it must not reach another host.
/// `env` looks up a variable.
pub(crate) fn embedder_key(env: impl Fn(&str) -> Option<String>) -> Option<ApiKey> {
    let value = env(EMBEDDER_KEY)?.trim().to_owned();
    (!value.is_empty()).then(|| ApiKey {
        name: EMBEDDER_KEY.to_owned(),
        secret: SecretString::from(value),
    })
}

/// Returns the API key of an upstream from the file, if any, or the environment. `env` looks up a variable.
///
/// `OPENAI_API_KEY` is sent to OpenAI only: it must not reach any other `--upstream`.
pub(crate) fn api_key(
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

/// Fails if other users can read the file.
pub(crate) fn check_private(path: &Path) -> Result<(), ConfigError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let unreadable = |error| ConfigError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(ConfigError::OpenKeyFile {
                path: path.to_owned(),
                mode,
            });
        }
    }
    Ok(())
}

fn key_file(path: &Path) -> Result<ApiKey, ConfigError> {
    check_private(path)?;
    let text = read_limited(path, MAX_FILE_BYTES, "key file")?;
    let key = text.lines().next().unwrap_or_default().trim().to_owned();
    if key.is_empty() {
        return Err(ConfigError::EmptyKeyFile {
            path: path.to_owned(),
        });
    }
    Ok(ApiKey {
        name: printable_path(path).to_string(),
        secret: SecretString::from(key),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::super::{embedder, upstream};
    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
        result.unwrap_err().to_string()
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
            message(embedder("http://example.com", false))
                .starts_with("--embedder http://example.com: plain http")
        );
        let with_key = message(embedder("https://user:pw@h", false));
        assert!(
            with_key.contains("SEAWALL_EMBEDDER_API_KEY") && !with_key.contains("pw"),
            "{with_key}"
        );
    }

    #[test]
    fn keys_come_from_the_right_variable_only() {
        let env = |name: &str| (name == "OPENAI_API_KEY").then(|| "sk-open".to_owned());
        let local = upstream("http://127.0.0.1:8033", false).unwrap();
        assert!(api_key(&local, None, env).unwrap().is_none());
        let openai = upstream("https://api.openai.com", false).unwrap();
        let key = api_key(&openai, None, env).unwrap().unwrap();
        assert_eq!(
            (key.name.as_str(), key.secret.expose_secret()),
            ("OPENAI_API_KEY", "sk-open")
        );
        assert!(!format!("{key:?}").contains("sk-open"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_must_be_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "sk-file\n").unwrap();
        let local = upstream("http://127.0.0.1:8033", false).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(message(api_key(&local, Some(file.path()), |_| None)).contains("chmod 600"));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let key = api_key(&local, Some(file.path()), |_| None).unwrap().unwrap();
        assert_eq!(key.secret.expose_secret(), "sk-file");
    }
}
