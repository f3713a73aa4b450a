//! The live comparison ("what-if"): evaluates an edited policy on the calls of a running session.
//!
//! ```text
//!  Bus --tap--> Traffic (newest calls, attempts, faults), Tally (their recorded results)
//!                  |
//!  edited policy --watch--> task --> two replays in virtual time: policy in force, edited policy
//!                                           |
//!  Bus <------------- WhatIfEvaluated ------+
//! ```
//!
//! Nothing is extrapolated from counters: the same client runs over the same calls, so the edited policy's breaker
//! opens where it would have opened. The result names the upstream that answered
//! ([`WhatIfUpstream`](crate::event::WhatIfUpstream)).
//!
//! Without a request only the traffic is kept. With one, a result follows each edit and each batch of new calls.
//! Then the task rests: after an edit as long as the evaluation took, else four times as long.

mod figures;
mod judge;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::drills::recorded::Traffic;
use crate::drills::scenario::Tally;
use crate::event::{Event, EventKind, NOT_EVALUATED, Observer as _, WhatIfRequest, WhatIfResult};
use crate::session::bus::{Bus, Tap};
use crate::text::SafeText;
use crate::time::{Clock, Timestamp};

/// Number of calls kept and replayed. Without older calls the cache starts empty, and figures deviate from the
/// recorded ones. Ten thousand are more than a person sends, and replay in about a second.
const CALLS: usize = 10_000;
/// Minimum time between evaluations of the same policy.
const PAUSE: Duration = Duration::from_secs(1);
/// Minimum rest after an evaluation of the same policy, as a multiple of its duration.
const REST: u32 = 4;

/// The what-if evaluation of a session. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct WhatIf {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    recorded: Mutex<Recorded>,
    changed: Notify,
}

#[derive(Debug)]
struct Recorded {
    traffic: Traffic,
    tally: Tally,
    /// Counts ends of calls and attempts, and changes of the policy: while it is the same, a result stays valid.
    revision: u64,
}

impl Default for WhatIf {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                recorded: Mutex::new(Recorded::keeping(CALLS)),
                changed: Notify::new(),
            }),
        }
    }
}

impl WhatIf {
    /// Returns the tap for the session's bus.
    pub fn tap(&self) -> Tap {
        let shared = Arc::clone(&self.shared);
        Box::new(move |event| {
            if shared.lock().apply(event) {
                shared.changed.notify_one();
            }
        })
    }

    /// Evaluates the latest request until its sender is dropped; emits results on this bus.
    pub async fn run(self, mut requests: watch::Receiver<Option<WhatIfRequest>>, bus: Bus, clock: Clock) {
        // edit and revision of the last evaluation
        let mut evaluated: Option<(u64, u64)> = None;
        let mut next = NextEvaluation::after(Duration::ZERO, clock.now());
        while requests.has_changed().is_ok() {
            let edit = requests.borrow_and_update().as_ref().map(|request| request.edit);
            let revision = self.shared.lock().revision;
            let due = match (edit, evaluated) {
                (None, _) => {
                    evaluated = None;
                    None
                }
                (Some(edit), Some(last)) if last == (edit, revision) => None,
                (Some(edit), Some((last, _))) if last == edit => Some(next.same),
                (Some(_), _) => Some(next.edited),
            };
            if due.is_none_or(|due| due > clock.now()) {
                tokio::select! {
                    _ = requests.changed() => {}
                    () = self.shared.changed.notified(), if edit.is_some() => {}
                    () = clock.sleep_until(due.unwrap_or_default()), if due.is_some() => {}
                }
                continue;
            }
            // marks this request as seen: a newer one makes its result out of date
            let Some(request) = requests.borrow_and_update().clone() else {
                continue;
            };
            let began = clock.now();
            evaluated = Some((request.edit, revision));
            let result = self.evaluate(&request, &bus).await;
            let now = clock.now();
            next = NextEvaluation::after(now.since(began), now);
            // the result of an older edit is out of date
            if requests.has_changed().is_ok_and(|changed| !changed) {
                emit(&bus, result);
            }
        }
    }

    /// Evaluates on a blocking thread.
    async fn evaluate(&self, request: &WhatIfRequest, bus: &Bus) -> Result<Option<WhatIfResult>, String> {
        let (traffic, tally) = {
            let recorded = self.shared.lock();
            (recorded.traffic.clone(), recorded.tally.clone())
        };
        let running = bus.with_state(|state| state.session.policy.clone());
        let request = request.clone();
        let evaluation = tokio::task::spawn_blocking(move || {
            judge::judge(request.edit, traffic, &tally, &running, &request.policy)
        });
        evaluation.await.unwrap_or_else(|panic| Err(panic.to_string()))
    }
}

impl Recorded {
    fn keeping(calls: usize) -> Self {
        Self {
            traffic: Traffic::keeping(calls),
            tally: Tally::default(),
            revision: 0,
        }
    }

    /// Applies an event; returns true if it makes a result out of date.
    fn apply(&mut self, event: &Event) -> bool {
        self.traffic.apply(event);
        self.tally.apply(event);
        let counts = matches!(
            event.kind,
            EventKind::CallEnded { .. } | EventKind::AttemptEnded { .. } | EventKind::PolicyApplied { .. }
        );
        if counts {
            self.revision += 1;
            if let Some(first) = self.traffic.calls().first() {
                self.tally.drop_before(first.call);
            }
        }
        counts
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The earliest times of the next evaluation.
#[derive(Clone, Copy, Debug)]
struct NextEvaluation {
    /// Of another policy: a key that is held down makes many.
    edited: Timestamp,
    /// Of the same policy, for new calls.
    same: Timestamp,
}

impl NextEvaluation {
    /// After an evaluation of this duration.
    fn after(took: Duration, now: Timestamp) -> Self {
        Self {
            edited: now + took,
            same: now + PAUSE.max(took * REST),
        }
    }
}

fn emit(bus: &Bus, result: Result<Option<WhatIfResult>, String>) {
    match result {
        // without calls the overlay says so
        Ok(None) => {}
        Ok(Some(result)) => {
            let result = Box::new(result);
            bus.emit(None, EventKind::WhatIfEvaluated { result });
        }
        Err(problem) => {
            let text = SafeText::excerpt(&format!("{NOT_EVALUATED}{problem}"), 400);
            bus.emit(None, EventKind::Notice { text });
        }
    }
}

#[cfg(test)]
mod tests;
