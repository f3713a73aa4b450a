//! The event loop under a paused clock: its frames, effects and exits.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crossterm::event::Event as Terminal;
use futures_util::{FutureExt as _, stream};
use ratatui::layout::Size;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{busy_state, named};
use crate::event::{Command, Event, EventKind, UserId};
use crate::state::{State, fixture};
use crate::time::Clock;
use crate::tui::keymap::Keymap;
use crate::tui::outputs::{Outputs, SaveChannel, SaveRequest};
use crate::tui::pane::PaneId;
use crate::tui::signals::Signals;
use crate::tui::terminal::Host;
use crate::tui::theme::Theme;
use crate::tui::view::View;
use crate::tui::{BATCH, EventFeed, EventLoop, Exit, Feed, Session, TuiOptions};

/// A terminal that records its calls.
#[derive(Debug, Default)]
struct Paper {
    frames: Vec<(u64, Option<u64>)>,
    messages: Vec<String>,
    copied: Vec<String>,
    suspended: usize,
    resumed: usize,
    /// The time that a frame takes.
    slow: Duration,
    fails: Option<rustix::io::Errno>,
}

impl Host for Paper {
    fn draw(&mut self, view: &View<'_>, _keymap: &Keymap) -> io::Result<()> {
        if let Some(error) = self.fails {
            return Err(error.into());
        }
        if !self.slow.is_zero() {
            let _advanced = tokio::time::advance(self.slow).now_or_never();
        }
        self.frames.push((view.state.next_seq, view.ui.paused));
        self.messages
            .push(view.ui.message(view.now).unwrap_or_default().to_owned());
        Ok(())
    }

    fn copy(&mut self, text: &str) -> io::Result<()> {
        self.copied.push(text.to_owned());
        Ok(())
    }

    fn release(&mut self) -> io::Result<()> {
        self.suspended += 1;
        Ok(())
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.suspended += 1;
        Ok(())
    }

    fn resume(&mut self) -> io::Result<()> {
        self.resumed += 1;
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        Ok(Size::new(80, 24))
    }
}

/// A feed that returns batches at their times.
struct Script {
    clock: Clock,
    batches: VecDeque<(Duration, Batch)>,
    /// Events returned so far.
    returned: Arc<AtomicUsize>,
}

enum Batch {
    Events(Vec<u64>),
    Resync(u64),
}

impl EventFeed for Script {
    async fn recv(&mut self, batch: &mut Vec<Arc<Event>>) -> Feed {
        let Some((at, _)) = self.batches.front() else {
            return std::future::pending().await;
        };
        self.clock.sleep_until(crate::time::Timestamp::ZERO + *at).await;
        match self.batches.pop_front() {
            Some((_, Batch::Events(seqs))) => {
                self.returned.fetch_add(seqs.len(), Ordering::Relaxed);
                batch.extend(seqs.into_iter().map(|seq| {
                    Arc::new(Event {
                        seq,
                        at: self.clock.now(),
                        call: None,
                        kind: EventKind::Notice { text: "x".into() },
                    })
                }));
                Feed::Events
            }
            Some((_, Batch::Resync(next_seq))) => Feed::Resynced {
                state: Box::new(State {
                    next_seq,
                    ..State::default()
                }),
                skipped: next_seq,
            },
            None => Feed::Closed,
        }
    }
}

struct Rig {
    event_loop: EventLoop<Script, Paper>,
    commands: mpsc::Receiver<Command>,
    quit: CancellationToken,
    clock: Clock,
}

