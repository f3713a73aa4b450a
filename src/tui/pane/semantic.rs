//! The semantic cache: mode, hit rate, false hits with their confidence interval, and the latest near matches with
//! both prompts.
//!
//! ```text
//! semantic  on   similarity >= 0.80   guards on   embedder built-in   14 prompts
//! hits      34% 17/50   saved 365 tokens and 12s
//! judged    2 of 41 hits wrong: 4.9% (95% CI 1.3-16.1%)
//!  score   call  outcome           prompt, and below it the stored prompt
//!   0.94    #27  ◇ hit             how do I boil an egg?
//!   0.80 of #12  ✓ judged right    how does one boil an egg?
//! ```

use ratatui::text::Line;

use crate::event::NearestPrompt;
use crate::settings::SemanticMode;
use crate::state::{Call, Interval, SemanticOutcome, SemanticView};
use crate::text::SafeText;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{near_matches, row, units};

/// Columns of the labels at the left.
const LABEL: usize = 10;

/// The view in lines of at most `width` columns, most important first.
pub(crate) fn lines(view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let theme = view.theme;
    let width = usize::from(width);
    let semantic = &view.state.semantic;
    let mut lines = vec![mode(view, width)];
    let mut more = |line: Option<Line<'static>>| lines.extend(line);
    more(live(theme, semantic, width));
    more(shadow(theme, semantic, width));
    more(judged(theme, semantic, width));
    more(compared(theme, semantic, width));
    more(trouble(view, width));
    more(refused(theme, semantic, width));
    more(missed(theme, semantic, width));
    more(lookup(theme, semantic, width));
    if !semantic.recent.is_empty() {
        lines.push(near_matches::head(theme, width));
        for look in semantic.recent.iter().rev() {
            lines.extend(near_matches::rows(theme, look, width));
        }
    }
    lines
}

/// The stored prompt whose answer the semantic cache served to a call, and the tokens that saved.
pub(super) fn served(call: &Call) -> Option<(&NearestPrompt, u64)> {
    let nearest = call.semantic_source()?;
    match call.semantic.as_ref()?.outcome {
        SemanticOutcome::Served { saved, .. } => Some((nearest, saved.total())),
        SemanticOutcome::Shadowed { .. } | SemanticOutcome::Missed { .. } => None,
    }
}

/// A cosine similarity with two decimals, always four columns.
pub(super) fn similarity(similarity: f64) -> String {
    let shown = if similarity.is_finite() {
        similarity.clamp(-1.0, 1.0)
    } else {
        0.0
    };
    // only an equal prompt is shown as 1.00
    let shown = if shown < 1.0 { shown.min(0.994) } else { shown };
    format!("{shown:.2}")
}

/// `4.9% (95% CI 1.3-16.1%)`, and shorter.
fn interval(of: Interval) -> [String; 2] {
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let (share, low, high) = (percent(of.share), percent(of.low), percent(of.high));
    [
        format!("{share}% (95% CI {low}-{high}%)"),
        format!("{share}% ({low}-{high}%)"),
    ]
}

/// A label, and pieces as far as they fit.
fn labelled(
    theme: &Theme,
    label: &str,
    pieces: impl IntoIterator<Item = String>,
    width: usize,
) -> Line<'static> {
    let mut pieces = pieces.into_iter().map(row::plain);
    let first = Line::from(vec![
        row::piece(theme, Role::Muted, row::left(label, LABEL)),
        pieces.next().unwrap_or_default(),
    ]);
    row::join(theme, std::iter::once(first).chain(pieces.map(Line::from)), width)
}

/// The mode and its settings, or the key that switches it on.
fn mode(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let label = || row::piece(theme, Role::Muted, row::left("semantic", LABEL));
    let settings = &view.state.session.policy.semantic;
    let (word, role, next) = match view.state.semantic.mode {
        SemanticMode::Off => {
            let wordings = [
                " serve stored answers to similar prompts; twice: shadow mode",
                " serve stored answers to similar prompts",
                " match similar prompts",
                " on",
            ];
            let key = || row::piece(theme, Role::Key, "s");
            let wordings =
                wordings.map(|text| Line::from(vec![label(), row::plain("off   "), key(), row::plain(text)]));
            return row::first_fit(theme, wordings, width);
        }
        SemanticMode::On => ("on", Role::Saved, "   s shadow"),
        SemanticMode::Shadow => ("shadow", Role::Held, "   s off"),
    };
    let embedder = match &settings.embedder {
        None => "built-in".to_owned(),
        Some(url) => row::clip(theme, &SafeText::new(&host(url)).single_line(), 40),
    };
    let guards = if settings.guards { "on" } else { "OFF" };
    let prompts = view.state.semantic.entries;
    let pieces = [
        Line::from(vec![label(), row::piece(theme, role, word)]),
        Line::from(format!(
            "   similarity >= {}",
            similarity(settings.effective_threshold())
        )),
        Line::from(format!("   guards {guards}")),
        Line::from(format!("   embedder {embedder}")),
        Line::from(format!("   {}", units::count(prompts, "prompt"))),
        row::muted(theme, next),
    ];
    row::join(theme, pieces, width)
}

