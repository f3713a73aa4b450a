//! The fault chooser: a bundled profile, and the rate of each kind of fault.
//!
//! The overlay edits a copy: Enter applies it as one change, Esc leaves everything as it was.

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

/// The mark of a profile with other rates than the one of its name.
const EDITED: &str = " (edited)";

/// The state of the fault chooser: a copy of the faults. Nothing else changes before it is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// The edited profile.
    pub profile: FaultProfile,
    /// True to switch faults on.
    pub on: bool,
    /// The row under the cursor: 0 is the profile, then the kinds.
    pub row: usize,
}

impl Faults {
    /// Creates a chooser that starts from the current faults.
    pub fn new(profile: FaultProfile, on: bool) -> Self {
        Self { profile, on, row: 0 }
    }

    /// Moves the cursor.
    pub fn step(&mut self, by: i64) {
        self.row = super::stepped(self.row, by, FaultKind::ALL.len());
    }

    /// Changes the row under the cursor. A change switches faults on: they are chosen to be used.
    pub fn change(&mut self, more: bool, bundled: &[FaultProfile]) {
        let before = self.profile.clone();
        match self.row.checked_sub(1).and_then(|row| FaultKind::ALL.get(row)) {
            None => self.choose(more, bundled),
            Some(kind) => {
                let rate = self.profile.rate(*kind);
                // a request gets at most one fault, so the rates must not exceed 1 in total
                let room = (1.0 - (self.profile.total() - rate)).max(0.0);
                let wanted = if more { rate + STEP } else { rate - STEP };
                self.profile.set_rate(*kind, rounded(wanted).min(room));
                mark_edited(&mut self.profile, bundled);
            }
        }
        if self.profile != before {
            self.on = self.profile.total() > 0.0;
        }
    }

