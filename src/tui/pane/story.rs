//! The story of one call: who asked what, what each layer decided and why, try by try, and the sum of it
//! in one sentence.

use ratatui::text::{Line, Span};

use crate::event::{Fate, Origin};
use crate::settings::FaultKind;
use crate::state::{CacheVerdict, Call, Doing, Span as Stretch, SpanKind};
use crate::text::SafeText;
use crate::time::Timestamp;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{lane, mark, meaning, row, units};

/// Columns of the names at the left.
const LABEL: usize = 15;

/// The whole story in lines of at most `width` columns, for an overlay that scrolls.
pub fn lines(view: &View<'_>, call: &Call, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let theme = view.theme;
    let mark = mark::of_call(theme, call);
    let mut lines = vec![row::join(
        theme,
        vec![
            Line::from(vec![
                row::piece(theme, Role::Strong, call.id.to_string()),
                row::plain(" "),
                mark.cell_and_word(theme),
            ]),
            Line::from(format!("   {}", units::duration(lane::took(call, view.now)))),
            Line::from(format!("   {}", tries(call.attempts))),
        ],
        width,
    )];
    for text in row::wrap(theme, &summary(view, call), width, 3) {
        lines.push(Line::from(text));
    }
    lines.push(Line::default());
    let mut facts = Facts { view, width, lines };
    facts.about(call);
    facts.course(call);
    facts.result(call);
    facts.lines
}

/// `3 tries`.
fn tries(attempts: u32) -> String {
    match attempts {
        0 => "not sent".to_owned(),
        1 => "1 try".to_owned(),
        tries => format!("{tries} tries"),
    }
}

/// What happened, in one sentence.
fn summary(view: &View<'_>, call: &Call) -> String {
    let took = units::duration(lane::took(call, view.now));
    let waited = waited(call, view.now);
    let why = || {
        let reason = call.failure.as_ref().map(|failure| failure.message.single_line());
        let stopped = call.stopped.map(mark::stop);
        match (reason, stopped) {
            (Some(reason), Some(stopped)) => format!(": {reason}; {stopped}"),
            (Some(reason), None) => format!(": {reason}"),
            (None, Some(stopped)) => format!(": {stopped}"),
            (None, None) => String::new(),
        }
    };
    match call.fate {
        Some(Fate::Answered) => {
            let after = if call.attempts > 1 {
                format!("after {}", tries(call.attempts))
            } else {
                "at the first try".to_owned()
            };
            format!("The upstream answered {after} in {took}{waited}.")
        }
        Some(Fate::Hit) if call.served_by_meaning().is_some() => meaning::summary(call).unwrap_or_default(),
        Some(Fate::Hit) => match call.cache {
            Some(CacheVerdict::Hit {
                saved,
                saved_ns,
                replayed,
                ..
            }) => {
                let time = units::duration(std::time::Duration::from_nanos(saved_ns));
                let from = if replayed {
                    "the ledger of completed results"
                } else {
                    "the cache"
                };
                let tokens = units::amount(saved.total());
                format!("Served from {from}: {tokens} tokens and {time} of waiting saved, nothing was sent.")
            }
            Some(CacheVerdict::Miss { .. } | CacheVerdict::Bypass { .. }) | None => {
                "Served from the cache, nothing was sent.".to_owned()
            }
        },
        Some(Fate::Shared) => match lane::owner(view.state, call) {
            Some(owner) => format!("Shared the answer of {owner}, which asked the same at the same time."),
            None => "Shared the answer of an identical call in flight.".to_owned(),
        },
        Some(Fate::Rejected) => format!("The limiter turned it away, nothing was sent{}.", why()),
        Some(Fate::Refused) if call.attempts == 0 => {
            "The breaker was open: refused at once, nothing was sent.".to_owned()
        }
        Some(Fate::Refused) => {
            format!(
                "The breaker opened after {}: not sent again.",
                tries(call.attempts)
            )
        }
        Some(Fate::Failed) if call.attempts == 0 => match lane::owner(view.state, call) {
            Some(owner) => format!(
                "Failed with {owner}, whose answer it waited for, after {took}{}.",
                why()
            ),
            None => format!("Failed after {took}{waited}, nothing was sent{}.", why()),
        },
        Some(Fate::Failed) => format!(
            "Failed after {} in {took}{waited}{}.",
            tries(call.attempts),
            why()
        ),
        Some(Fate::Interrupted) => {
            format!(
                "The stream broke after part of the answer was shown, so it was not asked again{}.",
                why()
            )
        }
        Some(Fate::Cancelled) => format!("Stopped by a person after {took}."),
        None => running(view, call),
    }
}

