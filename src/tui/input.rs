//! The row of the prompt: how to ask while another pane has the focus; the typed prompt, in more rows if it is longer,
//! while Chat has it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::action::Action;
use super::keymap::{Context, Keymap};
use super::layout::{CHAT_WIDTH, layout};
use super::pane::{PaneId, chat};
use super::theme::Role;
use super::ui::Ui;
use super::update::one_line;
use super::view::View;
use super::{playback, wrap};

/// Columns of the mark in front of the text.
const MARK: u16 = 2;

/// The rows of the prompt at `width`, at most `max`; one while it is not typed.
pub fn height(ui: &Ui, width: u16, max: u16) -> u16 {
    if !ui.typing() {
        return 1;
    }
    let columns = usize::from(width.saturating_sub(MARK));
    let rows = wrap::rows(ui.draft.text(), columns).len();
    u16::try_from(rows).unwrap_or(u16::MAX).clamp(1, max.max(1))
}

/// Draws the prompt. Returns the position of the terminal cursor while it is typed.
pub fn render(view: &View<'_>, keymap: &Keymap, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let area = area.intersection(buf.area);
    if area.width <= MARK || area.is_empty() {
        return None;
    }
    let ui = view.ui;
    if let Some(playback) = &ui.playback {
        playback::bar::render(view, playback, area, buf);
        return None;
    }
    if !ui.typing() {
        idle(view, keymap, area, buf);
        return None;
    }
    buf.set_string(area.x, area.y, ">", view.theme.style(Role::Input));
    let columns = area.width - MARK;
    let x = area.x + MARK;
    if ui.draft.is_empty() {
        let hint = "Ask something (Enter to send, Esc to leave)";
        let hint = wrap::fit(hint, usize::from(columns), view.theme.glyphs.ellipsis);
        buf.set_string(x, area.y, hint, view.theme.style(Role::Muted));
        return Some(Position::new(x, area.y));
    }
    let text = ui.draft.text();
    let rows = wrap::rows(text, usize::from(columns));
    let (row, column) = ui.draft.cursor_at(usize::from(columns));
    // the row of the cursor is always visible
    let first = (row + 1).saturating_sub(usize::from(area.height));
    for (y, range) in (area.y..area.bottom()).zip(rows.into_iter().skip(first)) {
        let line = text.get(range).unwrap_or_default();
        buf.set_stringn(x, y, line, usize::from(columns), view.theme.style(Role::Text));
    }
    let down = u16::try_from(row - first).unwrap_or_default();
    let right = u16::try_from(column).unwrap_or_default();
    Some(Position::new(x + right.min(columns - 1), area.y + down))
}

/// Names the answer that runs while the chat is closed.
fn hidden_answer(view: &View<'_>, key: &str) -> Option<String> {
    let size = view.ui.size;
    let areas = layout(Rect::new(0, 0, size.width, size.height), view.ui);
    let call = chat::answering(view.state).filter(|_| areas.pane(PaneId::Chat).is_none())?;
    Some(format!(
        "answering {call} {} {key} shows it",
        view.theme.glyphs.ellipsis
    ))
}

/// Draws the row while nothing is typed: the key to the prompt, and at the right the way back or the user.
fn idle(view: &View<'_>, keymap: &Keymap, area: Rect, buf: &mut Buffer) {
    let ui = view.ui;
    let key = |action| keymap.key(Context::Normal, action).unwrap_or_default();
    let (lead, text) = if ui.read_only {
        (
            String::new(),
            "read-only: commands need the session itself".to_owned(),
        )
    } else if let Some(text) = hidden_answer(view, &key(Action::Prompt)) {
        (String::new(), text)
    } else if ui.draft.is_empty() {
        (key(Action::Prompt), "ask a question".to_owned())
    } else {
        (
            key(Action::Prompt),
            format!("go on with: {}", ui.draft.text().replace('\n', " ")),
        )
    };
    let screen = Rect::new(0, 0, ui.size.width, ui.size.height);
    let zoomed = layout(screen, ui).zoomed;
    let right = if zoomed {
        format!("zoomed   Esc or {} back", ui.focus.digit())
    } else if ui.read_only || ui.users.len() < 2 {
        String::new()
    } else if area.width < CHAT_WIDTH {
        format!("as {}", one_line(&ui.asking()))
    } else {
        let next = key(Action::NextUser);
        format!("asking as {}   {next} next user", one_line(&ui.asking()))
    };
    let width = u16::try_from(wrap::width(&right)).unwrap_or(u16::MAX);
    let left = area.width.saturating_sub(width.saturating_add(2));
    let (style, ellipsis) = (view.theme.style(Role::Muted), view.theme.glyphs.ellipsis);
    let (x, _) = buf.set_stringn(
        area.x + 1,
        area.y,
        &lead,
        usize::from(left),
        view.theme.style(Role::Key),
    );
    let x = x + u16::from(!lead.is_empty());
    let room = usize::from((area.x + left).saturating_sub(x));
    buf.set_stringn(x, area.y, wrap::fit(&text, room, ellipsis), room, style);
    if width < area.width {
        buf.set_stringn(area.right() - width - 1, area.y, right, usize::from(width), style);
    }
}
