//! Request headers that a user adds: what a gateway wants besides the key, or instead of it.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};

use super::ApiKey;
use crate::policy::classify::redact;
use crate::text::SafeText;

/// Headers that seawall or the HTTP client sets, or that belong to one connection.
const RESERVED: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-seawall-attempt",
];

/// Fields that belong to one connection (RFC 9110 section 7.6.1), and those that a server sets itself.
const HOP_BY_HOP: [HeaderName; 11] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::HOST,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// Parts of a name that make its value a secret.
const SECRET_PARTS: [&str; 8] = [
    "api-key",
    "apikey",
    "auth-",
    "authorization",
    "cookie",
    "password",
    "secret",
    "token",
];

/// Ends of a name that make its value a secret.
const SECRET_ENDS: [&str; 5] = ["-key", "_key", "-auth", "signature", "credential"];

/// Words before a secret in a value.
const SCHEMES: [&str; 6] = ["apikey", "basic", "bearer", "digest", "key", "token"];

/// A request header besides those that seawall sets.
///
/// The value is a secret if the name says so (`authorization`, `api-key`, `x-api-key`, `cookie`, `*-key`,
/// `*token*`, `*secret*`, ...) or [`ExtraHeader::secret`] does: it is then redacted like an API key wherever a
/// server echoes it. No value is ever printed.
#[derive(Clone, Debug)]
pub struct ExtraHeader {
    name: HeaderName,
    value: HeaderValue,
    /// The name of the secret in messages; absent if the value is not a secret.
    secret: Option<String>,
}

/// The error of a header that cannot be sent. Its text never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is not the name of a header.
    #[error("invalid header name '{0}': use letters, digits and hyphens")]
    Name(SafeText),
    /// The value is empty or has control characters.
    #[error("the value of header {0} is empty or has a line break or another control character")]
    Value(HeaderName),
    /// The header is set by seawall or the HTTP client.
    #[error("header {0} is set by seawall: remove it")]
    Reserved(HeaderName),
    /// The same header twice.
    #[error("header {0} is given twice: remove one")]
    Twice(HeaderName),
    /// An `authorization` header beside an API key.
    #[error("the key in {0} and the header authorization exclude each other: remove one")]
    Authorization(String),
}

impl ExtraHeader {
    /// Creates a header.
    ///
    /// # Errors
    /// If name or value cannot be sent, or seawall sets the header itself.
    pub fn new(name: &str, value: &str) -> Result<Self, HeaderError> {
        let name = HeaderName::from_bytes(name.trim().as_bytes())
            .map_err(|_| HeaderError::Name(SafeText::excerpt(&redact(name), 40)))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(HeaderError::Reserved(name));
        }
        let value = value.trim();
        let Some(mut sent) = HeaderValue::from_bytes(value.as_bytes())
            .ok()
            .filter(|value| !value.is_empty())
        else {
            return Err(HeaderError::Value(name));
        };
        sent.set_sensitive(true);
        let secret = is_secret_name(name.as_str()).then(|| format!("header {name}"));
        Ok(Self {
            name,
            value: sent,
            secret,
        })
    }

    /// Makes the value a secret, whatever the name; messages call it by `source`, such as the variable it is in.
    #[must_use]
    pub fn secret(self, source: &str) -> Self {
        Self {
            secret: Some(source.to_owned()),
            ..self
        }
    }

    /// Returns true if the value is a secret.
    pub fn is_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// The secrets in the value: what follows a scheme such as `Bearer`, each value of a cookie, or the whole.
    fn secrets(&self) -> Vec<ApiKey> {
        let (Some(source), Ok(value)) = (&self.secret, std::str::from_utf8(self.value.as_bytes())) else {
            return Vec::new();
        };
        let values: Vec<&str> = if self.name == header::COOKIE {
            let pairs = value.split(';').map(str::trim);
            pairs
                .map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value))
                .collect()
        } else {
            // the scheme alone is no secret, and a part of the whole would be found in "Bearer authentication"
            match value.split_once(' ') {
                Some((scheme, rest)) if SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) => {
                    vec![rest.trim()]
                }
                _ => vec![value],
            }
        };
        let values = values.into_iter().filter(|value| !value.is_empty());
        values
            .map(|value| ApiKey {
                name: source.clone(),
                secret: SecretString::from(value),
            })
            .collect()
    }
}

/// Returns true if a header or parameter of this name holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["key", "code", "sig", "auth"].contains(&name.as_str())
        || SECRET_PARTS.iter().any(|part| name.contains(part))
        || SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

/// Adds the headers to those that seawall sets.
///
/// # Errors
/// If a header is given twice, or sets `authorization` beside a key.
pub(super) fn add_headers(
    map: &mut HeaderMap,
    extra: &[ExtraHeader],
    key: Option<&ApiKey>,
) -> Result<(), HeaderError> {
    for (index, header) in extra.iter().enumerate() {
        if let Some(key) = key.filter(|_| header.name == header::AUTHORIZATION) {
            return Err(HeaderError::Authorization(key.name.clone()));
        }
        if extra.iter().take(index).any(|other| other.name == header.name) {
            return Err(HeaderError::Twice(header.name.clone()));
        }
        map.insert(header.name.clone(), header.value.clone());
    }
    Ok(())
}

/// Everything secret that is sent: the key, the secret headers, and the secret parameters of the base URL.
pub(crate) fn secrets(key: Option<&ApiKey>, extra: &[ExtraHeader], base: &url::Url) -> Vec<ApiKey> {
    let parameters = base.query_pairs().filter(|(name, _)| is_secret_name(name));
    let parameters = parameters.map(|(name, value)| ApiKey {
        name: format!("parameter {name}"),
        secret: SecretString::from(value.into_owned()),
    });
    let headers = extra.iter().flat_map(ExtraHeader::secrets);
    key.cloned()
        .into_iter()
        .chain(headers)
        .chain(parameters)
        .collect()
}

