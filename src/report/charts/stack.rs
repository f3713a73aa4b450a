//! Stacked histograms and percentiles over the shared time axis, and their legend.

use super::axis::{LEGEND, LINE, TimeAxis, ValueAxis};
use super::svg::{Fill, Place, Sheet, plain};

/// A layer of a stack of histograms.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub name: &'static str,
    pub fill: Fill,
    /// The height in each bin.
    pub heights: Vec<f64>,
    /// Its total, for the legend.
    pub total: Option<String>,
}

/// The tops of the layers, from the bottom up.
pub(super) fn tops(layers: &[Layer]) -> Vec<Vec<f64>> {
    let mut base: Vec<f64> = Vec::new();
    let tops = layers.iter().map(|layer| {
        base.resize(layer.heights.len(), 0.0);
        for (sum, height) in base.iter_mut().zip(&layer.heights) {
            *sum += height;
        }
        base.clone()
    });
    tops.collect()
}

/// The highest top.
pub(super) fn highest(layers: &[Layer]) -> f64 {
    tops(layers).iter().flatten().copied().fold(0.0, f64::max)
}

/// Draws stacked layers with bins of `width` seconds.
pub(super) fn stack(sheet: &mut Sheet, layers: &[Layer], width: f64, time: &TimeAxis, values: &ValueAxis) {
    let mut base = vec![0.0; layers.first().map_or(0, |layer| layer.heights.len())];
    for (layer, top) in layers.iter().zip(tops(layers)) {
        // a layer without height has no outline
        if layer.heights.iter().any(|height| *height > 0.0) {
            let mut outline = time.steps(&top, width, |value| values.y(value));
            outline.extend(
                time.steps(&base, width, |value| values.y(value))
                    .into_iter()
                    .rev(),
            );
            sheet.area(layer.fill, &outline);
        }
        base = top;
    }
}

/// Draws the legend of layers in the order of the stack, from `top` on. Returns the next line.
pub(super) fn legend(sheet: &mut Sheet, layers: &[Layer], top: f64) -> f64 {
    let shown = layers.iter().rev();
    shown.fold(top, |y, layer| {
        key(sheet, y, layer.fill, layer.name);
        if let Some(total) = &layer.total {
            sheet.text("end muted", (super::svg::WIDTH - 12.0, y + 11.0), total);
        }
        y + LINE
    })
}

/// Draws a line of the legend.
pub(super) fn key(sheet: &mut Sheet, y: f64, fill: Fill, name: &str) {
    sheet.rect(fill, (LEGEND, y), (LEGEND + 13.0, y + 13.0));
    sheet.text("", (LEGEND + 20.0, y + 11.0), name);
}

/// Median and 95th percentile of each bin, in seconds; none without a measurement.
pub(super) type Percentile = Option<(f64, f64)>;

/// Draws the area between two percentiles, with a gap where there are no values.
pub(super) fn spread(
    sheet: &mut Sheet,
    bins: &[Percentile],
    width: f64,
    time: &TimeAxis,
    values: &ValueAxis,
) {
    let mut at = 0;
    for run in bins.chunk_by(|one, next| one.is_some() == next.is_some()) {
        let from = at;
        at += run.len();
        let edges = |of: fn(&(f64, f64)) -> f64| -> Vec<Place> {
            let known = run.iter().flatten().enumerate();
            known
                .flat_map(|(bin, both)| {
                    let y = values.y(of(both));
                    let x = |bin: usize| time.x((from + bin) as f64 * width);
                    [(x(bin), y), (x(bin + 1), y)]
                })
                .collect()
        };
        let (lower, upper) = (edges(|both| both.0), edges(|both| both.1));
        let outline: Vec<Place> = upper.iter().chain(lower.iter().rev()).copied().collect();
        sheet.area(plain("spread"), &outline);
        sheet.line("upper", &upper);
        sheet.line("lower", &lower);
    }
}

/// Draws the legend of percentiles. Returns the next line.
pub(super) fn spread_legend(sheet: &mut Sheet, y: f64) -> f64 {
    for (at, (class, name)) in [("upper", "p95"), ("lower", "p50")].into_iter().enumerate() {
        let y = y + at as f64 * LINE;
        sheet.line(class, &[(LEGEND - 3.0, y + 7.0), (LEGEND + 16.0, y + 7.0)]);
        sheet.text("", (LEGEND + 20.0, y + 11.0), name);
    }
    y + 2.0 * LINE
}
