//! The fault chooser: a bundled profile, and the rate of each kind of fault.
//!
//! The overlay keeps its own profile, so that keys pressed faster than the engine responds add up. Each change is
//! sent at once.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::settings::{FaultKind, FaultProfile};
use crate::tui::pane::{gauge, row};
use crate::tui::theme::Role;
use crate::tui::view::View;

/// The change of a rate per key press.
const STEP: f64 = 0.05;

/// Rows of the description of a profile.
const ABOUT_ROWS: usize = 2;

/// Columns of the names at the left, including a blank.
const LABEL_WIDTH: usize = 13;

/// The state of the fault chooser.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// The edited profile.
    pub profile: FaultProfile,
    /// The row under the cursor: 0 is the profile, then the kinds.
    pub row: usize,
}

impl Faults {
    /// Creates a chooser that starts from the current profile.
    pub fn new(profile: FaultProfile) -> Self {
        Self { profile, row: 0 }
    }

    /// Moves the cursor.
    pub fn step(&mut self, by: i64) {
        self.row = super::stepped(self.row, by, FaultKind::ALL.len());
    }

    /// Changes the row under the cursor; returns the profile if it changed.
    pub fn change(&mut self, more: bool, bundled: &[FaultProfile]) -> Option<FaultProfile> {
        let before = self.profile.clone();
        match self.row.checked_sub(1).and_then(|row| FaultKind::ALL.get(row)) {
            None => self.choose(more, bundled),
            Some(kind) => {
                let rate = self.profile.rate(*kind);
                // a request gets at most one fault, so the rates must not exceed 1 in total
                let room = (1.0 - (self.profile.total() - rate)).max(0.0);
                let wanted = if more { rate + STEP } else { rate - STEP };
                self.profile.set_rate(*kind, rounded(wanted).min(room));
            }
        }
        (self.profile != before).then(|| self.profile.clone())
    }

    /// Selects the next or previous bundled profile.
    fn choose(&mut self, more: bool, bundled: &[FaultProfile]) {
        let here = bundled
            .iter()
            .position(|profile| profile.name == self.profile.name);
        let next = match (here, more) {
            (None, _) => 0,
            (Some(at), true) => (at + 1) % bundled.len().max(1),
            (Some(at), false) => (at + bundled.len() - 1) % bundled.len().max(1),
        };
        if let Some(profile) = bundled.get(next) {
            self.profile = profile.clone();
        }
    }
}

/// Rounds to a percent, so that steps reach exactly 0 and 1.
fn rounded(rate: f64) -> f64 {
    (rate.clamp(0.0, 1.0) * 100.0).round() / 100.0
}

/// The profile with its total changed by `points` percent and its proportions kept; a rate of 429 if all were
/// zero.
pub fn scaled(profile: &FaultProfile, points: i32) -> FaultProfile {
    let mut scaled = profile.clone();
    let target = rounded(profile.total() + f64::from(points) / 100.0);
    if profile.total() <= 0.0 {
        scaled.set_rate(FaultKind::RateLimited, target);
    } else if target <= 0.0 {
        // all zero would lose the proportions: 0.01 % keeps them
        scaled.scale_to(0.0001);
    } else {
        scaled.scale_to(target);
    }
    scaled
}

/// Draws the chooser.
pub fn render(view: &View<'_>, faults: &Faults, area: Rect, buf: &mut Buffer) {
    let state = if view.state.session.faults_on { "ON" } else { "off" };
    let title = format!("Faults are {state}");
    let note = "Left Right change   Space on/off   Esc close";
    let inner = super::frame(view, &title, note, area, buf);
    let width = usize::from(inner.width);
    let mut rows = vec![profile_row(view, faults)];
    rows.extend(about_rows(view, faults, width));
    for (index, kind) in FaultKind::ALL.into_iter().enumerate() {
        rows.push(kind_row(view, faults, kind, faults.row == index + 1));
    }
    let total = format!(
        "{:>12} {:>4.0}%  of all attempts",
        "total",
        faults.profile.total() * 100.0
    );
    rows.push(Line::from(Span::styled(total, view.theme.style(Role::Strong))));
    // the row of the cursor stays visible; the description is between the profile and the kinds
    let at = if faults.row == 0 {
        0
    } else {
        faults.row + ABOUT_ROWS
    };
    let first = super::first_row(at, usize::from(inner.height));
    for (y, row) in (inner.y..inner.bottom()).zip(rows.into_iter().skip(first)) {
        buf.set_line(inner.x, y, &row, inner.width);
    }
}

