//! Row 1: program, upstream, policy; faults and load that the user switched on; the state of the session.
//!
//! ```text
//!  seawall  simulator · seed 7 · policy production+4     load 5/s   ! FAULTS ON outage: 75% of attempts fail    LIVE  00:00:45
//! ```
//!
//! Faults and the upstream stay longest when room is short: injected faults must not look like real ones, and a
//! call to a real host may cost money.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::settings::FaultKind;
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{row, units};

/// Width from which seed and policy are always shown.
const MIDDLE: u16 = 100;
/// Width from which the row has its long wordings.
const WIDE: u16 = 110;
/// Fewest columns between the left part and the right one.
const GAP: usize = 1;

/// Draws the title.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let lefts = left_wordings(view, area.width);
    for right in right_wordings(view, area.width) {
        for left in &lefts {
            if left.width() + GAP + right.width() <= width {
                let line = row::apart(left.clone(), right, GAP, width);
                row::draw(&line, 0, area, buf);
                return;
            }
        }
    }
    let state = Line::from(state(view, false));
    row::draw(&row::first_fit(view.theme, [state], width), 0, area, buf);
}

/// Program, upstream, seed and policy, the longest wording first.
fn left_wordings(view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let theme = view.theme;
    let session = &view.state.session;
    let upstream = session.upstream.as_ref();
    let host = upstream.map(|upstream| row::clip(theme, &upstream.host.single_line(), 40));
    let simulated = upstream.is_none_or(|upstream| upstream.simulated);
    let network = upstream.is_some_and(|upstream| !upstream.loopback);
    let model = upstream.and_then(|upstream| upstream.model.as_ref());
    let model = model.map(|model| row::clip(theme, &model.single_line(), 32));
    let file = view
        .ui
        .playback
        .as_ref()
        .map(|playback| playback.name.single_line());
    let file = file
        .filter(|name| !name.is_empty())
        .map(|name| row::clip(theme, &name, 40));
    let seed = Some(format!("seed {}", session.seed)).filter(|_| upstream.is_some() && simulated);
    let label = SafeText::new(&session.policy_label).single_line();
    let policy = format!("policy {}", row::clip(theme, &label, 24));
    let policy = Some(policy).filter(|_| !label.is_empty());
    let changed = policy.clone().filter(|_| label.contains('+'));
    let place = match (&host, simulated) {
        (Some(_), true) => Some("simulator".to_owned()),
        (Some(host), false) if network => Some(format!("{host} (network)")),
        (host, _) => host.clone(),
    };
    // the port alone: the sentence before the first call has the whole address
    let gateway = session.gateway.as_ref().and_then(|address| {
        let port = address.rsplit_once(':')?.1;
        Some(format!("gateway :{port} {} ", theme.glyphs.dot))
    });
    let place = place.map(|place| gateway.unwrap_or_default() + &place);
    let model = model.filter(|_| !simulated);
    let choices = [
        [file.clone(), place.clone(), model, seed, policy.clone()],
        [file.clone(), place.clone(), None, None, policy],
        [file, place.clone(), None, None, changed.clone()],
        [None, place.clone(), None, None, changed.clone()],
        [None, place, None, None, None],
        [None, None, None, None, changed],
        [None, None, None, None, None],
    ];
    let first = if width < MIDDLE {
        2
    } else {
        usize::from(width < WIDE)
    };
    let dot = format!(" {} ", theme.glyphs.dot);
    choices
        .into_iter()
        .skip(first)
        .map(|parts| {
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            let mut line = Line::from(vec![row::plain(" "), row::piece(theme, Role::Strong, "seawall")]);
            if !parts.is_empty() {
                line.push_span(row::plain(format!("  {}", parts.join(&dot))));
            }
            line
        })
        .collect()
}

