//! Charts of a run and of a comparison, as SVG for CI reports and post-mortems.
//!
//! ```text
//!  events --fold--> History --series--> Series ------------+
//!                      +-----join-----> OverTime --+       |
//!  comparison --+--------------------> SideBySide -+-------+--draw--> SVG, the same bytes --write_all--> files
//!               +--------------------> TradeOff -----------+          each time
//! ```
//!
//! A chart is a pure function of its numbers. It follows the page's colour scheme, light or dark; every colour is
//! named in a legend, and areas that would look alike in grey are hatched. Its title and description are for
//! readers who cannot see it. All charts have one width and one time axis, so that those of several runs can be
//! compared.

mod axis;
mod comparison;
mod files;
mod history;
mod mean;
mod measures;
mod run;
mod stack;
mod svg;
mod tradeoff;

pub use comparison::{MOST_SIDES, Side, SideBySide};
pub use files::{WriteError, write_all};
pub use history::{Bin, History, Series, Span};
pub use mean::OverTime;
pub use tradeoff::{Point, Range, TradeOff};

/// The file of the chart of a run.
pub const RUN_FILES: [&str; 1] = ["timeline.svg"];

/// The files of the charts of a comparison.
pub const COMPARISON_FILES: [&str; 5] = [
    "tradeoff.svg",
    "compare-measures.svg",
    "compare-calls.svg",
    "compare-attempts.svg",
    "compare-latency.svg",
];

/// A chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Name of the file.
    pub file: &'static str,
    /// Description, for the alternative text.
    pub description: String,
    /// The SVG document.
    pub svg: String,
}

#[cfg(test)]
mod tests;
