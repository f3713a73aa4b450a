//! Good journals with one error each. Events are named by their `seq` in the good journal.

use serde_json::{Value, json};

/// A journal line by line: the header, the events, the end.
pub(crate) struct Log {
    header: Value,
    /// Each line with its number in the good journal, if it comes from there.
    events: Vec<(Option<u64>, Value)>,
    /// True if sequence numbers are renumbered afterwards, so that the mistake is the only error.
    renumbered: bool,
}

/// A mistake, and the invariant that must detect it.
pub(crate) struct Mistake {
    pub(crate) name: &'static str,
    pub(crate) number: u8,
    pub(crate) journal: &'static str,
    edit: fn(&mut Log),
}

impl Mistake {
    /// The good journal with this mistake.
    pub(crate) fn make(&self, text: &str) -> String {
        let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let mut log = Log {
            header: lines.next().unwrap(),
            events: lines.map(|event: Value| (event["seq"].as_u64(), event)).collect(),
            renumbered: true,
        };
        (self.edit)(&mut log);
        log.into_text()
    }
}

impl Log {
    fn place(&self, seq: u64) -> usize {
        self.events
            .iter()
            .position(|(known, _)| *known == Some(seq))
            .unwrap()
    }

    /// Changes a field of an event. The field must exist and must change.
    fn set(&mut self, seq: u64, pointer: &str, value: Value) {
        let place = self.place(seq);
        let field = self.events[place].1.pointer_mut(pointer);
        let field = field.unwrap_or_else(|| panic!("event {seq} has no {pointer}"));
        assert_ne!(*field, value, "event {seq}, {pointer}");
        *field = value;
    }

    /// Adds a field to an event.
    fn add(&mut self, seq: u64, field: &str, value: Value) {
        let place = self.place(seq);
        self.events[place].1[field] = value;
    }

    fn remove(&mut self, seq: u64) {
        let place = self.place(seq);
        self.events.remove(place);
    }

    /// Inserts an event that belongs to no call before another one, at its time.
    fn insert(&mut self, mut event: Value, before: u64) {
        let place = self.place(before);
        event["seq"] = json!(0);
        event["at"] = self.events[place].1["at"].clone();
        self.events.insert(place, (None, event));
    }

    /// Repeats an event before another one, at its time.
    fn copy(&mut self, seq: u64, before: u64) {
        let mut event = self.events[self.place(seq)].1.clone();
        let place = self.place(before);
        event["at"] = self.events[place].1["at"].clone();
        self.events.insert(place, (None, event));
    }

    fn swap(&mut self, one: u64, other: u64) {
        let (one, other) = (self.place(one), self.place(other));
        self.events.swap(one, other);
    }

    /// The same session with a smaller request bucket: all levels are lower by the difference.
    fn shrink_bucket(&mut self, fewer: i64) {
        let events = self.events.iter_mut().map(|(_, event)| event);
        for event in events {
            if let Some(level) = event.get_mut("requests") {
                let per = level["per_ns"].as_i64().unwrap();
                level["scaled"] = (level["scaled"].as_i64().unwrap() - fewer * per).into();
                level["capacity"] = (level["capacity"].as_i64().unwrap() - fewer).into();
            }
        }
        let place = self.place(1);
        for policy in [&mut self.header, &mut self.events[place].1] {
            let capacity = policy.pointer_mut("/policy/limit/requests/capacity").unwrap();
            *capacity = (capacity.as_i64().unwrap() - fewer).into();
        }
    }

    fn into_text(self) -> String {
        let mut text = self.header.to_string();
        let mut seq = 0;
        for (_, mut event) in self.events {
            if self.renumbered && event.get("seq").is_some() {
                event["seq"] = seq.into();
                seq += 1;
            }
            if self.renumbered && event.get("end").is_some() {
                event["end"] = seq.into();
            }
            text.push('\n');
            text.push_str(&event.to_string());
        }
        text.push('\n');
        text
    }
}

