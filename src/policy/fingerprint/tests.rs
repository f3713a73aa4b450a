use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

const ROUTE: &str = "/v1/chat/completions";

fn scope(user: &UserId) -> Scope<'_> {
    Scope {
        user,
        credential: 7,
        upstream: "http://127.0.0.1:8033",
        route: ROUTE,
    }
}

/// A request with exactly this body.
fn request(body: Map<String, Value>) -> ChatRequest {
    body.into_iter()
        .fold(ChatRequest::new([]), |request, (field, value)| {
            request.with(&field, value)
        })
}

fn parsed(body: &str) -> ChatRequest {
    request(serde_json::from_str(body).unwrap())
}

fn key(request: &ChatRequest) -> RequestKey {
    RequestKey::new(&scope(&UserId::new("ada")), request)
}

fn with(fields: &str) -> RequestKey {
    key(&parsed(&format!("{{\"messages\":[]{fields}}}")))
}

/// The canonical JSON at the end of a key's bytes.
fn body_of(key: &RequestKey) -> &[u8] {
    key.split().unwrap().1
}

#[test]
fn the_canonical_form_and_its_fingerprint_are_pinned() {
    let request = parsed(
        r#"{ "stream": true, "model": "m", "temperature": 0.0, "top_p": 0.5, "x": null, "seed": -3,
             "messages": [ { "role": "user", "content": "a \"\\\n\u0001é" } ], "tools": [1, 1.0, -0.0, true] }"#,
    );
    let key = key(&request);
    assert_eq!(
        String::from_utf8_lossy(body_of(&key)),
        r#"{"messages":[{"content":"a \"\\\u000a\u0001é","role":"user"}],"model":"m","seed":-3,"temperature":0,"tools":[1,1.0,-0.0,true],"top_p":0.5,"x":null}"#
    );
    assert_eq!(key.fingerprint(), Fingerprint(xxh3_128(key.canonical())));
    let mut head = b"seawall/chat\x01\x03\0\0\0\0\0\0\0ada\x08\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0".to_vec();
    head.extend_from_slice(b"\x15\0\0\0\0\0\0\0http://127.0.0.1:8033\x14\0\0\0\0\0\0\0/v1/chat/completions{");
    assert!(key.canonical().starts_with(&head));
}

#[test]
fn a_fingerprint_has_32_digits_and_round_trips() {
    let fingerprint = Fingerprint(0x0123_4567_89ab_cdef);
    assert_eq!(fingerprint.to_string(), "00000000000000000123456789abcdef");
    assert_eq!(Fingerprint(0xfeed_beef << 96).short(), "feedbeef");
    assert_eq!(fingerprint.short(), "00000000");
    let json = serde_json::to_string(&fingerprint).unwrap();
    assert_eq!(json, "\"00000000000000000123456789abcdef\"");
    assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
    for bad in [
        "",
        "12",
        "+0000000000000000123456789abcdef",
        "g0000000000000000123456789abcdef",
    ] {
        assert_eq!(bad.parse::<Fingerprint>(), Err(FingerprintError), "{bad}");
    }
}

#[test]
fn every_part_of_the_scope_counts() {
    let (ada, bob) = (UserId::new("ada"), UserId::new("bob"));
    let request = ChatRequest::prompt("hi");
    let base = scope(&ada);
    let others = [
        Scope { user: &bob, ..base },
        Scope {
            credential: 8,
            ..base
        },
        Scope {
            upstream: "http://127.0.0.1:8034",
            ..base
        },
        Scope {
            route: "/v1/completions",
            ..base
        },
        // the same bytes, split elsewhere
        Scope {
            upstream: "http://127.0.0.1:8033/v1",
            route: "/chat/completions",
            ..base
        },
    ];
    let key = RequestKey::new(&base, &request);
    for other in others {
        assert_ne!(RequestKey::new(&other, &request), key, "{other:?}");
    }
    assert_eq!(RequestKey::new(&scope(&UserId::new("ada")), &request), key);
}

