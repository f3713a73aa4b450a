//! Examples and tables, then a simpler model that must agree with the limiter after every step.

mod estimates;
mod users;

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::settings::{Bucket, QueueOrder, UserLimits};

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Timestamp {
    Timestamp(millis * 1_000_000)
}

/// 3 requests, 1 per second; 100 tokens, 10 per second; 2 slots; 4 waiters.
fn settings() -> LimitSettings {
    LimitSettings {
        enabled: true,
        requests: Bucket {
            capacity: 3,
            refill: 1,
            per: SECOND,
        },
        tokens: Bucket {
            capacity: 100,
            refill: 10,
            per: SECOND,
        },
        concurrency: 2,
        max_waiters: 4,
        max_wait: 60 * SECOND,
        ..LimitSettings::default()
    }
}

fn limiter() -> Limiter {
    Limiter::new(&settings(), Timestamp::ZERO)
}

/// The user of tests with a single user.
static ANA: LazyLock<UserId> = LazyLock::new(|| UserId::new("ana"));

fn request(tokens: u64) -> Request<'static> {
    Request {
        user: &ANA,
        tokens,
        deadline: Timestamp::MAX,
    }
}

impl Limiter {
    fn must_admit(&mut self, now: Timestamp, tokens: u64) -> Grant {
        match self.acquire(now, request(tokens)) {
            Admission::Admitted(grant) => grant,
            other => panic!("{other:?}"),
        }
    }

