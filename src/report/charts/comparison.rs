//! Several policies side by side: their measures, and their runs over time.

use std::error::Error;

use plotters::prelude::*;

use super::draw::{
    Area, Drawn, GREY, GRID, LEGEND, ORANGE, Plot, SHADE, SKY, VERMILION, plain, sheet, shortened, striped,
    text, title, unit,
};
use super::fill::{self, Fill, Layer, key, stack, steps, tops};
use super::mean::{Means, OverTime};
use super::tradeoff::Range;
use super::{Chart, ChartError};
use crate::text::units::number;

/// Maximum number of policies of a chart: more do not fit on a page.
pub const MOST_SIDES: usize = 12;
/// Maximum number of bins of the time axis.
const BINS: usize = 160;
const WIDTH: u32 = 960;
/// Height of the title.
const HEAD: u32 = 34;
/// Height of the name above a lane.
const NAME: u32 = 20;
/// Height of a lane.
const LANE: u32 = 76;
/// Height of the time axis below the last lane.
const FOOT: u32 = 46;

/// The results of a policy. The numbers are means of the runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// Name of the policy.
    pub name: String,
    /// Served share of the calls, 0 to 1.
    pub served: Option<Range>,
    /// Attempts per call sent.
    pub attempts: Option<Range>,
    /// 95th percentile of the latency of served calls, in seconds.
    pub p95: Option<Range>,
    /// LLM tokens wasted per run.
    pub wasted: Option<Range>,
    /// Its runs over time.
    pub over_time: OverTime,
}

/// Charts of several policies.
#[derive(Clone, Debug, PartialEq)]
pub struct SideBySide {
    /// Name of the scenario or journal.
    pub title: String,
    /// The policies; the others are compared with the first. At most [`MOST_SIDES`] are shown.
    pub sides: Vec<Side>,
}

