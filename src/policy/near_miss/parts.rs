//! The fields of a request, as slices of its canonical bytes.
//!
//! The body is canonical JSON (written by `policy::fingerprint`), so one pass over the bytes finds the borders
//! of each value, and nothing is copied. A key of another form has no parts.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::policy::fingerprint::RequestKey;

/// Names of the fields that every request has, possibly empty.
pub(super) const USER: u64 = 1;
const UPSTREAM: u64 = 2;
pub(super) const SYSTEM: u64 = 3;
const TURNS: u64 = 4;
pub(super) const PROMPT: u64 = 5;
/// All fields of the body beyond [`MAX_BODY_FIELDS`].
const OTHERS: u64 = 6;

/// Fields of the body that are distinguished. The chat API has about forty; requests use five.
pub(super) const MAX_BODY_FIELDS: usize = 16;

pub(super) fn body_name(name: &[u8]) -> u64 {
    // a collision with the names above takes 2^64 attempts, and would show a wrong field at worst
    xxh3_64(name)
}

/// True if a request may lack the field.
pub(super) fn may_be_absent(name: u64) -> bool {
    !(USER..=PROMPT).contains(&name)
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) user: &'a [u8],
    pub(super) credential: &'a [u8],
    pub(super) upstream: &'a [u8],
    pub(super) route: &'a [u8],
    /// System and developer messages.
    pub(super) system: Vec<&'a [u8]>,
    /// All other messages except the prompt, with markers for the positions of those.
    pub(super) turns: Vec<Turn<'a>>,
    /// The last user message.
    pub(super) prompt: &'a [u8],
    /// Other fields of the body: name and value, sorted by name.
    pub(super) body: Vec<(&'a [u8], &'a [u8])>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn<'a> {
    Message(&'a [u8]),
    /// Position of system messages.
    System,
    /// Position of the prompt.
    Prompt,
}

impl<'a> Parts<'a> {
    /// The parts of a request; `None` if the key is not of a chat request.
    pub(super) fn from_key(key: &'a RequestKey) -> Option<Self> {
        let ([user, credential, upstream, route], body) = key.split()?;
        let mut parts = Self {
            user,
            credential,
            upstream,
            route,
            system: Vec::new(),
            turns: Vec::new(),
            prompt: &[],
            body: Vec::new(),
        };
        let mut cursor = JsonCursor(body);
        cursor.expect(b'{')?;
        while !cursor.at_end(b'}') {
            let name = cursor.string()?;
            cursor.expect(b':')?;
            if name == b"messages" && cursor.0.first() == Some(&b'[') {
                parts.add_messages(&cursor.messages()?);
            } else {
                parts.body.push((name, cursor.value()?));
            }
        }
        Some(parts)
    }

    /// Splits messages into system messages, prompt and turns. Different conversations have different parts: if
    /// system messages are not first, or the prompt is not last, a marker holds their position.
    fn add_messages(&mut self, messages: &[(Role, &'a [u8])]) {
        let last = messages.iter().rposition(|(role, _)| *role == Role::User);
        for (index, &(role, message)) in messages.iter().enumerate() {
            match role {
                Role::System => {
                    self.system.push(message);
                    if self.turns.last() != Some(&Turn::System) {
                        self.turns.push(Turn::System);
                    }
                }
                Role::User if Some(index) == last => {
                    self.prompt = message;
                    self.turns.push(Turn::Prompt);
                }
                Role::User | Role::Other => self.turns.push(Turn::Message(message)),
            }
        }
        if self.turns.first() == Some(&Turn::System) {
            self.turns.remove(0);
        }
        if self.turns.last() == Some(&Turn::Prompt) {
            self.turns.pop();
        }
    }

    /// Name and hash of each field.
    pub(super) fn hashes(&self) -> Vec<(u64, u64)> {
        let upstream = hash_list([self.credential, self.upstream, self.route], UPSTREAM);
        let turns = self.turns.iter().map(|turn| match turn {
            Turn::Message(message) => message,
            Turn::System => &b"system"[..],
            Turn::Prompt => &b"prompt"[..],
        });
        let mut hashes = vec![
            (USER, hash_list([self.user], USER)),
            (UPSTREAM, upstream),
            (SYSTEM, hash_list(self.system.iter().copied(), SYSTEM)),
            (TURNS, hash_list(turns, TURNS)),
            (PROMPT, hash_list([self.prompt], PROMPT)),
        ];
        let (distinct, others) = self
            .body
            .split_at_checked(MAX_BODY_FIELDS)
            .unwrap_or((&self.body, &[]));
        for (name, value) in distinct {
            let name = body_name(name);
            hashes.push((name, hash_list([*value], name)));
        }
        if !others.is_empty() {
            let all = others.iter().flat_map(|(name, value)| [*name, *value]);
            hashes.push((OTHERS, hash_list(all, OTHERS)));
        }
        hashes
    }
}

/// The hash of a list of texts.
fn hash_list<'a>(texts: impl IntoIterator<Item = &'a [u8]>, name: u64) -> u64 {
    let seed = xxh3_64(&name.to_le_bytes());
    texts
        .into_iter()
        .fold(seed, |hash, text| xxh3_64_with_seed(text, hash))
}

/// The role of a message, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    System,
    User,
    Other,
}

/// The unread rest of canonical JSON.
struct JsonCursor<'a>(&'a [u8]);

impl<'a> JsonCursor<'a> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == byte).then_some(())
    }

    /// Reads the end of an object or array, or skips the comma before its next element.
    fn at_end(&mut self, end: u8) -> bool {
        match self.0.split_first() {
            Some((&b',', rest)) => {
                self.0 = rest;
                false
            }
            Some((&first, rest)) if first == end => {
                self.0 = rest;
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// The raw text between the quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let end = string_end(self.0)?;
        let (text, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(text)
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        let bytes = self.0;
        let mut depth = 0_usize;
        let mut at = 0;
        loop {
            match bytes.get(at)? {
                b'"' => at += 2 + string_end(bytes.get(at + 1..)?)?,
                b'{' | b'[' => {
                    depth += 1;
                    at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    at += 1;
                }
                _ => at += 1,
            }
            if depth == 0 && matches!(bytes.get(at), None | Some(b',' | b'}' | b']')) {
                let (value, rest) = bytes.split_at_checked(at)?;
                self.0 = rest;
                return Some(value);
            }
        }
    }

    /// The elements of an array of messages with their roles.
    fn messages(&mut self) -> Option<Vec<(Role, &'a [u8])>> {
        let mut messages = Vec::new();
        self.expect(b'[')?;
        while !self.at_end(b']') {
            let from = self.0;
            let mut role = Role::Other;
            if from.first() == Some(&b'{') {
                self.expect(b'{')?;
                while !self.at_end(b'}') {
                    let name = self.string()?;
                    self.expect(b':')?;
                    let value = self.value()?;
                    if name == b"role" {
                        role = match value {
                            b"\"system\"" | b"\"developer\"" => Role::System,
                            b"\"user\"" => Role::User,
                            _ => Role::Other,
                        };
                    }
                }
            } else {
                self.value()?;
            }
            let length = from.len().checked_sub(self.0.len())?;
            messages.push((role, from.get(..length)?));
        }
        Some(messages)
    }
}

/// The end of a string whose opening quote was read.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes
            .get(at..)?
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\'))?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}
