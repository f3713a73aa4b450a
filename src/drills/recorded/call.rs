//! A recorded call, and the request that sends it again.

use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::client::CallContext;
use crate::event::{CallId, CallOptions, FlightId, ModelName, Origin, UserId};
use crate::openai::ChatRequest;
use crate::time::Timestamp;

/// A request field unknown to every server: it distinguishes requests whose recorded text is equal.
const TAG: &str = "seawall_recorded";

/// A call, as far as its events describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedCall {
    /// The number.
    pub call: CallId,
    /// The time of its start.
    pub at: Timestamp,
    /// The user.
    pub user: UserId,
    /// The origin.
    pub origin: Origin,
    /// The beginning of the prompt.
    pub prompt: Arc<str>,
    /// Hash of the fingerprint: equal for equal requests.
    pub request: u64,
    /// True if a different request has the same text: what differs is a system prompt, an earlier turn or the rest
    /// of the prompt.
    pub(super) needs_tag: bool,
    /// True if the breaker was closed at its start.
    pub(super) breaker_closed: bool,
    /// The first flight that it started.
    pub(super) flight: Option<FlightId>,
    /// LLM tokens of the whole prompt.
    pub prompt_tokens: u64,
    /// The options of the request.
    pub options: CallOptions,
    /// Its deadline, if it differs from that of the policy.
    pub deadline: Option<Duration>,
    /// The time at which its caller cancelled it.
    pub cancelled_at: Option<Timestamp>,
}

impl RecordedCall {
    /// Returns a request that the layers treat like the recorded one. Equal fingerprints give equal requests,
    /// different fingerprints different ones.
    pub fn request(&self) -> ChatRequest {
        let CallOptions {
            answer_limit,
            repeatable,
            stream,
            ..
        } = self.options;
        let mut request = ChatRequest::prompt(self.prompt.as_ref());
        if let Some(model) = &self.options.model {
            request = request.model(model.as_str());
        }
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
        if self.needs_tag {
            request = request.with(TAG, format!("{:016x}", self.request));
        }
        request
    }

    /// A hash of the user and of the content of [`request`](Self::request) without a tag.
    pub(super) fn content_hash(&self) -> u64 {
        let CallOptions {
            answer_limit,
            repeatable,
            ..
        } = self.options;
        let model = self.options.model.as_ref().map_or("", ModelName::as_str);
        let texts = [self.user.as_str(), &self.prompt, model];
        let [user, prompt, model] = texts.map(|text| xxh3_64(text.as_bytes()));
        let limit = answer_limit.map_or(0, |limit| limit.saturating_add(1));
        let all = [user, prompt, model, limit, u64::from(repeatable)].map(u64::to_le_bytes);
        xxh3_64(all.as_flattened())
    }

    /// Returns the context to send it in.
    pub fn context(&self) -> CallContext {
        CallContext {
            user: self.user.clone(),
            // the load itself does not run again, and a call of a load outside its run violates an invariant
            origin: match self.origin {
                Origin::Load { .. } => Origin::Library,
                origin => origin,
            },
            deadline: self.deadline,
            cacheable: false,
            fresh: self.options.fresh,
            no_store: self.options.no_store,
            idempotency_key: self.options.key.map(|key| format!("{key:016x}")),
            prompt_tokens: Some(self.prompt_tokens),
        }
    }
}
