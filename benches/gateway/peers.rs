//! The measures: an upstream with fixed answers, a proxy that does nothing, and a server with one answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Content events of a stream.
pub(crate) const EVENTS: usize = 200;

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"mock","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog, and the dog does not mind at all."},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":420,"completion_tokens":20,"total_tokens":440}}"#;
const DELTA: &str = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"mock","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}"#;
const LAST: &str = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"mock","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

type AnyBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// A chat request of 1 KB with these further fields.
pub(crate) fn chat(fields: &str) -> Bytes {
    let prompt = "Summarise the incident report for the engineer on call and keep the timeline. ".repeat(11);
    format!(r#"{{"model":"mock",{fields},"messages":[{{"role":"user","content":"{prompt}"}}]}}"#).into()
}

/// A runtime on all cores, as the gateway has it.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// An OpenAI-compatible server whose streams come as fast as they are read, an event a write.
pub(crate) fn upstream() -> SocketAddr {
    serve(|request: Request<Incoming>| async move {
        let body = request.into_body().collect().await?.to_bytes();
        let is_stream = memchr::memmem::find(&body, b"\"stream\":true").is_some();
        let (kind, body) = if is_stream {
            let events = (0..=EVENTS).map(|place| if place < EVENTS { DELTA } else { LAST });
            let events = events.map(|event| format!("data: {event}\n\n"));
            let events = events
                .chain(["data: [DONE]\n\n".to_owned()])
                .map(Bytes::from)
                .rev()
                .collect();
            (
                "text/event-stream",
                Events(events).map_err(|never| match never {}).boxed_unsync(),
            )
        } else {
            ("application/json", full(ANSWER))
        };
        Ok(Response::builder()
            .header("content-type", kind)
            .body(body)
            .expect("a response"))
    })
}

/// A server that answers each request from memory.
pub(crate) fn canned() -> SocketAddr {
    serve(|request: Request<Incoming>| async move {
        request.into_body().collect().await?;
        let response = Response::builder().header("content-type", "application/json");
        Ok(response.body(full(ANSWER)).expect("a response"))
    })
}

/// A proxy that passes requests and responses on, with kept connections.
pub(crate) fn proxy(upstream: SocketAddr) -> SocketAddr {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    serve(move |mut request: Request<Incoming>| {
        let client = client.clone();
        async move {
            let path = request.uri().path().to_owned();
            *request.uri_mut() = format!("http://{upstream}{path}")
                .parse::<Uri>()
                .expect("an address");
            request.headers_mut().remove("host");
            let response = client.request(request).await.expect("a response");
            Ok(response.map(http_body_util::BodyExt::boxed_unsync))
        }
    })
}

/// Serves on a port of its own, in a runtime that lives as long as the process.
fn serve<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> SocketAddr
where
    F: Future<Output = Result<Response<AnyBody>, hyper::Error>> + Send + 'static,
{
    let runtime = Box::leak(Box::new(runtime()));
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let answer = answer.clone();
            tokio::spawn(async move {
                let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
                drop(served.await);
            });
        }
    });
    address
}

fn full(text: &'static str) -> AnyBody {
    Full::new(Bytes::from_static(text.as_bytes()))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Events in reverse, each flushed by itself.
struct Events(Vec<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(|event| Ok(Frame::data(event))))
    }
}
