//! The terminal: one loop, and a screen that is a pure function of `(State, Ui, Theme, now)`.

pub mod pane;
pub mod theme;
pub mod ui;
pub mod view;
