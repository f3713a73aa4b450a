//! What may be looked up and what may be stored.
//!
//! Two questions, asked at two times. Before: does the caller expect the same answer again? After: is this
//! answer whole, clean, and from the model that was asked? A cache that is filled before the second question
//! serves error pages and half sentences for as long as its TTL (semantics 1.9, 3.3).

use serde_json::Value;

use crate::event::{BypassReason, Finish, SkipReason};
use crate::openai::ChatRequest;
use crate::settings::CacheSettings;

/// Whether the cache may be asked, and later filled, for this request.
///
/// Only a request that *says* that it wants one certain answer: temperature 0, or a seed. **An omitted
/// temperature is the server's default, usually 1, and never 0.** `opted_in` is the caller's word that a
/// repeated answer is fine; `fresh` that it is not this time, which the answer may still be stored for.
pub fn lookup_allowed(
    settings: &CacheSettings,
    request: &ChatRequest,
    opted_in: bool,
    fresh: bool,
) -> Result<(), BypassReason> {
    if !settings.enabled {
        Err(BypassReason::Off)
    } else if !(opted_in || settings.store_all || is_deterministic(request)) {
        Err(BypassReason::NotDeterministic)
    } else if fresh {
        Err(BypassReason::Asked)
    } else {
        Ok(())
    }
}

/// Whether the request asks for one certain answer: temperature exactly 0, however it is written, or a seed.
pub fn is_deterministic(request: &ChatRequest) -> bool {
    let cold = request
        .get("temperature")
        .and_then(Value::as_f64)
        .is_some_and(|temperature| temperature == 0.0);
    cold || request.get("seed").is_some_and(is_fixed_seed)
}

/// A whole number, but neither -1 nor 2^32-1: llama-server draws a new seed for these two.
fn is_fixed_seed(seed: &Value) -> bool {
    match seed.as_i64() {
        Some(seed) => seed != -1 && seed != i64::from(u32::MAX),
        None => seed.is_u64(),
    }
}

/// A complete answer that might be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Why it ended.
    pub finish: Finish,
    /// What it would take in the cache: `Cache::entry_bytes`.
    pub bytes: u64,
    /// Whether there is no answer in it: neither text nor tool calls. Reasoning alone is no answer.
    pub empty: bool,
    /// Whether bytes of it were no UTF-8 and had to be replaced.
    pub bad_text: bool,
    /// The model asked for.
    pub asked: Option<&'a str>,
    /// The model that answered, by its own word.
    pub answered: Option<&'a str>,
    /// Whether the upstream's list of models has the one asked for; false while no list is known.
    pub listed: bool,
}

/// Whether the answer may be stored. The first reason against it, in the order of how bad it is.
///
/// Only `Stop`, `Length` and `ToolCalls` prove a whole answer. `Unknown` (`[DONE]` without a reason) is good
/// enough for the caller who waits, and not for the next thousand.
pub fn may_store(settings: &CacheSettings, answer: &Candidate<'_>) -> Result<(), SkipReason> {
    if answer.bad_text {
        return Err(SkipReason::BadText);
    }
    match answer.finish {
        Finish::Stop | Finish::Length | Finish::ToolCalls => {}
        Finish::ContentFilter => return Err(SkipReason::Filtered),
        Finish::Unknown => return Err(SkipReason::Incomplete),
    }
    if answer.empty {
        Err(SkipReason::Empty)
    } else if answer.bytes > settings.max_entry_bytes {
        Err(SkipReason::TooLarge)
    } else if is_other_model(answer) {
        Err(SkipReason::OtherModel)
    } else {
        Ok(())
    }
}

/// Whether an upstream that tells models apart answered with another one than was asked for.
///
/// llama-server with one model ignores the name it is asked for and answers with its own: a path, or its
/// `--alias`. Such an answer is what the caller will get every time, and the key holds the name asked for,
/// so storing it is right. An upstream *whose own list has the name* has no such excuse: another name in the
/// answer means that a router fell back to another model, for now.
fn is_other_model(answer: &Candidate<'_>) -> bool {
    match (answer.asked, answer.answered) {
        (Some(asked), Some(answered)) if answer.listed && !answered.is_empty() => {
            !is_same_model(asked, answered)
        }
        _ => false,
    }
}

/// Whether two names may mean one model: equal but for case, a folder or provider in front, the ending of a
/// file, and the date of a snapshot (`openai/gpt-4o` and `gpt-4o-2024-08-06`, but not `gpt-4o-mini`).
fn is_same_model(a: &str, b: &str) -> bool {
    let (a, b) = (model_base(a), model_base(b));
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short.as_str()).is_some_and(is_snapshot)
}

/// The part of a model's name that names the model.
fn model_base(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let mut base = file.to_ascii_lowercase();
    for ending in [".gguf", "-latest", ":latest"] {
        if let Some(stem) = base.strip_suffix(ending) {
            base.truncate(stem.len());
        }
    }
    base
}

