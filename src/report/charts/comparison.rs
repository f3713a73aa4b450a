//! Several policies over one time axis: each in a lane of its own, or as strips of its difference from the first.
//!
//! The runs of a sweep look alike, and a difference of a few percent disappears between two full lanes. Strips show
//! it at a scale of its own, and a page holds fifty of them.

use super::axis::{FOOT, LEFT, LEGEND, LINE, RIGHT, TimeAxis, ValueAxis, label};
use super::mean::{Means, OverTime};
use super::stack::{Layer, Percentile, highest, key, legend, spread, spread_legend, stack};
use super::svg::{Fill, Sheet, hatched, plain, shortened};
use super::tradeoff::Range;
use super::{COMPARISON_FILES, Chart};

/// Maximum number of policies of a chart.
pub const MOST_SIDES: usize = 60;
/// Maximum number of policies with a lane each.
const MOST_LANES: usize = 6;
/// Maximum number of bins of the time axis.
const BINS: usize = 160;
/// Height of the titles.
const HEAD: f64 = 72.0;
/// Height of the name above a lane.
const NAME: f64 = 24.0;
/// Height of a lane.
const LANE: f64 = 72.0;
/// Height of the strip of the breaker below a lane, with its distance.
const BREAKER: f64 = 14.0;
/// Height of the strip of a difference.
const STRIP: f64 = 40.0;

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
    /// True if they are the values of a setting.
    pub is_sweep: bool,
}

/// The name, the fill and the heights of a layer.
type LayerOf = (&'static str, Fill, fn(&Means) -> &[f64]);

/// A measure over time.
struct Measure {
    file: &'static str,
    /// Of the title.
    name: &'static str,
    /// Unit of the vertical axes.
    unit: &'static str,
    kind: Kind,
}

enum Kind {
    /// Stacked layers, and the noun of a sum over time.
    Stack {
        layers: &'static [LayerOf],
        compared: fn(&Means) -> Vec<f64>,
        noun: &'static str,
    },
    /// Percentiles of the latency.
    Latency,
}

const CALLS: Measure = Measure {
    file: COMPARISON_FILES[2],
    name: "calls ended under each policy",
    unit: "/s",
    kind: Kind::Stack {
        layers: &[
            ("served", plain("work"), |means| &means.served),
            ("refused or limited", hatched("refused", "falling"), |means| {
                &means.rejected
            }),
            ("failed or stopped", plain("broken"), |means| &means.lost),
        ],
        compared: |means| means.served.clone(),
        noun: "served",
    },
};

const ATTEMPTS: Measure = Measure {
    file: COMPARISON_FILES[3],
    name: "attempts sent under each policy",
    unit: "/s",
    kind: Kind::Stack {
        layers: &[
            ("first attempts", plain("work"), |means| &means.first_attempts),
            ("retries", plain("broken"), |means| &means.retries),
        ],
        compared: Means::attempts,
        noun: "sent",
    },
};

const LATENCY: Measure = Measure {
    file: COMPARISON_FILES[4],
    name: "latency of calls answered by the upstream under each policy",
    unit: " s",
    kind: Kind::Latency,
};

/// The policies shown, and what all lanes share.
struct Page<'a> {
    measure: &'a Measure,
    sides: Vec<(&'a Side, Means)>,
    time: TimeAxis,
    width: f64,
    high: f64,
    runs: u64,
}

impl SideBySide {
    /// All charts.
    pub fn charts(&self) -> Vec<Chart> {
        let over_time = [CALLS, ATTEMPTS, LATENCY];
        let over_time = over_time.iter().map(|measure| self.chart(measure));
        std::iter::once(self.measures()).chain(over_time).collect()
    }

    /// The policies that fit.
    pub(super) fn shown(&self) -> &[Side] {
        self.sides.get(..MOST_SIDES).unwrap_or(&self.sides)
    }

    pub(super) fn runs(&self) -> u64 {
        self.sides.first().map_or(0, |side| side.over_time.runs())
    }

    /// The title.
    pub(super) fn heading(&self, name: &str) -> String {
        format!("{}: {name}", shortened(&self.title, 40))
    }

    /// The number of runs, and of policies that are not shown.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.runs() > 1 {
            notes.push(format!("mean of {} runs", self.runs()));
        }
        let beyond = self.sides.len() - self.shown().len();
        if beyond > 0 {
            notes.push(format!("{beyond} more policies not shown"));
        }
        notes
    }

    fn chart(&self, measure: &Measure) -> Chart {
        let page = self.page(measure);
        let is_strips = self.is_sweep || self.sides.len() > MOST_LANES;
        let mut notes = self.notes();
        let (what, pooled) = match measure.kind {
            Kind::Stack { noun, .. } => (noun, false),
            Kind::Latency => ("p95", true),
        };
        if let Some(note) = notes.first_mut().filter(|_| pooled && self.runs() > 1) {
            *note = format!("the calls of {} runs together", self.runs());
        }
        if is_strips && self.sides.len() > 1 {
            notes.push(format!(
                "strips: difference in {what} from the first policy, above the line more"
            ));
        }
        let heading = self.heading(measure.name);
        let mut sheet = Sheet::default();
        sheet.text("title", (16.0, 28.0), &heading);
        sheet.text("muted", (16.0, 50.0), &notes.join("; "));
        let lanes = if is_strips { 1 } else { page.sides.len() };
        let faults = self.sides.first().map_or(&[][..], |side| side.over_time.faults());
        page.time.faults(&mut sheet, faults, HEAD - 14.0, HEAD);
        let switches: Vec<f64> = faults.iter().flat_map(|span| [span.from, span.until]).collect();
        let mut top = HEAD;
        for at in 0..lanes {
            page.lane(&mut sheet, at, top);
            page.time.guides(
                &mut sheet,
                &switches,
                top + NAME,
                top + NAME + LANE + BREAKER - 4.0,
            );
            top += NAME + LANE + BREAKER;
        }
        if lanes < page.sides.len() {
            top += 8.0;
            page.strips(&mut sheet, lanes, top);
            let strips = top;
            top += STRIP * (page.sides.len() - lanes) as f64;
            page.time.guides(&mut sheet, &switches, strips, top);
        }
        page.time.labels(&mut sheet, top);
        page.legend(&mut sheet, is_strips && lanes < page.sides.len());
        Chart {
            file: measure.file,
            svg: sheet.finish(top + FOOT, &heading, &page.description(&notes)),
            description: heading,
        }
    }

    fn page<'a>(&'a self, measure: &'a Measure) -> Page<'a> {
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
        let sides: Vec<(&Side, Means)> = sides
            .iter()
            .map(|side| (side, side.over_time.means(width)))
            .collect();
        let high = sides
            .iter()
            .map(|(_, means)| measure.highest(means))
            .fold(0.0, f64::max);
        Page {
            measure,
            sides,
            time: TimeAxis::new(seconds),
            width: width.as_secs_f64(),
            high,
            runs: self.runs(),
        }
    }
}