    fn must_queue(&mut self, now: Timestamp, tokens: u64) -> Ticket {
        match self.acquire(now, request(tokens)) {
            Admission::Queued { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// Whole units in both buckets.
    fn levels(&self, now: Timestamp) -> (i64, i64) {
        let units = |level: BucketLevel| level.level_at(now).floor() as i64;
        (units(self.requests(now)), units(self.tokens(now)))
    }
}

#[test]
fn the_settings_of_these_tests_are_valid() {
    let policy = crate::settings::Policy {
        limit: settings(),
        ..Default::default()
    };
    assert_eq!(policy.validate(), Ok(()));
}

#[test]
fn a_grant_debits_both_buckets_and_takes_a_slot() {
    let mut limiter = limiter();
    let grant = limiter.must_admit(at(0), 30);
    assert_eq!(grant.reserved(), 30);
    assert_eq!((limiter.levels(at(0)), limiter.in_use()), ((2, 70), 1));
    // too few tokens: neither a request nor a slot is taken
    let queued = limiter.acquire(at(0), request(80));
    let expected = Admission::Queued {
        ticket: Ticket(0),
        constraint: Constraint::Tokens,
        position: 1,
        ready_at: Some(at(1000)),
        displaced: None,
    };
    assert_eq!(queued, expected);
    assert_eq!((limiter.levels(at(0)), limiter.in_use()), ((2, 70), 1));
}

#[test]
fn a_lone_waiter_is_admitted_at_the_predicted_nanosecond() {
    let mut limiter = limiter();
    let _first = limiter.must_admit(at(0), 95);
    let ticket = limiter.must_queue(at(0), 20);
    assert_eq!(limiter.head(at(0)), Some((ticket, Some(at(1500)))));
    let early = Timestamp(at(1500).0 - 1);
    let wait = PollOutcome::Waiting {
        until: Some(at(1500)),
        constraint: Constraint::Tokens,
    };
    assert_eq!(limiter.poll(early, ticket), wait);
    let turn = limiter.poll(at(1500), ticket);
    let expected = PollOutcome::Admitted {
        grant: Grant {
            reserved: 20,
            charged: true,
            queue: UserQueueId(0),
            version: 0,
        },
        waited: Duration::from_millis(1500),
    };
    assert_eq!(turn, expected);
    assert_eq!(limiter.poll(at(1500), ticket), PollOutcome::NotQueued);
}

#[test]
fn a_small_call_does_not_pass_a_large_one() {
    let mut limiter = limiter();
    let first = limiter.must_admit(at(0), 60);
    let _settled = limiter.settle(at(0), first, Settlement::Unknown);
    let large = limiter.must_queue(at(0), 90);
    // one token is available, but the large call is ahead
    let small = limiter.acquire(at(0), request(1));
    let expected = Admission::Queued {
        ticket: Ticket(1),
        constraint: Constraint::Tokens,
        position: 2,
        ready_at: Some(at(5100)),
        displaced: None,
    };
    assert_eq!(small, expected);
    let wait = PollOutcome::Waiting {
        until: None,
        constraint: Constraint::Tokens,
    };
    assert_eq!(limiter.poll(at(10), Ticket(1)), wait);
    // the large call leaves: the small one is the head and is ready
    assert!(limiter.leave(at(20), large));
    assert_eq!(limiter.head(at(20)), Some((Ticket(1), Some(at(20)))));
    assert_eq!(limiter.levels(at(0)), (2, 40));
}

#[test]
fn a_waiter_for_a_slot_is_ready_only_when_a_slot_is_freed() {
    let mut limiter = limiter();
    let first = limiter.must_admit(at(0), 1);
    let _second = limiter.must_admit(at(0), 1);
    let queued = limiter.acquire(at(0), request(1));
    let expected = Admission::Queued {
        ticket: Ticket(0),
        constraint: Constraint::Slots,
        position: 1,
        ready_at: None,
        displaced: None,
    };
    assert_eq!(queued, expected);
    let wait = PollOutcome::Waiting {
        until: None,
        constraint: Constraint::Slots,
    };
    assert_eq!(limiter.poll(at(60_000), Ticket(0)), wait);
    assert_eq!(limiter.head(at(60_000)), Some((Ticket(0), None)));
    let _settled = limiter.settle(at(61_000), first, Settlement::Unknown);
    assert_eq!(limiter.head(at(61_000)), Some((Ticket(0), Some(at(61_000)))));
}

#[test]
fn rejects_a_call_larger_than_the_bucket() {
    let mut limiter = limiter();
    let rejected = limiter.acquire(at(0), request(101));
    assert_eq!(rejected, reject(LimitReject::TooLarge, None));
    let _full = limiter.must_admit(at(0), 100);
}

#[test]
fn rejects_a_call_whose_forecast_exceeds_max_wait_or_its_deadline() {
    let mut limiter = limiter();
    let first = limiter.must_admit(at(0), 100);
    let _settled = limiter.settle(at(0), first, Settlement::Unknown);
    let too_late = Request {
        user: &ANA,
        tokens: 50,
        deadline: at(4999),
    };
    let rejected = limiter.acquire(at(0), too_late);
    assert_eq!(rejected, reject(LimitReject::Deadline, Some(5 * SECOND)));
    // a wait that ends exactly at the deadline is allowed
    let just_in_time = Request {
        deadline: at(5000),
        ..too_late
    };
    let queued = limiter.acquire(at(0), just_in_time);
    assert!(
        matches!(
            queued,
            Admission::Queued {
                ticket: Ticket(0),
                ..
            }
        ),
        "{queued:?}"
    );
    assert!(limiter.leave(at(0), Ticket(0)));
    limiter.configure(
        &LimitSettings {
            max_wait: 4 * SECOND,
            ..settings()
        },
        at(0),
    );
    let rejected = limiter.acquire(at(0), too_late);
    assert_eq!(rejected, reject(LimitReject::WaitTooLong, Some(5 * SECOND)));
    assert_eq!((limiter.waiting(), limiter.levels(at(0))), (0, (2, 0)));
}

#[test]
fn the_queue_is_bounded_for_ten_thousand_callers() {
    let mut limiter = Limiter::new(&LimitSettings::default(), at(0));
    let mut grants = Vec::new();
    let mut full = 0;
    for _ in 0..10_000 {
        match limiter.acquire(at(0), request(1)) {
            Admission::Admitted(grant) => grants.push(grant),
            Admission::Queued { position, .. } => assert!(position <= 1024),
            // 60 at once and 300 per minute: the 361st would wait longer than a minute
            Admission::Rejected { reason, predicted } => {
                assert_eq!(reason, LimitReject::WaitTooLong);
                assert_eq!(predicted, Some(Duration::from_millis(60_200)));
                full += 1;
            }
        }
    }
    assert_eq!((grants.len(), limiter.waiting(), full), (16, 344, 9640));
}

#[test]
fn a_full_queue_rejects_with_the_wait_of_the_last_waiter() {
    let mut limiter = limiter();
    let _first = limiter.must_admit(at(0), 100);
    for _ in 0..4 {
        let _ticket = limiter.must_queue(at(0), 10);
    }
    let rejected = limiter.acquire(at(500), request(10));
    let wait = Duration::from_millis(3500);
    assert_eq!(rejected, reject(LimitReject::QueueFull, Some(wait)));
}

#[test]
fn settlement_refunds_keeps_or_becomes_debt() {
    // (settlement, settled, levels after)
    let settled = |charged, refunded| SettledGrant {
        reserved: 40,
        charged,
        refunded,
    };
    let table = [
        (Settlement::Unsent, settled(0, true), (3, 100)),
        (Settlement::Unknown, settled(40, false), (2, 60)),
        (Settlement::Used(0), settled(0, false), (2, 100)),
        (Settlement::Used(15), settled(15, false), (2, 85)),
        (Settlement::Used(130), settled(130, false), (2, -30)),
        // absurd usage is capped
        (Settlement::Used(u64::MAX), settled(140, false), (2, -40)),
    ];
    for (settlement, settled, levels) in table {
        let mut limiter = limiter();
        let grant = limiter.must_admit(at(0), 40);
        assert_eq!(limiter.settle(at(0), grant, settlement), settled);
        assert_eq!(limiter.levels(at(0)), levels, "{settlement:?}");
        assert_eq!(limiter.in_use(), 0);
    }
}

#[test]
fn a_refund_is_capped_at_capacity() {
    let mut limiter = limiter();
    let grant = limiter.must_admit(at(0), 40);
    // the bucket has been refilled in the meantime
    let _settled = limiter.settle(at(60_000), grant, Settlement::Unsent);
    assert_eq!(limiter.levels(at(60_000)), (3, 100));
}

#[test]
fn the_next_call_waits_until_the_debt_is_refilled() {
    let mut limiter = limiter();
    let grant = limiter.must_admit(at(0), 40);
    let _settled = limiter.settle(at(0), grant, Settlement::Used(130));
    let ticket = limiter.must_queue(at(0), 10);
    assert_eq!(limiter.head(at(0)), Some((ticket, Some(at(4000)))));
}

#[test]
fn a_pause_holds_all_calls_and_is_never_shortened() {
    let mut limiter = limiter();
    assert_eq!(limiter.pause(at(0), at(2000)), at(2000));
    assert_eq!(limiter.pause(at(0), at(1000)), at(2000));
    let queued = limiter.acquire(at(0), request(1));
    let expected = Admission::Queued {
        ticket: Ticket(0),
        constraint: Constraint::Paused,
        position: 1,
        ready_at: Some(at(2000)),
        displaced: None,
    };
    assert_eq!(queued, expected);
    // a longer pause delays calls that already wait
    assert_eq!(limiter.pause(at(500), at(3000)), at(3000));
    assert_eq!(limiter.head(at(2000)), Some((Ticket(0), Some(at(3000)))));
    assert!(matches!(
        limiter.poll(at(3000), Ticket(0)),
        PollOutcome::Admitted { .. }
    ));
    // "Retry-After: 999999999"
    assert_eq!(limiter.pause(at(3000), Timestamp::MAX), at(3_603_000));
}

/// The head is ready and not yet woken: an arriving call reports neither a pause that is over nor a bucket that
/// suffices.
#[test]
fn behind_a_ready_head_a_call_waits_at_most_for_a_slot() {
    let mut limiter = limiter();
    let _until = limiter.pause(at(0), at(2000));
    let _head = limiter.must_queue(at(0), 1);
    let expected = Admission::Queued {
        ticket: Ticket(1),
        constraint: Constraint::Slots,
        position: 2,
        ready_at: Some(at(2000)),
        displaced: None,
    };
    assert_eq!(limiter.acquire(at(2000), request(1)), expected);
}

#[test]
fn a_throttle_slows_both_buckets_until_its_end() {
    let mut limiter = limiter();
    let first = limiter.must_admit(at(0), 100);
    let _settled = limiter.settle(at(0), first, Settlement::Unknown);
    assert_eq!(limiter.throttle(at(0), 0.7, at(10_000)), at(10_000));
    // sixteen 429s of one burst count once
    for _ in 0..16 {
        assert_eq!(limiter.throttle(at(0), 0.7, at(10_000)), at(10_000));
    }
    for harmless in [1.0, 7.0, f64::NAN] {
        assert_eq!(limiter.throttle(at(0), harmless, at(20_000)), at(10_000));
    }
    // 70 tokens by the end of the throttle, 20 more in 2 seconds
    let ticket = limiter.must_queue(at(0), 90);
    assert_eq!(limiter.head(at(0)), Some((ticket, Some(at(12_000)))));
    assert!((limiter.tokens(at(0)).per_second() - 7.0).abs() < 1e-9);
    assert!((limiter.tokens(at(10_000)).per_second() - 10.0).abs() < 1e-9);
    assert!(matches!(
        limiter.poll(at(12_000), ticket),
        PollOutcome::Admitted { .. }
    ));
}

#[test]
fn when_off_it_admits_all_calls_uncharged_and_counts_slots() {
    let mut limiter = limiter();
    let _first = limiter.must_admit(at(0), 100);
    let head = limiter.must_queue(at(0), 100);
    let second = limiter.must_queue(at(0), 100);
    let off = LimitSettings {
        enabled: false,
        ..settings()
    };
    limiter.configure(&off, at(0));
    // all waiters are ready at once, in any order
    assert_eq!(limiter.head(at(0)), Some((head, Some(at(0)))));
    for ticket in [second, head] {
        assert!(matches!(
            limiter.poll(at(0), ticket),
            PollOutcome::Admitted { .. }
        ));
    }
    let grant = limiter.must_admit(at(0), 1_000_000);
    assert_eq!((limiter.in_use(), limiter.levels(at(0))), (4, (2, 0)));
    // switched on again: an uncharged grant is not refunded
    limiter.configure(&settings(), at(0));
    let settled = limiter.settle(at(0), grant, Settlement::Unsent);
    let nothing = SettledGrant {
        reserved: 0,
        charged: 0,
        refunded: false,
    };
    assert_eq!(settled, nothing);
    assert_eq!((limiter.in_use(), limiter.levels(at(0))), (3, (2, 0)));
}

#[test]
fn a_waiter_larger_than_the_new_capacity_does_not_block_the_queue() {
    let mut limiter = limiter();
    let first = limiter.must_admit(at(0), 100);
    let _settled = limiter.settle(at(0), first, Settlement::Unknown);
    let ticket = limiter.must_queue(at(0), 80);
    let mut smaller = settings();
    smaller.tokens.capacity = 50;
    limiter.configure(&smaller, at(0));
    assert_eq!(limiter.head(at(0)), Some((ticket, Some(at(5000)))));
    assert!(matches!(
        limiter.poll(at(5000), ticket),
        PollOutcome::Admitted { .. }
    ));
    assert_eq!(limiter.levels(at(5000)), (2, -30));
}

#[test]
fn tolerates_a_timestamp_older_than_the_latest() {
    let mut limiter = limiter();
    let _first = limiter.must_admit(at(1000), 10);
    let _second = limiter.must_admit(at(999), 10);
    assert_eq!(limiter.levels(at(999)), (1, 80));
}

/// A random operation on a limiter.
#[derive(Clone, Debug)]
enum Op {
    Acquire {
        tokens: u64,
        patience: u64,
    },
    Leave {
        nth: usize,
    },
    Settle {
        nth: usize,
        used: Option<u64>,
        sent: bool,
    },
    Pause {
        millis: u64,
    },
    Throttle {
        percent: u64,
        millis: u64,
    },
    Configure {
        capacity: u64,
        refill: u64,
        slots: u32,
    },
    Advance {
        nanos: u64,
    },
}

fn traffic() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u64..130, 0_u64..30_000).prop_map(|(tokens, patience)| Op::Acquire { tokens, patience }),
        1 => (0_usize..8).prop_map(|nth| Op::Leave { nth }),
        4 => (0_usize..8, prop::option::of(0_u64..300), any::<bool>())
            .prop_map(|(nth, used, sent)| Op::Settle { nth, used, sent }),
        1 => (0_u64..5000).prop_map(|millis| Op::Pause { millis }),
        1 => (1_u64..20, 0_u64..5000).prop_map(|(fifth, millis)| Op::Throttle { percent: fifth * 5, millis }),
        5 => (0_u64..4_000_000_000).prop_map(|nanos| Op::Advance { nanos }),
    ]
}

