//! The Faults & policy pane: injected faults, settings in force, and what retries cost.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::settings::{Bucket, Counts, FaultKind, Jitter};
use crate::text::SafeText;
use crate::tui::theme::Role;
use crate::tui::view::View;

use super::{gauge, row, semantic, units};

/// Cells of the longest bar of a histogram.
const BAR: usize = 18;
/// Columns of the labels of the settings, and of the counts.
const SETTING: usize = 9;
const COUNT: usize = 18;

/// Draws faults, settings, causes and attempts.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let mut lines = vec![
        faults(view, width),
        retry(view, width),
        limit(view, width),
        breaker(view, width),
        cache(view, width),
    ];
    let counts = [
        causes(view, width),
        attempts(view, width),
        budget(view, width),
        cost(view, width),
    ];
    if lines.len() + 1 + counts.len() <= usize::from(area.height) {
        lines.push(Line::default());
    }
    lines.extend(counts);
    row::draw_all(&lines, area, buf);
}

/// The name of the policy, for the border of a pane with `width` columns of content.
pub(crate) fn title(view: &View<'_>, width: u16) -> String {
    let name = SafeText::new(&view.state.session.policy.name).single_line();
    row::clip(view.theme, &name, row::note_room(width))
}

/// The enabled faults.
fn faults(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let session = &view.state.session;
    let faults = &session.faults;
    let name = row::clip(theme, &SafeText::new(&faults.name).single_line(), 24);
    let label = row::left("faults", SETTING);
    if !session.faults_on {
        let mut pieces = vec![format!("{label}off")];
        if !view.ui.read_only {
            pieces.push(format!("   [F] inject '{name}'"));
        }
        return row::join(theme, pieces, width);
    }
    let mut pieces = vec![Line::from(vec![
        row::plain(label),
        row::piece(theme, Role::Injected, format!("{} {name}", theme.glyphs.injected)),
    ])];
    for kind in FaultKind::ALL.into_iter().filter(|kind| faults.rate(*kind) > 0.0) {
        let more = match kind {
            FaultKind::RateLimited if faults.retry_after > 0 => {
                format!(" (Retry-After {}s)", faults.retry_after)
            }
            FaultKind::Stall | FaultKind::StallMidStream => {
                format!(" ({})", units::setting(faults.stall_for))
            }
            _ => String::new(),
        };
        let text = format!("   {} {}{more}", kind.label(), units::rate(faults.rate(kind)));
        pieces.push(Line::from(row::piece(theme, Role::Injected, text)));
    }
    pieces.push(Line::from(format!("   seed {}", session.seed)));
    pieces.push(Line::from(format!(", {} injected", session.injected)));
    row::join(theme, pieces, width)
}

