//! The active faults, shared with the running server, and the sink of injected faults.

use std::sync::{Arc, Mutex, PoisonError};

use super::capacity::Slots;
use crate::settings::{FaultKind, FaultProfile};

/// The fault settings of a running simulator. Clones share them; every request reads the current settings.
#[derive(Clone, Debug)]
pub struct FaultControl {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    on: bool,
    profile: Arc<FaultProfile>,
    /// The slots of the profile's capacity.
    slots: Option<Slots>,
}

impl FaultControl {
    /// Creates settings with a profile, switched on or off.
    pub fn new(profile: FaultProfile, on: bool) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Shared {
                on,
                slots: profile.capacity.map(|capacity| Slots::new(Some(capacity))),
                profile: Arc::new(profile),
            })),
        }
    }

    /// Creates settings without faults.
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

    /// Returns true if faults are on.
    pub fn is_on(&self) -> bool {
        self.lock().on
    }

    /// Switches faults on or off, from the next request on.
    pub fn set_on(&self, on: bool) {
        self.lock().on = on;
    }

    /// Replaces the profile from the next request on.
    pub fn set_profile(&self, profile: FaultProfile) {
        let mut shared = self.lock();
        if profile.capacity != shared.profile.capacity {
            shared.slots = profile.capacity.map(|capacity| Slots::new(Some(capacity)));
        }
        shared.profile = Arc::new(profile);
    }

    /// The slots of the profile's capacity, if faults are on. A request that waits for one keeps its place when faults
    /// are switched off: the queue drains, as that of a real server.
    pub(super) fn slots(&self) -> Option<Slots> {
        let shared = self.lock();
        shared.slots.clone().filter(|_| shared.on)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        // each change leaves the fields consistent, so a panic elsewhere breaks nothing
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives every fault just before it is performed. Must not block.
pub trait FaultSink: Send + Sync {
    /// Receives an injected fault. `call` and `attempt` are from the request header `x-seawall-attempt`; `None`
    /// and 0 without it.
    fn injected(&self, call: Option<u64>, attempt: u32, fault: FaultKind);

    /// Receives the reason why the real upstream could not be reached (connection, TLS or HTTP), because the
    /// client sees only a reset. `reason` is untrusted text.
    fn upstream_failed(&self, reason: String) {
        drop(reason);
    }
}

/// Ignores all faults.
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