/// The name, the fill and the heights of a layer.
type LayerOf = (&'static str, Fill, fn(&Means) -> &[f64]);

/// The lanes of a chart, one per policy.
struct Lanes {
    file: &'static str,
    description: &'static str,
    /// Unit of the vertical axes.
    unit: &'static str,
    /// End of the vertical axes, if it is fixed.
    high: Option<f64>,
    /// The stacked layers, from the bottom up.
    layers: Vec<LayerOf>,
    /// Text of an empty lane.
    empty: &'static str,
    /// The layer up to which the first policy's outline is drawn over the other lanes.
    outlined: Option<usize>,
}

impl SideBySide {
    /// All charts.
    ///
    /// # Errors
    /// If a chart cannot be drawn.
    pub fn charts(&self) -> Result<Vec<Chart>, ChartError> {
        Ok(vec![
            self.measures()?,
            self.calls()?,
            self.attempts()?,
            self.breakers()?,
        ])
    }

    /// The policies that fit.
    pub(super) fn shown(&self) -> &[Side] {
        self.sides.get(..MOST_SIDES).unwrap_or(&self.sides)
    }

    fn runs(&self) -> u64 {
        self.sides.first().map_or(0, |side| side.over_time.runs())
    }

    /// The title, with the number of runs and of policies that are not shown.
    pub(super) fn heading(&self, description: &str) -> String {
        let mean = match self.runs() {
            0 | 1 => String::new(),
            runs => format!(", mean of {runs} runs"),
        };
        let beyond = match self.sides.len() - self.shown().len() {
            0 => String::new(),
            beyond => format!("; {beyond} more not shown"),
        };
        title(&self.title, &format!("{description}{mean}{beyond}"))
    }

    /// Ended calls by the time of their end.
    ///
    /// # Errors
    /// If the chart cannot be drawn.
    pub fn calls(&self) -> Result<Chart, ChartError> {
        self.lanes(&Lanes {
            file: "compare-calls.svg",
            description: "fates of calls under each policy",
            unit: "calls / s",
            high: None,
            layers: vec![
                ("served", plain(SKY), |means| &means.served),
                ("rejected", striped(ORANGE, 4), |means| &means.rejected),
                ("failed, interrupted, cancelled", plain(VERMILION), |means| {
                    &means.lost
                }),
            ],
            empty: "no call",
            outlined: Some(0),
        })
    }

    /// Attempts sent.
    ///
    /// # Errors
    /// If the chart cannot be drawn.
    pub fn attempts(&self) -> Result<Chart, ChartError> {
        self.lanes(&Lanes {
            file: "compare-attempts.svg",
            description: "attempts sent under each policy",
            unit: "attempts / s",
            high: None,
            layers: vec![
                ("first attempts", plain(SKY), |means| &means.first_attempts),
                ("retries", plain(VERMILION), |means| &means.retries),
            ],
            empty: "no attempt",
            outlined: Some(1),
        })
    }

    /// The share of runs in which the breaker was not closed.
    ///
    /// # Errors
    /// If the chart cannot be drawn.
    pub fn breakers(&self) -> Result<Chart, ChartError> {
        self.lanes(&Lanes {
            file: "compare-breakers.svg",
            description: "state of the breaker under each policy",
            unit: if self.runs() > 1 { "% of runs" } else { "% of time" },
            high: Some(100.0),
            layers: vec![
                ("open", plain(VERMILION), |means| &means.open),
                ("half-open", plain(ORANGE), |means| &means.half_open),
            ],
            empty: "never open",
            outlined: None,
        })
    }

    fn lanes(&self, lanes: &Lanes) -> Result<Chart, ChartError> {
        let sides = self.shown();
        let seconds = sides
            .iter()
            .map(|side| side.over_time.seconds())
            .fold(0.0, f64::max);
        let width = sides
            .iter()
            .map(|side| side.over_time.width_for(seconds, BINS))
            .max()
            .unwrap_or_default();
        let means: Vec<Means> = sides.iter().map(|side| side.over_time.means(width)).collect();
        let stacks: Vec<Vec<Layer<'_>>> = means.iter().map(|means| lanes.of(means)).collect();
        let all = stacks.iter().flat_map(|stack| tops(stack));
        let highest = all.flatten().fold(0.0, f64::max);
        let outlines = stacks.first().map_or_else(Vec::new, |first| tops(first));
        let high = lanes
            .high
            .unwrap_or(if highest > 0.0 { highest * 1.08 } else { 1.0 });
        let height = HEAD + (NAME + LANE) * sides.len().max(1) as u32 + FOOT;
        let heading = self.heading(lanes.description);
        let svg = sheet(lanes.file, (WIDTH, height), |area| {
            area.draw_text(&heading, &text(17), (74, 8))?;
            let axis = Axis {
                end: seconds.max(width.as_secs_f64()),
                bin: width.as_secs_f64(),
                high,
                unit: lanes.unit,
            };
            let (_, mut rest) = area.split_vertically(HEAD);
            for (at, (side, layers)) in sides.iter().zip(&stacks).enumerate() {
                let is_last = at + 1 == sides.len();
                let (lane, below) = rest.split_vertically(NAME + LANE + if is_last { FOOT } else { 0 });
                rest = below;
                let (lane, _) = lane.split_horizontally(LEGEND);
                lane.draw_text(&shortened(&side.name, 90), &text(13), (74, 3))?;
                let outline = lanes.outlined.filter(|_| at > 0);
                let outline = outline.and_then(|layer| outlines.get(layer));
                let mut plot = axis.plot(&lane, side, is_last)?;
                axis.draw(&mut plot, layers, outline)?;
                axis.draw_switches(&mut plot, side)?;
                if layers
                    .iter()
                    .flat_map(|layer| &layer.heights)
                    .all(|height| *height <= 0.0)
                {
                    let style = text(12).color(&GREY);
                    lane.draw_text(lanes.empty, &style, (84, (NAME + LANE / 2).cast_signed() - 6))?;
                }
            }
            self.legend(area, lanes)
        })?;
        Ok(Chart {
            file: lanes.file,
            description: heading,
            svg,
        })
    }

    fn legend(&self, area: &Area<'_>, lanes: &Lanes) -> Drawn {
        // in the order of the stack
        for (at, (name, fill, _)) in lanes.layers.iter().rev().enumerate() {
            key(area, at, *fill, name)?;
        }
        let mut at = lanes.layers.len();
        if self
            .shown()
            .iter()
            .any(|side| !side.over_time.faults().is_empty())
        {
            key(area, at, plain(SHADE), "faults on")?;
            at += 1;
        }
        if lanes.outlined.is_some() && self.shown().len() > 1 {
            let y = fill::top(at) + 7;
            area.draw(&PathElement::new(
                vec![(LEGEND, y), (LEGEND + 14, y)],
                BLACK.stroke_width(2),
            ))?;
            let of = if lanes.outlined == Some(0) {
                "served by the"
            } else {
                "sent by the"
            };
            area.draw_text(of, &text(13), (LEGEND + 20, y - 6))?;
            area.draw_text("first policy", &text(13), (LEGEND + 20, y + 10))?;
        }
        Ok(())
    }
}

impl Lanes {
    fn of(&self, means: &Means) -> Vec<Layer<'_>> {
        let layer = |(name, fill, of): &LayerOf| Layer {
            name,
            fill: *fill,
            heights: of(means).to_vec(),
        };
        self.layers.iter().map(layer).collect()
    }
}

