//! Responses of the routes, with the error messages of llama-server.

use serde_json::{Value, json};

use super::{MODEL, reply, script::ChatSpec};
use crate::openai::ChatRequest;
use crate::time::unix_seconds;

/// The context size in tokens, prompt and answer together.
const CONTEXT: u64 = 8192;

/// A status and a JSON body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

/// An error in llama-server's form.
pub(super) fn error(status: u16, kind: &str, message: impl Into<String>) -> Answer {
    let message: String = message.into();
    Answer {
        status,
        body: json!({ "error": { "code": status, "message": message, "type": kind } }),
    }
}

/// The error of a server without a free slot.
pub(super) fn busy(message: &str) -> Answer {
    error(503, "unavailable_error", message)
}

/// The error for an unknown path or a wrong method, which llama-server does not distinguish.
pub(super) fn not_found() -> Answer {
    error(404, "not_found_error", "File Not Found")
}

/// The response of a route other than chat and embeddings; `None` for an unknown route.
pub(super) fn route(method: &::http::Method, path: &str) -> Option<Answer> {
    if !matches!(*method, ::http::Method::GET | ::http::Method::HEAD) {
        return None;
    }
    let body = match path {
        "/health" | "/v1/health" => json!({ "status": "ok" }),
        "/v1/models" | "/models" => models(),
        "/props" => props(),
        _ => return None,
    };
    Some(Answer { status: 200, body })
}

fn models() -> Value {
    json!({
        "object": "list",
        "models": [{
            "name": MODEL, "model": MODEL, "modified_at": "", "size": "", "digest": "", "type": "model",
            "description": "seawall's built-in simulator: written answers, no model", "tags": [""],
            "capabilities": ["completion"], "parameters": "",
        }],
        "data": [{
            "id": MODEL, "aliases": [MODEL], "tags": [], "object": "model", "created": unix_seconds(),
            "owned_by": "seawall", "meta": { "n_ctx": CONTEXT, "n_ctx_train": CONTEXT },
        }],
    })
}

fn props() -> Value {
    json!({
        "default_generation_settings": { "params": { "max_tokens": -1, "stream": false }, "n_ctx": CONTEXT },
        "total_slots": 1024,
        "model_alias": MODEL,
        "model_path": MODEL,
        "modalities": { "vision": false, "video": false, "audio": false },
        "endpoint_slots": false,
        "endpoint_props": false,
        "endpoint_metrics": false,
        "chat_template": "",
        "build_info": concat!("seawall ", env!("CARGO_PKG_VERSION")),
        "is_sleeping": false,
    })
}

/// Parses the body of a chat request; the error is llama-server's response.
pub(super) fn parse_chat(body: &[u8]) -> Result<ChatSpec, Answer> {
    let value: Value = serde_json::from_slice(body).map_err(|error| bad_json(body, &error))?;
    check(&value)?;
    let request = ChatRequest::try_from(value)
        .map_err(|reason| error(400, "invalid_request_error", reason.to_string()))?;
    let prompt_tokens = request.estimated_prompt_tokens();
    if prompt_tokens >= CONTEXT {
        return Err(too_long(prompt_tokens));
    }
    Ok(chat_spec(&request, prompt_tokens))
}

/// Extracts what the answer to a valid request depends on.
pub(super) fn chat_spec(request: &ChatRequest, prompt_tokens: u64) -> ChatSpec {
    // llama-server returns one token for a limit of 0 and ignores a negative limit
    let limit = request.token_limit().unwrap_or(u64::MAX).max(1);
    ChatSpec {
        text: reply::answer(&request.last_user_text()),
        prompt_tokens,
        limit: limit.min(CONTEXT.saturating_sub(prompt_tokens)),
        stream: request.is_stream(),
        usage: request
            .get("stream_options")
            .is_some_and(|options| options["include_usage"] == true),
        created: unix_seconds(),
    }
}

