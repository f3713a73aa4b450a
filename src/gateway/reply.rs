//! Responses to clients: the upstream's bytes, or an error of the dialect.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame};

use super::request::Rejection;
use crate::client::{CacheUse, CallError, CallStream, WireHead, WireResponse, end_to_end};
use crate::dialect::{Dialect, ErrorText};
use crate::event::{FailureClass, Fate, Phase};

/// The body of a response; its error breaks the connection.
pub(super) type ReplyBody = UnsyncBoxBody<Bytes, Broken>;

/// A stream that ended without its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the upstream broke the stream")]
pub(super) struct Broken;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// The longest wait that an upstream may ask of clients, some of which sleep for as long as it says.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Waits for the beginning of a call's response, and passes the rest on as it comes.
pub(super) async fn reply(mut call: CallStream, dialect: Dialect) -> Response<ReplyBody> {
    let Some((head, bytes)) = call.next_wire().await else {
        let mut response = if let Some(Err(error)) = call.end() {
            error_response(error, call.retry_in(), dialect)
        } else {
            // an answer that was stored without its bytes
            let message = "the answer has no bytes to pass on; try again";
            let missing = Rejection::new(StatusCode::BAD_GATEWAY, "seawall_internal", message);
            rejection(&missing, dialect)
        };
        add_facts(response.headers_mut(), &call);
        return response;
    };
    let mut response = Response::new(());
    copy_head(&mut response, &head);
    add_facts(response.headers_mut(), &call);
    let mut read = VecDeque::from([bytes]);
    if let Poll::Ready(next) = poll_fn(|cx| Poll::Ready(call.poll_next_wire(cx))).await {
        read.extend(next.map(|(_, bytes)| bytes));
    }
    // an answer that is complete is sent with its length
    if read.len() == 1 && call.end().is_some_and(|end| end.is_ok()) {
        return response.map(|()| full(read.pop_front().unwrap_or_default()));
    }
    if let Some(work) = call.work() {
        response.extensions_mut().insert(work.clone());
    }
    response.map(|()| Passing::new(call, dialect, read).boxed_unsync())
}

fn copy_head<B>(response: &mut Response<B>, head: &WireHead) {
    *response.status_mut() = head.status;
    let headers = response.headers_mut();
    *headers = end_to_end(&head.headers);
    headers.remove(header::SET_COOKIE);
    headers.remove(SHOULD_RETRY);
}

/// Adds the headers that say what seawall did.
fn add_facts(headers: &mut HeaderMap, call: &CallStream) {
    let (attempts, queued) = call.attempts();
    let used = match call.cache_use() {
        CacheUse::Hit => Cow::Borrowed("hit"),
        CacheUse::Replayed => Cow::Borrowed("hit; repeated idempotency key"),
        CacheUse::Shared => Cow::Borrowed("shared"),
        CacheUse::Semantic => Cow::Borrowed("semantic"),
        CacheUse::Miss(reason) => Cow::Owned(format!("miss; {}", reason.brief())),
        CacheUse::Bypass(reason) => Cow::Owned(format!("bypass; {}", reason.brief())),
        CacheUse::None => Cow::Borrowed("bypass"),
    };
    if let Ok(used) = HeaderValue::try_from(&*used) {
        headers.insert("x-seawall-cache", used);
    }
    headers.insert("x-seawall-call", call.call().0.into());
    headers.insert("x-seawall-attempts", attempts.into());
    let queued = u64::try_from(queued.as_millis()).unwrap_or(u64::MAX);
    headers.insert("x-seawall-queue-ms", queued.into());
}

/// The response to a request that did not become a call.
pub(super) fn rejection(rejection: &Rejection, dialect: Dialect) -> Response<ReplyBody> {
    let text = ErrorText {
        status: rejection.status.as_u16(),
        code: rejection.code,
        message: &rejection.message,
    };
    let mut response = json(rejection.status, dialect.format().error(&text).to_string());
    response
        .headers_mut()
        .insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    response
}

