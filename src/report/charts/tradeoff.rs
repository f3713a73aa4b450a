//! The effect of a setting: the served share and the attempts per call over its values.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::draw::{Area, BLUE, Drawn, VERMILION, sheet, shortened, text, title};
use super::{Chart, ChartError};
use crate::text::units::number;

const FILE: &str = "tradeoff.svg";
const SIZE: (u32, u32) = (960, 520);

/// A mean and its interval; without an interval both bounds are the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The mean.
    pub mean: f64,
    /// Lower bound (2.5 %).
    pub low: f64,
    /// Upper bound (97.5 %).
    pub high: f64,
}

impl Range {
    /// Returns true if it has an interval.
    pub fn has_interval(&self) -> bool {
        self.low < self.high
    }

    /// Returns the range in another unit.
    #[must_use]
    pub fn scaled(self, by: f64) -> Self {
        Self {
            mean: self.mean * by,
            low: self.low * by,
            high: self.high * by,
        }
    }
}

/// A value of the setting and its results.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The value as text.
    pub label: String,
    /// Position on the axis.
    pub at: f64,
    /// Served share of the calls, 0 to 1.
    pub served: Option<Range>,
    /// Attempts per call sent.
    pub attempts: Option<Range>,
}

/// The chart of a setting.
#[derive(Clone, Debug, PartialEq)]
pub struct TradeOff {
    /// Name of the scenario or journal.
    pub title: String,
    /// Path of the setting.
    pub setting: String,
    /// The values, in the order of the axis.
    pub points: Vec<Point>,
}

/// One of the two panels.
struct Panel<'a> {
    unit: &'a str,
    color: RGBColor,
    /// Factor of the values.
    scale: f64,
    of: fn(&Point) -> Option<Range>,
}

impl TradeOff {
    /// The chart: both measures over the same axis, one above the other, with their 95 % intervals.
    ///
    /// # Errors
    /// If the chart cannot be drawn.
    pub fn chart(&self) -> Result<Chart, ChartError> {
        let mut ranges = self
            .points
            .iter()
            .flat_map(|point| [point.served, point.attempts]);
        let interval = if ranges.any(|range| range.is_some_and(|range| range.has_interval())) {
            " (mean, 95 % interval)"
        } else {
            ""
        };
        let description = format!("effect of {}{interval}", shortened(&self.setting, 40));
        let description = title(&self.title, &description);
        let svg = self.svg(&description)?;
        Ok(Chart {
            file: FILE,
            description,
            svg,
        })
    }

    fn svg(&self, heading: &str) -> Result<String, ChartError> {
        sheet(FILE, SIZE, |area| {
            area.draw_text(heading, &text(17), (74, 10))?;
            let (_, below) = area.split_vertically(34);
            let (upper, lower) = below.split_vertically(232);
            self.panel(
                &upper,
                &Panel {
                    unit: "calls served, %",
                    color: BLUE,
                    scale: 100.0,
                    of: |point| point.served,
                },
            )?;
            self.panel(
                &lower,
                &Panel {
                    unit: "attempts per call",
                    color: VERMILION,
                    scale: 1.0,
                    of: |point| point.attempts,
                },
            )
        })
    }

    fn panel(&self, area: &Area<'_>, panel: &Panel<'_>) -> Drawn {
        let ranges: Vec<(f64, Range)> = self
            .points
            .iter()
            .filter_map(|point| Some((point.at, (panel.of)(point)?.scaled(panel.scale))))
            .collect();
        let (left, right) = ends(self.points.iter().map(|point| (point.at, point.at)));
        let (low, high) = ends(ranges.iter().map(|(_, range)| (range.low, range.high)));
        let mut plot = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(left..right, low..high)?;
        plot.configure_mesh()
            .x_desc(self.setting.as_str())
            .y_desc(panel.unit)
            .label_style(text(12))
            .axis_desc_style(text(13))
            .y_labels(6)
            .y_label_formatter(&|value| number(*value))
            .x_labels(0)
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(0xdd, 0xdd, 0xdd))
            .draw()?;
        let means: Vec<(f64, f64)> = ranges.iter().map(|(at, range)| (*at, range.mean)).collect();
        plot.draw_series([PathElement::new(means, panel.color.stroke_width(2))])?;
        plot.draw_series(ranges.iter().map(|(at, range)| {
            ErrorBar::new_vertical(*at, range.low, range.mean, range.high, panel.color.filled(), 8)
        }))?;
        let bottom = Pos::new(HPos::Center, VPos::Top);
        // labels of values, as many as fit
        let every = self.points.len().div_ceil(16).max(1);
        for point in self.points.iter().step_by(every) {
            let (x, y) = plot.backend_coord(&(point.at, low));
            let style = text(12).pos(bottom);
            let (left, top) = area.get_base_pixel();
            area.draw_text(&point.label, &style, (x - left, y - top + 6))?;
        }
        Ok(())
    }
}

/// The ends of an axis, with some room.
fn ends(all: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (from, to)| {
        (low.min(from), high.max(to))
    });
    if !(low.is_finite() && high.is_finite()) {
        return (0.0, 1.0);
    }
    let room = ((high - low) * 0.08).max(high.abs().max(1.0) * 1e-3);
    (low - room, high + room)
}
