//! The Cache card: the share of lookups answered without the upstream, over time, and what it saved.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::settings::SemanticMode;
use crate::tui::plot::Axis;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::card::{self, ROOMY, WIDE};
use super::{gauge, row, units};

/// The explanation before the first call.
const ABOUT: [&str; 2] = [
    "Answers a repeated question from memory: no call, no cost, no waiting.",
    "Answers repeats from memory.",
];
/// The least time that a point of the sparkline covers.
const POINT: Duration = Duration::from_secs(3);

/// Draws the card.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let (width, rows) = (usize::from(area.width), usize::from(area.height));
    card::draw(view, lines(view, width, rows), area, buf);
}

/// The window of the card, for its title.
pub(crate) fn title(view: &View<'_>, room: usize) -> String {
    if card::is_first(view.state) || !view.state.cache.on {
        return String::new();
    }
    card::window(view.ui.window.label(), room)
}

fn lines(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let cache = &view.state.cache;
    let glyph = row::piece(theme, Role::Saved, format!("{} ", theme.glyphs.hit));
    if !cache.on {
        return off(view, width);
    }
    if card::is_first(view.state) {
        let glyph = row::piece(theme, Role::Muted, format!("{} ", theme.glyphs.hit));
        let empty = card::figure(theme, glyph, "empty", "", width);
        return card::explained(theme, empty, ABOUT, policy(view, width, rows), (width, rows));
    }
    let sum = view.state.timeline.last(view.now, view.ui.window.span(view.now));
    let counts = format!("{} of {}", sum.hits, sum.lookups);
    // fewer than ten lookups have no percentage
    let (figure, rest) = match sum.hit_rate().filter(|_| sum.lookups >= 10) {
        Some(rate) if width >= ROOMY => (
            format!("{:.0}% cached", rate * 100.0),
            format!("{counts} lookups"),
        ),
        Some(rate) => (format!("{:.0}% cached", rate * 100.0), counts),
        None if sum.lookups == 0 => ("no lookups".to_owned(), String::new()),
        None => (format!("{counts} cached"), String::new()),
    };
    let mut lines = vec![
        card::figure(theme, glyph, &figure, &rest, width),
        history(view, width),
    ];
    let (new, joined) = (
        units::grouped(sum.new_prompts.into()),
        units::grouped(sum.joined.into()),
    );
    if rows < 5 {
        lines.push(Line::from(format!("{} of {} lookups", sum.hits, sum.lookups)));
        return lines;
    }
    let noun = if sum.new_prompts == 1 { "prompt" } else { "prompts" };
    let wordings = [
        format!("{new} new {noun}, {joined} joined a call in flight"),
        format!("{new} new {noun}, {joined} shared"),
        format!("{new} new, {joined} shared"),
    ];
    lines.push(row::first_fit(theme, wordings, width));
    lines.push(saved(view, width));
    if rows >= 7 {
        let most = units::bytes(view.state.session.policy.cache.max_bytes);
        let answers = units::grouped(cache.entries);
        let kept = format!("{answers} answers kept, {} of {most}", units::bytes(cache.bytes));
        lines.push(row::join(theme, [row::muted(theme, kept)], width));
    }
    // a remedy is worth more than the policy
    let remedy = cache
        .advice(&view.state.session.policy.cache)
        .filter(|advice| advice.remedy);
    lines.push(match remedy {
        Some(advice) => {
            let text = row::clip(theme, &advice.text, width);
            card::words(theme, Role::Held, text)
        }
        None => policy(view, width, rows),
    });
    lines
}

fn off(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let state = if width < WIDE {
        "every call is sent"
    } else {
        "every call is sent upstream"
    };
    vec![
        card::words(theme, Role::Strong, "OFF"),
        Line::from(state),
        row::muted(theme, "c switches it on"),
    ]
}

/// The share of hits over the window, oldest first, and the newest share. A point without lookups is blank.
fn history(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let (label, cells) = if width < WIDE {
        (0, width.saturating_sub(2))
    } else {
        (5, width.saturating_sub(4).min(40))
    };
    let axis = Axis::new(view, cells as u16);
    let point = axis.bin().max(POINT);
    let shares: Vec<Option<f64>> = (0..axis.columns())
        .map(|column| {
            let end = (axis.at(column) + axis.bin()).min(axis.end());
            (!axis.is_before_start(column)).then(|| view.state.timeline.last(end, point).hit_rate())?
        })
        .collect();
    let newest = shares.iter().rev().flatten().next().copied();
    let mut line = card::words(theme, Role::Saved, gauge::sparkline(theme, shares, 1.0));
    if let (Some(newest), 1..) = (newest, label) {
        let text = format!("{:.0}%", newest * 100.0);
        line.push_span(row::piece(theme, Role::Muted, row::right(&text, width - cells)));
    }
    line
}

/// Tokens and time saved since the start.
pub(super) fn saved(view: &View<'_>, width: usize) -> Line<'static> {
    let cache = &view.state.cache;
    if cache.saved_tokens == 0 {
        return Line::from("saved nothing yet");
    }
    let time = units::seconds(Duration::from_secs(cache.saved_time.as_secs()));
    let time = if cache.saved_time < Duration::from_secs(10) {
        units::seconds(cache.saved_time)
    } else {
        time
    };
    let wordings = [
        format!("saved {} tokens and {time}", units::grouped(cache.saved_tokens)),
        format!("saved {} tokens, {time}", units::amount(cache.saved_tokens)),
    ];
    row::first_fit(view.theme, wordings, width)
}

/// The time to live and the size of the cache.
fn policy(view: &View<'_>, width: usize, rows: usize) -> Line<'static> {
    let settings = &view.state.session.policy.cache;
    let kept = format!("kept for {}", units::seconds(settings.ttl));
    let most = units::bytes(settings.max_bytes);
    let semantic = match view.state.session.policy.semantic.mode {
        SemanticMode::Off => "semantic cache off (s)",
        SemanticMode::Shadow => "semantic cache only compares (s)",
        SemanticMode::On => "semantic cache on (s)",
    };
    let long = if rows >= 7 {
        format!("{kept}; {semantic}")
    } else {
        format!("{kept}, up to {most}")
    };
    let wordings = [long, format!("{kept}, up to {most}"), kept];
    row::first_fit(
        view.theme,
        wordings.map(|text| row::muted(view.theme, text)),
        width,
    )
}
