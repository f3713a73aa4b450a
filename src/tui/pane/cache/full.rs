//! The Cache pane: hit rate, savings, and why lookups missed.
//!
//! Beside other panes it has seven rows; the last one is for a remedy, if there is one. On the whole screen it
//! adds each way of answering without the upstream (session and last minute), the fields that caused misses, the
//! latest misses, and the semantic cache.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::settings::SemanticMode;
use crate::state::{FieldCount, ServedCounts};
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::super::{gauge, near_miss, row, semantic, units};

/// Seconds that the sparkline covers.
const SPAN: u64 = 60;
/// Rows of the smallest full view.
const FULL: usize = 14;
/// Rows of the smallest full view with all facts of both caches.
const ROOMY: usize = 30;
/// Columns of the labels at the left.
const LABEL: usize = 8;
/// Columns of the label of a period, and of one count in it.
const PERIOD: usize = 9;
const COUNT: usize = 11;
/// Columns of the name of a field, and of its two counts.
const FIELD: usize = 35;
const ALONE: usize = 8;
const WITH_OTHERS: usize = 13;

/// Draws the cache in full.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let rows = usize::from(area.height);
    let lines = if rows >= FULL {
        full(view, width, rows)
    } else {
        let mut lines = vec![heading(view, width), history(view, "  ", 30, &[], width)];
        lines.extend(facts(view, width));
        let advice = view.state.cache.advice().filter(|advice| advice.remedy);
        if let (Some(advice), Some(last)) = (advice, lines.last_mut()) {
            let text = row::clip(view.theme, &advice.text, width.saturating_sub(LABEL));
            *last = Line::from(vec![
                row::plain(row::left("why", LABEL)),
                row::piece(view.theme, Role::Held, text),
            ]);
        }
        lines
    };
    row::draw_all(&lines, area, buf);
}

/// Savings, size, misses, bypasses and stored answers.
fn facts(view: &View<'_>, width: usize) -> [Line<'static>; 5] {
    [
        saved(view, width),
        size(view, width),
        missed(view, width),
        bypassed(view, width),
        stored(view, width),
    ]
}

/// The full view in `rows` rows: the counts first; the lists share the rest.
fn full(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let near = &view.state.cache.near;
    let semantic_on = view.state.semantic.mode != SemanticMode::Off;
    let mut lines = vec![heading(view, width)];
    if semantic_on && rows < ROOMY {
        // facts that other rows imply make room for the semantic cache
        lines.extend(periods(view, width));
        lines.extend([saved(view, width), size(view, width)]);
    } else {
        lines.push(history(view, "  ", 60, &[], width));
        lines.extend(periods(view, width));
        lines.extend(facts(view, width));
    }
    lines.extend(advice(view, width));
    let mut semantic = semantic::lines(view, width as u16);
    // its lines are ordered by importance
    let room = rows.saturating_sub(lines.len());
    semantic.truncate(
        if semantic_on {
            room.saturating_sub(2)
        } else {
            room / 2
        }
        .max(1),
    );
    let left = rows.saturating_sub(lines.len() + semantic.len());
    let gap = usize::from(left > 8);
    // both lists have a heading; the counts get a third of the room
    let fields = near.by_count();
    let counted = fields.len().min((left / 3).max(2));
    let latest = left.saturating_sub(counted + 2 + 3 * gap);
    let blank = |lines: &mut Vec<Line<'static>>| lines.extend(vec![Line::default(); gap]);
    blank(&mut lines);
    if fields.is_empty() {
        let none = row::muted(theme, "no miss was similar to a stored request");
        lines.push(row::join(theme, [none], width));
    } else {
        lines.push(field_heading(view, width));
        let fields = fields.into_iter().take(counted);
        lines.extend(fields.map(|count| field(view, count, width)));
        blank(&mut lines);
        if latest > 0 {
            let text = "latest misses, each with the most similar stored request";
            lines.push(row::join(theme, [row::muted(theme, text)], width));
        }
        let newest = near.latest.iter().rev().take(latest);
        lines.extend(newest.map(|miss| near_miss::summary(view, miss, width)));
    }
    blank(&mut lines);
    lines.extend(semantic);
    lines
}

