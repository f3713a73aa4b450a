//! The box of the tour at the bottom of the screen, and the panes around it.

use std::cmp::Ordering;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Clear, Widget as _};

use super::{Tour, names};
use crate::tui::layout::{Areas, Tier};
use crate::tui::pane;
use crate::tui::theme::Role;
use crate::tui::ui::Ui;
use crate::tui::view::View;
use crate::tui::wrap;

/// Columns of the frame and the blanks beside the text.
const MARGIN: u16 = 4;
/// The width from which keys have long labels.
const WIDE: u16 = 110;
/// Rows of the frame and of the keys.
const FRAME: u16 = 3;
/// Rows that the panes keep at least.
const PANES: u16 = 10;

/// The rows of the box: as many as the longest text of the step needs, so that it does not change its size.
pub(in crate::tui) fn rows(ui: &Ui, width: u16, height: u16) -> u16 {
    let Some(step) = ui
        .tour
        .as_ref()
        .filter(|_| !ui.zoomed)
        .and_then(|tour| tour.step())
    else {
        return 0;
    };
    let columns = usize::from(width.saturating_sub(MARGIN));
    let lines = step
        .texts
        .iter()
        .map(|text| wrap::rows(&text.text, columns).len());
    let lines = u16::try_from(lines.max().unwrap_or(1)).unwrap_or(u16::MAX);
    let gap = u16::from(height >= 30);
    (lines.saturating_add(FRAME + gap)).min(height.saturating_sub(PANES))
}

/// Draws the box.
pub(in crate::tui) fn render(view: &View<'_>, tour: &Tour, area: Rect, buf: &mut Buffer) {
    let Some(step) = tour.step().filter(|_| area.height > FRAME) else {
        return;
    };
    let theme = view.theme;
    Clear.render(area, buf);
    let count = super::SCRIPT.steps.len();
    let title = format!(" Tour {} of {count}: {} ", tour.step + 1, step.name);
    let dots: String = (0..count)
        .map(|index| match index.cmp(&tour.step) {
            Ordering::Less => theme.glyphs.step_done,
            Ordering::Equal => theme.glyphs.step_here,
            Ordering::Greater => theme.glyphs.step_ahead,
        })
        .collect();
    let style = theme.style(Role::Focus);
    pane::block(theme, style)
        .title_top(Line::styled(title, style))
        .title_top(Line::from(format!(" {dots} ")).right_aligned())
        .render(area, buf);
    let width = area.width.saturating_sub(MARGIN);
    let text = tour.text(view.state, view.now);
    let (x, last) = (area.x + 2, area.bottom().saturating_sub(2));
    let lines = wrap::rows(&text, usize::from(width));
    for (line, y) in lines.into_iter().zip(area.y + 1..last) {
        let line = text.get(line).unwrap_or_default();
        buf.set_stringn(x, y, line, usize::from(width), theme.style(Role::Text));
    }
    let action = step.texts.get(tour.text).and_then(|text| text.label.as_deref());
    let mut at = x;
    let mut put = |key: &str, label: &str| {
        let needed = (key.chars().count() + label.chars().count() + 1) as u16;
        if at + needed > area.right().saturating_sub(2) {
            return;
        }
        let (next, _) = buf.set_stringn(at, last, key, usize::from(width), theme.style(Role::Strong));
        let (next, _) = buf.set_stringn(next + 1, last, label, usize::from(width), theme.style(Role::Text));
        at = next + 3;
    };
    if let Some(label) = action {
        put("Space", label);
    }
    let is_last = tour.step + 1 == count;
    let keys = match (area.width >= WIDE, is_last) {
        (true, false) => ["next step", "repeat this step", "leave the tour"],
        (true, true) => ["end the tour", "repeat this step", "leave the tour"],
        (false, false) => ["next", "repeat", "leave"],
        (false, true) => ["end", "repeat", "leave"],
    };
    // at the end of a step Space goes on as n does
    let next = if tour.is_done() { "Space" } else { "n" };
    for (key, label) in [next, "r", "Esc"].into_iter().zip(keys) {
        put(key, label);
    }
}

/// Dims the panes that are not part of the step, and marks its guards that are off.
pub(in crate::tui) fn dim_others(view: &View<'_>, tour: &Tour, areas: &Areas, buf: &mut Buffer) {
    let Some(step) = tour.step().filter(|_| areas.tier != Tier::Tiny && !areas.zoomed) else {
        return;
    };
    for (pane, area) in &areas.panes {
        if tour.is_off(*pane) {
            off(view, areas.inner(*pane), buf);
        }
        if !names(&step.panes, *pane) {
            let style = Style::new()
                .add_modifier(Modifier::DIM)
                .remove_modifier(Modifier::BOLD | Modifier::REVERSED);
            buf.set_style(*area, style);
        }
    }
}

/// `OFF in this step`, in place of the card.
fn off(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    Clear.render(area, buf);
    for (text, y) in ["OFF", "in this step"].into_iter().zip(area.y..area.bottom()) {
        let style = view.theme.style(Role::Muted);
        buf.set_stringn(area.x, y, text, usize::from(area.width), style);
    }
}
