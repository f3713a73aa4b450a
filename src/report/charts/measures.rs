//! The measures of each policy: a row per policy, a dot at the mean, a bar over its 95 % interval.

use super::comparison::{Side, SideBySide};
use super::svg::{Sheet, WIDTH, shortened};
use super::tradeoff::{Range, Scale};
use super::{COMPARISON_FILES, Chart};

/// Width of the names of policies.
const NAMES: f64 = 230.0;
const HEAD: f64 = 104.0;
const ROW: f64 = 40.0;
const FOOT: f64 = 38.0;

/// A measure with its unit and format.
struct Panel {
    name: &'static str,
    scale: f64,
    digits: usize,
    of: fn(&Side) -> Option<Range>,
}

const PANELS: [Panel; 4] = [
    Panel {
        name: "calls served, %",
        scale: 100.0,
        digits: 1,
        of: |side| side.served,
    },
    Panel {
        name: "attempts per call",
        scale: 1.0,
        digits: 2,
        of: |side| side.attempts,
    },
    Panel {
        name: "p95 of served, s",
        scale: 1.0,
        digits: 2,
        of: |side| side.p95,
    },
    Panel {
        name: "tokens wasted",
        scale: 1.0,
        digits: 0,
        of: |side| side.wasted,
    },
];

impl SideBySide {
    /// The measures of each policy, with an axis per measure.
    pub fn measures(&self) -> Chart {
        let sides = self.shown();
        let heading = self.heading("measures of each policy");
        let mut notes = self.notes();
        let ranges = sides
            .iter()
            .flat_map(|side| PANELS.iter().filter_map(|panel| (panel.of)(side)));
        if ranges.into_iter().any(|range| range.has_interval()) {
            notes.push("dot: mean; bar: its 95 % interval".to_owned());
        }
        notes.push("vertical line: the first policy".to_owned());
        let mut sheet = Sheet::default();
        sheet.text("title", (16.0, 28.0), &heading);
        sheet.text("muted", (16.0, 50.0), &notes.join("; "));
        let bottom = HEAD + ROW * sides.len().max(1) as f64;
        for (at, side) in sides.iter().enumerate() {
            let y = HEAD + ROW * at as f64;
            sheet.line("rule", &[(16.0, y), (WIDTH - 16.0, y)]);
            sheet.text("", (16.0, y + ROW / 2.0 + 5.0), &shortened(&side.name, 27));
        }
        sheet.line("rule", &[(16.0, bottom), (WIDTH - 16.0, bottom)]);
        let each = (WIDTH - NAMES - 16.0) / PANELS.len() as f64;
        for (at, panel) in PANELS.iter().enumerate() {
            let left = NAMES + each * at as f64;
            self.panel(&mut sheet, panel, (left + 16.0, left + each - 20.0), bottom);
        }
        Chart {
            file: COMPARISON_FILES[1],
            svg: sheet.finish(bottom + FOOT, &heading, &self.facts().join("; ")),
            description: heading,
        }
    }

    fn panel(&self, sheet: &mut Sheet, panel: &Panel, (left, right): (f64, f64), bottom: f64) {
        let of = |side: &Side| (panel.of)(side).map(|range| range.scaled(panel.scale));
        let ranges: Vec<Option<Range>> = self.shown().iter().map(of).collect();
        let scale = Scale::around(
            ranges.iter().flatten().map(|range| (range.low, range.high)),
            (left, right),
        );
        sheet.text("name", (left, HEAD - 14.0), panel.name);
        scale.ticks(4, |value, label| {
            let x = scale.at(value);
            sheet.line("grid", &[(x, HEAD), (x, bottom)]);
            sheet.text("middle muted", (x, bottom + 20.0), label);
        });
        if let Some(Some(first)) = ranges.first() {
            let x = scale.at(first.mean);
            sheet.line("guide", &[(x, HEAD), (x, bottom)]);
        }
        for (at, range) in ranges.iter().enumerate() {
            let y = HEAD + ROW * at as f64;
            let Some(range) = range else {
                sheet.text(
                    "middle muted",
                    (f64::midpoint(left, right), y + ROW / 2.0 + 5.0),
                    "no data",
                );
                continue;
            };
            let (dot, x) = (y + 28.0, scale.at(range.mean));
            sheet.line("bar", &[(scale.at(range.low), dot), (scale.at(range.high), dot)]);
            sheet.dot((x, dot));
            let mean = panel.text(range.mean);
            // within the panel, and with a plate: the line of the first policy must not cross the number
            let half = super::svg::width_of(&mean) / 2.0 + 1.0;
            let x = x.clamp(left + half - 8.0, (right - half + 8.0).max(left + half - 8.0));
            sheet.rect(
                super::svg::plain("plate"),
                (x - half, y + 6.0),
                (x + half, y + 20.0),
            );
            sheet.text("middle", (x, y + 18.0), &mean);
        }
    }

    /// The means of each policy.
    fn facts(&self) -> Vec<String> {
        let side = |side: &Side| {
            let known = PANELS.iter().filter_map(|panel| {
                let range = (panel.of)(side)?.scaled(panel.scale);
                Some(format!("{} {}", panel.name, panel.text(range.mean)))
            });
            let known: Vec<String> = known.collect();
            format!("{}: {}", shortened(&side.name, 40), known.join(", "))
        };
        self.shown().iter().map(side).collect()
    }
}

impl Panel {
    fn text(&self, value: f64) -> String {
        let digits = self.digits;
        if value >= 100_000.0 {
            super::axis::label(value)
        } else {
            format!("{value:.digits$}")
        }
    }
}
