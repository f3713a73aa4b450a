//! JSON as servers send it, which is not always JSON.
//!
//! [`parse`] first reads the text as it is. Only if that fails, it repairs what real servers get wrong and reads it
//! again: control characters inside strings, unknown escapes, lone halves of surrogate pairs, `NaN`, `Infinity` and
//! other bare words, trailing commas. A repair never closes a string, an array or an object, so that text which was
//! cut off stays unreadable. Of duplicate keys the last one counts.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// A lone surrogate half is kept as the character at this offset, in a private-use plane, until [`Halves`] joins
/// it with the other half, which may be in the next chunk.
const HALF_OFFSET: u32 = 0x10_F800 - 0xD800;

/// The values of a text, read leniently.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parsed {
    /// The values, in order. More than one if a server sends several chunks in one event.
    pub(crate) values: Vec<Value>,
    /// True if strings hold lone surrogate halves, to be joined by [`Halves`].
    pub(crate) has_halves: bool,
    /// True if the text ends in an object or array that cannot be read.
    pub(crate) cut: bool,
}

/// Reads one JSON value, or several in a row.
pub(crate) fn parse(text: &str) -> Parsed {
    match serde_json::from_str(text) {
        Ok(value) => Parsed {
            values: vec![value],
            ..Parsed::default()
        },
        Err(_) => parse_repaired(text),
    }
}

fn parse_repaired(text: &str) -> Parsed {
    let mut repair = Repair::default();
    repair.run(text);
    let mut stream = serde_json::Deserializer::from_str(&repair.out).into_iter::<Value>();
    let values: Vec<Value> = stream.by_ref().map_while(Result::ok).collect();
    let rest = repair.out.get(stream.byte_offset()..).unwrap_or_default();
    Parsed {
        values,
        has_halves: repair.has_halves,
        cut: rest.trim_start().starts_with(['{', '[']),
    }
}

#[derive(Default)]
struct Repair {
    out: String,
    has_halves: bool,
}

impl Repair {
    fn run(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        while let Some(next) = chars.next() {
            match next {
                '"' => {
                    self.out.push('"');
                    self.string(&mut chars);
                }
                '}' | ']' => {
                    let before = self.out.trim_end();
                    if before.ends_with(',') {
                        self.out.truncate(before.len() - 1);
                    }
                    self.out.push(next);
                }
                '{' | '[' | ',' | ':' => self.out.push(next),
                _ if next.is_whitespace() => self.out.push(' '),
                _ => {
                    let mut word = String::from(next);
                    while let Some(next) =
                        chars.next_if(|next| !"{}[],:\"".contains(*next) && !next.is_whitespace())
                    {
                        word.push(next);
                    }
                    self.out.push_str(readable_word(&word));
                }
            }
        }
    }

    /// Copies a string up to its closing quote, or to the end of the text.
    fn string(&mut self, chars: &mut Peekable<Chars<'_>>) {
        while let Some(next) = chars.next() {
            match next {
                '"' => {
                    self.out.push('"');
                    return;
                }
                '\\' => self.escape(chars),
                _ if next < ' ' => self.control(next),
                _ => self.out.push(next),
            }
        }
    }

    fn control(&mut self, char: char) {
        let escaped = format!("\\u{:04x}", u32::from(char));
        self.out.push_str(&escaped);
    }

    fn escape(&mut self, chars: &mut Peekable<Chars<'_>>) {
        match chars.peek() {
            Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {
                self.out.push('\\');
                self.out.extend(chars.next());
            }
            Some('u') => {
                let mut ahead = chars.clone();
                ahead.next();
                match hex4(&mut ahead) {
                    Some(unit) => {
                        *chars = ahead;
                        self.unit(unit);
                    }
                    // not an escape: the backslash is text
                    None => self.out.push_str("\\\\"),
                }
            }
            _ => self.out.push_str("\\\\"),
        }
    }

    /// Copies a UTF-16 unit. A surrogate half is kept as its own character, also of a whole pair: [`Halves`] joins
    /// both alike.
    fn unit(&mut self, unit: u32) {
        match char::from_u32(unit) {
            Some('"') => self.out.push_str("\\\""),
            Some('\\') => self.out.push_str("\\\\"),
            Some(char) if char < ' ' => self.control(char),
            Some(char) => self.out.push(char),
            None => {
                self.has_halves = true;
                self.out.extend(char::from_u32(unit + HALF_OFFSET));
            }
        }
    }
}

fn hex4(chars: &mut Peekable<Chars<'_>>) -> Option<u32> {
    let digits = chars.by_ref().take(4).map(|char| char.to_digit(16));
    let digits: Vec<u32> = digits.collect::<Option<_>>()?;
    (digits.len() == 4).then(|| digits.iter().fold(0, |unit, digit| unit * 16 + digit))
}

/// A bare word as JSON: `null` for what is neither a JSON number nor a literal, such as `NaN`.
fn readable_word(word: &str) -> &str {
    match word {
        "true" | "True" => "true",
        "false" | "False" => "false",
        _ if serde_json::from_str::<serde_json::Number>(word).is_ok() => word,
        _ => "null",
    }
}

/// Joins surrogate halves across the pieces of one text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Halves {
    /// A high half at the end of the last piece, as a UTF-16 unit.
    high: Option<u16>,
    /// True if a half without its other half was replaced by U+FFFD.
    pub(crate) replaced: bool,
}