/// The calls answered without an upstream call of their own, since the start and in the last minute.
fn periods(view: &View<'_>, width: usize) -> [Line<'static>; 3] {
    let theme = view.theme;
    let cache = &view.state.cache;
    let names = ["calls", "exact", "semantic", "shared", "replayed", "total"];
    let head = names.map(|name| row::right(name, COUNT)).concat();
    let period = |name: &str, counts: ServedCounts| {
        let share = |count: u64| {
            // fewer than ten calls have no percentage
            let share = (counts.calls >= 10).then(|| units::percent(count as f64 / counts.calls as f64));
            format!(
                "{} {}",
                units::amount(count),
                share.unwrap_or_else(|| "    ".into())
            )
        };
        let kinds = [
            counts.exact,
            counts.semantic,
            counts.shared,
            counts.replayed,
            counts.without_upstream(),
        ];
        let cells = std::iter::once(units::amount(counts.calls)).chain(kinds.map(share));
        let label = row::muted(theme, row::left(name, PERIOD));
        let cells = cells.map(|text| Line::from(row::right(&text, COUNT)));
        row::join(theme, std::iter::once(label).chain(cells), width)
    };
    [
        row::join(
            theme,
            [row::muted(theme, format!("{}{head}", " ".repeat(PERIOD)))],
            width,
        ),
        period("session", cache.all()),
        period("last 60s", cache.recent(view.now)),
    ]
}

/// The main reason of misses, if there is one, and its remedy.
fn advice(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let Some(advice) = view.state.cache.advice() else {
        return Vec::new();
    };
    let role = if advice.remedy { Role::Held } else { Role::Text };
    let text = row::wrap(theme, &advice.text, width.saturating_sub(LABEL), 3);
    let rows = text.into_iter().enumerate().map(|(index, text)| {
        let label = if index == 0 { "why" } else { "" };
        Line::from(vec![
            row::piece(theme, Role::Muted, row::left(label, LABEL)),
            row::piece(theme, role, text),
        ])
    });
    rows.collect()
}

fn field_heading(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let pieces = [
        row::left("misses by differing field", FIELD),
        row::right("alone", ALONE),
        row::right("with others", WITH_OTHERS),
        format!("   this call {} stored", theme.glyphs.dot),
    ];
    row::join(theme, pieces.map(|text| row::muted(theme, text)), width)
}

