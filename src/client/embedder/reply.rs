//! The response of `/v1/embeddings`, in the shapes that servers send: `{"data":[{"embedding":[..],"index":0}]}`,
//! and the bare list of llama-server's own endpoint.

use serde_json::Value;

/// Most dimensions of an embedding.
const MAX_DIMENSIONS: usize = 65_536;

/// Reads the response to `count` texts: one vector per text, in their order, each of length 1. The error continues
/// a sentence that begins with the server.
pub(super) fn read(body: &[u8], count: usize) -> Result<Vec<Vec<f32>>, String> {
    let answer: Value = serde_json::from_slice(body)
        .map_err(|_| "sent a response that is not JSON: check the base URL".to_owned())?;
    let items = answer["data"]
        .as_array()
        .or_else(|| answer.as_array())
        .ok_or_else(|| "sent no \"data\": it may not be an OpenAI-compatible API".to_owned())?;
    if items.len() != count {
        return Err(format!("sent {} embeddings for {count} texts", items.len()));
    }
    let mut by_index: Vec<Option<Vec<f32>>> = vec![None; count];
    for (position, item) in items.iter().enumerate() {
        // the index counts, not the order of the list
        let index = item["index"].as_u64().map_or(position, |index| index as usize);
        let slot = by_index
            .get_mut(index)
            .ok_or_else(|| format!("sent an embedding with index {index} for {count} texts"))?;
        *slot = Some(vector(&item["embedding"])?);
    }
    let whole: Option<Vec<Vec<f32>>> = by_index.into_iter().collect();
    whole.ok_or_else(|| "sent the same index twice".to_owned())
}

fn vector(value: &Value) -> Result<Vec<f32>, String> {
    let numbers = match value {
        Value::Array(numbers) => numbers,
        Value::String(_) => {
            return Err("sent base64 instead of floats: use a server that supports encoding_format".into());
        }
        _ => return Err("sent an item without \"embedding\"".into()),
    };
    // without pooling there is a vector per token. llama-server's own endpoint nests a pooled vector too
    let numbers = match numbers.as_slice() {
        [Value::Array(only)] => only,
        [Value::Array(_), ..] => {
            return Err("sent a vector per token: start llama-server with --pooling mean".into());
        }
        _ => numbers,
    };
    if numbers.is_empty() || numbers.len() > MAX_DIMENSIONS {
        return Err(format!(
            "sent an embedding of {} dimensions (must be 1 to {MAX_DIMENSIONS})",
            numbers.len()
        ));
    }
    let mut vector = Vec::with_capacity(numbers.len());
    for number in numbers {
        let number = number
            .as_f64()
            .filter(|number| number.is_finite() && number.abs() < 1e18);
        vector.push(
            number.ok_or_else(|| "sent an embedding with a value that is not a finite number".to_owned())?,
        );
    }
    let length = vector.iter().map(|number| number * number).sum::<f64>().sqrt();
    if length < 1e-12 {
        return Err("sent an embedding that is all zero: check that it is an embedding model".into());
    }
    Ok(vector
        .into_iter()
        .map(|number| (number / length) as f32)
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rejection(body: &str, count: usize) -> String {
        read(body.as_bytes(), count).unwrap_err()
    }

    #[test]
    fn reads_the_shapes_of_servers() {
        let vectors = vec![vec![0.6, 0.8], vec![1.0, 0.0]];
        for body in [
            r#"{"object":"list","data":[{"embedding":[3,4],"index":0},{"embedding":[2.0,0],"index":1}]}"#,
            r#"{"data":[{"embedding":[2,0],"index":1},{"embedding":[3,4],"index":0}]}"#,
            r#"[{"embedding":[[3,4]],"index":0},{"embedding":[[9,0]],"index":1}]"#,
            r#"{"data":[{"embedding":[3,4]},{"embedding":[1,0]}]}"#,
        ] {
            assert_eq!(read(body.as_bytes(), 2).as_ref(), Ok(&vectors), "{body}");
        }
    }

    #[test]
    fn errors_of_unusable_responses_name_the_remedy() {
        for (body, count, words) in [
            ("<html>", 1, "not JSON"),
            ("{}", 1, "OpenAI-compatible"),
            (r#"{"data":[]}"#, 1, "0 embeddings for 1"),
            (r#"{"data":[{"embedding":[[1,2],[3,4]]}]}"#, 1, "--pooling mean"),
            (r#"{"data":[{"embedding":"AACAPw=="}]}"#, 1, "base64"),
            (r#"{"data":[{"embedding":[]}]}"#, 1, "0 dimensions"),
            (r#"{"data":[{"embedding":[0,0]}]}"#, 1, "all zero"),
            (r#"{"data":[{"embedding":[1,null]}]}"#, 1, "not a finite number"),
            (r#"{"data":[{"embedding":[1,1e300]}]}"#, 1, "not a finite number"),
            (r#"{"data":[{"x":1}]}"#, 1, "without \"embedding\""),
            (r#"{"data":[{"embedding":[1],"index":7}]}"#, 1, "index 7"),
            (
                r#"{"data":[{"embedding":[1],"index":0},{"embedding":[1],"index":0}]}"#,
                2,
                "twice",
            ),
        ] {
            assert!(
                rejection(body, count).contains(words),
                "{body}: {}",
                rejection(body, count)
            );
        }
    }

    proptest! {
        #[test]
        fn accepts_any_response(body in prop::collection::vec(any::<u8>(), 0..80), count in 1usize..4) {
            if let Ok(vectors) = read(&body, count) {
                prop_assert_eq!(vectors.len(), count);
            }
        }
    }
}