/// Host and port of a URL.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // without user name and password
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    rest.rsplit('@').next().unwrap_or_default().to_owned()
}

/// The hits.
fn live(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    if semantic.live.asked == 0 {
        return (semantic.mode == SemanticMode::On)
            .then(|| labelled(theme, "hits", ["no lookups yet".to_owned()], width));
    }
    let pieces = [
        units::sample(semantic.live.hits, semantic.live.asked),
        format!("   saved {} tokens", units::amount(semantic.saved_tokens)),
        format!(" and {}", units::duration(semantic.saved_time)),
    ];
    Some(labelled(theme, "hits", pieces, width))
}

/// The hits that shadow mode would have served.
fn shadow(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    if semantic.shadow.asked == 0 {
        let none = "no lookups yet; every call is sent";
        return (semantic.mode == SemanticMode::Shadow)
            .then(|| labelled(theme, "shadow", [none.to_owned()], width));
    }
    let pieces = [
        format!(
            "would have hit {}",
            units::sample(semantic.shadow.hits, semantic.shadow.asked)
        ),
        format!(", saved {} tokens", units::amount(semantic.shadow_tokens)),
    ];
    Some(labelled(theme, "shadow", pieces, width))
}

/// The users' judgements of served answers.
fn judged(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let Some(of) = semantic.false_by_label() else {
        let wordings = [
            "none yet: open a semantic hit, then g marks it right, b wrong",
            "none yet: open a hit, g right, b wrong",
        ];
        let wordings = wordings.map(|text| labelled(theme, "judged", [text.to_owned()], usize::MAX));
        return (semantic.live.hits > 0).then(|| row::first_fit(theme, wordings, width));
    };
    let count = semantic.good + semantic.bad;
    let wordings = interval(of).map(|rate| {
        let text = format!("{} of {} wrong: {rate}", semantic.bad, units::count(count, "hit"));
        labelled(theme, "judged", [text], usize::MAX)
    });
    Some(row::first_fit(theme, wordings, width))
}

/// The answers that shadow mode compared.
fn compared(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let of = semantic.false_by_comparing()?;
    let count = semantic.same + semantic.differed;
    let wordings = interval(of).map(|rate| {
        let text = format!(
            "{} of {} differed: {rate}",
            semantic.differed,
            units::count(count, "answer")
        );
        labelled(theme, "compared", [text], usize::MAX)
    });
    Some(row::first_fit(theme, wordings, width))
}

/// The present failure of the embedder.
fn trouble(view: &View<'_>, width: usize) -> Option<Line<'static>> {
    let semantic = &view.state.semantic;
    let trouble = semantic
        .trouble
        .as_ref()
        .filter(|_| semantic.trouble_in_a_row > 0)?;
    let detail = trouble
        .detail
        .as_ref()
        .map_or(String::new(), |detail| format!(": {}", detail.single_line()));
    let text = format!(
        "{}{detail} ({} in a row, last {} ago)",
        trouble.reason.brief(),
        semantic.trouble_in_a_row,
        units::duration(view.now.since(trouble.at))
    );
    let room = width.saturating_sub(LABEL);
    Some(Line::from(vec![
        row::piece(view.theme, Role::Muted, row::left("failing", LABEL)),
        row::piece(view.theme, Role::Broken, row::clip(view.theme, &text, room)),
    ]))
}

/// Near matches that guards rejected, by guard, most frequent first.
fn refused(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let each = semantic
        .refusals
        .iter()
        .map(|(guard, count)| (guard.brief(), *count));
    by_count(theme, "rejected", each, width)
}

/// Misses by reason, most frequent first.
fn missed(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let each = semantic
        .misses
        .iter()
        .map(|(reason, count)| (reason.brief(), *count));
    by_count(theme, "missed", each, width)
}

fn by_count(
    theme: &Theme,
    label: &str,
    each: impl Iterator<Item = (&'static str, u64)>,
    width: usize,
) -> Option<Line<'static>> {
    let mut each: Vec<_> = each.collect();
    each.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let sum: u64 = each.iter().map(|(_, count)| count).sum();
    let words = each
        .into_iter()
        .map(|(word, count)| format!("   {word} {}", units::amount(count)));
    let pieces = std::iter::once(units::amount(sum)).chain(words);
    (sum > 0).then(|| labelled(theme, label, pieces, width))
}

/// The time of embedding and search.
fn lookup(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let at = |quantile| semantic.lookup.quantile(quantile).map(units::computation);
    let pieces = [
        format!("p50 {}", at(0.5)?),
        format!("   p95 {}", at(0.95)?),
        format!("   longest {}", semantic.lookup.max().map(units::computation)?),
    ];
    Some(labelled(theme, "lookup", pieces, width))
}
