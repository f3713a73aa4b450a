//! Reports for people and machines: SVG charts, JUnit XML, Markdown tables and the statistics they quote.

pub mod charts;
pub mod junit;
pub mod markdown;
pub mod statistics;
