//! Saves users' labels of semantic hits to a file of their own, so that the policy file keeps its author's
//! comments.
//!
//! ```text
//! bus --tap: labels only--> try_send --[1024]--> thread --> LabelSet --> file.tmp --rename--> file
//! ```
//!
//! The bus never waits for the disk. If the file cannot be written, the log says so once and the labels last until
//! the session ends.

pub(crate) mod label_set;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use label_set::{Label, LabelSet};

use crate::event::{Event, EventKind, Observer};
use crate::settings::SemanticSettings;
use crate::text::SafeText;

/// Labels that may wait for the disk; more are dropped. No user labels a thousand answers in the time a disk takes
/// to write a few kilobytes.
const QUEUE: usize = 1024;

#[derive(Debug)]
enum Message {
    Label(Label),
    Stop,
}

/// Writes labels to a file on a thread of its own.
#[derive(Debug)]
pub(crate) struct LabelWriter {
    queue: SyncSender<Message>,
    /// The state that the thread takes over when it starts.
    unstarted: Option<(Receiver<Message>, LabelSet, Option<PathBuf>)>,
    thread: Option<JoinHandle<()>>,
}

impl LabelWriter {
    /// Creates a writer that continues from the labels in `settings`. Without a file, the first label is answered
    /// with a notice that no file could be chosen.
    pub(crate) fn new(settings: &SemanticSettings, file: Option<PathBuf>) -> Self {
        let (queue, messages) = sync_channel(QUEUE);
        Self {
            queue,
            unstarted: Some((messages, LabelSet::new(settings), file)),
            thread: None,
        }
    }

    /// Returns the tap for the bus, which passes labels on to the writer.
    pub(crate) fn tap(&self) -> impl FnMut(&Event) + Send + use<> {
        let queue = self.queue.clone();
        move |event| {
            if let Some(label) = Label::from_event(&event.kind) {
                // full or stopped: the label still applies in this session
                drop(queue.try_send(Message::Label(label)));
            }
        }
    }

    /// Starts the thread. A failed write emits `Noticed` through `observer`.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
    pub(crate) fn start(&mut self, observer: impl Observer) -> io::Result<()> {
        let Some((messages, labels, file)) = self.unstarted.take() else {
            return Ok(());
        };
        let thread = thread::Builder::new()
            .name("labels".into())
            .spawn(move || write_labels(&messages, labels, file.as_deref(), &observer))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// Writes the waiting labels and stops. Later labels are not saved.
    pub(crate) fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        drop(self.queue.send(Message::Stop));
        drop(thread.join());
    }
}

impl Drop for LabelWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The loop of the thread: one write saves everything that waits.
fn write_labels(
    messages: &Receiver<Message>,
    mut labels: LabelSet,
    file: Option<&Path>,
    observer: &impl Observer,
) {
    let mut reported = false;
    let mut open = true;
    while open && let Ok(first) = messages.recv() {
        let mut changed = false;
        for message in std::iter::once(first).chain(messages.try_iter()) {
            match message {
                Message::Label(label) => {
                    labels.add(&label);
                    changed = true;
                }
                Message::Stop => open = false,
            }
        }
        if !changed {
            continue;
        }
        let problem = match file {
            Some(file) => replace_file(file, &labels.to_toml())
                .err()
                .map(|error| format!("cannot write {}: {error}", file.display())),
            None => Some("neither XDG_STATE_HOME nor HOME is set".to_owned()),
        };
        if let Some(problem) = problem.filter(|_| !reported) {
            reported = true;
            let text = format!("labels are lost when this session ends: {problem}");
            let text = SafeText::excerpt(&text.replace('\n', " "), 400);
            observer.emit(None, EventKind::Notice { text });
        }
    }
}

/// Replaces a file atomically: a reader sees the old or the new one, even after a crash.
pub(crate) fn replace_file(file: &Path, text: &str) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(name);
    let written = create_private(&temporary).and_then(|mut out| {
        out.write_all(text.as_bytes())?;
        // before the rename: a crash must not leave an empty file under the final name
        out.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, file));
    if renamed.is_err() {
        drop(fs::remove_file(&temporary));
    }
    renamed
}

