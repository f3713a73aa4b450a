//! Policies and fault profiles as data: values with units, defaults and bounds.
//!
//! [`crate::policy`] and [`crate::simulator`] act on them. [`mod@file`] reads and writes them as TOML.

mod bounds;
mod bucket;
mod catalog;
pub(crate) mod duration;
mod faults;
pub mod file;
mod path;
mod policy;
mod semantic;
mod toml_error;
mod toml_text;
mod user_limits;
mod validate;

pub use bounds::Bounds;
pub use bucket::Bucket;
pub use catalog::{SETTINGS, Setting, SettingKind};
pub use faults::{Capacity, FaultKind, FaultProfile, LatencyProfile, Range};
pub(crate) use path::closest_name;
pub(crate) use path::split_setting;
pub use path::{PathError, UNSET};
pub use policy::{
    BreakerSettings, CacheSettings, Counts, FlightSettings, Jitter, LimitSettings, Policy, RetrySettings,
    TimeoutSettings,
};
pub use semantic::{SemanticLabel, SemanticMode, SemanticSettings};
pub(crate) use toml_text::{toml_key, toml_string, toml_value};
pub use user_limits::{QueueOrder, UserLimits};
pub use validate::SettingsError;
