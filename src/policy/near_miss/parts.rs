//! A request taken apart: the fields that are compared, as pieces of its canonical bytes.
//!
//! The body is canonical JSON (`policy::fingerprint` wrote it), so one walk over the bytes finds where each
//! value begins and ends, and nothing is copied. What is not of that form is not taken apart.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::policy::fingerprint::RequestKey;

/// Names of the fields that every request has; an empty one is a value too.
pub(super) const USER: u64 = 1;
const UPSTREAM: u64 = 2;
pub(super) const SYSTEM: u64 = 3;
const TURNS: u64 = 4;
pub(super) const PROMPT: u64 = 5;
/// All fields of the body beyond [`MAX_BODY_FIELDS`].
const OTHERS: u64 = 6;

/// Fields of the body that are told apart. The chat API has some forty; requests use five.
pub(super) const MAX_BODY_FIELDS: usize = 16;

/// The name of a field of the body.
pub(super) fn body_name(name: &[u8]) -> u64 {
    // no collision with the names above that matters: it would take 2^64 tries, or show a wrong field
    xxh3_64(name)
}

/// Whether a request may be without that field.
pub(super) fn may_be_absent(name: u64) -> bool {
    !(USER..=PROMPT).contains(&name)
}

/// A request in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) user: &'a [u8],
    pub(super) credential: &'a [u8],
    pub(super) upstream: &'a [u8],
    pub(super) route: &'a [u8],
    /// Messages with instructions.
    pub(super) system: Vec<&'a [u8]>,
    /// All other messages but the prompt, and where those stood.
    pub(super) turns: Vec<Turn<'a>>,
    /// The last message of the person.
    pub(super) prompt: &'a [u8],
    /// Other fields of the body: name and value, sorted by name.
    pub(super) body: Vec<(&'a [u8], &'a [u8])>,
}

/// A piece of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn<'a> {
    /// A message.
    Message(&'a [u8]),
    /// Here stand messages with instructions.
    System,
    /// Here stands the prompt.
    Prompt,
}

impl<'a> Parts<'a> {
    /// The parts of a request; nothing where the key holds something else.
    pub(super) fn of(key: &'a RequestKey) -> Option<Self> {
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
        let mut walk = Walk(body);
        walk.expect(b'{')?;
        while !walk.closes(b'}') {
            let name = walk.string()?;
            walk.expect(b':')?;
            if name == b"messages" && walk.0.first() == Some(&b'[') {
                parts.converse(&walk.messages()?);
            } else {
                parts.body.push((name, walk.value()?));
            }
        }
        Some(parts)
    }

    /// Sorts messages into instructions, prompt and the rest. No two conversations have the same parts: where
    /// instructions do not come first, or the prompt not last, a mark says where they stood.
    fn converse(&mut self, messages: &[(Role, &'a [u8])]) {
        let last = messages.iter().rposition(|(role, _)| *role == Role::User);
        for (place, &(role, message)) in messages.iter().enumerate() {
            match role {
                Role::System => {
                    self.system.push(message);
                    if self.turns.last() != Some(&Turn::System) {
                        self.turns.push(Turn::System);
                    }
                }
                Role::User if Some(place) == last => {
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

    /// The name and the hash of each field.
    pub(super) fn hashes(&self) -> Vec<(u64, u64)> {
        let upstream = chain([self.credential, self.upstream, self.route], UPSTREAM);
        let turns = self.turns.iter().map(|turn| match turn {
            Turn::Message(message) => message,
            Turn::System => &b"system"[..],
            Turn::Prompt => &b"prompt"[..],
        });
        let mut hashes = vec![
            (USER, chain([self.user], USER)),
            (UPSTREAM, upstream),
            (SYSTEM, chain(self.system.iter().copied(), SYSTEM)),
            (TURNS, chain(turns, TURNS)),
            (PROMPT, chain([self.prompt], PROMPT)),
        ];
        let (told_apart, others) = self
            .body
            .split_at_checked(MAX_BODY_FIELDS)
            .unwrap_or((&self.body, &[]));
        for (name, value) in told_apart {
            let name = body_name(name);
            hashes.push((name, chain([*value], name)));
        }
        if !others.is_empty() {
            let all = others.iter().flat_map(|(name, value)| [*name, *value]);
            hashes.push((OTHERS, chain(all, OTHERS)));
        }
        hashes
    }
}

/// The hash of a list of texts.
fn chain<'a>(texts: impl IntoIterator<Item = &'a [u8]>, name: u64) -> u64 {
    let seed = xxh3_64(&name.to_le_bytes());
    texts
        .into_iter()
        .fold(seed, |hash, text| xxh3_64_with_seed(text, hash))
}

/// Whose a message is, as far as that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    System,
    User,
    Other,
}

/// The rest of canonical JSON.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == byte).then_some(())
    }

    /// Whether an object or array ends here; a comma before the next element is passed over.
    fn closes(&mut self, end: u8) -> bool {
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

    /// What stands between the quotes, as it stands.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let end = string_end(self.0)?;
        let (text, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(text)
    }

    /// A whole value.
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

    /// The elements of an array of messages, with their roles.
    fn messages(&mut self) -> Option<Vec<(Role, &'a [u8])>> {
        let mut messages = Vec::new();
        self.expect(b'[')?;
        while !self.closes(b']') {
            let from = self.0;
            let mut role = Role::Other;
            if from.first() == Some(&b'{') {
                self.expect(b'{')?;
                while !self.closes(b'}') {
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

/// Where the string ends whose opening quote was read.
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