/// What a call does that is not over.
fn running(view: &View<'_>, call: &Call) -> String {
    let until = |at: Timestamp| units::countdown(view.now.until(at));
    match call.doing {
        Doing::Starting | Doing::Ended => "Between two layers.".to_owned(),
        Doing::Queued { constraint, ready_at } => {
            let when = ready_at.map_or_else(String::new, |at| format!(", {} more", until(at)));
            format!("Waits in the queue for {}{when}.", mark::constraint(constraint))
        }
        Doing::Waiting => format!("Try {} was sent and has not answered yet.", call.attempts),
        Doing::Streaming => format!("Try {} receives the answer.", call.attempts),
        Doing::BackingOff { until: at } => {
            format!(
                "Try {} failed, the next one follows in {}.",
                call.attempts,
                until(at)
            )
        }
        Doing::Following { owner } => format!("Waits for the answer of {owner}, which asked the same."),
    }
}

/// `, of it 0.9s in back-off`: time in the queue and in back-off, where there was any.
fn waited(call: &Call, now: Timestamp) -> String {
    let sum = |kind: SpanKind| -> std::time::Duration {
        let stretches = call.spans.iter().filter(|span| span.kind == kind);
        stretches
            .map(|span| span.to.unwrap_or(now).since(span.from))
            .sum()
    };
    let parts: Vec<String> = [
        (SpanKind::Queued, "in the queue"),
        (SpanKind::BackOff, "in back-off"),
    ]
    .into_iter()
    .map(|(kind, text)| (sum(kind), text))
    .filter(|(time, _)| !time.is_zero())
    .map(|(time, text)| format!("{} {text}", units::duration(time)))
    .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(", of it {}", parts.join(" and "))
    }
}

