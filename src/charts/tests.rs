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
        history.take(&at(second * SECOND, sent(1)));
        history.take(&at(second * SECOND, sent(2)));
        let fate = if (3..6).contains(&second) {
            Fate::Refused
        } else {
            Fate::Answered
        };
        history.take(&at(second * SECOND + SECOND / 2, ended(fate)));
        match second {
            2 => history.take(&at(
                second * SECOND + SECOND / 2,
                moved(BreakerState::Closed, BreakerState::Open),
            )),
            6 => history.take(&at(
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
fn the_same_run_gives_the_same_bytes_and_the_charts_say_what_they_show() {
    let charts = short().series("a world").charts().unwrap();
    assert_eq!(charts, short().series("a world").charts().unwrap());
    let names: Vec<&str> = charts.iter().map(|chart| chart.file).collect();
    assert_eq!(names, ["fates.svg", "attempts.svg", "bucket.svg", "breaker.svg"]);
    let told = |name: &str| texts(&charts.iter().find(|chart| chart.file == name).unwrap().svg);
    let has = |name: &str, words: &[&str]| {
        let told = told(name);
        assert!(
            words.iter().all(|word| told.iter().any(|text| text == word)),
            "{name}: {told:?}"
        );
    };
    has(
        "fates.svg",
        &["calls a second", "time since the start, s", "ok", "refused"],
    );
    has(
        "attempts.svg",
        &["attempts a second", "first attempts", "retries"],
    );
    has("bucket.svg", &["% of capacity", "requests", "LLM tokens"]);
    has("breaker.svg", &["closed", "half-open", "open"]);
    // what never was is not in the legend
    assert!(
        !told("fates.svg")
            .iter()
            .any(|text| text == "hit" || text == "faults on")
    );
}

#[test]
fn nothing_is_lost_when_bins_are_joined() {
    let mut history = History::default();
    for second in 0..20_000_u64 {
        history.take(&at(second * SECOND, sent(1)));
        history.take(&at(second * SECOND, ended(Fate::Answered)));
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
fn states_of_the_breaker_follow_each_other_without_a_gap() {
    let series = short().series("a world");
    let spans: Vec<(f64, f64, BreakerState)> = series
        .breaker
        .iter()
        .map(|span| (span.from, span.until, span.what))
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
fn nothing_at_all_and_a_hostile_name_are_drawn_too() {
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
    let told = texts(&svg);
    for word in [
        "none",
        "full",
        "equal",
        "calls served, %",
        "attempts a call",
        "retry.jitter",
    ] {
        assert!(told.iter().any(|text| text == word), "{word}: {told:?}");
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
fn files_are_whole_and_a_folder_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    let one = |svg: &str| Chart {
        file: "one.svg",
        what: String::new(),
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
    let told = write_all(&blocked, &[]).unwrap_err().to_string();
    assert!(told.contains("one.svg") && told.contains("--charts"), "{told}");
}
