//! An independent check of a session: do its events satisfy every invariant?
//!
//! The checker knows the settings, the events and the invariants, and **nothing of the code that made the
//! events**: it uses no line of `policy` or `client`, so a bug there cannot hide itself. It applies one event at a
//! time, in memory that grows with the calls in flight and not with the length of the session.
//!
//! ```text
//! event --> order --> loads --> calls and flights --> attempts, budget --> limiter --> breaker --> cache
//!             2        37       1 4 10 27-31 33 34      2-9                  11-15     16-21 35 36   22-26 32
//! ```
//!
//! The numbers are those of [`INVARIANTS`]. A [`Violation`] has the number, the sentence and the events that prove
//! it. The checker stops at the first one.

mod attempts;
mod breaker;
mod breakers;
mod bucket;
mod budget;
mod cache;
mod calls;
mod completion;
mod index;
mod limiter;
mod loads;
mod queue;
mod semantic;
mod users;
mod violation;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use violation::{INVARIANTS, Violation};

use self::attempts::Attempts;
use self::breakers::Breakers;
use self::cache::CacheCheck;
use self::index::CallIndex;
use self::limiter::Limiter;
use self::loads::Loads;
use self::violation::{Breach, Holds, ensure};
use crate::event::{Event, EventKind};
use crate::journal::{Header, JournalError, Line, Reader};
use crate::settings::Policy;
use crate::time::Timestamp;

/// Tolerances between the clock and the log.
#[derive(Clone, Copy, Debug)]
struct Slack {
    /// Lateness of a timer: the resolution of tokio in virtual time, a busy machine in real time.
    timer: Duration,
    /// Time between a decision and its event, both under one lock.
    stamp: Duration,
}

/// The extent of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events in the log.
    pub events: u64,
    /// Events after a gap, of which only the order was checked.
    pub after_gap: u64,
    /// Events missing in the log.
    pub lost: u64,
    /// Calls started.
    pub calls: u64,
    /// True if the log reaches the end of the session; otherwise the invariants at rest were not checked.
    pub complete: bool,
    /// The number of the last line, if it is incomplete.
    pub torn: Option<u64>,
}

impl fmt::Display for Summary {
    /// `3 events, 1 calls, 37 invariants hold`, and the parts that could not be checked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = INVARIANTS.len();
        write!(
            f,
            "{} events, {} calls, {kinds} invariants hold",
            self.events, self.calls
        )?;
        if self.lost > 0 {
            let (lost, after) = (self.lost, self.after_gap);
            write!(
                f,
                "; {lost} events are missing; of the {after} after the gap only the order was checked"
            )?;
        }
        if let Some(line) = self.torn {
            write!(
                f,
                "; line {line} is incomplete: the program was stopped while writing it"
            )?;
        } else if !self.complete {
            write!(f, "; {}", crate::journal::NO_END_LINE)?;
        }
        Ok(())
    }
}

/// Checks a log event by event.
#[derive(Debug)]
pub struct Checker {
    slack: Slack,
    /// The last suspension of the machine: start and end.
    asleep: Option<(Timestamp, Timestamp)>,
    next_seq: u64,
    last: Option<Arc<Event>>,
    summary: Summary,
    index: CallIndex,
    attempts: Attempts,
    limiter: Limiter,
    loads: Loads,
    breakers: Breakers,
    cache: CacheCheck,
}

impl Checker {
    /// A checker of a session in virtual time, without tolerance for late events.
    pub fn new(policy: &Policy) -> Self {
        let mut checker = Self {
            slack: Slack {
                timer: Duration::from_millis(1),
                stamp: Duration::ZERO,
            },
            asleep: None,
            next_seq: 0,
            last: None,
            summary: Summary::default(),
            index: CallIndex::new(policy),
            attempts: Attempts::default(),
            limiter: Limiter::new(),
            loads: Loads::default(),
            breakers: Breakers::default(),
            cache: CacheCheck::default(),
        };
        checker.configure(policy, Timestamp::ZERO);
        checker
    }

    /// Allows the delays of real time: a thread may pause between a decision and its event.
    #[must_use]
    pub fn in_real_time(self) -> Self {
        let slack = Slack {
            timer: Duration::from_secs(2),
            stamp: Duration::from_millis(200),
        };
        Self { slack, ..self }
    }

    /// The checker for a journal with this header.
    pub fn for_journal(header: &Header) -> Self {
        let checker = Self::new(&header.policy);
        if header.is_virtual {
            checker
        } else {
            checker.in_real_time()
        }
    }

    /// Checks the next event.
    pub fn apply(&mut self, event: &Event) -> Result<(), Violation> {
        self.apply_shared(&Arc::new(event.clone()))
    }

