//! The Retries card: attempts per call, whether retries help, and what is left of their budget.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::settings::Jitter;
use crate::state::{Slot, WINDOW};
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::card::{self, WIDE};
use super::{row, units};

/// The explanation before the first call.
const ABOUT: [&str; 2] = [
    "Tries again after a failure that may pass, each time a little later, in a budget.",
    "Tries again, a little later.",
];

/// Draws the card.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let (width, rows) = (usize::from(area.width), usize::from(area.height));
    card::draw(view, lines(view, width, rows), area, buf);
}

/// The window of the card, for its title.
pub(crate) fn title(view: &View<'_>, room: usize) -> String {
    if card::is_first(view.state) || view.state.session.policy.retry.attempts <= 1 {
        String::new()
    } else {
        card::window(&format!("last {WINDOW} s"), room)
    }
}

fn lines(view: &View<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let theme = view.theme;
    if view.state.session.policy.retry.attempts <= 1 {
        let mut lines = vec![
            card::words(theme, Role::Strong, "OFF"),
            row::first_fit(theme, ["one attempt per call", "never retries"], width),
        ];
        lines.extend(card::switch_on(view, "retry.attempts", width));
        return lines;
    }
    if card::is_first(view.state) {
        let none = card::words(theme, Role::Strong, "none yet");
        return card::explained(theme, none, ABOUT, policy(view, width), (width, rows));
    }
    let sum = view.state.timeline.last(view.now, Duration::from_secs(WINDOW));
    let mut lines = vec![
        per_call(view, width),
        helped(view, &sum, width),
        budget(view, width),
    ];
    if rows >= 5 {
        let wasted = units::grouped(sum.failed_attempts.into());
        lines.push(Line::from(format!("{wasted} wasted attempts")));
        lines.push(policy(view, width));
    }
    lines
}

/// Attempts per call: `1.32`, `5.2`, `12`.
pub(super) fn per_call(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let Some(value) = view.state.attempts_per_call(view.now) else {
        return card::words(theme, Role::Strong, "no attempts");
    };
    let number = mean(value);
    let wordings = [
        format!("{number} attempts per call"),
        format!("{number} per call"),
    ];
    let wordings = wordings.map(|text| card::words(theme, Role::Strong, text));
    row::first_fit(theme, wordings, width)
}

/// Attempts per call, as every place of the screen writes them.
pub(super) fn mean(value: f64) -> String {
    match value {
        ..2.0 => format!("{value:.2}"),
        2.0..10.0 => format!("{value:.1}"),
        _ => format!("{:.0}", value.min(9_999.0)),
    }
}

/// Retries that ended, and those that got an answer.
pub(super) fn helped(view: &View<'_>, sum: &Slot, width: usize) -> Line<'static> {
    // those that run are not judged yet
    let ended = u64::from(sum.helped) + u64::from(sum.wasted);
    if ended == 0 {
        let text = if sum.retried() == 0 {
            "no retries"
        } else {
            "no retry ended"
        };
        return row::muted(view.theme, text);
    }
    let helped = units::grouped(sum.helped.into());
    let long = format!("{}, {helped} got an answer", units::count(ended, "retry"));
    let short = format!("{helped} of {} helped", units::grouped(ended));
    let wordings = if width < WIDE {
        [short.clone(), short]
    } else {
        [long, short]
    };
    row::first_fit(view.theme, wordings, width)
}

/// The rest of the retry budget.
pub(super) fn budget(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let label = row::plain("budget ");
    let Some(budget) = view.state.retry_budget(view.now) else {
        let none = ["none: retries are unlimited", "none: unlimited", "none"];
        let none = none.map(|text| Line::from(vec![label.clone(), row::piece(theme, Role::Strong, text)]));
        return row::first_fit(theme, none, width);
    };
    let share = budget.left / budget.max.max(f64::MIN_POSITIVE);
    let mut line = Line::from(label);
    line.spans
        .extend(card::meter(theme, card::left_role(share), share, 8));
    // whole retries: half a one cannot be spent
    let whole = |retries: f64| units::amount((retries + 1e-9) as u64);
    let numbers = format!(" {} of {} left", whole(budget.left), whole(budget.max));
    row::join(theme, [line, Line::from(numbers)], width)
}

/// The most attempts, and the spread of their waits.
fn policy(view: &View<'_>, width: usize) -> Line<'static> {
    let settings = &view.state.session.policy.retry;
    let jitter = match settings.jitter {
        Jitter::None => "no jitter",
        Jitter::Equal => "equal jitter",
        Jitter::Full => "full jitter",
        Jitter::Proportional => "proportional jitter",
    };
    let most = format!("up to {} attempts", settings.attempts);
    let wordings = [format!("{most}, {jitter}"), most];
    row::first_fit(
        view.theme,
        wordings.map(|text| row::muted(view.theme, text)),
        width,
    )
}
