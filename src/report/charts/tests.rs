use std::time::Duration;

use quick_xml::Reader;
use quick_xml::events::Event as Xml;

use super::*;
use crate::event::{BreakerState, CallId, Event, EventKind, Fate, FlightId, MoveReason, WindowCounts};
use crate::time::Timestamp;

const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64, kind: EventKind) -> Event {
    Event {
        seq: 0,
        at: Timestamp(nanos),
        call: Some(CallId(1)),
        kind,
    }
}

fn ended(fate: Fate) -> EventKind {
    EventKind::CallEnded {
        fate,
        attempts: 1,
        failure: None,
        usage: None,
        took: Duration::ZERO,
    }
}

fn moved(from: BreakerState, to: BreakerState) -> EventKind {
    EventKind::BreakerMoved {
        from,
        to,
        generation: 1,
        reason: MoveReason::Manual,
        until: None,
        window: WindowCounts::default(),
    }
}

fn sent(attempt: u32) -> EventKind {
    EventKind::AttemptStarted {
        attempt,
        flight: FlightId(1),
    }
}

/// Ten seconds: a call a second, an outage in the middle.
fn short() -> History {
    let mut history = History::default();
    for second in 0..10 {
        history.apply(&at(second * SECOND, sent(1)));
        history.apply(&at(second * SECOND, sent(2)));
        let fate = if (3..6).contains(&second) {
            Fate::CircuitOpen
        } else {
            Fate::Answered
        };
        history.apply(&at(second * SECOND + SECOND / 2, ended(fate)));
        match second {
            2 => history.apply(&at(
                second * SECOND + SECOND / 2,
                moved(BreakerState::Closed, BreakerState::Open),
            )),
            6 => history.apply(&at(
                second * SECOND + SECOND / 2,
                moved(BreakerState::Open, BreakerState::HalfOpen),
            )),
            _ => {}
        }
    }
    history
}

/// The texts of an SVG, which must be XML.
fn texts(svg: &str) -> Vec<String> {
    let mut reader = Reader::from_str(svg);
    let (mut all, mut inside) = (Vec::new(), 0);
    loop {
        match reader.read_event().unwrap() {
            Xml::Eof => break,
            Xml::Start(start) => inside = i32::from(start.name().as_ref() == "text"),
            Xml::Text(text) if inside == 1 => all.push(text.xml10_content().trim().to_owned()),
            _ => {}
        }
    }
    all
}

#[test]
fn the_same_run_gives_the_same_bytes_and_charts_are_labelled() {
    let charts = short().series("a world").charts().unwrap();
    assert_eq!(charts, short().series("a world").charts().unwrap());
    let names: Vec<&str> = charts.iter().map(|chart| chart.file).collect();
    assert_eq!(names, ["fates.svg", "attempts.svg", "bucket.svg", "breaker.svg"]);
    let labels_of = |name: &str| texts(&charts.iter().find(|chart| chart.file == name).unwrap().svg);
    let has = |name: &str, words: &[&str]| {
        let labels = labels_of(name);
        assert!(
            words.iter().all(|word| labels.iter().any(|text| text == word)),
            "{name}: {labels:?}"
        );
    };
    has(
        "fates.svg",
        &[
            "calls per second",
            "time since the start, s",
            "answered",
            "refused",
        ],
    );
    has(
        "attempts.svg",
        &["attempts per second", "first attempts", "retries"],
    );
    has("bucket.svg", &["% of capacity", "requests", "LLM tokens"]);
    has("breaker.svg", &["closed", "half-open", "open"]);
    // a fate without calls is not in the legend
    assert!(
        !labels_of("fates.svg")
            .iter()
            .any(|text| text == "cached" || text == "faults on")
    );
}

#[test]
fn no_count_is_lost_when_bins_are_merged() {
    let mut history = History::default();
    for second in 0..20_000_u64 {
        history.apply(&at(second * SECOND, sent(1)));
        history.apply(&at(second * SECOND, ended(Fate::Answered)));
    }
    let series = history.series("long");
    let calls: u32 = series.bins.iter().map(|bin| bin.fates[0]).sum();
    let attempts: u32 = series.bins.iter().map(|bin| bin.first_attempts).sum();
    assert_eq!((calls, attempts), (20_000, 20_000));
    assert!(series.bins.len() <= 360 && series.width * series.bins.len() as f64 >= 19_999.0);
    // an hour has hours on its axis, not thousands of seconds
    assert!(
        texts(&series.fates().unwrap())
            .iter()
            .any(|text| text == "time since the start, h")
    );
}

