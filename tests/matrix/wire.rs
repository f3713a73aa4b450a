//! Responses as bytes.

use super::server::{Play, Step};

pub(crate) const ROLE: &str = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}],"model":"m"}"#;
pub(crate) const HEL: &str = r#"{"choices":[{"index":0,"delta":{"content":"hel"},"finish_reason":null}]}"#;
pub(crate) const LO: &str = r#"{"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}"#;
pub(crate) const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
pub(crate) const DONE: &str = "[DONE]";
/// A complete answer, not streamed.
pub(crate) const ANSWER: &str = r#"{"model":"m","choices":[{"message":{"content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;

/// A response with a body of known length. `extra` are header lines with their line ends.
pub(crate) fn response(status: &str, extra: &str, kind: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{extra}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// An error of an API.
pub(crate) fn refusal(status: &str, extra: &str, error: &str) -> Play {
    Play::whole(response(
        status,
        extra,
        "application/json",
        format!("{{\"error\":{error}}}"),
    ))
}

/// A complete answer in one piece.
pub(crate) fn answer() -> Play {
    json(ANSWER)
}

/// A 200 with this body.
pub(crate) fn json(body: impl AsRef<[u8]>) -> Play {
    Play::whole(response("200 OK", "", "application/json", body))
}

/// The head of a chunked stream.
pub(crate) fn head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
}

/// A chunk of the transfer coding.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// The last chunk.
pub(crate) const END: &[u8] = b"0\r\n\r\n";

/// Events as bytes.
pub(crate) fn events(data: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for data in data {
        bytes.extend_from_slice(format!("data: {data}\n\n").as_bytes());
    }
    bytes
}

/// The start of a stream: its head and these events.
pub(crate) fn begun(data: &[&str]) -> Vec<u8> {
    let mut bytes = head();
    if !data.is_empty() {
        bytes.extend(chunk(&events(data)));
    }
    bytes
}

/// A stream with its terminator.
pub(crate) fn stream(data: &[&str]) -> Play {
    let mut bytes = begun(data);
    bytes.extend(END);
    Play::whole(bytes)
}

/// Events and a wrong end.
pub(crate) fn breaks(data: &[&str], step: Step) -> Play {
    Play::then(begun(data), step)
}

/// Events, then the connection is closed.
pub(crate) fn cut(data: &[&str]) -> Play {
    Play::whole(begun(data))
}

/// A complete stream with one chunk per part.
pub(crate) fn in_chunks(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = head();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        bytes.extend(chunk(part));
    }
    bytes.extend(END);
    bytes
}
