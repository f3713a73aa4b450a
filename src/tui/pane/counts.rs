//! Row 3: the counts of all calls, and the progress of the newest burst.
//!
//! ```text
//!  236 calls   ✓ 121 answered   ◇  45 cached   ≈   1 shared   ✗  13 failed   ⊘  56 refused   ▶   0 running
//! ```
//!
//! The counts add up to the number of calls. In the wide form they keep their columns while they grow.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::Fate;
use crate::state::{Burst, FateCounts};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::status::{GAP, with_blank};
use super::{row, units};

/// Width from which all usual counts are shown, each in its column.
const WIDE: usize = 110;

/// Draws the counts of all calls since the start, and the progress of the last burst while it runs.
pub(crate) fn counts(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    row::draw(&counts_line(view, usize::from(area.width)), 0, area, buf);
}

/// The row of the counts.
pub(super) fn counts_line(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    if view.state.calls.totals.started == 0 {
        return row::muted(theme, " no calls yet");
    }
    let counts = Counts::new(view, width >= WIDE);
    let line = row::first_fit(theme, counts.wordings(), width);
    let window = "since start".to_owned();
    let burst = burst_text(view);
    let remarks = if burst.is_empty() {
        vec![window]
    } else {
        vec![format!("{burst}   {window}"), burst, window]
    };
    let room = width.saturating_sub(line.width() + GAP);
    let fits = remarks
        .into_iter()
        .map(with_blank)
        .find(|text| row::width(text) <= room);
    row::apart(line, row::muted(theme, fits.unwrap_or_default()), GAP, width)
}

/// `burst 2: 31 of 50 done` for the newest burst that runs, with the number of others.
pub(super) fn burst_text(view: &View<'_>) -> String {
    let running: Vec<&Burst> = view.state.calls.running_bursts().collect();
    let Some((burst, others)) = running.split_last() else {
        return String::new();
    };
    let done = burst.counts.finished();
    let text = format!("burst {}: {done} of {} done", burst.burst, burst.calls);
    match others.len() {
        0 => text,
        others => format!("{text}, {others} more"),
    }
}

/// One count: glyph, number, word.
struct Count {
    role: Role,
    glyph: &'static str,
    number: u64,
    word: &'static str,
}

struct Counts<'a> {
    view: &'a View<'a>,
    totals: &'a FateCounts,
    wide: bool,
    shown: Vec<Count>,
}

/// The counts with words beside them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    All,
    /// Those whose glyph alone is ambiguous, and what running calls do.
    Some,
    /// Only where two counts share a glyph.
    Few,
}

impl<'a> Counts<'a> {
    /// Those that add up to all calls. The usual ones are shown at zero too where there is room for it.
    fn new(view: &'a View<'a>, wide: bool) -> Self {
        let (glyphs, totals) = (view.theme.glyphs, &view.state.calls.totals);
        let ended = |fate| totals.ended(fate);
        let held = totals.queued + totals.backing_off + totals.following;
        let in_flight = totals.running().saturating_sub(held);
        // calls that wait somewhere are apart from those in flight
        let running = if held == 0 { "running" } else { "in flight" };
        let counts = [
            (true, Role::Ok, glyphs.ok, ended(Fate::Answered), "answered"),
            (true, Role::Saved, glyphs.hit, ended(Fate::Hit), "cached"),
            (true, Role::Saved, glyphs.shared, ended(Fate::Shared), "shared"),
            (true, Role::Broken, glyphs.failed, ended(Fate::Failed), "failed"),
            (
                false,
                Role::Broken,
                glyphs.cut,
                ended(Fate::Interrupted),
                "cut off",
            ),
            (
                true,
                Role::Refused,
                glyphs.refused,
                ended(Fate::CircuitOpen),
                "refused",
            ),
            (
                false,
                Role::Refused,
                glyphs.refused,
                ended(Fate::RateLimited),
                "limited",
            ),
            (
                false,
                Role::Muted,
                glyphs.stopped,
                ended(Fate::Cancelled),
                "stopped",
            ),
            (true, Role::Work, glyphs.streaming, in_flight, running),
            (false, Role::Saved, glyphs.shared, totals.following, "joined"),
            (false, Role::Held, glyphs.queued, totals.queued, "queued"),
            (false, Role::Held, glyphs.retry, totals.backing_off, "backing off"),
        ];
        let shown = counts
            .into_iter()
            .filter(|(usual, .., number, word)| *number > 0 || (*usual && wide) || *word == running)
            .map(|(_, role, glyph, number, word)| Count {
                role,
                glyph,
                number,
                word,
            })
            .collect();
        Self {
            view,
            totals,
            wide,
            shown,
        }
    }

    /// The wordings, the longest first.
    fn wordings(&self) -> impl Iterator<Item = Line<'static>> {
        let wide = [3, 2].into_iter().filter(|_| self.wide);
        let wide = wide.map(|gap| self.line(gap, true, Words::All));
        let narrow = [Words::All, Words::Some, Words::Few].map(|words| self.line(1, false, words));
        wide.chain(narrow).chain([self.head()])
    }

    /// `236 calls`.
    fn head(&self) -> Line<'static> {
        let text = format!(" {}", units::count(self.totals.started, "call"));
        Line::from(row::piece(self.view.theme, Role::Strong, text))
    }

    /// The head and the counts, `gap` blanks apart; `aligned` numbers keep their columns while they grow.
    fn line(&self, gap: usize, aligned: bool, words: Words) -> Line<'static> {
        let theme = self.view.theme;
        let digits = self.totals.started.to_string().len().max(3);
        let mut line = self.head();
        for count in &self.shown {
            let mut text = count.number.to_string();
            if aligned {
                text = format!(" {}", row::right(&text, digits));
            }
            let worded = match words {
                Words::All => true,
                Words::Some => matches!(
                    count.word,
                    "refused" | "limited" | "joined" | "in flight" | "queued" | "backing off"
                ),
                Words::Few => matches!(count.word, "limited" | "joined"),
            };
            if worded {
                text = format!("{text} {}", count.word);
            }
            let quiet = count.number == 0;
            let role = |role| if quiet { Role::Muted } else { role };
            line.push_span(row::plain(" ".repeat(gap)));
            line.push_span(row::piece(theme, role(count.role), count.glyph));
            line.push_span(row::piece(theme, role(Role::Text), text));
        }
        line
    }
}
