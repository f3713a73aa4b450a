//! A row of the matrix and its checks.

use std::future::Future;
use std::pin::Pin;

use seawall::event::{
    AttemptResult, Event, EventKind, FailureClass, Fate, Finish, Hint, Phase, Sample, SkipReason, StopReason,
};
use seawall::openai::Usage;
use seawall::settings::Policy;
use tokio::task::JoinSet;

use crate::rig::{Rig, patiently, quick};
use crate::server::{Play, Server};
use crate::tls::Certificate;

/// A row; rows that differ in detail share a number.
pub(crate) struct Row {
    /// The number in docs/semantics.md, Fault matrix.
    pub(crate) number: u8,
    /// The fault in words.
    pub(crate) fault: &'static str,
    proof: Proof,
    /// The reason for a deviation from the matrix.
    pub(crate) note: &'static str,
}

type Story = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

enum Proof {
    /// A call to an upstream that behaves like this.
    Call(Box<Case>),
    /// A test function.
    Story(Story),
    /// Tests of these names in another file.
    Elsewhere(&'static str, &'static [&'static str]),
}

/// The connection to the upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// HTTP.
    Plain,
    /// HTTPS to a server with this certificate.
    Tls(Certificate),
    /// HTTPS to a server without TLS.
    TlsToPlain,
    /// To an address without a listener.
    NoListener,
}

struct Case {
    plays: Vec<Play>,
    link: Link,
    tune: fn(&mut Policy),
    expected: Expected,
    also: fn(&Observed<'_>),
    left: usize,
}

/// The expected journal.
#[derive(Debug)]
struct Expected {
    fate: Fate,
    attempts: u32,
    failure: Option<(FailureClass, Phase)>,
    samples: &'static str,
    kept: Kept,
    says: &'static [&'static str],
    text: &'static str,
}

/// The cache entry of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The answer is stored.
    Stored,
    /// The answer is complete but not stored, for this reason.
    Skipped(SkipReason),
    /// There is no answer to store.
    No,
}

impl Row {
    fn new(number: u8, fault: &'static str, proof: Proof) -> Self {
        Self {
            number,
            fault,
            proof,
            note: "",
        }
    }

    /// One call that fails once and neutrally, with this class and phase.
    pub(crate) fn fails(
        number: u8,
        fault: &'static str,
        plays: impl Into<Vec<Play>>,
        class: FailureClass,
        phase: Phase,
    ) -> Self {
        let fate = if phase == Phase::Delivered {
            Fate::Interrupted
        } else {
            Fate::Failed
        };
        let expected = Expected {
            fate,
            attempts: 1,
            failure: Some((class, phase)),
            samples: "N",
            kept: Kept::No,
            says: &[],
            text: "",
        };
        Self::case(number, fault, plays.into(), expected)
    }

    /// One call that is answered at once with "hello", which is stored.
    pub(crate) fn answers(number: u8, fault: &'static str, plays: impl Into<Vec<Play>>) -> Self {
        let expected = Expected {
            fate: Fate::Answered,
            attempts: 1,
            failure: None,
            samples: "O",
            kept: Kept::Stored,
            says: &[],
            text: "hello",
        };
        Self::case(number, fault, plays.into(), expected)
    }

    fn case(number: u8, fault: &'static str, plays: Vec<Play>, expected: Expected) -> Self {
        let case = Case {
            plays,
            link: Link::Plain,
            tune: |_| {},
            expected,
            also: |_| {},
            left: 0,
        };
        Self::new(number, fault, Proof::Call(Box::new(case)))
    }

    pub(crate) fn story(number: u8, fault: &'static str, story: Story) -> Self {
        Self::new(number, fault, Proof::Story(story))
    }