/// The response to a call without an answer: the upstream's own error if it is final, otherwise one of seawall.
fn error_response(error: &CallError, retry_in: Option<Duration>, dialect: Dialect) -> Response<ReplyBody> {
    let failure = &error.failure;
    // another protocol must not begin on the client's connection: `101 Switching Protocols`
    let passes =
        |upstream: &&WireResponse| failure.status.is_some() && !upstream.head.status.is_informational();
    if let Some(upstream) = error.response.as_deref().filter(passes) {
        let body: Bytes = upstream.body.concat().into();
        let mut response = Response::new(full(body));
        copy_head(&mut response, &upstream.head);
        let headers = response.headers_mut();
        // every attempt that may help was made
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        if headers.remove(RETRY_AFTER_MS).is_some() | headers.remove(header::RETRY_AFTER).is_some()
            && let Some(hint) = &failure.hint
        {
            headers.insert(header::RETRY_AFTER, whole_seconds(hint.wait, MAX_RETRY_AFTER));
        }
        return response;
    }
    let (status, code) = status_of(error, dialect);
    let message = failure.message.to_string();
    let text = ErrorText {
        status: status.as_u16(),
        code,
        message: &message,
    };
    let mut response = json(status, dialect.format().error(&text).to_string());
    let is_ours =
        matches!(error.fate, Fate::RateLimited | Fate::CircuitOpen) && failure.phase != Phase::Final;
    let headers = response.headers_mut();
    if is_ours {
        let wait = retry_in.unwrap_or_default();
        headers.insert(header::RETRY_AFTER, whole_seconds(wait, Duration::from_hours(1)));
    } else {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

/// A wait as a whole number of at least 1, because clients hammer at 0.
fn whole_seconds(wait: Duration, most: Duration) -> HeaderValue {
    let wait = wait.clamp(Duration::from_secs(1), most);
    HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

fn status_of(error: &CallError, dialect: Dialect) -> (StatusCode, &'static str) {
    let failure = &error.failure;
    match (error.fate, failure.class) {
        (Fate::RateLimited, _) if failure.phase == Phase::Final => {
            (StatusCode::PAYLOAD_TOO_LARGE, "seawall_too_large")
        }
        (Fate::RateLimited, _) => (StatusCode::TOO_MANY_REQUESTS, "seawall_rate_limited"),
        (Fate::Cancelled, _) => (StatusCode::SERVICE_UNAVAILABLE, "seawall_cancelled"),
        (Fate::CircuitOpen, _) => (StatusCode::SERVICE_UNAVAILABLE, "seawall_circuit_open"),
        (_, FailureClass::Deadline) => (StatusCode::GATEWAY_TIMEOUT, "seawall_deadline"),
        (_, class) if failure.status.is_some() => {
            (status_of_error_event(class, dialect), "seawall_upstream_failed")
        }
        (_, FailureClass::Invalid) => (StatusCode::UNPROCESSABLE_ENTITY, "seawall_invalid_request"),
        (_, FailureClass::Internal) => (StatusCode::INTERNAL_SERVER_ERROR, "seawall_internal"),
        _ => (StatusCode::BAD_GATEWAY, "seawall_upstream_failed"),
    }
}

/// The status that belongs to an error that came under a success status, before any content. SDKs choose their
/// exception by it.
fn status_of_error_event(class: FailureClass, dialect: Dialect) -> StatusCode {
    use FailureClass as C;
    match class {
        C::RateLimited | C::Quota => StatusCode::TOO_MANY_REQUESTS,
        C::Overloaded if dialect.is_anthropic() => {
            StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        }
        C::Overloaded | C::Unavailable | C::Loading => StatusCode::SERVICE_UNAVAILABLE,
        C::Invalid | C::ContextLength | C::Unsupported => StatusCode::BAD_REQUEST,
        C::Auth => StatusCode::UNAUTHORIZED,
        C::NotFound => StatusCode::NOT_FOUND,
        C::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn json(status: StatusCode, body: String) -> Response<ReplyBody> {
    let mut response = Response::new(full(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn full(body: Bytes) -> ReplyBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// A page with a short text, such as that of `/health`.
pub(super) fn page(text: &'static str) -> Response<ReplyBody> {
    json(StatusCode::OK, text.to_owned())
}

/// The body of a call's response, as it comes.
struct Passing {
    call: CallStream,
    dialect: Dialect,
    /// Bytes that were read before the response began.
    read: VecDeque<Bytes>,
    /// True once the stream is broken.
    broken: bool,
}

impl Passing {
    fn new(call: CallStream, dialect: Dialect, read: VecDeque<Bytes>) -> Self {
        Self {
            call,
            dialect,
            read,
            broken: false,
        }
    }

    /// The last event of a stream that broke.
    fn error_event(&self, end: &CallError) -> Bytes {
        let message = end.failure.message.to_string();
        let text = ErrorText {
            status: 502,
            code: "seawall_stream_broken",
            message: &message,
        };
        let format = self.dialect.format();
        let error = format.stream_error(&text);
        match format.error_event() {
            Some(name) => format!("event: {name}\ndata: {error}\n\n"),
            None => format!("data: {error}\n\n"),
        }
        .into()
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(bytes) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.broken {
            return Poll::Ready(Some(Err(Broken)));
        }
        if let Some((_, bytes)) = ready!(self.call.poll_next_wire(cx)) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let event = match self.call.end() {
            Some(Ok(_)) => return Poll::Ready(None),
            // what passed before its end is a stream in whole events, if the dialect is known
            Some(Err(error)) if self.dialect.is_known() => self.error_event(error),
            Some(Err(_)) | None => Bytes::new(),
        };
        self.broken = true;
        if event.is_empty() {
            return self.poll_frame(cx);
        }
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}
