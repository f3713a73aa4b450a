//! The parts that charts share: the clock on the rule, strips, and stacked bars with their legend.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::event::BreakerMode;
use crate::state::Slot;
use crate::text::units;
use crate::tui::layout::{Areas, layout};
use crate::tui::plot::bars::{self, Part};
use crate::tui::plot::strip::{self, Labelled};
use crate::tui::plot::{self, Axis, Columns, Frame, Unit, scale};
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{PaneId, card, row};

/// Columns of a gutter from which it has the long labels, and the medium ones.
const WIDE: [u16; 2] = [29, 24];
/// The smallest end of a scale of attempts or calls per second.
const LEAST_RATE: f64 = 4.0;
/// Columns of the reason that a part of the plot is blank.
const NOT_STARTED: &str = "not started";

/// The areas of the screen that is drawn.
pub(super) fn areas(view: &View<'_>) -> Areas {
    let size = view.ui.size;
    layout(Rect::new(0, 0, size.width, size.height), view.ui)
}

/// Returns true if a pane fills the screen.
pub(super) fn is_zoomed(view: &View<'_>, id: PaneId) -> bool {
    let areas = areas(view);
    areas.zoomed && areas.focus == id
}

/// A chart: its area, its axis, and the slots behind it.
pub(super) struct Chart<'a> {
    pub(super) view: &'a View<'a>,
    /// The rows that are still free.
    pub(super) frame: Frame,
    pub(super) axis: Axis,
    pub(super) columns: Columns,
}

impl<'a> Chart<'a> {
    /// A chart on the shared axis.
    pub(super) fn new(view: &'a View<'a>, area: Rect) -> Self {
        let frame = Frame::new(area, areas(view).gutter);
        let axis = Axis::new(view, frame.plot.width);
        Self {
            view,
            frame,
            axis,
            columns: Columns::new(&view.state.timeline, &axis),
        }
    }

    /// Takes rows from the top.
    pub(super) fn take(&mut self, rows: u16) -> Frame {
        let taken = self.frame.rows(0, rows);
        let height = self.frame.plot.height;
        self.frame = self.frame.rows(rows, height.saturating_sub(rows));
        taken
    }

    /// Draws a rule of its own in the next row: a title and a note in the gutter, ticks in the plot.
    pub(super) fn sub_rule(&mut self, title: &str, note: &str, buf: &mut Buffer) {
        let at = self.take(1);
        if at.axis.is_empty() {
            return;
        }
        let width = at.gutter.width + at.axis.width + at.plot.width;
        rule(self.view, Rect { width, ..at.gutter }, title, "", buf);
        let glyphs = self.view.theme.glyphs;
        plot::put(
            buf,
            at.axis.x,
            at.axis.y,
            glyphs.tees[3],
            self.view.theme.style(Role::Border),
        );
        plot::ticks(self.view, &self.axis, at.plot, buf);
        behind_title(self.view, at.gutter, note, buf);
    }

    /// Draws the strips in the next `rows` rows: the breaker alone, or the faults above it.
    pub(super) fn strips(&mut self, rows: u16, buf: &mut Buffer) {
        let rows = rows.min(self.frame.plot.height);
        if rows > 1 {
            let at = self.take(1);
            label(self.view, at, "faults", buf);
            let spans: Vec<Labelled> = self.view.state.timeline.faults().map(fault_label).collect();
            let visible = spans.iter().any(|span| {
                let to = span.to.unwrap_or(self.axis.end());
                to >= self.axis.start() && span.from <= self.axis.end()
            });
            if visible {
                strip::faults(self.view.theme, &self.axis, &spans, at.plot, buf);
            } else {
                self.view.draw_notice(at.plot, "none switched on", buf);
            }
        }
        if rows > 0 {
            let at = self.take(1);
            label(self.view, at, "breaker", buf);
            let state = self.view.state;
            let is_on = state.session.policy.breaker.enabled
                || state.breaker().mode != BreakerMode::Automatic
                || !state.breaker().history.is_empty();
            if is_on {
                strip::breaker(self.view, &self.axis, at.plot, buf);
            } else {
                self.view.draw_notice(at.plot, "off", buf);
            }
        }
    }