    pub(crate) fn elsewhere(
        number: u8,
        fault: &'static str,
        file: &'static str,
        tests: &'static [&'static str],
    ) -> Self {
        Self::new(number, fault, Proof::Elsewhere(file, tests))
    }

    fn with(mut self, change: impl FnOnce(&mut Case)) -> Self {
        match &mut self.proof {
            Proof::Call(case) => change(case),
            Proof::Story(_) | Proof::Elsewhere(..) => panic!("only a call has this"),
        }
        self
    }

    /// The breaker sample of each attempt: F(ailed), N(eutral), O(k), S(low). Sets the number of attempts.
    pub(crate) fn counts(self, samples: &'static str) -> Self {
        self.with(|case| {
            case.expected.samples = samples;
            case.expected.attempts = samples.len() as u32;
        })
    }

    /// Parts of the message.
    pub(crate) fn says(self, parts: &'static [&'static str]) -> Self {
        self.with(|case| case.expected.says = parts)
    }

    /// The delivered text.
    pub(crate) fn text(self, text: &'static str) -> Self {
        self.with(|case| case.expected.text = text)
    }

    pub(crate) fn kept(self, kept: Kept) -> Self {
        self.with(|case| case.expected.kept = kept)
    }

    pub(crate) fn tune(self, tune: fn(&mut Policy)) -> Self {
        self.with(|case| case.tune = tune)
    }

    pub(crate) fn link(self, link: Link) -> Self {
        self.with(|case| case.link = link)
    }

    /// The number of connections that the client closes before the server is done.
    pub(crate) fn leaves(self, connections: usize) -> Self {
        self.with(|case| case.left = connections)
    }

    /// Further checks.
    pub(crate) fn also(self, also: fn(&Observed<'_>)) -> Self {
        self.with(|case| case.also = also)
    }

    pub(crate) fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    async fn prove(self) {
        match self.proof {
            Proof::Call(case) => case.prove().await,
            Proof::Story(story) => story().await,
            Proof::Elsewhere(file, tests) => {
                let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
                let code = std::fs::read_to_string(path).unwrap();
                for test in tests {
                    let found = code.contains(&format!("#[test]\nfn {test}()"))
                        || code.contains(&format!("    #[test]\n    fn {test}()"));
                    assert!(found, "no test {test} in {file}");
                }
            }
        }
    }
}

impl Case {
    async fn prove(self) {
        let mut policy = quick();
        (self.tune)(&mut policy);
        let tls = match self.link {
            Link::Tls(certificate) => Some(certificate.acceptor()),
            Link::Plain | Link::TlsToPlain | Link::NoListener => None,
        };
        let server = Server::over(self.plays, tls).await;
        // bound but not listening, so that no other process takes the port meanwhile
        let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let (url, roots) = match self.link {
            Link::Plain => (server.url(), Vec::new()),
            Link::TlsToPlain => (format!("https://{}", server.address()), Vec::new()),
            Link::Tls(certificate) => (format!("https://{}", server.address()), certificate.roots()),
            Link::NoListener => {
                let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
                closed.bind(&any.into()).unwrap();
                let address = closed.local_addr().unwrap().as_socket().unwrap();
                (format!("http://{address}"), Vec::new())
            }
        };
        let rig = Rig::trusting(&url, roots, policy);
        let result = patiently("the end of the call", rig.call().finish()).await;
        server.until_left(self.left).await;
        let text = match &result {
            Ok(answer) => answer.text.clone(),
            Err(error) => error.partial.clone(),
        };
        let seen = Observed {
            events: rig.rest().await,
            server: &server,
            url: &url,
            text,
        };
        self.expected.compare(&seen);
        (self.also)(&seen);
    }
}

/// The events and the text of a call.
pub(crate) struct Observed<'a> {
    pub(crate) events: Vec<Event>,
    pub(crate) server: &'a Server,
    pub(crate) url: &'a str,
    pub(crate) text: String,
}

/// A scheduled retry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retried {
    pub(crate) delay: std::time::Duration,
    pub(crate) hint: Option<Hint>,
    pub(crate) ambiguous: bool,
}

