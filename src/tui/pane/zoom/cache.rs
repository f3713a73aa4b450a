//! The cache over time: the share of lookups answered, what the others were, what causes misses, and the stored
//! requests nearest to them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::state::{ExplainedMiss, FieldCount, Slot};
use crate::text::units;
use crate::tui::filter;
use crate::tui::pane::chart::{self, Chart, Layer};
use crate::tui::pane::{NO_MATCH, PaneId, cache, near_miss, row, semantic};
use crate::tui::plot::bars::Part;
use crate::tui::plot::dots::{self, Look, Series};
use crate::tui::plot::{Frame, Unit};
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{below, rows, two};

/// The fewest rows of a chart.
const CHART: u16 = 4;
/// Columns of the name of a field, and of its two counts.
const FIELD: usize = 30;
const ALONE: usize = 6;
const WITH_OTHERS: usize = 13;

/// Draws the charts, the facts and the lists.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let mut chart = Chart::new(view, area);
    let each = (area.height / 6).max(CHART);
    let frame = chart.take(each);
    share(&chart, frame, buf);
    if chart.frame.plot.height > each + 6 {
        chart.sub_rule("Lookups", "per second", buf);
        let frame = chart.take(each);
        chart::stack(&chart, frame, &layers(), buf);
        chart.lines(frame, buf);
    }
    let mut free = below(&chart, buf);
    let facts = facts(view, usize::from(free.width / 2).saturating_sub(2));
    let fields = view.state.cache.near.by_count();
    let height = (facts.len().max(fields.len() + 1) as u16 + 1).min(free.height);
    let columns = rows(&mut free, height);
    let titles = [
        ("So far", "since start"),
        ("Misses by differing field", "since start"),
    ];
    let [left, right] = two(view, columns, columns.width / 2, titles, buf);
    row::draw_all(&facts, left, buf);
    let width = usize::from(right.width);
    let lines = if fields.is_empty() {
        vec![row::muted(view.theme, "no miss was similar to a stored request")]
    } else {
        let lines = fields.into_iter().map(|count| field(view, count, width));
        std::iter::once(field_heading(view, width)).chain(lines).collect()
    };
    row::draw_all(&lines, right, buf);
    nearest(view, free, buf);
}

/// Draws the share of hits, each point over the time before it.
fn share(chart: &Chart<'_>, frame: Frame, buf: &mut Buffer) {
    let view = chart.view;
    let theme = view.theme;
    let cover = chart.columns.cover();
    let values = chart.columns.sums(cover, |slot| [slot.hits, slot.lookups]);
    let share = |[hits, lookups]: [u64; 2]| {
        let share = hits as f64 / lookups as f64;
        (lookups > 0).then_some((0.0, share))
    };
    let series = Series {
        values: values.into_iter().map(|sum| sum.and_then(share)).collect(),
        look: Look::Area,
        role: Role::Saved,
    };
    dots::draw(theme, &[series], 1.0, frame.plot, buf);
    frame.label(theme, 0, &Unit::Share.label(1.0, 1.0), buf);
    frame.label(theme, frame.plot.height.saturating_sub(1), "0%", buf);
    let sum = chart.columns.sum();
    let share = sum.hit_rate().map_or_else(
        || "no lookups".to_owned(),
        |rate| format!("{:.0}% cached", rate * 100.0),
    );
    let of = format!(
        "   {} of {}",
        units::grouped(sum.hits.into()),
        units::grouped(sum.lookups.into())
    );
    let facts = [
        vec![Line::from(vec![
            row::piece(theme, Role::Saved, format!(" {} ", theme.glyphs.hit)),
            row::piece(theme, Role::Strong, share),
        ])],
        vec![Line::from(format!("{of} lookups")), Line::from(of)],
        vec![row::muted(
            theme,
            format!("   in {}", units::seconds(chart.axis.span())),
        )],
        vec![
            row::muted(theme, format!("   each point: {}", units::seconds(cover))),
            row::muted(theme, format!("   by {}", units::seconds(cover))),
        ],
    ];
    chart.facts(frame.gutter, 5, facts, buf);
    chart.not_started(frame, buf);
    chart.lines(frame, buf);
}

/// Lookups by what answered them, the lowest first.
fn layers() -> Vec<Layer> {
    fn fill(theme: &Theme, at: usize, role: Role) -> Part {
        Part {
            fill: theme.glyphs.fills.get(at).copied().unwrap_or(" "),
            role,
        }
    }
    let layer = |labels, part, count: fn(&Slot) -> u32| Layer {
        labels,
        part,
        count,
        is_usual: true,
    };
    vec![
        layer(
            ["new prompt", "new prompt", "new"],
            |theme| fill(theme, 0, Role::Work),
            |slot| slot.new_prompts,
        ),
        layer(
            ["joined a flight", "joined a flight", "joined"],
            |theme| fill(theme, 1, Role::Text),
            |slot| slot.joined,
        ),
        layer(
            ["cached", "cached", "cached"],
            |theme| fill(theme, 2, Role::Saved),
            |slot| slot.hits,
        ),
    ]
}