    /// Draws a mark in each column with a count: the glyph for one, its digit for several, `+` from ten.
    pub(super) fn marks(
        &self,
        at: Frame,
        glyph: &str,
        role: Role,
        count: fn(&Slot) -> u32,
        buf: &mut Buffer,
    ) {
        let style = self.view.theme.style(role);
        for (column, slot) in (0..at.plot.width).zip(self.columns.each()) {
            let count = slot.map_or(0, count);
            if count == 0 || at.plot.height == 0 || !self.columns.is_middle(column) {
                continue;
            }
            let text = match count {
                1 => glyph.to_owned(),
                2..10 => count.to_string(),
                _ => "+".to_owned(),
            };
            plot::put(buf, at.plot.x + column, at.plot.y, &text, style);
        }
    }

    /// Marks the columns before the start, if they have room for the words.
    pub(super) fn not_started(&self, frame: Frame, buf: &mut Buffer) {
        let Some(started) = self.view.state.timeline.started_at() else {
            return;
        };
        let blank = self.axis.column(started).unwrap_or(0);
        if usize::from(blank) >= NOT_STARTED.len() && frame.plot.height > 1 {
            let at = frame.rows(1, 1).plot;
            self.view.draw_notice(at, NOT_STARTED, buf);
        }
    }

    /// Writes facts in a gutter, left of `labels` columns of its scale: of each the first wording that fits.
    pub(super) fn facts(
        &self,
        gutter: Rect,
        labels: u16,
        facts: impl IntoIterator<Item = Vec<Line<'static>>>,
        buf: &mut Buffer,
    ) {
        let width = gutter.width.saturating_sub(labels);
        let fit = |wordings| row::first_fit(self.view.theme, wordings, usize::from(width));
        let lines: Vec<Line<'_>> = facts.into_iter().map(fit).collect();
        row::draw_all(&lines, Rect { width, ..gutter }, buf);
    }

    /// Draws guides and crosshair over some rows.
    pub(super) fn lines(&self, frame: Frame, buf: &mut Buffer) {
        plot::guides(self.view, &self.axis, frame.plot, buf);
        plot::crosshair(self.view, &self.axis, frame.plot, buf);
    }
}

/// Completes the rule of a chart: a note behind its title, and the clock or its ticks.
pub(super) fn head(view: &View<'_>, areas: &Areas, id: PaneId, area: Rect, buf: &mut Buffer) {
    let is_limited = view.state.session.policy.limit.enabled;
    let note = match id {
        PaneId::Traffic | PaneId::Breaker => "attempts",
        PaneId::Latency if areas.zoomed => "answered",
        // the gutter says how many calls were answered in it
        PaneId::Latency => view.ui.window.label(),
        PaneId::Limiter if areas.zoomed => "what is left",
        PaneId::Limiter if is_limited => "left, waiting",
        PaneId::Limiter => "in flight",
        PaneId::Cache => "share of lookups",
        PaneId::Retries => "by cause",
        _ => return,
    };
    let row = Frame::new(
        Rect {
            height: 1.min(area.height),
            ..area
        },
        areas.gutter,
    );
    let axis = Axis::new(view, row.plot.width);
    if areas.zoomed || id == PaneId::Traffic {
        plot::rule(view, &axis, row.plot, buf);
    } else {
        plot::ticks(view, &axis, row.plot, buf);
    }
    behind_title(view, row.gutter, note, buf);
}

