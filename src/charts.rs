//! Charts of a run and of a comparison, as SVG: what a CI job or a post-mortem carries.
//!
//! ```text
//!  events --fold--> History --series--> Series ----+
//!  comparison ------------------------> TradeOff --+--draw--> SVG, the same bytes each time --write_all--> files
//! ```
//!
//! A chart is a pure function of its numbers. The colours are those of Okabe and Ito (2008), which the colour-blind
//! can tell apart, and none of them carries a meaning that is not written beside it.

mod draw;
mod files;
mod history;
mod tradeoff;

pub use files::{WriteError, write_all};
pub use history::{Bin, History, Series, Span};
pub use tradeoff::{Point, Range, TradeOff};

/// A chart that could not be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw {chart}: {problem}")]
pub struct ChartError {
    chart: &'static str,
    problem: String,
}

/// A file's name and what is in it.
pub type Chart = (&'static str, String);

#[cfg(test)]
mod tests;