/// Savings, size, reasons, and the remedy if there is one.
fn facts(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    let counts = &view.state.cache;
    let policy = &view.state.session.policy.cache;
    let grouped = |number| units::grouped(number);
    let reasons = |label: &str, reasons: Vec<(&str, u64)>| {
        let sum: u64 = reasons.iter().map(|(_, count)| *count).sum();
        let first = std::iter::once(format!("{label} {}", grouped(sum)));
        let rest = reasons
            .into_iter()
            .map(|(reason, count)| format!("   {reason} {}", grouped(count)));
        row::join(theme, first.chain(rest), width)
    };
    let named = |name: &str, count: u64| format!("   {name} {}", grouped(count));
    let mut lines = vec![
        cache::saved(view, width),
        row::join(
            theme,
            [
                format!("{} answers kept", grouped(counts.entries)),
                format!(
                    ", {} of {}",
                    units::bytes(counts.bytes),
                    units::bytes(policy.max_bytes)
                ),
                named("evicted", counts.evicted),
                named("expired", counts.expired),
            ],
            width,
        ),
        row::join(
            theme,
            [
                format!("answered by the exact cache {}", grouped(counts.hits)),
                named("by meaning", counts.semantic),
                named("repeated key", counts.replays),
            ],
            width,
        ),
        reasons(
            "not found",
            counts
                .misses
                .iter()
                .map(|(reason, count)| (reason.brief(), *count))
                .collect(),
        ),
        reasons(
            "not looked up",
            counts
                .bypasses
                .iter()
                .map(|(reason, count)| (reason.brief(), *count))
                .collect(),
        ),
        reasons(
            "not stored",
            counts
                .skipped
                .iter()
                .map(|(reason, count)| (reason.brief(), *count))
                .collect(),
        ),
    ];
    if let Some(advice) = counts.advice(&view.state.session.policy.cache) {
        let role = if advice.remedy { Role::Held } else { Role::Text };
        let text = row::wrap(theme, &advice.text, width, 3);
        lines.extend(
            text.into_iter()
                .map(|text| Line::from(row::piece(theme, role, text))),
        );
    }
    lines
}

fn field_heading(view: &View<'_>, width: usize) -> Line<'static> {
    let pieces = [
        row::left("field", FIELD),
        row::right("alone", ALONE),
        row::right("with others", WITH_OTHERS),
    ];
    row::join(view.theme, pieces.map(|text| row::muted(view.theme, text)), width)
}

/// The misses in which a field differed, alone and with others, and an example.
fn field(view: &View<'_>, count: &FieldCount, width: usize) -> Line<'static> {
    let theme = view.theme;
    let label = row::clip(theme, &count.example.brief(), FIELD - 2);
    let role = if count.example.is_another_question() || count.alone == 0 {
        Role::Text
    } else {
        Role::Strong
    };
    let (here, stored) = near_miss::excerpts(theme, &count.example);
    let pieces = [
        Line::from(row::piece(theme, role, row::left(&label, FIELD))),
        Line::from(row::right(&units::amount(count.alone), ALONE)),
        Line::from(row::right(&units::amount(count.with_others), WITH_OTHERS)),
        row::muted(theme, format!("  {here} {} {stored}", theme.glyphs.dot)),
    ];
    row::join(theme, pieces, width)
}

/// The near misses that match the filter, newest first.
fn shown<'a>(view: &View<'a>) -> impl Iterator<Item = &'a ExplainedMiss> {
    let (state, now) = (view.state, view.now);
    let filter = view.ui.filter_of(PaneId::Cache);
    state.cache.near.latest.iter().rev().filter(move |miss| {
        let fields = miss.near.differs.iter().map(|diff| diff.field.as_str());
        let texts: Vec<&str> = fields.chain([miss.near.prompt.as_str()]).collect();
        let row = filter::Row {
            call: Some(miss.call),
            facts: state.calls.recent.get(&miss.call),
            user: None,
            texts: &texts,
        };
        filter.matches(row, now)
    })
}

/// The number of near misses that match the filter, and of all.
pub(crate) fn matches(view: &View<'_>) -> (usize, usize) {
    (shown(view).count(), view.state.cache.near.latest.len())
}

/// Lists the latest misses with the stored request nearest to each, and below them the semantic cache.
fn nearest(view: &View<'_>, mut area: Rect, buf: &mut Buffer) {
    let indent = |area: Rect| Rect {
        x: area.x + 1.min(area.width),
        width: area.width.saturating_sub(1),
        ..area
    };
    let width = usize::from(area.width).saturating_sub(1);
    let semantic = semantic::lines(view, width as u16);
    let latest = &view.state.cache.near.latest;
    if !latest.is_empty() && area.height > 2 {
        let height = (latest.len() as u16 + 1).min((area.height / 2).max(3));
        let mut at = rows(&mut area, height);
        chart::rule(
            view,
            rows(&mut at, 1),
            "Nearest misses",
            "newest first, with the stored request",
            buf,
        );
        let mut lines: Vec<Line<'_>> = shown(view)
            .map(|miss| near_miss::summary(view, miss, width))
            .take(usize::from(at.height))
            .collect();
        if lines.is_empty() {
            lines.push(row::muted(view.theme, NO_MATCH));
        }
        row::draw_all(&lines, indent(at), buf);
    }
    if area.height > 1 {
        chart::rule(view, rows(&mut area, 1), "Semantic cache", "", buf);
        row::draw_all(&semantic, indent(area), buf);
    }
}