/// Writes a note behind the title on a rule, if the gutter has room.
fn behind_title(view: &View<'_>, gutter: Rect, note: &str, buf: &mut Buffer) {
    let theme = view.theme;
    let is_rule = |x: u16| {
        let symbol = buf.cell((x, gutter.y)).map(ratatui::buffer::Cell::symbol);
        symbol.is_some_and(|symbol| [theme.glyphs.border[0], theme.glyphs.heavy_rule].contains(&symbol))
    };
    // the first free column behind the title
    let title = (gutter.left()..gutter.right())
        .skip_while(|x| is_rule(*x))
        .find(|x| is_rule(*x));
    let Some(x) = title.filter(|_| !note.is_empty()) else {
        return;
    };
    let room = usize::from(gutter.right() - x);
    // as on the cards: `last 30 s`, or `30 s` where there is less room
    let text = format!(" {} ", card::window(note, room));
    if row::width(&text) <= room {
        let style = ratatui::style::Style::reset().patch(theme.style(Role::Muted));
        buf.set_string(x, gutter.y, text, style);
    }
}

/// Draws a rule with a title at its left and a note at its right.
pub(super) fn rule(view: &View<'_>, at: Rect, title: &str, note: &str, buf: &mut Buffer) {
    let at = at.intersection(buf.area);
    if at.is_empty() {
        return;
    }
    let theme = view.theme;
    for x in at.left()..at.right() {
        plot::put(buf, x, at.y, theme.glyphs.border[0], theme.style(Role::Border));
    }
    let mut write = |x: u16, text: String, role: Role| {
        let style = ratatui::style::Style::reset().patch(theme.style(role));
        let room = usize::from(at.right().saturating_sub(x));
        buf.set_stringn(x, at.y, text, room, style);
    };
    // beside a divider, one column of the rule comes first
    let indent = 1 + u16::from(at.x > 0);
    if !title.is_empty() {
        write(at.x + indent, format!(" {title} "), Role::Strong);
    }
    let cells = row::width(note) as u16 + 2;
    if !note.is_empty() && cells + 4 + row::width(title) as u16 <= at.width {
        write(at.right() - 1 - cells, format!(" {note} "), Role::Muted);
    }
}

/// Draws a vertical line below the start of a rule, down to the end of the area.
pub(super) fn divider(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let glyphs = view.theme.glyphs;
    let style = view.theme.style(Role::Border);
    for y in area.top()..area.bottom() {
        let symbol = if y == area.y {
            glyphs.tees[0]
        } else {
            glyphs.border[1]
        };
        plot::put(buf, area.x, y, symbol, style);
    }
}

/// A name in the gutter, secondary.
pub(super) fn label(view: &View<'_>, frame: Frame, text: &str, buf: &mut Buffer) {
    let line = Line::from(row::piece(view.theme, Role::Muted, format!(" {text}")));
    row::draw(&line, 0, frame.gutter, buf);
}

/// The labels of a span of faults: name and rate.
fn fault_label(span: &crate::state::FaultSpan) -> Labelled {
    let name = span.name.single_line();
    let labels = if span.rate > 0.0 {
        vec![format!("{name} {}", units::rate(span.rate)), name]
    } else {
        vec![name]
    };
    Labelled {
        from: span.from,
        to: span.to,
        labels,
    }
}