/// The axes of all lanes.
struct Axis {
    /// End of the time axis, in seconds.
    end: f64,
    /// Width of a bin, in seconds.
    bin: f64,
    high: f64,
    unit: &'static str,
}

impl Axis {
    fn plot<'a>(
        &self,
        lane: &Area<'a>,
        side: &Side,
        is_last: bool,
    ) -> Result<Plot<'a>, Box<dyn Error + Send + Sync>> {
        let (scale, name) = unit(self.end);
        let mut plot = ChartBuilder::on(lane)
            .margin_left(10)
            .margin_right(10)
            .margin_top(NAME)
            .margin_bottom(if is_last { 4 } else { 2 })
            .x_label_area_size(if is_last { FOOT - 4 } else { 0 })
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..self.end / scale, 0.0..self.high)?;
        plot.draw_series(side.over_time.faults().iter().map(|span| {
            let corners = [(span.from / scale, 0.0), (span.until / scale, self.high)];
            Rectangle::new(corners, SHADE.filled())
        }))?;
        let mut mesh = plot.configure_mesh();
        mesh.label_style(text(12))
            .axis_desc_style(text(12))
            .x_labels(10)
            .y_labels(3)
            .y_desc(self.unit)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID);
        if is_last {
            mesh.x_desc(format!("time since the start, {name}"));
        }
        mesh.draw()?;
        Ok(plot)
    }

    fn draw(&self, plot: &mut Plot<'_>, layers: &[Layer<'_>], outline: Option<&Vec<f64>>) -> Drawn {
        let (scale, _) = unit(self.end);
        let edge = |at: usize| (at as f64 * self.bin).min(self.end) / scale;
        stack(plot, layers, &edge)?;
        if let Some(outline) = outline {
            plot.draw_series([PathElement::new(steps(outline, &edge), BLACK.stroke_width(1))])?;
        }
        Ok(())
    }

    /// The switches of faults, drawn over the layers that hide their shade.
    fn draw_switches(&self, plot: &mut Plot<'_>, side: &Side) -> Drawn {
        let (scale, _) = unit(self.end);
        let times = side.over_time.faults().iter();
        plot.draw_series(
            times
                .flat_map(|span| [span.from, span.until])
                .map(|at| PathElement::new(vec![(at / scale, 0.0), (at / scale, self.high)], GREY)),
        )?;
        Ok(())
    }
}
