//! Charts of a run and of a comparison, as SVG for CI reports and post-mortems.
//!
//! ```text
//!  events --fold--> History --series--> Series ------------+
//!                      +-----join-----> OverTime --+       |
//!  comparison --+--------------------> SideBySide -+-------+--draw--> SVG, the same bytes --write_all--> files
//!               +--------------------> TradeOff -----------+          each time
//! ```
//!
//! A chart is a pure function of its numbers. The colours are those of Okabe and Ito (2008), which colour-blind
//! readers can distinguish; every colour is named in a legend, and areas that would look the same in grey are
//! striped.

mod comparison;
mod draw;
mod files;
mod fill;
mod history;
mod mean;
mod measures;
mod tradeoff;

pub use comparison::{MOST_SIDES, Side, SideBySide};
pub use files::{WriteError, write_all};
pub use history::{Bin, History, Series, Span};
pub use mean::OverTime;
pub use tradeoff::{Point, Range, TradeOff};

/// The files of the charts of a run.
pub const RUN_FILES: [&str; 4] = ["fates.svg", "attempts.svg", "bucket.svg", "breaker.svg"];

/// The files of the charts of a comparison.
pub const COMPARISON_FILES: [&str; 5] = [
    "tradeoff.svg",
    "compare-measures.svg",
    "compare-calls.svg",
    "compare-attempts.svg",
    "compare-breakers.svg",
];

/// A chart that could not be drawn: a bug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw {chart}: {problem}")]
pub struct ChartError {
    chart: &'static str,
    problem: String,
}

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