fn traffic_and_settings() -> impl Strategy<Value = Op> {
    let configure = (1_u64..150, 1_u64..10, 1_u32..5);
    prop_oneof![
        19 => traffic(),
        1 => configure.prop_map(|(capacity, refill, slots)| Op::Configure { capacity, refill, slots }),
    ]
}

/// A bucket in units of 1/100 of a nanosecond's refill, at one of two rates.
struct Pool {
    capacity: i128,
    refill: i128,
    level: i128,
    as_of: u64,
}

const GRAIN: i128 = 100 * 1_000_000_000;

impl Pool {
    fn full(settings: &Bucket) -> Self {
        Self {
            capacity: i128::from(settings.capacity),
            refill: i128::from(settings.refill),
            level: i128::from(settings.capacity) * GRAIN,
            as_of: 0,
        }
    }

    fn debit(&mut self, now: u64, throttle: (i128, u64), units: i128) {
        let level = self.level(now, throttle) - units * GRAIN;
        self.level = level.min(self.capacity * GRAIN);
        self.as_of = now;
    }

    fn level(&self, now: u64, (percent, until): (i128, u64)) -> i128 {
        let throttled = i128::from(until.clamp(self.as_of, now) - self.as_of);
        let full = i128::from(now - self.as_of) - throttled;
        let gained = self.refill * (throttled * percent + full * 100);
        (self.level + gained).min(self.capacity * GRAIN)
    }
}

