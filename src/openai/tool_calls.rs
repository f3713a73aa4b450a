//! Tool calls, merged from the fragments of a stream.
//!
//! OpenAI numbers the calls of an answer by `index` and sends `id` and name with the first fragment only. Other
//! servers leave out the index, number every call 0 (Gemini, Ollama) or count the fragments (Nebius), or draw a new
//! id for each fragment (old vLLM).

use serde_json::{Map, Value, json};

use super::chunk::whole_number;

/// Whole tool calls, as an unstreamed answer holds them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ToolCalls(Vec<ToolCall>);

#[derive(Clone, Debug, Default, PartialEq)]
struct ToolCall {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
    /// The other fields, such as Gemini's thought signature, which must be sent back.
    rest: Map<String, Value>,
}

impl ToolCalls {
    /// Merges a fragment, or a whole call, into the call that it belongs to.
    pub(crate) fn merge(&mut self, fragment: Value) {
        let Value::Object(mut rest) = fragment else { return };
        let index = rest.remove("index").as_ref().and_then(whole_number);
        let id = text(rest.remove("id"));
        let (name, arguments) = match rest.remove("function") {
            Some(Value::Object(mut function)) => {
                let parts = (text(function.remove("name")), text(function.remove("arguments")));
                if !function.is_empty() {
                    rest.insert("function".into(), Value::Object(function));
                }
                parts
            }
            _ => (String::new(), String::new()),
        };
        let is_start = !name.is_empty();
        let is_next = |call: &ToolCall| !arguments.is_empty() && call.is_whole();
        let mut calls = self.0.iter();
        let known = calls.rposition(|call| match index {
            _ if !id.is_empty() && call.id == id => true,
            Some(_) if call.index == index => {
                !is_start
                    || call.name.is_empty()
                    || (id.is_empty() && !is_next(call))
                    || (!id.is_empty() && call.id.is_empty())
            }
            Some(_) => false,
            None => id.is_empty() && !is_start,
        });
        // an index of which no call has begun
        let last = || self.0.len().checked_sub(1).filter(|_| id.is_empty() && !is_start);
        let known = known.or_else(last).unwrap_or(self.0.len());
        if known == self.0.len() {
            self.0.push(ToolCall::default());
        }
        let Some(call) = self.0.get_mut(known) else { return };
        call.index = call.index.or(index);
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        call.arguments.push_str(&arguments);
        merge_fields(&mut call.rest, rest);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The calls in the order of their first fragments.
    pub(crate) fn into_values(self) -> Vec<Value> {
        self.0.into_iter().map(ToolCall::into_value).collect()
    }
}

impl ToolCall {
    /// Returns true if the arguments are a whole JSON object.
    fn is_whole(&self) -> bool {
        serde_json::from_str::<Map<String, Value>>(&self.arguments).is_ok()
    }

    fn into_value(self) -> Value {
        let mut call = self.rest;
        let mut function = Map::from_iter([
            ("name".to_owned(), Value::String(self.name)),
            ("arguments".to_owned(), Value::String(self.arguments)),
        ]);
        if let Some(Value::Object(rest)) = call.remove("function") {
            function.extend(rest);
        }
        if !self.id.is_empty() {
            call.insert("id".into(), self.id.into());
        }
        call.entry("type").or_insert_with(|| json!("function"));
        call.insert("function".into(), Value::Object(function));
        Value::Object(call)
    }
}

/// A string as it is, and an object, which some servers send as arguments, as its JSON.
fn text(value: Option<Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(value) => value.to_string(),
    }
}

