//! The compatibility key of the semantic cache: a request without the text of its prompt.
//!
//! Two prompts are compared by meaning only if all else is equal: tenant, credential, upstream, model, system
//! prompt, earlier turns, tools, response format, sampling. So the key is the canonical request without the text
//! of the last message; every other field counts, known or not. The structure of that message counts too (one
//! string, or a list of parts with their fields).

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use super::{Fingerprint, RequestKey, Scope, push_body, push_scope};
use crate::openai::ChatRequest;

/// Distinct from the domain of requests: no key of one kind equals one of the other.
const DOMAIN: &[u8] = b"seawall/around\x01";

impl RequestKey {
    /// Returns the key of the request without its prompt, and the prompt. `None` if there is no prompt to
    /// compare: the last message is not the user's, has content other than text, or has no text.
    pub fn without_prompt(scope: &Scope<'_>, request: &ChatRequest) -> Option<(Self, String)> {
        scope.with_parts(|parts| around(parts, request.body()))
    }

    /// The same for a request of which only the key is known.
    pub fn prompt_removed(&self) -> Option<(Self, String)> {
        let (scope, body) = self.split()?;
        around(scope, &serde_json::from_slice(body).ok()?)
    }

    /// Returns the prompt of a request, read from its key; the same as [`without_prompt`](Self::without_prompt)
    /// returns.
    pub fn prompt(&self) -> Option<String> {
        let (_, body) = self.split()?;
        let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let (prompt, _) = take_text(body.get("messages")?.as_array()?.last()?)?;
        Some(prompt)
    }
}

/// The key of a request without its prompt, and the prompt.
fn around(scope: [&[u8]; 4], body: &Map<String, Value>) -> Option<(RequestKey, String)> {
    let (last, earlier) = body.get("messages")?.as_array()?.split_last()?;
    let (prompt, emptied) = take_text(last)?;
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(DOMAIN);
    push_scope(&mut out, scope);
    push_body(&mut out, body, Some((earlier, &emptied)));
    let key = RequestKey {
        fingerprint: Fingerprint(xxh3_128(&out)),
        canonical: out.into(),
    };
    Some((key, prompt))
}

/// Returns the text of a user message, and the message without it.
fn take_text(message: &Value) -> Option<(String, Value)> {
    let fields = message.as_object()?;
    if fields.get("role")? != "user" {
        return None;
    }
    let (prompt, content) = match fields.get("content")? {
        Value::String(text) => (text.clone(), Value::from("")),
        Value::Array(parts) => {
            let mut texts = Vec::with_capacity(parts.len());
            let mut emptied = Vec::with_capacity(parts.len());
            for part in parts {
                let mut part = part.as_object()?.clone();
                if part.get("type")? != "text" {
                    return None;
                }
                match part.insert("text".to_owned(), "".into())? {
                    Value::String(text) => texts.push(text),
                    _ => return None,
                }
                emptied.push(Value::Object(part));
            }
            (texts.join("\n"), Value::Array(emptied))
        }
        _ => return None,
    };
    let mut emptied = fields.clone();
    emptied.insert("content".to_owned(), content);
    (!prompt.trim().is_empty()).then_some((prompt, Value::Object(emptied)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::UserId;

    fn key_of(user: &str, body: Value) -> Option<(RequestKey, String)> {
        let user = UserId::new(user);
        let scope = Scope {
            user: &user,
            credential: 7,
            upstream: "http://a",
            route: "chat/completions",
        };
        let Value::Object(fields) = body else {
            panic!("not an object");
        };
        let request = fields
            .into_iter()
            .fold(ChatRequest::new([]), |request, (field, value)| {
                request.with(&field, value)
            });
        let context = RequestKey::without_prompt(&scope, &request);
        let full = RequestKey::new(&scope, &request);
        // all ways of reading the prompt agree
        assert_eq!(full.prompt_removed(), context);
        assert_eq!(full.prompt(), context.as_ref().map(|(_, prompt)| prompt.clone()));
        assert!(context.as_ref().is_none_or(|(key, _)| *key != full));
        context
    }

    fn ask(content: impl Into<Value>) -> Value {
        json!({ "model": "m", "temperature": 0, "messages": [{ "role": "user", "content": content.into() }] })
    }

    #[test]
    fn every_field_counts_except_the_text_of_the_last_message() {
        let (one, prompt) = key_of("ana", ask("What is a wave?")).unwrap();
        let (other, _) = key_of("ana", ask("What \"is\"\na tide?")).unwrap();
        assert_eq!((one.clone(), prompt.as_str()), (other, "What is a wave?"));
        // ignored fields do not count here either
        let mut filed = ask("x");
        filed["metadata"] = json!({ "trace": 1 });
        assert_eq!(key_of("ana", filed).unwrap().0, one);

        let with = |field: &str, value: Value| {
            let mut body = ask("What is a wave?");
            body[field] = value;
            key_of("ana", body).unwrap().0
        };
        let mut turns = ask("What is a wave?");
        let message = turns["messages"][0].clone();
        turns["messages"] = json!([{ "role": "system", "content": "Be brief." }, message]);
        let others = [
            key_of("ben", ask("What is a wave?")).unwrap().0,
            with("model", json!("n")),
            with("temperature", json!(0.5)),
            with("max_tokens", json!(5)),
            with("seed", json!(5)),
            with("tools", json!([])),
            with("response_format", json!({ "type": "json_object" })),
            with("an_unknown_field", json!(null)),
            key_of("ana", turns).unwrap().0,
            key_of("ana", ask(json!([{ "type": "text", "text": "What is a wave?" }])))
                .unwrap()
                .0,
        ];
        for (n, other) in others.iter().enumerate() {
            assert_ne!(*other, one, "row {n}");
            assert!(others.iter().skip(n + 1).all(|next| next != other), "row {n}");
        }
    }

    #[test]
    fn text_parts_are_joined_and_their_other_fields_count() {
        let parts = |a: &str, b: &str| json!([{ "type": "text", "text": a }, { "type": "text", "text": b }]);
        let (one, prompt) = key_of("ana", ask(parts("a", "b"))).unwrap();
        let (other, _) = key_of("ana", ask(parts("c", "d"))).unwrap();
        assert_eq!((&one, prompt.as_str()), (&other, "a\nb"));
        let marked = json!([
            { "type": "text", "text": "a", "cache_control": "x" },
            { "type": "text", "text": "b" },
        ]);
        assert_ne!(key_of("ana", ask(marked)).unwrap().0, one);
    }

    #[test]
    fn a_last_message_that_is_not_user_text_has_no_key() {
        let image = json!([{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": {} }]);
        let no_text = json!([{ "type": "text" }]);
        let rows = [
            ask(image),
            ask(no_text),
            ask(json!([{ "type": "text", "text": 5 }])),
            ask(""),
            ask(" \n"),
            ask(json!([])),
            ask(json!(null)),
            json!({ "messages": [] }),
            json!({ "messages": ["hi"] }),
            json!({ "messages": [{ "role": "assistant", "content": "hi" }] }),
            json!({ "messages": [{ "role": "user", "content": "hi" }, { "role": "tool", "content": "5" }] }),
        ];
        for body in rows {
            assert_eq!(key_of("ana", body.clone()), None, "{body}");
        }
    }
}