#[test]
fn states_of_the_breaker_are_consecutive() {
    let series = short().series("a world");
    let spans: Vec<(f64, f64, BreakerState)> = series
        .breaker
        .iter()
        .map(|span| (span.from, span.until, span.value))
        .collect();
    assert_eq!(
        spans,
        [
            (0.0, 2.5, BreakerState::Closed),
            (2.5, 6.5, BreakerState::Open),
            (6.5, 9.5, BreakerState::HalfOpen)
        ]
    );
}

#[test]
fn an_empty_run_and_a_hostile_name_are_drawn() {
    let hostile = format!("<script>alert(\"x\")</script>&{}", "w".repeat(300));
    for Chart { file: name, svg, .. } in History::default().series(&hostile).charts().unwrap() {
        let title = texts(&svg).join(" ");
        assert!(!svg.contains("<script"), "{name}");
        assert!(
            title.contains('\u{2026}') && !title.contains(&"w".repeat(80)),
            "{name}: {title}"
        );
    }
}

#[test]
fn a_trade_off_shows_its_values_and_its_intervals() {
    let range = |mean: f64| {
        Some(Range {
            mean,
            low: mean - 0.01,
            high: mean + 0.01,
        })
    };
    let point = |label: &str, at: f64| Point {
        label: label.to_owned(),
        at,
        served: range(0.5 + at / 10.0),
        attempts: (at < 2.0).then_some(range(1.0 + at)).flatten(),
    };
    let trade_off = TradeOff {
        title: "world".into(),
        setting: "retry.jitter".into(),
        points: vec![point("none", 0.0), point("full", 1.0), point("equal", 2.0)],
    };
    let svg = trade_off.chart().unwrap().svg;
    assert_eq!(svg, trade_off.chart().unwrap().svg);
    let labels = texts(&svg);
    for word in [
        "none",
        "full",
        "equal",
        "calls served, %",
        "attempts per call",
        "retry.jitter",
    ] {
        assert!(labels.iter().any(|text| text == word), "{word}: {labels:?}");
    }
    assert_eq!(
        svg.matches("<circle").count(),
        5,
        "a mean for each value that has one"
    );
    let empty = TradeOff {
        points: Vec::new(),
        ..trade_off
    };
    assert!(!texts(&empty.chart().unwrap().svg).is_empty());
}

#[test]
fn files_are_replaced_and_an_error_names_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    let one = |svg: &str| Chart {
        file: "one.svg",
        description: String::new(),
        svg: svg.to_owned(),
    };
    write_all(&inner, &[one("<svg/>")]).unwrap();
    write_all(&inner, &[one("<svg></svg>")]).unwrap();
    assert_eq!(
        std::fs::read_to_string(inner.join("one.svg")).unwrap(),
        "<svg></svg>"
    );
    assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 1);
    let blocked = inner.join("one.svg");
    let labels = write_all(&blocked, &[]).unwrap_err().to_string();
    assert!(
        labels.contains("one.svg") && labels.contains("--charts"),
        "{labels}"
    );
}

fn side(name: &str, runs: &[History]) -> Side {
    let mut over_time = OverTime::default();
    for (order, run) in (0..).zip(runs) {
        over_time.join(order, run);
    }
    let range = |mean: f64| {
        Some(Range {
            mean,
            low: mean * 0.9,
            high: mean * 1.1,
        })
    };
    Side {
        name: name.to_owned(),
        served: range(0.7),
        attempts: range(1.25),
        p95: None,
        wasted: range(432.0),
        over_time,
    }
}

