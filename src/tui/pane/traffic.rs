//! The Traffic pane: attempts per second, stacked by cause, below the faults and the state of the breaker.
//!
//! The first attempts are at the bottom, the causes of retries above them in the order of their cost. On the whole
//! screen the outcomes of calls follow below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::Fate;
use crate::state::{RetryCause, Slot};
use crate::tui::plot::bars::Part;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::PaneId;
use super::chart::{self, Chart, Layer};

/// Rows from which the whole screen shows the outcomes too.
const TWO_CHARTS: u16 = 16;

/// Draws the attempts.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let areas = chart::areas(view);
    let zoomed = chart::is_zoomed(view, PaneId::Traffic);
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let mut chart = Chart::new(view, area);
    chart.strips(if zoomed { 2 } else { areas.tier.strips() }, buf);
    let height = chart.frame.plot.height;
    let first = if zoomed && height >= TWO_CHARTS {
        height.div_ceil(2)
    } else {
        height
    };
    let frame = chart.take(first);
    chart::stack(&chart, frame, &attempts(), buf);
    chart.lines(frame, buf);
    if chart.frame.plot.height > 2 {
        chart.sub_rule("Outcomes", "calls ended", buf);
        let frame = chart.frame;
        chart::stack(&chart, frame, &outcomes(), buf);
        chart.lines(frame, buf);
    }
}

/// First attempts and retries by cause, the lowest first.
pub(super) fn attempts() -> Vec<Layer> {
    fn fill(theme: &Theme, at: usize, role: Role) -> Part {
        Part {
            fill: theme.glyphs.fills.get(at).copied().unwrap_or(" "),
            role,
        }
    }
    fn retries(slot: &Slot, cause: RetryCause) -> u32 {
        slot.retries.get(cause as usize).copied().unwrap_or_default()
    }
    vec![
        Layer {
            labels: ["first attempt", "first attempt", "first"],
            part: |theme| fill(theme, 0, Role::Work),
            count: |slot| slot.first,
            is_usual: true,
        },
        Layer {
            labels: ["retry: rate limited", "rate limited", "429"],
            part: |theme| fill(theme, 1, Role::Held),
            count: |slot| retries(slot, RetryCause::RateLimited),
            is_usual: true,
        },
        Layer {
            labels: ["retry: server error", "server error", "server 5xx"],
            part: |theme| fill(theme, 2, Role::Broken),
            count: |slot| retries(slot, RetryCause::Server),
            is_usual: true,
        },
        Layer {
            labels: ["retry: no connection", "no connection", "connection"],
            part: |theme| fill(theme, 3, Role::Broken),
            count: |slot| retries(slot, RetryCause::Connection),
            is_usual: true,
        },
        Layer {
            labels: ["retry: timed out", "timed out", "timed out"],
            part: |theme| fill(theme, 4, Role::Broken),
            count: |slot| retries(slot, RetryCause::Timeout),
            is_usual: true,
        },
        Layer {
            labels: ["retry: stream cut", "stream cut", "stream cut"],
            part: |theme| fill(theme, 5, Role::Broken),
            count: |slot| retries(slot, RetryCause::Stream),
            is_usual: false,
        },
        Layer {
            labels: ["retry: other", "other", "other"],
            part: |theme| fill(theme, 6, Role::Broken),
            count: |slot| retries(slot, RetryCause::Other),
            is_usual: false,
        },
    ]
}

/// Ended calls by outcome, the lowest first.
fn outcomes() -> Vec<Layer> {
    fn outcome(label: &'static str, part: fn(&Theme) -> Part, count: fn(&Slot) -> u32) -> Layer {
        Layer {
            labels: [label; 3],
            part,
            count,
            is_usual: true,
        }
    }
    fn part(unicode: &'static str, ascii: &'static str, role: Role, theme: &Theme) -> Part {
        let fill = if theme.is_ascii() { ascii } else { unicode };
        Part { fill, role }
    }
    vec![
        outcome(
            "answered",
            |theme| part("░", ".", Role::Work, theme),
            |slot| slot.ended(Fate::Answered),
        ),
        outcome(
            "cached",
            |theme| part("▒", "c", Role::Saved, theme),
            |slot| slot.ended(Fate::Hit),
        ),
        outcome(
            "shared",
            |theme| part("≈", "=", Role::Saved, theme),
            |slot| slot.ended(Fate::Shared),
        ),
        outcome(
            "limited",
            |theme| part("▞", "l", Role::Held, theme),
            |slot| slot.ended(Fate::RateLimited),
        ),
        outcome(
            "refused",
            |theme| part("▓", "!", Role::Refused, theme),
            |slot| slot.ended(Fate::CircuitOpen),
        ),
        outcome(
            "failed",
            |theme| part("█", "x", Role::Broken, theme),
            |slot| {
                slot.ended(Fate::Failed)
                    .saturating_add(slot.ended(Fate::Interrupted))
            },
        ),
        outcome(
            "stopped",
            |theme| part("■", "o", Role::Text, theme),
            |slot| slot.ended(Fate::Cancelled),
        ),
    ]
}
