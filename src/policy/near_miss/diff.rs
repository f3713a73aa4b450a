//! The differences between two requests, for display.

use serde_json::Value;

use super::kind;
use super::parts::{Parts, Turn};
use crate::event::{DiffKind, FieldDiff};
use crate::policy::fingerprint::RequestKey;
use crate::text::SafeText;

/// Differences that are described.
const MAX_DIFFS: usize = 4;
/// Characters of the stored prompt.
const PROMPT_CHARS: usize = 80;
/// Characters of an excerpt, which `kind` has shortened by graphemes before.
const EXCERPT_CHARS: usize = 160;
/// Characters of the name of a field.
const NAME_CHARS: usize = 40;

/// The differences between a request and a stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestDiff {
    /// The start of the stored prompt, at most 80 characters; empty if it is another user's and differs.
    pub prompt: SafeText,
    /// At most four differing fields, the most relevant first.
    pub differs: Vec<FieldDiff>,
    /// The number of all differing fields.
    pub fields: u32,
}

/// Compares two requests. Returns `None` if one of them is not a chat request, or if they are equal.
///
/// The texts of another user's request are omitted, except where they are the same.
///
/// Cost: one comparison of the bytes of both, and the texts of at most four fields.
pub fn diff(here: &RequestKey, stored: &RequestKey) -> Option<RequestDiff> {
    let (here, stored) = (Parts::from_key(here)?, Parts::from_key(stored)?);
    let mut fields = differing(&here, &stored);
    if fields.is_empty() {
        return None;
    }
    fields.sort_by_key(Field::rank);
    let foreign = here.user != stored.user;
    let describe = |field: &Field<'_>| {
        let mut diff = field.describe(&here, &stored);
        if foreign && !matches!(field, Field::User) {
            diff.stored = SafeText::default();
        }
        diff
    };
    let prompt = if foreign && here.prompt != stored.prompt {
        SafeText::default()
    } else {
        SafeText::excerpt(&message_text(stored.prompt), PROMPT_CHARS)
    };
    Some(RequestDiff {
        prompt,
        differs: fields.iter().take(MAX_DIFFS).map(describe).collect(),
        fields: u32::try_from(fields.len()).unwrap_or(u32::MAX),
    })
}

/// A field in which two requests differ.
#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    User,
    Key,
    Upstream,
    System,
    Turns,
    Prompt,
    /// Name, and the values if present.
    Body(&'a [u8], Option<&'a [u8]>, Option<&'a [u8]>),
}

fn differing<'a>(here: &Parts<'a>, stored: &Parts<'a>) -> Vec<Field<'a>> {
    let upstream = here.upstream != stored.upstream || here.route != stored.route;
    let fixed = [
        (here.user != stored.user, Field::User),
        (upstream, Field::Upstream),
        (!upstream && here.credential != stored.credential, Field::Key),
        (here.system != stored.system, Field::System),
        (here.turns != stored.turns, Field::Turns),
        (here.prompt != stored.prompt, Field::Prompt),
    ];
    let mut fields: Vec<Field<'a>> = fixed
        .into_iter()
        .filter_map(|(differs, field)| differs.then_some(field))
        .collect();
    // both are sorted by name
    let (mut ours, mut theirs) = (here.body.iter().peekable(), stored.body.iter().peekable());
    loop {
        let field = match (ours.peek(), theirs.peek()) {
            (Some((a, x)), Some((b, y))) if a == b => {
                let same = x == y;
                let field = Field::Body(a, Some(x), Some(y));
                ours.next();
                theirs.next();
                if same {
                    continue;
                }
                field
            }
            (Some((a, x)), other) if other.is_none_or(|(b, _)| a < b) => {
                let field = Field::Body(a, Some(x), None);
                ours.next();
                field
            }
            (_, Some((b, y))) => {
                let field = Field::Body(b, None, Some(y));
                theirs.next();
                field
            }
            (_, None) => return fields,
        };
        fields.push(field);
    }
}

