//! Many users: stories of turns, own buckets and lanes, and a naive limiter that must agree.

use super::*;

fn user(number: usize) -> UserId {
    UserId::new(["ana", "ben", "cleo", "dev", "eli", "flo"][number])
}

/// One request a second, one at once: everybody takes turns. 10 waiters.
fn turns(order: QueueOrder) -> LimitSettings {
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

fn bucket(capacity: u64, refill: u64) -> Bucket {
    Bucket {
        capacity,
        refill,
        per: SECOND,
    }
}

fn weighing(weight: u32) -> UserLimits {
    UserLimits {
        weight,
        ..UserLimits::default()
    }
}

/// A limiter, and who waits in it.
struct Desk {
    limiter: Limiter,
    waiting: Vec<(Ticket, usize)>,
    now: Timestamp,
}

impl Desk {
    /// Its bucket is empty.
    fn new(settings: &LimitSettings) -> Self {
        let mut limiter = Limiter::new(settings, at(0));
        let nobody = UserId::new("nobody");
        let first = limiter.acquire(at(0), of(&nobody, 1));
        assert!(matches!(first, Admission::Admitted(_)));
        Self {
            limiter,
            waiting: Vec::new(),
            now: at(0),
        }
    }

    fn ask(&mut self, who: usize, tokens: u64) -> Admission {
        let user = user(who);
        let answer = self.limiter.acquire(self.now, of(&user, tokens));
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
        match self.ask(who, tokens) {
            Admission::Queued { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// Lets so many go, as soon as they can; who they were.
    fn serve(&mut self, count: usize) -> Vec<usize> {
        let served = (0..count).map(|_| {
            let (ticket, until) = self.limiter.head(self.now).unwrap();
            self.now = self.now.max(until.unwrap());
            assert!(matches!(
                self.limiter.poll(self.now, ticket),
                Turn::Admitted { .. }
            ));
            let place = self.waiting.iter().position(|(other, _)| *other == ticket);
            self.waiting.remove(place.unwrap()).1
        });
        served.collect()
    }
}

fn of(user: &UserId, tokens: u64) -> Request<'_> {
    Request {
        user,
        tokens,
        deadline: Timestamp::MAX,
    }
}

#[test]
fn a_flood_makes_only_itself_wait() {
    for (order, expected) in [
        (QueueOrder::Fifo, [0, 0, 0, 0, 1, 2]),
        (QueueOrder::Fair, [0, 1, 2, 0, 0, 0]),
    ] {
        let mut desk = Desk::new(&turns(order));
        for who in [0, 0, 0, 0, 1, 2] {
            desk.queue(who, 1);
        }
        assert_eq!(desk.serve(6), expected, "{order:?}");
    }
}

#[test]
fn the_place_and_the_instant_are_those_of_the_order() {
    for (order, position, ready_at) in [(QueueOrder::Fifo, 4, 4000), (QueueOrder::Fair, 2, 2000)] {
        let mut desk = Desk::new(&turns(order));
        for _ in 0..3 {
            desk.queue(0, 1);
        }
        let expected = Admission::Queued {
            ticket: Ticket(3),
            constraint: Constraint::Requests,
            position,
            ready_at: Some(at(ready_at)),
            displaced: None,
        };
        assert_eq!(desk.ask(1, 1), expected);
    }
}

#[test]
fn twice_the_weight_goes_twice_as_often() {
    let mut settings = turns(QueueOrder::Fair);
    settings.users = [("ana".to_owned(), weighing(2))].into();
    settings.max_waiters = 100;
    let mut desk = Desk::new(&settings);
    for _ in 0..20 {
        desk.queue(1, 1);
        desk.queue(0, 1);
    }
    let served = desk.serve(15);
    assert_eq!(served.iter().filter(|who| **who == 0).count(), 10, "{served:?}");
}

/// The scarcer bucket counts: a call of a hundred tokens takes as much of this one as a hundred requests of the other.
#[test]
fn who_asks_for_much_goes_less_often() {
    let mut settings = turns(QueueOrder::Fair);
    settings.requests = bucket(1, 100);
    settings.tokens = bucket(1000, 1000);
    settings.max_waiters = 100;
    let mut desk = Desk::new(&settings);
    for _ in 0..30 {
        desk.queue(0, 100);
        desk.queue(1, 10);
    }
    let served = desk.serve(22);
    assert_eq!(served.iter().filter(|who| **who == 0).count(), 2, "{served:?}");
}

/// And yet it goes: whoever is next is not overtaken for ever by smaller ones.
#[test]
fn a_large_call_is_not_starved() {
    let mut settings = turns(QueueOrder::Fair);
    settings.requests = bucket(10, 100);
    settings.tokens = bucket(100, 10);
    let mut desk = Desk::new(&settings);
    let _grant = desk.ask(0, 99);
    desk.queue(0, 100);
    let mut served = Vec::new();
    for _ in 0..12 {
        desk.queue(1, 10);
        served.extend(desk.serve(1));
    }
    assert!(served.contains(&0), "{served:?}");
    // once its turn has come it is the one that waits for the bucket
    let first = served.iter().position(|who| *who == 0).unwrap();
    assert!(first <= 1, "{served:?}");
}

#[test]
fn who_was_away_has_saved_up_nothing() {
    let mut desk = Desk::new(&turns(QueueOrder::Fair));
    for _ in 0..10 {
        desk.queue(0, 1);
        desk.serve(1);
    }
    for _ in 0..4 {
        desk.queue(0, 1);
    }
    for _ in 0..4 {
        desk.queue(1, 1);
    }
    assert_eq!(desk.serve(8), [0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn who_leaves_costs_its_user_nothing() {
    let mut desk = Desk::new(&turns(QueueOrder::Fair));
    let mine: Vec<Ticket> = (0..4).map(|_| desk.queue(0, 1)).collect();
    for _ in 0..3 {
        desk.queue(1, 1);
    }
    for ticket in &mine[..3] {
        assert!(desk.limiter.leave(desk.now, *ticket));
        assert!(!desk.limiter.leave(desk.now, *ticket));
    }
    desk.waiting.retain(|(ticket, _)| !mine[..3].contains(ticket));
    // its last one stands where its first one stood
    assert_eq!(desk.serve(4), [0, 1, 1, 1]);
}

#[test]
fn the_order_can_be_switched_with_a_queue() {
    let mut desk = Desk::new(&turns(QueueOrder::Fifo));
    for who in [0, 0, 0, 1, 1, 2] {
        desk.queue(who, 1);
    }
    assert_eq!(desk.serve(1), [0]);
    desk.limiter.configure(&turns(QueueOrder::Fair), desk.now);
    assert_eq!(desk.serve(3), [0, 1, 2]);
    desk.limiter.configure(&turns(QueueOrder::Fifo), desk.now);
    assert_eq!(desk.serve(2), [0, 1]);
    assert_eq!(desk.limiter.waiting(), 0);
}

#[test]
fn an_own_bucket_that_is_empty_holds_up_nobody_else() {
    for order in [QueueOrder::Fifo, QueueOrder::Fair] {
        let mut settings = turns(order);
        settings.requests = bucket(10, 10);
        settings.each_user.requests = Some(bucket(1, 1));
        let mut desk = Desk::new(&settings);
        assert!(matches!(desk.ask(0, 1), Admission::Admitted(_)));
        let expected = Admission::Queued {
            ticket: Ticket(0),
            constraint: Constraint::UserRequests,
            position: 1,
            ready_at: Some(at(1000)),
            displaced: None,
        };
        assert_eq!(desk.ask(0, 1), expected);
        assert!(matches!(desk.ask(1, 1), Admission::Admitted(_)), "{order:?}");
        let levels = desk.limiter.of_user(at(0), &user(1)).unwrap();
        assert_eq!(levels.requests.unwrap().scaled, 0);
        assert_eq!(levels.tokens, None);
        assert_eq!(desk.limiter.head(at(0)), Some((Ticket(0), Some(at(1000)))));
        // the second of the same user waits for the second refill, also if it comes when the other may go
        desk.now = at(1000);
        assert!(matches!(
            desk.ask(0, 1),
            Admission::Queued { ready_at: Some(ready), .. } if ready == at(2000)
        ));
        assert_eq!(desk.serve(2), [0, 0]);
        assert_eq!(desk.now, at(2000));
    }
}

/// All or nothing: while the bucket of all is short, nothing of the user's own is taken, and the other way round.
#[test]
fn a_grant_takes_from_own_and_common_buckets_or_from_none() {
    let mut settings = turns(QueueOrder::Fair);
    settings.requests = bucket(10, 1);
    settings.each_user.tokens = Some(bucket(50, 10));
    let mut desk = Desk::new(&settings);
    let Admission::Admitted(grant) = desk.ask(0, 30) else {
        panic!()
    };
    let own = |desk: &Desk| {
        let levels = desk.limiter.of_user(desk.now, &user(0)).unwrap();
        levels.tokens.unwrap().level_at(desk.now)
    };
    let common = |desk: &Desk| desk.limiter.tokens(desk.now).level_at(desk.now);
    assert_eq!((own(&desk), common(&desk)), (20.0, 969.0));
    desk.queue(0, 40);
    assert_eq!((own(&desk), common(&desk)), (20.0, 969.0));
    // what the settlement gives back or takes goes into both
    let settled = desk.limiter.settle(desk.now, grant, Settlement::Used(45));
    assert_eq!((settled.charged, own(&desk), common(&desk)), (45, 5.0, 954.0));
    assert_eq!(desk.limiter.head(at(0)), Some((Ticket(0), Some(at(3500)))));
}

#[test]
fn what_the_own_bucket_can_never_hold_is_rejected_at_once() {
    let mut settings = turns(QueueOrder::Fair);
    settings.users = [(
        "ben".to_owned(),
        UserLimits {
            tokens: Some(bucket(50, 10)),
            ..UserLimits::default()
        },
    )]
    .into();
    let mut desk = Desk::new(&settings);
    assert_eq!(desk.ask(1, 51), reject(LimitReject::UserTooLarge, None));
    assert_eq!(desk.ask(1, 1001), reject(LimitReject::TooLarge, None));
    assert!(matches!(desk.ask(0, 51), Admission::Queued { .. }));
}

#[test]
fn in_a_full_queue_the_longest_lane_makes_room() {
    let mut desk = Desk::new(&turns(QueueOrder::Fair));
    let flood: Vec<Ticket> = (0..9).map(|_| desk.queue(0, 1)).collect();
    desk.queue(1, 1);
    let Admission::Queued {
        displaced,
        position,
        ready_at,
        ..
    } = desk.ask(2, 1)
    else {
        panic!()
    };
    assert_eq!(displaced, Some(flood[8]));
    assert_eq!((position, ready_at), (3, Some(at(3000))));
    assert_eq!(desk.limiter.waiting(), 10);
    assert_eq!(desk.limiter.poll(at(0), flood[8]), Turn::Gone);
    // the flood itself is turned away: told how long its own last one waits, as far as was known when it came
    let rejected = desk.ask(0, 1);
    assert_eq!(rejected, reject(LimitReject::QueueFull, Some(8 * SECOND)));
    // and so is who would only swap places
    let mut desk = Desk::new(&LimitSettings {
        max_waiters: 1,
        ..turns(QueueOrder::Fair)
    });
    desk.queue(0, 1);
    assert!(matches!(
        desk.ask(1, 1),
        Admission::Rejected {
            reason: LimitReject::QueueFull,
            ..
        }
    ));
}

#[test]
fn nobody_loses_a_place_to_who_does_not_take_it() {
    let mut desk = Desk::new(&turns(QueueOrder::Fair));
    for _ in 0..10 {
        desk.queue(0, 1);
    }
    let ben = user(1);
    let hurried = Request {
        deadline: at(1500),
        ..of(&ben, 1)
    };
    let rejected = desk.limiter.acquire(at(0), hurried);
    assert_eq!(rejected, reject(LimitReject::Deadline, Some(2 * SECOND)));
    assert_eq!(desk.limiter.waiting(), 10);
}

#[test]
fn first_come_first_served_a_full_queue_is_full() {
    let mut desk = Desk::new(&turns(QueueOrder::Fifo));
    for _ in 0..10 {
        desk.queue(0, 1);
    }
    assert_eq!(desk.ask(1, 1), reject(LimitReject::QueueFull, Some(10 * SECOND)));
}

/// A lane with an empty bucket is not given away: it would come back with a full one.
#[test]
fn lanes_are_few_and_no_bucket_is_refilled_by_forgetting() {
    let mut settings = turns(QueueOrder::Fair);
    settings.requests = bucket(100, 100);
    settings.each_user.requests = Some(bucket(2, 1));
    settings.users = [("flo".to_owned(), weighing(1))].into();
    settings.max_users = 2;
    let mut limiter = Limiter::new(&settings, at(0));
    let mut ask = |who: &str, millis: u64| {
        let (name, now) = (UserId::new(who), at(millis));
        let answer = limiter.acquire(now, of(&name, 1));
        if let Admission::Admitted(grant) = answer {
            let _settled = limiter.settle(now, grant, Settlement::Unknown);
        }
        let levels = limiter.of_user(now, &name);
        (
            levels.map(|levels| levels.user.to_string()),
            limiter.lanes.count(),
        )
    };
    let lane = |name: &str, lanes| (Some(name.to_owned()), lanes);
    assert_eq!(ask("ana", 0), lane("ana", 1));
    assert_eq!(ask("ben", 0), lane("ben", 2));
    // all that come now share one lane, and one bucket
    for n in 0..100 {
        assert_eq!(ask(&format!("user {n}"), 0), lane("(others)", 3));
    }
    // whom the policy names has its own lane; it has no limit of its own here
    assert_eq!(ask("flo", 0), (None, 4));
    assert_eq!(ask("cleo", 999), lane("(others)", 4));
    // ana's and ben's buckets are full again: their lanes may go
    assert_eq!(ask("cleo", 1000), lane("cleo", 4));
    assert_eq!(ask("dev", 1000), lane("dev", 4));
    assert_eq!(ask("ana", 1000), lane("(others)", 4));
}

#[test]
fn a_limit_that_is_new_has_nothing_to_give_back() {
    let mut settings = turns(QueueOrder::Fair);
    settings.requests = bucket(10, 1);
    let mut desk = Desk::new(&settings);
    let Admission::Admitted(grant) = desk.ask(0, 30) else {
        panic!()
    };
    settings.each_user.tokens = Some(bucket(50, 1));
    desk.limiter.configure(&settings, at(0));
    let _second = desk.ask(0, 20);
    let _settled = desk.limiter.settle(at(0), grant, Settlement::Unsent);
    let levels = desk.limiter.of_user(at(0), &user(0)).unwrap();
    assert_eq!(levels.tokens.unwrap().scaled, 30_000_000_000);
}

/// What may happen.
#[derive(Clone, Debug)]
enum Deed {
    Ask { who: usize, tokens: u64, patience: u64 },
    Leave { nth: usize },
    Settle { nth: usize, used: Option<u64> },
    Pause { millis: u64 },
    Switch,
    Weigh { who: usize, weight: u32 },
    Pass { nanos: u64 },
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => (0_usize..4, 0_u64..110, 100_u64..60_000)
            .prop_map(|(who, tokens, patience)| Deed::Ask { who, tokens, patience }),
        1 => (0_usize..12).prop_map(|nth| Deed::Leave { nth }),
        4 => (0_usize..8, prop::option::of(0_u64..150)).prop_map(|(nth, used)| Deed::Settle { nth, used }),
        1 => (0_u64..3000).prop_map(|millis| Deed::Pause { millis }),
        1 => Just(Deed::Switch),
        1 => (0_usize..4, 1_u32..4).prop_map(|(who, weight)| Deed::Weigh { who, weight }),
        5 => (0_u64..3_000_000_000).prop_map(|nanos| Deed::Pass { nanos }),
    ]
}

/// A user of the naive limiter.
struct Person {
    weight: u32,
    requests: Option<Pool>,
    tokens: Option<Pool>,
    /// The head of its queue and its start tag.
    head: Option<(Ticket, u128)>,
    finish: u128,
}

const NORMAL: (i128, u64) = (100, 0);

fn pool(settings: &Bucket) -> Pool {
    Pool {
        capacity: i128::from(settings.capacity),
        refill: i128::from(settings.refill),
        level: i128::from(settings.capacity) * GRAIN,
        as_of: 0,
    }
}

fn holds(pool: &Pool, now: u64, units: u64) -> bool {
    pool.level(now, NORMAL) >= i128::from(units) * GRAIN
}

fn take(pool: &mut Pool, now: u64, units: i128) {
    pool.level = (pool.level(now, NORMAL) - units * GRAIN).min(pool.capacity * GRAIN);
    pool.as_of = now;
}

/// The naive limiter: asks everybody, every time.
struct Naive {
    settings: LimitSettings,
    people: Vec<Person>,
    requests: Pool,
    tokens: Pool,
    paused: u64,
    time: u128,
    queue: Vec<(Ticket, usize, u64)>,
    grants: Vec<(Grant, usize)>,
    limiter: Limiter,
    now: u64,
}

impl Naive {
    fn new(settings: &LimitSettings) -> Self {
        let person = |who| {
            let limits = settings.of_user(user(who).as_str());
            Person {
                weight: limits.weight,
                requests: limits.requests.as_ref().map(pool),
                tokens: limits.tokens.as_ref().map(pool),
                head: None,
                finish: 0,
            }
        };
        Self {
            people: (0..4).map(person).collect(),
            requests: pool(&settings.requests),
            tokens: pool(&settings.tokens),
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
        let person = &self.people[who];
        person.requests.as_ref().is_none_or(|pool| holds(pool, now, 1))
            && person.tokens.as_ref().is_none_or(|pool| holds(pool, now, tokens))
    }

    fn has_common(&self, tokens: u64, now: u64) -> bool {
        self.paused <= now
            && self.grants.len() < self.settings.concurrency as usize
            && holds(&self.requests, now, 1)
            && holds(&self.tokens, now, tokens)
    }

    /// Whose turn it is at an instant: the smallest tag of those who can pay for themselves.
    fn turn(&self, now: u64) -> Option<(Ticket, usize, u64)> {
        let heads = (0..self.people.len()).filter_map(|who| {
            let (ticket, _, tokens) = *self.queue.iter().find(|(_, owner, _)| *owner == who)?;
            let (_, start) = self.people[who].head?;
            let key = (if self.is_fair() { start } else { 0 }, ticket);
            self.has_own(who, tokens, now)
                .then_some((key, (ticket, who, tokens)))
        });
        heads.min().map(|(_, turn)| turn)
    }

    /// Who may go at an instant.
    fn goes(&self, now: u64) -> Option<(Ticket, usize, u64)> {
        self.turn(now)
            .filter(|(_, _, tokens)| self.has_common(*tokens, now))
    }

    fn start(&self, who: usize) -> u128 {
        self.time.max(self.people[who].finish)
    }

    /// Whoever stands first in its queue gets its tag.
    fn tag(&mut self) {
        for who in 0..self.people.len() {
            let first = self.queue.iter().find(|(_, owner, _)| *owner == who);
            let first = first.map(|(ticket, ..)| *ticket);
            if first != self.people[who].head.map(|(ticket, _)| ticket) {
                let start = self.start(who);
                self.people[who].head = first.map(|ticket| (ticket, start));
            }
        }
        if self.queue.is_empty() {
            let latest = self.people.iter().map(|person| person.finish).max();
            self.time = self.time.max(latest.unwrap_or(0));
        }
    }

    fn granted(&mut self, grant: Grant, who: usize, tokens: u64, start: u128) {
        assert!(self.has_common(tokens, self.now) && self.has_own(who, tokens, self.now));
        self.charge(who, 1, i128::from(tokens));
        // one request a second, or a hundred LLM tokens
        let second = 1_000_000_000 << 20;
        let cost = (second / u128::from(self.settings.requests.refill))
            .max(u128::from(tokens) * second / u128::from(self.settings.tokens.refill));
        if self.is_fair() {
            self.time = self.time.max(start);
            self.people[who].finish = start + cost / u128::from(self.people[who].weight);
        }
        self.grants.push((grant, who));
    }

    fn charge(&mut self, who: usize, requests: i128, tokens: i128) {
        let now = self.now;
        take(&mut self.requests, now, requests);
        take(&mut self.tokens, now, tokens);
        let person = &mut self.people[who];
        if let Some(pool) = &mut person.requests {
            take(pool, now, requests);
        }
        if let Some(pool) = &mut person.tokens {
            take(pool, now, tokens);
        }
    }

    /// Wakes whoever the limiter names, as every caller must; it must be the one whose turn it is.
    fn wake(&mut self) {
        loop {
            let now = Timestamp(self.now);
            let goes = self.goes(self.now);
            match self.limiter.head(now) {
                Some((ticket, Some(until))) if until <= now => {
                    let (expected, who, tokens) = goes.expect("named too early");
                    assert_eq!(ticket, expected, "another one's turn");
                    let Turn::Admitted { grant, .. } = self.limiter.poll(now, ticket) else {
                        panic!("named by head, and not admitted");
                    };
                    let (_, start) = self.people[who].head.unwrap();
                    self.queue.retain(|(other, ..)| *other != ticket);
                    self.granted(grant, who, tokens, start);
                    self.tag();
                }
                head => {
                    assert_eq!(goes, None, "a wake-up was lost");
                    assert_eq!(head.is_none(), self.queue.is_empty());
                    return;
                }
            }
        }
    }

    fn ask(&mut self, who: usize, tokens: u64, patience: u64) {
        let name = user(who);
        let now = Timestamp(self.now);
        let request = Request {
            deadline: now + Duration::from_millis(patience),
            ..of(&name, tokens)
        };
        let start = self.start(who);
        let first = self
            .turn(self.now)
            .is_none_or(|(_, other, _)| self.is_fair() && self.people[other].head.unwrap().1 > start);
        let waits = self.queue.iter().any(|(_, owner, _)| *owner == who);
        let could = self.has_own(who, tokens, self.now) && self.has_common(tokens, self.now);
        let could = could && first && !waits;
        let own = self.people[who].tokens.as_ref().map(|pool| pool.capacity);
        let lengths: Vec<usize> = (0..4)
            .map(|who| self.queue.iter().filter(|(_, owner, _)| *owner == who).count())
            .collect();
        match self.limiter.acquire(now, request) {
            Admission::Admitted(grant) => {
                assert!(could, "admitted out of turn");
                self.granted(grant, who, tokens, start);
            }
            Admission::Queued {
                ticket,
                position,
                ready_at,
                displaced,
                ..
            } => {
                assert!(!could, "it could have gone");
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
                LimitReject::Displaced => panic!("at the door"),
            },
        }
        self.tag();
    }

    /// Lets time pass; between now and the instant that the limiter names nobody may go.
    fn pass(&mut self, nanos: u64) {
        let target = self.now + nanos;
        while let Some((_, Some(until))) = self.limiter.head(Timestamp(self.now)) {
            let until = until.0;
            for part in 1..20 {
                let between = self.now + (until.min(target) - self.now) / 20 * part;
                assert!(
                    between == until || self.goes(between).is_none(),
                    "could have gone earlier"
                );
            }
            if until > target {
                break;
            }
            assert!(until == self.now || self.goes(until - 1).is_none());
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
        for (number, person) in self.people.iter_mut().enumerate() {
            person.weight = self.settings.of_user(user(number).as_str()).weight;
            person.finish = 0;
            person.head = person.head.map(|(ticket, _)| (ticket, 0));
        }
    }

    fn apply(&mut self, deed: &Deed) {
        match *deed {
            Deed::Ask {
                who,
                tokens,
                patience,
            } => self.ask(who, tokens, patience),
            Deed::Leave { nth } => {
                if !self.queue.is_empty() {
                    let (ticket, ..) = self.queue.remove(nth % self.queue.len());
                    assert!(self.limiter.leave(Timestamp(self.now), ticket));
                    self.tag();
                }
            }
            Deed::Settle { nth, used } => self.settle(nth, used),
            Deed::Pause { millis } => {
                self.paused = self.paused.max(self.now + at(millis).0);
                let until = self.limiter.pause(Timestamp(self.now), Timestamp(self.paused));
                assert_eq!(until.0, self.paused);
            }
            Deed::Switch => {
                self.settings.order = self.settings.order.other();
                self.configure();
            }
            Deed::Weigh { who, weight } => {
                let name = user(who).to_string();
                let limits = UserLimits {
                    weight,
                    ..self.settings.of_user(&name).clone()
                };
                self.settings.users.insert(name, limits);
                self.configure();
            }
            Deed::Pass { nanos } => self.pass(nanos),
        }
        self.wake();
        self.check();
    }

    fn check(&self) {
        let now = Timestamp(self.now);
        let same = |level: BucketLevel, pool: &Pool| {
            let got = i128::from(level.scaled) * GRAIN;
            assert_eq!(got, pool.level(self.now, NORMAL) * i128::from(level.per_ns));
        };
        same(self.limiter.requests(now), &self.requests);
        same(self.limiter.tokens(now), &self.tokens);
        for (number, person) in self.people.iter().enumerate() {
            let levels = self.limiter.of_user(now, &user(number));
            for (level, pool) in [
                (
                    levels.as_ref().and_then(|levels| levels.requests),
                    &person.requests,
                ),
                (levels.as_ref().and_then(|levels| levels.tokens), &person.tokens),
            ] {
                // a user that was never seen has no lane
                if let (Some(level), Some(pool)) = (level, pool) {
                    same(level, pool);
                }
            }
        }
        assert_eq!(self.limiter.in_use() as usize, self.grants.len());
        assert_eq!(self.limiter.waiting() as usize, self.queue.len());
    }
}

fn worlds() -> impl Strategy<Value = LimitSettings> {
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

    /// Who goes, when, and what is left in every bucket: the naive limiter agrees after every step.
    #[test]
    fn the_naive_limiter_agrees(
        settings in worlds(),
        deeds in prop::collection::vec(deeds(), 1..120),
    ) {
        let mut naive = Naive::new(&settings);
        for deed in &deeds {
            naive.apply(deed);
        }
        while let Some((ticket, ..)) = naive.queue.pop() {
            prop_assert!(naive.limiter.leave(Timestamp(naive.now), ticket));
        }
        while !naive.grants.is_empty() {
            naive.settle(0, None);
        }
        prop_assert_eq!((naive.limiter.in_use(), naive.limiter.waiting()), (0, 0));
    }

    /// While nobody comes, a promised instant is kept to the nanosecond by everybody, in either order and with
    /// own buckets.
    #[test]
    fn promises_of_the_last_who_came_are_kept(
        mut settings in worlds(),
        calls in prop::collection::vec((0_usize..4, 0_u64..=20, 0_u64..300_000_000), 1..12),
        pause in 0_u64..3000,
    ) {
        settings.concurrency = 100;
        settings.max_waiters = 100;
        settings.max_wait = 1000 * SECOND;
        let mut naive = Naive::new(&settings);
        naive.apply(&Deed::Pause { millis: pause });
        let mut promise = None;
        for (who, tokens, gap) in calls {
            let name = user(who);
            naive.pass(gap);
            match naive.limiter.acquire(Timestamp(naive.now), of(&name, tokens)) {
                Admission::Queued { ticket, ready_at, .. } => {
                    naive.queue.push((ticket, who, tokens));
                    promise = Some((ticket, ready_at.unwrap()));
                }
                Admission::Admitted(grant) => {
                    let start = naive.start(who);
                    naive.granted(grant, who, tokens, start);
                    promise = None;
                }
                Admission::Rejected { .. } => {}
            }
            naive.tag();
        }
        if let Some((ticket, ready_at)) = promise && naive.queue.iter().any(|(other, ..)| *other == ticket) {
            naive.pass(ready_at.since(Timestamp(naive.now)).as_nanos() as u64 - 1);
            prop_assert!(naive.queue.iter().any(|(other, ..)| *other == ticket), "too early");
            naive.pass(1);
            prop_assert!(naive.queue.iter().all(|(other, ..)| *other != ticket), "too late");
        }
    }

    /// The bound of the paper: of two users that always wait and have no own bucket, neither gets more than the
    /// other by more than what the largest call of each costs, over the weights, in any stretch of time.
    #[test]
    fn no_user_gets_ahead_of_another(
        weights in (1_u32..5, 1_u32..5),
        sizes in prop::collection::vec((1_u64..100, 1_u64..100), 40),
        others in prop::collection::vec((2_usize..4, 1_u64..100), 0..30),
    ) {
        let mut settings = turns(QueueOrder::Fair);
        settings.max_waiters = 1000;
        settings.tokens = bucket(1000, 20);
        settings.users = [("ana".to_owned(), weighing(weights.0)), ("ben".to_owned(), weighing(weights.1))].into();
        let mut desk = Desk::new(&settings);
        for &(mine, yours) in &sizes {
            desk.queue(0, mine);
            desk.queue(1, yours);
        }
        for &(who, tokens) in &others {
            desk.queue(who, tokens);
        }
        let cost = |tokens: u64, weight: u32| (tokens as f64 / 20.0).max(1.0) / f64::from(weight);
        let mut next = [0, 0];
        // who is ahead, and by how much
        let (mut ahead, mut least, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
        while desk.waiting.iter().any(|(_, who)| *who == 0) && desk.waiting.iter().any(|(_, who)| *who == 1) {
            let who = desk.serve(1)[0];
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
