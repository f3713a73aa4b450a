//! Answers of each dialect, read by the reader of the core.

use serde_json::{Value, json};

use crate::client::{AnswerReader, BodyEnd, Chunk};
use crate::dialect::Dialect;
use crate::event::Finish;

/// Text, reasoning, finish, LLM tokens and number of tool calls of a body.
fn read(dialect: Dialect, body: &str) -> (String, String, Finish, u64, usize) {
    let events = body.starts_with("event:") || body.starts_with("data:");
    let mut reader = AnswerReader::new(events, 1 << 20, 1).with_dialect(dialect);
    let mut chunks = Vec::new();
    for byte in body.as_bytes() {
        reader.push(&[*byte], &mut chunks).unwrap();
    }
    reader.end(BodyEnd::Clean, &mut chunks).unwrap();
    let answer = reader.answer(0);
    let delivered: String = chunks
        .iter()
        .filter_map(|chunk| match chunk {
            Chunk::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(delivered, answer.text);
    (
        answer.text.clone(),
        answer.reasoning.clone(),
        answer.finish,
        answer.usage.total(),
        answer.tool_calls.len(),
    )
}

fn events(events: &[Value]) -> String {
    let line = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(line).collect()
}

fn messages_stream() -> Vec<Value> {
    vec![
        json!({ "type": "message_start", "message": { "id": "msg_1", "model": "claude", "content": [],
            "usage": { "input_tokens": 25, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "thinking", "thinking": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "hm" } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "ping" }),
        json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "text_delta", "text": "Hello" } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "text_delta", "text": "!" } }),
        json!({ "type": "content_block_start", "index": 2, "content_block": { "type": "tool_use", "id": "toolu_1",
            "name": "weather", "input": {} } }),
        json!({ "type": "content_block_delta", "index": 2, "delta": { "type": "input_json_delta",
            "partial_json": "{\"city\":\"Oslo\"}" } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" },
            "usage": { "input_tokens": 25, "output_tokens": 15 } }),
        json!({ "type": "message_stop" }),
    ]
}

#[test]
fn messages_are_read_streamed_and_whole() {
    let streamed = read(Dialect::Messages, &events(&messages_stream()));
    let whole = json!({ "type": "message", "id": "msg_1", "model": "claude", "stop_reason": "tool_use",
        "content": [{ "type": "thinking", "thinking": "hm" }, { "type": "text", "text": "Hello!" },
            { "type": "tool_use", "id": "toolu_1", "name": "weather", "input": { "city": "Oslo" } }],
        "usage": { "input_tokens": 25, "output_tokens": 15 } });
    let expected = ("Hello!".to_owned(), "hm".to_owned(), Finish::ToolCalls, 40, 1);
    assert_eq!(streamed, expected);
    assert_eq!(read(Dialect::Messages, &whole.to_string()), expected);
}

#[test]
fn a_messages_stream_without_its_end_is_truncated() {
    for kept in 1..messages_stream().len() - 2 {
        let body = events(&messages_stream()[..kept]);
        let mut reader = AnswerReader::new(true, 1 << 20, 1).with_dialect(Dialect::Messages);
        let mut chunks = Vec::new();
        reader.push(body.as_bytes(), &mut chunks).unwrap();
        assert!(reader.end(BodyEnd::Clean, &mut chunks).is_err(), "{kept} events");
    }
}

#[test]
fn errors_inside_streams_are_recognised() {
    let cases = [
        (
            Dialect::Messages,
            json!({ "type": "error", "error": { "type": "overloaded_error", "message": "busy" } }),
        ),
        (
            Dialect::Responses,
            json!({ "type": "error", "code": "server_error", "message": "busy" }),
        ),
        (
            Dialect::Responses,
            json!({ "type": "response.failed", "response": { "status": "failed",
            "error": { "code": "server_error", "message": "busy" } } }),
        ),
    ];
    for (dialect, event) in cases {
        let mut reader = AnswerReader::new(true, 1 << 20, 1).with_dialect(dialect);
        let error = reader
            .push(events(&[event]).as_bytes(), &mut Vec::new())
            .unwrap_err();
        assert!(error.to_string().contains("busy"), "{dialect:?}: {error}");
    }
}

#[test]
fn responses_are_read_streamed_and_whole() {
    let response = json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "gpt",
        "error": null,
        "output": [{ "type": "message", "content": [{ "type": "output_text", "text": "Hi there" }] }],
        "usage": { "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 } });
    let stream = events(&[
        json!({ "type": "response.created", "response": { "status": "in_progress", "error": null } }),
        json!({ "type": "response.output_text.delta", "delta": "Hi" }),
        json!({ "type": "response.output_text.delta", "delta": " there" }),
        json!({ "type": "response.output_text.done", "text": "Hi there" }),
        json!({ "type": "response.completed", "response": response }),
    ]);
    let expected = ("Hi there".to_owned(), String::new(), Finish::Stop, 5, 0);
    assert_eq!(read(Dialect::Responses, &stream), expected);
    assert_eq!(read(Dialect::Responses, &response.to_string()), expected);
}

#[test]
fn completions_and_embeddings_are_read() {
    let completion = json!({ "object": "text_completion", "model": "m",
        "choices": [{ "index": 0, "text": "once", "finish_reason": "length" }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 } });
    let expected = ("once".to_owned(), String::new(), Finish::Length, 2, 0);
    assert_eq!(read(Dialect::Completions, &completion.to_string()), expected);
    let embeddings = json!({ "object": "list", "model": "m", "data": [
            { "object": "embedding", "index": 0, "embedding": [0.1, 0.2] },
            { "object": "embedding", "index": 1, "embedding": "AAAA" }],
        "usage": { "prompt_tokens": 8, "total_tokens": 8 } });
    let expected = ("2 vectors".to_owned(), String::new(), Finish::Stop, 8, 0);
    assert_eq!(read(Dialect::Embeddings, &embeddings.to_string()), expected);
}
