//! The cache: how often it helped, what that saved, and why it did not help more.
//!
//! Seven rows beside other panes: the last one is for what can be done, where something can. On the whole screen also
//! each way of not asking an upstream, over the run and over the last minute, what kept misses from being hits, the
//! latest of them, and the semantic cache.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::settings::SemanticMode;
use crate::state::{Came, FieldCount};
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{gauge, row, units};

/// Seconds the sparkline covers.
const SPAN: u64 = 60;
/// Rows from which on everything is shown.
const WHOLE: usize = 14;
/// Columns of the labels at the left.
const LABEL: usize = 8;
/// Columns of the name of a time, and of one kind of hit in it.
const SPELL: usize = 9;
const KIND: usize = 11;
/// Columns of the name of a field, and of a count.
const FIELD: usize = 35;
const ALONE: usize = 8;
const OTHERS: usize = 11;

/// From so many rows on there is room for the facts of both caches.
const ROOMY: usize = 30;

/// Draws the cache with all it has.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let rows = usize::from(area.height);
    let lines = if rows >= WHOLE {
        whole(view, width, rows)
    } else {
        let mut lines = vec![heading(view, width), history(view, "  ", 30, &[], width)];
        lines.extend(facts(view, width));
        let advice = view.state.cache.advice().filter(|advice| advice.remedy);
        if let (Some(advice), Some(last)) = (advice, lines.last_mut()) {
            let text = row::clip(view.theme, &advice.text, width.saturating_sub(LABEL));
            *last = Line::from(vec![
                row::plain(row::left("why", LABEL)),
                row::piece(view.theme, Role::Wait, text),
            ]);
        }
        lines
    };
    row::draw_all(&lines, area, buf);
}

/// What it saved, holds and lacks.
fn facts(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    vec![
        saved(view, width),
        size(view, width),
        missed(view, width),
        not_asked(view, width),
        stored(view, width),
    ]
}

/// Everything, in so many rows. What came how often has its rows in any case; the lists share what is left.
fn whole(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let near = &view.state.cache.near;
    let meaning = view.state.semantic.mode != SemanticMode::Off;
    let mut lines = vec![heading(view, width)];
    if meaning && rows < ROOMY {
        // what can be read off other rows makes room for what the semantic cache does
        lines.extend(kinds(view, width));
        lines.extend([saved(view, width), size(view, width)]);
    } else {
        lines.push(history(view, "  ", 60, &[], width));
        lines.extend(kinds(view, width));
        lines.extend(facts(view, width));
    }
    lines.extend(advice(view, width));
    let mut semantic = super::semantic::lines(view, width as u16);
    // the most important of it stands first
    let room = rows.saturating_sub(lines.len());
    semantic.truncate(if meaning { room.saturating_sub(2) } else { room / 2 }.max(1));
    let left = rows.saturating_sub(lines.len() + semantic.len());
    let gap = usize::from(left > 8);
    // a heading each, and a third of the room for the counts
    let fields = near.by_count();
    let counted = fields.len().min((left / 3).max(2));
    let latest = left.saturating_sub(counted + 2 + 3 * gap);
    let air = |lines: &mut Vec<Line<'static>>| lines.extend(vec![Line::default(); gap]);
    air(&mut lines);
    if fields.is_empty() {
        let nothing = "no miss was like a stored request so far";
        lines.push(row::join(
            theme,
            vec![Line::from(row::piece(theme, Role::Muted, nothing))],
            width,
        ));
    } else {
        lines.push(field_heading(view, width));
        lines.extend(
            fields
                .into_iter()
                .take(counted)
                .map(|one| field(view, one, width)),
        );
        air(&mut lines);
        if latest > 0 {
            let text = "latest misses, and the stored request they are like";
            lines.push(row::join(
                theme,
                vec![Line::from(row::piece(theme, Role::Muted, text))],
                width,
            ));
        }
        let newest = near.latest.iter().rev().take(latest);
        lines.extend(newest.map(|miss| super::near_miss::summary(view, miss, width)));
    }
    air(&mut lines);
    lines.extend(semantic);
    lines
}

