//! What each policy made of the same calls, side by side, and which is better.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::event::{ChangedFate, Fate, PolicyFigures, WhatIfResult};
use crate::text::units;
use crate::tui::pane::{appearance, row};
use crate::tui::theme::{Role, Theme};

/// Where less or more of something is better, if that can be said of it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    More,
    Less,
    Neither,
}

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    Count(u64),
    Share(f64),
    Time(Duration),
    Missing,
}

impl Amount {
    /// In fewer than `width` columns where that can be.
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

    /// How much more than `other`, signed, and whether it is more or less; nothing where both look the same.
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
                // a difference that is cut away in its own column is one of writing
                let by = Some(this.abs_diff(that)).filter(|by| *by >= Duration::from_millis(5))?;
                (Self::Time(by).text(), this > that)
            }
            _ => return None,
        };
        Some((format!("{}{text}", if more { '+' } else { '-' }), more))
    }
}

/// Over the columns that were played again.
const AGAIN: &str = "played again";
/// From here on names are written out.
const WIDE: u16 = 70;

type Take = fn(&PolicyFigures) -> Amount;

/// A row: its name, the same where there is room, its figure, and what is better.
struct Figure {
    name: &'static str,
    long: &'static str,
    take: Take,
    sense: Sense,
}

const fn figure(name: &'static str, long: &'static str, take: Take, sense: Sense) -> Figure {
    Figure {
        name,
        long,
        take,
        sense,
    }
}

/// Every row.
#[rustfmt::skip]
const FIGURES: [Figure; 18] = [
    figure("served", "served", |judged| Amount::Count(judged.served()), Sense::More),
    figure("of all", "share served", share, Sense::More),
    figure("from cache", "from the cache", |judged| of(judged, Fate::Hit), Sense::Neither),
    figure("shared", "shared a flight", |judged| of(judged, Fate::Shared), Sense::Neither),
    figure("rejected", "rejected (limiter)", |judged| of(judged, Fate::RateLimited), Sense::Less),
    figure("refused", "refused (breaker)", |judged| of(judged, Fate::CircuitOpen), Sense::Less),
    figure("failed", "failed", |judged| of(judged, Fate::Failed), Sense::Less),
    figure("cut", "cut short", |judged| of(judged, Fate::Interrupted), Sense::Less),
    figure("stopped", "stopped by you", |judged| of(judged, Fate::Cancelled), Sense::Neither),
    figure("not ended", "not ended yet", |judged| Amount::Count(judged.running()), Sense::Neither),
    figure("attempts", "attempts", |judged| Amount::Count(judged.attempts), Sense::Neither),
    figure("retries", "retries", |judged| Amount::Count(judged.retries), Sense::Neither),
    figure("queued", "queued (limiter)", |judged| Amount::Count(judged.waited), Sense::Neither),
    figure("p50", "p50 of answers", |judged| time(judged.p50), Sense::Less),
    figure("p95", "p95 of answers", |judged| time(judged.p95), Sense::Less),
    figure("tokens", "tokens used", |judged| Amount::Count(judged.tokens), Sense::Neither),
    figure("wasted", "tokens wasted", |judged| Amount::Count(judged.wasted), Sense::Less),
    figure("opened", "breaker opened", |judged| Amount::Count(judged.opened), Sense::Neither),
];

fn of(judged: &PolicyFigures, fate: Fate) -> Amount {
    Amount::Count(judged.ended_as(fate))
}

/// The rows for a small screen, two beside each other.
const MAIN: [[&str; 2]; 3] = [["served", "attempts"], ["refused", "failed"], ["rejected", "p95"]];

fn share(judged: &PolicyFigures) -> Amount {
    if judged.calls == 0 {
        return Amount::Missing;
    }
    Amount::Share(judged.served() as f64 / judged.calls as f64)
}

fn time(time: Option<Duration>) -> Amount {
    time.map_or(Amount::Missing, Amount::Time)
}

/// The figures that are shown, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures<'a> {
    /// What was judged; nothing yet, maybe.
    pub(super) result: Option<&'a WhatIfResult>,
    /// Whether it is about the copy as it is now.
    pub(super) current: bool,
    /// Whether the copy differs from what runs.
    pub(super) changed: bool,
}