/// The checks of llama-server, with its messages, in its order.
fn check(value: &Value) -> Result<(), Answer> {
    let bad = |message: String| Err(error(400, "invalid_request_error", message));
    let messages = match value.get("messages") {
        None => return bad("'messages' is required".into()),
        Some(Value::Array(messages)) => messages,
        Some(_) => return bad("Expected 'messages' to be an array".into()),
    };
    for message in messages {
        if message.get("role").is_none() {
            let text = format!("Failed to parse messages: Missing 'role' in message: {message}");
            return Err(error(500, "server_error", text));
        }
        let parts = message["content"].as_array().map_or(&[][..], Vec::as_slice);
        if parts.iter().any(|part| part["type"] == "image_url") {
            let text = "image input is not supported - hint: if this is unexpected, you may need to provide \
                        the mmproj";
            return Err(error(500, "server_error", text));
        }
    }
    let numbers = ["temperature", "max_tokens", "max_completion_tokens", "n"].map(|field| (field, "number"));
    for (field, wanted) in numbers.into_iter().chain([("stream", "boolean")]) {
        let found = type_name(&value[field]);
        if found != wanted && found != "null" {
            return bad(format!(
                "Field '{field}': [json.exception.type_error.302] type must be {wanted}, but is {found}"
            ));
        }
    }
    match value["n"].as_i64() {
        Some(count) if count != 1 => bad(format!(
            "Field 'n': Value must be between 1 <= value <= 1, but got {count}"
        )),
        _ => Ok(()),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// llama-server's response to malformed JSON: status 500 with the message of its JSON library.
pub(super) fn bad_json(body: &[u8], reason: &serde_json::Error) -> Answer {
    let detail = if body.is_empty() {
        "attempting to parse an empty input; check that your input string or stream contains the expected JSON"
            .to_owned()
    } else {
        let found = body
            .split(|byte| *byte == b'\n')
            .nth(reason.line().saturating_sub(1))
            .and_then(|line| line.get(reason.column().saturating_sub(1)))
            .filter(|byte| byte.is_ascii_graphic());
        match found {
            Some(found) => format!(
                "syntax error while parsing value - unexpected '{}'; expected '[', '{{', or a literal",
                char::from(*found)
            ),
            None => "syntax error while parsing value - unexpected end of input".to_owned(),
        }
    };
    let (line, column) = (reason.line().max(1), reason.column().max(1));
    error(
        500,
        "server_error",
        format!("[json.exception.parse_error.101] parse error at line {line}, column {column}: {detail}"),
    )
}

fn too_long(prompt_tokens: u64) -> Answer {
    let mut answer = error(
        400,
        "exceed_context_size_error",
        format!(
            "request ({prompt_tokens} tokens) exceeds the available context size ({CONTEXT} tokens), try \
             increasing it"
        ),
    );
    answer.body["error"]["n_prompt_tokens"] = prompt_tokens.into();
    answer.body["error"]["n_ctx"] = CONTEXT.into();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests and errors as captured from llama-server.
    #[test]
    fn errors_are_those_of_llama_server() {
        let parse = "[json.exception.parse_error.101] parse error at line 1, column";
        let kind = "[json.exception.type_error.302] type must be number, but is string";
        let cases = [
            (
                r#"{"messages": [}"#,
                500,
                format!(
                    "{parse} 15: syntax error while parsing value - unexpected '}}'; expected '[', '{{', or a literal"
                ),
            ),
            (
                "",
                500,
                format!(
                    "{parse} 1: attempting to parse an empty input; check that your input string or stream contains the expected JSON"
                ),
            ),
            ("{}", 400, "'messages' is required".into()),
            (
                r#"{"messages":"hi"}"#,
                400,
                "Expected 'messages' to be an array".into(),
            ),
            (
                r#"{"messages":[{"content":"x"}]}"#,
                500,
                r#"Failed to parse messages: Missing 'role' in message: {"content":"x"}"#.into(),
            ),
            (
                r#"{"messages":[],"temperature":"hot"}"#,
                400,
                format!("Field 'temperature': {kind}"),
            ),
            (
                r#"{"messages":[],"max_tokens":"5"}"#,
                400,
                format!("Field 'max_tokens': {kind}"),
            ),
            (
                r#"{"messages":[],"n":2}"#,
                400,
                "Field 'n': Value must be between 1 <= value <= 1, but got 2".into(),
            ),
        ];
        for (body, status, message) in cases {
            let answer = parse_chat(body.as_bytes()).unwrap_err();
            assert_eq!(
                (answer.status, &answer.body["error"]["message"]),
                (status, &json!(message))
            );
            assert_eq!(answer.body["error"]["code"], status);
        }
    }

    #[test]
    fn the_error_for_a_long_prompt_gives_its_length() {
        let body = json!({ "messages": [{ "role": "user", "content": "x".repeat(4 * 9000) }] });
        let answer = parse_chat(body.to_string().as_bytes()).unwrap_err();
        let error = &answer.body["error"];
        assert_eq!(
            (answer.status, &error["type"]),
            (400, &json!("exceed_context_size_error"))
        );
        assert_eq!(
            (&error["n_prompt_tokens"], &error["n_ctx"]),
            (&json!(9004), &json!(8192))
        );
    }

    #[test]
    fn what_llama_server_accepts_is_accepted() {
        for body in [
            r#"{"messages":[],"model":"nope"}"#,
            r#"{"messages":[{"role":"pirate","content":"x"}]}"#,
            r#"{"messages":[],"max_tokens":0,"temperature":null,"stream":null}"#,
            r#"{"messages":[],"max_tokens":-1,"n":1}"#,
        ] {
            assert!(parse_chat(body.as_bytes()).is_ok(), "{body}");
        }
        assert_eq!(parse_chat(br#"{"messages":[],"max_tokens":0}"#).unwrap().limit, 1);
        assert_eq!(
            parse_chat(br#"{"messages":[],"max_tokens":-1}"#).unwrap().limit,
            CONTEXT
        );
    }
}
