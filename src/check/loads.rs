//! Loads: their calls, times and counts.

use std::sync::Arc;

use super::Slack;
use super::violation::{Holds, breach, ensure};
use crate::event::{Event, EventKind, Load, Origin};

/// The running load and the last number.
#[derive(Debug, Default)]
pub(super) struct Loads {
    last: u64,
    running: Option<RunningLoad>,
}

#[derive(Debug)]
struct RunningLoad {
    number: u64,
    plan: Load,
    started: Arc<Event>,
    calls: u64,
}

impl Loads {
    /// Checks invariant 37.
    pub(super) fn apply(&mut self, event: &Arc<Event>, slack: Slack) -> Holds {
        match &event.kind {
            EventKind::LoadStarted { load, plan } => {
                self.rest()?;
                ensure(*load == self.last + 1, 37, || {
                    format!("the load before was number {}", self.last)
                })?;
                self.last = *load;
                self.running = Some(RunningLoad {
                    number: *load,
                    plan: plan.as_ref().clone(),
                    started: Arc::clone(event),
                    calls: 0,
                });
                Ok(())
            }
            EventKind::CallStarted {
                origin: Origin::Load { load },
                ..
            } => match self.running.as_mut().filter(|running| running.number == *load) {
                Some(running) => running.call(event, slack),
                None => Err(breach(37, format!("load {load} is not running"))),
            },
            EventKind::LoadEnded { load, calls, skipped } => {
                let Some(ended) = self.running.take().filter(|running| running.number == *load) else {
                    return Err(breach(37, format!("load {load} was not running")));
                };
                ensure(ended.calls == *calls, 37, || {
                    format!("it made {} calls", ended.calls)
                })
                .and_then(|()| {
                    let total = ended.plan.total().filter(|_| !ended.plan.poisson);
                    ensure(total.is_none_or(|total| calls + skipped <= total), 37, || {
                        format!("its rate and duration give {} calls", total.unwrap_or_default())
                    })
                })
                .map_err(|breach| breach.with([ended.started]))
            }
            _ => Ok(()),
        }
    }

    /// Checks that no load is running.
    pub(super) fn rest(&self) -> Holds {
        match &self.running {
            Some(running) => {
                let breach = breach(37, format!("load {} has not ended", running.number));
                Err(breach.with([Arc::clone(&running.started)]))
            }
            None => Ok(()),
        }
    }
}

impl RunningLoad {
    /// Counts a call, which must not come before its time. Those of a Poisson process have none.
    fn call(&mut self, event: &Event, slack: Slack) -> Holds {
        let elapsed = event.at.since(self.started.at) + slack.stamp;
        let due = self.plan.due(self.calls as f64);
        self.calls += 1;
        let in_time = self.plan.poisson || due.is_some_and(|due| due <= elapsed);
        ensure(in_time, 37, || {
            format!("call {} of the load is due {due:?} after its start", self.calls)
        })
        .map_err(|breach| breach.with([Arc::clone(&self.started)]))
    }
}
