//! The figures of a judgement, from the table of calls.

use crate::drills::scenario::{CallRow, Tally};
use crate::event::{BreakerState, CallId, PolicyFigures};
use crate::state::Percentiles;
use crate::time::Timestamp;

/// The figures of the calls from `first` on, which began at `since`.
pub(super) fn judged(tally: &Tally, first: Option<CallId>, since: Timestamp) -> PolicyFigures {
    let counted: Vec<&CallRow> = first
        .map(|first| tally.calls_from(first).collect())
        .unwrap_or_default();
    let mut figures = PolicyFigures {
        calls: counted.len() as u64,
        opened: tally.breaker_moves(BreakerState::Open, since),
        ..PolicyFigures::default()
    };
    let mut times = Percentiles::default();
    for call in counted {
        if let Some(fate) = call.fate {
            *figures.fates.entry(fate).or_default() += 1;
        }
        figures.attempts += u64::from(call.sent);
        figures.retries += u64::from(call.sent.saturating_sub(1));
        figures.waited += u64::from(!call.queued.is_zero());
        figures.tokens += call.spent_tokens;
        figures.wasted += call.spent_tokens.saturating_sub(call.answered_tokens);
        if let Some(took) = call.latency() {
            times.record(took);
        }
    }
    figures.p50 = times.quantile(0.5);
    figures.p95 = times.quantile(0.95);
    figures
}
