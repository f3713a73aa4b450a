//! Judges a copy of the settings by the calls of a running session: what would it have admitted, refused, retried?
//!
//! ```text
//!  Bus --tap--> Traffic (newest calls, attempts, faults), Tally (what became of them)
//!                  |
//!  Engine --ear--> copy --thread--> played again in virtual time, under the settings in force and under the copy
//!                                        |
//!  Bus <-----------WhatIfEvaluated----------+
//! ```
//!
//! Nothing is guessed from counters: the same client is run over the same calls, so the copy's breaker opens where it
//! would have opened and its bucket is as empty as it would have been. What answers is told in the judgement
//! ([`WhatIfUpstream`](crate::event::WhatIfUpstream)).
//!
//! While nobody looks, only the traffic is kept. While somebody does, a judgement follows each change of the copy and
//! each stretch of new calls, and then a rest: as long as the judging took while the copy is edited, four times as long
//! while it is not.

mod figures;
mod judge;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::drills::recorded::Traffic;
use crate::drills::scenario::Tally;
use crate::event::{Command, Event, EventKind, Observer as _};
use crate::session::bus::{Bus, Tap};
use crate::session::engine::CommandObserver;
use crate::settings::Policy;
use crate::text::SafeText;
use crate::time::{Clock, Timestamp};

/// Calls that are kept, and judged. Where older ones are gone, so is what they had stored, and the figures drift from
/// what really was; ten thousand are more than a person fires by hand, and take about a second to play.
const CALLS: usize = 10_000;
/// New calls are judged after this at the earliest.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause is at least so many times as long as the judging took.
const REST: u32 = 4;

/// Hears a session, and judges. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Shadow {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    heard: Mutex<Heard>,
    woken: Condvar,
}

/// What was heard, and what is wanted.
#[derive(Debug)]
struct Heard {
    traffic: Traffic,
    tally: Tally,
    /// Counts ends of calls and attempts: where it stands still, there is nothing new to judge.
    news: u64,
    wanted: Option<Wanted>,
    over: bool,
}

#[derive(Clone, Debug)]
struct Wanted {
    edit: u64,
    copy: Policy,
}

/// The thread that judges. Dropped, it ends after the judgement it is at.
#[derive(Debug)]
pub struct Judging {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                heard: Mutex::new(Heard::keeping(CALLS)),
                woken: Condvar::new(),
            }),
        }
    }
}

impl Shadow {
    /// What the bus must call with every event.
    pub fn tap(&self) -> Tap {
        let shared = Arc::clone(&self.shared);
        Box::new(move |event| {
            if shared.lock().take(event) {
                shared.woken.notify_one();
            }
        })
    }

    /// What the engine must be heard by.
    pub fn ear(&self) -> Arc<dyn CommandObserver> {
        Arc::new(self.clone())
    }

    /// Starts to judge what is asked for, and tells of it on this bus.
    pub fn start(&self, bus: Bus, clock: Clock) -> io::Result<Judging> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name("shadow".into())
            .spawn(move || judge_on(&shared, &bus, clock))?;
        Ok(Judging {
            shared: Arc::clone(&self.shared),
            thread: Some(thread),
        })
    }
}

impl CommandObserver for Shadow {
    fn on_command(&self, _at: Timestamp, command: &Command) {
        let Command::EvaluatePolicy { edit, policy } = command else {
            return;
        };
        self.shared.lock().wanted = policy.as_ref().map(|policy| Wanted {
            edit: *edit,
            copy: policy.as_ref().clone(),
        });
        self.shared.woken.notify_one();
    }
}

impl Drop for Judging {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Heard {
    fn keeping(calls: usize) -> Self {
        Self {
            traffic: Traffic::keeping(calls),
            tally: Tally::default(),
            news: 0,
            wanted: None,
            over: false,
        }
    }

    /// Whether there is something new to judge, and somebody looks.
    fn take(&mut self, event: &Event) -> bool {
        self.traffic.take(event);
        self.tally.take(event);
        let ends = matches!(
            event.kind,
            EventKind::CallEnded { .. } | EventKind::AttemptEnded { .. } | EventKind::PolicyApplied { .. }
        );
        if ends {
            self.news += 1;
            if let Some(first) = self.traffic.calls().first() {
                self.tally.forget_before(first.call);
            }
        }
        ends && self.wanted.is_some()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the thread may judge again.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// Another copy: a key that is held down makes many.
    copy: Timestamp,
    /// The same one, by new calls.
    calls: Timestamp,
}

impl Rest {
    /// After a judgement that took this long.
    fn after(took: Duration, now: Timestamp) -> Self {
        Self {
            copy: now + took,
            calls: now + PAUSE.max(took * REST),
        }
    }
}

/// The thread: waits until a copy is wanted, or until there are new calls to judge it by.
fn judge_on(shared: &Shared, bus: &Bus, clock: Clock) {
    // the copy that was judged last, and by how much
    let mut judged: Option<(u64, u64)> = None;
    let mut rest = Rest::after(Duration::ZERO, clock.now());
    let mut heard = shared.lock();
    while !heard.over {
        let Some(wanted) = heard.wanted.clone() else {
            judged = None;
            heard = shared.woken.wait(heard).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let due = match judged {
            Some((edit, news)) if edit == wanted.edit && news == heard.news => {
                heard = shared.woken.wait(heard).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            Some((edit, _)) if edit == wanted.edit => rest.calls,
            _ => rest.copy,
        };
        let rests = clock.now().until(due);
        if !rests.is_zero() {
            let waited = shared.woken.wait_timeout(heard, rests);
            heard = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        judged = Some((wanted.edit, heard.news));
        let (traffic, tally) = (heard.traffic.clone(), heard.tally.clone());
        drop(heard);
        let began = clock.now();
        let running = bus.with_state(|state| state.session.policy.clone());
        let told = judge::judge(wanted.edit, traffic, &tally, &running, &wanted.copy);
        let now = clock.now();
        rest = Rest::after(now.since(began), now);
        heard = shared.lock();
        // an answer to a question that was changed meanwhile would be drawn and gone at once
        let is_wanted = heard.wanted.as_ref().is_some_and(|now| now.edit == wanted.edit);
        if is_wanted && !heard.over {
            drop(heard);
            tell(bus, told);
            heard = shared.lock();
        }
    }
}

fn tell(bus: &Bus, told: Result<Option<crate::event::WhatIfResult>, String>) {
    match told {
        // no calls yet: the view says so
        Ok(None) => {}
        Ok(Some(result)) => {
            let result = Box::new(result);
            bus.emit(None, EventKind::WhatIfEvaluated { result });
        }
        Err(problem) => {
            let text = SafeText::excerpt(&format!("the copy cannot be judged: {problem}"), 400);
            bus.emit(None, EventKind::Notice { text });
        }
    }
}

#[cfg(test)]
mod tests;
