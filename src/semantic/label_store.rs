//! Keeps what people say of semantic hits: beside the policy, in a file of its own, so that a policy with its
//! comments stays as its author wrote it.
//!
//! ```text
//! bus --tap: labels alone--> try_send --[1024]--> thread --> book --> file.tmp --rename--> file
//! ```
//!
//! The bus never waits for the disk. Where the file cannot be written, that is told once, and the labels hold
//! until the session ends.

pub mod entries;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

pub use entries::{Book, Entry, MAX_LABELS};

use crate::event::{Event, EventKind, Observer};
use crate::settings::SemanticSettings;
use crate::text::SafeText;

/// Labels that may wait for the disk. One more is not kept: nobody judges a thousand answers faster than a disk
/// writes a few kilobytes.
const QUEUE: usize = 1024;

/// What the thread is told.
#[derive(Debug)]
enum Told {
    Label(Entry),
    End,
}

/// Writes labels down as they come.
#[derive(Debug)]
pub struct Keeper {
    queue: SyncSender<Told>,
    /// Until it starts.
    waiting: Option<(Receiver<Told>, Book, Option<PathBuf>)>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// A keeper that goes on from the labels in `settings` and writes to `file`. Without a file it only says, at
    /// the first label, that there is no place for one.
    pub fn new(settings: &SemanticSettings, file: Option<PathBuf>) -> Self {
        let (queue, told) = sync_channel(QUEUE);
        Self {
            queue,
            waiting: Some((told, Book::new(settings), file)),
            thread: None,
        }
    }

    /// What to tap the bus with.
    pub fn tap(&self) -> impl FnMut(&Event) + Send + use<> {
        let queue = self.queue.clone();
        move |event| {
            if let Some(label) = Entry::of(&event.kind) {
                // full or ended: the label still holds in this session
                drop(queue.try_send(Told::Label(label)));
            }
        }
    }

    /// Starts the thread; what cannot be written is told to `observer`.
    pub fn start(&mut self, observer: impl Observer) -> io::Result<()> {
        let Some((told, book, file)) = self.waiting.take() else {
            return Ok(());
        };
        let thread = thread::Builder::new()
            .name("labels".into())
            .spawn(move || keep(&told, book, file.as_deref(), &observer))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// Writes what still waits. Labels that come later are not kept.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        drop(self.queue.send(Told::End));
        drop(thread.join());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread: everything that waits goes into the file at once.
fn keep(told: &Receiver<Told>, mut book: Book, file: Option<&Path>, observer: &impl Observer) {
    let mut complained = false;
    let mut open = true;
    while open && let Ok(first) = told.recv() {
        let mut changed = false;
        for told in std::iter::once(first).chain(told.try_iter()) {
            match told {
                Told::Label(label) => {
                    book.note(&label);
                    changed = true;
                }
                Told::End => open = false,
            }
        }
        if !changed {
            continue;
        }
        let trouble = match file {
            Some(file) => write(file, &book.text())
                .err()
                .map(|error| format!("cannot write {}: {error}", file.display())),
            None => Some("neither XDG_STATE_HOME nor HOME says where".to_owned()),
        };
        if let Some(trouble) = trouble.filter(|_| !complained) {
            complained = true;
            let text = format!("labels hold only until this session ends: {trouble}");
            let text = SafeText::excerpt(&text.replace('\n', " "), 400);
            observer.emit(None, EventKind::Noticed { text });
        }
    }
}

/// Replaces a file as a whole: a reader finds the old one or the new one, whatever happens in between.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = folder.join(name);
    let written = create(&beside).and_then(|mut out| {
        out.write_all(text.as_bytes())?;
        // before the rename: after a crash there must not be an empty file under the right name
        out.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&beside, file));
    if renamed.is_err() {
        drop(fs::remove_file(&beside));
    }
    renamed
}

/// A new file that only its owner can read, whatever stood there from a crash.
fn create(path: &Path) -> io::Result<File> {
    drop(fs::remove_file(path));
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::event::CallId;
    use crate::settings::SemanticLabel;
    use crate::time::Timestamp;

    /// Remembers what it is told.
    #[derive(Clone, Debug, Default)]
    struct Ears(Arc<Mutex<Vec<String>>>);

    impl Observer for Ears {
        fn emit(&self, _call: Option<CallId>, kind: EventKind) {
            if let EventKind::Noticed { text } = kind {
                self.0.lock().unwrap().push(text.to_string());
            }
        }
    }

    fn label(request: &str, good: bool, threshold: f64) -> Event {
        Event {
            seq: 0,
            at: Timestamp::ZERO,
            call: Some(CallId(2)),
            kind: EventKind::SemanticLabelled {
                source: CallId(1),
                request: request.into(),
                good,
                similarity: 0.94,
                threshold,
                removed: !good,
            },
        }
    }

    /// A keeper that heard these, and has ended.
    fn kept(file: Option<PathBuf>, events: &[Event]) -> Vec<String> {
        let ears = Ears::default();
        let mut keeper = Keeper::new(&SemanticSettings::default(), file);
        let mut tap = keeper.tap();
        keeper.start(ears.clone()).unwrap();
        for event in events {
            tap(event);
        }
        keeper.finish();
        // after the end nothing is kept, and nothing breaks
        tap(&label("0f", true, 0.8));
        ears.0.lock().unwrap().clone()
    }

    #[test]
    fn labels_go_into_a_file_that_only_its_owner_reads() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("state/seawall/production.labels.toml");
        let events = [
            label("0a", true, 0.4),
            label("0b", false, 0.97),
            label("0a", true, 0.4),
        ];
        assert_eq!(kept(Some(file.clone()), &events), [""; 0]);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# What you said"), "{text}");
        let found: Vec<SemanticLabel> = entries::read(&text)
            .unwrap()
            .into_iter()
            .map(|label| label.label)
            .collect();
        let expected = |request: &str, good, bad, threshold| SemanticLabel {
            request: request.into(),
            good,
            bad,
            threshold,
        };
        assert_eq!(
            found,
            [expected("0b", 0, 1, Some(0.97)), expected("0a", 2, 0, None)]
        );
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let beside: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().collect();
        assert_eq!(beside.len(), 1, "{beside:?}");
    }