/// A near miss.
fn near(source: u64, fields: u32) -> Value {
    json!({
        "source": source,
        "prompt": "hi",
        "differs": [{ "field": "prompt", "how": "value", "here": "a", "stored": "b" }],
        "fields": fields,
    })
}

/// The start of a load of one call per second.
fn load() -> Value {
    json!({ "type": "load_started", "load": 1, "plan": { "rate": 1.0, "users": "all" } })
}

const fn mistake(number: u8, name: &'static str, edit: fn(&mut Log)) -> Mistake {
    Mistake {
        name,
        number,
        journal: "production",
        edit,
    }
}

/// A mistake in the journal where limiter and breaker count calls.
const fn of_exercise(number: u8, name: &'static str, edit: fn(&mut Log)) -> Mistake {
    Mistake {
        name,
        number,
        journal: "exercise",
        edit,
    }
}

/// A mistake in the journal of the semantic cache.
const fn of_semantic(number: u8, name: &'static str, edit: fn(&mut Log)) -> Mistake {
    Mistake {
        name,
        number,
        journal: "semantic",
        edit,
    }
}

/// A mistake in the journal of many users.
const fn of_users(number: u8, name: &'static str, edit: fn(&mut Log)) -> Mistake {
    Mistake {
        name,
        number,
        journal: "users",
        edit,
    }
}

