//! Which faults are on: settings shared with the running server, and the profiles that come with seawall.

use std::sync::{Arc, Mutex, PoisonError};

use crate::settings::{FaultKind, FaultProfile};

/// The fault settings of a running simulator. A handle: clones share the settings, which are read anew
/// for every request.
#[derive(Clone, Debug)]
pub struct FaultControl {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    on: bool,
    profile: Arc<FaultProfile>,
}

impl FaultControl {
    /// Settings that start with `profile`, switched `on` or off.
    pub fn new(profile: FaultProfile, on: bool) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Shared {
                on,
                profile: Arc::new(profile),
            })),
        }
    }

    /// No faults.
    pub fn off() -> Self {
        Self::new(FaultProfile::default(), false)
    }

    /// The profile, if faults are on.
    pub fn active(&self) -> Option<Arc<FaultProfile>> {
        let shared = self.lock();
        shared.on.then(|| Arc::clone(&shared.profile))
    }

    /// The profile, on or off.
    pub fn profile(&self) -> Arc<FaultProfile> {
        Arc::clone(&self.lock().profile)
    }

    /// Whether faults are on.
    pub fn is_on(&self) -> bool {
        self.lock().on
    }

    /// Switches faults on or off, from the next request on.
    pub fn set_on(&self, on: bool) {
        self.lock().on = on;
    }

    /// Takes another profile, from the next request on.
    pub fn set_profile(&self, profile: FaultProfile) {
        self.lock().profile = Arc::new(profile);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        // both fields are valid on their own: a panic elsewhere leaves nothing half-done
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of every fault, just before it is performed. Must not block.
pub trait FaultSink: Send + Sync {
    /// `call` and `attempt` are what the request said of itself in the header
    /// [`ATTEMPT_HEADER`](super::ATTEMPT_HEADER); `None` and 0 where it said nothing.
    fn injected(&self, call: Option<u64>, attempt: u32, fault: FaultKind);

    /// A real upstream could not be asked: no connection, no TLS, no HTTP. The client sees a reset, which
    /// cannot say why; `reason` can. It is untrusted text.
    fn upstream_failed(&self, reason: String) {
        drop(reason);
    }
}

/// Nobody listens.
impl FaultSink for () {
    fn injected(&self, _call: Option<u64>, _attempt: u32, _fault: FaultKind) {}
}

/// Why there is no such profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No bundled profile has this name.
    #[error("no fault profile is named '{name}'; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// The text is no profile.
    #[error("fault profile '{name}': {message}")]
    Invalid {
        /// Which.
        name: String,
        /// What is wrong with it.
        message: String,
    },
}

/// The profiles that come with seawall, as (name, TOML text), gentlest first.
pub fn bundled() -> &'static [(&'static str, &'static str)] {
    &[
        ("flaky", include_str!("../../assets/faults/flaky.toml")),
        ("slow", include_str!("../../assets/faults/slow.toml")),
        ("mixed", include_str!("../../assets/faults/mixed.toml")),
        (
            "cut-streams",
            include_str!("../../assets/faults/cut-streams.toml"),
        ),
        (
            "rate-limit-storm",
            include_str!("../../assets/faults/rate-limit-storm.toml"),
        ),
        ("outage", include_str!("../../assets/faults/outage.toml")),
    ]
}

/// The bundled profile of this name.
pub fn bundled_profile(name: &str) -> Result<FaultProfile, ProfileError> {
    if let Some((name, text)) = bundled().iter().find(|(known, _)| *known == name) {
        return parse(name, text);
    }
    let known: Vec<&str> = bundled().iter().map(|(known, _)| *known).collect();
    Err(ProfileError::Unknown {
        name: name.to_owned(),
        known: known.join(", "),
    })
}

/// Reads a profile from TOML and checks it. `name` is for the error message.
pub fn parse(name: &str, text: &str) -> Result<FaultProfile, ProfileError> {
    let invalid = |message| ProfileError::Invalid {
        name: name.to_owned(),
        message,
    };
    let profile: FaultProfile =
        toml::from_str(text).map_err(|error| invalid(error.to_string().trim().to_owned()))?;
    profile.validate().map_err(invalid)?;
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_profile_reads_and_bears_its_name() {
        for (name, _) in bundled() {
            let profile = bundled_profile(name).unwrap();
            assert_eq!(profile.name, *name);
            assert!(!profile.about.is_empty() && profile.total() > 0.0, "{name}");
            // drills must be quick: a stall of a bundled profile lasts seconds, not minutes
            assert!(profile.stall_for.as_secs() <= 4, "{name}");
        }
    }

    #[test]
    fn mixed_and_outage_are_as_hard_as_they_say() {
        let total = |name| (bundled_profile(name).unwrap().total() * 100.0).round();
        assert_eq!((total("mixed"), total("outage")), (35.0, 90.0));
    }

    #[test]
    fn errors_name_what_there_is_and_what_is_wrong() {
        let error = bundled_profile("tsunami").unwrap_err().to_string();
        assert!(
            error.contains("'tsunami'") && error.contains("mixed, cut-streams"),
            "{error}"
        );
        let error = parse("mine", "reset = 0.7\ncut = 0.7").unwrap_err().to_string();
        assert!(error.contains("'mine'") && error.contains("1.40"), "{error}");
        assert!(
            parse("mine", "rest = 1")
                .unwrap_err()
                .to_string()
                .contains("rest")
        );
    }

    #[test]
    fn clones_share_the_settings() {
        let control = FaultControl::off();
        let other = control.clone();
        other.set_profile(bundled_profile("flaky").unwrap());
        assert_eq!(control.active(), None);
        other.set_on(true);
        assert_eq!(control.active().unwrap().name, "flaky");
        assert!(control.is_on());
    }
}
