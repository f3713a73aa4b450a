//! The semantic cache: what it does, how often it helped, how often it was wrong and how sure that is, and the
//! latest near matches with both prompts.
//!
//! ```text
//! semantic  on   serves 0.80 and up   guards on   embedder built-in   14 prompts
//! hits      34% (17 of 50)   saved 365 tokens   12s of waiting
//! judged    2 of 41 wrong: 4.9% (95% sure: 1.3-16.1%)
//!   like   call  what came of it   asked / stored
//!   0.94   #27  hit               how do I boil an egg?
//!   0.80   #12  judged right      how does one boil an egg?
//! ```

use ratatui::text::Line;

use crate::event::NearestPrompt;
use crate::settings::SemanticMode;
use crate::state::{Call, Interval, MeaningOutcome, SemanticView};
use crate::text::SafeText;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use super::{near_matches, row, units};

/// Columns of the names at the left.
const LABEL: usize = 10;

/// The whole of it in lines of at most `width` columns, most important first.
pub fn lines(view: &View<'_>, width: u16) -> Vec<Line<'static>> {
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

/// `on`, `shadow`; nothing where it is off: what the title and the guards say of it.
pub(super) fn tag(view: &View<'_>) -> Option<&'static str> {
    match view.state.semantic.mode {
        SemanticMode::Off => None,
        SemanticMode::On => Some("on"),
        SemanticMode::Shadow => Some("shadow"),
    }
}

/// `semantic 2`, `shadow 2`, for the row of the cache among the guards; nothing where it is off.
pub(super) fn count(view: &View<'_>) -> Option<String> {
    let semantic = &view.state.semantic;
    match semantic.mode {
        SemanticMode::Off => None,
        SemanticMode::On => Some(format!("semantic {}", units::amount(semantic.live.hits))),
        SemanticMode::Shadow => Some(format!("shadow {}", units::amount(semantic.shadow.hits))),
    }
}

/// The stored prompt whose answer a call got by its meaning, and the tokens that saved.
pub(super) fn served(call: &Call) -> Option<(&NearestPrompt, u64)> {
    let nearest = call.served_by_meaning()?;
    match call.meaning.as_ref()?.outcome {
        MeaningOutcome::Served { saved, .. } => Some((nearest, saved.total())),
        MeaningOutcome::Shadowed { .. } | MeaningOutcome::Missed { .. } => None,
    }
}

/// A cosine, with two digits and always four columns.
pub(super) fn like(similarity: f64) -> String {
    let shown = if similarity.is_finite() {
        similarity.clamp(-1.0, 1.0)
    } else {
        0.0
    };
    // a prompt that is only nearly the same must not look the same
    let shown = if shown < 1.0 { shown.min(0.994) } else { shown };
    format!("{shown:.2}")
}

/// `4.9% (95% sure: 1.3-16.1%)`, and shorter.
fn interval(of: Interval) -> [String; 2] {
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let (share, low, high) = (percent(of.share), percent(of.low), percent(of.high));
    [
        format!("{share}% (95% sure: {low}-{high}%)"),
        format!("{share}% ({low}-{high}%)"),
    ]
}

/// A name at the left, and pieces as far as they fit.
fn named(theme: &Theme, name: &str, pieces: impl IntoIterator<Item = String>, width: usize) -> Line<'static> {
    let mut pieces = pieces.into_iter().map(row::plain);
    let first = vec![
        row::piece(theme, Role::Muted, row::left(name, LABEL)),
        pieces.next().unwrap_or_default(),
    ];
    let mut line = vec![Line::from(first)];
    line.extend(pieces.map(Line::from));
    row::join(theme, line, width)
}

/// What it does, or how to switch it on.
fn mode(view: &View<'_>, width: usize) -> Line<'static> {
    let theme = view.theme;
    let name = || row::piece(theme, Role::Muted, row::left("semantic", LABEL));
    let settings = &view.state.session.policy.semantic;
    let mode = view.state.semantic.mode;
    let (word, role, what) = match mode {
        SemanticMode::Off => {
            let wordings = [
                " serves a stored answer where a prompt means the same; s again only watches",
                " serves stored answers to prompts that mean the same",
                " matches prompts by meaning",
                ": on",
            ];
            let key = || row::piece(theme, Role::Key, "s");
            let wordings =
                wordings.map(|text| Line::from(vec![name(), row::plain("off   "), key(), row::plain(text)]));
            return row::first_fit(theme, wordings, width);
        }
        SemanticMode::On => ("on", Role::Hit, "serves"),
        SemanticMode::Shadow => ("shadow", Role::Wait, "only watches"),
    };
    let embedder = match &settings.embedder {
        None => "built-in".to_owned(),
        Some(url) => row::clip(theme, &SafeText::new(&host(url)).single_line(), 40),
    };
    let guards = if settings.guards { "on" } else { "OFF" };
    let mut pieces = vec![
        Line::from(vec![name(), row::piece(theme, role, word)]),
        Line::from(format!("   {what} {} and up", like(settings.least()))),
        Line::from(format!("   guards {guards}")),
        Line::from(format!("   embedder {embedder}")),
    ];
    let prompts = view.state.semantic.entries;
    let prompts = if prompts == 1 {
        "1 prompt".to_owned()
    } else {
        format!("{} prompts", units::amount(prompts))
    };
    pieces.push(Line::from(format!("   {prompts}")));
    let next = match mode {
        SemanticMode::On => "   s: only watch",
        SemanticMode::Off | SemanticMode::Shadow => "   s: off",
    };
    pieces.push(Line::from(row::piece(theme, Role::Muted, next)));
    row::join(theme, pieces, width)
}

/// A URL without what only programs need: scheme and path.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // a name and a password have no business on a screen
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    rest.rsplit('@').next().unwrap_or_default().to_owned()
}

/// What it served.
fn live(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    if semantic.live.asked == 0 {
        return (semantic.mode == SemanticMode::On)
            .then(|| named(theme, "hits", ["no prompt was looked up yet".to_owned()], width));
    }
    let pieces = [
        units::sample(semantic.live.hits, semantic.live.asked),
        format!("   saved {} tokens", units::amount(semantic.saved_tokens)),
        format!("   {} of waiting", units::duration(semantic.saved_time)),
    ];
    Some(named(theme, "hits", pieces, width))
}

/// What it would have served.
fn shadow(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    if semantic.shadow.asked == 0 {
        let none = "no prompt was looked up yet; every call goes to the upstream";
        return (semantic.mode == SemanticMode::Shadow)
            .then(|| named(theme, "shadow", [none.to_owned()], width));
    }
    let pieces = [
        format!(
            "would have hit {}",
            units::sample(semantic.shadow.hits, semantic.shadow.asked)
        ),
        format!(", saved {} tokens", units::amount(semantic.shadow_tokens)),
    ];
    Some(named(theme, "shadow", pieces, width))
}

/// What people said of served answers.
fn judged(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let Some(of) = semantic.false_by_label() else {
        let wordings = [
            "none yet: Enter on a semantic hit, then g it was right, b it was wrong",
            "none yet: Enter on a hit, then g right, b wrong",
        ];
        let wordings = wordings.map(|text| named(theme, "judged", [text.to_owned()], usize::MAX));
        return (semantic.live.hits > 0).then(|| row::first_fit(theme, wordings, width));
    };
    let count = semantic.good + semantic.bad;
    let hits = if count == 1 { "hit" } else { "hits" };
    let wordings = interval(of).map(|rate| {
        named(
            theme,
            "judged",
            [format!("of {count} {hits} {} wrong: {rate}", semantic.bad)],
            usize::MAX,
        )
    });
    Some(row::first_fit(theme, wordings, width))
}

/// What comparing answers said in shadow mode.
fn compared(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let of = semantic.false_by_comparing()?;
    let count = semantic.same + semantic.differed;
    let answers = if count == 1 { "answer" } else { "answers" };
    let wordings = interval(of).map(|rate| {
        let text = format!(
            "of {count} compared {answers} {} differed: {rate}",
            semantic.differed
        );
        named(theme, "compared", [text], usize::MAX)
    });
    Some(row::first_fit(theme, wordings, width))
}

/// What is wrong with the embedder, as long as it is.
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
        "{}{detail} ({} in a row, the last {} ago)",
        trouble.reason.brief(),
        semantic.trouble_in_a_row,
        units::duration(view.now.since(trouble.at))
    );
    let room = width.saturating_sub(LABEL);
    Some(Line::from(vec![
        row::piece(view.theme, Role::Muted, row::left("trouble", LABEL)),
        row::piece(view.theme, Role::Bad, row::clip(view.theme, &text, room)),
    ]))
}

/// Near matches that guards refused, most frequent first.
fn refused(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let each = semantic
        .refusals
        .iter()
        .map(|(guard, count)| (guard.brief(), *count));
    by_count(theme, "refused", each, width)
}

/// Why nothing was served, most frequent first.
fn missed(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let each = semantic
        .misses
        .iter()
        .map(|(reason, count)| (reason.brief(), *count));
    by_count(theme, "missed", each, width)
}

fn by_count(
    theme: &Theme,
    name: &str,
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
    (sum > 0).then(|| named(theme, name, pieces, width))
}

/// How long embedding and search take.
fn lookup(theme: &Theme, semantic: &SemanticView, width: usize) -> Option<Line<'static>> {
    let at = |quantile| semantic.lookup.quantile(quantile).map(units::computation);
    let pieces = [
        format!("p50 {}", at(0.5)?),
        format!("   p95 {}", at(0.95)?),
        format!("   longest {}", semantic.lookup.max().map(units::computation)?),
    ];
    Some(named(theme, "lookup", pieces, width))
}
