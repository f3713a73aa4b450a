//! The answer of `/v1/embeddings`, in the shapes servers send it: `{"data":[{"embedding":[..],"index":0}]}`, and the
//! bare list of llama-server's own endpoint.

use serde_json::Value;

/// Numbers of one embedding at most.
const MOST_DIMENSIONS: usize = 65_536;

/// What came of an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// One vector a text, in the order of the texts, each of length 1.
    Vectors(Vec<Vec<f32>>),
    /// Why not: goes on a sentence that begins with who answered.
    Unusable(String),
}

/// Reads an answer to `count` texts.
pub(super) fn read(body: &[u8], count: usize) -> Reply {
    match vectors(body, count) {
        Ok(vectors) => Reply::Vectors(vectors),
        Err(why) => Reply::Unusable(why),
    }
}

fn vectors(body: &[u8], count: usize) -> Result<Vec<Vec<f32>>, String> {
    let answer: Value = serde_json::from_slice(body)
        .map_err(|_| "answered with something that is not JSON: is the URL that of an API?".to_owned())?;
    let items = answer["data"]
        .as_array()
        .or_else(|| answer.as_array())
        .ok_or_else(|| "answered without \"data\": is it an OpenAI-compatible API?".to_owned())?;
    if items.len() != count {
        return Err(format!("sent {} embeddings for {count} texts", items.len()));
    }
    let mut found: Vec<Option<Vec<f32>>> = vec![None; count];
    for (place, item) in items.iter().enumerate() {
        // the order is that of the index, whatever the order of the list
        let index = item["index"].as_u64().map_or(place, |index| index as usize);
        let slot = found
            .get_mut(index)
            .ok_or_else(|| format!("sent an embedding with index {index} for {count} texts"))?;
        *slot = Some(vector(&item["embedding"])?);
    }
    let whole: Option<Vec<Vec<f32>>> = found.into_iter().collect();
    whole.ok_or_else(|| "sent the same index twice".to_owned())
}

fn vector(value: &Value) -> Result<Vec<f32>, String> {
    let numbers = match value {
        Value::Array(numbers) => numbers,
        Value::String(_) => {
            return Err(
                "sent base64 although floats were asked for: use a server that knows encoding_format".into(),
            );
        }
        _ => return Err("sent an item without \"embedding\"".into()),
    };
    // pooling none: a vector for each token. llama-server's own endpoint nests a pooled one too, alone
    let numbers = match numbers.as_slice() {
        [Value::Array(only)] => only,
        [Value::Array(_), ..] => {
            return Err(
                "sends a vector for every token, not one for the text: start llama-server with --pooling mean".into(),
            );
        }
        _ => numbers,
    };
    if numbers.is_empty() || numbers.len() > MOST_DIMENSIONS {
        return Err(format!(
            "sent an embedding of {} numbers: from 1 to {MOST_DIMENSIONS} can be used",
            numbers.len()
        ));
    }
    let mut vector = Vec::with_capacity(numbers.len());
    for number in numbers {
        let number = number
            .as_f64()
            .filter(|number| number.is_finite() && number.abs() < 1e18);
        vector.push(number.ok_or_else(|| "sent an embedding with something that is no number".to_owned())?);
    }
    let length = vector.iter().map(|number| number * number).sum::<f64>().sqrt();
    if length < 1e-12 {
        return Err("sent an embedding that is all zero: is it an embedding model?".into());
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

    fn refusal(body: &str, count: usize) -> String {
        match read(body.as_bytes(), count) {
            Reply::Unusable(why) => why,
            Reply::Vectors(vectors) => panic!("{vectors:?}"),
        }
    }

    #[test]
    fn the_shapes_of_servers_are_read() {
        let vectors = Reply::Vectors(vec![vec![0.6, 0.8], vec![1.0, 0.0]]);
        for body in [
            r#"{"object":"list","data":[{"embedding":[3,4],"index":0},{"embedding":[2.0,0],"index":1}]}"#,
            r#"{"data":[{"embedding":[2,0],"index":1},{"embedding":[3,4],"index":0}]}"#,
            r#"[{"embedding":[[3,4]],"index":0},{"embedding":[[9,0]],"index":1}]"#,
            r#"{"data":[{"embedding":[3,4]},{"embedding":[1,0]}]}"#,
        ] {
            assert_eq!(read(body.as_bytes(), 2), vectors, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_with_a_remedy() {
        for (body, count, words) in [
            ("<html>", 1, "not JSON"),
            ("{}", 1, "OpenAI-compatible"),
            (r#"{"data":[]}"#, 1, "0 embeddings for 1"),
            (r#"{"data":[{"embedding":[[1,2],[3,4]]}]}"#, 1, "--pooling mean"),
            (r#"{"data":[{"embedding":"AACAPw=="}]}"#, 1, "base64"),
            (r#"{"data":[{"embedding":[]}]}"#, 1, "0 numbers"),
            (r#"{"data":[{"embedding":[0,0]}]}"#, 1, "all zero"),
            (r#"{"data":[{"embedding":[1,null]}]}"#, 1, "no number"),
            (r#"{"data":[{"embedding":[1,1e300]}]}"#, 1, "no number"),
            (r#"{"data":[{"x":1}]}"#, 1, "without \"embedding\""),
            (r#"{"data":[{"embedding":[1],"index":7}]}"#, 1, "index 7"),
            (
                r#"{"data":[{"embedding":[1],"index":0},{"embedding":[1],"index":0}]}"#,
                2,
                "twice",
            ),
        ] {
            assert!(
                refusal(body, count).contains(words),
                "{body}: {}",
                refusal(body, count)
            );
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..80), count in 1usize..4) {
            if let Reply::Vectors(vectors) = read(&body, count) {
                prop_assert_eq!(vectors.len(), count);
            }
        }
    }
}