impl Measure {
    fn layers(&self, means: &Means) -> Vec<Layer> {
        let Kind::Stack { layers, .. } = &self.kind else {
            return Vec::new();
        };
        let layer = |(name, fill, of): &LayerOf| Layer {
            name,
            fill: *fill,
            heights: of(means).to_vec(),
            total: None,
        };
        layers.iter().map(layer).collect()
    }

    fn highest(&self, means: &Means) -> f64 {
        match self.kind {
            Kind::Stack { .. } => highest(&self.layers(means)),
            Kind::Latency => means
                .latency
                .iter()
                .flatten()
                .map(|both| both.1)
                .fold(0.0, f64::max),
        }
    }

    /// The differences from the first policy, by bin; none where one of them has no value.
    fn differences(&self, first: &Means, means: &Means) -> Vec<Option<f64>> {
        let values = |means: &Means| -> Vec<Option<f64>> {
            match &self.kind {
                Kind::Stack { compared, .. } => compared(means).into_iter().map(Some).collect(),
                Kind::Latency => means
                    .latency
                    .iter()
                    .map(|both: &Percentile| both.map(|both| both.1))
                    .collect(),
            }
        };
        let (first, mut other) = (values(first), values(means));
        if matches!(self.kind, Kind::Stack { .. }) {
            // no call in a second is a true zero, also after the end of a shorter run
            other.resize(other.len().max(first.len()), Some(0.0));
        }
        let of = |(at, value): (usize, Option<f64>)| {
            let zero = matches!(self.kind, Kind::Stack { .. }).then_some(0.0);
            Some(value? - first.get(at).copied().flatten().or(zero)?)
        };
        other.into_iter().enumerate().map(of).collect()
    }
}

