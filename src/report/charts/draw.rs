//! The charts of a run.

use std::error::Error;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::fill::{self, Fill, Layer, key, stack, tops};
use super::history::{Bin, Series};
use super::{Chart, ChartError};
use crate::event::{BreakerState, Fate};
use crate::text::units::number;

pub(super) const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);
pub(super) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
pub(super) const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);
pub(super) const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const YELLOW: RGBColor = RGBColor(0xf0, 0xe4, 0x42);
pub(super) const GREY: RGBColor = RGBColor(0x88, 0x88, 0x88);
pub(super) const SHADE: RGBColor = RGBColor(0xe6, 0xe6, 0xe6);
pub(super) const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

pub(super) const FONT: &str = "sans-serif";
const SIZE: (u32, u32) = (960, 360);
/// Descriptions of the charts.
const FATES: &str = "fates of calls";
const ATTEMPTS: &str = "attempts sent";
const BUCKETS: &str = "lowest level of the limiter's buckets";
const BREAKER: &str = "state of the breaker";
/// Left edge of the legend.
pub(super) const LEGEND: i32 = 820;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Plot<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
pub(super) type Drawn = Result<(), Box<dyn Error + Send + Sync>>;

/// Draws onto an empty sheet.
pub(super) fn sheet(
    chart: &'static str,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, ChartError> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = area
        .fill(&WHITE)
        .map_err(Into::into)
        .and_then(|()| draw(&area))
        .and_then(|()| Ok(area.present()?));
    drop(area);
    drawn.map_err(|error| ChartError {
        chart,
        problem: error.to_string(),
    })?;
    Ok(svg)
}

impl Series {
    /// All charts of a run.
    ///
    /// # Errors
    /// If a chart cannot be drawn.
    pub fn charts(&self) -> Result<Vec<Chart>, ChartError> {
        let chart = |file, description, svg| Chart {
            file,
            description: title(&self.title, description),
            svg,
        };
        Ok(vec![
            chart("fates.svg", FATES, self.fates()?),
            chart("attempts.svg", ATTEMPTS, self.attempts()?),
            chart("bucket.svg", BUCKETS, self.levels()?),
            chart("breaker.svg", BREAKER, self.states()?),
        ])
    }

    /// Ended calls by fate and time of their end, stacked.
    ///
    /// # Errors
    /// If the chart cannot be drawn.
    pub fn fates(&self) -> Result<String, ChartError> {
        let fills = [
            plain(SKY),
            plain(BLUE),
            plain(GREEN),
            striped(ORANGE, 8),
            striped(PURPLE, 4),
            plain(VERMILION),
            plain(YELLOW),
            striped(GREY, 4),
        ];
        let layers = Fate::ALL
            .iter()
            .zip(fills)
            .enumerate()
            .map(|(at, (fate, fill))| Layer {
                name: fate.brief(),
                fill,
                heights: self.per_second(|bin| bin.fates.get(at).copied().unwrap_or_default()),
            });
        // a fate without calls is not in the legend
        let layers = layers.filter(|layer| layer.heights.iter().any(|height| *height > 0.0));
        self.stacked(
            "fates.svg",
            FATES,
            "calls per second",
            &layers.collect::<Vec<_>>(),
        )
    }

    /// Attempts sent, stacked.
    ///
    /// # Errors
    /// If the chart cannot be drawn.
    pub fn attempts(&self) -> Result<String, ChartError> {
        let layers = [
            Layer {
                name: "first attempts",
                fill: plain(SKY),
                heights: self.per_second(|bin| bin.first_attempts),
            },
            Layer {
                name: "retries",
                fill: plain(VERMILION),
                heights: self.per_second(|bin| bin.retries),
            },
        ];
        self.stacked("attempts.svg", ATTEMPTS, "attempts per second", &layers)
    }

    /// The lowest levels of the two buckets.
    ///
    /// # Errors
    /// If the chart cannot be drawn.
    pub fn levels(&self) -> Result<String, ChartError> {
        let lines = [
            ("requests", BLUE, self.level_line(|bin| bin.requests)),
            ("LLM tokens", VERMILION, self.level_line(|bin| bin.tokens)),
        ];
        let lowest = lines
            .iter()
            .flat_map(|(_, _, line)| line)
            .map(|(_, level)| *level)
            .fold(0.0, f64::min);
        sheet("bucket.svg", SIZE, |area| {
            let heading = title(&self.title, BUCKETS);
            let mut plot = self.plot(area, &heading, "% of capacity", (lowest.floor(), 105.0))?;
            for (at, (name, color, line)) in lines.iter().enumerate() {
                let style = color.stroke_width(2);
                let y = fill::top(at) + 7;
                let sample = [(LEGEND - 6, y), (LEGEND + 14, y)];
                if at == 0 {
                    plot.draw_series([PathElement::new(line.clone(), style)])?;
                    area.draw(&PathElement::new(sample, style))?;
                } else {
                    plot.draw_series([DashedPathElement::new(line.iter().copied(), 6, 3, style)])?;
                    area.draw(&DashedPathElement::new(sample, 6, 3, style))?;
                }
                area.draw_text(name, &text(13), (LEGEND + 20, y - 6))?;
            }
            self.fault_key(area, lines.len())
        })
    }

