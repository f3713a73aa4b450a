use std::time::Duration;

use quick_xml::Reader;
use quick_xml::events::Event as Xml;

use super::*;
use crate::event::{
    BreakerState, CallId, Event, EventKind, FailureClass, Fate, FlightId, MoveReason, WindowCounts,
};
use crate::settings::FaultProfile;
use crate::state::RetryCause;
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
        model: None,
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

/// The drawn texts of an SVG, which must be XML.
fn texts(svg: &str) -> Vec<String> {
    let mut reader = Reader::from_str(svg);
    let (mut all, mut inside) = (Vec::<String>::new(), false);
    loop {
        let event = reader.read_event().unwrap();
        let last = all.last_mut().filter(|_| inside);
        match (event, last) {
            (Xml::Eof, _) => return all,
            (Xml::Start(start), _) => {
                inside = start.name().as_ref() == "text";
                all.extend(inside.then(String::new));
            }
            (Xml::End(_), _) => inside = false,
            (Xml::Text(text), Some(last)) => last.push_str(&text.xml10_content()),
            (Xml::GeneralRef(name), Some(last)) => {
                last.push('&');
                last.push_str(&name.xml10_content());
                last.push(';');
            }
            _ => {}
        }
    }
}

#[test]
fn the_same_run_gives_the_same_bytes_and_every_panel_is_labelled() {
    let chart = short().series("a world").chart();
    assert_eq!(chart, short().series("a world").chart());
    let labels = texts(&chart.svg);
    for word in [
        "a world: a run over time",
        "calls ended, by outcome",
        "answered",
        "refused",
        "attempts sent, by cause",
        "first attempt",
        "retry: other",
        "latency of calls answered by the upstream, start to end, per 0.125s",
        "no attempt passed the limiter",
        "none",
        "half-open",
        "0:05",
        "m:ss since the start",
    ] {
        assert!(labels.iter().any(|text| text == word), "{word}: {labels:?}");
    }
    // an outcome without calls is not in the legend
    assert!(!labels.iter().any(|text| text == "cached"), "{labels:?}");
    let head = "<title>a world: a run over time</title>\n<desc>10 calls in 0:09; 70% served; 20 attempts, 10 of them \
                retries; the breaker opened 1 time, for 0:04.</desc>";
    assert!(chart.svg.contains(head), "{}", chart.svg);
    assert!(chart.svg.contains("@media (prefers-color-scheme:dark)"));
}

#[test]
fn faults_and_causes_of_retries_are_named() {
    let mut history = short();
    let faults = |on| EventKind::FaultsApplied {
        on,
        profile: Box::new(FaultProfile {
            name: "<outage>".into(),
            reset: 0.75,
            ..FaultProfile::default()
        }),
    };
    let retry = EventKind::RetryScheduled {
        next: 2,
        at: Timestamp::ZERO,
        delay: Duration::ZERO,
        drawn: Duration::ZERO,
        hint: None,
        class: FailureClass::Reset,
        ambiguous: false,
        budget: 0.0,
        budget_max: 0.0,
    };
    for (second, kind) in [
        (10, faults(true)),
        (11, retry),
        (12, sent(2)),
        (13, sent(2)),
        (60, faults(false)),
    ] {
        history.apply(&at(second * SECOND, kind));
    }
    let series = history.series("a world");
    let causes = |cause: RetryCause| {
        series
            .bins
            .iter()
            .map(|bin| bin.retries[cause as usize])
            .sum::<u32>()
    };
    assert_eq!(
        (causes(RetryCause::Connection), causes(RetryCause::Other)),
        (1, 11)
    );
    let svg = series.chart().svg;
    assert!(svg.contains(">&lt;outage&gt; 75%</text>"), "{svg}");
    let labels = texts(&svg);
    assert!(
        labels.iter().any(|text| text == "retry: no connection"),
        "{labels:?}"
    );
}

#[test]
fn latency_has_gaps_and_huge_values_stay_on_the_page() {
    let mut history = History::default();
    let answered = |took| EventKind::CallEnded {
        fate: Fate::Answered,
        attempts: 1,
        failure: None,
        usage: None,
        took,
    };
    history.apply(&at(SECOND, answered(Duration::from_secs(1))));
    history.apply(&at(8 * SECOND, answered(Duration::MAX)));
    history.apply(&at(u64::MAX - 1, ended(Fate::Failed)));
    let svg = history.series("long").chart().svg;
    // one bin holds both answers: a single area
    assert_eq!(svg.matches("class=\"spread\"").count(), 1);
    assert!(!svg.contains("inf") && !svg.contains("NaN"), "{svg}");

    let mut history = History::default();
    history.apply(&at(SECOND, answered(Duration::from_secs(1))));
    history.apply(&at(8 * SECOND, answered(Duration::from_secs(2))));
    history.apply(&at(9 * SECOND, ended(Fate::Failed)));
    let svg = history.series("gap").chart().svg;
    assert_eq!(svg.matches("class=\"spread\"").count(), 2);
    assert!(texts(&svg).iter().any(|text| text == "1 failed call"));
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
    let labels = texts(&series.chart().svg);
    assert!(labels.iter().any(|text| text == "5:00:00"), "{labels:?}");
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
    let svg = History::default().series(&hostile).chart().svg;
    let title = texts(&svg).join(" ");
    assert!(!svg.contains("<script"), "{svg}");
    assert!(
        title.contains('\u{2026}') && !title.contains(&"w".repeat(80)),
        "{title}"
    );
    assert!(
        title.contains("no call ended") && title.contains("no answer"),
        "{title}"
    );
}

