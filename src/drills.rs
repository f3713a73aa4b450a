//! Headless drills: scenarios, random scenarios, recordings, comparisons and live what-if judgements.

pub mod compare;
pub mod fuzz;
pub mod record;
pub mod recorded;
pub mod scenario;
pub mod semantic_eval;
pub mod smoke;
pub mod whatif;
