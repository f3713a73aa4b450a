//! Several users: order of admission, per-user buckets and user queues, and a naive model that must agree.

use super::*;

pub(super) fn user(number: usize) -> UserId {
    UserId::new(["ana", "ben", "cleo", "dev", "eli", "flo"][number])
}

/// One request per second, capacity 1: admissions alternate. 10 waiters.
fn one_per_second(order: QueueOrder) -> LimitSettings {
    LimitSettings {
        requests: bucket(1, 1),
        tokens: bucket(1000, 1000),
        concurrency: 1000,
        max_waiters: 10,
        max_wait: 1000 * SECOND,
        order,
        ..settings()
    }
}

pub(super) fn bucket(capacity: u64, refill: u64) -> Bucket {
    Bucket {
        capacity,
        refill,
        per: SECOND,
    }
}

fn with_weight(weight: u32) -> UserLimits {
    UserLimits {
        weight,
        ..UserLimits::default()
    }
}

/// A limiter and its waiters.
struct Fixture {
    limiter: Limiter,
    waiting: Vec<(Ticket, usize)>,
    now: Timestamp,
}

impl Fixture {
    /// A limiter with an empty request bucket.
    fn new(settings: &LimitSettings) -> Self {
        let mut limiter = Limiter::new(settings, at(0));
        let other = UserId::new("other");
        let first = limiter.acquire(at(0), request_of(&other, 1));
        assert!(matches!(first, Admission::Admitted(_)));
        Self {
            limiter,
            waiting: Vec::new(),
            now: at(0),
        }
    }

    fn acquire(&mut self, who: usize, tokens: u64) -> Admission {
        let user = user(who);
        let answer = self.limiter.acquire(self.now, request_of(&user, tokens));
        if let Admission::Queued {
            ticket, displaced, ..
        } = answer
        {
            self.waiting.push((ticket, who));
            self.waiting.retain(|(other, _)| Some(*other) != displaced);
        }
        answer
    }

