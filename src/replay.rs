//! A recorded session on the same screens: `seawall replay JOURNAL`.
//!
//! ```text
//! journal --load--> Recording: events, marks, keyframes
//!                       |
//!   keys --> Player (position, time, speed): pure, the clock's time is an argument
//!                       |
//!        Projector: the feed of the screen; sleeps until the next event is due
//! ```
//!
//! Memory: the events stand in it once, and at most [`KEYFRAMES`] states beside them. So going back anywhere costs
//! the clone of a state and, in a journal of n events, at most `max(512, n / 64)` folds: some milliseconds for a
//! session of an hour.

mod frames;
mod input;
mod load;
mod marks;
mod player;
mod projector;
mod show;
#[cfg(test)]
mod tests;

pub use frames::KEYFRAMES;
pub use input::Input;
pub use load::{Damage, Recording};
pub use marks::Mark;
pub use player::{Player, SPEEDS};
pub use projector::Projector;
pub use show::show;
