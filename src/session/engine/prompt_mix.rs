//! The prompts of bursts and loads: new ones, and repeats of those that were answered to the same user.
//!
//! New prompts are composed of a form, a subject and a place. The three lists have pairwise coprime lengths, so
//! taking each list in turn visits every combination once (Chinese remainder theorem), and prompts that share two
//! parts are hundreds of prompts apart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::event::UserId;

/// Answered prompts of a user that may be repeated.
const LAST: usize = 20;

/// Forms: `{s}` is the subject, `{p}` the place.
const FORMS: [&str; 23] = [
    "What is {s}, and does {p} need it?",
    "How do I test {s} in {p}?",
    "Which metrics show that {s} works in {p}?",
    "Why would {s} make {p} slower?",
    "Write a checklist for {s} in {p}",
    "What can go wrong with {s} under the load of {p}?",
    "Explain {s} to the team that runs {p}",
    "When should {p} do without {s}?",
    "How did {s} fail in {p}, and what was learned?",
    "Sketch {s} for {p} in ten lines of code",
    "Which defaults of {s} fit {p}?",
    "How much memory does {s} cost in {p}?",
    "Name three alternatives to {s} for {p}",
    "Who should own {s} in {p}?",
    "Review this plan: {p} gets {s} next week",
    "How do I roll out {s} to {p} step by step?",
    "What do users of {p} notice of {s}?",
    "Draft an alert for {s} in {p}",
    "How is {s} configured for {p}?",
    "Summarise the research on {s} for {p}",
    "Compare {s} before and after the move of {p} to the cloud",
    "Is {s} worth its complexity in {p}?",
    "Which questions about {s} should {p} ask its provider?",
];

/// Subjects.
const SUBJECTS: [&str; 47] = [
    "a token bucket",
    "a circuit breaker",
    "exponential backoff",
    "a retry budget",
    "request coalescing",
    "an idempotency key",
    "a response cache",
    "load shedding",
    "a bulkhead",
    "a deadline",
    "backpressure",
    "a fair queue",
    "hedging",
    "a health check",
    "adaptive concurrency",
    "graceful degradation",
    "a fallback model",
    "server-sent events",
    "prompt compression",
    "an error budget",
    "a dead letter queue",
    "chaos testing",
    "a canary release",
    "structured logging",
    "distributed tracing",
    "a connection pool",
    "a leaky bucket",
    "cache eviction",
    "a semantic cache",
    "tail latency",
    "a service mesh",
    "a sidecar proxy",
    "a priority lane",
    "a usage quota",
    "a cost forecast",
    "key rotation",
    "a content filter",
    "batch inference",
    "speculative decoding",
    "context truncation",
    "an evaluation set",
    "a tool call",
    "a session store",
    "a replay log",
    "a watchdog",
    "a blue-green switch",
    "a schema check",
];

/// Places.
const PLACES: [&str; 31] = [
    "a payment gateway",
    "a hotel search",
    "a weather service",
    "a chess server",
    "a hospital portal",
    "a music archive",
    "a parcel tracker",
    "a ferry timetable",
    "a tax office",
    "a recipe site",
    "a news ticker",
    "a bike rental",
    "a school library",
    "a stock exchange",
    "a museum guide",
    "a translation desk",
    "a power grid",
    "a satellite link",
    "a fishing fleet",
    "a ticket shop",
    "a podcast studio",
    "a vineyard",
    "a lighthouse",
    "a call centre",
    "a law firm",
    "a harbour office",
    "a game lobby",
    "a food bank",
    "a railway",
    "a bakery chain",
    "a robot lab",
];

/// The source of prompts of a session. See the module documentation.
#[derive(Debug)]
pub(super) struct PromptMix {
    /// Prompts in place of composed ones, in turn; empty for composed ones.
    list: Vec<Arc<str>>,
    /// The combination of the first composed prompt.
    start: usize,
    /// New prompts made.
    made: usize,
    /// Share of repeats, 0 to 1.
    repeat: f64,
    users: BTreeMap<UserId, UserPrompts>,
}

/// The prompts of a user.
#[derive(Debug, Default)]
struct UserPrompts {
    /// The last answered ones, oldest first.
    answered: VecDeque<Arc<str>>,
    /// Repeats due, below 1 after each draw: every ten calls get the same number of repeats.
    due: f64,
    /// Repeats made: they take the answered prompts in turn.
    repeated: usize,
}