/// A number that differs between credentials: the key and all extra headers, in any order. 0 without any.
pub(super) fn credential_id(key: Option<&ApiKey>, extra: &[ExtraHeader]) -> u64 {
    let hash = |name: &str, value: &[u8]| {
        let seed = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
        xxhash_rust::xxh3::xxh3_64_with_seed(value, seed)
    };
    let key = key.map_or(0, |key| hash("", key.secret.expose_secret().as_bytes()));
    let headers = extra
        .iter()
        .map(|extra| hash(extra.name.as_str(), extra.value.as_bytes()));
    headers.fold(key, u64::wrapping_add)
}

/// The end-to-end fields: without those of one connection, including the ones that `Connection` names.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')) {
        kept.remove(name.trim());
    }
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "canary.4711.secret";

    #[test]
    fn a_header_is_refused_without_its_value() {
        for (name, value, message) in [
            (
                "X Title",
                SECRET,
                "invalid header name 'X Title': use letters, digits and hyphens",
            ),
            ("", SECRET, "invalid header name ''"),
            ("x-title:", SECRET, "invalid header name 'x-title:'"),
            ("api-key", "", "the value of header api-key is empty"),
            ("api-key", "  ", "the value of header api-key is empty"),
            (
                "Api-Key",
                "canary.4711.secret\r\nx: y",
                "the value of header api-key is empty or has a line break",
            ),
            (
                "Content-Type",
                SECRET,
                "header content-type is set by seawall: remove it",
            ),
            ("HOST", SECRET, "header host is set by seawall"),
            ("content-length", SECRET, "header content-length is set"),
            ("transfer-encoding", SECRET, "header transfer-encoding is set"),
            ("accept-encoding", SECRET, "header accept-encoding is set"),
        ] {
            let error = ExtraHeader::new(name, value).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn headers_do_not_compete() {
        let header = |name| ExtraHeader::new(name, SECRET).unwrap();
        let key = ApiKey {
            name: "SEAWALL_API_KEY".into(),
            secret: SECRET.into(),
        };
        let error = |extra: &[ExtraHeader], key| {
            let added = add_headers(&mut HeaderMap::new(), extra, key);
            added.err().map(|error| error.to_string())
        };
        assert_eq!(error(&[header("api-key"), header("x-title")], Some(&key)), None);
        assert_eq!(error(&[header("authorization")], None), None);
        assert_eq!(
            error(&[header("Authorization")], Some(&key)).as_deref(),
            Some("the key in SEAWALL_API_KEY and the header authorization exclude each other: remove one")
        );
        assert_eq!(
            error(&[header("x-title"), header("X-Title")], None).as_deref(),
            Some("header x-title is given twice: remove one")
        );
    }

    #[test]
    fn the_secret_of_a_header_is_what_a_server_would_echo() {
        for (name, value, secrets) in [
            ("authorization", "Bearer canary.1", &["canary.1"][..]),
            ("authorization", "canary.1", &["canary.1"]),
            ("Authorization", "basic canary.1", &["canary.1"]),
            ("x-auth-token", "canary 1", &["canary 1"]),
            ("api-key", "canary.1", &["canary.1"]),
            ("X-API-Key", "canary.1", &["canary.1"]),
            ("Ocp-Apim-Subscription-Key", "canary.1", &["canary.1"]),
            ("cf-aig-authorization", "Bearer canary.1", &["canary.1"]),
            ("Helicone-Auth", "Bearer canary.1", &["canary.1"]),
            ("x-amz-security-token", "canary.1", &["canary.1"]),
            (
                "cookie",
                "session=canary.1; other=canary.2",
                &["canary.1", "canary.2"],
            ),
            ("x-client-secret", "canary.1", &["canary.1"]),
            ("X-Title", "seawall", &[]),
            ("HTTP-Referer", "https://example.com", &[]),
            ("OpenAI-Organization", "org-1", &[]),
            ("x-author", "ana", &[]),
        ] {
            let header = ExtraHeader::new(name, value).unwrap();
            let found = header.secrets();
            let found: Vec<&str> = found.iter().map(|key| key.secret.expose_secret()).collect();
            assert_eq!(found, secrets, "{name}");
            assert!(!format!("{header:?}").contains("canary"), "{header:?}");
        }
        let named = ExtraHeader::new("x-title", SECRET).unwrap().secret("MY_TITLE");
        assert_eq!(named.secrets()[0].name, "MY_TITLE");
    }

    #[test]
    fn the_credential_is_the_key_and_every_header() {
        let key = |secret: &str| ApiKey {
            name: "K".into(),
            secret: secret.into(),
        };
        let header = |name, value| ExtraHeader::new(name, value).unwrap();
        let ids = [
            credential_id(None, &[]),
            credential_id(Some(&key("a")), &[]),
            credential_id(Some(&key("b")), &[]),
            credential_id(None, &[header("api-key", "a")]),
            credential_id(None, &[header("x-api-key", "a")]),
            credential_id(Some(&key("a")), &[header("openai-organization", "one")]),
            credential_id(Some(&key("a")), &[header("openai-organization", "two")]),
        ];
        let distinct: std::collections::BTreeSet<u64> = ids.into_iter().collect();
        assert_eq!((ids[0], distinct.len()), (0, ids.len()));
        let (one, two) = (header("x-a", "1"), header("x-b", "2"));
        assert_eq!(
            credential_id(None, &[one.clone(), two.clone()]),
            credential_id(None, &[two, one])
        );
    }
}