impl Halves {
    /// The text of the next piece. `has_halves`: see [`Parsed::has_halves`].
    pub(crate) fn join(&mut self, piece: String, has_halves: bool) -> String {
        if !has_halves && (self.high.is_none() || piece.is_empty()) {
            return piece;
        }
        let mut units: Vec<u16> = self.high.take().into_iter().collect();
        for char in piece.chars() {
            match u32::from(char).checked_sub(HALF_OFFSET).map(u16::try_from) {
                Some(Ok(half)) if has_halves => units.push(half),
                _ => units.extend(char.encode_utf16(&mut [0; 2]).iter()),
            }
        }
        if units.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit)) {
            self.high = units.pop();
        }
        self.decode(&units)
    }

    /// The rest at the end of the text: U+FFFD for a half that was never completed.
    pub(crate) fn end(&mut self) -> String {
        let left = self.high.take();
        self.decode(left.as_slice())
    }

    fn decode(&mut self, units: &[u16]) -> String {
        let chars = char::decode_utf16(units.iter().copied());
        chars
            .map(|char| {
                self.replaced |= char.is_err();
                char.unwrap_or(char::REPLACEMENT_CHARACTER)
            })
            .collect()
    }
}

/// Joins the halves in every string of a value; returns true if any had to be replaced by U+FFFD.
pub(crate) fn join_halves(value: &mut Value) -> bool {
    match value {
        Value::String(text) => {
            let mut halves = Halves::default();
            let mut joined = halves.join(std::mem::take(text), true);
            joined.push_str(&halves.end());
            *text = joined;
            halves.replaced
        }
        Value::Array(values) => values
            .iter_mut()
            .fold(false, |bad, value| join_halves(value) | bad),
        Value::Object(map) => map
            .values_mut()
            .fold(false, |bad, value| join_halves(value) | bad),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        let mut parsed = parse(text);
        for value in &mut parsed.values {
            join_halves(value);
        }
        parsed.values
    }

    #[test]
    fn repairs_each_kind_of_broken_json() {
        for (text, expected) in [
            // the last of duplicate keys
            (r#"{"a":1,"a":2}"#, json!({"a": 2})),
            // Python's json.dumps
            (
                r#"{"a":NaN,"b":-Infinity,"c":Infinity}"#,
                json!({"a": null, "b": null, "c": null}),
            ),
            (
                r#"{"a":True,"b":None,"c":False}"#,
                json!({"a": true, "b": null, "c": false}),
            ),
            (r#"{"a":1e999}"#, json!({"a": null})),
            ("{\"a\":\"x\ty\u{1}\"}", json!({"a": "x\ty\u{1}"})),
            ("{\"a\":\"one\n\ntwo\"}", json!({"a": "one\n\ntwo"})),
            (r#"{"a":"\d+ \u12 \'"}"#, json!({"a": "\\d+ \\u12 \\'"})),
            (r#"{"a":[1,2,],}"#, json!({"a": [1, 2]})),
            (r#"{"a":"\ud83d"}"#, json!({"a": "\u{fffd}"})),
            (r#"{"a":"\ude00x"}"#, json!({"a": "\u{fffd}x"})),
            (
                r#"{"a":"\ud83d\ud83d\ude00\u0022\u005c"}"#,
                json!({"a": "\u{fffd}😀\"\\"}),
            ),
            // a private-use character next to a repaired one is as good as any other
            ("{\"a\":\"\u{e000}\t\"}", json!({"a": "\u{e000}\t"})),
        ] {
            assert_eq!(values(text), [expected], "{text}");
        }
    }

    #[test]
    fn reads_several_values_and_reports_one_that_is_cut() {
        assert_eq!(values(r#"{"a":1}{"b":2}"#), [json!({"a": 1}), json!({"b": 2})]);
        let glued = parse(r#"{"a":1}{"b":"#);
        assert_eq!((glued.values.len(), glued.cut), (1, true));
        for cut in [r#"{"a":"b"#, r#"{"a":Na"#, "[1,", r#"{"a":"\ud83"#] {
            assert_eq!((parse(cut).values, parse(cut).cut), (vec![], true), "{cut}");
        }
        let chatter = parse("ping");
        assert_eq!((chatter.values, chatter.cut), (vec![Value::Null], false));
    }

    #[test]
    fn halves_join_across_pieces() {
        let mut halves = Halves::default();
        let text = |json: &str| {
            let parsed = parse(json);
            (parsed.values[0].as_str().unwrap().to_owned(), parsed.has_halves)
        };
        let mut joined = String::new();
        for piece in [r#""a\ud83d""#, r#""""#, r#""\ude00b\ud83d""#, r#""c""#] {
            let (piece, has_halves) = text(piece);
            joined.push_str(&halves.join(piece, has_halves));
        }
        assert_eq!((joined.as_str(), halves.replaced), ("a😀b\u{fffd}c", true));
        assert_eq!(halves.end(), "");
    }

    proptest! {
        #[test]
        fn good_json_is_unchanged_by_a_repair(text in ".{0,40}", number in any::<f64>()) {
            let value = json!({"a": [text, number, true, null], "b": {"c": {}}});
            let repaired = parse_repaired(&value.to_string());
            let expected = serde_json::from_str::<Value>(&value.to_string()).unwrap();
            prop_assert_eq!(repaired.values, [expected]);
        }

        #[test]
        fn a_prefix_of_an_object_is_never_read(text in "[ -~]{0,20}", cut in 0.0..1.0_f64) {
            let whole = json!({"a": text, "b": [1, {"c": -2.5}]}).to_string();
            let mut end = (whole.len() as f64 * cut) as usize;
            while !whole.is_char_boundary(end) { end -= 1; }
            let parsed = parse(&whole[..end]);
            prop_assert!(parsed.values.is_empty() && (parsed.cut || end == 0));
        }
    }
}
