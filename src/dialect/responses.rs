//! OpenAI's responses: named events, `response.completed` with the whole answer as the end.

use serde_json::{Map, Value, json};

use super::{ErrorText, Reading, WireFormat, openai_error, set, texts_of, user_messages};
use crate::openai::Message;

pub(super) struct Responses;

impl WireFormat for Responses {
    fn view(&self, body: &mut Map<String, Value>) {
        let input = body.get("input").map(texts_of).unwrap_or_default();
        let mut messages = user_messages(input);
        if let (Some(Value::String(text)), Value::Array(messages)) = (body.get("instructions"), &mut messages)
        {
            messages.insert(0, Message::system(text.clone()).into());
        }
        set(body, "messages", messages);
        if let Some(limit) = body.get("max_output_tokens").cloned() {
            set(body, "max_tokens", limit);
        }
    }

    fn read(&self, name: &str, mut value: Value) -> Reading {
        let kind = value["type"].as_str().unwrap_or(name).to_owned();
        let delta = |delta: Value| Reading::chunk(json!({ "choices": [{ "index": 0, "delta": delta }] }));
        match kind.as_str() {
            "response.output_text.delta" => delta(json!({ "content": value["delta"] })),
            "response.refusal.delta" => delta(json!({ "refusal": value["delta"] })),
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                delta(json!({ "reasoning_content": value["delta"] }))
            }
            "response.output_item.added" if value["item"]["type"] == "function_call" => {
                delta(json!({ "tool_calls": [call(&value["output_index"], &value["item"], "")] }))
            }
            "response.function_call_arguments.delta" => delta(json!({ "tool_calls": [{
                "index": value["output_index"],
                "function": { "arguments": value["delta"] },
            }] })),
            "response.completed" | "response.incomplete" => {
                let response = value["response"].take();
                Reading {
                    chunk: json!({
                        "model": response["model"],
                        "id": response["id"],
                        "usage": response["usage"],
                        "choices": [{ "index": 0, "delta": {}, "finish_reason": finish_reason(&response) }],
                    }),
                    done: true,
                }
            }
            "response.failed" => Reading::chunk(json!({ "error": value["response"]["error"] })),
            "error" => Reading::chunk(value),
            _ if value["object"] == "response" => Reading::chunk(whole(&value)),
            _ if value.get("error").is_some_and(|error| !error.is_null()) => Reading::chunk(value),
            _ => Reading::default(),
        }
    }

    fn error(&self, error: &ErrorText<'_>) -> Value {
        openai_error(error)
    }

    /// With a nested object besides the documented members: SDKs take an event without one for just another event.
    fn stream_error(&self, error: &ErrorText<'_>) -> Value {
        let mut event = openai_error(error);
        event["type"] = json!("error");
        event["code"] = json!(error.code);
        event["message"] = json!(error.message);
        event
    }

    fn error_event(&self) -> Option<&'static str> {
        Some("error")
    }
}

fn call(index: &Value, item: &Value, arguments: &str) -> Value {
    json!({
        "index": index,
        "id": item["call_id"],
        "type": "function",
        "function": { "name": item["name"], "arguments": arguments },
    })
}

/// The items of an answer's `output` of one type.
fn items<'a>(response: &'a Value, kind: &'a str) -> impl Iterator<Item = (usize, &'a Value)> {
    let output = response["output"].as_array().map_or(&[][..], Vec::as_slice);
    output
        .iter()
        .enumerate()
        .filter(move |(_, item)| item["type"] == kind)
}

/// The finish reason in the words of chat completions; none while the answer is not complete.
fn finish_reason(response: &Value) -> Option<&'static str> {
    let called = items(response, "function_call").next().is_some();
    match response["status"].as_str() {
        Some("completed") if called => Some("tool_calls"),
        Some("completed") => Some("stop"),
        Some("incomplete") => match response["incomplete_details"]["reason"].as_str() {
            Some("content_filter") => Some("content_filter"),
            _ => Some("length"),
        },
        _ => None,
    }
}

fn whole(response: &Value) -> Value {
    if !response["error"].is_null() {
        return json!({ "error": response["error"] });
    }
    let parts = |field: &str| -> String {
        items(response, "message")
            .flat_map(|(_, item)| item["content"].as_array().into_iter().flatten())
            .filter_map(|part| part[field].as_str())
            .collect()
    };
    let mut message = json!({ "content": parts("text"), "refusal": parts("refusal") });
    let calls: Vec<Value> = items(response, "function_call")
        .map(|(index, item)| call(&json!(index), item, item["arguments"].as_str().unwrap_or("{}")))
        .collect();
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    json!({
        "model": response["model"],
        "id": response["id"],
        "usage": response["usage"],
        "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason(response) }],
    })
}