    /// The states of the breaker, as bands.
    ///
    /// # Errors
    /// If the chart cannot be drawn.
    pub fn states(&self) -> Result<String, ChartError> {
        const ROWS: [(BreakerState, &str, RGBColor); 3] = [
            (BreakerState::Closed, "closed", SKY),
            (BreakerState::HalfOpen, "half-open", ORANGE),
            (BreakerState::Open, "open", VERMILION),
        ];
        sheet("breaker.svg", (SIZE.0, 240), |area| {
            let heading = title(&self.title, BREAKER);
            let (scale, _) = self.unit();
            let mut plot = self.plot(area, &heading, "", (0.0, 3.0))?;
            for (at, (state, name, color)) in ROWS.iter().enumerate() {
                let (low, high) = (at as f64 + 0.1, at as f64 + 0.9);
                let spans = self.breaker.iter().filter(|span| span.value == *state);
                let (mut bands, mut edges) = (Vec::new(), Vec::new());
                for span in spans {
                    let (from, until) = (span.from / scale, span.until / scale);
                    bands.push(Rectangle::new([(from, low), (until, high)], color.filled()));
                    // a state of no duration is still a line
                    edges.push(PathElement::new(
                        vec![(from, low), (from, high)],
                        color.stroke_width(1),
                    ));
                }
                plot.draw_series(bands)?;
                plot.draw_series(edges)?;
                let (x, y) = plot.backend_coord(&(0.0, at as f64 + 0.5));
                let style = text(13).pos(Pos::new(HPos::Right, VPos::Center));
                area.draw_text(name, &style, (x - 8, y))?;
            }
            self.fault_key(area, 0)
        })
    }

    fn per_second(&self, count: impl Fn(&Bin) -> u32) -> Vec<f64> {
        let width = self.width.max(f64::MIN_POSITIVE);
        self.bins
            .iter()
            .map(|bin| f64::from(count(bin)) / width)
            .collect()
    }

    /// In percent, at the middle of each bin.
    fn level_line(&self, level: impl Fn(&Bin) -> Option<f64>) -> Vec<(f64, f64)> {
        let (scale, _) = self.unit();
        let bins = self.bins.iter().enumerate();
        bins.filter_map(|(at, bin)| {
            let x = ((at as f64 + 0.5) * self.width).min(self.seconds);
            Some((x / scale, level(bin)? * 100.0))
        })
        .collect()
    }

    fn stacked(
        &self,
        file: &'static str,
        description: &str,
        unit: &str,
        layers: &[Layer<'_>],
    ) -> Result<String, ChartError> {
        let highest = tops(layers).iter().flatten().copied().fold(1.0, f64::max);
        sheet(file, SIZE, |area| {
            let mut plot = self.plot(
                area,
                &title(&self.title, description),
                unit,
                (0.0, highest * 1.05),
            )?;
            let (scale, _) = self.unit();
            stack(&mut plot, layers, &|at| {
                (at as f64 * self.width).min(self.end()) / scale
            })?;
            // in the order of the stack
            for (at, layer) in layers.iter().rev().enumerate() {
                key(area, at, layer.fill, layer.name)?;
            }
            self.fault_key(area, layers.len())
        })
    }

    /// The end of the last bin.
    fn end(&self) -> f64 {
        (self.bins.len() as f64 * self.width).max(self.width)
    }

    fn unit(&self) -> (f64, &'static str) {
        unit(self.seconds)
    }

    /// Axes, grid and the times of faults.
    fn plot<'a>(
        &self,
        area: &Area<'a>,
        title: &str,
        unit: &str,
        (low, high): (f64, f64),
    ) -> Result<Plot<'a>, Box<dyn Error + Send + Sync>> {
        let (scale, name) = self.unit();
        let (left, _) = area.split_horizontally(LEGEND);
        let mut plot = ChartBuilder::on(&left)
            .caption(title, text(17))
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..self.end() / scale, low..high)?;
        plot.draw_series(self.faults.iter().map(|span| {
            let corners = [(span.from / scale, low), (span.until / scale, high)];
            Rectangle::new(corners, SHADE.filled())
        }))?;
        let mut mesh = plot.configure_mesh();
        mesh.x_desc(format!("time since the start, {name}"))
            .label_style(text(12))
            .axis_desc_style(text(13))
            .x_labels(10)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID);
        if unit.is_empty() {
            mesh.disable_y_axis().disable_y_mesh();
        } else {
            mesh.y_desc(unit).y_labels(8);
        }
        mesh.draw()?;
        Ok(plot)
    }

    fn fault_key(&self, area: &Area<'_>, at: usize) -> Drawn {
        if self.faults.is_empty() {
            return Ok(());
        }
        key(area, at, plain(SHADE), "faults on")
    }
}

/// A fill without stripes.
pub(super) fn plain(color: RGBColor) -> Fill {
    striped(color, 0)
}

/// A fill with stripes, at this distance in pixels.
pub(super) fn striped(color: RGBColor, stripes: u32) -> Fill {
    Fill { color, stripes }
}

/// The unit of a time axis of this length: its seconds and its name.
pub(super) fn unit(seconds: f64) -> (f64, &'static str) {
    match seconds {
        seconds if seconds <= 600.0 => (1.0, "s"),
        seconds if seconds <= 4.0 * 3600.0 => (60.0, "min"),
        _ => (3600.0, "h"),
    }
}

/// A title that fits its chart.
pub(super) fn title(name: &str, description: &str) -> String {
    format!("{}: {description}", shortened(name, 60))
}

/// Text of at most this width; longer text loses its middle, because names differ at their ends.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let fitting = |letters: &mut dyn Iterator<Item = char>, most: usize| -> Vec<char> {
        let mut used = 0;
        let fits = |letter: &char| {
            used += letter.width().unwrap_or_default();
            used <= most
        };
        letters.take_while(fits).collect()
    };
    let head = fitting(&mut text.chars(), most / 2);
    let tail = fitting(&mut text.chars().rev(), most.saturating_sub(1) - most / 2);
    let letters = head.iter().chain(&['\u{2026}']).chain(tail.iter().rev());
    letters.collect()
}

pub(super) fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_text_style(&(0, 0)).color(&BLACK)
}