/// The model: it knows only if the head can be admitted at an instant.
struct Model {
    requests: Pool,
    tokens: Pool,
    throttle: (i128, u64),
    paused: u64,
    slots: u32,
    in_use: u32,
    queue: Vec<(Ticket, u64)>,
}

impl Model {
    fn new(settings: &LimitSettings) -> Self {
        Self {
            requests: Pool::full(&settings.requests),
            tokens: Pool::full(&settings.tokens),
            throttle: (100, 0),
            paused: 0,
            slots: settings.concurrency,
            in_use: 0,
            queue: Vec::new(),
        }
    }

    fn can_admit(&self, now: u64, tokens: u64) -> bool {
        self.paused <= now
            && self.in_use < self.slots
            && self.requests.level(now, self.throttle) >= GRAIN
            && self.tokens.level(now, self.throttle) >= self.tokens.capacity.min(i128::from(tokens)) * GRAIN
    }

    fn charge(&mut self, now: u64, requests: i128, tokens: i128) {
        self.requests.debit(now, self.throttle, requests);
        self.tokens.debit(now, self.throttle, tokens);
    }
}

/// A limiter, its model, the open grants and all that was granted.
struct World {
    limiter: Limiter,
    model: Model,
    now: u64,
    grants: Vec<Grant>,
    /// `(when, requests, tokens)`; refunds are negative.
    ledger: Vec<(u64, i128, i128)>,
}

