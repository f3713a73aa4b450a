//! Axes: time as `m:ss`, values from zero up to a round number.

use super::history::Span;
use super::svg::{Place, Sheet, WIDTH, hatched, plain, width_of};
use crate::text::units::{amount, nice, number};

/// The edges of every plot.
pub(super) const LEFT: f64 = 80.0;
/// Right of it is the legend.
pub(super) const RIGHT: f64 = WIDTH - 236.0;
/// Left edge of the legend.
pub(super) const LEGEND: f64 = RIGHT + 16.0;
/// Height of a line of the legend.
pub(super) const LINE: f64 = 19.0;
/// Height of the time axis below the last plot.
pub(super) const FOOT: f64 = 48.0;

/// Distances of ticks, in seconds.
const STEPS: [f64; 18] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    14400.0,
];

/// The shared time axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeAxis {
    /// Its end, in seconds.
    end: f64,
    step: f64,
}

impl TimeAxis {
    /// An axis from 0 to `seconds`.
    pub(super) fn new(seconds: f64) -> Self {
        let end = if seconds.is_finite() {
            seconds.max(0.125)
        } else {
            0.125
        };
        let fits = |step: f64| {
            let room = (RIGHT - LEFT) / (width_of(&clock(end, step)) + 30.0);
            end / step <= room
        };
        let double = |step: &f64| Some(step * 2.0);
        let longer = std::iter::successors(Some(28_800.0), double).take(64);
        let step = STEPS.into_iter().chain(longer).find(|step| fits(*step));
        Self {
            end,
            step: step.unwrap_or(end),
        }
    }

    /// The pixel of an instant, in seconds; one beyond an end is at the end.
    pub(super) fn x(&self, seconds: f64) -> f64 {
        LEFT + (seconds / self.end).clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let step = self.step;
        (0..=(self.end / step) as u32).map(move |tick| f64::from(tick) * step)
    }

    /// The vertical lines of the grid.
    pub(super) fn grid(&self, sheet: &mut Sheet, top: f64, bottom: f64) {
        for tick in self.ticks() {
            sheet.line("grid", &[(self.x(tick), top), (self.x(tick), bottom)]);
        }
    }

    /// The times below the lowest plot, and their name.
    pub(super) fn labels(&self, sheet: &mut Sheet, bottom: f64) {
        for tick in self.ticks() {
            let x = self.x(tick);
            sheet.line("axis", &[(x, bottom), (x, bottom + 4.0)]);
            sheet.text("middle", (x, bottom + 18.0), &clock(tick, self.step));
        }
        let name = if self.end < 3600.0 {
            "m:ss since the start"
        } else {
            "h:mm:ss since the start"
        };
        sheet.text("small muted end", (RIGHT, bottom + 36.0), name);
    }

    /// The faults as bands behind the plots.
    pub(super) fn bands(&self, sheet: &mut Sheet, faults: &[Span<String>], top: f64, bottom: f64) {
        for span in faults {
            sheet.rect(
                plain("band"),
                (self.x(span.from), top),
                (self.x(span.until), bottom),
            );
        }
    }

    /// The names of the faults, on a strip above the plots.
    pub(super) fn faults(&self, sheet: &mut Sheet, faults: &[Span<String>], top: f64, bottom: f64) {
        for span in faults {
            let (from, to) = (self.x(span.from), self.x(span.until));
            sheet.rect(hatched("faults", "rising"), (from, top), (to, bottom));
            plate(sheet, (from, to), bottom - 4.0, &span.value);
        }
    }

    /// Dotted lines at these instants, over the plots.
    pub(super) fn guides(&self, sheet: &mut Sheet, times: &[f64], top: f64, bottom: f64) {
        let mut last = f64::NEG_INFINITY;
        for at in times {
            let x = self.x(*at);
            // several changes within a pixel are one line
            if x - last >= 1.0 {
                sheet.line("guide", &[(x, top), (x, bottom)]);
                last = x;
            }
        }
    }

    /// The outline of a histogram with bins of `width` seconds, from left to right.
    pub(super) fn steps(&self, heights: &[f64], width: f64, y: impl Fn(f64) -> f64) -> Vec<Place> {
        let bins = heights.iter().enumerate();
        bins.flat_map(|(at, height)| {
            let y = y(*height);
            let edge = |at: usize| self.x(at as f64 * width);
            [(edge(at), y), (edge(at + 1), y)]
        })
        .collect()
    }
}

