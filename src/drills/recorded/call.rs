//! A call as it was recorded, and the request that asks the same again.

use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::client::CallContext;
use crate::event::{CallId, CallOptions, Fate, FlightId, Origin, UserId};
use crate::openai::ChatRequest;
use crate::time::Timestamp;

/// A field that no server knows: it tells requests apart whose recorded words are the same.
const TAG: &str = "seawall_recorded";

/// A call, as far as events tell of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedCall {
    /// Its number.
    pub call: CallId,
    /// When it was made.
    pub at: Timestamp,
    /// Who called.
    pub user: UserId,
    /// What made it.
    pub origin: Origin,
    /// The beginning of its prompt.
    pub prompt: Arc<str>,
    /// A hash of its fingerprint: equal for equal requests.
    pub request: u64,
    /// Whether another request has the same words: a system prompt or an earlier turn differs, or what follows.
    pub(super) twin: bool,
    /// Whether the breaker was closed when it was made.
    pub(super) calm: bool,
    /// The first flight that it began.
    pub(super) flight: Option<FlightId>,
    /// LLM tokens of the whole prompt.
    pub prompt_tokens: u64,
    /// How it was asked.
    pub options: CallOptions,
    /// Its deadline, where it was its own and not that of the settings.
    pub deadline: Option<Duration>,
    /// How it ended.
    pub fate: Option<Fate>,
    /// How long it took.
    pub took: Option<Duration>,
    /// Attempts made while it owned its flight.
    pub attempts: u32,
}

impl RecordedCall {
    /// When the caller left, if it did.
    pub fn left_at(&self) -> Option<Timestamp> {
        let left = self.fate == Some(Fate::Cancelled);
        self.took.filter(|_| left).map(|took| self.at + took)
    }

    /// A request that is treated as the recorded one was. Equal fingerprints make equal requests, different ones
    /// different requests.
    pub fn again(&self) -> ChatRequest {
        let CallOptions {
            answer_limit,
            repeatable,
            stream,
            ..
        } = self.options;
        let mut request = ChatRequest::prompt(self.prompt.as_ref());
        if repeatable {
            request = request.temperature(0.0);
        }
        if let Some(limit) = answer_limit {
            request = request.with("max_tokens", limit);
        }
        if stream {
            request = request
                .with("stream", true)
                .with("stream_options", serde_json::json!({ "include_usage": true }));
        }
        if self.twin {
            request = request.with(TAG, format!("{:016x}", self.request));
        }
        request
    }

    /// A hash of who asks and of all that [`again`](Self::again) would say without a tag.
    pub(super) fn said(&self) -> u64 {
        let CallOptions {
            answer_limit,
            repeatable,
            ..
        } = self.options;
        let [user, prompt] = [self.user.as_str(), &self.prompt].map(|text| xxh3_64(text.as_bytes()));
        let limit = answer_limit.map_or(0, |limit| limit.saturating_add(1));
        let all = [user, prompt, limit, u64::from(repeatable)].map(u64::to_le_bytes);
        xxh3_64(all.as_flattened())
    }

    /// Who asks, and how.
    pub fn context(&self) -> CallContext {
        CallContext {
            user: self.user.clone(),
            origin: self.origin,
            deadline: self.deadline,
            cacheable: false,
            fresh: self.options.fresh,
            idempotency_key: self.options.key.map(|key| format!("{key:016x}")),
            prompt_tokens: Some(self.prompt_tokens),
        }
    }
}