impl PromptMix {
    /// A source of new prompts from `list`, or of composed ones if it is empty, and of a share of repeats.
    pub(super) fn new(list: &[String], repeat: f64, generator: &mut StdRng) -> Self {
        Self {
            list: list.iter().map(|prompt| prompt.as_str().into()).collect(),
            start: generator.random_range(0..composed_count()),
            made: 0,
            repeat,
            users: BTreeMap::new(),
        }
    }

    /// The next prompt of a user. `repeat` replaces the share of repeats.
    pub(super) fn next(&mut self, user: &UserId, repeat: Option<f64>) -> Arc<str> {
        if let Some(user) = self.users.get_mut(user) {
            user.due += repeat.unwrap_or(self.repeat);
            if user.due >= 1.0 - 1e-9 {
                user.due -= 1.0;
                user.repeated = user.repeated.wrapping_add(1);
                if let Some(prompt) = user.answered.get(user.repeated % user.answered.len().max(1)) {
                    return Arc::clone(prompt);
                }
            }
        }
        self.new_prompt()
    }

    /// Adds a prompt that was answered to those that may be repeated.
    pub(super) fn answered(&mut self, user: UserId, prompt: Arc<str>) {
        let answered = &mut self.users.entry(user).or_default().answered;
        if answered.contains(&prompt) {
            return;
        }
        if answered.len() == LAST {
            answered.pop_front();
        }
        answered.push_back(prompt);
    }

    fn new_prompt(&mut self) -> Arc<str> {
        let number = self.made;
        self.made = number.wrapping_add(1);
        match self.list.get(number % self.list.len().max(1)) {
            Some(prompt) => Arc::clone(prompt),
            None => composed(self.start, number).into(),
        }
    }
}

fn composed_count() -> usize {
    FORMS.len() * SUBJECTS.len() * PLACES.len()
}

/// The composed prompt of this number from `start` on; beyond all combinations it has a number in brackets.
fn composed(start: usize, number: usize) -> String {
    let place = start.wrapping_add(number);
    let part = |list: &[&'static str]| list.get(place % list.len().max(1)).copied().unwrap_or_default();
    let text = part(&FORMS)
        .replace("{s}", part(&SUBJECTS))
        .replace("{p}", part(&PLACES));
    match number / composed_count() {
        0 => text,
        round => format!("{text} ({round})"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;

    fn mix(list: &[&str], repeat: f64, seed: u64) -> PromptMix {
        let list: Vec<String> = list.iter().map(|prompt| (*prompt).to_owned()).collect();
        PromptMix::new(&list, repeat, &mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn new_prompts_are_distinct_for_a_whole_round() {
        let ana = UserId::new("ana");
        let mut mix = mix(&[], 0.0, 7);
        let all: BTreeSet<Arc<str>> = (0..composed_count()).map(|_| mix.next(&ana, None)).collect();
        assert_eq!(all.len(), 33_511);
    }

    #[test]
    fn four_of_ten_calls_repeat_a_prompt_that_was_answered_to_the_same_user() {
        let [ana, ben] = ["ana", "ben"].map(UserId::new);
        let mut mix = mix(&[], 0.4, 7);
        let first: BTreeSet<Arc<str>> = (0..10).map(|_| mix.next(&ana, None)).collect();
        assert_eq!(first.len(), 10);
        for prompt in &first {
            mix.answered(ana.clone(), Arc::clone(prompt));
        }
        for round in 0..10 {
            let next: BTreeSet<Arc<str>> = (0..10).map(|_| mix.next(&ana, None)).collect();
            assert_eq!(
                (next.len(), next.intersection(&first).count()),
                (10, 4),
                "round {round}"
            );
        }
        // nothing has been answered to the other user
        assert!(!first.contains(&mix.next(&ben, Some(1.0))));
        for _ in 0..50 {
            let prompt = mix.next(&ben, None);
            mix.answered(ben.clone(), prompt);
        }
        assert_eq!(mix.users[&ben].answered.len(), LAST);
    }

    #[test]
    fn prompts_of_a_list_are_taken_in_turn() {
        let ana = UserId::new("ana");
        let mut mix = mix(&["a", "b"], 0.0, 7);
        let taken: Vec<Arc<str>> = (0..5).map(|_| mix.next(&ana, None)).collect();
        assert_eq!(taken.iter().map(|prompt| &**prompt).collect::<String>(), "ababa");
    }
}
