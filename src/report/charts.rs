//! Charts of a run and of a comparison, as SVG: what a CI job or a post-mortem carries.
//!
//! ```text
//!  events --fold--> History --series--> Series ------------+
//!                      +-----join-----> OverTime --+       |
//!  comparison --+--------------------> SideBySide -+-------+--draw--> SVG, the same bytes --write_all--> files
//!               +--------------------> TradeOff -----------+          each time
//! ```
//!
//! A chart is a pure function of its numbers. The colours are those of Okabe and Ito (2008), which the colour-blind
//! can tell apart, and none of them carries a meaning that is not written beside it; where grey would make two areas
//! one, stripes tell them apart.

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

/// A chart that could not be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw {chart}: {problem}")]
pub struct ChartError {
    chart: &'static str,
    problem: String,
}

/// A chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// The name of its file.
    pub file: &'static str,
    /// What it shows, for those who cannot see it.
    pub what: String,
    /// The picture.
    pub svg: String,
}

#[cfg(test)]
mod tests;
