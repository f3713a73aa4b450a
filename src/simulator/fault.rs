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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_settings() {
        let control = FaultControl::off();
        let other = control.clone();
        other.set_profile(crate::settings::file::load_faults("flaky").unwrap());
        assert_eq!(control.active(), None);
        other.set_on(true);
        assert_eq!(control.active().unwrap().name, "flaky");
        assert!(control.is_on());
    }
}
