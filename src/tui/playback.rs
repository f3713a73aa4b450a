//! Playback of a journal on the same screens: `seawall replay JOURNAL`.
//!
//! ```text
//! journal --read once--> Recording: index of pieces, marks, keyframes
//!    |                       |
//!    +--pieces on demand--> Player (position, time, speed); the clock's time is an argument  <-- keys
//!                            |
//!        PlaybackFeed: the feed of the screen; sleeps until the next event is due
//! ```
//!
//! Memory: events stay in the file; at most [`KEYFRAMES`] states are kept. A seek clones one state and parses at
//! most the larger of 2 MiB and 1/64 of the journal. Measured on one hour with 101,000 calls (146 MB journal, 170
//! MB process): 300 random seeks took 13 ms at the median, 37 ms at most, on two busy cores.

pub mod bar;
mod feed;
mod input;
mod keyframes;
mod load;
mod marks;
mod player;
mod show;
#[cfg(test)]
mod tests;

pub use feed::PlaybackFeed;
pub use input::Input;
pub use keyframes::KEYFRAMES;
pub use load::{Damage, Recording};
pub use marks::JournalMark;
pub use player::{Player, SPEEDS};
pub use show::show;
