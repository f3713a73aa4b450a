//! The chart of a run: faults, breaker, calls, attempts, latency and buckets over one time axis, so that cause and
//! effect are above each other.

use super::axis::{FOOT, LEFT, LEGEND, LINE, RIGHT, TimeAxis, ValueAxis, clock, plate};
use super::history::{Bin, Series, Span};
use super::stack::{Layer, Percentile, highest, legend, spread, spread_legend, stack};
use super::svg::{Fill, Sheet, hatched, plain, shortened};
use super::{Chart, RUN_FILES};
use crate::event::{BreakerState, Fate};
use crate::state::{Percentiles, RetryCause};
use crate::text::units::{count, rate};

/// Height of the titles.
const HEAD: f64 = 66.0;
/// Height of a strip, and its distance from the next one.
const STRIP: f64 = 18.0;
const STRIPS: f64 = 26.0;
/// Distance between panels.
const GAP: f64 = 38.0;
/// Maximum number of points of the latency.
const POINTS: usize = 90;

/// The class and the name of a bucket, and its lowest level in a bin.
type Level = (&'static str, &'static str, fn(&Bin) -> Option<f64>);

/// A panel in progress.
struct Panel<'a> {
    sheet: &'a mut Sheet,
    time: TimeAxis,
    top: f64,
    bottom: f64,
}

