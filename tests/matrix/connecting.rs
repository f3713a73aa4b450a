//! Rows 1 to 7: before the response starts.

use std::time::Duration;

use seawall::client::{CallContext, SendErrorKind};
use seawall::event::{EventKind, FailureClass as C, Phase, Sample};

use crate::rig::{Act, Fake, Rig, patiently, prompt, quick};
use crate::server::{Play, Server, Step};
use crate::table::{Link, Observed, Row};
use crate::tls::Certificate;
use crate::wire::{ANSWER, answer, response};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::fails(1, "connection refused", [answer()], C::Connect, Phase::NotSent)
            .link(Link::NoListener)
            .counts("FFF")
            .says(&["connection refused", "nothing listens at"])
            .also(|seen| {
                let address = seen.url.trim_start_matches("http://");
                assert!(seen.message().contains(address), "{}", seen.message());
                assert_refunded(seen, 3);
            }),
        Row::story(2, "DNS: unknown name or failing resolver, by this machine's resolver", || {
            Box::pin(name_not_found())
        })
        .note("which of the two a name below .invalid gets is the resolver's choice: each is held to its own half of the row"),
        Row::story(2, "DNS: both, from the transport up", || Box::pin(dns_faults())),
        Row::fails(5, "reset before headers", [Play::new([Step::Reset])], C::Reset, Phase::Ambiguous)
            .counts("FF")
            .says(&["HOST closed the connection before it answered", "may have been processed"])
            .also(|seen| {
                assert_may_be_billed(seen);
                assert_eq!(seen.server.connections(), 2);
            }),
        Row::fails(5, "closed before headers", [Play::new([])], C::Reset, Phase::Ambiguous)
            .counts("FF")
            .also(assert_may_be_billed),
        Row::fails(
            5,
            "reset inside the headers",
            [Play::then("HTTP/1.1 200 OK\r\nConte", Step::Reset)],
            C::Reset,
            Phase::Ambiguous,
        )
        .counts("FF")
        .also(assert_may_be_billed),
        Row::story(6, "a kept connection is closed by the server", || {
            Box::pin(stale_connection())
        })
        .note("plain http keeps none, so no request can run into a closing one; with https reqwest does not distinguish a \
               reused connection from a new one, and a reset there is row 5"),
        Row::fails(
            7,
            "stall before the first byte",
            [Play::new([Step::Hang])],
            C::HeaderTimeout,
            Phase::Ambiguous,
        )
        .tune(|policy| policy.timeouts.headers = Duration::from_millis(150))
        .counts("FF")
        .says(&["HOST sent no response within 150ms"])
        .leaves(2)
        .also(assert_may_be_billed),
    ];
    rows.extend(tls_rows());
    rows
}

fn tls_rows() -> Vec<Row> {
    let refused = |fault, certificate, reason: &'static [&'static str]| {
        Row::fails(3, fault, [answer()], C::Tls, Phase::Final)
            .link(Link::Tls(certificate))
            .counts("N")
            .says(reason)
            .leaves(1)
            .also(|seen| {
                assert_eq!(seen.server.requests(), [""; 0], "sent to an untrusted server");
                assert_refunded(seen, 1);
            })
    };
    vec![
        Row::answers(
            3,
            "TLS with a certificate of a private CA that is trusted",
            [answer()],
        )
        .link(Link::Tls(Certificate::Good)),
        refused(
            "TLS: expired",
            Certificate::Expired,
            &["no trusted TLS connection to HOST", "xpired"],
        ),
        refused(
            "TLS: wrong host",
            Certificate::OtherHost,
            &["certificate not valid for name"],
        ),
        refused("TLS: unknown CA", Certificate::UnknownCa, &["UnknownIssuer"]),
        Row::fails(
            3,
            "TLS to a server that speaks plain HTTP",
            [Play::unasked([Step::Write(
                b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            )])],
            C::Tls,
            Phase::Final,
        )
        .link(Link::TlsToPlain)
        .also(|seen| assert_eq!(seen.server.connections(), 1, "no second try in plain text")),
        Row::fails(
            4,
            "TLS handshake: reset",
            [Play::unasked([Step::Reset])],
            C::Connect,
            Phase::NotSent,
        )
        .link(Link::TlsToPlain)
        .counts("FFF")
        .also(|seen| assert_refunded(seen, 3)),
        Row::fails(
            4,
            "TLS handshake: stall",
            [Play::unasked([Step::Hang])],
            C::ConnectTimeout,
            Phase::NotSent,
        )
        .link(Link::TlsToPlain)
        .tune(|policy| policy.timeouts.connect = Duration::from_millis(150))
        .counts("FFF")
        .says(&["connection to HOST timed out"])
        .leaves(3)
        .also(|seen| assert_refunded(seen, 3)),
    ]
}