impl World {
    fn new(settings: &LimitSettings) -> Self {
        Self {
            limiter: Limiter::new(settings, Timestamp::ZERO),
            model: Model::new(settings),
            now: 0,
            grants: Vec::new(),
            ledger: Vec::new(),
        }
    }

    fn granted(&mut self, grant: Grant, tokens: u64) {
        assert_eq!(grant.reserved(), tokens);
        assert!(self.model.can_admit(self.now, tokens), "admitted too early");
        self.model.charge(self.now, 1, i128::from(tokens));
        self.model.in_use += 1;
        self.ledger.push((self.now, 1, i128::from(tokens)));
        self.grants.push(grant);
    }

    /// Wakes the head while it is ready, as every caller must.
    fn wake(&mut self) {
        while let Some((ticket, until)) = self.limiter.head(Timestamp(self.now)) {
            let (first, tokens) = self.model.queue[0];
            assert_eq!(ticket, first, "not in order of arrival");
            if until.is_none_or(|until| until.0 > self.now) {
                assert!(!self.model.can_admit(self.now, tokens), "a wake-up was lost");
                let turn = self.limiter.poll(Timestamp(self.now), ticket);
                assert!(matches!(turn, PollOutcome::Waiting { until: again, .. } if again == until));
                break;
            }
            match self.limiter.poll(Timestamp(self.now), ticket) {
                PollOutcome::Admitted { grant, .. } => {
                    self.model.queue.remove(0);
                    self.granted(grant, tokens);
                }
                other => panic!("returned by head, but {other:?}"),
            }
        }
    }