impl Series {
    /// The chart.
    pub fn chart(&self) -> Chart {
        let time = TimeAxis::new(self.seconds);
        let mut sheet = Sheet::default();
        let heading = format!("{}: a run over time", shortened(&self.title, 70));
        let facts = self.facts();
        sheet.text("title", (16.0, 28.0), &heading);
        sheet.text("muted", (16.0, 50.0), &facts.join("; "));

        let (strips, mut top) = (HEAD, HEAD + 2.0 * STRIPS + 22.0);
        let heights = [130.0, 130.0, 100.0, 80.0];
        let end = top + heights.iter().sum::<f64>() + GAP * (heights.len() - 1) as f64;
        time.bands(&mut sheet, &self.faults, strips, end);
        let changes = self.changes();
        time.guides(&mut sheet, &changes, strips, strips + 2.0 * STRIPS);
        self.strips(&mut sheet, &time, strips);
        let panels: [fn(&Self, &mut Panel<'_>); 4] =
            [Self::calls, Self::attempts, Self::latency, Self::levels];
        for (height, draw) in heights.into_iter().zip(panels) {
            let mut panel = Panel {
                sheet: &mut sheet,
                time,
                top,
                bottom: top + height,
            };
            time.grid(panel.sheet, panel.top, panel.bottom);
            draw(self, &mut panel);
            time.guides(panel.sheet, &changes, panel.top, panel.bottom);
            top += height + GAP;
        }
        time.labels(&mut sheet, end);
        let description = format!("{}.", facts.join("; "));
        Chart {
            file: RUN_FILES[0],
            svg: sheet.finish(end + FOOT, &heading, &description),
            description: heading,
        }
    }

    /// The run in figures.
    fn facts(&self) -> Vec<String> {
        let sum = |of: &dyn Fn(&Bin) -> u32| self.bins.iter().map(|bin| u64::from(of(bin))).sum::<u64>();
        let calls = sum(&|bin| bin.fates.iter().sum());
        let served = sum(&|bin| {
            let fates = Fate::ALL.iter().zip(bin.fates);
            fates
                .filter(|(fate, _)| fate.is_served())
                .map(|(_, count)| count)
                .sum()
        });
        let retries = sum(&|bin| bin.retries.iter().sum());
        let attempts = sum(&|bin| bin.first_attempts) + retries;
        let open = self
            .breaker
            .iter()
            .filter(|span| span.value == BreakerState::Open);
        let (times, long) = open.fold((0, 0.0), |(times, long), span| {
            (times + 1, long + span.until - span.from)
        });
        let mut facts = vec![format!(
            "{} in {}",
            count(calls, "call"),
            clock(self.seconds, 1.0)
        )];
        if calls > 0 {
            facts.push(format!("{} served", rate(served as f64 / calls as f64)));
        }
        facts.push(format!(
            "{}, {retries} of them retries",
            count(attempts, "attempt")
        ));
        facts.push(match times {
            0 => "the breaker never opened".to_owned(),
            times => format!(
                "the breaker opened {}, for {}",
                count(times, "time"),
                clock(long, 1.0)
            ),
        });
        facts
    }

    /// Instants of changes of faults and breaker, in order.
    fn changes(&self) -> Vec<f64> {
        let faults = self.faults.iter().flat_map(|span| [span.from, span.until]);
        let breaker = self.breaker.iter().skip(1).map(|span| span.from);
        let mut all: Vec<f64> = faults.chain(breaker).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn strips(&self, sheet: &mut Sheet, time: &TimeAxis, top: f64) {
        let row = |at: f64| (top + at * STRIPS, top + at * STRIPS + STRIP);
        let (from, to) = row(0.0);
        sheet.text("end", (LEFT - 8.0, to - 4.0), "faults");
        if self.faults.is_empty() {
            sheet.text("muted", (LEFT + 4.0, to - 4.0), "none");
        }
        time.faults(sheet, &self.faults, from, to);
        let (from, to) = row(1.0);
        sheet.text("end", (LEFT - 8.0, to - 4.0), "breaker");
        let middle = f64::midpoint(from, to);
        sheet.line("axis", &[(LEFT, middle), (RIGHT, middle)]);
        for Span {
            from: since,
            until,
            value,
        } in &self.breaker
        {
            let fill = match value {
                BreakerState::Closed => continue,
                BreakerState::HalfOpen => hatched("held", "rising"),
                BreakerState::Open => plain("refused"),
            };
            let edges = (time.x(*since), time.x(*until));
            sheet.rect(fill, (edges.0, from), (edges.1, to));
            if *value == BreakerState::Open {
                plate(
                    sheet,
                    edges,
                    to - 5.0,
                    &format!("open {}", clock(until - since, 1.0)),
                );
            }
        }
        let half = LEGEND + 74.0;
        sheet.rect(
            plain("refused"),
            (LEGEND, from + 3.0),
            (LEGEND + 13.0, from + 16.0),
        );
        sheet.text("", (LEGEND + 20.0, to - 4.0), "open");
        sheet.rect(
            hatched("held", "rising"),
            (half, from + 3.0),
            (half + 13.0, from + 16.0),
        );
        sheet.text("", (half + 20.0, to - 4.0), "half-open");
    }

    /// Ended calls by fate and time of their end, stacked.
    fn calls(&self, panel: &mut Panel<'_>) {
        const FILLS: [Fill; Fate::ALL.len()] = [
            plain("work"),
            plain("saved"),
            plain("shared"),
            hatched("held", "rising"),
            hatched("refused", "falling"),
            plain("broken"),
            plain("late"),
            hatched("grey", "level"),
        ];
        let layers = Fate::ALL.iter().zip(FILLS).enumerate();
        let layers = layers.map(|(at, (fate, fill))| {
            self.layer(fate.brief(), fill, &|bin| {
                bin.fates.get(at).copied().unwrap_or_default()
            })
        });
        self.stacked(
            panel,
            "calls ended, by outcome",
            "no call ended",
            layers.collect(),
        );
    }

    /// Attempts by cause and time of their start, stacked.
    fn attempts(&self, panel: &mut Panel<'_>) {
        let first = self.layer("first attempt", plain("work"), &|bin| bin.first_attempts);
        let retries = RetryCause::ALL.iter().enumerate().map(|(at, cause)| {
            let (name, fill) = match cause {
                RetryCause::RateLimited => ("retry: rate limited", hatched("held", "rising")),
                RetryCause::Server => ("retry: server error", plain("broken")),
                RetryCause::Timeout => ("retry: timed out", plain("late")),
                RetryCause::Connection => ("retry: no connection", hatched("broken", "falling")),
                RetryCause::Stream => ("retry: stream cut", plain("lost")),
                RetryCause::Other => ("retry: other", hatched("grey", "level")),
            };
            self.layer(name, fill, &|bin| {
                bin.retries.get(at).copied().unwrap_or_default()
            })
        });
        let layers = std::iter::once(first).chain(retries).collect();
        self.stacked(panel, "attempts sent, by cause", "no attempt", layers);
    }

    fn layer(&self, name: &'static str, fill: Fill, count: &dyn Fn(&Bin) -> u32) -> Layer {
        let width = self.width.max(f64::MIN_POSITIVE);
        let counts = self.bins.iter().map(count);
        let total: u64 = counts.clone().map(u64::from).sum();
        Layer {
            name,
            fill,
            heights: counts.map(|count| f64::from(count) / width).collect(),
            total: Some(total.to_string()),
        }
    }

    fn stacked(&self, panel: &mut Panel<'_>, name: &str, empty: &str, mut layers: Vec<Layer>) {
        // an outcome or a cause without events is not in the legend
        layers.retain(|layer| layer.heights.iter().any(|height| *height > 0.0));
        let values = ValueAxis::new((panel.top, panel.bottom), highest(&layers), 3);
        panel.begin(name, layers.is_empty().then_some(empty));
        values.draw(panel.sheet, "/s");
        stack(panel.sheet, &layers, self.width, &panel.time, &values);
        legend(panel.sheet, &layers, panel.top - 4.0);
    }

    /// Latency of answered calls: a gap is no answer, and failed calls are marks, not heights.
    fn latency(&self, panel: &mut Panel<'_>) {
        let step = self.bins.len().div_ceil(POINTS).max(1);
        let merged = self.bins.chunks(step).map(|bins| {
            let mut all = Percentiles::default();
            for bin in bins {
                all.merge(&bin.latency);
            }
            percentiles(&all)
        });
        let points: Vec<Percentile> = merged.collect();
        let answered: u64 = self.bins.iter().map(|bin| bin.latency.count()).sum();
        let highest = points.iter().flatten().map(|both| both.1).fold(0.0, f64::max);
        let width = self.width * step as f64;
        let values = ValueAxis::new((panel.top, panel.bottom), highest, 3);
        let name = format!(
            "latency of calls answered by the upstream, start to end, per {}",
            seconds(width)
        );
        panel.begin(&name, (answered == 0).then_some("no answer"));
        values.draw(panel.sheet, " s");
        spread(panel.sheet, &points, width, &panel.time, &values);
        let mut y = spread_legend(panel.sheet, panel.top);
        panel.sheet.text(
            "muted",
            (LEGEND + 20.0, y + 11.0),
            &format!("{answered} answered"),
        );
        y += LINE;
        let failed = Fate::ALL.iter().position(|fate| *fate == Fate::Failed);
        let failed = |bin: &Bin| {
            failed
                .and_then(|at| bin.fates.get(at))
                .copied()
                .unwrap_or_default()
        };
        let mut total = 0_u64;
        for (at, bin) in self.bins.iter().enumerate() {
            let count = failed(bin);
            total += u64::from(count);
            if count > 0 {
                let x = panel.time.x((at as f64 + 0.5) * self.width);
                let fill = plain("broken");
                panel.sheet.rect(
                    fill,
                    (x - 1.0, panel.bottom + 3.0),
                    (x + 1.0, panel.bottom + 11.0),
                );
            }
        }
        if total > 0 {
            panel
                .sheet
                .rect(plain("broken"), (LEGEND + 6.0, y + 2.0), (LEGEND + 8.0, y + 12.0));
            let text = count(total, "failed call");
            panel.sheet.text("muted", (LEGEND + 20.0, y + 11.0), &text);
        }
    }

    /// The lowest levels of the two buckets.
    fn levels(&self, panel: &mut Panel<'_>) {
        let values = ValueAxis::new((panel.top, panel.bottom), 100.0, 2);
        let lines: [Level; 2] = [
            ("requests", "requests", |bin| bin.requests),
            ("tokens", "LLM tokens", |bin| bin.tokens),
        ];
        let known = self
            .bins
            .iter()
            .any(|bin| bin.requests.is_some() || bin.tokens.is_some());
        panel.begin(
            "limiter, lowest level of its buckets",
            (!known).then_some("no attempt passed the limiter"),
        );
        values.draw(panel.sheet, "%");
        for (at, (class, name, of)) in lines.into_iter().enumerate() {
            let points = self.bins.iter().enumerate().filter_map(|(at, bin)| {
                let x = panel.time.x((at as f64 + 0.5) * self.width);
                Some((x, values.y(of(bin)? * 100.0)))
            });
            let points: Vec<_> = points.collect();
            panel.sheet.line(class, &points);
            let y = panel.top + at as f64 * LINE + 7.0;
            panel.sheet.line(class, &[(LEGEND - 3.0, y), (LEGEND + 16.0, y)]);
            panel.sheet.text("", (LEGEND + 20.0, y + 4.0), name);
        }
    }
}

impl Panel<'_> {
    /// Draws the name, and a text in the middle of an empty panel.
    fn begin(&mut self, name: &str, empty: Option<&str>) {
        self.sheet.text("name", (LEFT, self.top - 9.0), name);
        if let Some(text) = empty {
            let middle = (f64::midpoint(LEFT, RIGHT), f64::midpoint(self.top, self.bottom));
            self.sheet.text("muted middle", middle, text);
        }
    }
}

/// Median and 95th percentile, in seconds.
pub(super) fn percentiles(all: &Percentiles) -> Percentile {
    let quantile = |share| all.quantile(share).map(|duration| duration.as_secs_f64());
    quantile(0.5).zip(quantile(0.95))
}

/// The width of a bin as text.
pub(super) fn seconds(width: f64) -> String {
    std::time::Duration::try_from_secs_f64(width)
        .map_or_else(|_| "bin".to_owned(), crate::text::units::setting)
}