/// A text on the colour of the page, in the middle between two edges, if it fits.
pub(super) fn plate(sheet: &mut Sheet, (from, to): (f64, f64), y: f64, text: &str) {
    // in 12 pixels
    let half = width_of(text) * 6.0 / 14.0 + 3.0;
    let middle = f64::midpoint(from, to);
    if to - from >= 2.0 * half + 4.0 {
        sheet.rect(
            plain("plate"),
            (middle - half, y - 11.0),
            (middle + half, y + 4.0),
        );
        sheet.text("small middle", (middle, y), text);
    }
}

/// An instant as `m:ss`, with hours and decimals as needed.
pub(super) fn clock(seconds: f64, step: f64) -> String {
    let tenths = (seconds.max(0.0) * 10.0).round() as u64;
    let (whole, tenth) = (tenths / 10, tenths % 10);
    let (h, m, s) = (whole / 3600, whole / 60 % 60, whole % 60);
    let decimal = if step < 1.0 {
        format!(".{tenth}")
    } else {
        String::new()
    };
    if h > 0 {
        format!("{h}:{m:02}:{s:02}{decimal}")
    } else {
        format!("{m}:{s:02}{decimal}")
    }
}

/// A vertical axis in a plot.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueAxis {
    pub top: f64,
    pub bottom: f64,
    /// The value at the top.
    pub high: f64,
    step: f64,
}

impl ValueAxis {
    /// An axis from 0 up to a round number of at least `high`, with about `ticks` ticks.
    pub(super) fn new((top, bottom): (f64, f64), high: f64, ticks: u32) -> Self {
        let high = if high.is_finite() && high > 0.0 { high } else { 1.0 };
        // a value that rounding has lifted over a tick is at it
        let end = |step: f64| (high / step - 1e-9).ceil().max(1.0) * step;
        let (wide, narrow) = (
            nice(high / f64::from(ticks.max(1))),
            nice(high / f64::from(ticks.max(1)) / 2.0),
        );
        // more ticks where they leave less of the plot empty
        let step = if end(narrow) < end(wide) { narrow } else { wide };
        Self {
            top,
            bottom,
            high: end(step),
            step,
        }
    }

    /// The pixel of a value.
    pub(super) fn y(&self, value: f64) -> f64 {
        let share = if value.is_nan() {
            0.0
        } else {
            (value / self.high).clamp(0.0, 1.0)
        };
        self.bottom - share * (self.bottom - self.top)
    }

    /// The grid and its labels, with `unit` above the topmost label.
    pub(super) fn draw(&self, sheet: &mut Sheet, unit: &str) {
        for tick in 0..=(self.high / self.step).round() as u32 {
            let value = f64::from(tick) * self.step;
            let y = self.y(value);
            sheet.line(if tick == 0 { "axis" } else { "grid" }, &[(LEFT, y), (RIGHT, y)]);
            let label = label(value);
            let last = value >= self.high * (1.0 - 1e-9);
            let text = if last { format!("{label}{unit}") } else { label };
            sheet.text("end", (LEFT - 8.0, y + 5.0), &text);
        }
    }
}

/// A value of an axis in few columns.
pub(super) fn label(value: f64) -> String {
    if value >= 10_000.0 {
        amount(value as u64)
    } else {
        number(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_minutes_and_seconds_and_labels_have_room() {
        for (seconds, last) in [
            (0.0, "0:00.1"),
            (0.8, "0:00.8"),
            (9.5, "0:09"),
            (420.0, "7:00"),
            (3599.0, "50:00"),
            (20_000.0, "5:00:00"),
        ] {
            let axis = TimeAxis::new(seconds);
            let ticks: Vec<f64> = axis.ticks().collect();
            assert_eq!(clock(*ticks.last().unwrap(), axis.step), last, "{seconds}");
            assert!((2..=16).contains(&ticks.len()), "{seconds}: {ticks:?}");
        }
        // no duration is too long
        let axis = TimeAxis::new(u64::MAX as f64 / 1e9);
        assert!(axis.ticks().count() <= 16);
        assert!((axis.x(1e300) - RIGHT).abs() < 1e-9 && (axis.x(-1.0) - LEFT).abs() < 1e-9);
    }

    #[test]
    fn a_value_axis_ends_at_a_round_number_above_all_values() {
        for (high, end) in [
            (0.0, 1.0),
            (f64::NAN, 1.0),
            (2.6, 3.0),
            (7.0, 8.0),
            (1e12, 1e12),
            (0.004, 0.004),
        ] {
            let axis = ValueAxis::new((0.0, 100.0), high, 3);
            assert!((axis.high - end).abs() < end * 1e-9, "{high}: {axis:?}");
            assert!((axis.y(axis.high), axis.y(0.0)) == (0.0, 100.0));
        }
        assert_eq!(
            (label(2e12), label(250.0), label(0.25)),
            ("2T".into(), "250".into(), "0.25".into())
        );
    }
}