fn rig(batches: Vec<(u64, Batch)>, state: State) -> Rig {
    let clock = Clock::start();
    let (sender, commands) = mpsc::channel(2);
    let quit = CancellationToken::new();
    let batches = batches
        .into_iter()
        .map(|(at, batch)| (Duration::from_millis(at), batch))
        .collect();
    let session = Session {
        feed: Script {
            clock,
            batches,
            returned: Arc::default(),
        },
        state,
        outputs: Outputs {
            commands: Some(sender),
            ..Outputs::default()
        },
        clock,
        quit: quit.clone(),
        signals: Signals::default(),
    };
    let options = TuiOptions {
        mouse: false,
        theme: Theme::default(),
        users: vec![UserId::new("ana")],
        profiles: Vec::new(),
        notice: None,
        prompts: Vec::new(),
        editor: "vi".into(),
        load: None,
        tour: false,
    };
    let event_loop = EventLoop::new(session, Paper::default(), Keymap::builtin().unwrap(), options).unwrap();
    Rig {
        event_loop,
        commands,
        quit,
        clock,
    }
}

impl Rig {
    /// Runs for `millis`, with keys at their times in milliseconds.
    async fn run(&mut self, keys: Vec<(u64, &'static str)>, millis: u64) -> Option<Exit> {
        let clock = self.clock;
        let input = stream::unfold(VecDeque::from(keys), move |mut keys| async move {
            let (at, key) = match keys.pop_front() {
                Some(next) => next,
                None => std::future::pending().await,
            };
            clock
                .sleep_until(crate::time::Timestamp::ZERO + Duration::from_millis(at))
                .await;
            Some((Ok(Terminal::Key(named(key))), keys))
        });
        let end = clock.sleep(Duration::from_millis(millis));
        tokio::select! {
            exit = self.event_loop.drive(Box::pin(input)) => Some(exit.unwrap()),
            () = end => None,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_screen_draws_one_frame_only() {
    let mut rig = rig(Vec::new(), State::default());
    assert_eq!(rig.run(Vec::new(), 3_600_000).await, None);
    assert_eq!(rig.event_loop.pace.frames(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_screen_stops_drawing_after_a_busy_session() {
    let mut rig = rig(Vec::new(), fixture::fold(&fixture::session(7, 300)));
    rig.run(Vec::new(), 3_600_000).await;
    let frames = rig.event_loop.pace.frames();
    rig.run(Vec::new(), 3_600_000).await;
    assert_eq!(rig.event_loop.pace.frames(), frames);
}

#[tokio::test(start_paused = true)]
async fn visible_charts_move_once_per_second_and_then_stop() {
    let state = fixture::fold(&fixture::session(7, 300));
    let mut hidden = rig(Vec::new(), state.clone());
    (hidden.event_loop.ui.focus, hidden.event_loop.ui.zoomed) = (PaneId::Log, true);
    hidden.run(Vec::new(), 600_000).await;
    let mut seen = rig(Vec::new(), state.clone());
    seen.run(Vec::new(), 600_000).await;
    let more = seen.event_loop.pace.frames() - hidden.event_loop.pace.frames();
    let last = state.last_event_at.0 / 1_000_000_000;
    assert!(more > 0 && more <= last + 31, "{more} frames");
    let frames = seen.event_loop.pace.frames();
    seen.run(Vec::new(), 3_600_000).await;
    assert_eq!(seen.event_loop.pace.frames(), frames);
}

#[tokio::test(start_paused = true)]
async fn the_first_event_draws_at_once_and_many_events_thirty_times_per_second() {
    let storm: Vec<_> = (0..1000).map(|n| (5000 + n, Batch::Events(vec![n]))).collect();
    let mut rig = rig(storm, State::default());
    rig.run(Vec::new(), 10_000).await;
    let seen: Vec<u64> = rig.event_loop.host.frames.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seen.get(..3), Some(&[0, 1, 34][..]));
    assert_eq!(seen.last(), Some(&1000));
    // the charts move in the four seconds after the events
    assert!((30..=38).contains(&seen.len()), "{} frames", seen.len());
}

/// A key that comes amid a burst is handled before the next batch, whatever is in the queue: its answer waits for the
/// fold of at most one batch and for one frame.
#[tokio::test(start_paused = true)]
async fn a_key_waits_for_one_batch_of_a_burst_at_most() {
    let all: Vec<u64> = (0..60_000).collect();
    let burst = all.chunks(BATCH).map(|batch| (5, Batch::Events(batch.to_vec())));
    let mut rig = rig(burst.collect(), State::default());
    let returned = Arc::clone(&rig.event_loop.session.feed.returned);
    let pressed = Arc::new(AtomicUsize::new(usize::MAX));
    let (seen, at) = (Arc::clone(&returned), Arc::clone(&pressed));
    let mut keys = VecDeque::from(["p", "q"]);
    let input = stream::poll_fn(move |_| {
        // the loop asks for input in each turn; q follows p before the next batch
        if seen.load(Ordering::Relaxed) < all.len() / 2 {
            return Poll::Pending;
        }
        at.fetch_min(seen.load(Ordering::Relaxed), Ordering::Relaxed);
        Poll::Ready(keys.pop_front().map(|key| Ok(Terminal::Key(named(key)))))
    });
    let exit = rig.event_loop.drive(input).await.unwrap();
    assert_eq!(exit, Exit::Quit);
    let applied = rig.event_loop.session.state.next_seq;
    assert_eq!(applied, pressed.load(Ordering::Relaxed) as u64);
    assert_eq!(returned.load(Ordering::Relaxed) as u64, applied);
    assert!((30_000..30_000 + BATCH as u64).contains(&applied), "{applied}");
}

/// A frame that takes long does not hold up the keys that come meanwhile: they are answered by one frame.
#[tokio::test(start_paused = true)]
async fn keys_that_come_during_a_slow_frame_share_the_next_one() {
    let mut rig = rig(Vec::new(), busy_state());
    rig.event_loop.host.slow = Duration::from_millis(20);
    let letters = (2..=41).map(|at| (at, "a"));
    rig.run([(1, "i")].into_iter().chain(letters).collect(), 100)
        .await;
    assert_eq!(rig.event_loop.ui.draft.text().len(), 40);
    let frames = rig.event_loop.pace.frames();
    assert!((2..=5).contains(&frames), "{frames} frames for 40 keys");
}

#[tokio::test(start_paused = true)]
async fn a_message_expires_with_one_more_frame() {
    let mut rig = rig(Vec::new(), State::default());
    rig.run(vec![(100, "x")], 60_000).await;
    assert_eq!(rig.event_loop.host.messages, ["", "x: nothing is running", ""]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_view_counts_events_and_loses_none() {
    let batches = vec![
        (1000, Batch::Events(vec![0, 1])),
        (3000, Batch::Events(vec![2, 3, 4])),
    ];
    let mut rig = rig(batches, State::default());
    rig.run(vec![(2000, "p"), (4000, "p")], 5000).await;
    // the charts move while the view is live
    rig.event_loop.host.frames.dedup();
    assert_eq!(
        rig.event_loop.host.frames,
        [(0, None), (2, None), (2, Some(0)), (2, Some(3)), (5, None)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_command_queue_keeps_the_prompt() {
    let mut rig = rig(Vec::new(), busy_state());
    let keys = vec![(1, "b"), (2, "b"), (3, "i"), (4, "a"), (5, "enter")];
    rig.run(keys, 1000).await;
    assert_eq!(rig.event_loop.ui.draft.text(), "a");
    assert_eq!(
        rig.event_loop.host.messages.last().map(String::as_str),
        Some("engine busy: not sent, press the key again")
    );
    rig.commands.recv().await.unwrap();
    rig.run(vec![(1100, "enter")], 1000).await;
    assert_eq!(rig.event_loop.ui.draft.text(), "");
    rig.commands.recv().await.unwrap();
    assert!(matches!(rig.commands.recv().await, Some(Command::Send { prompt, .. }) if prompt == "a"));
}

#[tokio::test(start_paused = true)]
async fn a_drill_is_saved_in_the_background_and_the_result_is_shown() {
    let mut rig = rig(Vec::new(), busy_state());
    let (requests, mut requested) = mpsc::channel(1);
    let (sender, results) = mpsc::channel(1);
    rig.event_loop.session.outputs.saves = Some(SaveChannel { requests, results });
    let keys = vec![(100, "w"), (110, "enter"), (200, "w"), (210, "enter")];
    rig.run(keys, 300).await;
    let drill = SaveRequest {
        policy: None,
        file: None,
    };
    assert_eq!(requested.recv().await, Some(drill));
    sender.send("saved drill.toml".into()).await.unwrap();
    rig.run(Vec::new(), 100).await;
    let messages = rig.event_loop.host.messages.iter().map(String::as_str);
    let mut messages: Vec<&str> = messages.filter(|message| !message.is_empty()).collect();
    messages.dedup();
    assert_eq!(
        messages,
        [
            "saving the drill: running it once headless",
            "already saving",
            "saved drill.toml"
        ]
    );
    drop(requested);
    rig.run(vec![(500, "w"), (510, "enter")], 300).await;
    assert_eq!(
        rig.event_loop.host.messages.last().map(String::as_str),
        Some("not saved: the session has ended")
    );
}

#[tokio::test(start_paused = true)]
async fn the_running_policy_is_saved_as_of_the_key_press() {
    let mut rig = rig(Vec::new(), busy_state());
    rig.event_loop.session.state.session.policy.retry.attempts = 7;
    let (requests, mut requested) = mpsc::channel(1);
    let (_sender, results) = mpsc::channel(1);
    rig.event_loop.session.outputs.saves = Some(SaveChannel { requests, results });
    rig.run(vec![(100, "="), (200, "w"), (210, "enter")], 300).await;
    let policy = requested.recv().await.unwrap().policy.unwrap();
    assert_eq!(policy.retry.attempts, 7);
    assert_eq!(
        rig.event_loop.host.messages.last().map(String::as_str),
        Some("saving the policy")
    );
    rig.event_loop.session.outputs.saves = None;
    rig.run(vec![(400, "w"), (410, "enter")], 300).await;
    assert_eq!(
        rig.event_loop.host.messages.last().map(String::as_str),
        Some("this session cannot save a policy")
    );
}

/// The edit of the latest what-if request.
fn requested_edit(rig: &Rig) -> Option<u64> {
    let request = rig.event_loop.session.outputs.whatif.borrow();
    request.as_ref().map(|request| request.edit)
}

#[tokio::test(start_paused = true)]
async fn applying_sends_the_policy_and_requests_its_evaluation() {
    let mut rig = rig(Vec::new(), busy_state());
    rig.run(vec![(1, "=")], 100).await;
    assert_eq!(requested_edit(&rig), Some(1));
    rig.run(vec![(101, "space")], 100).await;
    assert_eq!(requested_edit(&rig), Some(2));
    rig.run(vec![(201, "enter")], 100).await;
    assert!(matches!(
        rig.commands.recv().await,
        Some(Command::ApplyPolicy { .. })
    ));
    assert_eq!(
        rig.event_loop.host.messages.last().map(String::as_str),
        Some("Policy applied. U undoes it.")
    );
    assert_eq!(requested_edit(&rig), Some(3));
    // requests need no room in the queue of the engine
    rig.run(vec![(301, "esc"), (302, "b"), (303, "b"), (304, "=")], 100)
        .await;
    assert_eq!(requested_edit(&rig), Some(4));
    rig.run(vec![(401, "esc")], 100).await;
    assert_eq!(requested_edit(&rig), None);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_was_not_sent_is_not_applied() {
    let mut rig = rig(Vec::new(), busy_state());
    let keys = vec![(1, "b"), (2, "b"), (3, "="), (4, "space"), (5, "enter")];
    rig.run(keys, 100).await;
    // the queue has room for the two bursts only
    assert_eq!(
        rig.event_loop.host.messages.last().map(String::as_str),
        Some("engine busy: not sent, press the key again")
    );
    assert!(rig.event_loop.ui.undo.is_empty());
    for _ in 0..2 {
        assert!(matches!(rig.commands.recv().await, Some(Command::Burst { .. })));
    }
    rig.run(vec![(101, "enter")], 100).await;
    assert!(matches!(
        rig.commands.recv().await,
        Some(Command::ApplyPolicy { .. })
    ));
    assert!(!rig.event_loop.ui.undo.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_resync_replaces_the_state_and_skips_known_events() {
    let batches = vec![(10, Batch::Resync(100)), (20, Batch::Events(vec![99, 100, 101]))];
    let mut rig = rig(batches, State::default());
    rig.run(Vec::new(), 1000).await;
    assert_eq!(
        (rig.event_loop.session.state.next_seq, rig.event_loop.skipped),
        (102, 100)
    );
    assert_eq!(
        rig.event_loop.host.messages.last().map(String::as_str),
        Some("resynced, 100 events skipped")
    );
}

#[tokio::test(start_paused = true)]
async fn it_ends_by_key_by_token_and_at_the_end_of_input() {
    assert_eq!(
        rig(Vec::new(), State::default()).run(vec![(5, "q")], 1000).await,
        Some(Exit::Quit)
    );
    let mut cancelled = rig(Vec::new(), State::default());
    cancelled.quit.cancel();
    assert_eq!(cancelled.run(Vec::new(), 1000).await, Some(Exit::Cancelled));
    let mut ended = rig(Vec::new(), State::default());
    let end = ended.event_loop.drive(stream::empty()).await.unwrap();
    assert_eq!((end, end.code()), (Exit::HungUp, 129));
}

#[tokio::test(start_paused = true)]
async fn a_terminal_that_is_gone_is_a_hang_up_and_another_error_is_none() {
    use rustix::io::Errno;
    for (error, gone) in [
        (Errno::IO, true),
        (Errno::NXIO, true),
        (Errno::PIPE, true),
        (Errno::NOMEM, false),
    ] {
        let mut rig = rig(Vec::new(), State::default());
        let failed = stream::iter([Err(io::Error::from(error))]);
        let end = rig.event_loop.drive(failed).await;
        assert_eq!(end.ok() == Some(Exit::HungUp), gone, "read: {error}");
        rig.event_loop.host.fails = Some(error);
        rig.event_loop.pace.touch();
        let end = rig.event_loop.drive(stream::pending()).await;
        assert_eq!(end.ok() == Some(Exit::HungUp), gone, "write: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn ctrl_z_suspends_and_resumes_the_terminal() {
    let mut rig = rig(Vec::new(), State::default());
    rig.run(vec![(5, "ctrl+z")], 2000).await;
    assert_eq!(
        (rig.event_loop.host.suspended, rig.event_loop.host.resumed),
        (1, 1)
    );
    assert_eq!(rig.event_loop.pace.frames(), 2);
}

#[tokio::test(start_paused = true)]
async fn copies_are_capped() {
    let mut rig = rig(Vec::new(), busy_state());
    rig.run(vec![(4, "i"), (5, "ctrl+y")], 100).await;
    assert_eq!(rig.event_loop.host.copied, ["It counts"]);
    let flight = rig
        .event_loop
        .session
        .state
        .calls
        .flights
        .values_mut()
        .next_back()
        .unwrap();
    flight.text = "x".repeat(60_000).into();
    rig.run(vec![(6, "ctrl+y")], 100).await;
    assert_eq!(rig.event_loop.host.copied.len(), 1);
    assert!(
        rig.event_loop
            .ui
            .message(rig.clock.now())
            .unwrap()
            .starts_with("too long to copy: 60000")
    );
}
