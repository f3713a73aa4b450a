//! The embedder against a minimal server on a local port.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use url::Url;

use super::*;

/// Answers the requests with `answers`, in order; the channel gets the requests.
fn server(answers: Vec<(u16, String)>) -> (Url, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !is_whole(&request) {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "{request:?}");
                request.extend_from_slice(&buffer[..read]);
            }
            // a test may have dropped the receiver
            drop(sender.send(String::from_utf8(request).unwrap()));
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            // the client may close before the end
            drop(stream.write_all((head + &body).as_bytes()));
        }
    });
    (Url::parse(&url).unwrap(), requests)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn embedder(base: Url, key: Option<&str>) -> HttpEmbedder {
    let config = HttpConfig {
        model: Some("mini".into()),
        api_key: key.map(|key| ApiKey {
            name: "SEAWALL_EMBEDDER_API_KEY".into(),
            secret: key.to_owned().into(),
        }),
        ..HttpConfig::new(base)
    };
    HttpEmbedder::new(&config, Duration::from_secs(5)).unwrap()
}

fn one(numbers: &str) -> (u16, String) {
    (
        200,
        format!(r#"{{"data":[{{"embedding":[{numbers}],"index":0}}]}}"#),
    )
}

#[tokio::test]
async fn sends_an_openai_request_and_normalises_the_vector() {
    let (url, requests) = server(vec![one("3,4")]);
    let embedder = embedder(url, Some("canary.4711.secret"));
    assert_eq!(embedder.embed("a prompt").await.unwrap(), [0.6, 0.8]);
    let request = requests.recv().unwrap();
    assert!(request.starts_with("POST /v1/embeddings HTTP/1.1"), "{request}");
    assert!(
        request.contains("authorization: Bearer canary.4711.secret"),
        "{request}"
    );
    let body: serde_json::Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        body,
        json!({"input": "a prompt", "model": "mini", "encoding_format": "float"})
    );
    assert!(embedder.name().ends_with(" mini"), "{}", embedder.name());
}

#[tokio::test]
async fn rejects_a_change_of_dimensions() {
    let (url, _requests) = server(vec![one("1,0"), one("1,0,0")]);
    let embedder = embedder(url, None);
    embedder.embed("a").await.unwrap();
    let error = embedder.embed("b").await.unwrap_err();
    assert!(error.message.contains("3 dimensions after 2 before"), "{error}");
}

#[tokio::test]
async fn sends_single_texts_if_the_server_rejects_lists() {
    let refusal = (
        400,
        r#"{"error":{"message":"input must be a string"}}"#.to_owned(),
    );
    let (url, requests) = server(vec![refusal, one("1,0"), one("0,1")]);
    let vectors = embedder(url, None).embed_all(&["a", "b"]).await.unwrap();
    assert_eq!(vectors, [[1.0, 0.0], [0.0, 1.0]]);
    let mut inputs = Vec::new();
    for _ in 0..3 {
        let request = requests.recv().unwrap();
        let body: serde_json::Value =
            serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        inputs.push(body["input"].clone());
    }
    assert_eq!(inputs, [json!(["a", "b"]), json!("a"), json!("b")]);
}

#[tokio::test]
async fn errors_name_the_remedy_and_never_the_key() {
    for (status, said, words) in [
        (
            501,
            "This server does not support embeddings. Start it with `--embeddings`",
            "start llama-server with --embeddings",
        ),
        (
            500,
            "Llama model must be created with embedding=True",
            "--embeddings",
        ),
        (400, "Pooling type 'none' is not OAI compatible", "--pooling mean"),
        (
            401,
            "wrong key canary.4711.secret",
            "rejects the key in SEAWALL_EMBEDDER_API_KEY",
        ),
        (404, "no such model", "has no /v1/embeddings"),
        (503, "Loading model", "is loaded"),
        (500, "input (301 tokens) is too large to process", "--ubatch-size"),
        (418, "teapot\u{1b}[31m", "returned 418"),
    ] {
        let body = json!({"error": {"message": said}}).to_string();
        let (url, _requests) = server(vec![(status, body)]);
        let error = embedder(url, Some("canary.4711.secret"))
            .embed("a")
            .await
            .unwrap_err();
        assert!(error.message.contains(words), "{error}");
        assert!(!error.message.contains("canary.4711"), "{error}");
        assert!(!error.message.contains('\u{1b}'), "{error}");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_one_error_for_a_whole_list() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let error = embedder(url, None).embed_all(&["a", "b"]).await.unwrap_err();
    assert!(error.message.contains("nothing listens at 127.0.0.1"), "{error}");
}

#[tokio::test]
async fn rejects_a_response_that_exceeds_the_bound() {
    let (url, _requests) = server(vec![(200, "x".repeat(MAX_RESPONSE_BYTES + 1))]);
    let error = embedder(url, None).embed("a").await.unwrap_err();
    assert!(error.message.contains("sent more than 16777216 bytes"), "{error}");
}
