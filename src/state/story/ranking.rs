//! Calls worth a look: failed ones, the slowest, and those with most attempts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{CallId, Event, EventKind, Fate};
use crate::text::SafeText;

/// Calls of each sort that are kept.
const MOST: usize = 8;

/// A session's calls in numbers, and the few that stand out. Bounded: a few rows of each sort, and what runs.
#[derive(Clone, Debug, Default)]
pub struct CallRanking {
    /// Calls that began.
    pub calls: u64,
    /// The first and the last of them.
    pub range: Option<(CallId, CallId)>,
    /// Counts of bad fates: failed, interrupted, rate limited, circuit open.
    pub unlucky: BTreeMap<Fate, u64>,
    /// The first few of each bad end.
    pub bad: BTreeMap<Fate, Vec<CallSummary>>,
    /// The slowest, the slowest first.
    pub slowest: Vec<CallSummary>,
    /// Those with most tries, at least two.
    pub tried: Vec<CallSummary>,
    prompts: BTreeMap<CallId, SafeText>,
}

/// A call in one line.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSummary {
    /// The call.
    pub call: CallId,
    /// The fate.
    pub fate: Fate,
    /// Duration of the call.
    pub took: Duration,
    /// Attempts while it owned its flight.
    pub attempts: u32,
    /// The beginning of the prompt.
    pub prompt: SafeText,
}

impl CallRanking {
    /// Applies an event.
    pub fn apply(&mut self, event: &Event) {
        let Some(call) = event.call else { return };
        match &event.kind {
            EventKind::CallStarted { prompt, .. } => {
                self.calls += 1;
                let (first, last) = self.range.unwrap_or((call, call));
                self.range = Some((first.min(call), last.max(call)));
                self.prompts
                    .insert(call, SafeText::excerpt(&prompt.single_line(), 60));
            }
            EventKind::CallEnded {
                fate, attempts, took, ..
            } => {
                let row = CallSummary {
                    call,
                    fate: *fate,
                    took: *took,
                    attempts: *attempts,
                    prompt: self.prompts.remove(&call).unwrap_or_default(),
                };
                self.ended(row);
            }
            _ => {}
        }
    }

    /// The first few of each bad end, the worst end first.
    pub fn worst(&self) -> impl Iterator<Item = (Fate, &[CallSummary])> {
        const ORDER: [Fate; 4] = [
            Fate::Failed,
            Fate::Interrupted,
            Fate::RateLimited,
            Fate::CircuitOpen,
        ];
        let rows = |fate: Fate| Some((fate, self.bad.get(&fate)?.as_slice()));
        ORDER.into_iter().filter_map(rows)
    }

    fn ended(&mut self, row: CallSummary) {
        match row.fate {
            Fate::Failed | Fate::Interrupted | Fate::RateLimited | Fate::CircuitOpen => {
                *self.unlucky.entry(row.fate).or_default() += 1;
                let bad = self.bad.entry(row.fate).or_default();
                if bad.len() < MOST {
                    bad.push(row.clone());
                }
            }
            Fate::Answered | Fate::Hit | Fate::Shared | Fate::Cancelled => {}
        }
        if row.attempts >= 2 {
            rank(&mut self.tried, row.clone(), |row| u128::from(row.attempts));
        }
        rank(&mut self.slowest, row, |row| row.took.as_nanos());
    }

    /// The message for an unknown call: the known range, and some that failed.
    pub fn missing(&self, call: CallId) -> String {
        let Some((first, last)) = self.range else {
            return format!("no call {call}: there are no calls in it");
        };
        let failed: Vec<String> = self
            .worst()
            .flat_map(|(_, rows)| rows)
            .take(5)
            .map(|row| row.call.to_string())
            .collect();
        let failed = if failed.is_empty() {
            "none of them failed".to_owned()
        } else {
            format!("ask for one that failed: {}", failed.join(", "))
        };
        format!(
            "no call {call}: there are {} of them, {first} to {last}; {failed}",
            self.calls
        )
    }
}

/// Puts a row where its key says, the greatest first; of equals the earlier one first.
fn rank(rows: &mut Vec<CallSummary>, row: CallSummary, key: impl Fn(&CallSummary) -> u128) {
    let place = rows.partition_point(|other| key(other) >= key(&row));
    if place < MOST {
        rows.insert(place, row);
        rows.truncate(MOST);
    }
}