impl Page<'_> {
    /// A policy in full: its measure, and its breaker below.
    fn lane(&self, sheet: &mut Sheet, at: usize, top: f64) {
        let Some((side, means)) = self.sides.get(at) else {
            return;
        };
        let (from, bottom) = (top + NAME, top + NAME + LANE);
        self.time
            .bands(sheet, side.over_time.faults(), from, bottom + BREAKER - 4.0);
        self.time.grid(sheet, from, bottom);
        sheet.text("name", (LEFT, from - 7.0), &shortened(&side.name, 72));
        let values = ValueAxis::new((from, bottom), self.high, 2);
        values.draw(sheet, self.measure.unit);
        let layers = self.measure.layers(means);
        stack(sheet, &layers, self.width, &self.time, &values);
        if matches!(self.measure.kind, Kind::Latency) {
            spread(sheet, &means.latency, self.width, &self.time, &values);
        } else if let Some(first) = self.sides.first().filter(|_| at > 0) {
            self.outline(sheet, &first.1, &values);
        }
        if self.measure.highest(means) <= 0.0 {
            sheet.text(
                "muted",
                (LEFT + 10.0, f64::midpoint(from, bottom) + 5.0),
                "no data",
            );
        }
        self.breaker(sheet, means, bottom);
    }

    /// The outline of the first policy over another one.
    fn outline(&self, sheet: &mut Sheet, first: &Means, values: &ValueAxis) {
        if let Kind::Stack { compared, .. } = &self.measure.kind {
            let outline = self
                .time
                .steps(&compared(first), self.width, |value| values.y(value));
            sheet.line("first", &outline);
        }
    }

    /// The state of the breaker: the more runs it is open in, the higher the bar.
    fn breaker(&self, sheet: &mut Sheet, means: &Means, top: f64) {
        let bars = (top + 2.0, top + BREAKER - 4.0);
        let shares = [
            ("open", plain("refused"), &means.open),
            ("half-open", hatched("held", "rising"), &means.half_open),
        ];
        let layers = shares.map(|(name, fill, shares)| Layer {
            name,
            fill,
            heights: shares.clone(),
            total: None,
        });
        stack(
            sheet,
            &layers,
            self.width,
            &self.time,
            &ValueAxis::new(bars, 100.0, 1),
        );
    }

    /// The differences of the other policies from the first one, on one scale.
    fn strips(&self, sheet: &mut Sheet, from: usize, mut top: f64) {
        let Some((_, first)) = self.sides.first() else {
            return;
        };
        let others = self.sides.iter().skip(from);
        let all: Vec<(&Side, Vec<Option<f64>>)> = others
            .map(|(side, means)| (*side, self.measure.differences(first, means)))
            .collect();
        let most = all
            .iter()
            .flat_map(|(_, bins)| bins)
            .flatten()
            .map(|bin| bin.abs())
            .fold(0.0, f64::max);
        let scale = ValueAxis::new((0.0, STRIP / 2.0 - 3.0), most, 1);
        let unit = self.measure.unit;
        sheet.text(
            "small muted",
            (LEGEND, top - 6.0),
            &format!("strips: \u{b1}{}{unit}", label(scale.high)),
        );
        for (side, bins) in &all {
            let (middle, bottom) = (top + STRIP / 2.0, top + STRIP);
            self.time.bands(sheet, side.over_time.faults(), top, bottom);
            self.time.grid(sheet, top, bottom);
            sheet.line("rule", &[(16.0, bottom), (RIGHT, bottom)]);
            for (class, sign) in [("more", 1.0), ("less", -1.0)] {
                let heights: Vec<f64> = bins
                    .iter()
                    .map(|bin| (bin.unwrap_or(0.0) * sign).max(0.0))
                    .collect();
                if heights.iter().any(|height| *height > 0.0) {
                    let y = |value: f64| middle - sign * (scale.bottom - scale.y(value));
                    let mut outline = self.time.steps(&heights, self.width, y);
                    outline.extend([(self.time.x(f64::MAX), middle), (LEFT, middle)]);
                    sheet.area(plain(class), &outline);
                }
            }
            sheet.line("axis", &[(LEFT, middle), (RIGHT, middle)]);
            sheet.text("name halo", (LEFT + 6.0, top + 14.0), &shortened(&side.name, 60));
            sheet.text("", (LEGEND, middle + 5.0), &self.sum(side, bins));
            top = bottom;
        }
    }

    /// The sum of a difference over time, or the difference of the whole run.
    fn sum(&self, side: &Side, bins: &[Option<f64>]) -> String {
        match &self.measure.kind {
            Kind::Stack { noun, .. } => {
                let sum = bins.iter().flatten().sum::<f64>() * self.width;
                let digits = usize::from(sum.abs() < 10.0 && self.runs > 1);
                format!("{sum:+.digits$} {noun} per run")
            }
            Kind::Latency => {
                let first = self.sides.first().and_then(|(first, _)| first.p95);
                let both = side.p95.zip(first);
                both.map_or_else(
                    || "no data".to_owned(),
                    |(own, first)| format!("{:+.2} s p95 of the run", own.mean - first.mean),
                )
            }
        }
    }

    fn legend(&self, sheet: &mut Sheet, has_strips: bool) {
        let layers = self
            .sides
            .first()
            .map_or_else(Vec::new, |(_, means)| self.measure.layers(means));
        let mut y = legend(sheet, &layers, HEAD + 6.0);
        if matches!(self.measure.kind, Kind::Latency) {
            y = spread_legend(sheet, y);
        }
        let open = if self.runs > 1 {
            "breaker open, % of runs"
        } else {
            "breaker open"
        };
        key(sheet, y, plain("refused"), open);
        key(sheet, y + LINE, hatched("held", "rising"), "breaker half-open");
        y += 2.0 * LINE;
        if has_strips {
            return;
        }
        if let Kind::Stack { noun, .. } = &self.measure.kind
            && self.sides.len() > 1
        {
            sheet.line("first", &[(LEGEND, y + 7.0), (LEGEND + 13.0, y + 7.0)]);
            sheet.text("", (LEGEND + 20.0, y + 11.0), &format!("{noun}, first policy"));
        }
    }

    fn description(&self, notes: &[String]) -> String {
        let names: Vec<String> = self
            .sides
            .iter()
            .map(|(side, _)| shortened(&side.name, 40))
            .collect();
        let mut parts = vec![format!("policies: {}", names.join(", "))];
        parts.extend_from_slice(notes);
        format!("{}.", parts.join("; "))
    }
}