impl Observed<'_> {
    /// Collects `pick` over all events in order.
    pub(crate) fn all<R>(&self, pick: impl Fn(&EventKind) -> Option<R>) -> Vec<R> {
        self.events.iter().filter_map(|event| pick(&event.kind)).collect()
    }

    pub(crate) fn retries(&self) -> Vec<Retried> {
        self.all(|kind| match kind {
            EventKind::RetryScheduled {
                delay,
                hint,
                ambiguous,
                ..
            } => Some(Retried {
                delay: *delay,
                hint: *hint,
                ambiguous: *ambiguous,
            }),
            _ => None,
        })
    }

    pub(crate) fn stop(&self) -> Option<StopReason> {
        self.all(|kind| match kind {
            EventKind::RetryStopped { reason, .. } => Some(*reason),
            _ => None,
        })
        .pop()
    }

    /// For each attempt, true if the limiter returned the request, and the tokens charged.
    pub(crate) fn settled(&self) -> Vec<(bool, u64)> {
        self.all(|kind| match kind {
            EventKind::LimitSettled {
                refunded, charged, ..
            } => Some((*refunded, *charged)),
            _ => None,
        })
    }

    /// The result of the last successful attempt.
    pub(crate) fn success(&self) -> Option<(Finish, Usage, bool)> {
        self.all(|kind| match kind {
            EventKind::AttemptEnded {
                result:
                    AttemptResult::Succeeded {
                        finish,
                        usage,
                        estimated,
                    },
                ..
            } => Some((*finish, *usage, *estimated)),
            _ => None,
        })
        .pop()
    }

    /// The failure of the call as text.
    pub(crate) fn message(&self) -> String {
        self.all(|kind| match kind {
            EventKind::CallEnded { failure, .. } => failure.as_ref().map(ToString::to_string),
            _ => None,
        })
        .pop()
        .unwrap_or_default()
    }

    /// The length of each pause of the limiter, in whole seconds.
    pub(crate) fn pauses(&self) -> Vec<u64> {
        let pause = |event: &Event| match event.kind {
            EventKind::LimitPaused { until } => Some(event.at.until(until).as_secs_f64().round() as u64),
            _ => None,
        };
        self.events.iter().filter_map(pause).collect()
    }

    fn samples(&self) -> String {
        let letters = self.all(|kind| match kind {
            EventKind::BreakerRecorded { sample, .. } => Some(match sample {
                Sample::Ok => 'O',
                Sample::Slow => 'S',
                Sample::Failed => 'F',
                Sample::Neutral => 'N',
                Sample::Late => 'L',
            }),
            _ => None,
        });
        letters.into_iter().collect()
    }

    fn kept(&self) -> Kept {
        let kept = self.all(|kind| match kind {
            EventKind::CacheStored { .. } => Some(Kept::Stored),
            EventKind::CacheSkipped { reason } => Some(Kept::Skipped(*reason)),
            _ => None,
        });
        kept.last().copied().unwrap_or(Kept::No)
    }
}

impl Expected {
    fn compare(&self, seen: &Observed<'_>) {
        let ends = seen.all(|kind| match kind {
            EventKind::CallEnded {
                fate,
                attempts,
                failure,
                ..
            } => Some((
                *fate,
                *attempts,
                failure.as_ref().map(|failure| (failure.class, failure.phase)),
            )),
            _ => None,
        });
        let found = (ends, seen.samples(), seen.kept(), seen.text.as_str());
        let wanted = (
            vec![(self.fate, self.attempts, self.failure)],
            self.samples.to_owned(),
            self.kept,
            self.text,
        );
        let message = seen.message();
        assert_eq!(found, wanted, "left: found, right: wanted; it said: {message}");
        for part in self.says {
            let part = part.replace("HOST", seen.server.address().to_string().as_str());
            assert!(message.contains(&part), "no '{part}' in: {message}");
        }
        assert!(message.chars().count() <= 240, "{message}");
    }
}

/// Runs rows concurrently and reports every row that fails.
pub(crate) async fn prove(rows: Vec<Row>) {
    let mut running = JoinSet::new();
    let mut names = std::collections::BTreeMap::new();
    for row in rows {
        let name = format!("row {}, {}", row.number, row.fault);
        names.insert(running.spawn(row.prove()).id(), name);
    }
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            let id = error.id();
            let panic = error.into_panic();
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            failed.push(format!("{}: {}", names[&id], said.unwrap_or_default()));
        }
    }
    assert!(
        failed.is_empty(),
        "{} rows failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