/// Load, faults, state and clock, the longest wording first.
fn right_wordings(view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let theme = view.theme;
    let load = view.state.session.running_load().map(|load| load.label(view.now));
    let join = |fault: Option<&String>, load: Option<&String>, hours| {
        let mut line = Line::default();
        for text in [load, fault].into_iter().flatten() {
            line.push_span(row::piece(theme, Role::Yours, text.clone()));
            line.push_span(row::plain(if Some(text) == fault { "    " } else { "   " }));
        }
        if fault.is_none() && load.is_some() {
            line.push_span(row::plain(" "));
        }
        line.spans.extend(state(view, hours));
        line
    };
    let faults = fault_wordings(view);
    let wide = width >= WIDE;
    let mut wordings = Vec::new();
    for fault in faults.iter().skip(usize::from(!wide && faults.len() > 1)) {
        wordings.push(join(Some(fault), load.as_ref(), wide));
        wordings.push(join(Some(fault), None, wide));
    }
    if faults.is_empty() {
        wordings.push(join(None, load.as_ref(), wide));
    }
    wordings.push(join(None, None, false));
    wordings
}

/// The state of the session and the clock.
fn state(view: &View<'_>, hours: bool) -> Vec<Span<'static>> {
    let sent = view.state.calls.totals.started > 0;
    let word = match view.ui.paused {
        // a recording is never live, whether it plays or not
        _ if view.ui.playback.is_some() => "REPLAY".to_owned(),
        Some(0) => "PAUSED".to_owned(),
        Some(events) => format!("PAUSED +{} events", units::amount(events)),
        None if view.ui.tour.is_some() => "TOUR".to_owned(),
        None if sent || view.state.session.running_load().is_some() => "LIVE".to_owned(),
        None => "READY".to_owned(),
    };
    let time = units::clock(view.now.since(Timestamp::ZERO), hours);
    vec![
        row::piece(view.theme, Role::Strong, word),
        row::plain(format!("  {time} ")),
    ]
}

/// The injected faults, the longest wording first; empty without faults.
fn fault_wordings(view: &View<'_>) -> Vec<String> {
    let session = &view.state.session;
    if !session.faults_on {
        return Vec::new();
    }
    let mark = view.theme.glyphs.injected;
    let name = SafeText::new(&session.faults.name).single_line();
    let name = row::clip(view.theme, &name, 24);
    let slow = session.faults.rate(FaultKind::Drip);
    let failing = session.faults.total() - slow;
    let parts = [(failing, "fail"), (slow, "are slow")]
        .map(|(rate, verb)| (rate > 0.0).then(|| (units::rate(rate), verb)));
    let parts: Vec<(String, &str)> = parts.into_iter().flatten().collect();
    let mut texts = Vec::new();
    if let Some(((rate, verb), rest)) = parts.split_first() {
        let mut long = format!("{mark} FAULTS ON {name}: {rate} of attempts {verb}");
        for (rate, verb) in rest {
            long = format!("{long}, {rate} {verb}");
        }
        texts.push(long);
        texts.push(format!(
            "{mark} FAULTS ON {name} {}",
            units::rate(session.faults.total())
        ));
    } else if let Some(capacity) = session.faults.capacity {
        texts.push(format!(
            "{mark} FAULTS ON {name}: {} at a time",
            capacity.parallel
        ));
        texts.push(format!("{mark} FAULTS ON {name}"));
    } else {
        texts.push(format!("{mark} FAULTS ON {name}"));
    }
    texts.push(format!("{mark} FAULTS ON"));
    texts
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Fixture, at};
    use crate::event::UpstreamInfo;
    use crate::settings::FaultKind;

    fn title(fixture: &Fixture, width: u16) -> String {
        fixture::rows(fixture, width, 1, super::render).concat()
    }

    /// The simulator with a seed, a call that runs, and an outage switched on.
    fn outage() -> Fixture {
        let mut fixture = Fixture {
            now: at(45.6),
            ..Fixture::default()
        };
        fixture.state.calls.totals.started = 1;
        let session = &mut fixture.state.session;
        session.upstream = Some(UpstreamInfo {
            host: "simulator".into(),
            model: Some("sim-1".into()),
            simulated: true,
            loopback: true,
        });
        session.seed = 1;
        "production".clone_into(&mut session.policy_label);
        session.faults_on = true;
        "outage".clone_into(&mut session.faults.name);
        session.faults.set_rate(FaultKind::Unavailable, 0.6);
        session.faults.set_rate(FaultKind::Reset, 0.15);
        fixture
    }

    #[test]
    fn the_port_of_the_gateway_comes_before_the_upstream() {
        let mut fixture = outage();
        fixture.state.session.gateway = Some("127.0.0.1:4000".into());
        for width in [80, 120] {
            let title = title(&fixture, width);
            assert!(title.contains("gateway :4000 · simulator"), "{title}");
        }
    }

    #[test]
    fn the_titles_of_the_mock_ups() {
        let mut fixture = outage();
        for (width, text) in [
            (
                80,
                " seawall  simulator                       ! FAULTS ON outage 75%    LIVE  00:45",
            ),
            (
                120,
                " seawall  simulator · seed 1 · policy production             \
                 ! FAULTS ON outage: 75% of attempts fail    LIVE  00:00:45",
            ),
        ] {
            assert_eq!(title(&fixture, width), text, "{width}");
        }
        fixture = Fixture::default();
        fixture.state.session = outage().state.session;
        (fixture.state.session.faults_on, fixture.state.session.seed) = (false, 7);
        assert_eq!(
            title(&fixture, 120),
            " seawall  simulator · seed 7 · policy production                                                        \
             READY  00:00:00"
        );
    }

    #[test]
    fn a_changed_policy_is_named_at_every_width() {
        let mut fixture = outage();
        "production+4".clone_into(&mut fixture.state.session.policy_label);
        assert!(title(&fixture, 200).starts_with(" seawall  simulator · seed 1 · policy production+4  "));
        assert_eq!(
            title(&fixture, 80),
            " seawall  simulator · policy production+4 ! FAULTS ON outage 75%    LIVE  00:45"
        );
    }

    #[test]
    fn faults_outlast_all_but_the_state() {
        let mut fixture = outage();
        assert_eq!(
            title(&fixture, 48),
            " seawall  ! FAULTS ON outage 75%    LIVE  00:45"
        );
        assert_eq!(title(&fixture, 37), " seawall  ! FAULTS ON    LIVE  00:45");
        fixture.state.session.faults.set_rate(FaultKind::Drip, 0.1);
        assert!(title(&fixture, 120).contains("! FAULTS ON outage: 75% of attempts fail, 10% are slow "));
        let faults = &mut fixture.state.session.faults;
        for kind in FaultKind::ALL {
            faults.set_rate(kind, 0.0);
        }
        assert!(
            title(&fixture, 120).contains("! FAULTS ON outage    LIVE"),
            "nothing at 0%"
        );
    }

    #[test]
    fn a_real_host_outlasts_the_policy() {
        let mut fixture = outage();
        fixture.state.session.faults_on = false;
        fixture.state.session.upstream = Some(UpstreamInfo {
            host: "api.example.com".into(),
            model: Some("big-1".into()),
            simulated: false,
            loopback: false,
        });
        let texts = [120, 100, 50].map(|width| title(&fixture, width));
        assert!(texts[0].starts_with(" seawall  api.example.com (network) · big-1 · policy production "));
        assert!(texts[1].starts_with(" seawall  api.example.com (network) · policy production "));
        assert!(
            texts[2].starts_with(" seawall  api.example.com (network) "),
            "{}",
            texts[2]
        );
    }

    #[test]
    fn it_shows_whether_the_session_runs() {
        let mut fixture = Fixture::default();
        assert!(title(&fixture, 60).ends_with("READY  00:00"));
        fixture.ui.paused = Some(12);
        assert!(title(&fixture, 60).ends_with("PAUSED +12 events  00:00"));
        fixture.ui.paused = Some(0);
        assert!(title(&fixture, 60).ends_with("PAUSED  00:00"));
    }
}