/// Every mistake, in the order of the invariants.
pub(crate) const MISTAKES: &[Mistake] = &[
    mistake(1, "a call without an end", |log| log.remove(259)),
    mistake(1, "a call with two ends", |log| log.copy(259, 260)),
    mistake(1, "a call that starts twice", |log| log.copy(175, 177)),
    mistake(1, "text after the end", |log| log.copy(11, 32)),
    mistake(2, "a number is missing", |log| {
        log.renumbered = false;
        log.remove(100);
    }),
    mistake(2, "the end counts other events", |log| {
        log.renumbered = false;
        let place = log.events.len() - 1;
        log.events[place].1 = json!({ "end": 3 });
    }),
    mistake(2, "time goes back", |log| log.set(100, "/at", json!(1))),
    mistake(2, "a lookup twice", |log| log.copy(3, 4)),
    mistake(2, "a flight without a lookup", |log| log.remove(3)),
    mistake(2, "a response before the attempt", |log| log.swap(7, 8)),
    mistake(2, "an event of a call that does not own the flight", |log| {
        log.set(128, "/call", json!(8));
    }),
    mistake(2, "attempt 3 follows attempt 1", |log| {
        log.set(152, "/attempt", json!(3));
    }),
    mistake(3, "more attempts than allowed", |log| {
        log.set(1, "/policy/retry/attempts", json!(2));
    }),
    mistake(3, "an attempt without a decision", |log| log.remove(149)),
    mistake(3, "an attempt after the decision to stop", |log| {
        log.copy(201, 194);
        let place = log.place(194) - 1;
        log.events[place].1["attempt"] = json!(2);
        log.events[place].1["reason"] = json!("rate_limited");
    }),
    mistake(3, "more ambiguous retries than allowed", |log| {
        log.set(1, "/policy/retry/max_ambiguous_retries", json!(0));
    }),
    mistake(3, "an ambiguous retry recorded as unambiguous", |log| {
        log.set(329, "/ambiguous", json!(false));
    }),
    mistake(4, "a wait past the deadline", |log| {
        log.set(138, "/deadline", json!(11_500_000_000_u64));
    }),
    mistake(4, "a call that ends after its deadline", |log| {
        log.set(35, "/deadline", json!(2_000_000_000_u64));
    }),
    mistake(4, "a deadline that has not passed", |log| {
        log.set(260, "/deadline", json!(90_000_000_000_u64));
    }),
    mistake(4, "queued until after the deadline", |log| {
        log.add(473, "ready_at", json!(9_000_000_000_000_u64));
    }),
    mistake(5, "a retry after text", |log| log.copy(154, 145)),
    mistake(6, "a wait shorter than the hint", |log| {
        log.set(149, "/delay", json!(500_000_000));
    }),
    mistake(6, "a hint that is ignored", |log| {
        log.set(149, "/hint", Value::Null);
    }),
    mistake(6, "a wait longer than the backoff can draw", |log| {
        log.set(185, "/drawn", json!(600_000_000));
    }),
    mistake(6, "an attempt before its wait is over", |log| {
        log.set(1, "/policy/retry/jitter", json!("none"));
    }),
    mistake(6, "a wait that ends at another time", |log| {
        log.set(185, "/starts_at", json!(12_700_000_000_u64));
    }),
    mistake(7, "a retry after a final failure", |log| {
        log.set(145, "/failure/phase", json!("final"));
    }),
    mistake(7, "a retry that the server forbids", |log| {
        let mut failure = log.events[log.place(145)].1["failure"].clone();
        failure["should_retry"] = json!(false);
        log.set(145, "/failure", failure);
    }),
    mistake(8, "retries beyond the budget", |log| {
        log.set(1, "/policy/retry/budget_min_per_s", json!(0.0));
    }),
    mistake(8, "a retry denied although the budget allows it", |log| {
        log.set(201, "/reason", json!("budget"));
    }),
    mistake(9, "text before the response", |log| log.remove(8)),
    mistake(9, "text between two attempts", |log| log.copy(154, 150)),
    mistake(10, "an interrupted answer recorded as a failure", |log| {
        log.set(231, "/fate", json!("failed"));
    }),
    mistake(10, "refused, but not by the breaker", |log| {
        log.set(214, "/fate", json!("circuit_open"));
    }),
    mistake(10, "an answer with other usage", |log| {
        log.set(31, "/usage/completion_tokens", json!(1));
    }),
    mistake(10, "a failure recorded as an answer", |log| {
        let usage = log.events[log.place(31)].1["usage"].clone();
        log.set(214, "/fate", json!("answered"));
        log.set(214, "/failure", Value::Null);
        log.add(214, "usage", usage);
    }),
    mistake(10, "an answer that the upstream truncated", |log| {
        let place = log.place(171);
        let cut = json!({
            "seq": 171, "at": log.events[place].1["at"], "call": 10,
            "type": "fault_injected", "attempt": 2, "fault": "cut",
        });
        log.events.insert(place, (None, cut));
    }),
    mistake(11, "more granted than the bucket holds", |log| {
        log.shrink_bucket(4);
    }),
    mistake(11, "a grant during a pause", |log| {
        log.set(148, "/until", json!(12_000_000_000_u64));
    }),
    mistake(12, "a level from nowhere", |log| {
        log.set(61, "/tokens/scaled", json!(1_000_000_000_000_000_i64));
    }),
    mistake(12, "a level above the capacity", |log| {
        log.set(61, "/requests/scaled", json!(7_000_000_000_i64));
    }),
    mistake(12, "a bucket of another size", |log| {
        log.set(61, "/requests/capacity", json!(600));
    }),
    mistake(13, "a rejected request that costs tokens", |log| {
        log.set(147, "/charged", json!(31));
    }),
    mistake(13, "an answer that costs less than it used", |log| {
        log.set(61, "/charged", json!(1));
    }),
    mistake(13, "a refund of what was sent", |log| {
        log.set(212, "/refunded", json!(true));
    }),
    mistake(13, "an attempt that is not charged", |log| log.remove(150)),
    mistake(14, "a flight overtakes another in the queue", |log| {
        log.set(537, "/call", json!(30));
    }),
    mistake(14, "a flight that did not wait overtakes the queue", |log| {
        log.remove(471);
    }),
    mistake(14, "a wrong position in the queue", |log| {
        log.set(473, "/position", json!(9));
    }),
    mistake(15, "a grant larger than the bucket", |log| {
        log.set(38, "/reserved", json!(30_000));
    }),
    mistake(16, "from closed to half-open", |log| {
        log.set(348, "/to", json!("half_open"));
    }),
    mistake(16, "a generation is missing", |log| {
        log.set(391, "/generation", json!(7));
    }),
    mistake(16, "opened by too few failures", |log| {
        log.set(348, "/window/consecutive", json!(2));
    }),
    mistake(35, "closed by too few probes", |log| {
        log.set(1, "/policy/breaker/successes_to_close", json!(2));
    }),
    mistake(35, "closed by a first token", |log| {
        let mut lines: Vec<_> = [390, 391].map(|seq| log.events.remove(log.place(seq))).into();
        let place = log.place(373);
        for (_, event) in &mut lines {
            event["at"] = log.events[place].1["at"].clone();
        }
        log.events.splice(place..place, lines);
    }),
    mistake(36, "open for longer than is due", |log| {
        log.set(348, "/until", json!(66_000_000_000_u64));
    }),
    mistake(36, "open for less than is due", |log| {
        log.set(348, "/until", json!(62_000_000_000_u64));
    }),
    mistake(37, "the end of a load that did not begin", |log| {
        log.insert(
            json!({ "type": "load_ended", "load": 1, "calls": 0, "skipped": 0 }),
            3,
        );
    }),
    mistake(37, "a load without an end", |log| log.insert(load(), 3)),
    mistake(37, "a load that counts calls it did not make", |log| {
        log.insert(load(), 3);
        log.insert(
            json!({ "type": "load_ended", "load": 1, "calls": 2, "skipped": 0 }),
            3,
        );
    }),
    mistake(37, "a call of a load that is not running", |log| {
        log.set(2, "/origin", json!({ "origin": "load", "load": 1 }));
    }),
    mistake(37, "a call of a load before it is due", |log| {
        log.insert(load(), 2);
        let mut call = log.events[log.place(2)].1.clone();
        call["origin"] = json!({ "origin": "load", "load": 1 });
        for number in [1001, 1002] {
            call["call"] = json!(number);
            log.insert(call.clone(), 2);
        }
    }),
    mistake(17, "an attempt while the breaker is open", |log| log.remove(368)),
    mistake(17, "half-open admits a call that is not a probe", |log| {
        log.set(369, "/probe", json!(false));
    }),
    mistake(17, "an attempt without a permit", |log| {
        log.remove(6);
    }),
    mistake(18, "a permit that is not returned", |log| log.remove(28)),
    mistake(18, "a permit that is returned twice", |log| log.copy(28, 29)),
    mistake(18, "a permit of the breaker of another model", |log| {
        log.add(6, "model", json!("other"));
    }),
    mistake(18, "a permit returned to the breaker of another model", |log| {
        log.add(28, "model", json!("other"));
    }),
    mistake(16, "a breaker in use is forgotten", |log| {
        let window = json!({ "total": 0, "failed": 0, "slow": 0, "consecutive": 0 });
        let forgotten = json!({
            "type": "breaker_moved", "from": "closed", "to": "closed", "generation": 1, "reason": "unused",
            "window": window,
        });
        log.insert(forgotten, 28);
    }),
    mistake(19, "an outcome counted as late", |log| {
        log.set(28, "/sample", json!("late"));
    }),
    mistake(19, "a window with outcomes of others", |log| {
        log.set(335, "/window/total", json!(9));
    }),
    mistake(19, "a permit of another generation", |log| {
        log.set(398, "/generation", json!(2));
    }),
    mistake(20, "a 429 counts as a failure", |log| {
        log.set(146, "/sample", json!("failed"));
    }),
    mistake(20, "a failure counts as neutral", |log| {
        log.set(211, "/sample", json!("neutral"));
    }),
    mistake(20, "a quick answer counts as slow", |log| {
        log.set(28, "/sample", json!("slow"));
    }),
    mistake(20, "opened by a success", |log| {
        log.remove(347);
        log.copy(28, 348);
        let place = log.place(348) - 1;
        log.events[place].1["call"] = json!(21);
        log.events[place].1["window"] = json!({"total": 3, "failed": 2, "slow": 0, "consecutive": 0});
    }),
    mistake(22, "a hit although the cache is off", |log| {
        log.insert(json!({ "type": "cache_switched", "on": false }), 33);
    }),
    mistake(22, "a hit with another text", |log| {
        log.set(33, "/text", json!("else"));
    }),
    mistake(22, "a hit for another user", |log| {
        log.set(32, "/user", json!("ben"));
    }),
    mistake(22, "a hit of another request", |log| {
        log.set(32, "/fingerprint", json!("0123456789abcdef"));
    }),
    mistake(23, "an answer without a finish reason is stored", |log| {
        log.set(27, "/finish", json!("unknown"));
    }),
    mistake(23, "a filtered answer is stored", |log| {
        log.set(27, "/finish", json!("content_filter"));
    }),
    mistake(23, "a failure is stored", |log| {
        log.copy(30, 214);
        let place = log.place(214) - 1;
        log.events[place].1["call"] = json!(12);
    }),
    mistake(28, "two flights of one request", |log| {
        let event = json!({
            "seq": 100, "at": log.events[log.place(100)].1["at"], "call": 7,
            "type": "flight_started", "flight": 900, "sharing": "same_request",
        });
        let place = log.place(100);
        log.events[place].1 = event;
    }),
    mistake(28, "a private flight is shared", |log| {
        log.set(97, "/sharing", json!("off"));
    }),
    mistake(29, "two ends of one flight", |log| {
        log.set(318, "/failure/message", json!("else"));
    }),
    mistake(29, "the flight goes to the younger one", |log| {
        log.set(109, "/call", json!(8));
    }),
    mistake(
        29,
        "the flight is handed over by a call that did not own it",
        |log| {
            log.set(109, "/from", json!(8));
        },
    ),
    mistake(34, "a slot that is not returned", |log| log.remove(258)),
    mistake(34, "more slots than there are", |log| {
        log.set(1, "/policy/limit/concurrency", json!(2));
    }),
    mistake(34, "a flight that stays in the queue", |log| log.remove(490)),
    mistake(24, "a cache above its bound", |log| {
        log.set(30, "/total_bytes", json!(99_000_000_000_u64));
    }),
    mistake(24, "a hit that is too old", |log| {
        log.set(1, "/policy/cache/ttl", json!("1ms"));
    }),
    mistake(24, "a hit younger than it is", |log| {
        log.set(33, "/age", json!(0));
    }),
    mistake(31, "a flight shared with another user", |log| {
        log.set(98, "/user", json!("dev"));
    }),
    mistake(32, "a replay with another text", |log| {
        log.set(93, "/text", json!("else"));
    }),
    mistake(32, "a replay that is too old", |log| {
        log.set(1, "/policy/flight/replay_ttl", json!("0s"));
    }),
    mistake(30, "a flight is joined after its end", |log| {
        log.set(308, "/flight", json!(11));
    }),
    mistake(30, "an error that the flight did not meet", |log| {
        log.set(214, "/failure/message", json!("else"));
    }),
    mistake(33, "more attempts counted than made", |log| {
        log.set(31, "/attempts", json!(2));
    }),
    mistake(33, "another duration", |log| log.set(31, "/took", json!(1))),
    mistake(33, "a hit saves more than was stored", |log| {
        log.set(33, "/saved/prompt_tokens", json!(1000));
    }),
    mistake(21, "a rejection after the open time", |log| {
        log.set(357, "/until", json!(61_700_000_000_u64));
    }),
    mistake(21, "a rejection without a reason", |log| log.remove(348)),
    mistake(25, "a near miss that was never stored", |log| {
        log.add(36, "nearest", near(99, 1));
    }),
    mistake(25, "a near miss to its own request", |log| {
        log.add(36, "nearest", near(1, 0));
    }),
    of_users(12, "a level of a user's bucket from nowhere", |log| {
        log.set(258, "/user/tokens/scaled", json!(1));
    }),
    of_users(12, "the buckets of a user are missing", |log| {
        log.set(124, "/user", Value::Null);
    }),
    of_users(14, "a user gets ahead of another", |log| {
        let place = log.place(1);
        log.events[place].1["policy"]["limit"]["users"]["ben"] = json!({ "weight": 10 });
    }),
    of_users(14, "a modest user makes room", |log| {
        log.set(59, "/call", json!(12));
    }),
    of_users(14, "the oldest of the flood makes room", |log| {
        log.set(59, "/call", json!(3));
    }),
    of_users(14, "a displacement without a displaced call", |log| {
        log.remove(59);
    }),
    of_users(15, "a grant larger than the user's bucket", |log| {
        log.set(124, "/reserved", json!(101));
    }),
    of_exercise(13, "a call that is not charged", |log| log.remove(5)),
    of_exercise(17, "a call that the breaker did not let through", |log| {
        log.remove(6);
    }),
    of_semantic(29, "two semantic hits in one flight", |log| {
        log.set(78, "/fate", json!("hit"));
    }),
    of_semantic(24, "a semantic hit younger than it is", |log| {
        log.set(37, "/age", json!(0));
    }),
    of_semantic(31, "the answer of another user, because it is near", |log| {
        log.set(76, "/nearest/source", json!(3));
    }),
    of_semantic(33, "a semantic hit that ends with other tokens", |log| {
        log.set(38, "/usage/prompt_tokens", json!(1));
    }),
    of_semantic(26, "served although it is off", |log| {
        log.set(1, "/policy/semantic/mode", json!("off"));
    }),
    of_semantic(26, "served although the cache is off", |log| {
        log.insert(json!({ "type": "cache_switched", "on": false }), 37);
    }),
    of_semantic(23, "stored although the cache is off", |log| {
        log.insert(json!({ "type": "cache_switched", "on": false }), 31);
    }),
    of_semantic(26, "compared although it is on", |log| {
        log.set(145, "/policy/semantic/mode", json!("on"));
    }),
    of_semantic(26, "an answer that was never stored", |log| {
        log.set(37, "/nearest/source", json!(2));
    }),
    of_semantic(26, "a stored prompt with another answer", |log| {
        log.set(37, "/text", json!("else"));
    }),
    of_semantic(26, "not near enough", |log| {
        log.set(37, "/nearest/similarity", json!(0.6));
    }),
    of_semantic(26, "a threshold below the one that is set", |log| {
        log.set(1, "/policy/semantic/threshold", json!(0.9));
    }),
    of_semantic(26, "served over an objection", |log| {
        let objection = json!({ "guard": "number", "asked": "3", "stored": "4" });
        let place = log.place(37);
        log.events[place].1["nearest"]["objection"] = objection;
    }),
    of_semantic(26, "served after a bad label", |log| log.copy(80, 76)),
    of_semantic(26, "a bad label that asks for no more", |log| {
        log.set(80, "/threshold", json!(0.7));
    }),
    of_semantic(26, "a good label that takes the answer away", |log| {
        log.set(79, "/removed", json!(true));
    }),
    of_semantic(27, "a hit that is admitted all the same", |log| {
        log.copy(43, 38);
        let place = log.place(38) - 1;
        log.events[place].1["call"] = json!(2);
    }),
    of_semantic(27, "a hit that ends as an answer of the upstream", |log| {
        log.set(38, "/fate", json!("answered"));
    }),
];
