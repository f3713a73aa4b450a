//! The figures of both policies on the same calls, and the better one of each.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::{ChangedFate, Fate, PolicyFigures, WhatIfResult};
use crate::text::units;
use crate::tui::pane::{appearance, row};
use crate::tui::theme::{Role, Theme};

/// The direction in which a figure improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    More,
    Less,
    Neither,
}

/// A figure and its format.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    Count(u64),
    Share(f64),
    Time(Duration),
    Missing,
}

impl Amount {
    /// The text, abbreviated to fewer than `width` columns where possible.
    fn within(self, width: usize) -> String {
        let text = self.text();
        match self {
            Self::Count(count) if text.len() >= width => units::amount(count),
            _ => text,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Count(count) if count < 100_000 => count.to_string(),
            Self::Count(count) => units::amount(count),
            Self::Share(share) => format!("{:.0}%", share * 100.0),
            Self::Time(time) => units::precise(time),
            Self::Missing => "--".to_owned(),
        }
    }

    /// The signed difference to `other`, and true if it is an increase; `None` if both look the same.
    fn difference(self, other: Self) -> Option<(String, bool)> {
        if self.text() == other.text() {
            return None;
        }
        let (text, more) = match (self, other) {
            (Self::Count(this), Self::Count(that)) => (Self::Count(this.abs_diff(that)).text(), this > that),
            (Self::Share(this), Self::Share(that)) => {
                let points = ((this - that).abs() * 100.0).round();
                (format!("{points}pt"), this > that)
            }
            (Self::Time(this), Self::Time(that)) => {
                // smaller differences are rounding
                let by = Some(this.abs_diff(that)).filter(|by| *by >= Duration::from_millis(5))?;
                (Self::Time(by).text(), this > that)
            }
            _ => return None,
        };
        Some((format!("{}{text}", if more { '+' } else { '-' }), more))
    }
}

/// The heading over the replayed columns.
const REPLAYED: &str = "replayed";
/// The width from which on names are in full.
const WIDE: u16 = 70;

type Get = fn(&PolicyFigures) -> Amount;

/// A row of the table.
struct Figure {
    name: &'static str,
    /// The name where there is room.
    long: &'static str,
    get: Get,
    sense: Sense,
}

const fn figure(name: &'static str, long: &'static str, get: Get, sense: Sense) -> Figure {
    Figure {
        name,
        long,
        get,
        sense,
    }
}

/// The rows of the table.
#[rustfmt::skip]
const FIGURES: [Figure; 18] = [
    figure("served", "served", |policy| Amount::Count(policy.served()), Sense::More),
    figure("of all", "share served", share, Sense::More),
    figure("cached", "cached", |policy| ended_as(policy, Fate::Hit), Sense::Neither),
    figure("shared", "shared", |policy| ended_as(policy, Fate::Shared), Sense::Neither),
    figure("limited", "limited (limiter)", |policy| ended_as(policy, Fate::RateLimited), Sense::Less),
    figure("refused", "refused (breaker)", |policy| ended_as(policy, Fate::CircuitOpen), Sense::Less),
    figure("failed", "failed", |policy| ended_as(policy, Fate::Failed), Sense::Less),
    figure("cut off", "cut off", |policy| ended_as(policy, Fate::Interrupted), Sense::Less),
    figure("stopped", "stopped by you", |policy| ended_as(policy, Fate::Cancelled), Sense::Neither),
    figure("not ended", "not ended yet", |policy| Amount::Count(policy.running()), Sense::Neither),
    figure("attempts", "attempts", |policy| Amount::Count(policy.attempts), Sense::Neither),
    figure("retries", "retries", |policy| Amount::Count(policy.retries), Sense::Neither),
    figure("queued", "queued (limiter)", |policy| Amount::Count(policy.waited), Sense::Neither),
    figure("p50", "p50 of answers", |policy| time(policy.p50), Sense::Less),
    figure("p95", "p95 of answers", |policy| time(policy.p95), Sense::Less),
    figure("tokens", "tokens used", |policy| Amount::Count(policy.tokens), Sense::Neither),
    figure("wasted", "tokens wasted", |policy| Amount::Count(policy.wasted), Sense::Less),
    figure("opened", "breaker opened", |policy| Amount::Count(policy.opened), Sense::Neither),
];

fn ended_as(policy: &PolicyFigures, fate: Fate) -> Amount {
    Amount::Count(policy.ended_as(fate))
}

