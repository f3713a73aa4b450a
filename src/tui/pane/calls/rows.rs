//! The rows of the Calls pane, newest first, computed on demand in both directions.
//!
//! - Neighbours that sent nothing (cached, refused, limited) share a row until the group is opened.
//! - Followers of a flight fold into its owner, as long as their fate does not differ.
//! - A filter shows every matching call in a row of its own.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use crate::event::{CallId, Fate, FlightId};
use crate::state::{Call, Calls, Doing, SpanKind};
use crate::time::Timestamp;
use crate::tui::filter::Filter;
use crate::tui::pane::PaneId;
use crate::tui::view::View;

/// Owners of flights remembered while rows are computed: more than there are users in one burst.
const OWNERS: usize = 64;

/// One row: a call, or several neighbours that sent nothing, newest first.
pub(crate) struct Row<'a> {
    pub(crate) calls: Vec<&'a Call>,
}

impl<'a> Row<'a> {
    /// The newest call, which represents the row.
    pub(crate) fn newest(&self) -> Option<&'a Call> {
        self.calls.first().copied()
    }
}

/// The visible rows.
pub(crate) struct Visible<'a> {
    pub(crate) rows: Vec<Row<'a>>,
    /// Index of the row under the cursor.
    pub(crate) cursor: Option<usize>,
    /// True if newer rows are above them.
    pub(crate) newer: bool,
}

/// The rows of a view.
pub(crate) struct Rows<'a> {
    calls: &'a Calls,
    open: &'a BTreeSet<CallId>,
    filter: Filter,
    /// Only calls that ran in this time.
    ran: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
    /// Owners of flights that were looked up, each at the place of its number: most of 10,000 calls may follow a few
    /// flights.
    owners: [Cell<Option<Owner<'a>>>; OWNERS],
}

/// The owner of a flight, if it has a row.
#[derive(Clone, Copy)]
struct Owner<'a> {
    flight: FlightId,
    call: Option<&'a Call>,
}

