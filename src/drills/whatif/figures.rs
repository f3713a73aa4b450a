//! The figures of a judgement, out of what a run added up to.

use crate::drills::scenario::{CallFacts, Tally};
use crate::event::{BreakerState, CallId, PolicyFigures};
use crate::state::Percentiles;
use crate::time::Timestamp;

/// What became of the calls from `first` on; `since` is when that one was made.
pub(super) fn judged(tally: &Tally, first: Option<CallId>, since: Timestamp) -> PolicyFigures {
    let counted: Vec<&CallFacts> = first
        .map(|first| tally.calls_from(first).collect())
        .unwrap_or_default();
    let mut figures = PolicyFigures {
        calls: counted.len() as u64,
        opened: tally.moves_since(BreakerState::Open, since),
        ..PolicyFigures::default()
    };
    let mut times = Percentiles::default();
    for call in counted {
        if let Some(fate) = call.fate {
            *figures.fates.entry(fate).or_default() += 1;
        }
        figures.attempts += u64::from(call.tries);
        figures.retries += u64::from(call.tries.saturating_sub(1));
        figures.waited += u64::from(!call.waited.is_zero());
        figures.tokens += call.spent_tokens;
        // what was spent and did not come back as its answer
        figures.wasted += call.spent_tokens.saturating_sub(call.answered_tokens);
        if let Some(took) = call.served_after() {
            times.record(took);
        }
    }
    figures.p50 = times.quantile(0.5);
    figures.p95 = times.quantile(0.95);
    figures
}
