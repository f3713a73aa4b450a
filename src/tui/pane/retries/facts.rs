//! The texts: whether retries help, what they achieve and what they cost.

use std::time::Duration;

use ratatui::text::Line;

use crate::event::StopReason;
use crate::state::WINDOW;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::super::{gauge, row, units};

/// Fewer retries have no percentage.
const FEW: u64 = 5;
/// Columns of the labels.
const LABEL: usize = 10;

/// The empty state, with the keys that cause retries.
pub(super) fn no_calls(view: &View<'_>, width: usize) -> Line<'static> {
    let wordings = [
        "Nothing sent yet.  [F] inject faults, then [b] burst 10 to see retries",
        "Nothing sent yet.  [F] faults  [b] burst",
        "Nothing sent yet.",
    ];
    row::first_fit(
        view.theme,
        wordings.map(|text| row::muted(view.theme, text)),
        width,
    )
}

/// The headline (do retries help?), the load they cause, and advice in a storm.
pub(super) fn head(view: &View<'_>, width: usize) -> [Line<'static>; 3] {
    let theme = view.theme;
    let Some(storm) = view.state.storm(view.now) else {
        return [calm(view, width), load(view, width), Line::default()];
    };
    let since = format!(
        "   since {}",
        units::clock(storm.since.since(crate::time::Timestamp::ZERO), false)
    );
    let mark = format!("{} ", theme.glyphs.failed);
    let sentences = storm.sentences();
    let line = |text: String| Line::from(row::piece(theme, Role::Broken, text));
    let mut wordings = vec![line(format!("{mark}{}{since}", sentences[0]))];
    wordings.extend(sentences.into_iter().map(|text| line(format!("{mark}{text}"))));
    let advice = storm
        .advice()
        .map(|text| Line::from(row::piece(theme, Role::Strong, format!("  {text}"))));
    [
        row::first_fit(theme, wordings, width),
        load(view, width),
        row::first_fit(theme, advice, width),
    ]
}

/// The headline without a storm: for the last 30 s, or since the start if these have too few retries.
fn calm(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let retry = &view.state.retry;
    let line = |role, text: String| Line::from(row::piece(theme, role, text));
    if retry.retries == 0 {
        return line(Role::Muted, "No retries yet.".into());
    }
    let lately = view.state.timeline.last(view.now, Duration::from_secs(WINDOW));
    let (helped, failed, when) = match (u64::from(lately.helped), u64::from(lately.wasted)) {
        (helped, failed) if helped + failed >= FEW => (helped, failed, format!("in the last {WINDOW} s")),
        _ => (retry.helped, retry.in_vain, "so far".to_owned()),
    };
    let settled = helped + failed;
    if settled < FEW {
        let text = format!("few retries so far: {helped} of {settled} got an answer");
        return row::first_fit(theme, [line(Role::Text, text)], width);
    }
    let share = helped as f64 / settled as f64;
    let (glyph, word, role) = match share {
        0.5.. => (theme.glyphs.ok, "retries help", Role::Ok),
        0.25.. => (theme.glyphs.retry, "retries help a little", Role::Held),
        _ => (theme.glyphs.failed, "retries hardly help", Role::Held),
    };
    let share = share * 100.0;
    let wordings = [
        format!("{glyph} {word}: {share:.0}% got an answer {when} ({helped} of {settled})"),
        format!("{glyph} {word}: {share:.0}% got an answer {when}"),
        format!("{glyph} {word}: {share:.0}% answered"),
    ];
    row::first_fit(theme, wordings.map(|text| line(role, text)), width)
}

/// Attempts per call: now, at the peak, since the start, and including calls served without an attempt.
fn load(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let retry = &view.state.retry;
    let cell = |value: Option<f64>| {
        let text = value.map_or_else(|| "--".to_owned(), |value| format!("{:.1}", value.min(999.0)));
        row::right(&text, 5)
    };
    let now = view.state.attempts_per_call(view.now);
    let role = match now {
        Some(2.0..) => Role::Held,
        _ => Role::Strong,
    };
    let (peak, when) = match retry.peak {
        Some((peak, at)) => {
            let at = at.since(crate::time::Timestamp::ZERO);
            (Some(peak), format!(" at {}", units::clock(at, false)))
        }
        None => (None, " ".repeat(9)),
    };
    let started = view.state.calls.totals.started;
    let all = (started > 0).then(|| retry.attempts as f64 / started as f64);
    let pieces = [
        Line::from("attempts per call"),
        Line::from(vec![row::plain("  now"), row::piece(theme, role, cell(now))]),
        Line::from(format!("  peak{}", cell(peak))),
        row::muted(theme, when),
        Line::from(format!("  mean{}", cell(retry.amplification()))),
        row::muted(theme, format!("  all calls{}", cell(all))),
    ];
    row::join(theme, pieces, width)
}

/// Recovered calls, cost, the rest of the budget, and calls not retried.
pub(super) fn below(view: &View<'_>, width: usize) -> Vec<Line<'static>> {
    vec![
        recovered(view, width),
        cost(view, width),
        budget(view, width),
        stops(view, width),
    ]
}

/// A labelled row; pieces that do not fit are dropped.
fn fact(
    view: &View<'_>,
    label: &str,
    pieces: impl IntoIterator<Item = String>,
    width: usize,
) -> Line<'static> {
    let label = row::muted(view.theme, row::left(label, LABEL));
    let pieces = pieces.into_iter().map(Line::from);
    row::join(view.theme, std::iter::once(label).chain(pieces), width)
}

fn recovered(view: &View<'_>, width: usize) -> Line<'static> {
    let retry = &view.state.retry;
    let calls = if retry.recovered == 1 { "call" } else { "calls" };
    let pieces = [
        format!("{:>4} {calls}", units::amount(retry.recovered)),
        format!(
            ", {} of {} retries got an answer",
            units::amount(retry.helped),
            units::amount(retry.helped.saturating_add(retry.in_vain))
        ),
    ];
    fact(view, "recovered", pieces, width)
}

fn cost(view: &View<'_>, width: usize) -> Line<'static> {
    let retry = &view.state.retry;
    let mut pieces = vec![
        format!("{:>4} wasted attempts", units::amount(retry.fruitless())),
        format!(", {} in back-off", units::duration(retry.backed_off)),
    ];
    if retry.ambiguous > 0 {
        pieces.push(format!(
            ", {} may have been billed twice",
            units::amount(retry.ambiguous)
        ));
        pieces.push(format!(
            " ({} prompt tokens)",
            units::amount(retry.ambiguous_tokens)
        ));
    }
    fact(view, "cost", pieces, width)
}

fn budget(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let retry = &view.state.retry;
    let empty = retry.stopped.get(&StopReason::Budget).copied().unwrap_or(0);
    let Some(budget) = view.state.retry_budget(view.now) else {
        return fact(view, "budget", ["none: retries are unlimited".to_owned()], width);
    };
    let (left, most) = (budget.left, budget.max);
    let share = left / most.max(f64::MIN_POSITIVE);
    let role = if left < 1.0 { Role::Held } else { Role::Work };
    let mut line = Line::from(row::piece(theme, Role::Muted, row::left("budget", LABEL)));
    let number = format!("{:>6} of {}", number(left), number(most));
    let mut pieces = vec![Line::from(number)];
    if width >= 40 {
        line.spans.extend(gauge::bar(theme, role, share, 10));
    }
    if empty > 0 {
        pieces.push(Line::from(format!(", empty for {}", units::count(empty, "call"))));
    }
    let used = line.width();
    let rest = row::join(theme, pieces, width.saturating_sub(used));
    line.spans.extend(rest.spans);
    line
}

/// A number of budget tokens in at most six columns.
fn number(tokens: f64) -> String {
    if tokens < 1000.0 {
        format!("{tokens:.1}")
    } else {
        units::amount(tokens as u64)
    }
}

/// Calls not retried, by reason, most frequent first.
fn stops(view: &View<'_>, width: usize) -> Line<'static> {
    let mut stops: Vec<(StopReason, u64)> = view
        .state
        .retry
        .stopped
        .iter()
        .map(|(reason, count)| (*reason, *count))
        .collect();
    if stops.is_empty() {
        return fact(view, "stopped", ["   0 calls".to_owned()], width);
    }
    stops.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let pieces = stops.into_iter().enumerate().map(|(index, (reason, count))| {
        let count = units::amount(count);
        if index == 0 {
            format!("{count:>4} {}", reason.brief())
        } else {
            format!(", {count} {}", reason.brief())
        }
    });
    fact(view, "stopped", pieces.collect::<Vec<_>>(), width)
}
