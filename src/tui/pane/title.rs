//! Row 1: program, policy, upstream, seed, injected faults, and the state of the session.
//!
//! Faults and the upstream stay longest when room is short: injected faults must not look like real ones, and a
//! call to a real host may cost money. Each part has a blank on each side; the cells between parts stay untouched,
//! so the row can overlay a border.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::settings::{FaultKind, FaultProfile};
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;
use crate::tui::wrap;

use super::{appearance, row, semantic, units};

/// Width from which the row has its long wordings.
const WIDE: u16 = 110;

/// Columns between two parts, besides their own blanks.
const GAP: u16 = 1;

/// Draws the title.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    let width = usize::from(area.width);
    let clock = clock(view, width);
    let clock_width = clock.width();
    let room = width.saturating_sub(clock_width + usize::from(GAP));
    let parts = fit(left_wordings(view, area.width >= WIDE), room);
    let mut x = area.x;
    for part in parts {
        let wide = part.width() as u16;
        let place = Rect {
            x,
            width: wide.min(area.right().saturating_sub(x)),
            ..area
        };
        row::draw(&part, 0, place, buf);
        x = x.saturating_add(wide + GAP);
    }
    let place = Rect {
        x: area.right() - clock_width as u16,
        width: clock_width as u16,
        ..area
    };
    row::draw(&clock, 0, place, buf);
}

