//! Deserialises an event in one pass over its fields.
//!
//! The derived code would buffer all fields for the flattened kind, and again for its internal tag. A journal has
//! millions of short lines, so the kind reads the fields directly, with those of the frame filtered out.

use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{CallId, Event, EventKind};
use crate::time::Timestamp;

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("struct Event")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Event, A::Error> {
        let mut frame = Frame {
            fields,
            seq: None,
            at: None,
            call: None,
        };
        let kind = EventKind::deserialize(MapAccessDeserializer::new(&mut frame))?;
        Ok(Event {
            seq: frame.seq.ok_or_else(|| Error::missing_field("seq"))?,
            at: frame.at.ok_or_else(|| Error::missing_field("at"))?,
            call: frame.call.and_then(|call| call.0),
            kind,
        })
    }
}

/// The value of `call`; null and absent are equivalent.
#[derive(Deserialize)]
#[serde(transparent)]
struct MaybeCall(Option<CallId>);

/// The fields of an event: yields those of the kind and keeps those of the frame.
struct Frame<A> {
    fields: A,
    seq: Option<u64>,
    at: Option<Timestamp>,
    call: Option<MaybeCall>,
}

impl<'de, A: MapAccess<'de>> Frame<A> {
    /// Reads a value of the frame, which must be the first of its name.
    fn keep<T: Deserialize<'de>>(
        fields: &mut A,
        place: &mut Option<T>,
        name: &'static str,
    ) -> Result<(), A::Error> {
        if place.is_some() {
            return Err(Error::duplicate_field(name));
        }
        *place = Some(fields.next_value()?);
        Ok(())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Frame<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(name) = self.fields.next_key()? {
            match name {
                Name::Seq => Self::keep(&mut self.fields, &mut self.seq, "seq")?,
                Name::At => Self::keep(&mut self.fields, &mut self.at, "at")?,
                Name::Call => Self::keep(&mut self.fields, &mut self.call, "call")?,
                Name::Known(name) => return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some),
                Name::Copied(name) => return seed.deserialize(StringDeserializer::new(name)).map(Some),
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.fields.next_value_seed(seed)
    }
}

/// The name of a field: one of the frame, or another.
enum Name<'de> {
    Seq,
    At,
    Call,
    Known(&'de str),
    Copied(String),
}

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(Naming)
    }
}

struct Naming;

impl Naming {
    fn of_frame<'de>(name: &str) -> Option<Name<'de>> {
        match name {
            "seq" => Some(Name::Seq),
            "at" => Some(Name::At),
            "call" => Some(Name::Call),
            _ => None,
        }
    }
}

impl<'de> Visitor<'de> for Naming {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Self::of_frame(name).unwrap_or(Name::Known(name)))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Self::of_frame(name).unwrap_or_else(|| Name::Copied(name.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_order_does_not_matter_and_errors_name_the_field() {
        let event = Event {
            seq: 3,
            at: Timestamp(5),
            call: Some(CallId(7)),
            kind: EventKind::StreamDelta {
                text: "sea\n".into(),
                chunks: 2,
                reasoning: false,
            },
        };
        let lines = [
            r#"{"seq":3,"at":5,"call":7,"type":"stream_delta","text":"sea\n","chunks":2}"#,
            r#"{"chunks":2,"text":"sea\n","call":7,"type":"stream_delta","at":5,"more":[{}],"seq":3}"#,
            r#"{"s\u0065q":3,"at":5,"call":7,"t\u0079pe":"stream_delta","text":"sea\n","chunks":2}"#,
        ];
        for line in lines {
            assert_eq!(serde_json::from_str::<Event>(line).unwrap(), event, "{line}");
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::from_value::<Event>(value).unwrap(), event, "{line}");
        }
        let mistakes = [
            ("[]", "expected struct Event"),
            (r#"{"at":5,"type":"session_started"}"#, "missing field `format`"),
            (
                r#"{"seq":1,"type":"cache_switched","on":true}"#,
                "missing field `at`",
            ),
            (
                r#"{"at":1,"type":"cache_switched","on":true}"#,
                "missing field `seq`",
            ),
            (r#"{"seq":1,"at":1,"on":true}"#, "missing field `type`"),
            (r#"{"seq":1,"seq":1,"at":5}"#, "duplicate field `seq`"),
            (
                r#"{"seq":"one","at":5}"#,
                "invalid type: string \"one\", expected u64",
            ),
        ];
        for (line, mistake) in mistakes {
            let error = serde_json::from_str::<Event>(line).unwrap_err().to_string();
            assert!(error.contains(mistake), "{line}: {error}");
        }
        let without_call: Event =
            serde_json::from_str(r#"{"seq":1,"at":1,"call":null,"type":"cache_switched","on":true}"#)
                .unwrap();
        assert_eq!(without_call.call, None);
    }
}