#[test]
fn top_level_numbers_count_by_value_and_nested_ones_by_notation() {
    let same = [
        (r#","temperature":0"#, r#","temperature":0.0"#),
        (r#","temperature":0"#, r#","temperature":-0.0"#),
        (r#","temperature":1"#, r#","temperature":1.0"#),
        (r#","temperature":0.1"#, r#","temperature":1e-1"#),
        (r#","seed":-5"#, r#","seed":-5.0"#),
        (r#","seed":9007199254740992"#, r#","seed":9007199254740992.0"#),
        (
            r#","seed":-9223372036854775808"#,
            r#","seed":-9223372036854775808.0"#,
        ),
    ];
    for (a, b) in same {
        assert_eq!(with(a), with(b), "{a} {b}");
    }
    let different = [
        (r#","temperature":0"#, ""),
        (r#","temperature":null"#, ""),
        (r#","temperature":1"#, ""),
        (r#","stop":[]"#, ""),
        (r#","seed":1"#, r#","seed":"1""#),
        (r#","seed":1"#, r#","seed":true"#),
        // one f64, two integers
        (r#","seed":9007199254740993"#, r#","seed":9007199254740992"#),
        (r#","seed":9007199254740993"#, r#","seed":9007199254740992.0"#),
        (
            r#","seed":18446744073709551615"#,
            r#","seed":18446744073709551616"#,
        ),
        (r#","k":{"minimum":0}"#, r#","k":{"minimum":0.0}"#),
        (r#","k":[0.0]"#, r#","k":[-0.0]"#),
        (r#","k":[[1],2]"#, r#","k":[[1,2]]"#),
        (r#","k":"a\",\"l\":\"b""#, r#","k":"a","l":"b""#),
        (r#","user":"a""#, r#","user":"b""#),
    ];
    for (a, b) in different {
        assert_ne!(with(a), with(b), "{a} {b}");
    }
}

#[test]
fn ignored_fields_are_ignored_at_the_top_only() {
    let base = with("");
    for field in [
        r#","stream":true"#,
        r#","stream":null"#,
        r#","stream_options":{"include_usage":true}"#,
        r#","metadata":{"trace":1}"#,
    ] {
        assert_eq!(with(field), base, "{field}");
    }
    assert_ne!(with(r#","k":{"stream":true}"#), with(r#","k":{}"#));
    assert!(IGNORED.is_sorted());
}

#[test]
fn debug_shows_fingerprint_and_length_but_no_prompt() {
    let key = RequestKey::forced(0xab, b"secret");
    assert_eq!(
        format!("{key:?}"),
        "RequestKey { fingerprint: Fingerprint(000000000000000000000000000000ab), bytes: 6 }"
    );
}

/// Random JSON.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("read back exactly", |float| round_trips(*float))
            .prop_map(Value::from),
        (-3..3i32).prop_map(|n| Value::from(f64::from(n))),
        (-3..3i32).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Without its `float_roundtrip`, `serde_json` reads some long fractions one unit off. The key is built from the
/// value read, so that is not its concern.
fn round_trips(float: f64) -> bool {
    serde_json::from_str::<Value>(&json!(float).to_string()).is_ok_and(|back| back == json!(float))
}

/// Short texts of few characters, so that escapes and near-collisions are frequent.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab\"\\\\,:{}\\[\\]\\x00-\\x1f\u{7f}é]{0,5}", "\\PC{0,8}"]
}

fn field_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", "temperature|seed|model|user|max_tokens", text()]
        .prop_filter("not ignored", |name| !IGNORED.contains(&name.as_str()))
}

fn body() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(field_name(), json_value(), 0..5)
        .prop_map(|fields| fields.into_iter().collect())
}

/// Equality of bodies as the key defines it: top-level numbers by value, all else exactly.
fn is_same_body(a: &ChatRequest, b: &ChatRequest) -> bool {
    let by_value = |request: &ChatRequest| -> Vec<(String, String)> {
        let fields = request.body().iter();
        fields
            .map(|(field, value)| {
                let shown = match value.as_f64().filter(|_| value.is_f64()) {
                    // a whole f64 equals exactly one integer, within the range of integers
                    Some(float)
                        if float.fract() == 0.0 && (-(2f64.powi(63))..2f64.powi(64)).contains(&float) =>
                    {
                        (float as i128).to_string()
                    }
                    // 17 digits distinguish any two f64
                    Some(float) => format!("{float:.17e}"),
                    None => value.to_string(),
                };
                (field.clone(), shown)
            })
            .collect()
    };
    by_value(a) == by_value(b)
}

#[test]
fn a_whole_float_beyond_2_to_the_53_equals_only_the_integer_of_its_value() {
    let with = |value: Value| key(&request([("a".to_owned(), value)].into_iter().collect()));
    let float = with((-9.470_620_220_827_952e16).into());
    assert_eq!(float, with((-94_706_202_208_279_520_i64).into()));
    assert_ne!(float, with((-94_706_202_208_279_521_i64).into()));
}

proptest! {
    /// The canonical JSON is JSON and parses to the same body, so different bodies have different canonical bytes.
    #[test]
    fn the_canonical_body_round_trips(body in body()) {
        let request = request(body);
        let key = key(&request);
        let back = Value::Object(serde_json::from_slice(body_of(&key)).unwrap());
        // not through `TryFrom`: the fields may have any type here
        let back = self::request(back.as_object().cloned().unwrap_or_default());
        prop_assert_eq!(self::key(&back), key);
        prop_assert!(is_same_body(&back, &request), "{:?} {:?}", back, request);
    }

    #[test]
    fn two_bodies_share_a_key_only_if_they_are_the_same(a in body(), b in body()) {
        let (a, b) = (request(a), request(b));
        prop_assert_eq!(key(&a) == key(&b), is_same_body(&a, &b));
    }

    /// A field added, removed or changed gives another key.
    #[test]
    fn any_field_that_differs_changes_the_canonical_bytes(
        body in body(), field in field_name(), value in json_value(),
    ) {
        let before = request(body);
        let after = before.clone().with(&field, value);
        prop_assume!(!is_same_body(&before, &after));
        prop_assert_ne!(key(&before).canonical().to_vec(), key(&after).canonical().to_vec());
    }

    #[test]
    fn the_order_of_keys_does_not_matter(fields in prop::collection::btree_map("[a-z]{1,4}", 0..9u8, 0..6)) {
        let write = |fields: &mut dyn Iterator<Item = (&String, &u8)>| {
            let inner: Vec<String> = fields.map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let inner = inner.join(",");
            parsed(&format!("{{\"messages\":[{{{inner}}}],\"k\":{{{inner}}}}}"))
        };
        prop_assert_eq!(key(&write(&mut fields.iter())), key(&write(&mut fields.iter().rev())));
    }

    #[test]
    fn ignored_fields_never_matter(body in body(), values in prop::collection::vec(json_value(), 3)) {
        let plain = request(body);
        let noisy = IGNORED.iter().zip(values).fold(plain.clone(), |request, (field, value)| request.with(field, value));
        prop_assert_eq!(key(&plain), key(&noisy));
    }

    #[test]
    fn two_tenants_never_share_a_key(a in "\\PC{0,20}", b in "\\PC{0,20}", ca in 0..3u64, cb in 0..3u64, body in body()) {
        let (a, b) = (UserId::new(&a), UserId::new(&b));
        let request = request(body);
        let ka = RequestKey::new(&Scope { credential: ca, ..scope(&a) }, &request);
        let kb = RequestKey::new(&Scope { credential: cb, ..scope(&b) }, &request);
        prop_assert_eq!(ka == kb, a == b && ca == cb);
    }

    /// Parts may contain any bytes, also those that look like a length or another part.
    #[test]
    fn parts_have_unambiguous_borders(a in "[\0\u{1}/h]{0,12}", b in "[\0\u{1}/h]{0,12}", cut in 0..24usize) {
        let user = UserId::new("ada");
        let request = ChatRequest::prompt("hi");
        let whole = format!("{a}{b}");
        let cut = cut.min(whole.len());
        let first = Scope { upstream: &a, route: &b, ..scope(&user) };
        let second = Scope { upstream: &whole[..cut], route: &whole[cut..], ..scope(&user) };
        let same = cut == a.len();
        prop_assert_eq!(RequestKey::new(&first, &request) == RequestKey::new(&second, &request), same);
    }

    #[test]
    fn fingerprints_round_trip(bits in any::<u128>()) {
        let fingerprint = Fingerprint(bits);
        prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        prop_assert_eq!(json!(fingerprint), json!(format!("{bits:032x}")));
        prop_assert!(fingerprint.to_string().starts_with(&fingerprint.short()));
    }
}
