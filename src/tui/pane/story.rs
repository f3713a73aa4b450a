//! "Why?" on the screen: the story of one call. In this order, each a section of its own:
//!
//! 1. how it ended, in a mark and a word, and what it took
//! 2. the sentence
//! 3. the steps, a timeline with offsets since the call began
//! 4. what it does now, where it is not over
//! 5. the answer, as far as it came

use std::time::Duration;

use ratatui::text::Line;

use crate::event::AttemptResult;
use crate::state::story::{Step, Story, Told, What};
use crate::state::{Call, Doing};
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{appearance, row, timeline, units};

/// Columns of an offset, right-aligned.
const OFFSET: usize = 6;
/// Columns of the layer that did it.
const LABEL: usize = 8;
/// Offset, mark and label with the blanks between.
const INDENT: usize = OFFSET + 1 + 1 + 1 + LABEL + 1;
/// Steps closer than this happened at once, for a reader.
const AT_ONCE: Duration = Duration::from_millis(20);
/// Rows of one step's text.
const MOST_ROWS: usize = 4;
/// Rows of the sentence, and of the answer.
const SENTENCE_ROWS: usize = 6;
const ANSWER_ROWS: usize = 4;
/// Characters of an answer that are copied with its story.
const COPIED: usize = 2000;

/// The whole story in lines of at most `width` columns, for an overlay that scrolls.
pub fn lines(view: &View<'_>, call: &Call, width: u16) -> Vec<Line<'static>> {
    let mut page = Page {
        view,
        width: usize::from(width),
        lines: Vec::new(),
    };
    page.head(call);
    match view.state.why.story(call.id) {
        Some(story) => {
            page.sentence(&story);
            page.steps(&story);
        }
        None => page.paragraph(Role::Muted, "Its steps are not remembered any more.", 1),
    }
    page.now(call);
    page.answer(call);
    page.lines
}

/// The story as plain text, with the beginning of the answer: what is copied.
pub fn text(view: &View<'_>, call: &Call) -> String {
    let story = view.state.why.story(call.id);
    let told = story.map_or_else(|| format!("{}\n", call.id), |story| story.to_string());
    let answer = view.state.calls.answer(call);
    if answer.is_empty() {
        return told;
    }
    format!("{told}\n{}\n", SafeText::excerpt(answer, COPIED))
}

/// Lines being written.
struct Page<'a> {
    view: &'a View<'a>,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    /// `✓ ok   7.3s   3 tries   ann`.
    fn head(&mut self, call: &Call) {
        let theme = self.view.theme;
        let tries = match call.attempts {
            0 => "not sent".to_owned(),
            1 => "1 try".to_owned(),
            tries => format!("{tries} tries"),
        };
        let mut pieces = vec![
            Line::from(appearance::of_call(theme, call).cell_and_word(theme)),
            Line::from(format!(
                "   {}",
                units::duration(timeline::took(call, self.view.now))
            )),
            Line::from(format!("   {tries}")),
        ];
        if let Some(usage) = &call.usage {
            pieces.push(Line::from(format!("   {} tokens", units::amount(usage.total()))));
        }
        pieces.push(Line::from(row::piece(
            theme,
            Role::Muted,
            format!("   by {}", call.user),
        )));
        self.lines.push(row::join(theme, pieces, self.width));
    }

    /// Text over the whole width.
    fn paragraph(&mut self, role: Role, text: &str, most: usize) {
        let theme = self.view.theme;
        for text in row::wrap(theme, &fitting(theme, text), self.width, most) {
            self.lines.push(Line::from(row::piece(theme, role, text)));
        }
    }

    fn sentence(&mut self, story: &Story) {
        self.paragraph(Role::Strong, &story.sentence(), SENTENCE_ROWS);
        self.lines.push(Line::default());
    }

    fn steps(&mut self, story: &Story) {
        if story.lost > 0 {
            let text = format!("{} earlier steps are not remembered any more", story.lost);
            self.paragraph(Role::Muted, &text, 2);
        }
        let mut last: Option<(String, Timestamp)> = None;
        for step in story.telling() {
            let offset = units::precise(step.offset);
            // the same instant is not written twice: what happens at once stands together
            let same = last
                .as_ref()
                .is_some_and(|(shown, at)| *shown == offset && step.at.since(*at) < AT_ONCE);
            let shown = if same { "" } else { offset.as_str() };
            self.step(&row::right(shown, OFFSET), step);
            last = Some((offset, step.at));
        }
    }

    fn step(&mut self, offset: &str, step: &Step) {
        let theme = self.view.theme;
        let told = Told::of(step);
        let (glyph, role) = look(theme, &step.what);
        let room = self.width.saturating_sub(INDENT);
        let texts = row::wrap(theme, &fitting(theme, &told.text), room, MOST_ROWS);
        for (index, text) in texts.into_iter().enumerate() {
            let line = if index == 0 {
                vec![
                    row::piece(theme, Role::Muted, format!("{offset} ")),
                    row::piece(theme, role, row::left(glyph, 1)),
                    row::piece(theme, Role::Muted, format!(" {} ", row::left(&told.label, LABEL))),
                    row::piece(theme, text_role(role), text),
                ]
            } else {
                vec![
                    row::plain(" ".repeat(INDENT)),
                    row::piece(theme, text_role(role), text),
                ]
            };
            self.lines.push(Line::from(line));
        }
        for more in &told.more {
            for text in row::wrap(theme, &fitting(theme, more), room, 2) {
                let indent = row::plain(" ".repeat(INDENT));
                self.lines
                    .push(Line::from(vec![indent, row::piece(theme, Role::Muted, text)]));
            }
        }
    }

    /// What a call does that is not over, with the time it has left.
    fn now(&mut self, call: &Call) {
        if call.fate.is_some() {
            return;
        }
        let (theme, now) = (self.view.theme, self.view.now);
        let until = |at| units::countdown(now.until(at));
        let does = match call.doing {
            Doing::Starting | Doing::Ended => "between two steps".to_owned(),
            Doing::Queued {
                ready_at: Some(at), ..
            } => format!("in the queue, {} more", until(at)),
            Doing::Queued { ready_at: None, .. } => "in the queue".to_owned(),
            Doing::Waiting => "waits for the answer to begin".to_owned(),
            Doing::Streaming => "receives the answer".to_owned(),
            Doing::BackingOff { until: at } => format!("the next try follows in {}", until(at)),
            Doing::Following { .. } => match timeline::owner(self.view.state, call) {
                Some(owner) => format!("waits for the answer of {owner}"),
                None => "waits for the answer of another call".to_owned(),
            },
        };
        let text = format!("{does}; deadline in {}", until(call.deadline));
        let offset = units::precise(now.since(call.started_at));
        self.lines.push(row::join(
            theme,
            vec![Line::from(vec![
                row::piece(theme, Role::Strong, format!("{} ", row::right(&offset, OFFSET))),
                row::piece(theme, Role::Wait, theme.glyphs.lane_now),
                row::piece(theme, Role::Strong, format!(" {} ", row::left("now", LABEL))),
                row::plain(text),
            ])],
            self.width,
        ));
    }

    fn answer(&mut self, call: &Call) {
        let answer = self.view.state.calls.answer(call);
        if answer.is_empty() {
            return;
        }
        self.lines.push(Line::default());
        self.paragraph(Role::Text, answer, ANSWER_ROWS);
    }
}

