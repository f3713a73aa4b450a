//! The head of a request as it came. hyper drops a Content-Length beside a Transfer-Encoding, and such a request, which
//! two servers may read as different ones, is to be rejected.

use std::sync::{Mutex, PoisonError};

/// The bytes of the current head, of one connection.
#[derive(Debug, Default)]
pub(super) struct RawHead(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// True once the bytes that follow are no head.
    complete: bool,
    /// True once a byte arrived.
    used: bool,
}

impl RawHead {
    /// Bytes arrived.
    pub(super) fn push(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.used = true;
        if state.complete {
            return;
        }
        let from = state.bytes.len().saturating_sub(3);
        state.bytes.extend_from_slice(bytes);
        let added = state.bytes.get(from..).unwrap_or_default();
        state.complete =
            memchr::memmem::find(added, b"\r\n\r\n").is_some() || state.bytes.len() > super::HEAD_BYTES;
    }

    /// Takes the head of a request that has arrived; returns true if it states a length.
    pub(super) fn take_has_length(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.complete = true;
        let head = std::mem::take(&mut state.bytes);
        let name = b"content-length:";
        head.split(|byte| *byte == b'\n')
            .take_while(|line| !line.trim_ascii().is_empty())
            .any(|line| {
                line.get(..name.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(name))
            })
    }

    /// The body was read: the next bytes are the head of another request.
    pub(super) fn expect_next(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).complete = false;
    }

    /// Returns true if no byte of a request has arrived.
    pub(super) fn is_unused(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).used
    }
}