#[test]
fn the_mean_of_runs_does_not_depend_on_their_order_or_length() {
    // ten seconds in bins of an eighth, and an hour in wider ones
    let mut long = History::default();
    for second in 0..3600 {
        long.apply(&at(second * SECOND, ended(Fate::Answered)));
    }
    let runs = [short(), long, short()];
    let joined = |order: [u64; 3]| {
        let mut all = OverTime::default();
        for at in order {
            all.join(at, &runs[at as usize]);
        }
        all
    };
    let all = joined([0, 1, 2]);
    assert_eq!(all, joined([1, 2, 0]));
    assert_eq!(all, joined([2, 0, 1]));
    assert_eq!((all.runs(), all.seconds()), (3, 3599.0));
    let means = all.means(Duration::ZERO);
    let calls = |rates: &[f64]| rates.iter().sum::<f64>() * means.width * 3.0;
    assert!(
        (calls(&means.served) - 3614.0).abs() < 1e-6,
        "{}",
        calls(&means.served)
    );
    assert!((calls(&means.rejected) - 6.0).abs() < 1e-6);
    assert!((calls(&means.first_attempts) - 20.0).abs() < 1e-6);
}

#[test]
fn a_breaker_is_open_for_its_share_of_the_time_and_of_the_runs() {
    let mut closed = History::default();
    closed.apply(&at(9 * SECOND + SECOND / 2, sent(1)));
    let side = side("a", &[short(), closed]);
    let means = side.over_time.means(Duration::from_secs(1));
    assert!((means.width - 1.0).abs() < 1e-9);
    // one of two runs: open from 2.5 to 6.5, then half-open to the end at 9.5
    assert_eq!(
        means.open,
        [0.0, 0.0, 25.0, 50.0, 50.0, 50.0, 25.0, 0.0, 0.0, 0.0]
    );
    assert_eq!(means.half_open[5..], [0.0, 25.0, 50.0, 50.0, 50.0]);
}

#[test]
fn policies_are_side_by_side_and_charts_are_labelled() {
    let hostile = format!("<script>alert(\"x\")</script>&{}end", "w".repeat(300));
    let together = SideBySide {
        title: "a world".into(),
        sides: vec![
            side("one", &[short(), short()]),
            side(&hostile, &[short(), short()]),
            side("quiet", &[History::default()]),
        ],
    };
    let charts = together.charts().unwrap();
    assert_eq!(charts, together.charts().unwrap());
    let files: Vec<&str> = charts.iter().map(|chart| chart.file).collect();
    let measures = "compare-measures.svg";
    let over_time = [
        "compare-calls.svg",
        "compare-attempts.svg",
        "compare-breakers.svg",
    ];
    assert_eq!(files, [&[measures], over_time.as_slice()].concat());
    let words: [&[&str]; 4] = [
        &["calls served, %", "70.0", "1.25", "none", "432", "quiet"],
        &["calls / s", "served", "rejected", "no call", "first policy"],
        &["attempts / s", "first attempts", "retries", "no attempt"],
        &["% of runs", "open", "half-open", "never open"],
    ];
    for (chart, words) in charts.iter().zip(words) {
        let labels = texts(&chart.svg);
        for word in words {
            assert!(
                labels.iter().any(|text| text == word),
                "{}: {word}: {labels:?}",
                chart.file
            );
        }
        assert!(labels[0].ends_with("mean of 2 runs"), "{labels:?}");
        assert!(!chart.svg.contains("<script"), "{}", chart.file);
        // both ends of a long name are there, the middle is not
        let cut = |text: &String| text.contains('\u{2026}') && text.ends_with("wend");
        assert!(labels.iter().any(cut), "{labels:?}");
        assert!(
            !labels.iter().any(|text| text.contains(&"w".repeat(90))),
            "{labels:?}"
        );
    }
}

#[test]
fn more_policies_than_a_page_holds_are_counted() {
    let sides = (0..MOST_SIDES + 2).map(|at| side(&format!("policy {at}"), &[short()]));
    let together = SideBySide {
        title: "a world".into(),
        sides: sides.collect(),
    };
    for chart in together.charts().unwrap() {
        let labels = texts(&chart.svg);
        assert!(labels[0].ends_with("; 2 more not shown"), "{labels:?}");
        let last = format!("policy {}", MOST_SIDES - 1);
        let lanes = labels.iter().filter(|text| text.starts_with("policy "));
        assert_eq!(lanes.count(), MOST_SIDES, "{labels:?}");
        assert!(labels.contains(&last), "{labels:?}");
    }
    let empty = SideBySide {
        sides: Vec::new(),
        ..together
    };
    assert_eq!(empty.charts().unwrap().len(), 4);
}