    #[test]
    fn what_cannot_be_written_is_told_once() {
        let home = tempfile::tempdir().unwrap();
        // a file where a folder should be: no user can write below it, not even root
        let blocked = home.path().join("file");
        fs::write(&blocked, "").unwrap();
        let file = blocked.join("production.labels.toml");
        let events = [label("0a", true, 0.4), label("0b", false, 0.97)];
        let told = kept(Some(file), &events);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("labels hold only until this session ends: cannot write "),
            "{told:?}"
        );
        let told = kept(None, &events);
        assert_eq!(
            told,
            ["labels hold only until this session ends: neither XDG_STATE_HOME nor HOME says where"]
        );
    }

    /// The thread tells the bus what it cannot do while producers tell the bus of labels.
    #[tokio::test]
    async fn on_a_bus_labels_are_kept_and_trouble_is_an_event() {
        let home = tempfile::tempdir().unwrap();
        for folder_is_a_file in [false, true] {
            let folder = home.path().join(format!("{folder_is_a_file}"));
            if folder_is_a_file {
                fs::write(&folder, "").unwrap();
            }
            let file = folder.join("mine.labels.toml");
            let mut keeper = Keeper::new(&SemanticSettings::default(), Some(file.clone()));
            let clock = crate::time::Clock::start();
            let bus = crate::session::bus::Bus::tapped(clock, Box::new(keeper.tap()));
            keeper.start(bus.clone()).unwrap();
            for number in 0..100 {
                bus.emit(Some(CallId(2)), label(&format!("{number:032x}"), true, 0.8).kind);
            }
            keeper.finish();
            let noticed = bus.with_state(|state| {
                let texts = state.log.lines.iter().map(|line| line.text.to_string());
                texts.filter(|text| text.contains("labels hold only")).count()
            });
            assert_eq!(noticed, usize::from(folder_is_a_file));
            let found = fs::read_to_string(&file).map(|text| entries::read(&text).unwrap().len());
            assert_eq!(found.ok(), (!folder_is_a_file).then_some(100));
        }
    }

    #[test]
    fn a_file_that_nobody_needs_is_not_written() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("production.labels.toml");
        let other = Event {
            kind: EventKind::SemanticStored { entries: 3 },
            ..label("0a", true, 0.4)
        };
        assert_eq!(kept(Some(file.clone()), &[other]), [""; 0]);
        assert!(!file.exists());
    }
}
