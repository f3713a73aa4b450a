//! The cache: how often it helped, what that saved, and why it did not help more.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::event::{BypassReason, MissReason, SkipReason};
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{gauge, row, semantic, units};

/// Seconds the sparkline covers.
const SPAN: u64 = 60;

/// Draws the cache with all it has.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let mut lines = vec![
        heading(view, width),
        history(view, "  ", 30, &[], width),
        saved(view, width),
        size(view, width),
        missed(view, width),
        not_asked(view, width),
        stored(view, width),
    ];
    lines.push(Line::default());
    lines.extend(semantic::lines(view, area.width));
    row::draw_all(&lines, area, buf);
}

/// The mark, and the share of lookups that were served: `18% 7/40`, under ten `2/5`.
pub(super) fn hit_rate(view: &View<'_>) -> Span<'static> {
    let cache = &view.state.cache;
    let text = if cache.on {
        units::sample(cache.hits, cache.lookups())
    } else {
        "off".into()
    };
    let role = if cache.on && cache.hits > 0 {
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
    let role = if cache.hits > 0 { Role::Hit } else { Role::Muted };
    // a share of fewer than ten would pretend
    let hit = match cache.hit_rate().filter(|_| lookups >= 10) {
        Some(rate) => format!("hit {:.0}%  ({} of {lookups})", rate * 100.0, cache.hits),
        None => format!("hit {} of {lookups}", cache.hits),
    };
    let pieces = vec![
        Line::from(row::piece(theme, role, format!("{} {hit}", theme.glyphs.hit))),
        Line::from(format!("     missed {}", cache.missed())),
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
        .map(|(second, hits, of)| (*second, (*hits, *of)));
    let places = gauge::slots(seconds, now, SPAN, cells, |a: (u32, u32), b| {
        (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
    });
    let shares = places.into_iter().map(|place| {
        place
            .filter(|(_, lookups)| *lookups > 0)
            .map(|(hits, lookups)| f64::from(hits) / f64::from(lookups))
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
        Line::from(format!("size    {} entries", cache.entries)),
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
    let reasons = view.state.cache.misses.iter().map(|(reason, count)| {
        let word = match reason {
            MissReason::NeverSeen => "never seen",
            MissReason::Expired => "too old",
            MissReason::Evicted => "evicted",
            MissReason::Collision => "collision",
        };
        (word, *count)
    });
    by_reason(view, "missed  ", reasons, width)
}

/// Why it was not asked.
fn not_asked(view: &View<'_>, width: usize) -> Line<'static> {
    let reasons = view.state.cache.bypasses.iter().map(|(reason, count)| {
        let word = match reason {
            BypassReason::Off => "off",
            BypassReason::NotDeterministic => "not deterministic",
            BypassReason::Asked => "fresh answer wanted",
        };
        (word, *count)
    });
    by_reason(view, "bypass  ", reasons, width)
}

/// What was stored, and why the rest was not.
fn stored(view: &View<'_>, width: usize) -> Line<'static> {
    let label = format!("stored  {}", view.state.cache.stored);
    let reasons = view.state.cache.skipped.iter().map(|(reason, count)| {
        let word = match reason {
            SkipReason::Incomplete => "not: incomplete",
            SkipReason::Filtered => "not: filtered",
            SkipReason::Empty => "not: empty",
            SkipReason::TooLarge => "not: too large",
            SkipReason::OtherModel => "not: other model",
            SkipReason::BadText => "not: bad text",
        };
        (word, *count)
    });
    let mut pieces = vec![Line::from(label)];
    pieces.extend(reasons.map(|(word, count)| Line::from(format!("   {word} {count}"))));
    row::join(view.theme, pieces, width)
}

/// `label`, the sum, and each reason that occurred.
fn by_reason(
    view: &View<'_>,
    label: &str,
    reasons: impl Iterator<Item = (&'static str, u64)> + Clone,
    width: usize,
) -> Line<'static> {
    let sum: u64 = reasons.clone().map(|(_, count)| count).sum();
    let mut pieces = vec![Line::from(format!("{label}{sum}"))];
    pieces.extend(reasons.map(|(word, count)| Line::from(format!("   {word} {count}"))));
    row::join(view.theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::super::scene;
    use super::*;

    #[test]
    fn hits_savings_and_reasons() {
        let mut scene = scene::burst();
        scene.state.cache.skipped.insert(SkipReason::Incomplete, 2);
        scene
            .state
            .cache
            .bypasses
            .insert(BypassReason::NotDeterministic, 5);
        scene.state.cache.shared = 3;
        assert_eq!(
            scene::rows(&scene, 64, 7, render),
            [
                "◇ hit 18%  (7 of 40)     missed 33   shared 3   replayed 0",
                "                    ▁▅▂▅▃▅▂▅▂▅▂   last 60s",
                "saved   2.9k tokens   4.9s of waiting",
                "size    18 entries, 12 KiB of 64 MiB   evicted 0   expired 0",
                "missed  33   never seen 30   too old 3",
                "bypass  5   not deterministic 5",
                "stored  30   not: incomplete 2",
            ]
        );
    }

    #[test]
    fn a_few_lookups_have_no_percentage() {
        let mut scene = scene::burst();
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
        let mut scene = scene::burst();
        scene.now = Timestamp(9_000_000_000);
        scene.state.cache.history = [(5, 0, 4), (9, 4, 4)].into();
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
}