impl Figures<'_> {
    fn role(self, role: Role) -> Role {
        if self.current { role } else { Role::Muted }
    }

    /// The difference with its mark and word, as wide as `width` allows.
    fn verdict(self, theme: &Theme, row: &Figure, columns: (usize, usize)) -> (String, Role) {
        let (number, rest) = columns;
        let compared = self.result.and_then(|result| {
            let (this, that) = if self.changed {
                (&result.edited, &result.running)
            } else {
                (&result.running, &result.observed)
            };
            (row.take)(this).difference((row.take)(that))
        });
        let Some((text, more)) = compared else {
            let same = if self.result.is_some() { "=" } else { "" };
            return (format!("{same:>number$}{:rest$}", ""), self.role(Role::Muted));
        };
        let (glyph, word, role) = match (row.sense, more, self.changed) {
            // between what was and what is played again nothing is better: the one is a model of the other
            (Sense::Neither, ..) | (.., false) => (" ", "", Role::Text),
            (Sense::More, true, _) | (Sense::Less, false, _) => (theme.glyphs.ok, "better", Role::Ok),
            (Sense::More, false, _) | (Sense::Less, true, _) => (theme.glyphs.failed, "worse", Role::Bad),
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

/// A figure in its column; nothing where nothing was judged.
fn cell(judged: Option<&PolicyFigures>, take: Take, width: usize) -> String {
    let text = judged.map_or(String::new(), |judged| take(judged).within(width));
    row::right(&text, width)
}

/// The whole table: really, running again, copy, difference. Returns the rows it took.
pub(super) fn table(theme: &Theme, figures: Figures<'_>, area: Rect, buf: &mut Buffer) -> u16 {
    let wide = area.width >= WIDE;
    let (name, really, again, copy, number) = if wide { (18, 9, 10, 9, 9) } else { (11, 7, 8, 7, 7) };
    let copied = if figures.changed { "copy" } else { "" };
    // both columns are of the same kind, and that is not what really was
    let over = if figures.changed { again + copy } else { again };
    let heads = [
        format!("{AGAIN:>0$}", name + really + over),
        format!(
            "{:name$}{:>really$}{:>again$}{copied:>copy$} difference",
            "", "really", "running"
        ),
    ];
    let mut lines: Vec<Line<'static>> = heads
        .into_iter()
        .map(|head| Line::from(row::piece(theme, Role::Muted, head)))
        .collect();
    for figure in &FIGURES {
        let result = figures.result;
        let copied = result.filter(|_| figures.changed);
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
                cell(result.map(|it| &it.observed), figure.take, really),
            ),
            row::piece(
                theme,
                figures.role(Role::Text),
                cell(result.map(|it| &it.running), figure.take, again),
            ),
            row::piece(
                theme,
                figures.role(Role::Strong),
                cell(copied.map(|it| &it.edited), figure.take, copy),
            ),
            row::piece(theme, role, verdict),
        ]));
    }
    row::draw_all(&lines, area, buf);
    u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height)
}

/// The main figures in two blocks: as much of each as decides.
pub(super) fn main(theme: &Theme, figures: Figures<'_>, area: Rect, buf: &mut Buffer) {
    let block = usize::from(area.width.saturating_sub(2) / 2);
    // name, first figure, difference; a mark, a mark with its word
    let (name, first, number, rest) = match block {
        ..30 => (8, 5, 7, 1),
        30..37 => (9, 6, 7, 2),
        _ => (9, 6, 7, 9),
    };
    let (left, right) = if figures.changed {
        ("runs", "copy")
    } else {
        ("real", "again")
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
            line.push_span(row::piece(theme, role_of, cell(this, figure.take, first)));
            let strong = figures.role(Role::Strong);
            line.push_span(row::piece(theme, strong, cell(that, figure.take, 6)));
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

/// The latest calls that would have ended otherwise, as many as there is room for.
pub(super) fn examples(theme: &Theme, figures: Figures<'_>, area: Rect, buf: &mut Buffer) {
    let Some(result) = figures.result.filter(|_| figures.changed) else {
        return;
    };
    if result.changed == 0 || area.height < 2 {
        return;
    }
    let calls = if result.changed == 1 { "call" } else { "calls" };
    let head = format!("{} {calls} would have ended otherwise", result.changed);
    let mut lines = vec![Line::from(row::piece(theme, figures.role(Role::Strong), head))];
    lines.extend(
        result
            .examples
            .iter()
            .map(|example| other(theme, figures, example)),
    );
    row::draw_all(&lines, area, buf);
}

fn other(theme: &Theme, figures: Figures<'_>, example: &ChangedFate) -> Line<'static> {
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
    fn differences_are_signed_and_what_looks_the_same_is_the_same() {
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
    fn the_main_figures_are_figures() {
        for name in MAIN.iter().flatten() {
            assert!(FIGURES.iter().any(|figure| figure.name == *name), "{name}");
        }
    }
}