/// The newest call of a row, and whether the row is part of an opened group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    id: CallId,
    open: bool,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(view: &View<'a>, ran: Option<(Timestamp, Timestamp)>) -> Self {
        Self {
            calls: &view.state.calls,
            open: &view.ui.open_groups,
            filter: view.ui.filter_of(PaneId::Calls),
            ran,
            now: view.now,
            owners: [const { Cell::new(None) }; OWNERS],
        }
    }

    /// The rows of `height` lines: around the call under the cursor, or the newest.
    pub(crate) fn visible(&self, cursor: Option<CallId>, height: usize) -> Visible<'a> {
        let Some(head) = cursor.and_then(|id| self.head(id)) else {
            return Visible {
                rows: self.all().take(height).collect(),
                cursor: None,
                newer: false,
            };
        };
        let mut rows: Vec<Row<'a>> = self.newer(head).take(height).collect();
        let newer = rows.len() >= height;
        rows.truncate(height.saturating_sub(1));
        rows.reverse();
        let cursor = rows.len();
        rows.extend(self.older(head).take(height - cursor));
        Visible {
            rows,
            cursor: Some(cursor),
            newer,
        }
    }

    /// The newest call of the row that contains a call, or of the next older row, or else of the oldest row.
    pub(crate) fn row_of(&self, id: CallId) -> Option<CallId> {
        self.head(id).map(|head| head.id)
    }

    /// The newest call of the row `by` rows below that of `from`; `None` without rows.
    pub(crate) fn moved(&self, from: CallId, by: i64) -> Option<CallId> {
        let head = self.head(from)?;
        let steps = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
        let target = if by < 0 {
            self.newer(head).take(steps).last()
        } else {
            self.older(head).take(steps.saturating_add(1)).last()
        };
        Some(
            target
                .and_then(|row| row.newest())
                .map_or(head.id, |call| call.id),
        )
    }

    /// The newest shown call.
    pub(crate) fn newest(&self) -> Option<CallId> {
        let mut calls = self.calls.recent.values().rev();
        calls.find(|call| self.shows(call)).map(|call| call.id)
    }

    /// The number of shown calls; with a filter, of those that match.
    pub(crate) fn count(&self) -> usize {
        self.calls.recent.values().filter(|call| self.shows(call)).count()
    }

    /// The calls of the group that contains a call, newest first; one call or none if it has no neighbours.
    pub(crate) fn group_of(&self, id: CallId) -> Vec<&'a Call> {
        let joins = |call: &&Call| self.joins(call);
        let mut group: Vec<&Call> = self
            .shown(
                self.calls
                    .recent
                    .range((Excluded(id), Unbounded))
                    .map(|(_, call)| call),
            )
            .take_while(joins)
            .collect();
        group.reverse();
        group.extend(
            self.shown(self.calls.recent.range(..=id).rev().map(|(_, call)| call))
                .take_while(joins),
        );
        group
    }

    /// Returns true if the row that contains a call is a group of several.
    pub(crate) fn shares_row(&self, id: CallId) -> bool {
        let recent = &self.calls.recent;
        let joins = |call: Option<&Call>| call.is_some_and(|call| self.joins(call));
        let newer = recent
            .range((Excluded(id), Unbounded))
            .map(|(_, call)| call)
            .find(|call| self.shows(call));
        let older = recent
            .range(..id)
            .rev()
            .map(|(_, call)| call)
            .find(|call| self.shows(call));
        joins(recent.get(&id))
            && (joins(newer) || joins(older))
            && (self.open.is_empty() || !self.is_open(&self.group_of(id)))
    }

    /// The number of calls that fold into each of the owners in `rows`.
    pub(crate) fn followers(&self, rows: &[Row<'a>]) -> BTreeMap<CallId, u32> {
        let shared = |call: &&&Call| call.flight.is_some_and(|flight| self.calls.shares(flight));
        let calls = rows.iter().flat_map(|row| &row.calls);
        let mut counts: BTreeMap<CallId, u32> = calls.filter(shared).map(|call| (call.id, 0)).collect();
        if counts.is_empty() {
            return counts;
        }
        for call in self.calls.recent.values() {
            if let Some(owner) = self.owner(call)
                && self.ran(call)
                && let Some(count) = counts.get_mut(&owner.id)
            {
                *count += 1;
            }
        }
        counts
    }

    /// All rows, newest first.
    fn all(&self) -> impl Iterator<Item = Row<'a>> {
        self.grouped(self.calls.recent.values().rev(), false)
    }

    /// The row of `head` and the older ones, newest first.
    fn older(&self, head: Head) -> impl Iterator<Item = Row<'a>> {
        let calls = self.calls.recent.range(..=head.id).rev();
        self.grouped(calls.map(|(_, call)| call), head.open)
    }

    /// The rows newer than that of `head`, oldest first.
    fn newer(&self, head: Head) -> impl Iterator<Item = Row<'a>> {
        let calls = self.calls.recent.range((Excluded(head.id), Unbounded));
        self.grouped(calls.map(|(_, call)| call), head.open)
    }

    /// Joins neighbours in the order of `calls`. `open` is true if these calls continue an opened group.
    fn grouped(
        &self,
        calls: impl Iterator<Item = &'a Call>,
        mut open: bool,
    ) -> impl Iterator<Item = Row<'a>> {
        let mut calls = self.shown(calls).peekable();
        let mut single: VecDeque<&'a Call> = VecDeque::new();
        std::iter::from_fn(move || {
            if let Some(call) = single.pop_front() {
                return Some(Row { calls: vec![call] });
            }
            let first = calls.next()?;
            let mut group = vec![first];
            if self.joins(first) {
                while let Some(next) = calls.next_if(|next| self.joins(next)) {
                    group.push(next);
                }
                if std::mem::take(&mut open) || self.is_open(&group) {
                    single.extend(group.drain(1..));
                }
            }
            open = false;
            if group.first().map(|call| call.id) < group.last().map(|call| call.id) {
                group.reverse();
            }
            Some(Row { calls: group })
        })
    }

    /// The head of the row that contains a call, or of the next older row, or else of the oldest row.
    fn head(&self, id: CallId) -> Option<Head> {
        let recent = &self.calls.recent;
        let id = recent
            .get(&id)
            .and_then(|call| self.owner(call))
            .map_or(id, |owner| owner.id);
        let at = self
            .shown(recent.range(..=id).rev().map(|(_, call)| call))
            .next()
            .or_else(|| self.shown(recent.range(id..).map(|(_, call)| call)).next())?;
        if !self.joins(at) {
            return Some(Head {
                id: at.id,
                open: false,
            });
        }
        let group = self.group_of(at.id);
        let open = self.is_open(&group);
        let newest = group.first().map_or(at.id, |call| call.id);
        Some(Head {
            id: if open { at.id } else { newest },
            open,
        })
    }

    fn is_open(&self, group: &[&Call]) -> bool {
        let ids = || group.iter().map(|call| call.id);
        let (Some(oldest), Some(newest)) = (ids().min(), ids().max()) else {
            return false;
        };
        self.open.range(oldest..=newest).next().is_some()
    }

    fn shown(&self, calls: impl Iterator<Item = &'a Call>) -> impl Iterator<Item = &'a Call> {
        calls.filter(|call| self.shows(call))
    }

    /// Returns true for a call with a row, alone or in a group.
    fn shows(&self, call: &Call) -> bool {
        !self.folds(call) && self.matches(call)
    }

    fn matches(&self, call: &Call) -> bool {
        self.ran(call) && (self.filter.is_empty() || self.filter.matches_call(call, &[], self.now))
    }

    fn ran(&self, call: &Call) -> bool {
        self.ran.is_none_or(|(from, to)| {
            call.started_at <= to && call.ended_at.is_none_or(|ended_at| ended_at >= from)
        })
    }

    /// Returns true for a call that shares a row with its neighbours.
    fn joins(&self, call: &Call) -> bool {
        let unsent = matches!(call.fate, Some(Fate::Hit | Fate::CircuitOpen | Fate::RateLimited));
        unsent && call.spans.is_empty() && self.filter.is_empty()
    }

    /// The owner of a flight, if it has a row.
    fn owner_of(&self, flight: FlightId) -> Option<&'a Call> {
        let place = self.owners.get(flight.0 as usize % OWNERS)?;
        if let Some(known) = place.get().filter(|known| known.flight == flight) {
            return known.call;
        }
        let owner = self.calls.flights.get(&flight).map(|flight| flight.owner);
        let call = owner.and_then(|owner| self.calls.recent.get(&owner));
        let call = call.filter(|call| self.ran(call));
        place.set(Some(Owner { flight, call }));
        call
    }

    fn folds(&self, call: &Call) -> bool {
        self.owner(call).is_some()
    }

    /// The call that a follower folds into: the owner of its flight, unless their fates differ.
    fn owner(&self, call: &Call) -> Option<&'a Call> {
        if !self.filter.is_empty() {
            return None;
        }
        let follows = match call.fate {
            None => matches!(call.doing, Doing::Following { .. }),
            Some(Fate::Shared | Fate::Failed | Fate::Interrupted) => {
                call.spans.iter().all(|span| span.kind == SpanKind::Following)
            }
            Some(_) => false,
        };
        if !follows {
            return None;
        }
        let owner = self.owner_of(call.flight?);
        owner.filter(|owner| {
            let alike = matches!(call.fate, None | Some(Fate::Shared)) || call.fate == owner.fate;
            owner.id != call.id && alike
        })
    }
}
