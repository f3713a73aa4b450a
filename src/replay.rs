//! A recorded session on the same screens: `seawall replay JOURNAL`.
//!
//! ```text
//! journal --read once--> Recording: places of its pieces, marks, keyframes
//!    |                       |
//!    +--pieces, again--> Player (position, time, speed): the clock's time is an argument  <-- keys
//!                            |
//!        Projector: the feed of the screen; sleeps until the next event is due
//! ```
//!
//! Memory: the events stay in the file, and at most [`KEYFRAMES`] states are kept. So going anywhere costs the clone of
//! a state, and parsing and folding at most the larger of 4 MiB and a 64th of the journal: some 30 ms for an hour of
//! 100,000 calls.

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
