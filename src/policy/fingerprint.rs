//! The identity of a request, shared by the cache, single flight and the ledger.
//!
//! An answer to another user or another question is worse than a redundant call. So the key is the whole
//! request, and the fields that do *not* count are listed; an unknown field counts (docs/semantics.md,
//! Fingerprint).
//!
//! ```text
//! canonical = "seawall/chat" version | tenant | credential | upstream | route | body as canonical JSON
//!             fixed                    length-prefixed parts                   remainder
//! fingerprint = xxh3-128(canonical)
//! ```
//!
//! The fingerprint only *finds*: xxh3 is fast, but not collision resistant against an attacker. The canonical
//! bytes *decide*, on every hit.
//!
//! Canonical JSON, similar to RFC 8785 (JCS), for comparison only:
//!
//! - keys are sorted by their UTF-8 bytes, there is no white space, and strings have one escaped form;
//! - absent, `null` and the default value are distinct;
//! - a number that is itself a field of the body, such as `temperature`, counts by value: 0, 0.0 and -0.0 are
//!   equal, and so are 1 and 1.0. A nested number (the schema of a tool, the arguments of a chat template) keeps
//!   its notation as integer or fraction, because a template may print it into the prompt.

mod context;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Number, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::event::UserId;
use crate::openai::ChatRequest;
use crate::text::first_byte;

/// Domain separation from other hashed data; the last byte is the version of the canonical form.
const DOMAIN: &[u8] = b"seawall/chat\x01";

/// Fields of the body that change the transfer or filing of an answer, not its content. Sorted.
const IGNORED: [&str; 3] = ["metadata", "stream", "stream_options"];

/// The xxh3-128 hash of a request's canonical bytes: it finds a request and does not prove it. Written as 32 hex
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The first 8 hex digits, for display.
    pub fn short(self) -> String {
        format!("{:08x}", self.0 >> 96)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// A text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint (expected 32 hex digits)")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        // `from_str_radix` alone would accept a sign and fewer digits
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FingerprintError);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| FingerprintError)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The part of a request outside its body that an answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The tenant: a user is never served another user's answer.
    pub user: &'a UserId,
    /// Hash of the API key, never the key itself. Another key may have access to other models.
    pub credential: u64,
    /// Origin of the upstream, such as `http://127.0.0.1:8033`.
    pub upstream: &'a str,
    /// Path of the request, such as `/v1/chat/completions`.
    pub route: &'a str,
}

/// The identity of a request. Two keys are equal if and only if their canonical bytes are.
///
/// The fingerprint is compared first, which settles most comparisons; as a function of the canonical bytes it
/// changes neither equality nor the consistency of the order. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKey {
    fingerprint: Fingerprint,
    canonical: Arc<[u8]>,
}

impl RequestKey {
    /// Builds the key of a request in its scope.
    pub fn new(scope: &Scope<'_>, request: &ChatRequest) -> Self {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(DOMAIN);
        scope.with_parts(|parts| push_scope(&mut out, parts));
        push_body(&mut out, request.body(), None);
        Self {
            fingerprint: Fingerprint(xxh3_128(&out)),
            canonical: out.into(),
        }
    }

    /// The hash that finds and displays it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The bytes that decide equality. They contain the whole prompt: do not log them.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The parts of the scope (user, credential, upstream, route) and the body, as canonical bytes.
    pub(super) fn split(&self) -> Option<([&[u8]; 4], &[u8])> {
        let mut rest = self.canonical.strip_prefix(DOMAIN)?;
        let mut scope = [&[][..]; 4];
        for part in &mut scope {
            let (length, tail) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            (*part, rest) = tail.split_at_checked(length)?;
        }
        Some((scope, rest))
    }

    /// A key with a forged fingerprint, to test collisions.
    #[cfg(test)]
    pub(crate) fn forced(fingerprint: u128, canonical: &[u8]) -> Self {
        Self {
            fingerprint: Fingerprint(fingerprint),
            canonical: canonical.into(),
        }
    }
}

impl fmt::Debug for RequestKey {
    /// Without the prompt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestKey")
            .field("fingerprint", &self.fingerprint)
            .field("bytes", &self.canonical.len())
            .finish()
    }
}

/// Writes the length first, so that different lists of parts have different bytes.
fn push_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u64).to_le_bytes());
    out.extend_from_slice(part);
}

fn push_scope(out: &mut Vec<u8>, scope: [&[u8]; 4]) {
    for part in scope {
        push_part(out, part);
    }
}

impl Scope<'_> {
    /// Calls `used` with the parts in the order of the canonical bytes.
    fn with_parts<R>(&self, used: impl FnOnce([&[u8]; 4]) -> R) -> R {
        let credential = self.credential.to_le_bytes();
        let [user, upstream, route] = [self.user.as_str(), self.upstream, self.route].map(str::as_bytes);
        used([user, &credential, upstream, route])
    }
}

/// Writes the top level of the body: without ignored fields, numbers by value. `messages` replaces those of the
/// request: the earlier ones and the last.
fn push_body(out: &mut Vec<u8>, body: &Map<String, Value>, messages: Option<(&[Value], &Value)>) {
    let fields = body
        .iter()
        .filter(|(field, _)| !IGNORED.contains(&field.as_str()));
    out.push(b'{');
    for (nth, (field, value)) in fields.enumerate() {
        push_field_name(out, nth, field);
        match (value, messages) {
            (_, Some((earlier, last))) if field == "messages" => {
                out.push(b'[');
                for message in earlier {
                    push_value(out, message);
                    out.push(b',');
                }
                push_value(out, last);
                out.push(b']');
            }
            (Value::Number(number), _) => push_number_by_value(out, number),
            _ => push_value(out, value),
        }
    }
    out.push(b'}');
}

/// Writes a value below the top level. Objects iterate sorted: `serde_json` keeps them in a `BTreeMap`.
fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => push_string(out, text),
        Value::Array(values) => {
            out.push(b'[');
            for (nth, value) in values.iter().enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                push_value(out, value);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (nth, (field, value)) in fields.iter().enumerate() {
                push_field_name(out, nth, field);
                push_value(out, value);
            }
            out.push(b'}');
        }
    }
}

/// Writes `"field":`, after a comma unless it is the first.
fn push_field_name(out: &mut Vec<u8>, nth: usize, field: &str) {
    if nth > 0 {
        out.push(b',');
    }
    push_string(out, field);
    out.push(b':');
}

/// Writes whole numbers as integers, in whatever notation they came, and others in their shortest form.
/// Conversions are exact, so two different numbers never become equal.
fn push_number_by_value(out: &mut Vec<u8>, number: &Number) {
    // 2^64 and -2^63: between them a whole f64 is exactly a u64 or an i64
    const U64_END: f64 = 18_446_744_073_709_551_616.0;
    const I64_START: f64 = -9_223_372_036_854_775_808.0;
    let text = match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && (0.0..U64_END).contains(&float) => {
            (float as u64).to_string()
        }
        Some(float) if number.is_f64() && float.fract() == 0.0 && (I64_START..0.0).contains(&float) => {
            (float as i64).to_string()
        }
        _ => number.to_string(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Writes a JSON string: quote, backslash and C0 escaped, other characters unchanged. Runs without escapes are
/// copied whole.
fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    let is_special = |byte| byte < 0x20 || byte == b'"' || byte == b'\\';
    while let Some(at) = first_byte(rest, is_special) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&special, tail)) = tail.split_first() else {
            break;
        };
        match special {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', special]),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend([special >> 4, special & 15].map(|digit| HEX[usize::from(digit)]));
            }
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