fn profile_row(view: &View<'_>, faults: &Faults) -> Line<'static> {
    let selected = faults.row == 0;
    let name = faults.profile.name.replace(char::is_control, " ");
    let style = view
        .theme
        .style(if selected { Role::Selection } else { Role::Strong });
    Line::from(vec![
        Span::styled(format!("{:>12} ", "profile"), view.theme.style(Role::Muted)),
        Span::styled(format!("< {name} >"), style),
    ])
}

/// The description of the profile, in a fixed number of rows so that the kinds below do not move.
fn about_rows(view: &View<'_>, faults: &Faults, width: usize) -> Vec<Line<'static>> {
    let about = faults.profile.about.replace(char::is_control, " ");
    let room = width.saturating_sub(LABEL_WIDTH);
    let mut texts = row::wrap(view.theme, &about, room, ABOUT_ROWS);
    texts.resize(ABOUT_ROWS, String::new());
    texts
        .into_iter()
        .map(|text| {
            let text = format!("{:LABEL_WIDTH$}{text}", "");
            Line::from(Span::styled(text, view.theme.style(Role::Muted)))
        })
        .collect()
}

fn kind_row(view: &View<'_>, faults: &Faults, kind: FaultKind, selected: bool) -> Line<'static> {
    let (rate, glyphs) = (faults.profile.rate(kind), view.theme.glyphs);
    let full = gauge::filled_cells(rate, 10);
    let bar = format!(
        "{}{}",
        glyphs.bar_full.repeat(full),
        glyphs.bar_empty.repeat(10 - full)
    );
    let number = format!("{:>12} {:>4.0}%", kind.label(), rate * 100.0);
    let style = view
        .theme
        .style(if selected { Role::Selection } else { Role::Text });
    let gauge = view
        .theme
        .style(if rate > 0.0 { Role::Yours } else { Role::Muted });
    Line::from(vec![
        Span::styled(number, style),
        Span::raw(" "),
        Span::styled(bar, gauge),
        Span::styled(format!("  {}", kind.about()), view.theme.style(Role::Muted)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_step_by_five_points_and_never_exceed_one_in_total() {
        let mut faults = Faults::new(FaultProfile {
            server_error: 0.93,
            ..FaultProfile::default()
        });
        faults.step(1);
        let first = faults.change(true, &[]).unwrap();
        assert!((first.rate_limited - 0.05).abs() < 1e-9);
        let second = faults.change(true, &[]).unwrap();
        assert!((second.total() - 1.0).abs() < 1e-9);
        assert_eq!(second.validate(), Ok(()));
        assert_eq!(faults.change(true, &[]), None);
    }

    #[test]
    fn profiles_wrap_around() {
        let named = |name: &str| FaultProfile {
            name: name.into(),
            ..FaultProfile::default()
        };
        let bundled = [named("a"), named("b")];
        let mut faults = Faults::new(named("own"));
        let mut names = Vec::new();
        for more in [true, true, true, false] {
            names.extend(faults.change(more, &bundled).map(|profile| profile.name));
        }
        assert_eq!(names, ["a", "b", "a", "b"]);
        assert_eq!(Faults::new(named("own")).change(true, &[]), None);
    }

    #[test]
    fn scaling_keeps_proportions_even_over_zero() {
        let profile = FaultProfile {
            rate_limited: 0.03,
            reset: 0.01,
            ..FaultProfile::default()
        };
        let none = scaled(&profile, -5);
        assert!(none.total() < 0.001);
        let again = scaled(&none, 20);
        assert!((again.total() - 0.20).abs() < 1e-9);
        assert!((again.rate_limited / again.reset - 3.0).abs() < 1e-9);
        assert!((scaled(&FaultProfile::default(), 5).rate_limited - 0.05).abs() < 1e-9);
        assert_eq!(scaled(&again, 500).validate(), Ok(()));
    }
}
