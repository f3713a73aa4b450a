//! The trade-off between policies or values of a setting: the share of calls served against the load that it costs,
//! in attempts per call. Up and to the left is better.

use super::svg::{Place, Sheet, WIDTH, shortened, width_of};
use super::{COMPARISON_FILES, Chart};
use crate::text::units::{nice, number};

const HEIGHT: f64 = 500.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = WIDTH - 40.0;
const TOP: f64 = 86.0;
const BOTTOM: f64 = HEIGHT - 62.0;
/// Height of the box of a label.
const LABEL: f64 = 16.0;

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

/// A policy or a value of the setting, and its results.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The value as text, or the name of the policy.
    pub label: String,
    /// Served share of the calls, 0 to 1.
    pub served: Option<Range>,
    /// Attempts per call sent.
    pub attempts: Option<Range>,
}

/// The trade-off.
#[derive(Clone, Debug, PartialEq)]
pub struct TradeOff {
    /// Name of the scenario or journal.
    pub title: String,
    /// Path of the swept setting, whose values are joined by a line.
    pub setting: Option<String>,
    /// The points; values of a setting in their order.
    pub points: Vec<Point>,
}

impl TradeOff {
    /// The chart: a dot per point, with its 95 % intervals.
    pub fn chart(&self) -> Chart {
        let of = self.setting.as_deref().map_or("each policy", |setting| setting);
        let heading = format!(
            "{}: calls served against attempts, {}",
            shortened(&self.title, 40),
            shortened(of, 40)
        );
        let mut sheet = Sheet::default();
        sheet.text("title", (16.0, 28.0), &heading);
        let known: Vec<(&str, Range, Range)> = self
            .points
            .iter()
            .filter_map(|point| {
                let served = point.served?.scaled(100.0);
                Some((point.label.as_str(), point.attempts?, served))
            })
            .collect();
        let mut notes = vec!["up and to the left is better".to_owned()];
        if known
            .iter()
            .any(|(_, attempts, served)| attempts.has_interval() || served.has_interval())
        {
            notes.push("dot: mean; bars: its 95 % intervals".to_owned());
        }
        let hidden = self.points.len() - known.len();
        if hidden > 0 {
            notes.push(format!("{hidden} without a value not shown"));
        }
        sheet.text("muted", (16.0, 50.0), &notes.join("; "));
        let bounds = |range: &Range| (range.low, range.high);
        let across = Scale::around(
            known.iter().map(|(_, attempts, _)| bounds(attempts)),
            (LEFT + 30.0, RIGHT - 60.0),
        );
        let up = Scale::around(
            known.iter().map(|(_, _, served)| bounds(served)),
            (BOTTOM - 24.0, TOP + 24.0),
        );
        axes(&mut sheet, &across, &up);
        let place = |attempts: &Range, served: &Range| (across.at(attempts.mean), up.at(served.mean));
        let dots: Vec<Place> = known
            .iter()
            .map(|(_, attempts, served)| place(attempts, served))
            .collect();
        if self.setting.is_some() {
            sheet.line("path", &dots);
        }
        for ((_, attempts, served), (x, y)) in known.iter().zip(&dots) {
            sheet.line(
                "upper",
                &[(across.at(attempts.low), *y), (across.at(attempts.high), *y)],
            );
            sheet.line("upper", &[(*x, up.at(served.low)), (*x, up.at(served.high))]);
            sheet.dot((*x, *y));
        }
        labels(&mut sheet, known.iter().map(|(label, ..)| *label), &dots);
        if known.is_empty() {
            let middle = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
            sheet.text("muted middle", middle, "no data");
        }
        let facts = known.iter().map(|(label, attempts, served)| {
            format!(
                "{label}: {:.1} % served at {:.2} attempts per call",
                served.mean, attempts.mean
            )
        });
        let facts: Vec<String> = facts.collect();
        Chart {
            file: COMPARISON_FILES[0],
            svg: sheet.finish(HEIGHT, &heading, &facts.join("; ")),
            description: heading,
        }
    }
}

fn axes(sheet: &mut Sheet, across: &Scale, up: &Scale) {
    across.ticks(7, |value, label| {
        let x = across.at(value);
        sheet.line("grid", &[(x, TOP), (x, BOTTOM)]);
        sheet.text("middle", (x, BOTTOM + 20.0), label);
    });
    up.ticks(6, |value, label| {
        let y = up.at(value);
        sheet.line("grid", &[(LEFT, y), (RIGHT, y)]);
        sheet.text("end", (LEFT - 8.0, y + 5.0), &format!("{label}%"));
    });
    sheet.line("axis", &[(LEFT, TOP), (LEFT, BOTTOM), (RIGHT, BOTTOM)]);
    sheet.text("name", (16.0, TOP - 10.0), "calls served");
    sheet.text("name end", (RIGHT, BOTTOM + 44.0), "attempts per call");
}

/// Draws a label beside each dot, at the first of four places that covers no dot and no other label. One without
/// room is left out: the description has all.
fn labels<'a>(sheet: &mut Sheet, labels: impl Iterator<Item = &'a str>, dots: &[Place]) {
    let around = |(x, y): Place, radius: f64| (x - radius, y - radius, x + radius, y + radius);
    let mut taken: Vec<(f64, f64, f64, f64)> = dots.iter().map(|dot| around(*dot, 6.0)).collect();
    for (label, (x, y)) in labels.zip(dots) {
        let label = shortened(label, 40);
        let width = width_of(&label);
        let places = [
            (x + 10.0, y - 16.0),
            (x + 10.0, y + 16.0),
            (x - 10.0 - width, y - 16.0),
            (x - 10.0 - width, y + 16.0),
        ];
        let boxes =
            places.map(|(left, middle)| (left, middle - LABEL / 2.0, left + width, middle + LABEL / 2.0));
        let free = boxes.iter().find(|one| {
            let meets = |other: &&(f64, f64, f64, f64)| {
                one.0 < other.2 && other.0 < one.2 && one.1 < other.3 && other.1 < one.3
            };
            one.0 >= LEFT
                && one.2 <= WIDTH - 8.0
                && one.3 <= BOTTOM
                && !taken.iter().any(|other| meets(&other))
        });
        if let Some(one) = free {
            sheet.text("halo", (one.0, one.3 - 3.0), &label);
            taken.push(*one);
        }
    }
}

/// A linear scale between two pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    pixels: (f64, f64),
}

impl Scale {
    /// A scale over all values, with some room where they are close together.
    pub(super) fn around(all: impl Iterator<Item = (f64, f64)>, pixels: (f64, f64)) -> Self {
        let finite = all.filter(|(low, high)| low.is_finite() && high.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (from, to)| {
            (low.min(from), high.max(to))
        });
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let room = (high.abs().max(low.abs()).max(1e-3) * 0.02 - (high - low)).max(0.0) / 2.0;
        Self {
            low: low - room,
            high: high + room,
            pixels,
        }
    }

    /// The pixel of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        let (from, to) = self.pixels;
        from + share * (to - from)
    }

    /// Calls `draw` with about `most` round values and their labels.
    pub(super) fn ticks(&self, most: u32, mut draw: impl FnMut(f64, &str)) {
        let step = nice((self.high - self.low) / f64::from(most.max(1)));
        let first = (self.low / step).ceil();
        for tick in 0..=most {
            let value = (first + f64::from(tick)) * step;
            if value <= self.high * (1.0 + 1e-12) {
                let label = if value.abs() >= 10_000.0 {
                    super::axis::label(value)
                } else {
                    number(value)
                };
                draw(value, &label);
            }
        }
    }
}
