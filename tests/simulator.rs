//! The simulator as a client sees it: raw sockets, every byte. No port is fixed, and answers come at once
//! except where a fault is silence.

#[cfg(test)]
#[path = "simulator/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "simulator/forwarding.rs"]
mod forwarding;
#[cfg(test)]
#[path = "simulator/protocol.rs"]
mod protocol;
#[cfg(test)]
#[path = "simulator/wire.rs"]
mod wire;