/// The misses in which a field differed, alone and with others, and an example.
fn field(view: &View<'_>, count: &FieldCount, width: usize) -> Line<'static> {
    let theme = view.theme;
    let label = row::clip(theme, &count.example.brief(), FIELD - 4);
    let role = if count.example.is_another_question() || count.alone == 0 {
        Role::Text
    } else {
        Role::Strong
    };
    let (here, stored) = near_miss::excerpts(theme, &count.example);
    let pieces = [
        Line::from(row::piece(theme, role, row::left(&format!("  {label}"), FIELD))),
        Line::from(row::right(&units::amount(count.alone), ALONE)),
        Line::from(row::right(&units::amount(count.with_others), WITH_OTHERS)),
        row::muted(theme, format!("   {here}")),
        row::muted(theme, format!(" {} {stored}", theme.glyphs.dot)),
    ];
    row::join(theme, pieces, width)
}

/// Hits, lookups, and the other ways of answering without the upstream.
fn heading(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let cache = &view.state.cache;
    if !cache.on {
        let off = [" OFF  every call is sent", " OFF"];
        let glyph = row::piece(theme, Role::Muted, theme.glyphs.hit);
        let wordings = off.map(|text| Line::from(vec![glyph.clone(), row::plain(text)]));
        return row::first_fit(theme, wordings, width);
    }
    let lookups = cache.lookups();
    let role = if cache.served() > 0 {
        Role::Saved
    } else {
        Role::Muted
    };
    // fewer than ten lookups have no percentage
    let hits = match cache.hit_rate().filter(|_| lookups >= 10) {
        Some(rate) => format!("{:.0}% cached  {} of {lookups}", rate * 100.0, cache.served()),
        None => format!("{} of {lookups} cached", cache.served()),
    };
    let pieces = [
        Line::from(row::piece(theme, role, format!("{} {hits}", theme.glyphs.hit))),
        Line::from(format!("     missed {}", cache.unserved())),
        Line::from(format!("   shared {}", cache.shared)),
        Line::from(format!("   replayed {}", cache.replays)),
    ];
    row::join(theme, pieces, width)
}

/// `label`, the hit rate in each slot of the last minute (blank without a lookup), and `after`.
pub(super) fn history(
    view: &View<'_>,
    label: &str,
    cells: usize,
    after: &[String],
    width: usize,
) -> Line<'static> {
    let theme = view.theme;
    let cells = cells.min(width.saturating_sub(row::width(label)));
    let now = view.now.since(Timestamp::ZERO).as_secs();
    let seconds = view
        .state
        .cache
        .history
        .iter()
        .map(|one| (one.second, (one.counts.hits(), one.counts.lookups)));
    let slots = gauge::slots(seconds, now, SPAN, cells, |a: (u64, u64), b| {
        (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
    });
    let shares = slots.into_iter().map(|slot| {
        slot.filter(|(_, lookups)| *lookups > 0)
            .map(|(hits, lookups)| hits as f64 / lookups as f64)
    });
    let mut pieces = vec![
        Line::from(vec![
            row::plain(label),
            row::piece(theme, Role::Work, gauge::sparkline(theme, shares, 1.0)),
        ]),
        row::muted(theme, "  last 60s"),
    ];
    pieces.extend(after.iter().map(|text| Line::from(format!("   {text}"))));
    row::join(theme, pieces, width)
}

/// Tokens and time saved.
fn saved(view: &View<'_>, width: usize) -> Line<'static> {
    let cache = &view.state.cache;
    let pieces = [
        format!("saved   {} tokens", units::amount(cache.saved_tokens)),
        format!(" and {}", units::duration(cache.saved_time)),
    ];
    row::join(view.theme, pieces, width)
}

/// Entries and bytes.
fn size(view: &View<'_>, width: usize) -> Line<'static> {
    let cache = &view.state.cache;
    let most = view.state.session.policy.cache.max_bytes;
    let pieces = [
        format!("size    {}", units::count(cache.entries, "entry")),
        format!(", {} of {}", units::bytes(cache.bytes), units::bytes(most)),
        format!("   evicted {}", cache.evicted),
        format!("   expired {}", cache.expired),
    ];
    row::join(view.theme, pieces, width)
}

/// The misses, by reason.
fn missed(view: &View<'_>, width: usize) -> Line<'static> {
    let reasons = view.state.cache.misses.iter();
    let reasons = reasons.map(|(reason, count)| (reason.brief().to_owned(), *count));
    let served = match view.state.cache.semantic {
        0 => None,
        1 => Some("   1 was a semantic hit".to_owned()),
        many => Some(format!("   {many} were semantic hits")),
    };
    let served = served.map(|text| Line::from(row::piece(view.theme, Role::Saved, text)));
    let sum = view.state.cache.misses.values().sum();
    let pieces = counts("missed  ", sum, reasons)
        .into_iter()
        .map(Line::from)
        .chain(served);
    row::join(view.theme, pieces, width)
}

/// The calls that bypassed the cache, by reason.
fn bypassed(view: &View<'_>, width: usize) -> Line<'static> {
    let reasons = view.state.cache.bypasses.iter();
    let reasons = reasons.map(|(reason, count)| (reason.brief().to_owned(), *count));
    let sum = view.state.cache.bypasses.values().sum();
    row::join(view.theme, counts("bypass  ", sum, reasons), width)
}

/// The stored answers, and the answers not stored, by reason.
fn stored(view: &View<'_>, width: usize) -> Line<'static> {
    let reasons = view.state.cache.skipped.iter();
    let reasons = reasons.map(|(reason, count)| (format!("not: {}", reason.brief()), *count));
    row::join(
        view.theme,
        counts("stored  ", view.state.cache.stored, reasons),
        width,
    )
}

/// `label`, a number, and each reason with its count.
fn counts(label: &str, number: u64, reasons: impl Iterator<Item = (String, u64)>) -> Vec<String> {
    let reasons = reasons.map(|(word, count)| format!("   {word} {count}"));
    std::iter::once(format!("{label}{number}"))
        .chain(reasons)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture;
    use super::*;
    use crate::event::{BypassReason, MissReason, SkipReason};
    use crate::state::LookupSecond;

    #[test]
    fn seven_rows_of_a_useful_cache() {
        let mut fixture = fixture::burst();
        fixture.state.cache.skipped.insert(SkipReason::Incomplete, 2);
        fixture
            .state
            .cache
            .bypasses
            .insert(BypassReason::NotDeterministic, 5);
        fixture.state.cache.shared = 3;
        assert_eq!(
            fixture::rows(&fixture, 64, 7, render),
            [
                "◇ 18% cached  7 of 40     missed 33   shared 3   replayed 0",
                "                    ▁▅▂▅▃▅▂▅▂▅▂   last 60s",
                "saved   2.9k tokens and 4.9s",
                "size    18 entries, 12 KiB of 64 MiB   evicted 0   expired 0",
                "missed  33   never seen 30   expired 3",
                "bypass  5   not repeatable 5",
                "stored  30   not: incomplete 2",
            ]
        );
    }

    #[test]
    fn a_few_lookups_have_no_percentage() {
        let mut fixture = fixture::burst();
        fixture.state.cache.hits = 2;
        fixture.state.cache.misses = [(MissReason::NeverSeen, 3)].into();
        assert_eq!(heading(&fixture.view(), 20).to_string(), "◇ 2 of 5 cached");
        fixture.state.cache.on = false;
        assert_eq!(
            heading(&fixture.view(), 56).to_string(),
            "◇ OFF  every call is sent"
        );
    }

    #[test]
    fn a_second_without_a_lookup_is_a_gap() {
        let mut fixture = fixture::burst();
        fixture.now = Timestamp(9_000_000_000);
        fixture.state.cache.history = [(5, 0), (9, 4)]
            .map(|(second, exact)| LookupSecond {
                second,
                counts: ServedCounts {
                    lookups: 4,
                    exact,
                    ..ServedCounts::default()
                },
            })
            .into();
        assert_eq!(
            history(&fixture.view(), "", 60, &[], 60)
                .to_string()
                .chars()
                .rev()
                .take(5)
                .collect::<String>(),
            "█   ▁"
        );
    }

    #[test]
    fn a_remedy_replaces_the_last_row() {
        let rows = fixture::rows(&missing(25), 58, 7, render);
        assert_eq!(
            rows.last().map(String::as_str),
            Some("why     25 of 33 misses differ only in the system prompt:…")
        );
    }

    /// A cache that mostly misses because of a time in the system prompt.
    fn missing(misses: u64) -> fixture::Fixture {
        let mut fixture = fixture::burst();
        fixture.state.cache.near = fixture::near_misses(misses);
        fixture
    }

    #[test]
    fn the_full_view_shows_the_fields_that_caused_misses() {
        let fixture = missing(25);
        assert_eq!(
            fixture::rows(&fixture, 78, 20, render),
            [
                "◇ 18% cached  7 of 40     missed 33   shared 0   replayed 0",
                "                                       ▁ ▅▆▁▃▅▆ ▃▅▆▁▃▅ ▁▃▅▆▁▃   last 60s",
                "               calls      exact   semantic     shared   replayed      total",
                "session           40     7  18%     0   0%     0   0%     0   0%     7  18%",
                "last 60s          76    27  36%     0   0%     0   0%     0   0%    27  36%",
                "saved   2.9k tokens and 4.9s",
                "size    18 entries, 12 KiB of 64 MiB   evicted 0   expired 0",
                "missed  33   never seen 30   expired 3",
                "bypass  0",
                "stored  30",
                "why     25 of 33 misses differ only in the system prompt: a time (\"10:32:01\").",
                "        Leave it out, or round it to the day.",
                "misses by differing field             alone  with others   this call · stored",
                "  system prompt: a time                  25            1   10:32:01 · 10:30:00",
                "  tools: the order                        0            1   clock · weather",
                "latest misses, each with the most similar stored request",
                "00:37  #27    near #1     system prompt: a time and 1 more",
                "00:36  #26    near #1     system prompt: a time  10:32:01 · 10:30:00",
                "00:35  #25    near #1     system prompt: a time  10:32:01 · 10:30:00",
                "semantic  off   [s] serve stored answers to similar prompts",
            ]
        );
    }

    #[test]
    fn lists_are_shortened_before_counts() {
        let fixture = missing(25);
        for (width, height) in [(40, 14), (78, 16), (118, 36), (30, 60)] {
            let rows = fixture::rows(&fixture, width, height, render);
            assert!(rows[3].starts_with("session "), "{rows:#?}");
            assert!(rows.iter().any(|row| row.starts_with("why ")), "{rows:#?}");
            let semantic = rows.iter().any(|row| row.starts_with("semantic"));
            assert!(semantic || height < 18, "{rows:#?}");
        }
    }
}
