//! The tenant of a request: the part of the cache keys and limits that separates clients.

use http::{HeaderMap, HeaderName, header};
use ring::hmac;

use crate::event::UserId;

/// The headers in which clients send a key: OpenAI, Anthropic, Azure.
pub(super) const KEY_HEADERS: [HeaderName; 3] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
];

/// How clients identify themselves.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// True if seawall sends a key of its own upstream: those of clients are not passed on.
    holds_key: bool,
    /// True if a client without a known key is rejected.
    required: bool,
    /// The key of the hashes, random for each process.
    hash_key: hmac::Key,
}

impl Credentials {
    /// Clients bring the key of the upstream, if it has one, which is passed on. `holds_key`: seawall has the key of
    /// the upstream itself.
    pub fn of_clients(holds_key: bool) -> Self {
        let bytes: [u8; 32] = rand::random();
        Self {
            holds_key,
            required: false,
            hash_key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        }
    }

    /// Returns true if a client without a known key is rejected.
    pub(super) fn are_required(&self) -> bool {
        self.required
    }

    /// Returns true if the key of the client goes upstream.
    pub(super) fn are_passed_on(&self) -> bool {
        !self.holds_key
    }

    /// The tenant of a request: a keyed hash of its key, which tells nothing about the key.
    pub(super) fn tenant(&self, headers: &HeaderMap) -> UserId {
        let key = KEY_HEADERS.iter().find_map(|name| headers.get(name));
        let Some(key) = key else {
            return UserId::new("local");
        };
        let tag = hmac::sign(&self.hash_key, key.as_bytes());
        let hash = tag
            .as_ref()
            .iter()
            .take(4)
            .fold(0_u32, |hash, byte| hash << 8 | u32::from(*byte));
        UserId::new(&format!("key-{hash:08x}"))
    }
}