/// Ways of not asking an upstream: over the run and over the last minute.
fn kinds(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let cache = &view.state.cache;
    let names = ["calls", "exact", "semantic", "shared", "replayed", "in all"];
    let cell = |text: &str| Line::from(row::right(text, KIND));
    let mut head = vec![Line::from(row::left("", SPELL))];
    head.extend(names.map(|name| Line::from(row::piece(theme, Role::Muted, row::right(name, KIND)))));
    let spell = |name: &str, came: Came| {
        let share = |count: u64| {
            // a share of fewer than ten would pretend
            let share = (came.calls >= 10).then(|| units::percent(count as f64 / came.calls as f64));
            format!(
                "{} {}",
                units::amount(count),
                share.unwrap_or_else(|| "    ".into())
            )
        };
        let counts = [
            came.exact,
            came.semantic,
            came.shared,
            came.replayed,
            came.spared(),
        ];
        let mut cells = vec![
            Line::from(row::piece(theme, Role::Muted, row::left(name, SPELL))),
            cell(&units::amount(came.calls)),
        ];
        cells.extend(counts.map(|count| cell(&share(count))));
        row::join(theme, cells, width)
    };
    vec![
        row::join(theme, head, width),
        spell("run", cache.all()),
        spell("last 60s", cache.recent(view.now)),
    ]
}

/// Why it does not hit more, where there is one reason.
fn advice(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let Some(advice) = view.state.cache.advice() else {
        return Vec::new();
    };
    let role = if advice.remedy { Role::Wait } else { Role::Text };
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
    let muted = |text: String| Line::from(row::piece(theme, Role::Muted, text));
    let pieces = vec![
        muted(row::left("misses differ from a stored one in", FIELD)),
        muted(row::right("only it", ALONE)),
        muted(row::right("others too", OTHERS)),
        muted(format!("   here {} stored", theme.glyphs.dot)),
    ];
    row::join(theme, pieces, width)
}

