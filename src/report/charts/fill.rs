//! Stacked areas, distinguished by colour and, in greyscale, by stripes.

use plotters::prelude::*;

use super::draw::{Area, Drawn, GREY, LEGEND, Plot, text};

/// The fill of an area.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub color: RGBColor,
    /// Distance of the white stripes in pixels; 0: no stripes.
    pub stripes: u32,
}

/// A layer of a stack of histograms.
pub(super) struct Layer<'a> {
    pub name: &'a str,
    pub fill: Fill,
    /// The height in each bin.
    pub heights: Vec<f64>,
}

/// The tops of the layers, from the bottom up.
pub(super) fn tops(layers: &[Layer<'_>]) -> Vec<Vec<f64>> {
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

/// Draws stacked layers; `edge` returns the left edge of a bin on the axis.
pub(super) fn stack(plot: &mut Plot<'_>, layers: &[Layer<'_>], edge: &dyn Fn(usize) -> f64) -> Drawn {
    let (_, pixels) = plot.plotting_area().dim_in_pixel();
    let axis = plot.y_range();
    let pixel = (axis.end - axis.start) / f64::from(pixels.max(1));
    let mut base: Vec<f64> = Vec::new();
    for (layer, top) in layers.iter().zip(tops(layers)) {
        base.resize(top.len(), 0.0);
        let mut outline = steps(&top, edge);
        outline.extend(steps(&base, edge).into_iter().rev());
        plot.draw_series([Polygon::new(outline, layer.fill.color.filled())])?;
        let lines = stripes(&base, &top, f64::from(layer.fill.stripes) * pixel);
        plot.draw_series(lines.into_iter().map(|(from, until, y)| {
            PathElement::new(vec![(edge(from), y), (edge(until), y)], WHITE.stroke_width(1))
        }))?;
        base = top;
    }
    Ok(())
}

/// The outline of a histogram, from left to right.
pub(super) fn steps(heights: &[f64], edge: &dyn Fn(usize) -> f64) -> Vec<(f64, f64)> {
    let bins = heights.iter().enumerate();
    bins.flat_map(|(at, height)| [(edge(at), *height), (edge(at + 1), *height)])
        .collect()
}

/// Horizontal lines between two outlines: first bin, end and height.
fn stripes(base: &[f64], top: &[f64], every: f64) -> Vec<(usize, usize, f64)> {
    let highest = top.iter().copied().fold(0.0, f64::max);
    let mut lines = Vec::new();
    if every <= 0.0 {
        return lines;
    }
    for level in 1..=(highest / every) as u32 {
        let y = f64::from(level) * every;
        let mut since = None;
        for (at, (low, high)) in base.iter().zip(top).chain([(&0.0, &0.0)]).enumerate() {
            match (since, *low < y && y < *high) {
                (None, true) => since = Some(at),
                (Some(from), false) => {
                    lines.push((from, at, y));
                    since = None;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
    }
    lines
}

/// Draws a line of the legend.
pub(super) fn key(area: &Area<'_>, at: usize, fill: Fill, name: &str) -> Drawn {
    const SIZE: i32 = 14;
    let y = top(at);
    let square = [(LEGEND, y), (LEGEND + SIZE, y + SIZE)];
    area.draw(&Rectangle::new(square, fill.color.filled()))?;
    let every = i32::try_from(fill.stripes).unwrap_or_default();
    if every > 0 {
        for up in (1..).map(|stripe| stripe * every).take_while(|up| *up < SIZE) {
            let line = vec![(LEGEND, y + SIZE - up), (LEGEND + SIZE, y + SIZE - up)];
            area.draw(&PathElement::new(line, WHITE.stroke_width(1)))?;
        }
    }
    area.draw(&Rectangle::new(square, GREY))?;
    area.draw_text(name, &text(13), (LEGEND + 20, y + 1))?;
    Ok(())
}

/// The top of a line of the legend.
pub(super) fn top(at: usize) -> i32 {
    48 + 22 * i32::try_from(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_stay_within_their_layer() {
        let (base, top) = ([1.0, 1.0, 0.0, 2.0], [3.0, 3.0, 0.0, 4.0]);
        assert_eq!(
            stripes(&base, &top, 1.0),
            [(0, 2, 2.0), (3, 4, 3.0)],
            "2 is the base of the last bin, and 3 the top of the first two"
        );
        assert!(stripes(&base, &top, 0.0).is_empty());
    }
}
