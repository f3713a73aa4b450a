//! The chat's status line under an answer of the semantic cache: similarity, source, and how to judge it. The
//! story of the call has the details.

use crate::state::Call;
use crate::tui::theme::Role;
use crate::tui::view::View;
use crate::tui::wrap;

use super::PaneId;
use super::semantic::{served, similarity};

/// Role, glyph and facts of the line.
pub(super) fn status(view: &View<'_>, call: &Call) -> (Role, &'static str, Vec<String>) {
    let mut facts = Vec::new();
    if let Some((nearest, saved)) = served(call) {
        let similarity = similarity(nearest.similarity);
        let prompt = wrap::fit(&nearest.prompt.single_line(), 40, view.theme.glyphs.ellipsis);
        facts.push(format!(
            "semantic {similarity} from {} \"{prompt}\"",
            nearest.source
        ));
        facts.push(format!("saved {saved} tok"));
    }
    let label = call.semantic.as_ref().and_then(|meaning| meaning.label);
    facts.push(match label {
        Some(label) if label.good => "judged right".to_owned(),
        Some(_) => "judged wrong".to_owned(),
        None if !under_cursor(view, call) => String::new(),
        None => "^O judge it".to_owned(),
    });
    (Role::Saved, view.theme.glyphs.hit, facts)
}

/// Returns true if this is the call whose story opens.
fn under_cursor(view: &View<'_>, call: &Call) -> bool {
    let opens = match view.ui.chat_top {
        Some(anchor) => Some(anchor.call),
        None => view.state.calls.chat.last().copied(),
    };
    view.ui.focus == PaneId::Chat && opens == Some(call.id)
}
