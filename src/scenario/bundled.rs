//! The scenarios that ship with the program.

/// Name and text of each, in the order in which they teach.
pub fn bundled() -> &'static [(&'static str, &'static str)] {
    &[("outage", include_str!("../../assets/scenarios/outage.toml"))]
}
