//! The live comparison ("what-if"): judges an edited policy by the calls of a running session.
//!
//! ```text
//!  Bus --tap--> Traffic (newest calls, attempts, faults), Tally (their recorded results)
//!                  |
//!  Engine --observer--> edited policy --thread--> two replays in virtual time: policy in force, edited policy
//!                                                       |
//!  Bus <--------------------- WhatIfEvaluated -------------+
//! ```
//!
//! Nothing is extrapolated from counters: the same client runs over the same calls, so the edited policy's breaker
//! opens where it would have opened. The judgement names the upstream that answered
//! ([`WhatIfUpstream`](crate::event::WhatIfUpstream)).
//!
//! Without a policy to judge only the traffic is kept. With one, a judgement follows each edit and each batch of
//! new calls. Then the thread rests: after an edit as long as the judgement took, else four times as long.

mod figures;
mod judge;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::drills::recorded::Traffic;
use crate::drills::scenario::Tally;
use crate::event::{Command, Event, EventKind, Observer as _, WhatIfResult};
use crate::session::bus::{Bus, Tap};
use crate::session::engine::CommandObserver;
use crate::settings::Policy;
use crate::text::SafeText;
use crate::time::{Clock, Timestamp};

/// Number of calls kept and replayed. Without older calls the cache starts empty, and figures deviate from the
/// recorded ones. Ten thousand are more than a person sends, and replay in about a second.
const CALLS: usize = 10_000;
/// Minimum time between judgements of the same policy.
const PAUSE: Duration = Duration::from_secs(1);
/// Minimum rest after a judgement of the same policy, as a multiple of its duration.
const REST: u32 = 4;

/// The what-if judge of a session. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct WhatIf {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<JudgeState>,
    changed: Condvar,
}

#[derive(Debug)]
struct JudgeState {
    traffic: Traffic,
    tally: Tally,
    /// Counts ends of calls and attempts, and changes of the policy: while it is the same, a judgement stays
    /// valid.
    revision: u64,
    request: Option<Request>,
    stopped: bool,
}

/// A policy to judge.
#[derive(Clone, Debug)]
struct Request {
    edit: u64,
    policy: Policy,
}

/// The thread that judges. Dropping it waits for the current judgement.
#[derive(Debug)]
pub struct JudgeThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Default for WhatIf {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(JudgeState::keeping(CALLS)),
                changed: Condvar::new(),
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

    /// Returns the observer for the session's engine.
    pub fn ear(&self) -> Arc<dyn CommandObserver> {
        Arc::new(self.clone())
    }

    /// Starts the thread; it emits judgements on this bus.
    ///
    /// # Errors
    /// If the thread cannot be spawned.
    pub fn start(&self, bus: Bus, clock: Clock) -> io::Result<JudgeThread> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name("what-if".into())
            .spawn(move || run(&shared, &bus, clock))?;
        Ok(JudgeThread {
            shared: Arc::clone(&self.shared),
            thread: Some(thread),
        })
    }
}

impl CommandObserver for WhatIf {
    fn on_command(&self, _at: Timestamp, command: &Command) {
        let Command::EvaluatePolicy { edit, policy } = command else {
            return;
        };
        self.shared.lock().request = policy.as_deref().map(|policy| Request {
            edit: *edit,
            policy: policy.clone(),
        });
        self.shared.changed.notify_one();
    }
}

impl Drop for JudgeThread {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl JudgeState {
    fn keeping(calls: usize) -> Self {
        Self {
            traffic: Traffic::keeping(calls),
            tally: Tally::default(),
            revision: 0,
            request: None,
            stopped: false,
        }
    }

    /// Applies an event; returns true if it makes a requested judgement out of date.
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
        counts && self.request.is_some()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, JudgeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, JudgeState>) -> MutexGuard<'a, JudgeState> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The earliest times of the next judgement.
#[derive(Clone, Copy, Debug)]
struct NextJudgement {
    /// Of another policy: a key that is held down makes many.
    edited: Timestamp,
    /// Of the same policy, for new calls.
    same: Timestamp,
}

impl NextJudgement {
    /// After a judgement of this duration.
    fn after(took: Duration, now: Timestamp) -> Self {
        Self {
            edited: now + took,
            same: now + PAUSE.max(took * REST),
        }
    }
}

/// The thread: waits for a request, or for new calls.
fn run(shared: &Shared, bus: &Bus, clock: Clock) {
    // edit and revision of the last judgement
    let mut judged: Option<(u64, u64)> = None;
    let mut next = NextJudgement::after(Duration::ZERO, clock.now());
    let mut state = shared.lock();
    while !state.stopped {
        let Some(request) = state.request.clone() else {
            judged = None;
            state = shared.wait(state);
            continue;
        };
        let due = match judged {
            Some(last) if last == (request.edit, state.revision) => {
                state = shared.wait(state);
                continue;
            }
            Some((edit, _)) if edit == request.edit => next.same,
            _ => next.edited,
        };
        let rest = clock.now().until(due);
        if !rest.is_zero() {
            let waited = shared.changed.wait_timeout(state, rest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        judged = Some((request.edit, state.revision));
        let (traffic, tally) = (state.traffic.clone(), state.tally.clone());
        drop(state);
        let began = clock.now();
        let running = bus.with_state(|state| state.session.policy.clone());
        let judgement = judge::judge(request.edit, traffic, &tally, &running, &request.policy);
        let now = clock.now();
        next = NextJudgement::after(now.since(began), now);
        state = shared.lock();
        // the judgement of an older edit is out of date
        let is_current = state.request.as_ref().is_some_and(|now| now.edit == request.edit);
        if is_current && !state.stopped {
            drop(state);
            emit(bus, judgement);
            state = shared.lock();
        }
    }
}

fn emit(bus: &Bus, judgement: Result<Option<WhatIfResult>, String>) {
    match judgement {
        // without calls the view says so by itself
        Ok(None) => {}
        Ok(Some(result)) => {
            let result = Box::new(result);
            bus.emit(None, EventKind::WhatIfEvaluated { result });
        }
        Err(problem) => {
            let text = SafeText::excerpt(&format!("the edited policy cannot be judged: {problem}"), 400);
            bus.emit(None, EventKind::Notice { text });
        }
    }
}

#[cfg(test)]
mod tests;