/// State and clock at the right end, as far as they fit.
fn clock(view: &View<'_>, width: usize) -> Line<'static> {
    let running = view.state.calls.totals.running() > 0;
    let (word, role) = match view.ui.paused {
        // a recording is never live, whether it plays or not
        _ if view.ui.playback.is_some() => ("REPLAY".to_owned(), Role::Held),
        Some(0) => ("PAUSED".to_owned(), Role::Held),
        Some(events) => (format!("PAUSED +{} events", units::amount(events)), Role::Held),
        None if running => ("LIVE".to_owned(), Role::Ok),
        None => ("READY".to_owned(), Role::Muted),
    };
    let time = units::clock(view.now.since(Timestamp::ZERO), width >= usize::from(WIDE));
    let word = row::piece(view.theme, role, word);
    let long = vec![row::plain(" "), word.clone(), row::plain(format!("  {time} "))];
    let middle = vec![row::plain(" "), word.clone(), row::plain(format!(" {time} "))];
    let wordings = [
        long,
        middle,
        vec![row::plain(" "), word.clone(), row::plain(" ")],
        vec![word],
    ];
    wordings
        .into_iter()
        .skip(usize::from(width < usize::from(WIDE)))
        .map(Line::from)
        .find(|line| line.width() <= width)
        .unwrap_or_default()
}

/// The combinations, best first: name, policy, wording of the upstream, wording of the faults. The seed outlasts
/// the policy and the single rates, because a run cannot be reproduced without it.
const CHOICES: [(bool, bool, Option<usize>, Option<usize>); 16] = [
    (true, true, Some(0), Some(0)),
    (true, true, Some(0), Some(1)),
    (true, true, Some(1), Some(0)),
    (true, false, Some(0), Some(0)),
    (true, false, Some(0), Some(1)),
    (true, true, Some(1), Some(1)),
    (true, false, Some(1), Some(0)),
    (true, false, Some(1), Some(1)),
    (true, true, Some(1), Some(2)),
    (true, false, Some(1), Some(2)),
    (false, false, Some(1), Some(2)),
    (true, false, Some(2), Some(2)),
    (false, false, Some(2), Some(2)),
    (true, false, None, Some(2)),
    (false, false, None, Some(2)),
    (true, false, None, None),
];

/// The choices with faults: all but the last.
const WITH_FAULTS: usize = CHOICES.len() - 1;

/// The wordings of the left side, the longest first.
fn left_wordings(view: &View<'_>, wide: bool) -> Vec<Vec<Line<'static>>> {
    let theme = view.theme;
    let session = &view.state.session;
    let name = part(row::piece(theme, Role::Strong, "seawall"));
    let policy = SafeText::new(&session.policy.name).single_line();
    let policy = part(row::plain(row::clip(theme, &short_name(&policy, 24), 24)));
    let faults = fault_wordings(view, wide);
    let upstream = upstream_wordings(view, wide);
    let pick = |wordings: &[Line<'static>], level: Option<usize>| {
        level.and_then(|level| wordings.get(level).or(wordings.last()).cloned())
    };
    // it changes answers, so that only faults outlast it
    let semantic = semantic_part(view);
    let with = semantic.iter().flat_map(|part| {
        CHOICES
            .iter()
            .take(WITH_FAULTS)
            .map(move |choice| (Some(part), choice))
    });
    with.chain(CHOICES.iter().map(|choice| (None, choice)))
        .map(
            |(semantic, (with_name, with_policy, upstream_level, fault_level))| {
                [
                    with_name.then(|| name.clone()),
                    with_policy.then(|| policy.clone()),
                    pick(&upstream, *upstream_level),
                    semantic.cloned(),
                    pick(&faults, *fault_level),
                ]
                .into_iter()
                .flatten()
                .collect()
            },
        )
        .collect()
}

/// A name that lists each change, shortened to the number of changes if it is too long: `production+3`.
fn short_name(name: &str, most: usize) -> String {
    let (base, changes) = name.split_once('+').unwrap_or((name, ""));
    let changes = changes.split('+');
    if wrap::width(name) > most && changes.clone().all(|change| change.contains('=')) {
        format!("{base}+{}", changes.count())
    } else {
        name.to_owned()
    }
}

/// The mode of the semantic cache, unless it is off.
fn semantic_part(view: &View<'_>) -> Option<Line<'static>> {
    let mode = semantic::tag(view)?;
    let text = format!("{} semantic {mode}", view.theme.glyphs.hit);
    Some(part(row::piece(view.theme, Role::Saved, text)))
}

/// The first choice that fits into `room`.
fn fit(choices: Vec<Vec<Line<'static>>>, room: usize) -> Vec<Line<'static>> {
    choices
        .into_iter()
        .find(|parts| {
            let gaps = parts.len().saturating_sub(1) * usize::from(GAP);
            parts.iter().map(Line::width).sum::<usize>() + gaps <= room
        })
        .unwrap_or_default()
}

/// The upstream in full, then with the seed, then without.
fn upstream_wordings(view: &View<'_>, wide: bool) -> Vec<Line<'static>> {
    let theme = view.theme;
    let session = &view.state.session;
    let seed = format!("seed {}", session.seed);
    let Some(upstream) = &session.upstream else {
        return vec![part(row::plain(seed))];
    };
    let host = row::clip(theme, &upstream.host.single_line(), 40);
    let dot = theme.glyphs.dot;
    let model = upstream
        .model
        .as_ref()
        .map(|model| row::clip(theme, &model.single_line(), 32));
    if upstream.simulated {
        let brief = format!("sim {seed}");
        let full = if wide {
            let name = model.as_deref().unwrap_or(&host);
            format!("{name} {dot} {brief} {dot} embedded (no network)")
        } else {
            brief.clone()
        };
        return [full, brief, "sim".to_owned()]
            .map(|text| part(row::plain(text)))
            .to_vec();
    }
    let where_to = if upstream.loopback { "" } else { " (network)" };
    let full = match &model {
        Some(model) => format!("{host} {model} {dot} {seed}{where_to}"),
        None => format!("{host} {dot} {seed}{where_to}"),
    };
    [full, format!("{host} {dot} {seed}"), host]
        .map(|text| part(row::plain(text)))
        .to_vec()
}

/// The injected faults, the longest wording first; empty without faults.
fn fault_wordings(view: &View<'_>, wide: bool) -> Vec<Line<'static>> {
    let session = &view.state.session;
    if !session.faults_on {
        return Vec::new();
    }
    let theme = view.theme;
    let mark = theme.glyphs.injected;
    let total = units::rate(session.faults.total());
    let words = if wide { "FAULTS ON  " } else { "FAULTS " };
    let gap = if wide { "  " } else { " " };
    let each: Vec<(&str, f64)> = FaultKind::ALL
        .iter()
        .map(|kind| (kind.label(), session.faults.rate(*kind)))
        .collect();
    let mut texts = Vec::new();
    if session.faults.total() > 0.0 {
        texts.push(format!("{mark} {words}{}", appearance::faults(&each, gap)));
        texts.push(format!(
            "{mark} {words}{}",
            appearance::faults(&merged(&session.faults), gap)
        ));
    }
    texts.push(format!("{mark} FAULTS {total}"));
    texts
        .into_iter()
        .map(|text| part(row::piece(theme, Role::Yours, text)))
        .collect()
}

/// The rates, with those of 500, 503 and 529 summed up if more than one is set.
fn merged(faults: &FaultProfile) -> Vec<(&'static str, f64)> {
    let in_5xx = |kind: &FaultKind| appearance::is_5xx(*kind) && faults.rate(*kind) > 0.0;
    let several = FaultKind::ALL.iter().filter(|kind| in_5xx(kind)).count() > 1;
    let sum: f64 = FaultKind::ALL
        .iter()
        .filter(|kind| in_5xx(kind))
        .map(|kind| faults.rate(*kind))
        .sum();
    let mut rates = Vec::new();
    for kind in FaultKind::ALL {
        if several && appearance::is_5xx(kind) {
            if kind == FaultKind::ServerError {
                rates.push(("5xx", sum));
            }
        } else {
            rates.push((kind.label(), faults.rate(kind)));
        }
    }
    rates
}

/// A part of the row with its blanks.
fn part(span: Span<'static>) -> Line<'static> {
    Line::from(vec![row::plain(" "), span, row::plain(" ")])
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Fixture};
    use super::short_name;
    use crate::event::UpstreamInfo;
    use crate::settings::FaultKind;

    fn title(fixture: &Fixture, width: u16) -> String {
        fixture::rows(fixture, width, 1, super::render).concat()
    }

    #[test]
    fn it_shows_program_policy_upstream_seed_and_faults() {
        let fixture = fixture::burst();
        let table = [
            (13, "  LIVE 00:42"),
            (30, " ! FAULTS 40%      LIVE 00:42"),
            (48, " sim seed 7   ! FAULTS 40%           LIVE 00:42"),
            (
                80,
                " seawall   production   sim seed 7   ! FAULTS 429 30% 5xx 10%        LIVE 00:42",
            ),
            (
                120,
                " seawall   production   sim-1 · sim seed 7 · embedded (no network)   \
                 ! FAULTS ON  429 30%  5xx 10%       LIVE  00:00:42",
            ),
        ];
        for (width, text) in table {
            assert_eq!(title(&fixture, width), text, "{width}");
        }
        assert!(title(&fixture, 200).contains("! FAULTS ON  429 30%  500 5%  503 5%"));
    }

    #[test]
    fn the_seed_stays_when_many_faults_are_on() {
        let mut fixture = fixture::burst();
        for kind in FaultKind::ALL {
            fixture.state.session.faults.set_rate(kind, 0.05);
        }
        assert_eq!(
            title(&fixture, 80),
            " seawall   production   sim seed 7   ! FAULTS 55%                    LIVE 00:42"
        );
        fixture.ui.paused = Some(55);
        assert!(title(&fixture, 80).contains(" sim seed 7   ! FAULTS 55%"));
    }

    #[test]
    fn faults_that_are_off_are_not_shown() {
        let mut fixture = fixture::burst();
        fixture.state.session.faults_on = false;
        assert!(!title(&fixture, 120).contains("FAULTS"));
        fixture.state.session.faults_on = true;
        fixture.state.session.faults.scale_to(0.0);
        assert!(title(&fixture, 80).contains("! FAULTS 0%"));
    }

    #[test]
    fn a_real_host_outlasts_the_policy() {
        let mut fixture = fixture::burst();
        fixture.state.session.upstream = Some(UpstreamInfo {
            host: "api.example.com".into(),
            model: Some("big-1".into()),
            simulated: false,
            loopback: false,
        });
        let texts = [120, 80, 60].map(|width| title(&fixture, width));
        assert!(texts[0].contains(" production   api.example.com big-1 · seed 7 (network) "));
        assert!(texts[1].contains(" api.example.com · seed 7 "), "{}", texts[1]);
        assert!(texts[2].contains(" api.example.com "), "{}", texts[2]);
    }

    #[test]
    fn it_shows_whether_the_session_runs() {
        let mut fixture = Fixture::default();
        assert!(title(&fixture, 60).ends_with("READY 00:00"));
        fixture.ui.paused = Some(12);
        assert!(title(&fixture, 60).ends_with("PAUSED +12 events 00:00"));
        fixture.ui.paused = Some(0);
        assert!(title(&fixture, 60).ends_with("PAUSED 00:00"));
    }

    #[test]
    fn a_name_too_long_for_its_changes_counts_them() {
        for (name, short) in [
            ("production", "production"),
            ("production+retry.cap=4s", "production+retry.cap=4s"),
            (
                "production+retry.attempts=4+retry.obey_hints=false",
                "production+2",
            ),
            (
                "production+limit.requests.capacity=6000-20261126-025744",
                "production+1",
            ),
            (
                "of one team + of another one as well",
                "of one team + of another one as well",
            ),
            ("a-long-name-without-any-change", "a-long-name-without-any-change"),
        ] {
            assert_eq!(short_name(name, 24), short);
        }
    }
}