/// Checks that every attempt was refunded: nothing was sent.
fn assert_refunded(seen: &Observed<'_>, attempts: usize) {
    assert_eq!(seen.settled(), vec![(true, 0); attempts]);
    assert!(seen.retries().iter().all(|retry| !retry.ambiguous));
}

/// Checks that the retry is recorded as ambiguous and the limiter keeps its charge.
pub(crate) fn assert_may_be_billed(seen: &Observed<'_>) {
    let ambiguous: Vec<bool> = seen.retries().iter().map(|retry| retry.ambiguous).collect();
    assert_eq!(ambiguous, [true]);
    for (refunded, charged) in seen.settled() {
        assert!(!refunded && charged > 0);
    }
}

async fn name_not_found() {
    let rig = Rig::new("http://seawall-matrix.invalid:1", quick());
    let error = patiently("the resolver", rig.call().finish()).await.unwrap_err();
    let attempts = rig.count(|kind| matches!(kind, EventKind::AttemptStarted { .. }));
    let unknown = error.failure.message.contains("does not exist");
    let expected = if unknown {
        (C::Dns, Phase::Final, 1)
    } else {
        (C::Dns, Phase::NotSent, 3)
    };
    assert_eq!(
        (error.failure.class, error.failure.phase, attempts),
        expected,
        "{error}"
    );
    assert!(
        error.failure.message.contains("seawall-matrix.invalid:1"),
        "{error}"
    );
    rig.rest().await;
}

async fn dns_faults() {
    for (kind, phase, attempts, says) in [
        (SendErrorKind::DnsUnknown, Phase::Final, 1, "does not exist"),
        (
            SendErrorKind::DnsTemporary,
            Phase::NotSent,
            3,
            "DNS lookup of fake failed",
        ),
    ] {
        let rig = Rig::over(Fake::new([Act::Fail(kind)]), quick());
        let error = rig.call().finish().await.unwrap_err();
        assert_eq!((error.failure.class, error.failure.phase), (C::Dns, phase));
        assert!(error.failure.message.contains(says), "{error}");
        let failed = |kind: &EventKind| {
            matches!(
                kind,
                EventKind::BreakerRecorded {
                    sample: Sample::Failed,
                    ..
                }
            )
        };
        assert_eq!(rig.count(failed), attempts);
        rig.rest().await;
    }
}

/// Two calls to a server that would keep the connection: each has its own.
async fn stale_connection() {
    let head = response("200 OK", "", "application/json", ANSWER);
    let server = Server::start(vec![Play::then(head, Step::Next), answer()]).await;
    let rig = Rig::new(&server.url(), quick());
    let fresh = || CallContext {
        fresh: true,
        ..CallContext::default()
    };
    rig.client.call(&prompt(), fresh()).finish().await.unwrap();
    let answer = rig.client.call(&prompt(), fresh()).finish().await.unwrap();
    assert_eq!(answer.text, "hello");
    assert_eq!(server.connections(), 2);
    let events = rig.rest().await;
    let found: String = events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::BreakerRecorded { sample, .. } => Some(match sample {
                Sample::Ok => 'O',
                Sample::Failed => 'F',
                _ => '?',
            }),
            _ => None,
        })
        .collect();
    assert_eq!(found, "OO");
}