/// Merges fields that seawall does not know: lists grow, objects merge, of other values the last one counts.
pub(crate) fn merge_fields(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, new) in from {
        match (into.get_mut(&name), new) {
            (Some(_), Value::Null) => {}
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
            (Some(Value::Object(old)), Value::Object(new)) => merge_fields(old, new),
            (_, new) => drop(into.insert(name, new)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source, fragments, whole calls.
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn cases() -> Vec<(&'static str, Vec<Value>, Vec<Value>)> {
        let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        let part = |arguments: &str| json!({"function": {"arguments": arguments}});
        let at = |index: u64, mut fragment: Value| {
            fragment["index"] = json!(index);
            fragment
        };
        let two = vec![call("a", "f", r#"{"x":1}"#), call("b", "g", "{}")];
        vec![
            (
                "openai",
                vec![
                    at(0, call("a", "f", "")),
                    at(0, part("{\"x\"")),
                    at(1, call("b", "g", "")),
                    at(0, part(":1}")),
                    at(1, part("{}")),
                ],
                two.clone(),
            ),
            (
                "no index",
                vec![
                    call("a", "f", ""),
                    part("{\"x\":"),
                    part("1}"),
                    call("b", "g", "{}"),
                ],
                two.clone(),
            ),
            (
                "gemini: every index is 0",
                vec![at(0, call("a", "f", r#"{"x":1}"#)), at(0, call("b", "g", "{}"))],
                two.clone(),
            ),
            (
                "vllm: a new id in every fragment",
                vec![
                    at(0, call("a", "f", "")),
                    at(0, json!({"id": "z1", "function": {"arguments": "{\"x\":"}})),
                    at(
                        0,
                        json!({"id": "z2", "function": {"name": null, "arguments": "1}"}}),
                    ),
                    at(1, call("b", "g", "{}")),
                ],
                two.clone(),
            ),
            (
                "id repeated, index missing",
                vec![
                    call("a", "f", ""),
                    json!({"id": "a", "function": {"arguments": "{\"x\":1}"}}),
                    call("b", "g", "{}"),
                ],
                two.clone(),
            ),
            (
                "name repeated",
                vec![
                    at(0, call("a", "f", "{\"x\"")),
                    at(0, json!({"function": {"name": "f", "arguments": ":1}"}})),
                    at(1, call("b", "g", "{}")),
                ],
                two.clone(),
            ),
            (
                "arguments as an object",
                vec![
                    json!({"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}),
                    call("b", "g", "{}"),
                ],
                two.clone(),
            ),
            (
                "nebius: an index for every fragment",
                vec![
                    at(0, call("a", "f", "")),
                    at(1, part("{\"x\":")),
                    at(2, part("1}")),
                    at(3, call("b", "g", "{}")),
                ],
                two.clone(),
            ),
            (
                "ollama through a proxy: every index is 0, no ids",
                vec![
                    at(0, json!({"function": {"name": "f", "arguments": "{\"x\":1}"}})),
                    at(0, json!({"function": {"name": "g", "arguments": "{}"}})),
                ],
                vec![
                    json!({"type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}),
                    json!({"type": "function", "function": {"name": "g", "arguments": "{}"}}),
                ],
            ),
            (
                "negative indexes",
                vec![
                    json!({"index": -1, "id": "a", "function": {"name": "f", "arguments": "{\"x\""}}),
                    json!({"index": -1, "function": {"arguments": ":1}"}}),
                    json!({"index": -1, "id": "b", "function": {"name": "g", "arguments": "{}"}}),
                ],
                two,
            ),
            (
                "no id",
                vec![json!({"function": {"name": "f", "arguments": "{}"}})],
                vec![json!({"type": "function", "function": {"name": "f", "arguments": "{}"}})],
            ),
            (
                "a thought signature",
                vec![
                    at(0, call("a", "f", "")),
                    at(
                        0,
                        json!({"extra_content": {"google": {"thought_signature": "s"}}}),
                    ),
                ],
                vec![{
                    let mut call = call("a", "f", "");
                    call["extra_content"] = json!({"google": {"thought_signature": "s"}});
                    call
                }],
            ),
            ("nothing", vec![json!(null), json!("x")], vec![]),
        ]
    }

    #[test]
    fn fragments_become_whole_calls() {
        for (source, fragments, expected) in cases() {
            let mut calls = ToolCalls::default();
            for fragment in fragments {
                calls.merge(fragment);
            }
            assert_eq!(calls.into_values(), expected, "{source}");
        }
    }

    #[test]
    fn unknown_fields_merge() {
        let fields = |value: Value| value.as_object().unwrap().clone();
        let mut into = fields(json!({"id": "a", "logprobs": {"content": [1]}, "n": 1}));
        merge_fields(
            &mut into,
            fields(json!({"logprobs": {"content": [2]}, "n": null, "m": 2, "id": "b"})),
        );
        assert_eq!(
            Value::Object(into),
            json!({"id": "b", "logprobs": {"content": [1, 2]}, "n": 1, "m": 2})
        );
    }
}
