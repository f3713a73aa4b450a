//! The forecast from sums beside the simulation.

use super::users::{bucket, random_settings, request_of, user};
use super::*;
use crate::policy::limiter::forecast::{Forecast, PredictedAdmission};

/// A limiter with a queue of any length.
fn with_waiters(
    settings: &LimitSettings,
    pause: u64,
    throttle: (u64, u64),
    calls: &[(usize, u64, u64)],
) -> (Limiter, Timestamp) {
    let settings = LimitSettings {
        concurrency: 1000,
        max_waiters: 1000,
        max_wait: 1_000_000 * SECOND,
        ..settings.clone()
    };
    let mut limiter = Limiter::new(&settings, at(0));
    let mut now = at(0);
    let _until = limiter.pause(now, at(pause));
    let _until = limiter.throttle(now, throttle.0 as f64 / 100.0, at(throttle.1));
    for &(who, tokens, gap) in calls {
        now = now + Duration::from_nanos(gap);
        while let Some((ticket, Some(until))) = limiter.head(now)
            && until <= now
        {
            assert!(matches!(limiter.poll(now, ticket), PollOutcome::Admitted { .. }));
        }
        let _any = limiter.acquire(now, request_of(&user(who), tokens));
    }
    (limiter, now)
}

/// The simulated admission of an arrival, the number of waiters ahead, and if no bucket is full at an admission
/// before.
fn simulated(limiter: &Limiter, now: Timestamp, arrival: Arrival) -> (Timestamp, u32, bool) {
    let mut forecast = Forecast::new(&limiter.queues, limiter.shared(now), Some(arrival));
    let mut shared = limiter.shared(now);
    let is_full = |bucket: ThrottledBucket| bucket.level().share_at(bucket.level().as_of) >= 1.0;
    let start = shared.at;
    let (mut ahead, mut is_exact) = (0, true);
    loop {
        let PredictedAdmission { ticket, at, .. } = forecast.next_admission().unwrap();
        let waiter = limiter.queues.waiter(ticket);
        is_exact &= at == start
            || ![shared.requests.at(at), shared.tokens.at(at)]
                .into_iter()
                .any(is_full);
        let Some(waiter) = waiter else {
            return (at, ahead, is_exact);
        };
        shared.admit(waiter.tokens);
        ahead += 1;
    }
}

/// A flood that waits for its own bucket is not ahead of another user, however long its queue.
#[test]
fn a_flood_behind_its_own_bucket_delays_no_forecast_of_others() {
    for order in [QueueOrder::Fifo, QueueOrder::Fair] {
        let mut settings = LimitSettings {
            order,
            requests: bucket(10, 10),
            ..settings()
        };
        settings.tokens = bucket(1000, 1000);
        settings.each_user.requests = Some(bucket(2, 1));
        let calls = [(0, 1, 0); 500];
        let (mut limiter, now) = with_waiters(&settings, 1000, (100, 0), &calls);
        assert_eq!(limiter.waiting(), 500);
        let Admission::Queued {
            position, ready_at, ..
        } = limiter.acquire(now, request_of(&user(1), 1))
        else {
            panic!("paused");
        };
        assert!(position <= 4, "{position}");
        assert_eq!(ready_at, Some(at(1000)));
    }
}

/// A displaced waiter is not ahead of the call that displaces it.
#[test]
fn a_displaced_waiter_does_not_count() {
    let settings = LimitSettings {
        requests: bucket(1, 1),
        order: QueueOrder::Fair,
        ..settings()
    };
    let (mut limiter, now) = with_waiters(&settings, 1000, (100, 0), &[(0, 0, 0); 100]);
    limiter.settings.max_waiters = 100;
    let Admission::Queued {
        position, displaced, ..
    } = limiter.acquire(now, request_of(&user(1), 0))
    else {
        panic!("paused");
    };
    assert_eq!((position, displaced), (2, Some(Ticket(99))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Without per-user buckets, the sums count the same waiters as the simulation. The instant is never later,
    /// and the same to the nanosecond if no bucket fills up during the wait.
    #[test]
    fn sums_agree_with_the_simulation(
        mut settings in random_settings(),
        (capacity, refill) in (1_u64..40, 1_u64..10),
        calls in prop::collection::vec((0_usize..4, 0_u64..=20, 0_u64..300_000_000), 1..150),
        pause in 0_u64..60_000,
        throttle in (1_u64..100, 0_u64..60_000),
        (who, tokens) in (0_usize..4, 0_u64..=20),
    ) {
        settings.requests = bucket(capacity, refill);
        settings.each_user.requests = None;
        settings.each_user.tokens = None;
        for limits in settings.users.values_mut() {
            (limits.requests, limits.tokens) = (None, None);
        }
        let (mut limiter, now) = with_waiters(&settings, pause, throttle, &calls);
        let queue = limiter.queues.for_user(&user(who), now);
        let arrival = Arrival { queue, tokens, displaces: None };
        let (ready, ahead, is_exact) = simulated(&limiter, now, arrival);
        let (estimate, _, count) = limiter.estimate(now, arrival);
        prop_assert_eq!(count, ahead);
        prop_assert!(estimate <= ready, "{:?} after {:?}", estimate, ready);
        prop_assert!(!is_exact || estimate == ready, "{:?} instead of {:?}", estimate, ready);
    }

    /// With per-user buckets, too, a call alone in its user's queue is never predicted later than it is simulated
    /// in arrival order.
    #[test]
    fn sums_are_a_lower_bound_with_user_buckets(
        settings in random_settings(),
        calls in prop::collection::vec((0_usize..4, 0_u64..=20, 0_u64..300_000_000), 1..100),
        pause in 0_u64..60_000,
        (who, tokens) in (0_usize..4, 0_u64..=20),
    ) {
        let settings = LimitSettings { order: QueueOrder::Fifo, ..settings };
        let (mut limiter, now) = with_waiters(&settings, pause, (100, 0), &calls);
        let queue = limiter.queues.for_user(&user(who), now);
        let arrival = Arrival { queue, tokens, displaces: None };
        let (ready, ..) = simulated(&limiter, now, arrival);
        let (estimate, ..) = limiter.estimate(now, arrival);
        prop_assert!(estimate <= ready, "{:?} after {:?}", estimate, ready);
    }
}
