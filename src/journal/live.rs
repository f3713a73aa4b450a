//! A journal of a live session: a thread writes, so no producer of events waits for the disk.
//!
//! ```text
//! bus --tap--> try_send --[8192 lines]--> thread --> file
//!                 | full: counted, and written as {"gap":n} once there is room
//! ```

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use super::Journal;
use crate::event::Event;

/// Lines that may wait for the disk. Further lines are lost and counted.
pub const QUEUE: usize = 8192;

/// A message to the writer thread.
enum WriteRequest {
    Event(Event),
    Gap(u64),
    End,
}

/// A journal written by its own thread.
#[derive(Debug)]
pub struct LiveJournal {
    queue: SyncSender<WriteRequest>,
    /// The other end of the queue, until the thread starts.
    lines: Option<Receiver<WriteRequest>>,
    /// Events lost since the queue last had room.
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl LiveJournal {
    /// Starts the writer thread.
    pub fn start<W: Write + Send + 'static>(journal: Journal<W>) -> io::Result<Self> {
        let mut live = Self::waiting();
        live.begin(journal)?;
        Ok(live)
    }

    /// Keeps events in the queue until [`begin`](Self::begin): a session that fails to start writes nothing.
    pub fn waiting() -> Self {
        let (queue, lines) = sync_channel(QUEUE);
        Self {
            queue,
            lines: Some(lines),
            lost: Arc::default(),
            thread: None,
        }
    }

    /// Starts the writer thread, once.
    pub fn begin<W: Write + Send + 'static>(&mut self, journal: Journal<W>) -> io::Result<()> {
        if let Some(lines) = self.lines.take() {
            let missing = Arc::clone(&self.lost);
            let writer = thread::Builder::new().name("journal".into());
            self.thread = Some(writer.spawn(move || write_lines(journal, &lines, &missing))?);
        }
        Ok(())
    }

    /// Returns the tap that passes events of the bus to the thread. Use one per journal.
    pub fn tap(&self) -> impl FnMut(&Event) + Send + use<> {
        let (queue, lost) = (self.queue.clone(), Arc::clone(&self.lost));
        move |event| {
            let missing = lost.load(Ordering::Relaxed);
            if missing > 0 && queue.try_send(WriteRequest::Gap(missing)).is_ok() {
                lost.fetch_sub(missing, Ordering::Relaxed);
            }
            // while a gap waits for room no event may be queued: it would precede the gap
            let fits = lost.load(Ordering::Relaxed) == 0
                && queue.try_send(WriteRequest::Event(event.clone())).is_ok();
            if !fits {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes the queued lines and the `end` line. Later events are not in the journal. Returns the first write
    /// error; events after it are not in the file.
    pub fn finish(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        // fails if the thread has ended already: then there is nothing to wait for
        drop(self.queue.send(WriteRequest::End));
        let panicked = |_| Err(io::Error::other("the journal thread panicked"));
        thread.join().unwrap_or_else(panicked)
    }
}

impl Drop for LiveJournal {
    /// Finishes the journal and ignores a write error.
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// Writes until an end request or until the queue is closed. After an error it only drains the queue: a full disk
/// must not end the session, and no line may follow an incomplete one.
fn write_lines<W: Write>(
    mut journal: Journal<W>,
    lines: &Receiver<WriteRequest>,
    lost: &AtomicU64,
) -> io::Result<()> {
    let mut written = Ok(());
    loop {
        let next = lines.try_recv().or_else(|error| match error {
            // the queue is empty: flush, so that readers of the file see every line
            TryRecvError::Empty => {
                if written.is_ok() {
                    written = journal.flush();
                }
                lines.recv().map_err(|_| ())
            }
            TryRecvError::Disconnected => Err(()),
        });
        let line = match next {
            Ok(WriteRequest::End) | Err(()) => break,
            Ok(line) => line,
        };
        if written.is_ok() {
            written = match line {
                WriteRequest::Event(event) => journal.write(&event),
                WriteRequest::Gap(missing) => journal.gap(missing),
                WriteRequest::End => break,
            };
        }
    }
    written?;
    let missing = lost.load(Ordering::Relaxed);
    if missing > 0 {
        journal.gap(missing)?;
    }
    journal.finish().map(drop)
}