/// How often a field kept a miss from being a hit.
fn field(view: &View<'_>, one: &FieldCount, width: usize) -> Line<'static> {
    let theme = view.theme;
    let label = row::clip(theme, &one.example.brief(), FIELD - 4);
    let role = if one.example.is_another_question() || one.alone == 0 {
        Role::Text
    } else {
        Role::Strong
    };
    let (here, stored) = super::near_miss::words(theme, &one.example);
    let pieces = vec![
        Line::from(row::piece(theme, role, row::left(&format!("  {label}"), FIELD))),
        Line::from(row::right(&units::amount(one.alone), ALONE)),
        Line::from(row::right(&units::amount(one.with_others), OTHERS)),
        Line::from(row::piece(theme, Role::Muted, format!("   {here}"))),
        Line::from(row::piece(
            theme,
            Role::Muted,
            format!(" {} {stored}", theme.glyphs.dot),
        )),
    ];
    row::join(theme, pieces, width)
}

/// The mark, and the share of lookups that were served: `18% 7/40`, under ten `2/5`.
pub(super) fn hit_rate(view: &View<'_>) -> Span<'static> {
    let cache = &view.state.cache;
    let text = if cache.on {
        units::sample(cache.served(), cache.lookups())
    } else {
        "off".into()
    };
    let role = if cache.on && cache.served() > 0 {
        Role::Hit
    } else {
        Role::Muted
    };
    row::piece(view.theme, role, format!("{} {text}", view.theme.glyphs.hit))
}

/// Tokens not spent again: `saved 2.9k tok`.
pub(super) fn saved_tokens(view: &View<'_>) -> String {
    format!("saved {} tok", units::amount(view.state.cache.saved_tokens))
}

/// Hits, lookups, and the other ways of not asking an upstream.
fn heading(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let cache = &view.state.cache;
    if !cache.on {
        let off = [" OFF, every call asks the upstream", " OFF"];
        let mark = row::piece(theme, Role::Muted, theme.glyphs.hit);
        let wordings = off.map(|text| Line::from(vec![mark.clone(), row::plain(text)]));
        return row::first_fit(theme, wordings, width);
    }
    let lookups = cache.lookups();
    let role = if cache.served() > 0 {
        Role::Hit
    } else {
        Role::Muted
    };
    // a share of fewer than ten would pretend
    let hit = match cache.hit_rate().filter(|_| lookups >= 10) {
        Some(rate) => format!("hit {:.0}%  ({} of {lookups})", rate * 100.0, cache.served()),
        None => format!("hit {} of {lookups}", cache.served()),
    };
    let pieces = vec![
        Line::from(row::piece(theme, role, format!("{} {hit}", theme.glyphs.hit))),
        Line::from(format!("     missed {}", cache.unserved())),
        Line::from(format!("   shared {}", cache.shared)),
        Line::from(format!("   replayed {}", cache.replays)),
    ];
    row::join(theme, pieces, width)
}

/// `label`, the share of hits in each part of the last minute (blank without a lookup), and `after`.
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
        .map(|one| (one.second, (one.came.hits(), one.came.lookups)));
    let places = gauge::slots(seconds, now, SPAN, cells, |a: (u64, u64), b| {
        (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
    });
    let shares = places.into_iter().map(|place| {
        place
            .filter(|(_, lookups)| *lookups > 0)
            .map(|(hits, lookups)| hits as f64 / lookups as f64)
    });
    let mut pieces = vec![
        Line::from(vec![
            row::plain(label.to_owned()),
            row::piece(theme, Role::Gauge, gauge::sparkline(theme, shares, 1.0)),
        ]),
        Line::from(row::piece(theme, Role::Muted, "  last 60s")),
    ];
    pieces.extend(after.iter().map(|text| Line::from(format!("   {text}"))));
    row::join(theme, pieces, width)
}

/// What it spared.
fn saved(view: &View<'_>, width: usize) -> Line<'static> {
    let cache = &view.state.cache;
    let pieces = vec![
        Line::from(format!("saved   {} tokens", units::amount(cache.saved_tokens))),
        Line::from(format!("   {} of waiting", units::duration(cache.saved_time))),
    ];
    row::join(view.theme, pieces, width)
}

/// What it holds.
fn size(view: &View<'_>, width: usize) -> Line<'static> {
    let cache = &view.state.cache;
    let most = view.state.session.policy.cache.max_bytes;
    let pieces = vec![
        Line::from(format!(
            "size    {} {}",
            cache.entries,
            if cache.entries == 1 { "entry" } else { "entries" }
        )),
        Line::from(format!(
            ", {} of {}",
            units::bytes(cache.bytes),
            units::bytes(most)
        )),
        Line::from(format!("   evicted {}", cache.evicted)),
        Line::from(format!("   expired {}", cache.expired)),
    ];
    row::join(view.theme, pieces, width)
}

/// Why it had nothing.
fn missed(view: &View<'_>, width: usize) -> Line<'static> {
    let misses = view.state.cache.misses.iter();
    let reasons = misses.map(|(reason, count)| (reason.brief(), *count));
    let semantic = view.state.cache.semantic;
    let served = match semantic {
        0 => None,
        1 => Some(("1 of them a semantic hit".to_owned(), Role::Hit)),
        many => Some((format!("{many} of them semantic hits"), Role::Hit)),
    };
    by_reason(view, "missed  ", reasons, served, width)
}

/// Why it was not asked.
fn not_asked(view: &View<'_>, width: usize) -> Line<'static> {
    let bypasses = view.state.cache.bypasses.iter();
    let reasons = bypasses.map(|(reason, count)| (reason.brief(), *count));
    by_reason(view, "bypass  ", reasons, None, width)
}

/// What was stored, and why the rest was not.
fn stored(view: &View<'_>, width: usize) -> Line<'static> {
    let label = format!("stored  {}", view.state.cache.stored);
    let skipped = view.state.cache.skipped.iter();
    let mut pieces = vec![Line::from(label)];
    pieces.extend(skipped.map(|(reason, count)| Line::from(format!("   not: {} {count}", reason.brief()))));
    row::join(view.theme, pieces, width)
}

/// `label`, the sum, each reason that occurred, and what is to be said after them.
fn by_reason(
    view: &View<'_>,
    label: &str,
    reasons: impl Iterator<Item = (&'static str, u64)> + Clone,
    after: Option<(String, Role)>,
    width: usize,
) -> Line<'static> {
    let sum: u64 = reasons.clone().map(|(_, count)| count).sum();
    let mut pieces = vec![Line::from(format!("{label}{sum}"))];
    pieces.extend(reasons.map(|(word, count)| Line::from(format!("   {word} {count}"))));
    pieces.extend(
        after.map(|(text, role)| Line::from(vec![row::plain("   "), row::piece(view.theme, role, text)])),
    );
    row::join(view.theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::event::{BypassReason, MissReason, SkipReason};
    use crate::state::LookupSecond;

    #[test]
    fn hits_savings_and_reasons() {
        let mut scene = fixture::burst();
        scene.state.cache.skipped.insert(SkipReason::Incomplete, 2);
        scene
            .state
            .cache
            .bypasses
            .insert(BypassReason::NotDeterministic, 5);
        scene.state.cache.shared = 3;
        assert_eq!(
            fixture::rows(&scene, 64, 7, render),
            [
                "◇ hit 18%  (7 of 40)     missed 33   shared 3   replayed 0",
                "                    ▁▅▂▅▃▅▂▅▂▅▂   last 60s",
                "saved   2.9k tokens   4.9s of waiting",
                "size    18 entries, 12 KiB of 64 MiB   evicted 0   expired 0",
                "missed  33   never seen 30   expired 3",
                "bypass  5   not repeatable 5",
                "stored  30   not: incomplete 2",
            ]
        );
    }

    #[test]
    fn a_few_lookups_have_no_percentage() {
        let mut scene = fixture::burst();
        scene.state.cache.hits = 2;
        scene.state.cache.misses = [(MissReason::NeverSeen, 3)].into();
        assert_eq!(heading(&scene.view(), 20).to_string(), "◇ hit 2 of 5");
        assert_eq!(hit_rate(&scene.view()).content, "◇ 2/5");
        scene.state.cache.on = false;
        assert_eq!(
            heading(&scene.view(), 56).to_string(),
            "◇ OFF, every call asks the upstream"
        );
    }

    #[test]
    fn a_second_without_a_lookup_is_blank_not_zero() {
        let mut scene = fixture::burst();
        scene.now = Timestamp(9_000_000_000);
        scene.state.cache.history = [(5, 0), (9, 4)]
            .map(|(second, exact)| LookupSecond {
                second,
                came: Came {
                    lookups: 4,
                    exact,
                    ..Came::default()
                },
            })
            .into();
        assert_eq!(
            history(&scene.view(), "", 60, &[], 60)
                .to_string()
                .chars()
                .rev()
                .take(5)
                .collect::<String>(),
            "█   ▁"
        );
    }

    #[test]
    fn where_something_can_be_done_the_last_row_says_what() {
        let rows = fixture::rows(&missing(25), 58, 7, render);
        assert_eq!(
            rows.last().map(String::as_str),
            Some("why     25 of 33 misses differ only in the system prompt:…")
        );
    }

    /// A cache that a time in the system prompt keeps from hitting, mostly.
    fn missing(misses: u64) -> fixture::Scene {
        let mut scene = fixture::burst();
        scene.state.cache.near = fixture::near_misses(misses);
        scene
    }

    #[test]
    fn on_the_whole_screen_it_says_what_kept_misses_from_being_hits() {
        let scene = missing(25);
        assert_eq!(
            fixture::rows(&scene, 78, 20, render),
            [
                "◇ hit 18%  (7 of 40)     missed 33   shared 0   replayed 0",
                "                                       ▁ ▅▆▁▃▅▆ ▃▅▆▁▃▅ ▁▃▅▆▁▃   last 60s",
                "               calls      exact   semantic     shared   replayed     in all",
                "run               40     7  18%     0   0%     0   0%     0   0%     7  18%",
                "last 60s          76    27  36%     0   0%     0   0%     0   0%    27  36%",
                "saved   2.9k tokens   4.9s of waiting",
                "size    18 entries, 12 KiB of 64 MiB   evicted 0   expired 0",
                "missed  33   never seen 30   expired 3",
                "bypass  0",
                "stored  30",
                "why     25 of 33 misses differ only in the system prompt: a time (\"10:32:01\").",
                "        Leave it out, or round it to the day.",
                "misses differ from a stored one in  only it others too   here · stored",
                "  system prompt: a time                  25          1   10:32:01 · 10:30:00",
                "  tools: the order                        0          1   clock · weather",
                "latest misses, and the stored request they are like",
                "00:37  #27    like #1     system prompt: a time and 1 more",
                "00:36  #26    like #1     system prompt: a time  10:32:01 · 10:30:00",
                "00:35  #25    like #1     system prompt: a time  10:32:01 · 10:30:00",
                "semantic  off   s serves stored answers to prompts that mean the same",
            ]
        );
    }

    #[test]
    fn few_rows_or_columns_cut_lists_before_counts() {
        let scene = missing(25);
        for (width, height) in [(40, 14), (78, 16), (118, 36), (30, 60)] {
            let rows = fixture::rows(&scene, width, height, render);
            assert!(rows[3].starts_with("run "), "{rows:#?}");
            assert!(rows.iter().any(|row| row.starts_with("why ")), "{rows:#?}");
            let semantic = rows.iter().any(|row| row.starts_with("semantic"));
            assert!(semantic || height < 18, "{rows:#?}");
        }
    }
}
