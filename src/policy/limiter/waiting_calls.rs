//! The waiters of one user in order of arrival, with running sums.

use std::collections::VecDeque;

use super::decision::Ticket;

/// The demand of several calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) calls: u64,
    pub(super) tokens: u64,
}

impl Demand {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }
}

/// LLM tokens and virtual time.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    tokens: u64,
    cost: u128,
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            cost: self.cost.saturating_add(other.cost),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            cost: self.cost.saturating_sub(other.cost),
        }
    }
}

/// The waiters of one user. A question about the first `n` of them costs O(1), a search O(log n); so does a change
/// at either end, and a removal between costs O(n).
#[derive(Clone, Debug, Default)]
pub(super) struct WaitingCalls {
    /// Each waiter with the sums of those before it, since the queue was last empty.
    calls: VecDeque<(Ticket, Sums)>,
    /// The sums of all calls since the queue was last empty.
    total: Sums,
}

impl WaitingCalls {
    pub(super) fn first(&self) -> Option<Ticket> {
        self.calls.front().map(|(ticket, _)| *ticket)
    }

    pub(super) fn last(&self) -> Option<Ticket> {
        self.calls.back().map(|(ticket, _)| *ticket)
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.calls.iter().map(|(ticket, _)| *ticket)
    }

    /// Appends a waiter. `cost` is the virtual time that its admission will take.
    pub(super) fn push(&mut self, ticket: Ticket, tokens: u64, cost: u128) {
        if self.calls.is_empty() {
            self.total = Sums::default();
        }
        self.calls.push_back((ticket, self.total));
        self.total = self.total.plus(Sums { tokens, cost });
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        let Ok(place) = self.calls.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else {
            return;
        };
        let removed = self.before(place + 1).minus(self.before(place));
        self.calls.remove(place);
        // the sums are used as differences: the first waiter leaves nothing to mend
        if place > 0 {
            for (_, before) in self.calls.iter_mut().skip(place) {
                *before = before.minus(removed);
            }
            self.total = self.total.minus(removed);
        }
    }

    /// The sums before the waiter at `place`.
    fn before(&self, place: usize) -> Sums {
        self.calls.get(place).map_or(self.total, |(_, before)| *before)
    }

    /// The demand of the first `count` waiters.
    pub(super) fn demand(&self, count: usize) -> Demand {
        let count = count.min(self.calls.len());
        Demand {
            calls: count as u64,
            tokens: self.before(count).minus(self.before(0)).tokens,
        }
    }

    /// The virtual time between the start tag of the head and the finish tag of the last waiter.
    pub(super) fn cost(&self) -> u128 {
        self.total.minus(self.before(0)).cost
    }

    /// The number of waiters whose start tags are at most `span` after that of the head.
    pub(super) fn starting_within(&self, span: u128) -> usize {
        let first = self.before(0);
        self.calls
            .partition_point(|(_, before)| before.minus(first).cost <= span)
    }

    /// The number of waiters that fit into `tokens` together.
    pub(super) fn fitting(&self, tokens: u64) -> usize {
        let first = self.before(0);
        let starting = self
            .calls
            .partition_point(|(_, before)| before.minus(first).tokens <= tokens);
        // the last of them starts within, but may end beyond
        let last = starting.saturating_sub(1);
        if self.demand(starting).tokens <= tokens {
            starting
        } else {
            last
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The sums agree with a plain list after every change.
        #[test]
        fn agrees_with_a_list(changes in prop::collection::vec((any::<bool>(), 0_usize..8, 0_u64..50), 1..60)) {
            let (mut calls, mut list) = (WaitingCalls::default(), Vec::new());
            for (number, (leaves, place, tokens)) in changes.into_iter().enumerate() {
                if leaves && !list.is_empty() {
                    let (ticket, _) = list.remove(place % list.len());
                    calls.remove(ticket);
                } else {
                    let ticket = Ticket(number as u64);
                    calls.push(ticket, tokens, u128::from(tokens) * 2);
                    list.push((ticket, tokens));
                }
                prop_assert!(calls.tickets().eq(list.iter().map(|(ticket, _)| *ticket)));
                let sum = |count: usize| list.iter().take(count).map(|(_, tokens)| tokens).sum::<u64>();
                for count in 0..=list.len() {
                    prop_assert_eq!(calls.demand(count).tokens, sum(count));
                }
                prop_assert_eq!(calls.cost(), u128::from(sum(list.len())) * 2);
                for limit in [0, 30, 100] {
                    let starting = (0..list.len()).filter(|count| sum(*count) <= limit).count();
                    prop_assert_eq!(calls.starting_within(u128::from(limit) * 2), starting);
                    let fitting = (1..=list.len()).filter(|count| sum(*count) <= limit).count();
                    prop_assert_eq!(calls.fitting(limit), fitting);
                }
            }
        }
    }
}