    /// Polls the last waiter before the head, which may just have become ready.
    fn poll_last(&mut self) {
        if let [_, .., (last, _)] = self.model.queue[..] {
            let turn = self.limiter.poll(Timestamp(self.now), last);
            assert!(matches!(turn, PollOutcome::Waiting { until: None, .. }));
        }
    }

    /// Advances time, stopping at each instant the limiter returns.
    fn advance(&mut self, nanos: u64) {
        let target = self.now + nanos;
        while let Some((_, Some(until))) = self.limiter.head(Timestamp(self.now)) {
            if until.0 > target {
                break;
            }
            let (_, tokens) = self.model.queue[0];
            assert!(
                !self.model.can_admit(until.0 - 1, tokens),
                "could have been admitted earlier"
            );
            self.now = until.0;
            self.wake();
        }
        self.now = target;
        self.wake();
    }

    fn acquire(&mut self, tokens: u64, patience: u64) {
        let deadline = at(patience) + Duration::from_nanos(self.now);
        let could = self.model.queue.is_empty() && self.model.can_admit(self.now, tokens);
        match self.limiter.acquire(
            Timestamp(self.now),
            Request {
                user: &ANA,
                tokens,
                deadline,
            },
        ) {
            Admission::Admitted(grant) => {
                assert!(self.model.queue.is_empty());
                self.granted(grant, tokens);
            }
            Admission::Queued {
                ticket,
                position,
                ready_at,
                ..
            } => {
                assert!(!could && i128::from(tokens) <= self.model.tokens.capacity);
                assert!(ready_at.is_none_or(|ready| ready <= deadline));
                self.model.queue.push((ticket, tokens));
                assert_eq!(position as usize, self.model.queue.len());
            }
            Admission::Rejected {
                reason: LimitReject::TooLarge,
                ..
            } => {
                assert!(i128::from(tokens) > self.model.tokens.capacity);
            }
            Admission::Rejected { reason, predicted } => {
                assert!(!could);
                let limit = match reason {
                    LimitReject::Deadline => deadline.since(Timestamp(self.now)),
                    LimitReject::WaitTooLong => self.limiter.settings.max_wait,
                    _ => return assert_eq!(self.model.queue.len(), self.limiter.settings.max_waiters),
                };
                assert!(predicted.unwrap() > limit);
            }
        }
    }

