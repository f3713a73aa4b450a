//! What is broken on purpose and which settings hold, with what retries cost so far.

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

/// Draws faults, settings, causes and tries.
pub fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let width = usize::from(area.width);
    let settings = [
        inject(view, width),
        retry(view, width),
        limit(view, width),
        breaker(view, width),
        cache(view, width),
    ];
    let counts = [
        causes(view, width),
        tries(view, width),
        budget(view, width),
        cost(view, width),
    ];
    let mut lines: Vec<Line<'static>> = settings.into_iter().collect();
    if lines.len() + 1 + counts.len() <= usize::from(area.height) {
        lines.push(Line::default());
    }
    lines.extend(counts);
    row::draw_all(&lines, area, buf);
}

/// The name of the policy, for the border of a pane with `width` columns of content.
pub fn title(view: &View<'_>, width: u16) -> String {
    let name = SafeText::new(&view.state.session.policy.name).single_line();
    row::clip(view.theme, &name, row::note_room(width))
}

/// The faults that are on.
fn inject(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let session = &view.state.session;
    let faults = &session.faults;
    let name = row::clip(theme, &SafeText::new(&faults.name).single_line(), 24);
    if !session.faults_on {
        let mut pieces = vec![Line::from("inject   off")];
        if !view.ui.read_only {
            pieces.push(Line::from(format!("   f switches '{name}' on")));
        }
        return row::join(theme, pieces, width);
    }
    let mut pieces = vec![Line::from(vec![
        row::plain("inject   "),
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
    pieces.push(Line::from(format!(", {} made", session.injected)));
    row::join(theme, pieces, width)
}

/// The retry settings.
fn retry(view: &View<'_>, width: usize) -> Line<'static> {
    let settings = &view.state.session.policy.retry;
    let jitter = match settings.jitter {
        Jitter::Full => "full jitter",
        Jitter::Equal => "equal jitter",
        Jitter::Proportional => "proportional jitter",
        Jitter::None => "no jitter",
    };
    let (base, cap) = (units::setting(settings.base), units::setting(settings.cap));
    let hints = if settings.obey_hints { "honours" } else { "ignores" };
    let mut pieces = if settings.attempts > 1 {
        vec![
            Line::from(format!("retry    up to {} tries", settings.attempts)),
            Line::from(format!(", {jitter} {base}..{cap}")),
            Line::from(format!(", {hints} Retry-After")),
        ]
    } else {
        vec![Line::from("retry    never, one try for each call")]
    };
    if settings.attempts > 1 && (settings.budget_ratio > 0.0 || settings.budget_min_per_s > 0.0) {
        let ratio = units::rate(settings.budget_ratio);
        pieces.push(Line::from(format!(", budget {ratio} of calls")));
        pieces.push(Line::from(format!(" + {}/s", settings.budget_min_per_s)));
    }
    row::join(view.theme, pieces, width)
}

/// The limiter's settings.
fn limit(view: &View<'_>, width: usize) -> Line<'static> {
    let settings = &view.state.session.policy.limit;
    if !settings.enabled {
        return row::join(view.theme, vec![Line::from("limit    off")], width);
    }
    let bucket = |bucket: &Bucket, what: &str| {
        let per_second = bucket.refill as f64 / bucket.per.as_secs_f64().max(1e-9);
        let capacity = units::amount(bucket.capacity);
        format!("{capacity} {what} {}", units::refill(per_second))
    };
    let pieces = vec![
        Line::from(format!("limit    {}", bucket(&settings.requests, "requests"))),
        Line::from(format!(", {}", bucket(&settings.tokens, "tokens"))),
        Line::from(format!(", {} at once", settings.concurrency)),
        Line::from(format!(", queue {}", settings.max_waiters)),
        Line::from(format!(", waits up to {}", units::setting(settings.max_wait))),
        Line::from(format!(", for each {}", counts(settings.charges))),
    ];
    row::join(view.theme, pieces, width)
}

/// The breaker's settings.
fn breaker(view: &View<'_>, width: usize) -> Line<'static> {
    let settings = &view.state.session.policy.breaker;
    if !settings.enabled {
        return row::join(view.theme, vec![Line::from("breaker  off")], width);
    }
    let open = units::setting(settings.open);
    let pieces = vec![
        Line::from(format!("breaker  trip {}", units::rate(settings.failure_rate))),
        Line::from(format!(
            " of {}+ in {}",
            settings.min_calls,
            units::setting(settings.window)
        )),
        Line::from(format!(" or {} in a row", settings.consecutive)),
        Line::from(format!(
            ", cool-down {open}..{}",
            units::setting(settings.open_max)
        )),
        Line::from(format!(", {} good to close", settings.successes_to_close)),
        Line::from(format!(", for each {}", counts(settings.counts))),
    ];
    row::join(view.theme, pieces, width)
}

/// What a layer counts.
fn counts(counts: Counts) -> &'static str {
    match counts {
        Counts::Attempt => "try",
        Counts::Call => "call",
    }
}

/// The settings of cache, flights and the deadline.
fn cache(view: &View<'_>, width: usize) -> Line<'static> {
    let policy = &view.state.session.policy;
    let shared = if policy.flight.enabled {
        "shared flights on"
    } else {
        "shared flights off"
    };
    let mut pieces = if policy.cache.enabled {
        let ttl = units::setting(policy.cache.ttl);
        let which = if policy.cache.store_all {
            "all answers"
        } else {
            "deterministic answers"
        };
        vec![
            Line::from(format!("cache    {which}")),
            Line::from(format!(", TTL {ttl}")),
        ]
    } else {
        vec![Line::from("cache    off")]
    };
    if let Some(mode) = semantic::tag(view) {
        let threshold = semantic::like(policy.semantic.least());
        pieces.push(Line::from(row::piece(
            view.theme,
            Role::Hit,
            format!(", semantic {mode} >= {threshold}"),
        )));
    }
    pieces.push(Line::from(format!(", {shared}")));
    pieces.push(Line::from(format!(
        ", deadline {}",
        units::setting(policy.timeouts.call)
    )));
    row::join(view.theme, pieces, width)
}

/// Failed tries by cause, most frequent first.
fn causes(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let mut causes: Vec<(&String, u64)> = view
        .state
        .retry
        .causes
        .iter()
        .map(|(label, count)| (label, *count))
        .collect();
    causes.sort_by_key(|(label, count)| (std::cmp::Reverse(*count), label.as_str()));
    let most = causes.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let mut pieces = vec![Line::from("tries by cause ")];
    if causes.is_empty() {
        pieces.push(Line::from(row::piece(theme, Role::Muted, "  none failed yet")));
    }
    for (label, count) in causes {
        let label = row::clip(theme, &SafeText::new(label).single_line(), 12);
        pieces.push(histogram_piece(view, &label, count, most, Role::Bad));
    }
    row::join(theme, pieces, width)
}

/// Calls by the number of their tries.
fn tries(view: &View<'_>, width: usize) -> Line<'static> {
    let counts = &view.state.retry.tries_per_call;
    let most = counts.iter().copied().max().unwrap_or(0);
    let mut pieces = vec![Line::from("tries per call ")];
    for (index, count) in counts.iter().enumerate() {
        let label = if index + 1 == counts.len() {
            format!("{}+", index + 1)
        } else {
            (index + 1).to_string()
        };
        let allowed = index < view.state.session.policy.retry.attempts as usize;
        if *count > 0 || allowed {
            pieces.push(histogram_piece(view, &label, *count, most, Role::Gauge));
        }
    }
    row::join(view.theme, pieces, width)
}

/// `  429 ███████ 14`.
fn histogram_piece(view: &View<'_>, label: &str, count: u64, most: u64, role: Role) -> Line<'static> {
    let theme = view.theme;
    // reversed blanks would look like a longer bar: the bar alone has the role, without its modifiers
    let bar = gauge::length(theme, count, most, BAR);
    let gap = if bar.is_empty() { "" } else { " " };
    let role = if role == Role::Bad { Role::Wait } else { role };
    Line::from(vec![
        row::plain(format!("  {label} ")),
        row::piece(theme, role, bar),
        row::plain(format!("{gap}{count}")),
    ])
}

/// What is left of the retry budget.
fn budget(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let Some((tokens, most)) = view.state.retry.budget else {
        return row::join(theme, vec![Line::from("retry budget   none kept")], width);
    };
    let share = if most > 0.0 { tokens / most } else { 0.0 };
    let mut bar = Line::from("retry budget   ");
    bar.spans.extend(gauge::bar(theme, Role::Gauge, share, 10));
    bar.push_span(row::plain(format!(" {tokens:.1} of {most:.1} left")));
    let number = Line::from(format!("retry budget {tokens:.1}/{most:.1}"));
    row::first_fit(theme, [bar, number], width)
}

/// What retries brought and what they cost.
fn cost(view: &View<'_>, width: usize) -> Line<'static> {
    let retry = &view.state.retry;
    let mut pieces = vec![
        Line::from(format!(
            "retries        {} of {} tries",
            retry.retries, retry.attempts
        )),
        Line::from(format!("   recovered {} calls", retry.recovered)),
        Line::from(format!("   wasted {} tries", retry.wasted)),
        Line::from(format!("   backed off {}", units::duration(retry.backed_off))),
    ];
    if retry.ambiguous > 0 {
        pieces.push(Line::from(format!("   maybe billed twice {}", retry.ambiguous)));
    }
    pieces.extend(
        retry
            .stopped
            .iter()
            .map(|(reason, count)| Line::from(format!("   {count} stopped: {}", reason.brief()))),
    );
    row::join(view.theme, pieces, width)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn faults_settings_and_what_retries_cost() {
        assert_eq!(
            fixture::rows(&fixture::burst(), 116, 10, render),
            [
                "inject   ! storm   429 30% (Retry-After 1s)   500 5%   503 5%   seed 7, 17 made",
                "retry    up to 3 tries, full jitter 0.5s..8s, honours Retry-After, budget 20% of calls + 1/s",
                "limit    60 requests +5/s, 20k tokens +1.5k/s, 16 at once, queue 1024, waits up to 1m, for each try",
                "breaker  trip 50% of 10+ in 30s or 5 in a row, cool-down 5s..1m, 2 good to close, for each try",
                "cache    deterministic answers, TTL 24h, shared flights on, deadline 10m",
                "",
                "tries by cause   429 ██████████████████ 14  500 █████████ 7  TMO █████ 4",
                "tries per call   1 ██████████████████ 18  2 ███ 3  3 █ 1  4 ██ 2",
                "retry budget   [████░░░░░░] 4.2 of 10.0 left",
                "retries        20 of 60 tries   recovered 4 calls   wasted 9 tries   backed off 14s   2 stopped: attempts used",
            ]
        );
    }

    #[test]
    fn what_is_off_says_so() {
        let mut scene = fixture::burst();
        scene.state.session.faults_on = false;
        let policy = &mut scene.state.session.policy;
        policy.retry.attempts = 1;
        policy.limit.enabled = false;
        policy.breaker.enabled = false;
        policy.cache.enabled = false;
        scene.state.retry.budget = None;
        let rows = fixture::rows(&scene, 60, 10, render);
        let starts = [
            "inject   off   f switches 'storm' on",
            "retry    never, one try for each call",
            "limit    off",
            "breaker  off",
            "cache    off, shared flights on, deadline 10m",
        ];
        assert_eq!(rows.get(..5), Some(&starts.map(str::to_owned)[..]));
        assert_eq!(rows.get(8).map(String::as_str), Some("retry budget   none kept"));
    }
}