    /// Selects the next or previous profile.
    fn choose(&mut self, more: bool, bundled: &[FaultProfile]) {
        let name = original_name(&self.profile);
        // the file of the command line may bear the name of a bundled profile
        let here = bundled.iter().position(|profile| *profile == self.profile);
        let here = here.or_else(|| bundled.iter().position(|profile| profile.name == name));
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

/// The name without the mark of an edit.
fn original_name(profile: &FaultProfile) -> &str {
    profile.name.strip_suffix(EDITED).unwrap_or(&profile.name)
}

/// Marks a profile as edited, or removes the mark where it equals the bundled one of its name again.
fn mark_edited(profile: &mut FaultProfile, bundled: &[FaultProfile]) {
    let name = original_name(profile).to_owned();
    profile.name.clone_from(&name);
    if !bundled.contains(profile) {
        profile.name = name + EDITED;
    }
}

/// The name on one line.
pub fn one_line(profile: &FaultProfile) -> String {
    profile.name.replace(char::is_control, " ")
}

/// The profile with its total changed by `points` percent, at least 1 %, and its proportions kept; a rate of 429 if
/// all were zero.
pub fn scaled(profile: &FaultProfile, points: i32, bundled: &[FaultProfile]) -> FaultProfile {
    let mut scaled = profile.clone();
    let target = rounded(profile.total() + f64::from(points) / 100.0).max(0.01);
    if profile.total() <= 0.0 {
        scaled.set_rate(FaultKind::RateLimited, target);
    } else {
        scaled.scale_to(target);
    }
    mark_edited(&mut scaled, bundled);
    scaled
}

/// Draws the chooser.
pub fn render(view: &View<'_>, faults: &Faults, area: Rect, buf: &mut Buffer) {
    let running = if view.state.session.faults_on { "ON" } else { "off" };
    let title = format!("Choose faults (now {running})");
    let note = "Left Right change   Space on/off   Enter apply   Esc cancel";
    let inner = super::frame(view, &title, note, area, buf);
    let width = usize::from(inner.width);
    let mut rows = vec![switch_row(view, faults), profile_row(view, faults)];
    rows.extend(about_rows(view, faults, width));
    for (index, kind) in FaultKind::ALL.into_iter().enumerate() {
        rows.push(kind_row(view, faults, kind, faults.row == index + 1));
    }
    let total = format!(
        "{:>12} {:>5}  of all attempts",
        "total",
        percent(faults.profile.total())
    );
    rows.push(Line::from(Span::styled(total, view.theme.style(Role::Strong))));
    // the row of the cursor stays visible; the description is between the profile and the kinds
    let at = if faults.row == 0 {
        1
    } else {
        faults.row + ABOUT_ROWS + 1
    };
    let first = super::first_row(at, usize::from(inner.height));
    for (y, row) in (inner.y..inner.bottom()).zip(rows.into_iter().skip(first)) {
        buf.set_line(inner.x, y, &row, inner.width);
    }
}

/// A rate; a kind that is not injected has none.
fn percent(rate: f64) -> String {
    if rate > 0.0 {
        format!("{:.0}%", rate * 100.0)
    } else {
        "off".to_owned()
    }
}

/// The state of the switch after Enter.
fn switch_row(view: &View<'_>, faults: &Faults) -> Line<'static> {
    let (word, role) = if faults.on {
        ("ON", Role::Yours)
    } else {
        ("off", Role::Text)
    };
    Line::from(vec![
        Span::styled(format!("{:>12} ", "faults"), view.theme.style(Role::Muted)),
        Span::styled(word, view.theme.style(role)),
        Span::styled("  after Enter", view.theme.style(Role::Muted)),
    ])
}

fn profile_row(view: &View<'_>, faults: &Faults) -> Line<'static> {
    let selected = faults.row == 0;
    let name = one_line(&faults.profile);
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
    let number = format!("{:>12} {:>5}", kind.label(), percent(rate));
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

    fn named(name: &str, server_error: f64) -> FaultProfile {
        FaultProfile {
            name: name.into(),
            server_error,
            ..FaultProfile::default()
        }
    }

    #[test]
    fn rates_step_by_five_points_and_never_exceed_one_in_total() {
        let mut faults = Faults::new(named("outage", 0.93), false);
        faults.step(1);
        faults.change(true, &[]);
        assert!((faults.profile.rate_limited - 0.05).abs() < 1e-9);
        faults.change(true, &[]);
        assert!((faults.profile.total() - 1.0).abs() < 1e-9);
        assert_eq!(faults.profile.validate(), Ok(()));
        let full = faults.clone();
        faults.change(true, &[]);
        assert_eq!(faults, full);
    }

    #[test]
    fn an_edited_profile_is_marked_until_it_equals_the_bundled_one_again() {
        let bundled = [named("a", 0.5), named("b", 0.1)];
        let mut faults = Faults::new(named("a", 0.5), false);
        faults.step(2);
        faults.change(true, &bundled);
        assert_eq!((faults.profile.name.as_str(), faults.on), ("a (edited)", true));
        faults.change(false, &bundled);
        assert_eq!(faults.profile, bundled[0]);
        assert_eq!(scaled(&bundled[0], -5, &bundled).name, "a (edited)");
        assert_eq!(scaled(&scaled(&bundled[0], -5, &bundled), 5, &bundled).name, "a");
    }

    #[test]
    fn profiles_wrap_around_from_the_one_that_was_edited() {
        let bundled = [named("a", 0.5), named("b", 0.1)];
        for (start, names) in [
            ("own", ["a", "b", "a", "b"]),
            ("a (edited)", ["b", "a", "b", "a"]),
        ] {
            let mut faults = Faults::new(named(start, 0.2), false);
            let chosen = [true, true, true, false].map(|more| {
                faults.change(more, &bundled);
                faults.profile.name.clone()
            });
            assert_eq!(chosen, names);
            assert!(faults.on);
        }
    }

    #[test]
    fn a_profile_of_a_file_is_chosen_apart_from_the_bundled_one_of_its_name() {
        let profiles = [named("a", 0.3), named("a", 0.5), named("b", 0.1)];
        let mut faults = Faults::new(profiles[0].clone(), false);
        let chosen = [true, true, true, false].map(|more| {
            faults.change(more, &profiles);
            (faults.profile.server_error * 100.0).round() as u32
        });
        assert_eq!(chosen, [50, 10, 30, 10]);
    }

    #[test]
    fn nothing_is_listed_at_zero_percent() {
        let fixture = crate::tui::tests::busy_state();
        let (ui, theme) = (crate::tui::ui::Ui::default(), crate::tui::theme::Theme::default());
        let view = View {
            state: &fixture,
            ui: &ui,
            theme: &theme,
            now: crate::time::Timestamp::ZERO,
        };
        let row = |rate| {
            let faults = Faults::new(named("a", rate), false);
            kind_row(&view, &faults, FaultKind::ServerError, false).to_string()
        };
        assert!(
            row(0.0).starts_with("         500   off ··········  "),
            "{}",
            row(0.0)
        );
        assert!(row(0.05).starts_with("         500    5% "), "{}", row(0.05));
    }

    #[test]
    fn faults_without_a_rate_are_off() {
        let mut faults = Faults::new(named("a", 0.05), true);
        faults.step(2);
        faults.change(false, &[]);
        assert_eq!((faults.profile.total(), faults.on), (0.0, false));
    }

    #[test]
    fn scaling_keeps_proportions_and_never_reaches_zero() {
        let profile = FaultProfile {
            rate_limited: 0.03,
            reset: 0.01,
            ..FaultProfile::default()
        };
        let least = scaled(&profile, -5, &[]);
        assert!((least.total() - 0.01).abs() < 1e-9);
        let again = scaled(&least, 19, &[]);
        assert!((again.total() - 0.20).abs() < 1e-9);
        assert!((again.rate_limited / again.reset - 3.0).abs() < 1e-9);
        assert!((scaled(&FaultProfile::default(), 5, &[]).rate_limited - 0.05).abs() < 1e-9);
        assert_eq!(scaled(&again, 500, &[]).validate(), Ok(()));
    }
}