    fn settle(&mut self, nth: usize, settlement: Settlement) {
        if self.grants.is_empty() {
            return;
        }
        let grant = self.grants.remove(nth % self.grants.len());
        let settled = self.limiter.settle(Timestamp(self.now), grant, settlement);
        let request = i128::from(settled.refunded);
        let tokens = i128::from(settled.reserved) - i128::from(settled.charged);
        self.model.charge(self.now, -request, -tokens);
        self.model.in_use -= 1;
        if settled.refunded || tokens > 0 {
            self.ledger.push((self.now, -request, -tokens));
        }
    }

    fn apply(&mut self, op: &Op) {
        let now = Timestamp(self.now);
        match *op {
            Op::Acquire { tokens, patience } => self.acquire(tokens, patience),
            Op::Leave { nth } if !self.model.queue.is_empty() => {
                let (ticket, _) = self.model.queue.remove(nth % self.model.queue.len());
                assert!(self.limiter.leave(now, ticket));
                assert_eq!(self.limiter.poll(now, ticket), PollOutcome::NotQueued);
            }
            Op::Leave { .. } => {}
            Op::Settle { nth, used, sent } => self.settle(
                nth,
                match used {
                    Some(used) => Settlement::Used(used),
                    None if sent => Settlement::Unknown,
                    None => Settlement::Unsent,
                },
            ),
            Op::Pause { millis } => {
                let until = at(millis) + Duration::from_nanos(self.now);
                self.model.paused = self.model.paused.max(until.0);
                assert_eq!(self.limiter.pause(now, until).0, self.model.paused);
            }
            Op::Throttle { percent, millis } => {
                self.model.charge(self.now, 0, 0);
                let until = self.now + at(millis).0;
                let (before, end) = self.model.throttle;
                let slowed = end > self.now;
                if until > self.now {
                    let percent = i128::from(percent);
                    let least = if slowed { percent.min(before) } else { percent };
                    self.model.throttle = (least, until.max(end));
                }
                let _end = self
                    .limiter
                    .throttle(now, percent as f64 / 100.0, Timestamp(until));
            }
            Op::Configure {
                capacity,
                refill,
                slots,
            } => {
                let mut other = self.limiter.settings.clone();
                other.tokens.capacity = capacity;
                other.tokens.refill = refill * 20;
                other.concurrency = slots;
                self.limiter.configure(&other, now);
                self.model.charge(self.now, 0, 0);
                self.model.tokens.capacity = i128::from(capacity);
                self.model.tokens.refill = i128::from(refill) * 20;
                self.model.slots = slots;
                self.model.charge(self.now, 0, 0);
            }
            Op::Advance { nanos } => self.advance(nanos),
        }
        self.poll_last();
        self.wake();
        self.check();
    }

    /// Compares levels, exactly, and counts.
    fn check(&self) {
        let now = Timestamp(self.now);
        let model = &self.model;
        for (level, pool) in [
            (self.limiter.requests(now), &model.requests),
            (self.limiter.tokens(now), &model.tokens),
        ] {
            let got = i128::from(level.scaled) * GRAIN;
            assert_eq!(
                got,
                pool.level(self.now, model.throttle) * i128::from(level.per_ns)
            );
            assert!(i128::from(level.scaled) <= i128::from(level.capacity) * i128::from(level.per_ns));
        }
        assert_eq!(self.limiter.in_use(), model.in_use);
        assert_eq!(self.limiter.waiting() as usize, model.queue.len());
    }

    /// Invariant 11, for every pair of grants.
    fn check_windows(&self, settings: &LimitSettings) {
        for (first, &(start, ..)) in self.ledger.iter().enumerate() {
            let (mut requests, mut tokens) = (0, 0);
            for &(end, more_requests, more_tokens) in &self.ledger[first..] {
                requests += more_requests;
                tokens += more_tokens;
                for (granted, bucket) in [(requests, &settings.requests), (tokens, &settings.tokens)] {
                    let flowed = i128::from(bucket.refill) * i128::from(end - start);
                    let most = i128::from(bucket.capacity) * 1_000_000_000 + flowed;
                    assert!(granted * 1_000_000_000 <= most, "{granted} in {} ns", end - start);
                }
            }
        }
    }