/// The rows for a small screen, two side by side.
const MAIN: [[&str; 2]; 3] = [["served", "attempts"], ["refused", "failed"], ["limited", "p95"]];

fn share(policy: &PolicyFigures) -> Amount {
    if policy.calls == 0 {
        return Amount::Missing;
    }
    Amount::Share(policy.served() as f64 / policy.calls as f64)
}

fn time(time: Option<Duration>) -> Amount {
    time.map_or(Amount::Missing, Amount::Time)
}

/// The result to draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures<'a> {
    /// The latest result.
    pub(super) result: Option<&'a WhatIfResult>,
    /// True if it belongs to the latest edit.
    pub(super) current: bool,
    /// True if the edited policy differs from the running one.
    pub(super) changed: bool,
}

impl Figures<'_> {
    fn role(self, role: Role) -> Role {
        if self.current { role } else { Role::Muted }
    }

    /// The difference with its symbol and word, for `columns` of number and rest.
    fn verdict(self, theme: &Theme, row: &Figure, columns: (usize, usize)) -> (String, Role) {
        let (number, rest) = columns;
        let compared = self.result.and_then(|result| {
            let (this, that) = if self.changed {
                (&result.edited, &result.running)
            } else {
                (&result.running, &result.observed)
            };
            (row.get)(this).difference((row.get)(that))
        });
        let Some((text, more)) = compared else {
            let same = if self.result.is_some() { "=" } else { "" };
            return (format!("{same:>number$}{:rest$}", ""), self.role(Role::Muted));
        };
        let (glyph, word, role) = match (row.sense, more, self.changed) {
            // the replay is a model of the observed calls: neither is better
            (Sense::Neither, ..) | (.., false) => (" ", "", Role::Text),
            (Sense::More, true, _) | (Sense::Less, false, _) => (theme.glyphs.ok, "better", Role::Ok),
            (Sense::More, false, _) | (Sense::Less, true, _) => (theme.glyphs.failed, "worse", Role::Broken),
        };
        let mark = match rest {
            0 => String::new(),
            1 => glyph.to_owned(),
            2..9 => format!(" {glyph}"),
            _ => format!(" {glyph} {word:<6}"),
        };
        (format!("{text:>number$}{mark}"), self.role(role))
    }
}

/// A figure in its column; blank without a result.
fn cell(policy: Option<&PolicyFigures>, get: Get, width: usize) -> String {
    let text = policy.map_or(String::new(), |policy| get(policy).within(width));
    row::right(&text, width)
}

/// The whole table: observed, running, edited, difference. Returns the number of its rows.
pub(super) fn table(theme: &Theme, figures: Figures<'_>, area: Rect, buf: &mut Buffer) -> u16 {
    let wide = area.width >= WIDE;
    let (name, observed, running, edited, number) = if wide { (18, 9, 10, 9, 9) } else { (10, 8, 8, 7, 7) };
    let edited_head = if figures.changed { "edited" } else { "" };
    // the heading is over the replayed columns only
    let replayed = running + if figures.changed { edited } else { 0 };
    let heads = [
        format!("{REPLAYED:>0$}", name + observed + replayed),
        format!(
            "{:name$}{:>observed$}{:>running$}{edited_head:>edited$} difference",
            "", "observed", "running"
        ),
    ];
    let mut lines: Vec<Line<'static>> = heads
        .into_iter()
        .map(|head| Line::from(row::piece(theme, Role::Muted, head)))
        .collect();
    for figure in &FIGURES {
        let result = figures.result;
        let shown = result.filter(|_| figures.changed);
        let (verdict, role) = figures.verdict(theme, figure, (number, 9));
        lines.push(Line::from(vec![
            row::piece(
                theme,
                figures.role(Role::Text),
                row::left(if wide { figure.long } else { figure.name }, name),
            ),
            row::piece(
                theme,
                Role::Muted,
                cell(result.map(|it| &it.observed), figure.get, observed),
            ),
            row::piece(
                theme,
                figures.role(Role::Text),
                cell(result.map(|it| &it.running), figure.get, running),
            ),
            row::piece(
                theme,
                figures.role(Role::Strong),
                cell(shown.map(|it| &it.edited), figure.get, edited),
            ),
            row::piece(theme, role, verdict),
        ]));
    }
    row::draw_all(&lines, area, buf);
    u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height)
}

