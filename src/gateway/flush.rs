//! Knowledge that a body and its connection share.
//!
//! The end of a broken stream. hyper drops the bytes that it has not written when a body fails: the error of the body
//! waits until the connection has taken all of them, also of a client that reads slowly.
//!
//! The end of a call. hyper asks for no more of a body while its client takes nothing: the connection ends the work of
//! the call at its deadline, and when it is cancelled.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::reply::{Broken, ReplyBody};
use crate::client::SharedWork;

/// The state of the flush that the body of a connection waits for, and the work of its call.
#[derive(Default)]
pub(super) struct Flush {
    state: AtomicU8,
    work: Mutex<Option<SharedWork>>,
}

impl Flush {
    const WANTED: u8 = 1;
    const DONE: u8 = 2;

    /// hyper flushes once it has written everything. Wakes the connection if its body waits for that.
    pub(super) fn flushed(&self, cx: &Context<'_>) {
        let (from, to, order) = (Self::WANTED, Self::DONE, Ordering::Relaxed);
        if self.state.compare_exchange(from, to, order, order).is_ok() {
            cx.waker().wake_by_ref();
        }
    }

    /// Sets the work of the call whose body is sent.
    pub(super) fn set_work(&self, work: Option<SharedWork>) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = work;
    }

    /// The work of the call whose body is sent, if its connection runs it.
    pub(super) fn work(&self) -> Option<SharedWork> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn poll(&self) -> Poll<()> {
        if self.state.load(Ordering::Relaxed) == Self::DONE {
            return Poll::Ready(());
        }
        self.state.store(Self::WANTED, Ordering::Relaxed);
        Poll::Pending
    }
}

/// A body whose error comes after the flush of what precedes it.
pub(super) struct Flushed {
    body: ReplyBody,
    flush: Arc<Flush>,
    error: Option<Broken>,
}

impl Flushed {
    pub(super) fn new(body: ReplyBody, flush: Arc<Flush>) -> Self {
        Self {
            body,
            flush,
            error: None,
        }
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        self.flush.set_work(None);
    }
}

impl Body for Flushed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.error.is_none() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Err(error)) => self.error = Some(error),
                other => return Poll::Ready(other),
            }
        }
        ready!(self.flush.poll());
        Poll::Ready(self.error.map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