/// Creates a file that only its owner can read, replacing one left by a crash.
fn create_private(path: &Path) -> io::Result<File> {
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

    #[derive(Clone, Debug, Default)]
    struct Notices(Arc<Mutex<Vec<String>>>);

    impl Observer for Notices {
        fn emit(&self, _call: Option<CallId>, kind: EventKind) {
            if let EventKind::Notice { text } = kind {
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

    /// Runs a writer over these events and returns its notices.
    fn notices_of(file: Option<PathBuf>, events: &[Event]) -> Vec<String> {
        let notices = Notices::default();
        let mut writer = LabelWriter::new(&SemanticSettings::default(), file);
        let mut tap = writer.tap();
        writer.start(notices.clone()).unwrap();
        for event in events {
            tap(event);
        }
        writer.finish();
        // a later label is dropped
        tap(&label("0f", true, 0.8));
        notices.0.lock().unwrap().clone()
    }

    #[test]
    fn labels_are_saved_to_a_file_that_only_its_owner_can_read() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("state/seawall/production.labels.toml");
        let events = [
            label("0a", true, 0.4),
            label("0b", false, 0.97),
            label("0a", true, 0.4),
        ];
        assert_eq!(notices_of(Some(file.clone()), &events), [""; 0]);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# Labels"), "{text}");
        let found: Vec<SemanticLabel> = label_set::parse_labels(&text)
            .unwrap()
            .into_iter()
            .map(|located| located.label)
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
    fn a_failed_write_is_reported_once() {
        let home = tempfile::tempdir().unwrap();
        // a file in place of a folder: not even root can write below it
        let blocked = home.path().join("file");
        fs::write(&blocked, "").unwrap();
        let file = blocked.join("production.labels.toml");
        let events = [label("0a", true, 0.4), label("0b", false, 0.97)];
        let notices = notices_of(Some(file), &events);
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(
            notices[0].starts_with("labels are lost when this session ends: cannot write "),
            "{notices:?}"
        );
        let notices = notices_of(None, &events);
        assert_eq!(
            notices,
            ["labels are lost when this session ends: neither XDG_STATE_HOME nor HOME is set"]
        );
    }

    /// The thread emits to the bus while producers emit labels.
    #[tokio::test]
    async fn on_a_bus_labels_are_saved_and_failures_are_events() {
        let home = tempfile::tempdir().unwrap();
        for folder_is_a_file in [false, true] {
            let folder = home.path().join(format!("{folder_is_a_file}"));
            if folder_is_a_file {
                fs::write(&folder, "").unwrap();
            }
            let file = folder.join("mine.labels.toml");
            let mut writer = LabelWriter::new(&SemanticSettings::default(), Some(file.clone()));
            let clock = crate::time::Clock::start();
            let bus = crate::session::bus::Bus::tapped(clock, Box::new(writer.tap()));
            writer.start(bus.clone()).unwrap();
            for number in 0..100 {
                bus.emit(Some(CallId(2)), label(&format!("{number:032x}"), true, 0.8).kind);
            }
            writer.finish();
            let noticed = bus.with_state(|state| {
                let texts = state.log.lines.iter().map(|line| line.text.to_string());
                texts.filter(|text| text.contains("labels are lost")).count()
            });
            assert_eq!(noticed, usize::from(folder_is_a_file));
            let found = fs::read_to_string(&file).map(|text| label_set::parse_labels(&text).unwrap().len());
            assert_eq!(found.ok(), (!folder_is_a_file).then_some(100));
        }
    }

    #[test]
    fn no_file_is_written_without_labels() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("production.labels.toml");
        let other = Event {
            kind: EventKind::SemanticStored { entries: 3 },
            ..label("0a", true, 0.4)
        };
        assert_eq!(notices_of(Some(file.clone()), &[other]), [""; 0]);
        assert!(!file.exists());
    }
}
