//! The simulator as a client sees it, byte by byte over raw sockets. Ports are free ones, and there is no latency except
//! in stalls.

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