/// The main figures in two blocks.
pub(super) fn main(theme: &Theme, figures: Figures<'_>, area: Rect, buf: &mut Buffer) {
    let block = usize::from(area.width.saturating_sub(2) / 2);
    // name, first figure, difference, symbol (with its word)
    let (name, first, number, rest) = match block {
        ..30 => (8, 5, 7, 1),
        30..37 => (9, 6, 7, 2),
        _ => (9, 6, 7, 9),
    };
    let (left, right) = if figures.changed {
        ("runs", "edit")
    } else {
        ("obs.", "runs")
    };
    let head = format!("{:name$}{left:>first$}{right:>6}{:>number$}", "", "diff");
    let head = row::left(&head, block + 2);
    let mut lines = vec![Line::from(row::piece(
        theme,
        Role::Muted,
        format!("{head}{head}"),
    ))];
    for names in MAIN {
        let mut line = Line::default();
        for figure in names
            .iter()
            .filter_map(|name| FIGURES.iter().find(|row| row.name == *name))
        {
            let (verdict, role) = figures.verdict(theme, figure, (number, rest));
            let (this, that) = match (figures.result, figures.changed) {
                (Some(result), true) => (Some(&result.running), Some(&result.edited)),
                (Some(result), false) => (Some(&result.observed), Some(&result.running)),
                (None, _) => (None, None),
            };
            let role_of = figures.role(Role::Text);
            line.push_span(row::piece(theme, role_of, row::left(figure.name, name)));
            line.push_span(row::piece(theme, role_of, cell(this, figure.get, first)));
            let strong = figures.role(Role::Strong);
            line.push_span(row::piece(theme, strong, cell(that, figure.get, 6)));
            line.push_span(row::piece(
                theme,
                role,
                row::left(&verdict, block + 2 - name - first - 6),
            ));
        }
        lines.push(line);
    }
    row::draw_all(&lines, area, buf);
}

/// The latest calls that would have ended differently, as many as fit.
pub(super) fn examples(theme: &Theme, figures: Figures<'_>, area: Rect, buf: &mut Buffer) {
    let Some(result) = figures.result.filter(|_| figures.changed) else {
        return;
    };
    if result.changed == 0 || area.height < 2 {
        return;
    }
    let calls = units::count(result.changed, "call");
    let head = format!("{calls} would have ended differently");
    let mut lines = vec![Line::from(row::piece(theme, figures.role(Role::Strong), head))];
    lines.extend(
        result
            .examples
            .iter()
            .map(|example| example_row(theme, figures, example)),
    );
    row::draw_all(&lines, area, buf);
}

fn example_row(theme: &Theme, figures: Figures<'_>, example: &ChangedFate) -> Line<'static> {
    let end = |fate| {
        let mark = appearance::for_fate(theme, fate);
        let text = format!("{} {:<8}", mark.glyph, mark.word);
        row::piece(theme, figures.role(mark.role), text)
    };
    Line::from(vec![
        row::piece(
            theme,
            figures.role(Role::Text),
            format!("{:>8} ", example.call.to_string()),
        ),
        end(example.running),
        row::piece(theme, Role::Muted, " -> "),
        end(example.edited),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_signed_and_equal_texts_have_none() {
        let ms = |millis| Amount::Time(Duration::from_millis(millis));
        let table = [
            (Amount::Count(12), Amount::Count(20), Some("-8")),
            (Amount::Count(200_400), Amount::Count(100_000), Some("+100k")),
            (Amount::Share(0.9), Amount::Share(0.5), Some("+40pt")),
            (Amount::Share(0.901), Amount::Share(0.9), None),
            (ms(1_250), ms(1_000), Some("+0.25s")),
            (ms(1_001), ms(1_000), None),
            (ms(4_115), ms(4_114), None),
            (ms(1), Amount::Missing, None),
            (Amount::Count(u64::MAX), Amount::Count(0), Some("+18E")),
        ];
        for (this, that, text) in table {
            let difference = this.difference(that).map(|(text, _)| text);
            assert_eq!(difference.as_deref(), text, "{this:?} {that:?}");
        }
    }

    #[test]
    fn main_figures_are_rows_of_the_table() {
        for name in MAIN.iter().flatten() {
            assert!(FIGURES.iter().any(|figure| figure.name == *name), "{name}");
        }
    }
}
