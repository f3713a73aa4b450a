//! A small upstream with the answers of a test.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Returns the response to a request in pieces, each one write. Then the connection is closed.
pub(crate) type Answer = dyn Fn(&str) -> Vec<Vec<u8>> + Send + Sync;

/// Serves until the test ends; returns the URL.
pub(crate) fn serve(answer: Arc<Answer>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || exchange(stream, answer.as_ref()));
        }
    });
    url
}

/// A client that disconnects is not an error.
fn exchange(mut stream: TcpStream, answer: &Answer) -> Option<()> {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while !is_whole(&bytes) {
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
    }
    for piece in answer(&String::from_utf8_lossy(&bytes)) {
        stream.write_all(&piece).ok()?;
    }
    Some(())
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        body.len() >= length.unwrap_or(0)
    })
}

/// A response with a length.
pub(crate) fn whole(status: &str, headers: &[u8], body: &str) -> Vec<Vec<u8>> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(headers);
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.as_bytes());
    vec![bytes]
}

/// A stream of these pieces of text, one event and one write each.
pub(crate) fn stream(headers: &[u8], model: &str, finish: &str, pieces: &[String]) -> Vec<Vec<u8>> {
    let mut head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n".to_vec();
    head.extend_from_slice(headers);
    head.extend_from_slice(b"\r\n");
    let event = |delta: serde_json::Value, reason: Option<&str>| {
        let choice = serde_json::json!({ "index": 0, "delta": delta, "finish_reason": reason });
        let chunk = serde_json::json!({ "model": model, "choices": [choice] });
        format!("data: {chunk}\n\n").into_bytes()
    };
    let mut writes = vec![head];
    writes.extend(
        pieces
            .iter()
            .map(|piece| event(serde_json::json!({ "content": piece }), None)),
    );
    writes.push(event(serde_json::json!({}), Some(finish)));
    writes.push(b"data: [DONE]\n\n".to_vec());
    writes
}

/// A response with the list of models.
pub(crate) fn models(names: &[&str]) -> Vec<Vec<u8>> {
    let data: Vec<_> = names
        .iter()
        .map(|name| serde_json::json!({ "id": name }))
        .collect();
    let body = serde_json::json!({ "data": data }).to_string();
    whole("200 OK", b"Content-Type: application/json\r\n", &body)
}