#[test]
fn a_single_call_and_a_single_policy_are_drawn() {
    let mut history = History::default();
    history.apply(&at(0, sent(1)));
    history.apply(&at(0, ended(Fate::Answered)));
    let svg = history.series("one").chart().svg;
    assert_eq!(svg.matches("class=\"spread\"").count(), 1);
    let exact = |mean| {
        Some(Range {
            mean,
            low: mean,
            high: mean,
        })
    };
    let alone = Side {
        served: exact(1.0),
        attempts: exact(1e15),
        ..side("alone", &[history])
    };
    let together = SideBySide {
        title: "one".into(),
        sides: vec![alone],
        is_sweep: true,
    };
    for Chart { svg, file, .. } in together.charts() {
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{file}: {svg}");
        assert!(texts(&svg).iter().any(|text| text == "alone"), "{file}");
    }
    assert!(
        texts(&together.charts()[0].svg).iter().any(|text| text == "1P"),
        "a huge value is short"
    );
    let point = Point {
        label: "alone".into(),
        served: exact(1.0),
        attempts: exact(1.0),
    };
    let trade_off = TradeOff {
        title: "one".into(),
        setting: None,
        points: vec![point],
    };
    let svg = trade_off.chart().svg;
    assert!(
        svg.contains("<circle class=\"dot\" cx=\"475\""),
        "in the middle: {svg}"
    );
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
        served: range(0.5 + at / 10.0),
        attempts: (at < 2.0).then_some(range(1.0 + at)).flatten(),
    };
    let trade_off = TradeOff {
        title: "world".into(),
        setting: Some("retry.jitter".into()),
        points: vec![point("none", 0.0), point("full", 1.0), point("equal", 2.0)],
    };
    let svg = trade_off.chart().svg;
    assert_eq!(svg, trade_off.chart().svg);
    let labels = texts(&svg);
    for word in [
        "world: calls served against attempts, retry.jitter",
        "none",
        "full",
        "calls served",
        "attempts per call",
        "up and to the left is better; dot: mean; bars: its 95 % intervals; 1 without a value not shown",
    ] {
        assert!(labels.iter().any(|text| text == word), "{word}: {labels:?}");
    }
    assert_eq!(
        svg.matches("<circle").count(),
        2,
        "a dot for each value with both results"
    );
    // equal points have one place, and the labels do not overlap
    let same = TradeOff {
        points: vec![point("a", 1.0); 12],
        ..trade_off.clone()
    };
    assert_eq!(
        texts(&same.chart().svg)
            .iter()
            .filter(|text| *text == "a")
            .count(),
        4
    );
    let empty = TradeOff {
        points: Vec::new(),
        ..trade_off
    };
    assert!(texts(&empty.chart().svg).iter().any(|text| text == "no data"));
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
        is_sweep: false,
    };
    let charts = together.charts();
    assert_eq!(charts, together.charts());
    let files: Vec<&str> = charts.iter().map(|chart| chart.file).collect();
    assert_eq!(files, COMPARISON_FILES[1..]);
    let words: [&[&str]; 4] = [
        &["calls served, %", "70.0", "1.25", "no data", "432", "quiet"],
        &[
            "8/s",
            "served",
            "refused or limited",
            "no data",
            "served, first policy",
        ],
        &[
            "20/s",
            "first attempts",
            "retries",
            "no data",
            "breaker open, % of runs",
        ],
        &["p95", "p50", "no data"],
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
        assert!(labels[1].contains("2 runs"), "{labels:?}");
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
fn a_sweep_shows_differences_from_its_first_value() {
    let mut busy = short();
    busy.apply(&at(9 * SECOND + SECOND / 2, ended(Fate::Answered)));
    let together = SideBySide {
        title: "a world".into(),
        sides: vec![
            side("a=1", &[short()]),
            side("a=2", &[busy]),
            side("a=3", &[History::default()]),
        ],
        is_sweep: true,
    };
    let charts = together.charts();
    let labels = texts(&charts[1].svg);
    // one call more, and the seven of the first policy less
    for word in ["+1 served per run", "-7 served per run", "strips: \u{b1}10/s"] {
        assert!(labels.iter().any(|text| text == word), "{word}: {labels:?}");
    }
    assert_eq!(charts[1].svg.matches("class=\"more\"").count(), 1);
    assert!(texts(&charts[3].svg).iter().any(|text| text == "no data"));
}

#[test]
fn more_policies_than_a_page_holds_are_counted() {
    let sides = (0..MOST_SIDES + 2).map(|at| side(&format!("policy {at}"), &[short()]));
    let together = SideBySide {
        title: "a world".into(),
        sides: sides.collect(),
        is_sweep: false,
    };
    for chart in together.charts() {
        let labels = texts(&chart.svg);
        assert!(labels[1].starts_with("2 more policies not shown"), "{labels:?}");
        let last = format!("policy {}", MOST_SIDES - 1);
        let lanes = labels.iter().filter(|text| text.starts_with("policy "));
        assert_eq!(lanes.count(), MOST_SIDES, "{labels:?}");
        assert!(labels.contains(&last), "{labels:?}");
    }
    let empty = SideBySide {
        sides: Vec::new(),
        ..together
    };
    assert_eq!(empty.charts().len(), 4);
}
