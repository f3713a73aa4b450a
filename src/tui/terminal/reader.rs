//! The input of the terminal as a stream of events. It ends when the terminal is gone.

use std::io::{self, Stdin};

use crossterm::event::Event;
use futures_util::{Stream, stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::decoder::Decoder;
use super::is_gone;
use crate::time::Clock;

/// Bytes per read.
const READ: usize = 16 << 10;

/// The state of the stream.
#[derive(Debug)]
struct Reader {
    input: AsyncFd<Stdin>,
    resized: Signal,
    decoder: Decoder,
    clock: Clock,
    bytes: Vec<u8>,
}

/// Returns the events of stdin, and a resize for each SIGWINCH. Needs a runtime with I/O.
pub(in crate::tui) fn events(clock: Clock) -> io::Result<impl Stream<Item = io::Result<Event>> + Unpin> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for descriptors that may change; stdin stays open to the end"
    )]
    let input = AsyncFd::new(io::stdin())?;
    let reader = Reader {
        input,
        resized: signal(SignalKind::window_change())?,
        decoder: Decoder::default(),
        clock,
        bytes: vec![0; READ],
    };
    let next = |mut reader: Reader| async move { reader.next().await.map(|event| (event, reader)) };
    Ok(Box::pin(stream::unfold(reader, next)))
}

impl Reader {
    /// Waits for the next event; `None` when the terminal is gone.
    async fn next(&mut self) -> Option<io::Result<Event>> {
        loop {
            if let Some(event) = self.decoder.pop() {
                return Some(Ok(event));
            }
            let (clock, deadline) = (self.clock, self.decoder.deadline());
            let read = tokio::select! {
                biased;
                read = read(&self.input, &mut self.bytes) => read,
                Some(()) = self.resized.recv() => match crossterm::terminal::size() {
                    Ok((columns, rows)) => return Some(Ok(Event::Resize(columns, rows))),
                    Err(_) => continue,
                },
                () = crate::tui::sleep_until(clock, deadline) => {
                    // on a busy machine the rest may be here already
                    if !is_readable(self.input.get_ref()) {
                        self.decoder.expire(clock.now());
                    }
                    continue;
                }
            };
            match read {
                Ok(0) => return None,
                Ok(count) => {
                    let read = self.bytes.get(..count).unwrap_or_default();
                    self.decoder.feed(read, clock.now());
                }
                Err(error) if is_gone(&error) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Reads what is there. stdin stays in blocking mode, which it shares with other programs, so it is read only after
/// `poll` found something.
async fn read(input: &AsyncFd<Stdin>, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = input.readable().await?;
        if !is_readable(input.get_ref()) {
            ready.clear_ready();
            continue;
        }
        match rustix::io::read(input.get_ref(), &mut *bytes) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            read => return Ok(read?),
        }
    }
}

/// Returns true if a read does not block.
fn is_readable(input: &Stdin) -> bool {
    let mut found = [PollFd::new(input, PollFlags::IN)];
    // an error is found by the read
    poll(&mut found, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}