/// Lines being written.
struct Facts<'a> {
    view: &'a View<'a>,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Facts<'_> {
    /// A name and its text, wrapped beside it to at most `most` lines.
    fn fact(&mut self, name: &str, text: &str, most: usize) {
        let theme = self.view.theme;
        let room = self.width.saturating_sub(LABEL);
        for (index, text) in row::wrap(theme, text, room, most).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            self.lines.push(Line::from(vec![
                row::piece(theme, Role::Muted, row::left(name, LABEL)),
                row::plain(text),
            ]));
        }
    }

    /// Who asked what, and what the cache said.
    fn about(&mut self, call: &Call) {
        let origin = match call.origin {
            Origin::Chat => "chat".to_owned(),
            Origin::Burst { burst } => format!("burst {burst}"),
            Origin::Library => "a program".to_owned(),
        };
        let at = units::clock(call.started_at.since(Timestamp::ZERO), false);
        self.fact("asked", &format!("at {at} by {} ({origin})", call.user), 2);
        self.fact("prompt", &call.prompt, 3);
        let fingerprint = SafeText::new(&call.fingerprint);
        self.fact("fingerprint", &fingerprint, 2);
        let cache = match call.cache {
            Some(CacheVerdict::Hit { age_ns, replayed, .. }) => {
                let age = units::duration(std::time::Duration::from_nanos(age_ns));
                let how = if replayed {
                    "replayed, same idempotency key"
                } else {
                    "hit, exactly the same request"
                };
                format!("{how}, {age} old")
            }
            Some(CacheVerdict::Miss { reason }) => format!("miss: {}", mark::miss(reason)),
            Some(CacheVerdict::Bypass { reason }) => format!("not asked: {}", mark::bypass(reason)),
            None => "not asked yet".to_owned(),
        };
        self.fact("cache", &cache, 2);
        self.lines
            .extend(meaning::lines(self.view, call, self.width as u16));
        if let Some(owner) = lane::owner(self.view.state, call) {
            self.fact("flight", &format!("shared with {owner}"), 1);
        }
    }

    /// Each stretch of the lane with its start, its length and why it ended.
    fn course(&mut self, call: &Call) {
        if call.spans.is_empty() {
            return;
        }
        self.lines.push(Line::default());
        let mut attempt = 0;
        let mut in_attempt = false;
        for span in &call.spans {
            match span.kind {
                SpanKind::Waiting => {
                    attempt += 1;
                    in_attempt = span.label.is_empty();
                }
                // a stream belongs to the try that waited before it
                SpanKind::Streaming if in_attempt => {}
                SpanKind::Streaming => attempt += 1,
                SpanKind::Queued | SpanKind::BackOff | SpanKind::Following => in_attempt = false,
            }
            self.stretch(call, span, attempt);
        }
    }

    /// One stretch.
    fn stretch(&mut self, call: &Call, span: &Stretch, attempt: u32) {
        let theme = self.view.theme;
        let (what, role) = match span.kind {
            SpanKind::Queued => ("in the queue".to_owned(), Role::Wait),
            SpanKind::Waiting => (format!("try {attempt} waits"), Role::Text),
            SpanKind::Streaming => (format!("try {attempt} streams"), Role::Ok),
            SpanKind::BackOff => ("back-off".to_owned(), Role::Wait),
            SpanKind::Following => {
                let owner = lane::owner(self.view.state, call);
                let what = owner.map_or_else(|| "shares".to_owned(), |owner| format!("shares {owner}"));
                (what, Role::Hit)
            }
        };
        let from = units::precise(span.from.since(call.started_at));
        let took = units::precise(span.to.unwrap_or(self.view.now).since(span.from));
        let mut pieces = vec![Line::from(vec![
            row::piece(
                theme,
                Role::Muted,
                format!("{}  ", row::right(&from, units::DURATION_WIDTH + 2)),
            ),
            row::piece(theme, role, row::left(&what, 15)),
            row::plain(row::right(&took, units::DURATION_WIDTH)),
        ])];
        if span.to.is_none() {
            pieces.push(Line::from(" so far"));
        }
        if !span.label.is_empty() {
            let label = lane::reason(&span.label);
            pieces.push(Line::from(vec![
                row::plain("  "),
                row::piece(theme, Role::Bad, format!("{} {label}", theme.glyphs.failed)),
            ]));
        }
        // where a try streams, what hit it is told with its stream
        let ends_try = !span.label.is_empty() || span.kind == SpanKind::Streaming || span.to.is_none();
        if matches!(span.kind, SpanKind::Waiting | SpanKind::Streaming) && ends_try {
            let hits = call.injected.iter().filter(|(hit, _)| *hit == attempt);
            pieces.extend(hits.map(|(_, fault)| Line::from(vec![row::plain("  "), self.fault(*fault)])));
        }
        self.lines.push(row::join(theme, pieces, self.width));
    }

    /// A fault made on purpose.
    fn fault(&self, fault: FaultKind) -> Span<'static> {
        let theme = self.view.theme;
        let text = format!("{} {} made on purpose", theme.glyphs.injected, fault.label());
        row::piece(theme, Role::Injected, text)
    }

    /// First token, tokens, faults, the last failure and why it was the last.
    fn result(&mut self, call: &Call) {
        self.lines.push(Line::default());
        if let Some(ttft) = call.ttft {
            self.fact(
                "first token",
                &format!("{} after its try began", units::precise(ttft)),
                1,
            );
        }
        if let Some(usage) = &call.usage {
            let (prompt, answer) = (usage.prompt_tokens, usage.completion_tokens);
            self.fact(
                "tokens",
                &format!("{} = {prompt} asked + {answer} answered", usage.total()),
                1,
            );
        }
        if !call.injected.is_empty() {
            let faults: Vec<String> = call
                .injected
                .iter()
                .map(|(attempt, fault)| match attempt {
                    0 => fault.label().to_owned(),
                    _ => format!("{} in try {attempt}", fault.label()),
                })
                .collect();
            self.fact("on purpose", &faults.join(", "), 2);
        }
        if let Some(failure) = &call.failure {
            self.fact("last failure", &failure.message, 3);
            if let Some(hint) = failure.hint {
                self.fact(
                    "server asked",
                    &format!("to wait {}", units::setting(hint.wait)),
                    1,
                );
            }
        }
        if let Some(reason) = call.stopped {
            self.fact("no more tries", mark::stop(reason), 2);
        }
        if call.fate.is_none() {
            let left = units::countdown(self.view.now.until(call.deadline));
            self.fact("deadline", &format!("in {left}"), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene;
    use super::lines;
    use crate::event::{CallId, Fate};

    fn story(id: u64) -> Vec<String> {
        let scene = scene::burst();
        let call = &scene.state.calls.recent[&CallId(id)];
        let lines = lines(&scene.view(), call, 70);
        lines
            .iter()
            .map(|line| line.to_string().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn a_failed_call_try_by_try() {
        assert_eq!(
            story(30),
            [
                "#30 ✗ failed   5.8s   4 tries",
                "Failed after 4 tries in 5.8s, of it 2.7s in back-off: 429: too many",
                "requests; all allowed tries were made.",
                "",
                "asked          at 00:34 by ada (burst 1)",
                "prompt         what does a token bucket do?",
                "fingerprint    3fa9c0de",
                "cache          miss: never seen before",
                "",
                "  0.00s  try 1 waits    0.20s  ✗ 500  ! 500 made on purpose",
                "  0.20s  back-off       0.50s",
                "  0.70s  try 2 waits    0.20s  ✗ 500",
                "  0.90s  back-off       0.70s",
                "  1.60s  try 3 waits    2.40s  ✗ TMO",
                "  4.00s  back-off       1.50s",
                "  5.50s  try 4 waits    0.30s  ✗ 429  ! 429 made on purpose",
                "",
                "on purpose     500 in try 1, 429 in try 4",
                "last failure   429: too many requests",
                "no more tries  all allowed tries were made",
            ]
        );
    }

    #[test]
    fn a_call_that_failed_with_another_says_with_which() {
        let mut scene = scene::burst();
        let mut call = scene.state.calls.recent[&CallId(27)].clone();
        call.fate = Some(Fate::Failed);
        call.attempts = 0;
        scene.state.calls.recent.insert(call.id, call.clone());
        let told: Vec<String> = lines(&scene.view(), &call, 70)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            told[1].starts_with("Failed with #31, whose answer it waited for, after"),
            "{told:#?}"
        );
        assert!(
            told.iter().any(|line| line == "  0.00s  shares #31     0.60s"),
            "{told:#?}"
        );
    }

    #[test]
    fn a_stream_belongs_to_the_try_that_waited_for_it() {
        let rows = story(31);
        assert!(
            rows.iter().any(|row| row == "  1.70s  try 3 waits    0.20s"),
            "{rows:?}"
        );
        assert!(
            rows.iter().any(|row| row == "  1.90s  try 3 streams  0.50s"),
            "{rows:?}"
        );
        assert!(
            rows.iter()
                .any(|row| row == "tokens         412 = 24 asked + 388 answered"),
            "{rows:?}"
        );
    }

    #[test]
    fn each_fate_is_summed_up_in_a_sentence() {
        let table = [
            (
                24,
                "The stream broke after part of the answer was shown, so it was not",
            ),
            (
                25,
                "The limiter turned it away, nothing was sent: queue full (1024 wait).",
            ),
            (26, "Stopped by a person after 0.4s."),
            (
                27,
                "Shared the answer of #31, which asked the same at the same time.",
            ),
            (
                31,
                "The upstream answered after 3 tries in 2.4s, of it 1.2s in back-off.",
            ),
            (
                32,
                "Served from the cache: 412 tokens and 2.4s of waiting saved, nothing",
            ),
            (33, "Try 2 failed, the next one follows in 0.8s."),
            (34, "Try 1 receives the answer."),
            (35, "Waits in the queue for the token bucket, 0.4s more."),
            (36, "The breaker was open: refused at once, nothing was sent."),
            (37, "Try 1 was sent and has not answered yet."),
            (38, "Waits for the answer of #37, which asked the same."),
        ];
        for (id, sentence) in table {
            assert_eq!(story(id).get(1).map(String::as_str), Some(sentence), "#{id}");
        }
    }
}