impl Field<'_> {
    /// Order of relevance: differences that can be fixed come first, a different prompt last.
    fn rank(&self) -> u8 {
        match self {
            Self::User => 0,
            Self::Upstream | Self::Key => 1,
            Self::Body(b"model", ..) => 2,
            Self::System => 3,
            Self::Body(b"tools", ..) => 4,
            Self::Body(..) => 5,
            Self::Turns => 6,
            Self::Prompt => 7,
        }
    }

    fn name(&self) -> SafeText {
        match self {
            Self::User => "user".into(),
            Self::Upstream => "upstream".into(),
            Self::Key => "API key".into(),
            Self::System => "system prompt".into(),
            Self::Turns => "earlier turns".into(),
            Self::Prompt => "prompt".into(),
            Self::Body(name, ..) => {
                let quoted = [b"\"", *name, b"\""].concat();
                let name = serde_json::from_slice::<String>(&quoted).unwrap_or_default();
                SafeText::excerpt(&name, NAME_CHARS)
            }
        }
    }

    fn describe(&self, here: &Parts<'_>, stored: &Parts<'_>) -> FieldDiff {
        let field = self.name();
        match self {
            Self::Key => field_diff(field, DiffKind::Value, "", ""),
            Self::User => field_diff(field, DiffKind::Value, &lossy(here.user), &lossy(stored.user)),
            Self::Upstream => {
                let address = |parts: &Parts<'_>| format!("{}/{}", lossy(parts.upstream), lossy(parts.route));
                field_diff(field, DiffKind::Value, &address(here), &address(stored))
            }
            Self::System => {
                let order = is_permuted(&here.system, &stored.system);
                text_diff(field, &joined(&here.system), &joined(&stored.system), order)
            }
            Self::Turns => {
                let order = is_permuted(&here.turns, &stored.turns);
                text_diff(field, &transcript(&here.turns), &transcript(&stored.turns), order)
            }
            Self::Prompt => {
                let (mut a, mut b) = (message_text(here.prompt), message_text(stored.prompt));
                if a == b {
                    // the same text, and another image or name
                    (a, b) = (lossy(here.prompt), lossy(stored.prompt));
                }
                text_diff(field, &a, &b, false)
            }
            Self::Body(_, here, stored) => value_diff(field, *here, *stored),
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn field_diff(field: SafeText, how: DiffKind, here: &str, stored: &str) -> FieldDiff {
    let (here, stored) = kind::excerpts(here, stored, how);
    FieldDiff {
        field,
        how,
        here: SafeText::excerpt(&here, EXCERPT_CHARS),
        stored: SafeText::excerpt(&stored, EXCERPT_CHARS),
    }
}

/// The difference of two texts; an empty text counts as absent.
fn text_diff(field: SafeText, here: &str, stored: &str, order: bool) -> FieldDiff {
    let how = match (here.is_empty(), stored.is_empty()) {
        (false, true) => DiffKind::Added,
        (true, false) => DiffKind::Missing,
        _ if order => DiffKind::Order,
        _ => kind::diff_kind(here, stored),
    };
    field_diff(field, how, here, stored)
}

/// The difference of two values of a field of the body.
fn value_diff(field: SafeText, here: Option<&[u8]>, stored: Option<&[u8]>) -> FieldDiff {
    let parsed = |bytes: Option<&[u8]>| bytes.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let text = |value: &Option<Value>, bytes: Option<&[u8]>| match value {
        Some(Value::String(text)) => text.clone(),
        _ => lossy(bytes.unwrap_or_default()),
    };
    let (mut ours, mut theirs) = (parsed(here), parsed(stored));
    let (a, b) = (text(&ours, here), text(&theirs, stored));
    let how = match (&ours, &theirs) {
        (Some(_), None) => DiffKind::Added,
        (None, Some(_)) => DiffKind::Missing,
        (Some(Value::Number(_)), Some(Value::Number(_))) => DiffKind::Number,
        (Some(Value::String(_)), Some(Value::String(_))) => kind::diff_kind(&a, &b),
        (Some(Value::Array(_) | Value::Object(_)), Some(Value::Array(_) | Value::Object(_))) => {
            let names = (tool_names(ours.as_ref()), tool_names(theirs.as_ref()));
            ours.iter_mut().chain(&mut theirs).for_each(sort_arrays);
            if ours == theirs {
                let (a, b) = match names {
                    (Some(ours), Some(theirs)) if ours != theirs => (ours, theirs),
                    _ => (a, b),
                };
                return text_diff(field, &a, &b, true);
            }
            kind::diff_kind(&a, &b)
        }
        _ => DiffKind::Value,
    };
    field_diff(field, how, &a, &b)
}

/// The names of tools: `weather, clock`.
fn tool_names(value: Option<&Value>) -> Option<String> {
    let tools = value?.as_array()?.iter();
    let names: Option<Vec<&str>> = tools.map(|tool| tool["function"]["name"].as_str()).collect();
    names.map(|names| names.join(", "))
}

/// Sorts every array, so that the order does not count.
fn sort_arrays(value: &mut Value) {
    match value {
        Value::Array(values) => {
            values.iter_mut().for_each(sort_arrays);
            values.sort_by_cached_key(Value::to_string);
        }
        Value::Object(fields) => fields.values_mut().for_each(sort_arrays),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_permuted<T: Ord + Copy>(a: &[T], b: &[T]) -> bool {
    let sorted = |list: &[T]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    a.len() == b.len() && sorted(a) == sorted(b)
}

/// The texts of messages, one per line.
fn joined(messages: &[&[u8]]) -> String {
    let texts: Vec<String> = messages.iter().map(|message| message_text(message)).collect();
    texts.join("\n")
}

/// Messages with their roles, and markers for those described elsewhere.
fn transcript(turns: &[Turn<'_>]) -> String {
    let lines = turns.iter().map(|turn| match turn {
        Turn::Message(message) => {
            let role = serde_json::from_slice::<Value>(message)
                .ok()
                .and_then(|message| Some(message["role"].as_str()?.to_owned()))
                .unwrap_or_default();
            format!("{role}: {}", message_text(message))
        }
        Turn::System => "(system prompt)".to_owned(),
        Turn::Prompt => "(prompt)".to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text of a message; the raw message if it has none.
fn message_text(message: &[u8]) -> String {
    if message.is_empty() {
        return String::new();
    }
    let text = match serde_json::from_slice::<Value>(message) {
        Ok(mut value) => match value["content"].take() {
            Value::String(text) => Some(text),
            Value::Array(parts) => {
                let texts: Option<Vec<&str>> = parts.iter().map(|part| part["text"].as_str()).collect();
                texts.map(|texts| texts.join("\n"))
            }
            _ => None,
        },
        Err(_) => None,
    };
    text.filter(|text| !text.is_empty())
        .unwrap_or_else(|| lossy(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::{ChatRequest, Message};
    use crate::policy::near_miss::tests::key_of;
    use serde_json::json;

    fn key(request: &ChatRequest) -> RequestKey {
        key_of("ana", request)
    }

    /// Each difference as `field how here | stored`.
    fn described(here: &RequestKey, stored: &RequestKey) -> Vec<String> {
        let difference = diff(here, stored).unwrap();
        let describe = |one: &FieldDiff| {
            let how = format!("{:?}", one.how).to_lowercase();
            let (here, stored) = (one.here.as_str(), one.stored.as_str());
            format!("{} {how}: {here} | {stored}", one.field.as_str())
        };
        difference.differs.iter().map(describe).collect()
    }

    fn asked(system: &str, prompt: &str) -> ChatRequest {
        ChatRequest::new([Message::system(system), Message::user(prompt)])
            .model("m")
            .temperature(0.0)
    }

    #[test]
    fn a_time_in_the_system_prompt_is_found_and_shown() {
        let here = key(&asked("You help. It is 10:32:01.", "hi"));
        let stored = key(&asked("You help. It is 10:35:59.", "hi"));
        assert_eq!(
            described(&here, &stored),
            ["system prompt time: You help. It is 10:32:01. | You help. It is 10:35:59."]
        );
        assert_eq!(diff(&here, &here), None);
        assert_eq!(diff(&here, &stored).unwrap().prompt.as_str(), "hi");
    }

    #[test]
    fn each_field_is_named_and_the_most_relevant_comes_first() {
        let plain = asked("s", "hi").max_tokens(9);
        let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
        let here = plain
            .clone()
            .temperature(0.5)
            .with("tools", json!([tool("clock"), tool("weather")]))
            .with("stop", json!(["a"]));
        let stored = plain
            .with("tools", json!([tool("weather"), tool("clock")]))
            .with("seed", 4);
        assert_eq!(
            described(&key(&here), &key(&stored)),
            [
                "tools order: clock, weather | weather, clock",
                "seed missing:  | 4",
                "stop added: [\"a\"] | ",
                "temperature number: 0.5 | 0"
            ]
        );
        let both = diff(&key(&here), &key(&asked("other", "ho").max_tokens(9))).unwrap();
        assert_eq!((both.fields, both.differs.len()), (5, 4));
    }

    #[test]
    fn a_conversation_differs_in_its_earlier_turns() {
        let alone = ChatRequest::prompt("hi");
        let longer = ChatRequest::new([Message::user("ho"), Message::assistant("he"), Message::user("hi")]);
        assert_eq!(
            described(&key(&longer), &key(&alone)),
            ["earlier turns added: user: ho assistant: he | "]
        );
        let swapped = ChatRequest::new([Message::assistant("he"), Message::user("ho"), Message::user("hi")]);
        assert_eq!(
            described(&key(&longer), &key(&swapped)),
            ["earlier turns order: user: ho assistant: he | assistant: he user: ho"]
        );
        let behind = ChatRequest::new([Message::user("hi"), Message::system("s")]);
        let before = ChatRequest::new([Message::system("s"), Message::user("hi")]);
        assert_eq!(
            described(&key(&behind), &key(&before)),
            ["earlier turns added: (prompt) (system prompt) | "]
        );
    }

    #[test]
    fn the_texts_of_another_user_are_not_shown() {
        let here = key_of("ana", &asked("s", "hi"));
        let same = diff(&here, &key_of("ben", &asked("s", "hi"))).unwrap();
        assert_eq!(
            described(&here, &key_of("ben", &asked("s", "hi"))),
            ["user value: ana | ben"]
        );
        assert_eq!(same.prompt.as_str(), "hi");
        let secret = key_of("ben", &asked("the secret", "my secret"));
        let other = diff(&here, &secret).unwrap();
        assert_eq!(other.fields, 3);
        assert!(!format!("{other:?}").contains("secret"), "{other:?}");
    }

    #[test]
    fn hostile_texts_become_printable_and_short() {
        let here = key(&asked(&"\u{1b}]0;x\u{7}\u{202e}".repeat(500), "p"));
        let stored = key(&asked(&format!("{}e", "\u{301}".repeat(5000)), "p").with("\u{1b}[2J", 1));
        for one in diff(&here, &stored).unwrap().differs {
            for text in [&one.field, &one.here, &one.stored] {
                assert!(text.chars().count() <= EXCERPT_CHARS, "{text:?}");
                assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
            }
        }
    }

    #[test]
    fn a_different_image_is_a_different_prompt() {
        let with = |url: &str| {
            let picture = json!({"type": "image_url", "image_url": {"url": url}});
            ChatRequest::try_from(json!({"messages": [{"role": "user", "content": [picture]}]})).unwrap()
        };
        let described = described(&key(&with("http://a/1.png")), &key(&with("http://a/2.png")));
        assert!(described[0].starts_with("prompt "), "{described:?}");
        assert!(
            described[0].contains("1.png") && described[0].contains("2.png"),
            "{described:?}"
        );
    }
}
