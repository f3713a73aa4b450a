//! The bundled scenarios.

/// Name and text of a file in `assets/scenarios`.
macro_rules! bundle {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../assets/scenarios/", $name, ".toml")),
        )
    };
}

const BUNDLED: &[(&str, &str)] = &[
    bundle!("calm"),
    bundle!("cache-warms-up"),
    bundle!("misses"),
    bundle!("temperature"),
    bundle!("semantic"),
    bundle!("thundering-herd"),
    bundle!("idempotent-replay"),
    bundle!("flaky"),
    bundle!("stalls"),
    bundle!("cut-streams"),
    bundle!("impatient-callers"),
    bundle!("token-bucket-burst"),
    bundle!("queue-full"),
    bundle!("noisy-neighbour"),
    bundle!("noisy-neighbour-fair"),
    bundle!("modest-alone"),
    bundle!("per-user-limits"),
    bundle!("rate-limit-storm"),
    bundle!("outage"),
    bundle!("slow-upstream"),
    bundle!("flapping"),
    bundle!("textbook"),
    bundle!("retry-storm"),
    bundle!("retry-storm-averted"),
    bundle!("brownout"),
    bundle!("suspend"),
    bundle!("by-hand"),
    bundle!("hour"),
];

/// Name and text of each bundled scenario, from simple to complex: one layer at a time, then all together.
pub fn bundled() -> &'static [(&'static str, &'static str)] {
    BUNDLED
}
