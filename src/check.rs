//! An independent reading of a session: does its log keep the promises?
//!
//! The checker knows the settings, the events and what must be true of them, and **nothing of the machines
//! that made them**: no line of `policy` or `client` is used here, so a bug there cannot hide itself. It
//! reads event by event, in memory that depends on what is in the air and not on how long the session was.
//!
//! ```text
//! event --> order --> calls: whose is it? --> attempts, budget --> limiter, breaker --> cache --> (holds)
//!             2       1 4 10 25 26 29 31 40 43    2 3 4 5 6 7 8 9      11 .. 15, 18 .. 22    23 24 28 41
//! ```
//!
//! The numbers are those of [`INVARIANTS`]. What breaks one is told as a [`Violation`]: the number, its
//! sentence, and the events that prove it. After that nothing is checked any more.

mod attempts;
mod breaker;
mod bucket;
mod budget;
mod cache;
mod calls;
mod completion;
mod index;
mod limiter;
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
use self::breaker::Breaker;
use self::cache::Shelf;
use self::index::Book;
use self::limiter::Limiter;
use self::violation::{Breach, Holds, ensure};
use crate::event::{Event, EventKind};
use crate::journal::{Header, JournalError, Line, Reader};
use crate::settings::Policy;
use crate::time::Timestamp;

/// How late things may be told.
#[derive(Clone, Copy, Debug)]
struct Slack {
    /// A timer may fire so late. Virtual time has tokio's grain, real time a busy machine.
    timer: Duration,
    /// Between a decision and its event, which are made under one lock, so much may pass.
    stamp: Duration,
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events in the log.
    pub events: u64,
    /// Of these, behind a gap: only their order could be checked.
    pub behind_gap: u64,
    /// Events that the log has lost.
    pub lost: u64,
    /// Calls that began.
    pub calls: u64,
    /// Whether the log goes to the end of the session: if not, what must be true there was not checked.
    pub complete: bool,
    /// The last line, if it is torn: it was being written when the program was stopped.
    pub torn: Option<u64>,
}

impl fmt::Display for Summary {
    /// `3 events, 1 calls, 31 invariants hold`, and what could not be checked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = INVARIANTS.len();
        write!(
            f,
            "{} events, {} calls, {kinds} invariants hold",
            self.events, self.calls
        )?;
        if self.lost > 0 {
            let (lost, behind) = (self.lost, self.behind_gap);
            write!(
                f,
                "; {lost} events are lost, of the {behind} behind them only the order was checked"
            )?;
        }
        if let Some(line) = self.torn {
            write!(
                f,
                "; line {line} is torn, the program was stopped while it wrote it"
            )?;
        } else if !self.complete {
            f.write_str("; the log stops before the session does")?;
        }
        Ok(())
    }
}

/// Reads a log as it comes.
#[derive(Debug)]
pub struct Checker {
    slack: Slack,
    /// When the machine fell asleep last, and when it woke.
    asleep: Option<(Timestamp, Timestamp)>,
    next_seq: u64,
    last: Option<Arc<Event>>,
    summary: Summary,
    book: Book,
    attempts: Attempts,
    limiter: Limiter,
    breaker: Breaker,
    shelf: Shelf,
}

impl Checker {
    /// A checker of a session in virtual time, where nothing is late.
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
            book: Book::new(policy),
            attempts: Attempts::default(),
            limiter: Limiter::new(),
            breaker: Breaker::new(),
            shelf: Shelf::default(),
        };
        checker.configure(policy, Timestamp::ZERO);
        checker
    }

    /// The same of a session in real time, where a thread may be held up between a decision and its event.
    #[must_use]
    pub fn in_real_time(self) -> Self {
        let slack = Slack {
            timer: Duration::from_secs(2),
            stamp: Duration::from_millis(200),
        };
        Self { slack, ..self }
    }

    /// The checker that a journal with this header needs.
    pub fn for_journal(header: &Header) -> Self {
        let checker = Self::new(&header.policy);
        if header.is_virtual {
            checker
        } else {
            checker.in_real_time()
        }
    }

    /// Reads the next event.
    pub fn take(&mut self, event: &Event) -> Result<(), Violation> {
        self.take_shared(&Arc::new(event.clone()))
    }

    /// Reads the next event, and keeps it for as long as it may prove something.
    pub fn take_shared(&mut self, event: &Arc<Event>) -> Result<(), Violation> {
        self.judge(event).map_err(|breach| breach.proven_by(event))?;
        self.last = Some(Arc::clone(event));
        Ok(())
    }

    /// So many events are lost here. From now on only the order is checked: what is missing may explain
    /// whatever is strange.
    pub fn gap(&mut self, lost: u64) {
        self.summary.lost = self.summary.lost.saturating_add(lost);
        self.next_seq = self.next_seq.saturating_add(lost);
    }

    /// The log ends. `complete` if the session has ended too: then nothing may be left over.
    pub fn finish(mut self, complete: bool) -> Result<Summary, Violation> {
        self.summary.complete = complete;
        if complete && self.summary.lost == 0 {
            let rest = self.book.rest().and_then(|()| self.limiter.rest());
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
            self.summary.behind_gap += 1;
            return Ok(());
        }
        if let EventKind::PolicyApplied { policy } = &event.kind {
            self.configure(policy, event.at);
        }
        if let EventKind::CacheSwitched { on } = event.kind {
            let mut policy = self.book.policy.as_ref().clone();
            policy.cache.enabled = on;
            self.book.configure(&policy);
        }
        if let EventKind::Suspended { until } = event.kind {
            self.asleep = Some((event.at, until));
        }
        let slack = self.slack_at(event.at);
        self.book.take(event, slack)?;
        self.attempts.take(&mut self.book, event, slack)?;
        self.limiter.take(&mut self.book, event, slack)?;
        self.breaker.take(&mut self.book, event, slack)?;
        self.shelf.take(&self.book, event, slack)?;
        self.book.close(event)
    }

    /// A timer that was due while the machine slept fires when it wakes.
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

    /// These settings hold from now on.
    fn configure(&mut self, policy: &Policy, now: Timestamp) {
        self.limiter.configure(&policy.limit, now);
        self.breaker.configure(&policy.breaker);
        self.attempts.configure(&policy.retry);
        self.book.configure(policy);
    }

    /// Invariant 2, for the session as a whole.
    fn order(&mut self, event: &Event) -> Holds {
        let last = self.last.as_ref();
        let last_at = last.map_or(Timestamp::ZERO, |last| last.at);
        let proof = || last.into_iter().map(Arc::clone);
        ensure(event.seq == self.next_seq, 2, || {
            format!("the next event should have seq {}", self.next_seq)
        })
        .map_err(|breach| breach.with(proof()))?;
        ensure(event.at >= last_at, 2, || {
            format!("it is earlier than the one before, at {last_at}")
        })
        .map_err(|breach| breach.with(proof()))?;
        self.next_seq += 1;
        Ok(())
    }
}

/// Why a journal does not hold.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It breaks an invariant.
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
                checker.take_shared(&Arc::new(event))?;
            }
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
