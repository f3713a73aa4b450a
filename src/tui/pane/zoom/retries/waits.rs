//! The last back-offs: the drawn wait, the server's hint, and the wait used.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::state::BackoffWait;
use crate::tui::theme::{Role, Theme};
use crate::tui::view::View;

use crate::text::units;
use crate::tui::pane::row;

/// Columns of the cause.
const CAUSE: usize = 5;
/// Columns of the wait.
const NUMBER: usize = units::DURATION_WIDTH + 1;
/// The drawn wait, and the hint.
const MARKS: [&str; 2] = ["o", "|"];

/// Draws a row per back-off, newest first.
pub(super) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = view.theme;
    let width = usize::from(area.width);
    let cells = width.saturating_sub(CAUSE + NUMBER);
    let rows = usize::from(area.height - 1);
    let waits = &view.state.retry.waits;
    let end = scale(waits.iter());
    row::draw(&head(view, end, width), 0, area, buf);
    for (index, wait) in waits.iter().rev().take(rows).enumerate() {
        let line = Line::from(vec![
            row::plain(row::left(wait.class.brief(), CAUSE)),
            row::piece(theme, Role::Held, bar(theme, wait, end, cells)),
            row::plain(row::right(&units::duration(wait.used), NUMBER)),
        ]);
        row::draw(&line, index + 1, area, buf);
    }
}

/// The longest of all recorded waits, visible or not, rounded up.
fn scale<'a>(waits: impl Iterator<Item = &'a BackoffWait>) -> Duration {
    let longest = waits
        .map(|wait| {
            let hint = wait.hint.map_or(Duration::ZERO, |hint| hint.wait);
            wait.used.max(wait.drawn).max(hint)
        })
        .max()
        .unwrap_or_default();
    let seconds = units::nice(longest.as_secs_f64().clamp(0.1, 1e9));
    Duration::from_secs_f64(seconds)
}

fn head(view: &View<'_>, end: Duration, width: usize) -> Line<'static> {
    let theme = view.theme;
    let used = theme.glyphs.timeline_wait;
    let [drawn, hint] = MARKS;
    if view.state.retry.waits.is_empty() {
        return row::first_fit(theme, [row::muted(theme, "back-offs: none yet")], width);
    }
    let scale = row::muted(theme, format!("0..{}", units::setting(end)));
    let room = width.saturating_sub(scale.width() + 1);
    let wordings = [
        format!("back-offs {used} waited {drawn} drawn {hint} server hint"),
        format!("{used} back-off {drawn} drawn {hint} hint"),
        "back-offs".into(),
    ];
    let wordings = wordings.map(|text| row::muted(theme, text));
    row::apart(row::first_fit(theme, wordings, room), scale, 1, width)
}

/// The wait as a bar, with marks at the drawn wait and the hint.
fn bar(theme: &Theme, wait: &BackoffWait, end: Duration, cells: usize) -> String {
    let column = |span: Duration| {
        let share = span.as_secs_f64() / end.as_secs_f64().max(1e-9);
        ((share * cells as f64).round() as usize).min(cells)
    };
    let used = column(wait.used);
    let mut bar: Vec<&str> = (0..cells)
        .map(|cell| {
            if cell < used {
                theme.glyphs.timeline_wait
            } else {
                " "
            }
        })
        .collect();
    let mut put = |span: Duration, mark: &'static str| {
        if let Some(cell) = bar.get_mut(column(span).saturating_sub(1)) {
            *cell = mark;
        }
    };
    put(wait.drawn, MARKS[0]);
    if let Some(hint) = wait.hint {
        put(hint.wait, MARKS[1]);
    }
    bar.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FailureClass, Hint, HintSource};
    use crate::time::Timestamp;

    #[test]
    fn a_bar_shows_the_drawn_wait_the_hint_and_the_wait_used() {
        let mut wait = BackoffWait {
            at: Timestamp::ZERO,
            class: FailureClass::RateLimited,
            next: 2,
            drawn: Duration::from_millis(300),
            hint: Some(Hint {
                wait: Duration::from_secs(1),
                source: HintSource::RetryAfter,
            }),
            used: Duration::from_millis(1100),
        };
        let theme = Theme::default();
        let end = scale([wait].iter());
        assert_eq!(end, Duration::from_secs(2));
        assert_eq!(bar(&theme, &wait, end, 20), "──o──────|─         ");
        wait.hint = None;
        wait.used = Duration::MAX;
        assert_eq!(bar(&theme, &wait, end, 4), "o───");
        assert_eq!(bar(&theme, &wait, end, 0), "");
        assert!(scale([wait].iter()) > end);
    }
}
