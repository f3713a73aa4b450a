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
//! a state, and parsing and folding at most the larger of 2 MiB and a 64th of the journal. In an hour of 101,000 calls
//! (146 MB; the program takes 170 MB for it) 300 random places were reached in 13 ms at the median, 37 ms at most, on two
//! cores that others kept busy.

pub mod bar;
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
