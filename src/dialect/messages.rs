//! Anthropic's messages: named events, content blocks, `message_stop` as the end.

use serde_json::{Map, Value, json};

use super::{ErrorText, Reading, WireFormat, texts_of};
use crate::openai::Message;

pub(super) struct Messages;

impl WireFormat for Messages {
    /// The messages have the shape of chat messages; the system prompt is a field of its own.
    fn view(&self, body: &mut Map<String, Value>) {
        let system = body.get("system").map(texts_of).unwrap_or_default().join("\n");
        let messages = body.entry("messages").or_insert_with(|| Value::Array(Vec::new()));
        if let (Value::Array(messages), false) = (messages, system.is_empty()) {
            messages.insert(0, Message::system(system).into());
        }
    }

    fn read(&self, name: &str, mut value: Value) -> Reading {
        let kind = value["type"].as_str().unwrap_or(name).to_owned();
        let delta = |delta: Value| Reading::chunk(json!({ "choices": [{ "index": 0, "delta": delta }] }));
        match kind.as_str() {
            "message_start" => {
                let message = value["message"].take();
                Reading::chunk(
                    json!({ "model": message["model"], "id": message["id"], "usage": message["usage"] }),
                )
            }
            "content_block_start" => {
                let block = &value["content_block"];
                match block["type"].as_str() {
                    Some("tool_use") => delta(tool_call(&value["index"], block, "")),
                    _ => delta(block_delta(block)),
                }
            }
            "content_block_delta" => {
                let part = value["delta"].take();
                match part["type"].as_str() {
                    Some("input_json_delta") => delta(json!({ "tool_calls": [{
                        "index": value["index"],
                        "function": { "arguments": part["partial_json"] },
                    }] })),
                    _ => delta(block_delta(&part)),
                }
            }
            "message_delta" => Reading::chunk(json!({
                "choices": finish(&value["delta"]["stop_reason"]),
                "usage": value["usage"],
            })),
            "message_stop" => Reading {
                chunk: Value::Null,
                done: true,
            },
            // a whole answer
            "message" => Reading::chunk(json!({
                "model": value["model"],
                "id": value["id"],
                "usage": value["usage"],
                "choices": [whole(&value)],
            })),
            "ping" | "content_block_stop" => Reading::default(),
            // an error, or an event that is not known yet
            _ if value.get("error").is_some() => Reading::chunk(value),
            _ => Reading::default(),
        }
    }

    fn error(&self, error: &ErrorText<'_>) -> Value {
        anthropic_error(error)
    }

    fn error_event(&self) -> Option<&'static str> {
        Some("error")
    }
}

/// The error object of the Anthropic API, with the code as a further member.
pub(super) fn anthropic_error(error: &ErrorText<'_>) -> Value {
    let kind = match error.status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 | 503 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": error.message, "code": error.code } })
}

/// Text or thinking of a block or its delta.
fn block_delta(part: &Value) -> Value {
    let text = |field: &str| part[field].as_str().filter(|text| !text.is_empty());
    match (text("text"), text("thinking")) {
        (Some(text), _) => json!({ "content": text }),
        (None, Some(thinking)) => json!({ "reasoning_content": thinking }),
        (None, None) => json!({}),
    }
}

fn tool_call(index: &Value, block: &Value, arguments: &str) -> Value {
    json!({ "tool_calls": [{
        "index": index,
        "id": block["id"],
        "type": "function",
        "function": { "name": block["name"], "arguments": arguments },
    }] })
}

/// The only choice, with its finish reason in the words of chat completions; none before the end.
fn finish(reason: &Value) -> Value {
    match finish_reason(reason) {
        Some(reason) => json!([{ "index": 0, "delta": {}, "finish_reason": reason }]),
        None => json!([]),
    }
}

fn finish_reason(reason: &Value) -> Option<&str> {
    Some(match reason.as_str()? {
        "end_turn" | "stop_sequence" | "pause_turn" => "stop",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        other => other,
    })
}

fn whole(answer: &Value) -> Value {
    let blocks = answer["content"].as_array().map_or(&[][..], Vec::as_slice);
    let joined =
        |field: &str| -> String { blocks.iter().filter_map(|block| block[field].as_str()).collect() };
    let calls: Vec<Value> = blocks
        .iter()
        .enumerate()
        .filter(|(_, block)| block["type"] == "tool_use")
        .map(|(index, block)| {
            tool_call(&json!(index), block, &block["input"].to_string())["tool_calls"][0].take()
        })
        .collect();
    let mut message = json!({ "content": joined("text"), "reasoning_content": joined("thinking") });
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    json!({ "index": 0, "message": message, "finish_reason": finish_reason(&answer["stop_reason"]) })
}