/// Words of a story with the ellipsis of the theme.
fn fitting(theme: &Theme, text: &str) -> String {
    text.replace('…', theme.glyphs.ellipsis)
}

/// The mark of a step, and what it means; a blank where it is neither good nor bad.
fn look(theme: &Theme, what: &What) -> (&'static str, Role) {
    let glyphs = theme.glyphs;
    match what {
        What::Replayed(_) | What::CacheHit(_) | What::SemanticHit(_) => (glyphs.hit, Role::Hit),
        What::FlightJoined { .. } | What::FlightHandedOver { .. } => (glyphs.shared, Role::Hit),
        What::Queued(_) => (glyphs.queued, Role::Wait),
        What::Rejected(_) | What::BreakerRefused(_) => (glyphs.refused, Role::Refused),
        What::BreakerAdmitted { probe: true, .. } | What::RetryScheduled(_) => (glyphs.retry, Role::Wait),
        What::AttemptStarted { .. } => (glyphs.streaming, Role::Text),
        What::FaultInjected { .. } => (glyphs.injected, Role::Injected),
        What::AttemptStalled { .. } => (glyphs.queued, Role::Bad),
        What::AttemptEnded(end) => match end.result {
            AttemptResult::Succeeded { .. } => (glyphs.ok, Role::Ok),
            AttemptResult::Failed { .. } => (glyphs.failed, Role::Bad),
            AttemptResult::Cancelled => (glyphs.stopped, Role::Muted),
        },
        What::RetryStopped(_) => (glyphs.stopped, Role::Bad),
        What::Labelled(judged) if !judged.good => (glyphs.failed, Role::Bad),
        What::Labelled(_) => (glyphs.ok, Role::Ok),
        What::Finished(end) => {
            let mark = appearance::of_fate(theme, end.fate);
            (mark.glyph, mark.role)
        }
        What::Started(_)
        | What::CacheMissed { .. }
        | What::CacheBypassed { .. }
        | What::SemanticMissed(_)
        | What::SemanticShadowed(_)
        | What::SemanticCompared { .. }
        | What::SemanticStored { .. }
        | What::FlightStarted { .. }
        | What::Admitted(_)
        | What::LeftQueue { .. }
        | What::BreakerAdmitted { .. }
        | What::AttemptResponded { .. }
        | What::AttemptFirstToken { .. }
        | What::Settled { .. }
        | What::CacheStored { .. }
        | What::CacheSkipped { .. } => ("", Role::Text),
    }
}

