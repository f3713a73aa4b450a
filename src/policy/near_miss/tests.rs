use proptest::prelude::*;

use super::*;
use crate::event::UserId;
use crate::openai::{ChatRequest, Message};
use crate::policy::fingerprint::Scope;

pub(super) fn key_of(user: &str, request: &ChatRequest) -> RequestKey {
    let user = UserId::new(user);
    let scope = Scope {
        user: &user,
        credential: 7,
        upstream: "127.0.0.1:8033",
        route: "chat/completions",
    };
    RequestKey::new(&scope, request)
}

/// A request with few values per field, so that many differ in one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Choice {
    user: u8,
    system: u8,
    turns: u8,
    prompt: u8,
    temperature: Option<u8>,
    seed: Option<u8>,
}

impl Choice {
    fn key(self) -> RequestKey {
        let mut messages = Vec::new();
        if self.system > 0 {
            messages.push(Message::system(self.system.to_string()));
        }
        for turn in 0..self.turns {
            messages.push(Message::user(turn.to_string()));
            messages.push(Message::assistant("so"));
        }
        messages.push(Message::user(self.prompt.to_string()));
        let mut request = ChatRequest::new(messages).with("stream", true);
        if let Some(temperature) = self.temperature {
            request = request.temperature(f64::from(temperature));
        }
        if let Some(seed) = self.seed {
            request = request.seed(seed.into());
        }
        key_of(&self.user.to_string(), &request)
    }

    fn differing(self, other: Self) -> usize {
        [
            self.user != other.user,
            self.system != other.system,
            self.turns != other.turns,
            self.prompt != other.prompt,
            self.temperature != other.temperature,
            self.seed != other.seed,
        ]
        .into_iter()
        .filter(|differs| *differs)
        .count()
    }
}

prop_compose! {
    fn choice()(
        user in 0..3_u8, system in 0..3_u8, turns in 0..3_u8, prompt in 0..3_u8,
        temperature in prop::option::of(0..2_u8), seed in prop::option::of(0..2_u8),
    ) -> Choice {
        Choice { user, system, turns, prompt, temperature, seed }
    }
}

proptest! {
    /// Compares with a search of all stored requests: one that differs in one field is always found, of several
    /// the one with the same prompt, then the newest; and the count agrees with `diff`.
    #[test]
    fn every_request_that_differs_in_one_field_is_found(
        stored in prop::collection::vec(choice(), 0..40), asked in choice(), removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut index = NearMissIndex::default();
        let mut kept = BTreeMap::new();
        for (version, one) in stored.iter().enumerate().filter(|(_, one)| **one != asked) {
            index.insert(version as u64, &one.key());
            kept.insert(version as u64, *one);
        }
        for pick in removed {
            let versions: Vec<u64> = kept.keys().copied().collect();
            if let Some(version) = versions.get(pick.index(versions.len().max(1))) {
                kept.remove(version);
                index.remove(*version);
            }
        }
        let best = kept
            .iter()
            .map(|(version, one)| (asked.differing(*one), one.prompt != asked.prompt, u64::MAX - version))
            .min();
        let found = index.nearest(&asked.key());
        match (best, found) {
            (Some((1, _, age)), found) => {
                let expected = NearestRequest { version: u64::MAX - age, fields: 1 };
                prop_assert_eq!(found, Some(expected));
            }
            (Some((fields, ..)), Some(found)) => {
                prop_assert!(found.fields >= fields);
                prop_assert_eq!(found.fields, asked.differing(kept[&found.version]));
                let difference = diff(&asked.key(), &kept[&found.version].key()).unwrap();
                prop_assert_eq!(difference.fields as usize, found.fields);
            }
            (None, found) => prop_assert_eq!(found, None),
            (Some((_, other_prompt, _)), None) => prop_assert!(other_prompt),
        }
        for version in kept.into_keys() {
            index.remove(version);
        }
        prop_assert!(index.is_empty());
    }

    /// Any bytes after the scope: no panic, and all entries are removed.
    #[test]
    fn tolerates_a_key_of_any_bytes(body in "[\\[\\]{}\",:a-z\\\\0-9]{0,40}") {
        let whole = key_of("ana", &ChatRequest::prompt("x"));
        let end = whole.canonical().iter().position(|byte| *byte == b'{').unwrap();
        let bytes = [&whole.canonical()[..end], body.as_bytes()].concat();
        let odd = RequestKey::forced(1, &bytes);
        let mut index = NearMissIndex::default();
        index.insert(1, &odd);
        index.insert(2, &RequestKey::forced(2, body.as_bytes()));
        prop_assert!(index.nearest(&whole).is_none_or(|found| found.version == 1));
        drop(diff(&whole, &odd));
        index.remove(1);
        index.remove(2);
        prop_assert!(index.is_empty());
    }
}

#[test]
fn fields_beyond_the_limit_count_as_one() {
    let wide = |last: &str| {
        let mut request = ChatRequest::prompt("x");
        for n in 0..40 {
            request = request.with(&format!("field{n:02}"), n);
        }
        key_of("ana", &request.with("field39", last).with("field38", last))
    };
    let mut index = NearMissIndex::default();
    index.insert(1, &wide("a"));
    assert!(index.signatures.len() <= 9 + 2 * (parts::MAX_BODY_FIELDS + 1));
    let found = index.nearest(&wide("b"));
    assert_eq!(
        found,
        Some(NearestRequest {
            version: 1,
            fields: 1
        })
    );
    assert_eq!(diff(&wide("b"), &wide("a")).unwrap().fields, 2);
}

#[test]
fn compares_a_conversation_of_100_kb() {
    let long = |stamp: &str| {
        let turns = (0..100).flat_map(|n| {
            [
                Message::user(format!("{n} {}", "a\"b\\c\n".repeat(80))),
                Message::assistant("word ".repeat(100)),
            ]
        });
        let system = Message::system(format!(
            "{} It is {stamp}. {}",
            "s".repeat(5000),
            "t".repeat(5000)
        ));
        let messages = [system]
            .into_iter()
            .chain(turns)
            .chain([Message::user("and now?")]);
        key_of("ana", &ChatRequest::new(messages).temperature(0.0))
    };
    let (here, stored) = (long("10:32:01"), long("10:35:59"));
    assert!(here.canonical().len() > 100_000);
    let mut index = NearMissIndex::default();
    index.insert(7, &stored);
    assert_eq!(
        index.nearest(&here),
        Some(NearestRequest {
            version: 7,
            fields: 1
        })
    );
    let difference = diff(&here, &stored).unwrap();
    assert_eq!(difference.differs[0].how, crate::event::DiffKind::Time);
    assert!(difference.differs[0].here.contains("10:32:01"), "{difference:?}");
    assert!(
        difference.differs[0].stored.contains("10:35:59"),
        "{difference:?}"
    );
}