/// Nothing, or a date or number of at least four digits behind a separator.
fn is_snapshot(suffix: &str) -> bool {
    let Some(digits) = suffix.strip_prefix(['-', '@', ':']) else {
        return suffix.is_empty();
    };
    digits.len() >= 4 && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn request(fields: &Value) -> ChatRequest {
        let fields = fields.as_object().unwrap().clone();
        fields
            .into_iter()
            .fold(ChatRequest::prompt("hi"), |request, (field, value)| {
                request.with(&field, value)
            })
    }

    #[test]
    fn only_an_explicit_zero_or_a_fixed_seed_is_deterministic() {
        let table = [
            (json!({}), false),
            (json!({ "temperature": 0 }), true),
            (json!({ "temperature": 0.0 }), true),
            (json!({ "temperature": -0.0 }), true),
            (json!({ "temperature": 1e-9 }), false),
            (json!({ "temperature": 1 }), false),
            (json!({ "temperature": null }), false),
            (json!({ "temperature": "0" }), false),
            (json!({ "temperature": false }), false),
            (json!({ "temperature": 1, "seed": 7 }), true),
            (json!({ "seed": 0 }), true),
            (json!({ "seed": -2 }), true),
            (json!({ "seed": u64::MAX }), true),
            (json!({ "seed": -1 }), false),
            (json!({ "seed": u32::MAX }), false),
            (json!({ "seed": 1.5 }), false),
            (json!({ "seed": "7" }), false),
            (json!({ "seed": null }), false),
            (json!({ "top_k": 1 }), false),
        ];
        for (fields, expected) in table {
            assert_eq!(is_deterministic(&request(&fields)), expected, "{fields}");
        }
    }

    #[test]
    fn a_bypass_says_why() {
        use BypassReason::{Asked, NotDeterministic, Off};
        let cold = request(&json!({ "temperature": 0 }));
        let warm = request(&json!({}));
        let settings = |enabled, store_all| CacheSettings {
            enabled,
            store_all,
            ..CacheSettings::default()
        };
        let (on, all, off) = (settings(true, false), settings(true, true), settings(false, true));
        let table = [
            (&on, &cold, false, false, Ok(())),
            (&on, &cold, false, true, Err(Asked)),
            (&on, &warm, false, false, Err(NotDeterministic)),
            (&on, &warm, false, true, Err(NotDeterministic)),
            (&on, &warm, true, false, Ok(())),
            (&on, &warm, true, true, Err(Asked)),
            (&all, &warm, false, false, Ok(())),
            (&off, &cold, true, false, Err(Off)),
            (&off, &cold, true, true, Err(Off)),
        ];
        for (n, (settings, request, opted_in, fresh, expected)) in table.into_iter().enumerate() {
            let answer = lookup_allowed(settings, request, opted_in, fresh);
            assert_eq!(answer, expected, "row {n}");
        }
    }

    const GOOD: Candidate<'_> = Candidate {
        finish: Finish::Stop,
        bytes: 100,
        empty: false,
        bad_text: false,
        asked: None,
        answered: None,
        listed: false,
    };

    #[test]
    fn only_whole_clean_answers_are_stored() {
        let settings = CacheSettings {
            max_entry_bytes: 100,
            ..CacheSettings::default()
        };
        let finish = |finish| Candidate { finish, ..GOOD };
        let table = [
            (GOOD, Ok(())),
            (finish(Finish::Length), Ok(())),
            (finish(Finish::ToolCalls), Ok(())),
            (finish(Finish::Unknown), Err(SkipReason::Incomplete)),
            (finish(Finish::ContentFilter), Err(SkipReason::Filtered)),
            (Candidate { empty: true, ..GOOD }, Err(SkipReason::Empty)),
            (Candidate { bytes: 101, ..GOOD }, Err(SkipReason::TooLarge)),
            (
                Candidate {
                    bad_text: true,
                    ..GOOD
                },
                Err(SkipReason::BadText),
            ),
        ];
        for (answer, expected) in table {
            assert_eq!(may_store(&settings, &answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn another_model_is_refused_only_where_names_mean_something() {
        let table = [
            // llama-server: whatever was asked, the answer names a path or an alias
            (Some("x"), Some("/models/x.gguf"), false, true),
            (Some("gpt-4o"), Some("/models/tiny.gguf"), false, true),
            (Some("x"), Some("my-alias"), false, true),
            (None, Some("/models/x.gguf"), true, true),
            (Some("x"), None, true, true),
            (Some("x"), Some(""), true, true),
            // the upstream knows the name
            (Some("x"), Some("x"), true, true),
            (Some("x"), Some("/models/X.gguf"), true, true),
            (Some("/models/x.gguf"), Some("x"), true, true),
            (Some("gpt-4o"), Some("gpt-4o-2024-08-06"), true, true),
            (Some("openai/gpt-4o"), Some("gpt-4o"), true, true),
            (Some("gpt-3.5-turbo"), Some("gpt-3.5-turbo-0125"), true, true),
            (
                Some("claude-3-5-sonnet-latest"),
                Some("claude-3-5-sonnet-20241022"),
                true,
                true,
            ),
            (Some("gpt-4o"), Some("gpt-4o-mini"), true, false),
            (Some("gpt-4"), Some("gpt-4o"), true, false),
            (Some("llama-3"), Some("llama-3-70b"), true, false),
            (Some("gpt-4o"), Some("claude-3-5-sonnet"), true, false),
            (Some("x"), Some("my-alias"), true, false),
        ];
        for (asked, answered, listed, stored) in table {
            let answer = Candidate {
                asked,
                answered,
                listed,
                ..GOOD
            };
            let expected = if stored {
                Ok(())
            } else {
                Err(SkipReason::OtherModel)
            };
            let settings = CacheSettings::default();
            assert_eq!(may_store(&settings, &answer), expected, "{answer:?}");
        }
    }

    proptest! {
        /// Any names at all, non-ASCII included: no panic, and the order of the two does not matter.
        #[test]
        fn being_the_same_model_is_symmetric(a in "\\PC{0,12}", b in "\\PC{0,12}", digits in "[0-9-]{4,8}") {
            prop_assert_eq!(is_same_model(&a, &b), is_same_model(&b, &a));
            prop_assert!(is_same_model(&a, &a));
            let snapshot = format!("{}-{digits}", model_base(&a));
            prop_assert!(is_same_model(&model_base(&a), &snapshot));
        }
    }
}