/// Only what is bad or made on purpose is coloured as a whole: the marks tell the rest.
fn text_role(role: Role) -> Role {
    match role {
        Role::Bad | Role::Refused | Role::Injected => role,
        _ => Role::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Scene;
    use super::*;
    use crate::event::{CallId, Constraint, EventKind, FailureClass, Fate, Origin};
    use crate::state::fixture::{
        Story as Tale, admitted, attempt, delta, ended, failed, first_token, queued, retry, succeeded,
    };

    fn scene(tale: &Tale) -> Scene {
        Scene {
            state: tale.state(),
            now: tale.now,
            ..Scene::default()
        }
    }

    fn shown(scene: &Scene, call: u64, width: u16) -> Vec<String> {
        let call = &scene.state.calls.recent[&CallId(call)];
        let lines = lines(&scene.view(), call, width);
        assert!(lines.iter().all(|line| line.width() <= usize::from(width)));
        let text = |line: &Line<'_>| line.to_string().trim_end().to_owned();
        lines.iter().map(text).collect()
    }

    /// A wait, a 429 made on purpose, an answer.
    fn second_try() -> Tale {
        let mut tale = Tale::begin();
        tale.at(1.0).call(30, Origin::Chat);
        tale.tell(30, queued(Constraint::Tokens, Some(1.4), 1));
        let now = tale.at(1.4).now;
        tale.tell(30, admitted(now, 1, 0)).tell(30, attempt(1, 30));
        let fault = crate::settings::FaultKind::RateLimited;
        tale.tell(30, EventKind::FaultInjected { attempt: 1, fault });
        let now = tale.at(1.6).now;
        tale.tell(30, failed(1, FailureClass::RateLimited, Some(429), 200));
        tale.tell(30, retry(2, FailureClass::RateLimited, now, 1000, Some(1)));
        tale
    }

    #[test]
    fn a_story_reads_from_the_sentence_down() {
        let mut tale = second_try();
        tale.at(2.6).tell(30, attempt(2, 30));
        tale.at(2.9)
            .tell(30, first_token(2, 300))
            .tell(30, delta("It works."));
        tale.at(3.0)
            .tell(30, succeeded(2, 400))
            .tell(30, ended(Fate::Answered, 2, 2000));
        assert_eq!(
            shown(&scene(&tale), 30, 70),
            [
                "✓ ok   2.0s   2 tries   60 tokens   by ann",
                "Answered in 2.00s on the second try: 429 (on purpose); 0.40s queued",
                "for the token bucket; 1.00s between tries.",
                "",
                " 0.00s   asked    ann in the chat: \"question 30\"",
                "                  fingerprint 000000000000, ~12 tokens, deadline 10m",
                "         cache    miss: never seen before",
                "       … queue    waits for the token bucket: place 1 of 1, turn in",
                "                  about 0.40s",
                " 0.40s   limiter  admitted after 0.04s for 268 tokens; 2000 of 20000",
                "                  and 6 of 60 requests left",
                "       ▶ try 1    sent",
                "       ! try 1    429 made on purpose",
                " 0.60s ✗ try 1    failed after 0.20s: made up: RateLimited",
                "       ↻ retry    try 2 follows in 1.00s: rate limit",
                "                  drew 0.50s, the server asked for 1s; budget 142.9 of",
                "                  10; deadline in 9m59s",
                " 1.60s ▶ try 2    sent",
                " 1.90s   try 2    first token after 0.30s",
                " 2.00s ✓ try 2    complete after 0.40s: 60 tokens (12 asked, 48",
                "                  answered); finished",
                "       ✓ end      answered after 2.00s, 2 tries",
                "",
                "It works.",
            ]
        );
    }

    #[test]
    fn a_call_that_runs_says_what_it_does_now() {
        let mut scene = scene(&second_try());
        scene.now = scene.now + Duration::from_millis(300);
        let rows = shown(&scene, 30, 70);
        assert_eq!(rows[0], "↻ retry   0.9s   1 try   by ann");
        assert_eq!(
            rows[1],
            "Runs: waits 1.00s before its second try, after 429 (on purpose)."
        );
        let last = rows.last().unwrap();
        assert!(
            last.ends_with("now      the next try follows in 0.7s; deadline in 10m"),
            "{last}"
        );
        assert!(last.starts_with(" 0.90s "), "{last}");
    }

    #[test]
    fn every_fate_of_a_made_up_session_fits_any_box() {
        let events = crate::state::fixture::session(5, 120);
        let state = crate::state::fixture::fold(&events);
        let now = state.last_event_at;
        for ascii in [false, true] {
            let scene = Scene {
                state: state.clone(),
                theme: Theme::new(crate::tui::theme::Palette::Mono, ascii),
                now,
                ..Scene::default()
            };
            for id in state.calls.recent.keys() {
                for width in [0, 1, 19, 40, 70, 106] {
                    let rows = shown(&scene, id.0, width);
                    assert!(!rows.is_empty());
                }
            }
        }
    }

    #[test]
    fn what_is_copied_has_sentence_steps_and_answer() {
        let mut tale = second_try();
        tale.at(2.6).tell(30, attempt(2, 30)).tell(30, delta("It works."));
        tale.tell(30, succeeded(2, 400))
            .tell(30, ended(Fate::Answered, 2, 2000));
        let scene = scene(&tale);
        let call = &scene.state.calls.recent[&CallId(30)];
        let text = text(&scene.view(), call);
        assert!(
            text.starts_with("#30 Answered in 2.00s on the second try: 429"),
            "{text}"
        );
        assert!(
            text.contains("try 1    sent") && text.ends_with("\nIt works.\n"),
            "{text}"
        );
    }

    #[test]
    fn a_story_that_is_gone_says_so() {
        let mut scene = super::super::fixture::burst();
        scene.state.why = crate::state::story::Why::default();
        let rows = shown(&scene, 31, 70);
        assert_eq!(rows[1], "Its steps are not remembered any more.");
    }
}
