//! What the semantic cache said to one call, for its story and for the chat: how like the nearest prompt is, what it was and
//! whose, why it was not served, and what people or compared answers say.

use ratatui::text::{Line, Span};

use crate::event::SemanticMiss;
use crate::state::{Call, Meaning, MeaningOutcome};
use crate::tui::theme::{Role, Theme};
use crate::tui::ui::Mode;
use crate::tui::view::View;
use crate::tui::wrap;

use super::semantic::{brief, like, served};
use super::{PaneId, row, units};

/// Columns of the names at the left, as in the rest of the story.
const LABEL: usize = 15;

/// The rows; none where the semantic cache was not asked.
pub fn lines(view: &View<'_>, call: &Call, width: u16) -> Vec<Line<'static>> {
    let Some(meaning) = call.meaning.as_deref() else {
        return Vec::new();
    };
    let theme = view.theme;
    let width = usize::from(width);
    let mut lines = Vec::new();
    let mut fact = |name: &str, role: Role, text: &str, most: usize| {
        lines.extend(named(theme, name, (role, text), width, most));
    };
    let (role, verdict) = verdict(meaning);
    fact("semantic", role, &verdict, 2);
    if let Some(nearest) = &meaning.nearest {
        let source = format!("{}: {}", nearest.source, nearest.prompt.single_line());
        fact("like", Role::Text, &source, 3);
        if let Some(objection) = &nearest.objection {
            fact("differs by", Role::Text, &objection.words(), 2);
        }
    }
    if let Some(detail) = &meaning.detail {
        fact("embedder", Role::Bad, &detail.single_line(), 2);
    }
    let looked = format!("{} prompts in {}", meaning.candidates, brief(meaning.lookup));
    fact("compared with", Role::Text, &looked, 1);
    if let Some((agreement, same)) = meaning.compared {
        let (role, which) = if same {
            (Role::Ok, "the same answer")
        } else {
            (Role::Bad, "another answer")
        };
        let text = format!(
            "{which} as the stored one would have been (agreement {})",
            like(agreement)
        );
        let text = if same {
            text
        } else {
            text.replace(" as ", " than ")
        };
        fact("upstream gave", role, &text, 2);
    }
    match (&meaning.label, meaning.outcome) {
        (Some(label), _) => {
            let (role, word) = if label.good {
                (Role::Ok, format!("{} right", theme.glyphs.ok))
            } else {
                (Role::Bad, format!("{} wrong", theme.glyphs.failed))
            };
            let gone = if label.removed {
                ", the stored answer is forgotten"
            } else {
                ""
            };
            let asks = format!("its prompt asks for {} from now on", like(label.threshold));
            fact("judged", role, &format!("{word}: {asks}{gone}"), 2);
        }
        (None, MeaningOutcome::Served { .. }) => {
            fact(
                "judged",
                Role::Muted,
                "not yet: g it was right, b it was wrong",
                1,
            );
        }
        (None, MeaningOutcome::Shadowed { .. } | MeaningOutcome::Missed { .. }) => {}
    }
    lines
}

/// The sum of a call that was served by its meaning, in one sentence; nothing for any other.
pub fn summary(call: &Call) -> Option<String> {
    let nearest = call.served_by_meaning()?;
    let MeaningOutcome::Served {
        saved, saved_time, ..
    } = call.meaning.as_ref()?.outcome
    else {
        return None;
    };
    Some(format!(
        "Served with the answer to a prompt that means the same ({} like {}): {} tokens and {} of waiting saved, \
         nothing was sent.",
        like(nearest.similarity),
        nearest.source,
        units::amount(saved.total()),
        units::duration(saved_time)
    ))
}

/// The line under an answer in the chat that came from another prompt that means the same: which, how like it is, and how to say whether it fits.
pub(super) fn status(view: &View<'_>, call: &Call) -> (Role, &'static str, Vec<String>) {
    let mut facts = Vec::new();
    if let Some((nearest, saved)) = served(call) {
        let like = like(nearest.similarity);
        let prompt = wrap::fit(&nearest.prompt.single_line(), 40, view.theme.glyphs.ellipsis);
        facts.push(format!("semantic {like} from {} \"{prompt}\"", nearest.source));
        facts.push(format!("saved {saved} tok"));
    }
    let label = call.meaning.as_ref().and_then(|meaning| meaning.label);
    facts.push(match label {
        Some(label) if label.good => "judged right".to_owned(),
        Some(_) => "judged wrong".to_owned(),
        None if !under_cursor(view, call) => String::new(),
        None if view.ui.mode == Mode::Normal => "Enter: right or wrong?".to_owned(),
        None => "Esc, Enter: right or wrong?".to_owned(),
    });
    (Role::Hit, view.theme.glyphs.hit, facts)
}

/// Whether Enter opens this call.
fn under_cursor(view: &View<'_>, call: &Call) -> bool {
    let opens = match view.ui.chat_top {
        Some(anchor) => Some(anchor.call),
        None => view.state.calls.chat.last().copied(),
    };
    view.ui.focus == PaneId::Chat && opens == Some(call.id)
}

/// What it did, and by which numbers.
fn verdict(meaning: &Meaning) -> (Role, String) {
    let numbers = meaning.nearest.as_ref().map_or(String::new(), |nearest| {
        format!(
            ", {} where {} is asked for",
            like(nearest.similarity),
            like(nearest.threshold)
        )
    });
    match meaning.outcome {
        MeaningOutcome::Served { age, .. } => {
            (Role::Hit, format!("hit{numbers}, {} old", units::duration(age)))
        }
        MeaningOutcome::Shadowed { saved } => (
            Role::Wait,
            format!(
                "would have hit{numbers}, saved {} tok (shadow: the upstream was asked)",
                units::amount(saved.total())
            ),
        ),
        MeaningOutcome::Missed { reason } => match reason {
            SemanticMiss::Below | SemanticMiss::Refused => {
                (Role::Text, format!("miss: {}{numbers}", reason.label()))
            }
            SemanticMiss::Empty | SemanticMiss::Ineligible => {
                (Role::Text, format!("miss: {}", reason.label()))
            }
            SemanticMiss::Late | SemanticMiss::Failed => (Role::Bad, format!("miss: {}", reason.label())),
        },
    }
}

/// A name, and its text wrapped beside it to at most `most` lines.
fn named(
    theme: &Theme,
    name: &str,
    (role, text): (Role, &str),
    width: usize,
    most: usize,
) -> Vec<Line<'static>> {
    let rows = row::wrap(theme, text, width.saturating_sub(LABEL), most);
    let line = |(index, text): (usize, String)| {
        let name = if index == 0 { name } else { "" };
        let name: Span<'static> = row::piece(theme, Role::Muted, row::left(name, LABEL));
        Line::from(vec![name, row::piece(theme, role, text)])
    };
    rows.into_iter().enumerate().map(line).collect()
}
