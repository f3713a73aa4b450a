//! What a policy file and a fault file say: plain values with units, defaults and bounds.
//!
//! The words only; the machines that obey them are in [`crate::policy`] and [`crate::simulator`]. Reading
//! files and naming the line of a mistake is the work of [`crate::settings::file`].

mod bounds;
mod catalog;
mod faults;
pub mod file;
mod literal;
mod mistake;
mod path;
mod policy;
mod semantic;
mod span;
mod users;

pub use bounds::{Bounds, SettingsError};
pub use catalog::{Kind, SETTINGS, Setting};
pub use faults::{Capacity, FaultKind, FaultProfile, LatencyProfile, Range};
pub use literal::{bare, inline, quoted};
pub use mistake::plain;
pub use path::{NONE, PathError, nearest, split_setting};
pub use policy::{
    BreakerSettings, Bucket, CacheSettings, Counts, FlightSettings, Jitter, LimitSettings, Policy,
    RetrySettings, TimeoutSettings,
};
pub use semantic::{SemanticLabel, SemanticMode, SemanticSettings};
pub use users::{QueueOrder, UserLimits};
