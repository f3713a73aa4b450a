//! A journal in real time: a thread writes, and who produces events never waits for the disk.
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

/// Lines that may wait for the disk. One more is lost, and counted.
pub const QUEUE: usize = 8192;

/// What the thread is told.
enum Told {
    Event(Event),
    Gap(u64),
    End,
}

/// A journal that a thread writes.
#[derive(Debug)]
pub struct LiveJournal {
    queue: SyncSender<Told>,
    /// Events lost since the last line that found room.
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl LiveJournal {
    /// Starts the thread.
    pub fn start<W: Write + Send + 'static>(journal: Journal<W>) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let missing = Arc::clone(&lost);
        let thread = thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_down(journal, &lines, &missing))?;
        Ok(Self {
            queue,
            lost,
            thread: Some(thread),
        })
    }

    /// What to tap the bus with: one for each journal.
    pub fn tap(&self) -> impl FnMut(&Event) + Send + use<> {
        let (queue, lost) = (self.queue.clone(), Arc::clone(&self.lost));
        move |event| {
            let missing = lost.load(Ordering::Relaxed);
            if missing > 0 && queue.try_send(Told::Gap(missing)).is_ok() {
                lost.fetch_sub(missing, Ordering::Relaxed);
            }
            // behind a gap that found no room nothing may come: it would stand before it
            let fits =
                lost.load(Ordering::Relaxed) == 0 && queue.try_send(Told::Event(event.clone())).is_ok();
            if !fits {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes what still waits and the last line. Events that come later are not in the journal. Tells the
    /// first error that writing met: what came after it is not in the file.
    pub fn finish(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        // it fails where the thread has gone already, and then there is nothing to wait for
        drop(self.queue.send(Told::End));
        let panicked = |_| Err(io::Error::other("the thread of the journal panicked"));
        thread.join().unwrap_or_else(panicked)
    }
}

impl Drop for LiveJournal {
    /// A journal that is dropped is finished too; nobody hears of an error then.
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// The thread: writes until it is told to end, or nobody can tell it anything any more. After an error it
/// only empties the queue: a full disk must not end the session, and half a line must not be followed by
/// another.
fn write_down<W: Write>(mut journal: Journal<W>, lines: &Receiver<Told>, lost: &AtomicU64) -> io::Result<()> {
    let mut written = Ok(());
    loop {
        let next = lines.try_recv().or_else(|error| match error {
            // nothing waits: what there is shall be in the file when somebody looks
            TryRecvError::Empty => {
                if written.is_ok() {
                    written = journal.flush();
                }
                lines.recv().map_err(|_| ())
            }
            TryRecvError::Disconnected => Err(()),
        });
        let line = match next {
            Ok(Told::End) | Err(()) => break,
            Ok(line) => line,
        };
        if written.is_ok() {
            written = match line {
                Told::Event(event) => journal.write(&event),
                Told::Gap(missing) => journal.gap(missing),
                Told::End => break,
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