    /// Removes all waiters and settles all grants.
    fn drain(&mut self) {
        while let Some(&(ticket, _)) = self.model.queue.first() {
            assert!(self.limiter.leave(Timestamp(self.now), ticket));
            self.model.queue.remove(0);
        }
        while !self.grants.is_empty() {
            self.settle(0, Settlement::Unknown);
        }
        self.check();
        assert_eq!((self.limiter.in_use(), self.limiter.waiting()), (0, 0));
        // all debt has been refilled
        self.advance(100_000_000_000_000);
        let full = |level: BucketLevel| level.share_at(Timestamp(self.now)) >= 1.0;
        assert!(full(self.limiter.requests(Timestamp(self.now))));
        assert!(full(self.limiter.tokens(Timestamp(self.now))));
    }
}

/// Refills of which every percentage used is a whole number, so that the model need not round.
fn whole_percentages() -> LimitSettings {
    let mut settings = settings();
    settings.requests.refill = 20;
    settings.requests.capacity = 60;
    settings.tokens.refill = 20;
    settings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The model agrees after every step; nothing is held at the end.
    #[test]
    fn agrees_with_the_model(ops in prop::collection::vec(traffic_and_settings(), 1..120)) {
        let mut world = World::new(&whole_percentages());
        for op in &ops {
            world.apply(op);
        }
        world.drain();
    }

    /// No window grants more than capacity plus refill, and no more slots are in use than there are.
    #[test]
    fn no_window_grants_more_than_capacity_and_refill(ops in prop::collection::vec(traffic(), 1..150)) {
        let settings = whole_percentages();
        let mut world = World::new(&settings);
        for op in &ops {
            world.apply(op);
            assert!(world.limiter.in_use() <= settings.concurrency);
        }
        world.check_windows(&settings);
        world.drain();
    }

    /// The predicted admission is exact to the nanosecond for every waiter if nothing else happens.
    #[test]
    fn predicted_admissions_are_exact(
        calls in prop::collection::vec((0_u64..=100, 0_u64..200_000_000), 1..12),
        pause in 0_u64..3000,
        (percent, slow) in (1_u64..100, 0_u64..8000),
        slots in 1_u32..8,
    ) {
        let settings = LimitSettings { concurrency: slots, max_waiters: 20, ..settings() };
        let mut limiter = Limiter::new(&settings, at(0));
        let mut now = at(0);
        let _until = limiter.pause(now, at(pause));
        let _until = limiter.throttle(now, percent as f64 / 100.0, at(slow));
        let mut predicted = Vec::new();
        let wake = |limiter: &mut Limiter, now: Timestamp, predicted: &mut Vec<(Ticket, Option<Timestamp>)>| {
            while let Some((ticket, Some(until))) = limiter.head(now) && until <= now {
                let turn = limiter.poll(now, ticket);
                assert!(matches!(turn, PollOutcome::Admitted { .. }));
                assert_eq!(predicted.remove(0), (ticket, Some(now)));
            }
        };
        for (tokens, gap) in calls {
            let next = now + Duration::from_nanos(gap);
            while let Some((_, Some(until))) = limiter.head(now) && until <= next {
                now = until;
                wake(&mut limiter, now, &mut predicted);
            }
            now = next;
            if let Admission::Queued { ticket, ready_at, .. } = limiter.acquire(now, request(tokens)) {
                predicted.push((ticket, ready_at));
            }
        }
        while let Some((_, Some(until))) = limiter.head(now) {
            now = until;
            wake(&mut limiter, now, &mut predicted);
        }
        // the remaining waiters wait for a slot
        prop_assert!(predicted.iter().all(|(_, ready_at)| ready_at.is_none()));
        prop_assert_eq!(predicted.len() as u32, limiter.waiting());
    }
}