/// The retry settings.
fn retry(view: &View<'_>, width: usize) -> Line<'static> {
    let settings = &view.state.session.policy.retry;
    let label = row::left("retry", SETTING);
    if settings.attempts <= 1 {
        return row::join(view.theme, [format!("{label}off, one attempt per call")], width);
    }
    let jitter = match settings.jitter {
        Jitter::Full => "full jitter",
        Jitter::Equal => "equal jitter",
        Jitter::Proportional => "proportional jitter",
        Jitter::None => "no jitter",
    };
    let (base, cap) = (units::setting(settings.base), units::setting(settings.cap));
    let hints = if settings.obey_hints { "honours" } else { "ignores" };
    let mut pieces = vec![
        format!("{label}up to {} attempts", settings.attempts),
        format!(", {jitter} {base}..{cap}"),
        format!(", {hints} Retry-After"),
    ];
    if settings.budget_ratio > 0.0 || settings.budget_min_per_s > 0.0 {
        let ratio = units::rate(settings.budget_ratio);
        pieces.push(format!(", budget {ratio} of calls"));
        pieces.push(format!(" + {}/s", settings.budget_min_per_s));
    }
    row::join(view.theme, pieces, width)
}

/// The limiter settings.
fn limit(view: &View<'_>, width: usize) -> Line<'static> {
    let settings = &view.state.session.policy.limit;
    let label = row::left("limiter", SETTING);
    if !settings.enabled {
        return row::join(view.theme, [format!("{label}off")], width);
    }
    let bucket = |bucket: &Bucket, what: &str| {
        let per_second = bucket.refill as f64 / bucket.per.as_secs_f64().max(1e-9);
        let capacity = units::amount(bucket.capacity);
        format!("{capacity} {what} {}", units::refill(per_second))
    };
    let pieces = [
        format!("{label}{}", bucket(&settings.requests, "requests")),
        format!(", {}", bucket(&settings.tokens, "tokens")),
        format!(", {} slots", settings.concurrency),
        format!(", queue {}", settings.max_waiters),
        format!(", max wait {}", units::setting(settings.max_wait)),
        format!(", per {}", counts(settings.charges)),
    ];
    row::join(view.theme, pieces, width)
}

/// The breaker settings.
fn breaker(view: &View<'_>, width: usize) -> Line<'static> {
    let settings = &view.state.session.policy.breaker;
    let label = row::left("breaker", SETTING);
    if !settings.enabled {
        return row::join(view.theme, [format!("{label}off")], width);
    }
    let (open, most) = (units::setting(settings.open), units::setting(settings.open_max));
    let window = units::setting(settings.window);
    let pieces = [
        format!("{label}opens at {}", units::rate(settings.failure_rate)),
        format!(" of {}+ in {window}", units::amount(settings.min_calls.into())),
        format!(" or {} in a row", settings.consecutive),
        format!(", for {open}..{most}"),
        format!(", {} ok to close", settings.successes_to_close),
        format!(", per {}", counts(settings.counts)),
    ];
    row::join(view.theme, pieces, width)
}

/// The unit that a layer counts.
fn counts(counts: Counts) -> &'static str {
    match counts {
        Counts::Attempt => "attempt",
        Counts::Call => "call",
    }
}

/// The settings of cache, flights and the deadline.
fn cache(view: &View<'_>, width: usize) -> Line<'static> {
    let policy = &view.state.session.policy;
    let shared = if policy.flight.enabled { "on" } else { "off" };
    let label = row::left("cache", SETTING);
    let mut pieces = if policy.cache.enabled {
        let which = if policy.cache.store_all {
            "all answers"
        } else {
            "deterministic answers"
        };
        vec![
            Line::from(format!("{label}{which}")),
            Line::from(format!(", TTL {}", units::setting(policy.cache.ttl))),
        ]
    } else {
        vec![Line::from(format!("{label}off"))]
    };
    if let Some(mode) = semantic::tag(view) {
        let threshold = semantic::similarity(policy.semantic.effective_threshold());
        let text = format!(", semantic {mode} >= {threshold}");
        pieces.push(Line::from(row::piece(view.theme, Role::Hit, text)));
    }
    pieces.push(Line::from(format!(", shared flights {shared}")));
    pieces.push(Line::from(format!(
        ", deadline {}",
        units::setting(policy.timeouts.call)
    )));
    row::join(view.theme, pieces, width)
}

/// Failed attempts by cause, most frequent first.
fn causes(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let mut causes: Vec<_> = view.state.retry.causes.iter().collect();
    causes.sort_by_key(|(label, count)| (std::cmp::Reverse(**count), label.as_str()));
    let most = causes.first().map_or(0, |(_, count)| **count);
    let mut pieces = vec![Line::from(row::left("failed attempts", COUNT))];
    if causes.is_empty() {
        pieces.push(row::muted(theme, "none yet"));
    }
    for (label, count) in causes {
        let label = row::clip(theme, &SafeText::new(label).single_line(), 12);
        pieces.push(bar(view, &label, *count, most, Role::Wait));
    }
    row::join(theme, pieces, width)
}

/// Calls by the number of their attempts.
fn attempts(view: &View<'_>, width: usize) -> Line<'static> {
    let counts = &view.state.retry.attempts_per_call;
    let most = counts.iter().copied().max().unwrap_or(0);
    let mut pieces = vec![Line::from(row::left("attempts per call", COUNT))];
    for (index, count) in counts.iter().enumerate() {
        let label = if index + 1 == counts.len() {
            format!("{}+", index + 1)
        } else {
            (index + 1).to_string()
        };
        let allowed = index < view.state.session.policy.retry.attempts as usize;
        if *count > 0 || allowed {
            pieces.push(bar(view, &label, *count, most, Role::Gauge));
        }
    }
    row::join(view.theme, pieces, width)
}

/// `429 ███████ 14  `.
fn bar(view: &View<'_>, label: &str, count: u64, most: u64, role: Role) -> Line<'static> {
    let theme = view.theme;
    let filled = gauge::filled_cells(count as f64 / most.max(1) as f64, BAR);
    let gap = if filled == 0 { "" } else { " " };
    Line::from(vec![
        row::plain(format!("{label} ")),
        row::piece(theme, role, theme.glyphs.bar_full.repeat(filled)),
        row::plain(format!("{gap}{count}  ")),
    ])
}

/// The rest of the retry budget.
fn budget(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let label = row::left("retry budget", COUNT);
    let Some((tokens, most)) = view.state.retry.budget else {
        return row::join(theme, [format!("{label}none: retries are unlimited")], width);
    };
    let share = if most > 0.0 { tokens / most } else { 0.0 };
    let mut bar = Line::from(label);
    bar.spans.extend(gauge::bar(theme, Role::Gauge, share, 10));
    bar.push_span(row::plain(format!(" {tokens:.1} of {most:.1} left")));
    row::first_fit(
        theme,
        [bar, Line::from(format!("retry budget {tokens:.1}/{most:.1}"))],
        width,
    )
}

/// The benefit and the cost of retries.
fn cost(view: &View<'_>, width: usize) -> Line<'static> {
    let retry = &view.state.retry;
    let label = row::left("retries", COUNT);
    let mut pieces = vec![
        format!("{label}{} of {} attempts", retry.retries, retry.attempts),
        format!("   {} recovered", retry.recovered),
        format!("   {} wasted", retry.wasted),
        format!("   {} in back-off", units::duration(retry.backed_off)),
    ];
    if retry.ambiguous > 0 {
        pieces.push(format!("   {} may have been billed twice", retry.ambiguous));
    }
    let stopped = retry.stopped.iter();
    pieces.extend(stopped.map(|(reason, count)| format!("   {count} stopped: {}", reason.brief())));
    row::join(view.theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn faults_settings_and_the_cost_of_retries() {
        assert_eq!(
            fixture::rows(&fixture::burst(), 116, 10, render),
            [
                "faults   ! storm   429 30% (Retry-After 1s)   500 5%   503 5%   seed 7, 17 injected",
                "retry    up to 3 attempts, full jitter 0.5s..8s, honours Retry-After, budget 20% of calls + 1/s",
                "limiter  60 requests +5/s, 20k tokens +1.5k/s, 16 slots, queue 1024, max wait 1m, per attempt",
                "breaker  opens at 50% of 10+ in 30s or 5 in a row, for 5s..1m, 2 ok to close, per attempt",
                "cache    deterministic answers, TTL 24h, shared flights on, deadline 10m",
                "",
                "failed attempts   429 ██████████████████ 14  500 █████████ 7  TMO █████ 4",
                "attempts per call 1 ██████████████████ 18  2 ███ 3  3 █ 1  4 ██ 2",
                "retry budget      [████░░░░░░] 4.2 of 10.0 left",
                "retries           20 of 60 attempts   4 recovered   9 wasted   14s in back-off   2 stopped: attempts used",
            ]
        );
    }

    #[test]
    fn layers_that_are_off_are_shown_as_off() {
        let mut fixture = fixture::burst();
        fixture.state.session.faults_on = false;
        let policy = &mut fixture.state.session.policy;
        policy.retry.attempts = 1;
        policy.limit.enabled = false;
        policy.breaker.enabled = false;
        policy.cache.enabled = false;
        fixture.state.retry.budget = None;
        let rows = fixture::rows(&fixture, 60, 10, render);
        let starts = [
            "faults   off   [F] inject 'storm'",
            "retry    off, one attempt per call",
            "limiter  off",
            "breaker  off",
            "cache    off, shared flights on, deadline 10m",
        ];
        assert_eq!(rows.get(..5), Some(&starts.map(str::to_owned)[..]));
        assert_eq!(
            rows.get(8).map(String::as_str),
            Some("retry budget      none: retries are unlimited")
        );
    }
}