    /// Checks the next event, and keeps it as long as it may prove a violation.
    pub fn apply_shared(&mut self, event: &Arc<Event>) -> Result<(), Violation> {
        self.judge(event).map_err(|breach| breach.proven_by(event))?;
        self.last = Some(Arc::clone(event));
        Ok(())
    }

    /// Skips `lost` missing events. From here on only the order is checked: a missing event may explain any
    /// difference.
    pub fn gap(&mut self, lost: u64) {
        self.summary.lost = self.summary.lost.saturating_add(lost);
        self.next_seq = self.next_seq.saturating_add(lost);
    }

    /// Ends the check. If the session is `complete`, no call, slot, permit or flight may remain.
    pub fn finish(mut self, complete: bool) -> Result<Summary, Violation> {
        self.summary.complete = complete;
        if complete && self.summary.lost == 0 {
            let rest = self.index.rest().and_then(|()| self.limiter.rest());
            let rest = rest.and_then(|()| self.loads.rest());
            rest.map_err(|breach| match &self.last {
                Some(last) => breach.proven_by(last),
                None => breach.alone(),
            })?;
        }
        Ok(self.summary)
    }

    fn judge(&mut self, event: &Arc<Event>) -> Holds {
        self.order(event)?;
        self.summary.events += 1;
        self.summary.calls += u64::from(matches!(event.kind, EventKind::CallStarted { .. }));
        if self.summary.lost > 0 {
            self.summary.after_gap += 1;
            return Ok(());
        }
        if let EventKind::PolicyApplied { policy } = &event.kind {
            self.configure(policy, event.at);
        }
        if let EventKind::CacheSwitched { on } = event.kind {
            let mut policy = self.index.policy.as_ref().clone();
            policy.cache.enabled = on;
            self.index.configure(&policy);
        }
        if let EventKind::Suspended { until } = event.kind {
            self.asleep = Some((event.at, until));
        }
        let slack = self.slack_at(event.at);
        self.loads.apply(event, slack)?;
        self.index.apply(event, slack)?;
        self.attempts.apply(&mut self.index, event, slack)?;
        self.limiter.apply(&mut self.index, event, slack)?;
        self.breakers.apply(&mut self.index, event, slack)?;
        self.cache.apply(&self.index, event, slack)?;
        self.index.close(event)
    }

    /// The tolerances at `at`: a timer due during a suspension fires at its end.
    fn slack_at(&self, at: Timestamp) -> Slack {
        let slept = match self.asleep {
            Some((from, until)) if at <= until + self.slack.timer => until.since(from),
            _ => Duration::ZERO,
        };
        Slack {
            timer: self.slack.timer + slept,
            ..self.slack
        }
    }

    /// Applies the policy in force from now on.
    fn configure(&mut self, policy: &Policy, now: Timestamp) {
        self.limiter.configure(&policy.limit, now);
        self.breakers.configure(&policy.breaker);
        self.attempts.configure(&policy.retry);
        self.index.configure(policy);
    }

    /// Checks invariant 2 for the session as a whole.
    fn order(&mut self, event: &Event) -> Holds {
        let last = self.last.as_ref();
        let last_at = last.map_or(Timestamp::ZERO, |last| last.at);
        let proof = || last.into_iter().map(Arc::clone);
        ensure(event.seq == self.next_seq, 2, || {
            format!("the next event should have seq {}", self.next_seq)
        })
        .map_err(|breach| breach.with(proof()))?;
        ensure(event.at >= last_at, 2, || {
            format!("it is earlier than the event before, at {last_at}")
        })
        .map_err(|breach| breach.with(proof()))?;
        self.next_seq += 1;
        Ok(())
    }
}

/// The reason why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An invariant failed.
    #[error(transparent)]
    Violation(Box<Violation>),
}

impl From<Violation> for CheckError {
    fn from(violation: Violation) -> Self {
        Self::Violation(Box::new(violation))
    }
}

/// Checks a journal. An incomplete last line ends it; the lines before are checked.
pub fn check(journal: Reader) -> Result<Summary, CheckError> {
    let mut checker = Checker::for_journal(&journal.header);
    let mut complete = false;
    for line in journal.lines() {
        match line {
            Ok(Line::Event(event)) => {
                checker.apply_shared(&Arc::new(event))?;
            }
            Ok(Line::Blank) => {}
            Ok(Line::Gap(lost)) => checker.gap(lost),
            Ok(Line::End { events }) => {
                let breach = ensure(events == checker.next_seq, 2, || {
                    format!("the last line counts {events} events")
                });
                breach.map_err(|breach| match &checker.last {
                    Some(last) => breach.proven_by(last),
                    None => breach.alone(),
                })?;
                complete = true;
            }
            Err(JournalError::Torn { line }) => checker.summary.torn = Some(line),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(checker.finish(complete)?)
}