    fn queue(&mut self, who: usize, tokens: u64) -> Ticket {
        match self.acquire(who, tokens) {
            Admission::Queued { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// Admits `count` waiters as soon as possible; returns their users.
    fn serve(&mut self, count: usize) -> Vec<usize> {
        let served = (0..count).map(|_| {
            let (ticket, until) = self.limiter.head(self.now).unwrap();
            self.now = self.now.max(until.unwrap());
            assert!(matches!(
                self.limiter.poll(self.now, ticket),
                PollOutcome::Admitted { .. }
            ));
            let place = self.waiting.iter().position(|(other, _)| *other == ticket);
            self.waiting.remove(place.unwrap()).1
        });
        served.collect()
    }
}

pub(super) fn request_of(user: &UserId, tokens: u64) -> Request<'_> {
    Request {
        user,
        tokens,
        deadline: Timestamp::MAX,
    }
}

#[test]
fn in_fair_order_a_flood_delays_only_itself() {
    for (order, expected) in [
        (QueueOrder::Fifo, [0, 0, 0, 0, 1, 2]),
        (QueueOrder::Fair, [0, 1, 2, 0, 0, 0]),
    ] {
        let mut fixture = Fixture::new(&one_per_second(order));
        for who in [0, 0, 0, 0, 1, 2] {
            fixture.queue(who, 1);
        }
        assert_eq!(fixture.serve(6), expected, "{order:?}");
    }
}

#[test]
fn position_and_ready_at_follow_the_order() {
    for (order, position, ready_at) in [(QueueOrder::Fifo, 4, 4000), (QueueOrder::Fair, 2, 2000)] {
        let mut fixture = Fixture::new(&one_per_second(order));
        for _ in 0..3 {
            fixture.queue(0, 1);
        }
        let expected = Admission::Queued {
            ticket: Ticket(3),
            constraint: Constraint::Requests,
            position,
            ready_at: Some(at(ready_at)),
            displaced: None,
        };
        assert_eq!(fixture.acquire(1, 1), expected);
    }
}

#[test]
fn twice_the_weight_is_admitted_twice_as_often() {
    let mut settings = one_per_second(QueueOrder::Fair);
    settings.users = [("ana".to_owned(), with_weight(2))].into();
    settings.max_waiters = 100;
    let mut fixture = Fixture::new(&settings);
    for _ in 0..20 {
        fixture.queue(1, 1);
        fixture.queue(0, 1);
    }
    let served = fixture.serve(15);
    assert_eq!(served.iter().filter(|who| **who == 0).count(), 10, "{served:?}");
}

/// The scarcer bucket counts: a call of 100 tokens costs as much as ten requests.
#[test]
fn a_user_of_large_calls_is_admitted_less_often() {
    let mut settings = one_per_second(QueueOrder::Fair);
    settings.requests = bucket(1, 100);
    settings.tokens = bucket(1000, 1000);
    settings.max_waiters = 100;
    let mut fixture = Fixture::new(&settings);
    for _ in 0..30 {
        fixture.queue(0, 100);
        fixture.queue(1, 10);
    }
    let served = fixture.serve(22);
    assert_eq!(served.iter().filter(|who| **who == 0).count(), 2, "{served:?}");
}

#[test]
fn a_large_call_is_not_starved() {
    let mut settings = one_per_second(QueueOrder::Fair);
    settings.requests = bucket(10, 100);
    settings.tokens = bucket(100, 10);
    let mut fixture = Fixture::new(&settings);
    let _grant = fixture.acquire(0, 99);
    fixture.queue(0, 100);
    let mut served = Vec::new();
    for _ in 0..12 {
        fixture.queue(1, 10);
        served.extend(fixture.serve(1));
    }
    assert!(served.contains(&0), "{served:?}");
    // once it is next, it waits for the bucket and is not overtaken
    let first = served.iter().position(|who| *who == 0).unwrap();
    assert!(first <= 1, "{served:?}");
}

#[test]
fn idle_time_earns_no_credit() {
    let mut fixture = Fixture::new(&one_per_second(QueueOrder::Fair));
    for _ in 0..10 {
        fixture.queue(0, 1);
        fixture.serve(1);
    }
    for _ in 0..4 {
        fixture.queue(0, 1);
    }
    for _ in 0..4 {
        fixture.queue(1, 1);
    }
    assert_eq!(fixture.serve(8), [0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn leaving_the_queue_costs_the_user_nothing() {
    let mut fixture = Fixture::new(&one_per_second(QueueOrder::Fair));
    let mine: Vec<Ticket> = (0..4).map(|_| fixture.queue(0, 1)).collect();
    for _ in 0..3 {
        fixture.queue(1, 1);
    }
    for ticket in &mine[..3] {
        assert!(fixture.limiter.leave(fixture.now, *ticket));
        assert!(!fixture.limiter.leave(fixture.now, *ticket));
    }
    fixture.waiting.retain(|(ticket, _)| !mine[..3].contains(ticket));
    // its last call takes the place of its first one
    assert_eq!(fixture.serve(4), [0, 1, 1, 1]);
}

#[test]
fn the_order_can_be_switched_while_calls_wait() {
    let mut fixture = Fixture::new(&one_per_second(QueueOrder::Fifo));
    for who in [0, 0, 0, 1, 1, 2] {
        fixture.queue(who, 1);
    }
    assert_eq!(fixture.serve(1), [0]);
    fixture
        .limiter
        .configure(&one_per_second(QueueOrder::Fair), fixture.now);
    assert_eq!(fixture.serve(3), [0, 1, 2]);
    fixture
        .limiter
        .configure(&one_per_second(QueueOrder::Fifo), fixture.now);
    assert_eq!(fixture.serve(2), [0, 1]);
    assert_eq!(fixture.limiter.waiting(), 0);
}

#[test]
fn an_empty_user_bucket_delays_only_its_user() {
    for order in [QueueOrder::Fifo, QueueOrder::Fair] {
        let mut settings = one_per_second(order);
        settings.requests = bucket(10, 10);
        settings.each_user.requests = Some(bucket(1, 1));
        let mut fixture = Fixture::new(&settings);
        assert!(matches!(fixture.acquire(0, 1), Admission::Admitted(_)));
        let expected = Admission::Queued {
            ticket: Ticket(0),
            constraint: Constraint::UserRequests,
            position: 1,
            ready_at: Some(at(1000)),
            displaced: None,
        };
        assert_eq!(fixture.acquire(0, 1), expected);
        assert!(
            matches!(fixture.acquire(1, 1), Admission::Admitted(_)),
            "{order:?}"
        );
        let levels = fixture.limiter.user_levels(at(0), &user(1)).unwrap();
        assert_eq!(levels.requests.unwrap().scaled, 0);
        assert_eq!(levels.tokens, None);
        assert_eq!(fixture.limiter.head(at(0)), Some((Ticket(0), Some(at(1000)))));
        // the user's second call waits for the second refill, also if it arrives when the first is ready
        fixture.now = at(1000);
        assert!(matches!(
            fixture.acquire(0, 1),
            Admission::Queued { ready_at: Some(ready), .. } if ready == at(2000)
        ));
        assert_eq!(fixture.serve(2), [0, 0]);
        assert_eq!(fixture.now, at(2000));
    }
}

/// All or nothing: while a shared bucket is short, the user's bucket is not debited, and vice versa.
#[test]
fn a_grant_debits_user_and_shared_buckets_or_neither() {
    let mut settings = one_per_second(QueueOrder::Fair);
    settings.requests = bucket(10, 1);
    settings.each_user.tokens = Some(bucket(50, 10));
    let mut fixture = Fixture::new(&settings);
    let Admission::Admitted(grant) = fixture.acquire(0, 30) else {
        panic!()
    };
    let own = |fixture: &Fixture| {
        let levels = fixture.limiter.user_levels(fixture.now, &user(0)).unwrap();
        levels.tokens.unwrap().level_at(fixture.now)
    };
    let common = |fixture: &Fixture| fixture.limiter.tokens(fixture.now).level_at(fixture.now);
    assert_eq!((own(&fixture), common(&fixture)), (20.0, 969.0));
    fixture.queue(0, 40);
    assert_eq!((own(&fixture), common(&fixture)), (20.0, 969.0));
    // a settlement changes both
    let settled = fixture.limiter.settle(fixture.now, grant, Settlement::Used(45));
    assert_eq!(
        (settled.charged, own(&fixture), common(&fixture)),
        (45, 5.0, 954.0)
    );
    assert_eq!(fixture.limiter.head(at(0)), Some((Ticket(0), Some(at(3500)))));
}

#[test]
fn rejects_a_call_larger_than_the_user_bucket() {
    let mut settings = one_per_second(QueueOrder::Fair);
    settings.users = [(
        "ben".to_owned(),
        UserLimits {
            tokens: Some(bucket(50, 10)),
            ..UserLimits::default()
        },
    )]
    .into();
    let mut fixture = Fixture::new(&settings);
    assert_eq!(fixture.acquire(1, 51), reject(LimitReject::UserTooLarge, None));
    assert_eq!(fixture.acquire(1, 1001), reject(LimitReject::TooLarge, None));
    assert!(matches!(fixture.acquire(0, 51), Admission::Queued { .. }));
}

#[test]
fn in_a_full_queue_the_longest_user_queue_makes_room() {
    let mut fixture = Fixture::new(&one_per_second(QueueOrder::Fair));
    let flood: Vec<Ticket> = (0..9).map(|_| fixture.queue(0, 1)).collect();
    fixture.queue(1, 1);
    let Admission::Queued {
        displaced,
        position,
        ready_at,
        ..
    } = fixture.acquire(2, 1)
    else {
        panic!()
    };
    assert_eq!(displaced, Some(flood[8]));
    assert_eq!((position, ready_at), (3, Some(at(3000))));
    assert_eq!(fixture.limiter.waiting(), 10);
    assert_eq!(fixture.limiter.poll(at(0), flood[8]), PollOutcome::NotQueued);
    // the flooding user is rejected with the predicted wait of its own last waiter
    let rejected = fixture.acquire(0, 1);
    assert_eq!(rejected, reject(LimitReject::QueueFull, Some(8 * SECOND)));
    // a call that would only swap places is rejected
    let mut fixture = Fixture::new(&LimitSettings {
        max_waiters: 1,
        ..one_per_second(QueueOrder::Fair)
    });
    fixture.queue(0, 1);
    assert!(matches!(
        fixture.acquire(1, 1),
        Admission::Rejected {
            reason: LimitReject::QueueFull,
            ..
        }
    ));
}

#[test]
fn a_rejected_call_displaces_no_waiter() {
    let mut fixture = Fixture::new(&one_per_second(QueueOrder::Fair));
    for _ in 0..10 {
        fixture.queue(0, 1);
    }
    let ben = user(1);
    let hurried = Request {
        deadline: at(1500),
        ..request_of(&ben, 1)
    };
    let rejected = fixture.limiter.acquire(at(0), hurried);
    assert_eq!(rejected, reject(LimitReject::Deadline, Some(2 * SECOND)));
    assert_eq!(fixture.limiter.waiting(), 10);
}

#[test]
fn in_arrival_order_a_full_queue_rejects() {
    let mut fixture = Fixture::new(&one_per_second(QueueOrder::Fifo));
    for _ in 0..10 {
        fixture.queue(0, 1);
    }
    assert_eq!(
        fixture.acquire(1, 1),
        reject(LimitReject::QueueFull, Some(10 * SECOND))
    );
}

/// A queue with an empty bucket is not reassigned: it would come back with a full one.
#[test]
fn user_queues_are_bounded_and_reassigned_only_with_full_buckets() {
    let mut settings = one_per_second(QueueOrder::Fair);
    settings.requests = bucket(100, 100);
    settings.each_user.requests = Some(bucket(2, 1));
    settings.users = [("flo".to_owned(), with_weight(1))].into();
    settings.max_users = 2;
    let mut limiter = Limiter::new(&settings, at(0));
    let mut acquire = |who: &str, millis: u64| {
        let (name, now) = (UserId::new(who), at(millis));
        let answer = limiter.acquire(now, request_of(&name, 1));
        if let Admission::Admitted(grant) = answer {
            let _settled = limiter.settle(now, grant, Settlement::Unknown);
        }
        let levels = limiter.user_levels(now, &name);
        (
            levels.map(|levels| levels.user.to_string()),
            limiter.queues.count(),
        )
    };
    let queue = |name: &str, queues| (Some(name.to_owned()), queues);
    assert_eq!(acquire("ana", 0), queue("ana", 1));
    assert_eq!(acquire("ben", 0), queue("ben", 2));
    // all further users share one queue and one bucket
    for n in 0..100 {
        assert_eq!(acquire(&format!("user {n}"), 0), queue("(others)", 3));
    }
    // a user that the policy names has its own queue; it has no limit here
    assert_eq!(acquire("flo", 0), (None, 4));
    assert_eq!(acquire("cleo", 999), queue("(others)", 4));
    // ana's and ben's buckets are full again: their queues may be reassigned
    assert_eq!(acquire("cleo", 1000), queue("cleo", 4));
    assert_eq!(acquire("dev", 1000), queue("dev", 4));
    assert_eq!(acquire("ana", 1000), queue("(others)", 4));
}

#[test]
fn a_new_bucket_gets_no_refund_for_an_older_grant() {
    let mut settings = one_per_second(QueueOrder::Fair);
    settings.requests = bucket(10, 1);
    let mut fixture = Fixture::new(&settings);
    let Admission::Admitted(grant) = fixture.acquire(0, 30) else {
        panic!()
    };
    settings.each_user.tokens = Some(bucket(50, 1));
    fixture.limiter.configure(&settings, at(0));
    let _second = fixture.acquire(0, 20);
    let _settled = fixture.limiter.settle(at(0), grant, Settlement::Unsent);
    let levels = fixture.limiter.user_levels(at(0), &user(0)).unwrap();
    assert_eq!(levels.tokens.unwrap().scaled, 30_000_000_000);
}

/// A random operation.
#[derive(Clone, Debug)]
enum UserOp {
    Acquire { who: usize, tokens: u64, patience: u64 },
    Leave { nth: usize },
    Settle { nth: usize, used: Option<u64> },
    Pause { millis: u64 },
    Switch,
    Weigh { who: usize, weight: u32 },
    Advance { nanos: u64 },
}

fn user_ops() -> impl Strategy<Value = UserOp> {
    prop_oneof![
        8 => (0_usize..4, 0_u64..110, 100_u64..60_000)
            .prop_map(|(who, tokens, patience)| UserOp::Acquire { who, tokens, patience }),
        1 => (0_usize..12).prop_map(|nth| UserOp::Leave { nth }),
        4 => (0_usize..8, prop::option::of(0_u64..150)).prop_map(|(nth, used)| UserOp::Settle { nth, used }),
        1 => (0_u64..3000).prop_map(|millis| UserOp::Pause { millis }),
        1 => Just(UserOp::Switch),
        1 => (0_usize..4, 1_u32..4).prop_map(|(who, weight)| UserOp::Weigh { who, weight }),
        5 => (0_u64..3_000_000_000).prop_map(|nanos| UserOp::Advance { nanos }),
    ]
}

/// A user of the model.
struct ModelUser {
    weight: u32,
    requests: Option<Pool>,
    tokens: Option<Pool>,
    /// The head of its queue, and its start tag.
    head: Option<(Ticket, u128)>,
    finish: u128,
}

const FULL_RATE: (i128, u64) = (100, 0);

fn holds(pool: &Pool, now: u64, units: u64) -> bool {
    pool.level(now, FULL_RATE) >= i128::from(units) * GRAIN
}

/// The model: it examines every user each time.
struct UserModel {
    settings: LimitSettings,
    users: Vec<ModelUser>,
    requests: Pool,
    tokens: Pool,
    paused: u64,
    time: u128,
    queue: Vec<(Ticket, usize, u64)>,
    grants: Vec<(Grant, usize)>,
    limiter: Limiter,
    now: u64,
}

impl UserModel {
    fn new(settings: &LimitSettings) -> Self {
        let model_user = |who| {
            let limits = settings.for_user(user(who).as_str());
            ModelUser {
                weight: limits.weight,
                requests: limits.requests.as_ref().map(Pool::full),
                tokens: limits.tokens.as_ref().map(Pool::full),
                head: None,
                finish: 0,
            }
        };
        Self {
            users: (0..4).map(model_user).collect(),
            requests: Pool::full(&settings.requests),
            tokens: Pool::full(&settings.tokens),
            paused: 0,
            time: 0,
            queue: Vec::new(),
            grants: Vec::new(),
            limiter: Limiter::new(settings, at(0)),
            settings: settings.clone(),
            now: 0,
        }
    }

    fn is_fair(&self) -> bool {
        self.settings.order == QueueOrder::Fair
    }

    fn has_own(&self, who: usize, tokens: u64, now: u64) -> bool {
        let model_user = &self.users[who];
        model_user
            .requests
            .as_ref()
            .is_none_or(|pool| holds(pool, now, 1))
            && model_user
                .tokens
                .as_ref()
                .is_none_or(|pool| holds(pool, now, tokens))
    }

    fn has_common(&self, tokens: u64, now: u64) -> bool {
        self.paused <= now
            && self.grants.len() < self.settings.concurrency as usize
            && holds(&self.requests, now, 1)
            && holds(&self.tokens, now, tokens)
    }

    /// The first in order whose own buckets suffice.
    fn first_in_order(&self, now: u64) -> Option<(Ticket, usize, u64)> {
        let heads = (0..self.users.len()).filter_map(|who| {
            let (ticket, _, tokens) = *self.queue.iter().find(|(_, owner, _)| *owner == who)?;
            let (_, start) = self.users[who].head?;
            let key = (if self.is_fair() { start } else { 0 }, ticket);
            self.has_own(who, tokens, now)
                .then_some((key, (ticket, who, tokens)))
        });
        heads.min().map(|(_, turn)| turn)
    }

    /// The waiter that can be admitted at an instant.
    fn admissible(&self, now: u64) -> Option<(Ticket, usize, u64)> {
        self.first_in_order(now)
            .filter(|(_, _, tokens)| self.has_common(*tokens, now))
    }

    fn start(&self, who: usize) -> u128 {
        self.time.max(self.users[who].finish)
    }

    /// Gives new heads their start tags.
    fn tag_heads(&mut self) {
        for who in 0..self.users.len() {
            let first = self.queue.iter().find(|(_, owner, _)| *owner == who);
            let first = first.map(|(ticket, ..)| *ticket);
            if first != self.users[who].head.map(|(ticket, _)| ticket) {
                let start = self.start(who);
                self.users[who].head = first.map(|ticket| (ticket, start));
            }
        }
        if self.queue.is_empty() {
            let latest = self.users.iter().map(|model_user| model_user.finish).max();
            self.time = self.time.max(latest.unwrap_or(0));
        }
    }

    fn granted(&mut self, grant: Grant, who: usize, tokens: u64, start: u128) {
        assert!(self.has_common(tokens, self.now) && self.has_own(who, tokens, self.now));
        self.charge(who, 1, i128::from(tokens));
        // the larger of the request's and the tokens' share of a second
        let second = 1_000_000_000 << 20;
        let cost = (second / u128::from(self.settings.requests.refill))
            .max(u128::from(tokens) * second / u128::from(self.settings.tokens.refill));
        if self.is_fair() {
            self.time = self.time.max(start);
            self.users[who].finish = start + cost / u128::from(self.users[who].weight);
        }
        self.grants.push((grant, who));
    }

    fn charge(&mut self, who: usize, requests: i128, tokens: i128) {
        let now = self.now;
        self.requests.debit(now, FULL_RATE, requests);
        self.tokens.debit(now, FULL_RATE, tokens);
        let model_user = &mut self.users[who];
        if let Some(pool) = &mut model_user.requests {
            pool.debit(now, FULL_RATE, requests);
        }
        if let Some(pool) = &mut model_user.tokens {
            pool.debit(now, FULL_RATE, tokens);
        }
    }

    /// Wakes the waiter returned by `head`, as every caller must; the model must agree on it.
    fn wake(&mut self) {
        loop {
            let now = Timestamp(self.now);
            let next = self.admissible(self.now);
            match self.limiter.head(now) {
                Some((ticket, Some(until))) if until <= now => {
                    let (expected, who, tokens) = next.expect("returned too early");
                    assert_eq!(ticket, expected, "not the first in order");
                    let PollOutcome::Admitted { grant, .. } = self.limiter.poll(now, ticket) else {
                        panic!("returned by head, and not admitted");
                    };
                    let (_, start) = self.users[who].head.unwrap();
                    self.queue.retain(|(other, ..)| *other != ticket);
                    self.granted(grant, who, tokens, start);
                    self.tag_heads();
                }
                head => {
                    assert_eq!(next, None, "a wake-up was lost");
                    assert_eq!(head.is_none(), self.queue.is_empty());
                    return;
                }
            }
        }
    }

    fn acquire(&mut self, who: usize, tokens: u64, patience: u64) {
        let name = user(who);
        let now = Timestamp(self.now);
        let request = Request {
            deadline: now + Duration::from_millis(patience),
            ..request_of(&name, tokens)
        };
        let start = self.start(who);
        let first = self
            .first_in_order(self.now)
            .is_none_or(|(_, other, _)| self.is_fair() && self.users[other].head.unwrap().1 > start);
        let waits = self.queue.iter().any(|(_, owner, _)| *owner == who);
        let could = self.has_own(who, tokens, self.now) && self.has_common(tokens, self.now);
        let could = could && first && !waits;
        let own = self.users[who].tokens.as_ref().map(|pool| pool.capacity);
        let lengths: Vec<usize> = (0..4)
            .map(|who| self.queue.iter().filter(|(_, owner, _)| *owner == who).count())
            .collect();
        match self.limiter.acquire(now, request) {
            Admission::Admitted(grant) => {
                assert!(could, "admitted out of order");
                self.granted(grant, who, tokens, start);
            }
            Admission::Queued {
                ticket,
                position,
                ready_at,
                displaced,
                ..
            } => {
                assert!(!could, "it could have been admitted");
                assert!(ready_at.is_none_or(|ready| ready <= request.deadline));
                assert_eq!(displaced.is_some(), self.queue.len() >= self.settings.max_waiters);
                if let Some(displaced) = displaced {
                    let place = self.queue.iter().position(|(other, ..)| *other == displaced);
                    let (_, owner, _) = self.queue.remove(place.unwrap());
                    assert!(self.is_fair() && lengths[owner] > lengths[who] + 1);
                    assert_eq!(lengths[owner], *lengths.iter().max().unwrap());
                    assert!(
                        self.queue[place.unwrap()..]
                            .iter()
                            .all(|(_, other, _)| *other != owner)
                    );
                }
                self.queue.push((ticket, who, tokens));
                assert!(position as usize <= self.queue.len());
            }
            Admission::Rejected { reason, predicted } => match reason {
                LimitReject::TooLarge => assert!(i128::from(tokens) > self.tokens.capacity),
                LimitReject::UserTooLarge => assert!(i128::from(tokens) > own.unwrap()),
                LimitReject::Deadline => assert!(predicted.unwrap() > Duration::from_millis(patience)),
                LimitReject::WaitTooLong => assert!(predicted.unwrap() > self.settings.max_wait),
                LimitReject::QueueFull => {
                    assert!(!could && self.queue.len() >= self.settings.max_waiters);
                    let longest = *lengths.iter().max().unwrap();
                    assert!(!self.is_fair() || longest <= lengths[who] + 1);
                }
                LimitReject::Displaced => panic!("displaced on arrival"),
            },
        }
        self.tag_heads();
    }

    /// Advances time; before the instant returned by `head` no waiter can be admitted.
    fn advance(&mut self, nanos: u64) {
        let target = self.now + nanos;
        while let Some((_, Some(until))) = self.limiter.head(Timestamp(self.now)) {
            let until = until.0;
            for part in 1..20 {
                let between = self.now + (until.min(target) - self.now) / 20 * part;
                assert!(
                    between == until || self.admissible(between).is_none(),
                    "could have been admitted earlier"
                );
            }
            if until > target {
                break;
            }
            assert!(until == self.now || self.admissible(until - 1).is_none());
            self.now = until;
            self.wake();
        }
        self.now = target;
        self.wake();
    }

    fn settle(&mut self, nth: usize, used: Option<u64>) {
        if self.grants.is_empty() {
            return;
        }
        let (grant, who) = self.grants.remove(nth % self.grants.len());
        let settlement = used.map_or(Settlement::Unsent, Settlement::Used);
        let settled = self.limiter.settle(Timestamp(self.now), grant, settlement);
        let back = i128::from(settled.reserved) - i128::from(settled.charged);
        self.charge(who, -i128::from(settled.refunded), -back);
    }

    fn configure(&mut self) {
        self.limiter.configure(&self.settings, Timestamp(self.now));
        self.time = 0;
        for (number, model_user) in self.users.iter_mut().enumerate() {
            model_user.weight = self.settings.for_user(user(number).as_str()).weight;
            model_user.finish = 0;
            model_user.head = model_user.head.map(|(ticket, _)| (ticket, 0));
        }
    }

    fn apply(&mut self, op: &UserOp) {
        match *op {
            UserOp::Acquire {
                who,
                tokens,
                patience,
            } => self.acquire(who, tokens, patience),
            UserOp::Leave { nth } => {
                if !self.queue.is_empty() {
                    let (ticket, ..) = self.queue.remove(nth % self.queue.len());
                    assert!(self.limiter.leave(Timestamp(self.now), ticket));
                    self.tag_heads();
                }
            }
            UserOp::Settle { nth, used } => self.settle(nth, used),
            UserOp::Pause { millis } => {
                self.paused = self.paused.max(self.now + at(millis).0);
                let until = self.limiter.pause(Timestamp(self.now), Timestamp(self.paused));
                assert_eq!(until.0, self.paused);
            }
            UserOp::Switch => {
                self.settings.order = self.settings.order.toggled();
                self.configure();
            }
            UserOp::Weigh { who, weight } => {
                let name = user(who).to_string();
                let limits = UserLimits {
                    weight,
                    ..self.settings.for_user(&name).clone()
                };
                self.settings.users.insert(name, limits);
                self.configure();
            }
            UserOp::Advance { nanos } => self.advance(nanos),
        }
        self.wake();
        self.check();
    }

    fn check(&self) {
        let now = Timestamp(self.now);
        let same = |level: BucketLevel, pool: &Pool| {
            let got = i128::from(level.scaled) * GRAIN;
            assert_eq!(got, pool.level(self.now, FULL_RATE) * i128::from(level.per_ns));
        };
        same(self.limiter.requests(now), &self.requests);
        same(self.limiter.tokens(now), &self.tokens);
        for (number, model_user) in self.users.iter().enumerate() {
            let levels = self.limiter.user_levels(now, &user(number));
            for (level, pool) in [
                (
                    levels.as_ref().and_then(|levels| levels.requests),
                    &model_user.requests,
                ),
                (
                    levels.as_ref().and_then(|levels| levels.tokens),
                    &model_user.tokens,
                ),
            ] {
                // a user that never called has no queue
                if let (Some(level), Some(pool)) = (level, pool) {
                    same(level, pool);
                }
            }
        }
        assert_eq!(self.limiter.in_use() as usize, self.grants.len());
        assert_eq!(self.limiter.waiting() as usize, self.queue.len());
    }
}

pub(super) fn random_settings() -> impl Strategy<Value = LimitSettings> {
    let own = prop::option::of((1_u64..4, 1_u64..4));
    let tokens = prop::option::of((20_u64..110, 5_u64..50));
    let limits = (own, tokens, 1_u32..4).prop_map(|(requests, tokens, weight)| UserLimits {
        requests: requests.map(|(capacity, refill)| bucket(capacity, refill)),
        tokens: tokens.map(|(capacity, refill)| bucket(capacity, refill)),
        weight,
    });
    let named = prop::collection::vec(limits.clone(), 0..3);
    (limits, named, 1_u64..6, 10_u64..100, 1_u32..5, any::<bool>()).prop_map(
        |(each_user, named, requests, tokens, slots, fair)| LimitSettings {
            requests: bucket(requests, requests),
            tokens: bucket(100, tokens),
            concurrency: slots,
            max_waiters: 8,
            max_wait: 50 * SECOND,
            order: if fair { QueueOrder::Fair } else { QueueOrder::Fifo },
            each_user,
            users: named
                .into_iter()
                .enumerate()
                .map(|(who, limits)| (user(who).to_string(), limits))
                .collect(),
            ..settings()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The model agrees on order, instants and levels after every step.
    #[test]
    fn agrees_with_the_model_of_users(
        settings in random_settings(),
        user_ops in prop::collection::vec(user_ops(), 1..120),
    ) {
        let mut model = UserModel::new(&settings);
        for op in &user_ops {
            model.apply(op);
        }
        while let Some((ticket, ..)) = model.queue.pop() {
            prop_assert!(model.limiter.leave(Timestamp(model.now), ticket));
        }
        while !model.grants.is_empty() {
            model.settle(0, None);
        }
        prop_assert_eq!((model.limiter.in_use(), model.limiter.waiting()), (0, 0));
    }

    /// Without later arrivals, the predicted admission is exact to the nanosecond, in either order and with
    /// per-user buckets.
    #[test]
    fn the_prediction_of_the_last_arrival_is_exact(
        mut settings in random_settings(),
        calls in prop::collection::vec((0_usize..4, 0_u64..=20, 0_u64..300_000_000), 1..12),
        pause in 0_u64..3000,
    ) {
        settings.concurrency = 100;
        settings.max_waiters = 100;
        settings.max_wait = 1000 * SECOND;
        let mut model = UserModel::new(&settings);
        model.apply(&UserOp::Pause { millis: pause });
        let mut prediction = None;
        for (who, tokens, gap) in calls {
            let name = user(who);
            model.advance(gap);
            match model.limiter.acquire(Timestamp(model.now), request_of(&name, tokens)) {
                Admission::Queued { ticket, ready_at, .. } => {
                    model.queue.push((ticket, who, tokens));
                    prediction = Some((ticket, ready_at.unwrap()));
                }
                Admission::Admitted(grant) => {
                    let start = model.start(who);
                    model.granted(grant, who, tokens, start);
                    prediction = None;
                }
                Admission::Rejected { .. } => {}
            }
            model.tag_heads();
        }
        if let Some((ticket, ready_at)) = prediction && model.queue.iter().any(|(other, ..)| *other == ticket) {
            model.advance(ready_at.since(Timestamp(model.now)).as_nanos() as u64 - 1);
            prop_assert!(model.queue.iter().any(|(other, ..)| *other == ticket), "too early");
            model.advance(1);
            prop_assert!(model.queue.iter().all(|(other, ..)| *other != ticket), "too late");
        }
    }

    /// The bound of the paper: of two users that always wait and have no own bucket, neither gets ahead of the
    /// other by more than the weighted costs of the largest call of each, in any interval.
    #[test]
    fn no_user_gets_ahead_of_another(
        weights in (1_u32..5, 1_u32..5),
        sizes in prop::collection::vec((1_u64..100, 1_u64..100), 40),
        others in prop::collection::vec((2_usize..4, 1_u64..100), 0..30),
    ) {
        let mut settings = one_per_second(QueueOrder::Fair);
        settings.max_waiters = 1000;
        settings.tokens = bucket(1000, 20);
        settings.users = [("ana".to_owned(), with_weight(weights.0)), ("ben".to_owned(), with_weight(weights.1))].into();
        let mut fixture = Fixture::new(&settings);
        for &(mine, yours) in &sizes {
            fixture.queue(0, mine);
            fixture.queue(1, yours);
        }
        for &(who, tokens) in &others {
            fixture.queue(who, tokens);
        }
        let cost = |tokens: u64, weight: u32| (tokens as f64 / 20.0).max(1.0) / f64::from(weight);
        let mut next = [0, 0];
        // the lead of the first user
        let (mut ahead, mut least, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
        while fixture.waiting.iter().any(|(_, who)| *who == 0) && fixture.waiting.iter().any(|(_, who)| *who == 1) {
            let who = fixture.serve(1)[0];
            if who > 1 {
                continue;
            }
            let (mine, yours) = sizes[next[who]];
            next[who] += 1;
            ahead += if who == 0 { cost(mine, weights.0) } else { -cost(yours, weights.1) };
            (least, most) = (least.min(ahead), most.max(ahead));
        }
        let largest = sizes.iter().fold((0.0, 0.0), |(mine, yours): (f64, f64), size| {
            (mine.max(cost(size.0, weights.0)), yours.max(cost(size.1, weights.1)))
        });
        prop_assert!(most - least <= largest.0 + largest.1 + 1e-6, "{least} {most} {largest:?}");
    }
}
