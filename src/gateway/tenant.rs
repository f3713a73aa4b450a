//! The tenant of a request: the part of the cache keys and limits that separates clients.
//!
//! - With gateway keys, a client needs one, and its name is the tenant. It does not go upstream.
//! - Without gateway keys, the tenant is a keyed hash of the client's own key, which goes upstream unless seawall has
//!   a key of its own.

use http::{HeaderMap, HeaderName, StatusCode, header};
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::request::Rejection;
use crate::client::holds_secret;
use crate::event::UserId;

/// The headers in which clients send a key: OpenAI, Anthropic, Azure.
pub(super) const KEY_HEADERS: [HeaderName; 3] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
];

/// The way in which clients identify themselves.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// True if seawall sends a key of its own upstream: those of clients are not passed on.
    holds_key: bool,
    /// The gateway keys; a client needs one if there are any.
    keys: KeyRing,
    /// The key of the hashes of clients' own keys, random for each process.
    hash_key: hmac::Key,
}

/// Gateway keys, as names and hashes.
#[derive(Clone, Debug)]
pub struct KeyRing {
    salt: hmac::Key,
    keys: Vec<(UserId, String)>,
}

impl KeyRing {
    /// The keys with these names and [hashes](Self::hash) under `salt`.
    pub fn new(salt: &str, keys: impl IntoIterator<Item = (String, String)>) -> Self {
        let named = |(name, hash): (String, String)| (UserId::new(&name), hash);
        Self {
            salt: hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes()),
            keys: keys.into_iter().map(named).collect(),
        }
    }

    /// Returns true if there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The hash of a key in hexadecimal digits. A fast hash is enough: gateway keys are random, too many to try
    /// all.
    pub fn hash(&self, key: &[u8]) -> String {
        hex(hmac::sign(&self.salt, key).as_ref())
    }

    /// The name of a key. The time it takes does not depend on how much of a hash is right.
    fn name_of(&self, key: &[u8]) -> Option<&UserId> {
        let hash = self.hash(key);
        let mut found = None;
        for (name, known) in &self.keys {
            if bool::from(known.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(name);
            }
        }
        found
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

impl Credentials {
    /// Clients bring the key of the upstream, if it has one, which is passed on. `holds_key`: seawall has the key of
    /// the upstream itself.
    pub fn of_clients(holds_key: bool) -> Self {
        let bytes: [u8; 32] = rand::random();
        Self {
            holds_key,
            keys: KeyRing::new("", []),
            hash_key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        }
    }

    /// Requires one of these keys of every client, if there is one.
    #[must_use]
    pub fn with_keys(self, keys: KeyRing) -> Self {
        Self { keys, ..self }
    }

    /// Returns true if a client without a gateway key is rejected.
    pub fn are_required(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Returns true if the key of the client goes upstream.
    pub(super) fn are_passed_on(&self) -> bool {
        !self.holds_key && !self.are_required()
    }

    /// The tenant of a request: the name of its gateway key, or a keyed hash of its own key, which says nothing about
    /// that key.
    pub(super) fn tenant(&self, headers: &HeaderMap) -> Result<UserId, Rejection> {
        let mut keys = KEY_HEADERS.into_iter().filter_map(|name| headers.get(name));
        if self.are_required() {
            let name = keys.find_map(|key| self.keys.name_of(without_scheme(key.as_bytes())));
            return name.cloned().ok_or_else(|| {
                let message = "no known gateway key: send one as API key (Authorization: Bearer KEY, or x-api-key); \
                               `seawall key add NAME` makes one";
                Rejection::new(StatusCode::UNAUTHORIZED, "seawall_unauthorized", message)
            });
        }
        // APIs have headers of their own for keys too, such as x-goog-api-key
        let other = || {
            let mut other = headers.iter().filter(|(name, _)| holds_secret(name));
            other.next().map(|(_, value)| value)
        };
        let Some(key) = keys.next().or_else(other) else {
            return Ok(UserId::new("local"));
        };
        let tag = hmac::sign(&self.hash_key, without_scheme(key.as_bytes()));
        let hash = hex(tag.as_ref().get(..8).unwrap_or_default());
        Ok(UserId::new(&format!("key-{hash}")))
    }
}

/// The key in a header that may name the scheme `Bearer`.
fn without_scheme(value: &[u8]) -> &[u8] {
    match value.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => key.trim_ascii(),
        _ => value.trim_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn a_gateway_key_is_found_in_every_header_and_gives_its_name() {
        let empty = KeyRing::new("salt", []);
        let keys = [("web", "sw-1"), ("batch", "sw-2")];
        let ring = KeyRing::new(
            "salt",
            keys.map(|(name, key)| (name.to_owned(), empty.hash(key.as_bytes()))),
        );
        let credentials = Credentials::of_clients(true).with_keys(ring);
        for (header, value, tenant) in [
            ("authorization", "Bearer sw-1", Some("web")),
            ("authorization", "bearer  sw-2 ", Some("batch")),
            ("x-api-key", "sw-2", Some("batch")),
            ("api-key", "sw-1", Some("web")),
            ("authorization", "Bearer sw-3", None),
            ("authorization", "Basic sw-1", None),
            ("authorization", "", None),
            ("cookie", "sw-1", None),
        ] {
            let found = credentials.tenant(&with(header, value));
            assert_eq!(
                found.as_ref().ok().map(UserId::as_str),
                tenant,
                "{header}: {value}"
            );
            if let Err(rejection) = found {
                assert_eq!(
                    (rejection.status.as_u16(), rejection.code),
                    (401, "seawall_unauthorized")
                );
                assert!(!rejection.message.contains("sw-"), "{}", rejection.message);
            }
        }
        assert!(!credentials.are_passed_on());
        // another salt, another hash: a stolen file says nothing about that of another installation
        let other = KeyRing::new("other", [("web".to_owned(), empty.hash(b"sw-1"))]);
        assert_eq!(other.name_of(b"sw-1"), None);
        assert!(!format!("{credentials:?}").contains("sw-"));
    }

    #[test]
    fn without_gateway_keys_the_hash_of_the_clients_key_is_the_tenant() {
        let credentials = Credentials::of_clients(false);
        let tenant = |header, value| credentials.tenant(&with(header, value)).unwrap();
        let ana = tenant("authorization", "Bearer sk-ana");
        assert_eq!(ana, tenant("x-api-key", "sk-ana"));
        assert_ne!(ana, tenant("authorization", "Bearer sk-ben"));
        assert_ne!(tenant("x-goog-api-key", "ana"), tenant("x-goog-api-key", "ben"));
        assert!(!ana.as_str().contains("ana"), "{ana}");
        assert_eq!(credentials.tenant(&HeaderMap::new()).unwrap().as_str(), "local");
        assert!(credentials.are_passed_on());
        // the hash of another process is another one
        let restarted = Credentials::of_clients(false).tenant(&with("x-api-key", "sk-ana"));
        assert_ne!(restarted.unwrap(), ana);
    }
}
