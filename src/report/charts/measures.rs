//! The measures of each policy: a row per policy, a dot at the mean, a bar over its 95 % interval.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::comparison::{Side, SideBySide};
use super::draw::{Area, BLUE, Drawn, GREY, GRID, SHADE, sheet, shortened, text};
use super::tradeoff::Range;
use super::{Chart, ChartError};
use crate::text::units::number;

const FILE: &str = "compare-measures.svg";
const WIDTH: u32 = 960;
/// Width of the names of policies.
const NAMES: u32 = 236;
const HEAD: u32 = 68;
const ROW: u32 = 40;
const FOOT: u32 = 30;

/// A measure with its unit and format.
struct Panel {
    unit: &'static str,
    scale: f64,
    digits: usize,
    of: fn(&Side) -> Option<Range>,
}

const PANELS: [Panel; 4] = [
    Panel {
        unit: "calls served, %",
        scale: 100.0,
        digits: 1,
        of: |side| side.served,
    },
    Panel {
        unit: "attempts per call",
        scale: 1.0,
        digits: 2,
        of: |side| side.attempts,
    },
    Panel {
        unit: "p95 of served calls, s",
        scale: 1.0,
        digits: 2,
        of: |side| side.p95,
    },
    Panel {
        unit: "tokens wasted per run",
        scale: 1.0,
        digits: 0,
        of: |side| side.wasted,
    },
];

impl SideBySide {
    /// The measures of each policy, with an axis per measure.
    ///
    /// # Errors
    /// If the chart cannot be drawn.
    pub fn measures(&self) -> Result<Chart, ChartError> {
        let rows = self.shown().len().max(1) as u32;
        let heading = self.heading("measures of each policy");
        let svg = sheet(FILE, (WIDTH, HEAD + ROW * rows + FOOT), |area| {
            area.draw_text(&heading, &text(17), (10, 8))?;
            for (at, side) in self.shown().iter().enumerate() {
                let middle = HEAD + ROW * at as u32 + ROW / 2;
                let style = text(13).pos(Pos::new(HPos::Right, VPos::Center));
                let at = (NAMES.cast_signed() - 10, middle.cast_signed());
                area.draw_text(&shortened(&side.name, 32), &style, at)?;
            }
            let (_, mut rest) = area.split_horizontally(NAMES);
            let each = (WIDTH - NAMES) / PANELS.len() as u32;
            for panel in &PANELS {
                let (here, right) = rest.split_horizontally(each);
                rest = right;
                self.panel(&here, panel)?;
            }
            let ranges = self
                .shown()
                .iter()
                .flat_map(|side| [side.served, side.attempts, side.p95, side.wasted]);
            let note = if ranges.flatten().any(|range| range.has_interval()) {
                "dot: mean; bar: its 95 % interval; line: the first policy"
            } else {
                "line: the first policy"
            };
            let style = text(12).pos(Pos::new(HPos::Right, VPos::Top));
            area.draw_text(note, &style, (WIDTH.cast_signed() - 10, 28))?;
            Ok(())
        })?;
        Ok(Chart {
            file: FILE,
            description: heading,
            svg,
        })
    }

    fn panel(&self, area: &Area<'_>, panel: &Panel) -> Drawn {
        let ranges: Vec<Option<Range>> = self
            .shown()
            .iter()
            .map(|side| (panel.of)(side).map(|range| range.scaled(panel.scale)))
            .collect();
        let (low, high) = ends(&ranges);
        let rows = ranges.len().max(1) as f64;
        area.draw_text(panel.unit, &text(13), (16, 50))?;
        let mut plot = ChartBuilder::on(area)
            .margin_left(16)
            .margin_right(16)
            .margin_top(HEAD)
            .x_label_area_size(FOOT)
            .build_cartesian_2d(low..high, rows..0.0)?;
        plot.configure_mesh()
            .disable_y_axis()
            .disable_y_mesh()
            .x_labels(3)
            .x_label_formatter(&|value| number(*value))
            .label_style(text(12))
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .draw()?;
        plot.draw_series((0..=ranges.len()).map(|row| {
            let y = row as f64;
            PathElement::new(vec![(low, y), (high, y)], SHADE)
        }))?;
        if let Some(Some(first)) = ranges.first() {
            plot.draw_series([PathElement::new(
                vec![(first.mean, 0.0), (first.mean, rows)],
                GREY.stroke_width(1),
            )])?;
        }
        let (left, top) = area.get_base_pixel();
        for (at, range) in ranges.iter().enumerate() {
            let y = at as f64 + 0.68;
            let Some(range) = range else {
                let (x, y) = plot.backend_coord(&(f64::midpoint(low, high), y));
                let style = text(12).pos(Pos::new(HPos::Center, VPos::Center));
                area.draw_text("none", &style, (x - left, y - top))?;
                continue;
            };
            plot.draw_series([PathElement::new(
                vec![(range.low, y), (range.high, y)],
                BLUE.stroke_width(3),
            )])?;
            plot.draw_series([Circle::new((range.mean, y), 5, BLUE.filled())])?;
            let (x, y) = plot.backend_coord(&(range.mean, y));
            let digits = panel.digits;
            let mean = format!("{:.digits$}", range.mean);
            let (x, y) = (x - left, y - top - 7);
            // the line of the first policy must not cross the number
            let half = 4 * i32::try_from(mean.len()).unwrap_or_default();
            area.draw(&Rectangle::new(
                [(x - half, y - 12), (x + half, y)],
                WHITE.filled(),
            ))?;
            let style = text(12).pos(Pos::new(HPos::Center, VPos::Bottom));
            area.draw_text(&mean, &style, (x, y))?;
        }
        Ok(())
    }
}

/// The ends of an axis, with room for a number over the outermost dots. They are not rounded: longer labels would
/// overlap the next panel.
fn ends(ranges: &[Option<Range>]) -> (f64, f64) {
    let known = ranges.iter().flatten();
    let (low, high) = known.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), range| {
        (low.min(range.low), high.max(range.high))
    });
    if !(low.is_finite() && high.is_finite()) {
        return (0.0, 1.0);
    }
    let room = ((high - low) * 0.22).max(high.abs().max(1.0) * 0.013);
    (low - room, high + room)
}
