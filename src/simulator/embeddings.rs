//! `/v1/embeddings`, as llama-server serves it with `--embeddings`. The vectors come from the built-in embedder.

use serde_json::{Value, json};

use super::MODEL;
use super::answer::{Answer, error};
use crate::semantic::lexical;

/// Texts per request.
const MAX_TEXTS: usize = 2048;
/// Tokens per text: llama-server embeds a text in one batch.
const MAX_BATCH_TOKENS: u64 = 2048;

pub(super) fn is_route(path: &str) -> bool {
    matches!(path, "/v1/embeddings" | "/embeddings")
}

/// The response to a request; the error is a response too.
pub(super) fn answer(body: &[u8]) -> Answer {
    embed(body).unwrap_or_else(|error| error)
}

fn embed(body: &[u8]) -> Result<Answer, Answer> {
    let value: Value =
        serde_json::from_slice(body).map_err(|reason| super::answer::bad_json(body, &reason))?;
    let input = value.get("input").or_else(|| value.get("content"));
    let input = input.ok_or_else(|| invalid("\"input\" or \"content\" must be provided"))?;
    let texts: Vec<&str> = match input {
        Value::String(text) => vec![text],
        Value::Array(texts) if (1..=MAX_TEXTS).contains(&texts.len()) => {
            let texts: Option<Vec<&str>> = texts.iter().map(Value::as_str).collect();
            texts.ok_or_else(|| invalid("this server takes \"input\" as texts, not as tokens"))?
        }
        _ => {
            return Err(invalid(
                "\"input\" must be a text, or an array of 1 to 2048 texts",
            ));
        }
    };
    let mut tokens = 0;
    for text in &texts {
        let own = (text.len() as u64).div_ceil(4) + 1;
        if own > MAX_BATCH_TOKENS {
            let message = format!(
                "input ({own} tokens) is too large to process. increase the physical batch size (current batch \
                 size: {MAX_BATCH_TOKENS})"
            );
            return Err(error(500, "server_error", message));
        }
        tokens += own;
    }
    let data: Vec<Value> = { texts.iter().enumerate() }
        .map(|(index, text)| json!({ "embedding": lexical::embed(text), "index": index, "object": "embedding" }))
        .collect();
    let body = json!({
        "model": MODEL,
        "object": "list",
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
        "data": data,
    });
    Ok(Answer { status: 200, body })
}

fn invalid(message: &str) -> Answer {
    error(400, "invalid_request_error", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeds_texts_in_order() {
        let body = json!({ "input": ["the tide", "a red buoy"], "model": "any" }).to_string();
        let Answer { status, body } = answer(body.as_bytes());
        assert_eq!(
            (status, body["object"].as_str(), body["model"].as_str()),
            (200, Some("list"), Some(MODEL))
        );
        for (index, text) in ["the tide", "a red buoy"].iter().enumerate() {
            let one = &body["data"][index];
            assert_eq!(
                (one["index"].as_u64(), one["object"].as_str()),
                (Some(index as u64), Some("embedding"))
            );
            let vector: Vec<f32> = serde_json::from_value(one["embedding"].clone()).unwrap();
            assert_eq!(vector, lexical::embed(text));
        }
        assert_eq!(body["usage"], json!({ "prompt_tokens": 7, "total_tokens": 7 }));
        let single = answer(br#"{"input":"the tide"}"#);
        assert_eq!(single.body["data"][0], body["data"][0]);
    }

    #[test]
    fn errors_match_llama_server() {
        let long = json!({ "input": "tide ".repeat(2_000) }).to_string();
        let rows = [
            ("{}", 400, "\"input\" or \"content\" must be provided"),
            ("{", 500, "parse error"),
            (r#"{"input":[]}"#, 400, "1 to 2048 texts"),
            (r#"{"input":[1,2]}"#, 400, "not as tokens"),
            (r#"{"input":5}"#, 400, "must be a text"),
            (&long, 500, "input (2501 tokens) is too large to process"),
        ];
        for (body, status, message) in rows {
            let rejected = answer(body.as_bytes());
            assert_eq!(rejected.status, status, "{body:.40}");
            let error = rejected.body["error"]["message"].as_str().unwrap();
            assert!(error.contains(message), "{error}");
        }
    }
}