/// A part of stacked bars.
pub(super) struct Layer {
    /// The labels for wide, medium and narrow gutters.
    pub(super) labels: [&'static str; 3],
    pub(super) part: fn(&Theme) -> Part,
    /// The count in a slot.
    pub(super) count: fn(&Slot) -> u32,
    /// True if the legend shows it without a count too, where it has room.
    pub(super) is_usual: bool,
}

/// Draws bars of counts per second with their legend: the lowest layer first.
pub(super) fn stack(chart: &Chart<'_>, frame: Frame, layers: &[Layer], buf: &mut Buffer) {
    let theme = chart.view.theme;
    let rate = |layer: &Layer, slot: &Slot| f64::from((layer.count)(slot)) / f64::from(slot.seconds.max(1));
    let all = |slot: &Slot| layers.iter().map(|layer| rate(layer, slot)).sum::<f64>();
    let (most, before) = chart.columns.most(all);
    let top = scale(most, before, LEAST_RATE);
    let parts: Vec<Part> = layers.iter().map(|layer| (layer.part)(theme)).collect();
    let bars: Vec<Option<Vec<f64>>> = chart
        .columns
        .each()
        .map(|slot| slot.map(|slot| layers.iter().map(|layer| rate(layer, slot)).collect()))
        .collect();
    chart.not_started(frame, buf);
    bars::draw(theme, &parts, &bars, top, frame.plot, buf);
    frame.labels(theme, Unit::PerSecond, top, buf);
    legend(chart, frame, layers, top, buf);
}

/// Writes fill, name and total of each layer, in the order of the stack, below the end of the scale.
fn legend(chart: &Chart<'_>, frame: Frame, layers: &[Layer], top: f64, buf: &mut Buffer) {
    let theme = chart.view.theme;
    let sum = chart.columns.sum();
    let gutter = frame.gutter;
    let rows = usize::from(gutter.height.saturating_sub(1)).max(1);
    let counts: Vec<u32> = layers.iter().map(|layer| (layer.count)(&sum)).collect();
    let mut shown: Vec<usize> = (0..layers.len())
        .filter(|at| *at == 0 || counts.get(*at) > Some(&0))
        .collect();
    let usual = (0..layers.len()).filter(|at| layers.get(*at).is_some_and(|layer| layer.is_usual));
    for at in usual {
        if shown.len() < rows && !shown.contains(&at) {
            shown.push(at);
        }
    }
    shown.sort_unstable();
    shown.truncate(rows);
    let size = WIDE
        .iter()
        .position(|wide| gutter.width >= *wide)
        .unwrap_or(WIDE.len());
    // the labels of the scale in the rows of the legend
    let first = usize::from(gutter.height).saturating_sub(shown.len());
    let beside = plot::levels(gutter.height, top)
        .into_iter()
        .filter(|(row, _)| usize::from(*row) >= first)
        .map(|(_, value)| row::width(&Unit::PerSecond.label(value, top)));
    let width = usize::from(gutter.width).saturating_sub(2 + beside.max().unwrap_or(0).max(2));
    // one more blank in front of the scale if the longest line has it to spare
    let needed = shown.iter().filter_map(|at| {
        let name = layers.get(*at)?.labels.get(size.min(WIDE.len()))?;
        Some(4 + row::width(name) + units::amount(u64::from(*counts.get(*at)?)).len())
    });
    let width = width - usize::from(needed.max() < Some(width));
    for (index, at) in shown.iter().enumerate() {
        let (Some(layer), Some(count)) = (layers.get(*at), counts.get(*at)) else {
            continue;
        };
        let part = (layer.part)(theme);
        let is_zero = *count == 0;
        let role = |role| if is_zero { Role::Muted } else { role };
        let number = if width >= 18 {
            count.to_string()
        } else {
            units::amount(u64::from(*count))
        };
        // a shorter label rather than no blank in front of a long number
        let room = (width + 1).saturating_sub(4 + number.len());
        let mut labels = layer.labels.iter().skip(size);
        let name = labels
            .find(|label| row::width(label) <= room)
            .or(layer.labels.last())
            .copied()
            .unwrap_or_default();
        let blanks = width.saturating_sub(3 + row::width(name));
        let line = Line::from(vec![
            Span::raw(" "),
            Span::styled(part.fill, plot::fill_style(theme, part.role)),
            row::piece(theme, role(Role::Text), format!(" {name}")),
            row::piece(theme, role(Role::Strong), row::right(&number, blanks + 1)),
        ]);
        row::draw(
            &line,
            usize::from(gutter.height).saturating_sub(index + 1),
            gutter,
            buf,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::FaultSpan;
    use crate::time::Timestamp;

    #[test]
    fn a_span_of_faults_is_labelled_with_its_rate_if_it_has_one() {
        for (name, rate, labels) in [
            ("outage", 0.75, &["outage 75%", "outage"][..]),
            ("rare", 0.004, &["rare 0.4%", "rare"]),
            ("crowded", 0.0, &["crowded"]),
        ] {
            let span = FaultSpan {
                from: Timestamp::ZERO,
                to: None,
                name: name.into(),
                rate,
            };
            assert_eq!(fault_label(&span).labels, labels);
        }
    }
}
