//! The story of one call, in sections:
//!
//! 1. fate, duration, attempts, tokens, user
//! 2. the sentence
//! 3. the steps, with offsets from the start of the call
//! 4. the present activity of a running call
//! 5. the answer so far

use std::time::Duration;

use ratatui::text::Line;

use crate::event::{AttemptResult, Fate, Finish};
use crate::state::story::{Step, StepKind, StepText, Story};
use crate::state::{Call, Doing};
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{appearance, chat, row, timeline, units};

/// Columns of an offset, right-aligned.
const OFFSET: usize = 6;
/// Columns of the layer.
const LABEL: usize = 10;
/// Offset, glyph and label with the blanks between.
const INDENT: usize = OFFSET + 1 + 1 + 1 + LABEL + 1;
/// Steps closer than this are shown as simultaneous.
const AT_ONCE: Duration = Duration::from_millis(20);
/// Rows of one step's text.
const MOST_ROWS: usize = 4;
/// Rows of the sentence, and of the answer.
const SENTENCE_ROWS: usize = 6;
const ANSWER_ROWS: usize = 4;
/// Characters of an answer that are copied with the story.
const COPIED: usize = 2000;

/// The whole story in lines of at most `width` columns, for an overlay that scrolls.
pub(crate) fn lines(view: &View<'_>, call: &Call, width: u16) -> Vec<Line<'static>> {
    let mut page = Page {
        view,
        width: usize::from(width),
        lines: Vec::new(),
    };
    page.head(call);
    match view.state.stories.story(call.id) {
        Some(story) => {
            page.sentence(&story);
            page.steps(&story);
        }
        None => page.paragraph(Role::Muted, "The steps are no longer in memory.", 1),
    }
    page.now(call);
    page.answer(call);
    page.lines
}

/// The story as plain text, with the beginning of the answer: what is copied.
pub(crate) fn text(view: &View<'_>, call: &Call) -> String {
    let story = view.state.stories.story(call.id);
    let steps = story.map_or_else(|| format!("{}\n", call.id), |story| story.to_string());
    let answer = view.state.calls.answer(call);
    if answer.is_empty() {
        return steps;
    }
    format!("{steps}\n{}\n", SafeText::excerpt(answer, COPIED))
}

/// The lines so far.
struct Page<'a> {
    view: &'a View<'a>,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    /// `✓ answered   7.3s   3 attempts   60 tokens   by ann`.
    fn head(&mut self, call: &Call) {
        let theme = self.view.theme;
        let attempts = match call.attempts {
            0 => "not sent".to_owned(),
            _ => chat::attempts(call),
        };
        let elapsed = units::duration(timeline::elapsed(call, self.view.now));
        let mut pieces = vec![
            Line::from(appearance::for_call(theme, call).glyph_and_word(theme)),
            Line::from(format!("   {elapsed}")),
            Line::from(format!("   {attempts}")),
        ];
        if let Some(usage) = &call.usage {
            pieces.push(Line::from(format!("   {} tokens", units::amount(usage.total()))));
        }
        pieces.push(row::muted(theme, format!("   by {}", call.user)));
        self.lines.push(row::join(theme, pieces, self.width));
    }

    /// Text wrapped to the whole width.
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
            let text = format!("{} earlier steps are no longer in memory", story.lost);
            self.paragraph(Role::Muted, &text, 2);
        }
        let mut last: Option<(String, Timestamp)> = None;
        for step in story.shown_steps() {
            let offset = units::precise(step.offset);
            // simultaneous steps share one offset
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
        let step_text = StepText::new(step);
        let (glyph, role) = step_appearance(theme, &step.kind);
        let room = self.width.saturating_sub(INDENT);
        let texts = row::wrap(theme, &fitting(theme, &step_text.text), room, MOST_ROWS);
        for (index, text) in texts.into_iter().enumerate() {
            let line = if index == 0 {
                vec![
                    row::piece(theme, Role::Muted, format!("{offset} ")),
                    row::piece(theme, role, row::left(glyph, 1)),
                    row::piece(
                        theme,
                        Role::Muted,
                        format!(" {} ", row::left(&step_text.label, LABEL)),
                    ),
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
        for more in &step_text.more {
            for text in row::wrap(theme, &fitting(theme, more), room, 2) {
                let indent = row::plain(" ".repeat(INDENT));
                self.lines
                    .push(Line::from(vec![indent, row::piece(theme, Role::Muted, text)]));
            }
        }
    }

    /// The present activity of a running call, with the time to its deadline.
    fn now(&mut self, call: &Call) {
        if call.fate.is_some() {
            return;
        }
        let (theme, now) = (self.view.theme, self.view.now);
        let until = |at| units::countdown(now.until(at));
        let activity = match call.doing {
            Doing::Starting | Doing::Ended => "between two steps".to_owned(),
            Doing::Queued => match self.view.state.waits_for(call.id, now) {
                Some(constraint) => format!("queued, waits for {}", constraint.sentence()),
                None => "queued".to_owned(),
            },
            Doing::Waiting => "waiting for the first token".to_owned(),
            Doing::Streaming => "streaming".to_owned(),
            Doing::BackingOff { until: at } => format!("next attempt in {}", until(at)),
            Doing::Following { .. } => match timeline::owner(self.view.state, call) {
                Some(owner) => format!("waiting for the answer of {owner}"),
                None => "waiting for the answer of another call".to_owned(),
            },
        };
        let text = format!("{activity}; deadline in {}", until(call.deadline));
        let offset = units::precise(now.since(call.started_at));
        self.lines.push(row::join(
            theme,
            [Line::from(vec![
                row::piece(theme, Role::Strong, format!("{} ", row::right(&offset, OFFSET))),
                row::piece(theme, Role::Held, theme.glyphs.timeline_now),
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
        // marks an answer that stops early, often in mid-word
        let is_truncated = call.fate == Some(Fate::Interrupted)
            || matches!(call.finish, Some(Finish::Length | Finish::ContentFilter));
        let mark = if is_truncated { "…" } else { "" };
        self.paragraph(Role::Text, &format!("{}{mark}", answer.trim_end()), ANSWER_ROWS);
    }
}

/// A text of the story with the ellipsis of the theme.
fn fitting(theme: &Theme, text: &str) -> String {
    text.replace('…', theme.glyphs.ellipsis)
}

/// Glyph and role of a step; no glyph if it is neither good nor bad.
fn step_appearance(theme: &Theme, what: &StepKind) -> (&'static str, Role) {
    let glyphs = theme.glyphs;
    match what {
        StepKind::Replayed(_) | StepKind::CacheHit(_) | StepKind::SemanticHit(_) => (glyphs.hit, Role::Saved),
        StepKind::FlightJoined { .. } | StepKind::FlightHandedOver { .. } => (glyphs.shared, Role::Saved),
        StepKind::Queued(_) => (glyphs.queued, Role::Held),
        StepKind::Rejected(_) | StepKind::BreakerRefused(_) => (glyphs.refused, Role::Refused),
        StepKind::BreakerAdmitted { probe: true, .. } | StepKind::RetryScheduled(_) => {
            (glyphs.retry, Role::Held)
        }
        StepKind::AttemptStarted { .. } => (glyphs.streaming, Role::Text),
        StepKind::FaultInjected { .. } => (glyphs.injected, Role::Yours),
        StepKind::AttemptStalled { .. } => (glyphs.queued, Role::Broken),
        StepKind::AttemptEnded(end) => match end.result {
            AttemptResult::Succeeded { .. } => (glyphs.ok, Role::Ok),
            AttemptResult::Failed { .. } => (glyphs.failed, Role::Broken),
            AttemptResult::Cancelled => (glyphs.stopped, Role::Muted),
        },
        StepKind::RetryStopped(_) => (glyphs.stopped, Role::Broken),
        StepKind::Labelled(judged) if !judged.good => (glyphs.failed, Role::Broken),
        StepKind::Labelled(_) => (glyphs.ok, Role::Ok),
        StepKind::Finished(end) => {
            let shown = appearance::for_fate(theme, end.fate);
            (shown.glyph, shown.role)
        }
        StepKind::Started(_)
        | StepKind::CacheMissed { .. }
        | StepKind::CacheBypassed { .. }
        | StepKind::SemanticMissed(_)
        | StepKind::SemanticShadowed(_)
        | StepKind::SemanticCompared { .. }
        | StepKind::SemanticStored { .. }
        | StepKind::FlightStarted { .. }
        | StepKind::Admitted(_)
        | StepKind::LeftQueue { .. }
        | StepKind::BreakerAdmitted { .. }
        | StepKind::AttemptResponded { .. }
        | StepKind::AttemptFirstToken { .. }
        | StepKind::Settled { .. }
        | StepKind::CacheStored { .. }
        | StepKind::CacheSkipped { .. } => ("", Role::Text),
    }
}

/// Failures, rejections and injected faults colour their text; other steps colour only the glyph.
fn text_role(role: Role) -> Role {
    match role {
        Role::Broken | Role::Refused | Role::Yours => role,
        _ => Role::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::event::{CallId, Constraint, EventKind, FailureClass, Fate, Origin};
    use crate::state::fixture::{
        Story as Tale, admitted, attempt, delta, ended, failed, first_token, queued, retry, succeeded,
    };

    fn fixture_from(tale: &Tale) -> Fixture {
        Fixture {
            state: tale.state(),
            now: tale.now,
            ..Fixture::default()
        }
    }

    fn shown(fixture: &Fixture, call: u64, width: u16) -> Vec<String> {
        let call = &fixture.state.calls.recent[&CallId(call)];
        let lines = lines(&fixture.view(), call, width);
        assert!(lines.iter().all(|line| line.width() <= usize::from(width)));
        let text = |line: &Line<'_>| line.to_string().trim_end().to_owned();
        lines.iter().map(text).collect()
    }

    /// A wait in the queue, an injected 429, an answer.
    fn second_attempt() -> Tale {
        let mut tale = Tale::begin();
        tale.at(1.0).call(30, Origin::Chat);
        tale.emit(30, queued(Constraint::Tokens, Some(1.4), 1));
        let now = tale.at(1.4).now;
        tale.emit(30, admitted(now, 1, 0)).emit(30, attempt(1, 30));
        let fault = crate::settings::FaultKind::RateLimited;
        tale.emit(30, EventKind::FaultInjected { attempt: 1, fault });
        let now = tale.at(1.6).now;
        tale.emit(30, failed(1, FailureClass::RateLimited, Some(429), 200));
        tale.emit(30, retry(2, FailureClass::RateLimited, now, 1000, Some(1)));
        tale
    }

    #[test]
    fn a_story_has_head_sentence_steps_and_answer() {
        let mut tale = second_attempt();
        tale.at(2.6).emit(30, attempt(2, 30));
        tale.at(2.9)
            .emit(30, first_token(2, 300))
            .emit(30, delta("It works."));
        tale.at(3.0)
            .emit(30, succeeded(2, 400))
            .emit(30, ended(Fate::Answered, 2, 2000));
        assert_eq!(
            shown(&fixture_from(&tale), 30, 70),
            [
                "✓ answered   2.0s   2 attempts   60 tokens   by ann",
                "Answered in 2.00s on attempt 2: 429 (injected); 0.40s queued for the",
                "token bucket; 1.00s between attempts.",
                "",
                " 0.00s   asked      ann in chat: \"question 30\"",
                "                    fingerprint 000000000000, ~12 tokens, deadline 10m",
                "         cache      miss: never seen before",
                "       … queue      waits for the token bucket: position 1 of 1,",
                "                    forecast 0.40s",
                " 0.40s   limiter    admitted after 0.04s for 268 tokens; 2000 of 20000",
                "                    and 6 of 60 requests left",
                "       ▶ attempt 1  sent",
                "       ! attempt 1  429 injected",
                " 0.60s ✗ attempt 1  failed after 0.20s: made up: RateLimited",
                "       ↻ retry      attempt 2 in 1.00s: rate limit",
                "                    drew 0.50s, the server asked for 1s; budget 142.9",
                "                    of 10.0; deadline in 9m59s",
                " 1.60s ▶ attempt 2  sent",
                " 1.90s   attempt 2  first token after 0.30s",
                " 2.00s ✓ attempt 2  complete after 0.40s: 60 tokens (12 asked, 48",
                "                    answered); finished",
                "       ✓ end        answered after 2.00s, 2 attempts",
                "",
                "It works.",
            ]
        );
    }

    #[test]
    fn an_answer_that_stops_early_has_a_mark() {
        let mut tale = second_attempt();
        tale.at(2.6).emit(30, attempt(2, 30)).emit(30, delta("It wor"));
        tale.emit(30, succeeded(2, 400))
            .emit(30, ended(Fate::Answered, 2, 2000));
        let mut fixture = fixture_from(&tale);
        let last = |fixture: &Fixture| shown(fixture, 30, 70).pop().unwrap();
        assert_eq!(last(&fixture), "It wor");
        fixture.state.calls.recent.get_mut(&CallId(30)).unwrap().finish = Some(Finish::Length);
        assert_eq!(last(&fixture), "It wor…");
    }

    #[test]
    fn a_running_call_shows_its_activity_and_deadline() {
        let mut fixture = fixture_from(&second_attempt());
        fixture.now = fixture.now + Duration::from_millis(300);
        let rows = shown(&fixture, 30, 70);
        assert_eq!(rows[0], "↻ retrying   0.9s   1 attempt   by ann");
        assert_eq!(
            rows[1],
            "Running: waiting 1.00s before attempt 2, after 429 (injected)."
        );
        let last = rows.last().unwrap();
        assert!(
            last.ends_with("now        next attempt in 0.7s; deadline in 10m"),
            "{last}"
        );
        assert!(last.starts_with(" 0.90s "), "{last}");
    }

    #[test]
    fn every_story_of_a_generated_session_fits_any_width() {
        let events = crate::state::fixture::session(5, 120);
        let state = crate::state::fixture::fold(&events);
        let now = state.last_event_at;
        for ascii in [false, true] {
            let fixture = Fixture {
                state: state.clone(),
                theme: Theme::new(crate::tui::theme::Palette::Mono, ascii),
                now,
                ..Fixture::default()
            };
            for id in state.calls.recent.keys() {
                for width in [0, 1, 19, 40, 70, 106] {
                    let rows = shown(&fixture, id.0, width);
                    assert!(!rows.is_empty());
                }
            }
        }
    }

    #[test]
    fn the_copied_text_has_sentence_steps_and_answer() {
        let mut tale = second_attempt();
        tale.at(2.6).emit(30, attempt(2, 30)).emit(30, delta("It works."));
        tale.emit(30, succeeded(2, 400))
            .emit(30, ended(Fate::Answered, 2, 2000));
        let fixture = fixture_from(&tale);
        let call = &fixture.state.calls.recent[&CallId(30)];
        let text = text(&fixture.view(), call);
        assert!(
            text.starts_with("#30 Answered in 2.00s on attempt 2: 429"),
            "{text}"
        );
        assert!(
            text.contains("attempt 1  sent") && text.ends_with("\nIt works.\n"),
            "{text}"
        );
    }

    #[test]
    fn a_story_without_steps_says_that_they_are_no_longer_in_memory() {
        let mut fixture = super::super::fixture::burst();
        fixture.state.stories = crate::state::story::StoryStore::default();
        let rows = shown(&fixture, 31, 70);
        assert_eq!(rows[1], "The steps are no longer in memory.");
    }
}
