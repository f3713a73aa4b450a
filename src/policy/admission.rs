//! Admission to the cache: which requests may be looked up, and which answers may be stored.
//!
//! Lookup asks if the caller expects the same answer again; storing asks if the answer is complete, valid and
//! from the requested model. Without the second check a cache serves error pages and truncated answers for its
//! whole TTL (docs/semantics.md, Admission).

use serde_json::Value;

use crate::event::{BypassReason, Finish, SkipReason};
use crate::openai::ChatRequest;
use crate::settings::CacheSettings;

/// Decides if the cache may be used for this request.
///
/// Only a request that *states* that it wants one fixed answer, by temperature 0 or a seed, may be looked up.
/// **An omitted temperature is the server's default, usually 1, and never 0.** With `opted_in` the caller
/// accepts a repeated answer; with `fresh` it does not this time, although the new answer may be stored.
pub(crate) fn lookup_allowed(
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
        Err(BypassReason::FreshRequested)
    } else {
        Ok(())
    }
}

/// Returns true if the request asks for one fixed answer: temperature exactly 0, in any notation, or a seed.
pub(crate) fn is_deterministic(request: &ChatRequest) -> bool {
    let cold = request
        .get("temperature")
        .and_then(Value::as_f64)
        .is_some_and(|temperature| temperature == 0.0);
    cold || request.get("seed").is_some_and(is_fixed_seed)
}

/// Returns true for an integer other than -1 and 2^32-1: llama-server draws a random seed for these two.
fn is_fixed_seed(seed: &Value) -> bool {
    match seed.as_i64() {
        Some(seed) => seed != -1 && seed != i64::from(u32::MAX),
        None => seed.is_u64(),
    }
}

/// A complete answer that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreCandidate<'a> {
    pub(crate) finish: Finish,
    /// Size of the entry: `Cache::entry_bytes`.
    pub(crate) bytes: u64,
    /// True if it has neither text nor tool calls; reasoning alone is not an answer.
    pub(crate) empty: bool,
    /// True if invalid UTF-8 in it was replaced.
    pub(crate) bad_text: bool,
    pub(crate) requested_model: Option<&'a str>,
    /// The model named in the response.
    pub(crate) response_model: Option<&'a str>,
    /// True if the upstream's list of models contains the requested one; false while no list is known.
    pub(crate) model_listed: bool,
}

/// Decides if the answer may be stored. Returns the most serious reason against it.
///
/// Only `Stop`, `Length` and `ToolCalls` prove that an answer is complete. `Unknown` is good enough for the caller
/// that waits, but not for later calls.
pub(crate) fn may_store(settings: &CacheSettings, answer: &StoreCandidate<'_>) -> Result<(), SkipReason> {
    if answer.bad_text {
        return Err(SkipReason::BadText);
    }
    match answer.finish {
        Finish::Stop | Finish::Length | Finish::ToolCalls => {}
        Finish::ContentFilter | Finish::Refusal => return Err(SkipReason::Filtered),
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

/// Returns true if an upstream that distinguishes models answered with another one than requested.
///
/// llama-server with one model ignores the requested name and answers with its own: a path, or its `--alias`.
/// The caller gets such an answer every time, and the key contains the requested name, so it may be stored. If
/// the upstream's own list contains the requested name, another name in the answer means that a router fell back
/// to another model.
fn is_other_model(answer: &StoreCandidate<'_>) -> bool {
    match (answer.requested_model, answer.response_model) {
        (Some(requested), Some(response)) if answer.model_listed && !response.is_empty() => {
            !is_same_model(requested, response)
        }
        _ => false,
    }
}

/// Returns true if two names may refer to one model. Ignores case, a leading folder or provider, a file
/// extension and a snapshot date (`openai/gpt-4o` and `gpt-4o-2024-08-06`, but not `gpt-4o-mini`).
fn is_same_model(a: &str, b: &str) -> bool {
    let (a, b) = (model_base(a), model_base(b));
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short.as_str()).is_some_and(is_snapshot)
}

/// The name without folder, extension and `latest`.
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

/// Returns true for an empty suffix, or a separator and at least four digits.
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
    fn only_temperature_zero_or_a_fixed_seed_is_deterministic() {
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
    fn a_bypass_has_a_reason() {
        use BypassReason::{FreshRequested, NotDeterministic, Off};
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
            (&on, &cold, false, true, Err(FreshRequested)),
            (&on, &warm, false, false, Err(NotDeterministic)),
            (&on, &warm, false, true, Err(NotDeterministic)),
            (&on, &warm, true, false, Ok(())),
            (&on, &warm, true, true, Err(FreshRequested)),
            (&all, &warm, false, false, Ok(())),
            (&off, &cold, true, false, Err(Off)),
            (&off, &cold, true, true, Err(Off)),
        ];
        for (n, (settings, request, opted_in, fresh, expected)) in table.into_iter().enumerate() {
            let answer = lookup_allowed(settings, request, opted_in, fresh);
            assert_eq!(answer, expected, "row {n}");
        }
    }

    const GOOD: StoreCandidate<'_> = StoreCandidate {
        finish: Finish::Stop,
        bytes: 100,
        empty: false,
        bad_text: false,
        requested_model: None,
        response_model: None,
        model_listed: false,
    };

    #[test]
    fn only_complete_valid_answers_are_stored() {
        let settings = CacheSettings {
            max_entry_bytes: 100,
            ..CacheSettings::default()
        };
        let finish = |finish| StoreCandidate { finish, ..GOOD };
        let table = [
            (GOOD, Ok(())),
            (finish(Finish::Length), Ok(())),
            (finish(Finish::ToolCalls), Ok(())),
            (finish(Finish::Unknown), Err(SkipReason::Incomplete)),
            (finish(Finish::ContentFilter), Err(SkipReason::Filtered)),
            (StoreCandidate { empty: true, ..GOOD }, Err(SkipReason::Empty)),
            (StoreCandidate { bytes: 101, ..GOOD }, Err(SkipReason::TooLarge)),
            (
                StoreCandidate {
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
    fn another_model_is_skipped_only_if_the_upstream_lists_the_requested_one() {
        let table = [
            // llama-server: the answer names a path or an alias, whatever was requested
            (Some("x"), Some("/models/x.gguf"), false, true),
            (Some("gpt-4o"), Some("/models/tiny.gguf"), false, true),
            (Some("x"), Some("my-alias"), false, true),
            (None, Some("/models/x.gguf"), true, true),
            (Some("x"), None, true, true),
            (Some("x"), Some(""), true, true),
            // the upstream lists the name
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
        for (requested_model, response_model, model_listed, stored) in table {
            let answer = StoreCandidate {
                requested_model,
                response_model,
                model_listed,
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
        /// Any names, non-ASCII included: no panic, and symmetric.
        #[test]
        fn is_same_model_is_symmetric(a in "\\PC{0,12}", b in "\\PC{0,12}", digits in "[0-9-]{4,8}") {
            prop_assert_eq!(is_same_model(&a, &b), is_same_model(&b, &a));
            prop_assert!(is_same_model(&a, &a));
            let snapshot = format!("{}-{digits}", model_base(&a));
            prop_assert!(is_same_model(&model_base(&a), &snapshot));
        }
    }
}
