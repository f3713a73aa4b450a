//! Tables of answers as real servers send them: each row names its source. Rows without a server are neighbours of one.

use super::*;
use crate::event::Finish;
use serde_json::json;

/// An answer or a problem, with the text delivered until then.
type Outcome = (Result<Answer, ReadProblem>, String);

/// Reads a body in pieces of `step` bytes.
fn read_in(body: &[u8], labelled_events: bool, end: BodyEnd, step: usize) -> Outcome {
    let mut reader = AnswerReader::new(labelled_events, 1 << 20, 1);
    let mut fresh = Vec::new();
    let pushed = body
        .chunks(step.max(1))
        .try_for_each(|piece| reader.push(piece, &mut fresh));
    let ended = pushed.and_then(|()| reader.end(end, &mut fresh));
    let delivered = fresh.iter().map(|chunk| match chunk {
        Chunk::Text(text) | Chunk::Refusal(text) => text.as_str(),
        Chunk::Reasoning(_) | Chunk::ToolCalls(_) => "",
    });
    let delivered = delivered.collect();
    (ended.map(|()| reader.answer(3)), delivered)
}

/// Reads a body at once and in small pieces, which must give the same.
fn read(body: &str, labelled_events: bool, end: BodyEnd) -> Outcome {
    let whole = read_in(body.as_bytes(), labelled_events, end, body.len());
    for step in [1, 2, 7] {
        let pieces = read_in(body.as_bytes(), labelled_events, end, step);
        assert_eq!(pieces.1, whole.1, "in steps of {step}: {body}");
        match (&pieces.0, &whole.0) {
            // an excerpt of a body of unknown kind is what has arrived
            (Err(ReadProblem::NotAnApi(_)), Err(ReadProblem::NotAnApi(_))) => {}
            (pieces, whole) => assert_eq!(pieces, whole, "in steps of {step}: {body}"),
        }
    }
    whole
}

fn stream(events: &[&str]) -> String {
    let events: Vec<_> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    events.concat()
}

fn delta(delta: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#)
}

const HELLO: &str = r#"{"choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":null}]}"#;
const WHOLE: &str =
    r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3}}"#;

/// Events that do no harm between those of a good stream.
pub(crate) const HARMLESS: [(&str, &str); 27] = [
    (
        "Azure: usage chunk with null choices",
        r#"{"choices":null,"usage":{"prompt_tokens":2,"completion_tokens":1}}"#,
    ),
    (
        "Azure: content filter chunk",
        r#"{"choices":[{"index":0,"delta":null,"content_filter_results":{"hate":{"filtered":false}}}]}"#,
    ),
    ("keep-alive", "null"),
    ("keep-alive", "ping"),
    ("keep-alive", "{}"),
    ("keep-alive", "\"heartbeat\""),
    ("keep-alive", r#"{"type":"ping"}"#),
    ("null choice", r#"{"choices":[null]}"#),
    (
        "null everywhere",
        r#"{"id":null,"model":null,"choices":[{"index":null,"delta":{"role":null,"content":null,"refusal":null,"tool_calls":null,"function_call":null,"audio":null,"reasoning_content":null,"reasoning":null},"logprobs":null,"finish_reason":null}],"usage":null,"error":null}"#,
    ),
    ("empty error", r#"{"choices":[],"error":{}}"#),
    ("empty error", r#"{"choices":[],"error":""}"#),
    (
        "success inside",
        r#"{"choices":[],"code":0,"message":"success","base_resp":{"status_code":0,"status_msg":""}}"#,
    ),
    (
        "empty tool calls",
        r#"{"choices":[{"index":0,"delta":{"content":"","tool_calls":[]}}]}"#,
    ),
    (
        "finish reason not yet",
        r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":""}]}"#,
    ),
    (
        "finish reason not yet",
        r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"null"}]}"#,
    ),
    (
        "unknown keys of other shapes",
        r#"{"choices":[{"index":0,"delta":{"content":null,"annotations":{"a":[1]}},"token_ids":7}],"timings":[]}"#,
    ),
    (
        "duplicate keys",
        r#"{"model":"a","model":"b","choices":[{"index":0,"index":0,"delta":{"role":"assistant","role":"assistant"}}]}"#,
    ),
    (
        "NaN",
        r#"{"choices":[{"index":0,"delta":{},"logprobs":{"content":[{"logprob":-Infinity},{"logprob":NaN}]}}]}"#,
    ),
    ("choices of a wrong type", r#"{"choices":"none"}"#),
    ("delta of a wrong type", r#"{"choices":[{"index":0,"delta":7}]}"#),
    ("a comment as data", ": OPENROUTER PROCESSING"),
    (
        "success as an error",
        r#"{"choices":[],"error":{"code":200,"message":"ok"}}"#,
    ),
    ("an empty envelope", r#"{"data":null,"result":{},"success":true}"#),
    (
        "content of a wrong type",
        r#"{"choices":[{"index":0,"delta":{"content":7}}]}"#,
    ),
    ("usage of a wrong type", r#"{"choices":[],"usage":"many"}"#),
    (
        "float counts",
        r#"{"choices":[],"usage":{"prompt_tokens":2.0,"completion_tokens":"1","total_tokens":3.0}}"#,
    ),
    (
        "tool calls of a wrong type",
        r#"{"choices":[{"index":0,"delta":{"tool_calls":"none"}}]}"#,
    ),
];

#[test]
fn harmless_events_change_nothing() {
    for (source, event) in HARMLESS {
        for events in [
            vec![event, HELLO, STOP, USAGE, "[DONE]"],
            vec![HELLO, event, STOP, USAGE, "[DONE]"],
            vec![HELLO, STOP, USAGE, event],
        ] {
            let (answer, text) = read(&stream(&events), true, BodyEnd::Clean);
            let answer = answer.unwrap_or_else(|problem| panic!("{source}: {problem:?} in {events:?}"));
            assert_eq!(
                (answer.text.as_str(), text.as_str()),
                ("hello", "hello"),
                "{source}"
            );
            assert_eq!(
                (answer.finish, answer.usage),
                (
                    Finish::Stop,
                    Usage {
                        total_tokens: answer.usage.total_tokens,
                        ..Usage::new(2, 1)
                    }
                ),
                "{source}"
            );
            assert!(answer.reasoning.is_empty() && answer.tool_calls.is_empty() && answer.others.is_empty());
        }
        // nothing of it is a token or delivered
        let mut reader = AnswerReader::new(true, 1 << 20, 1);
        let mut fresh = Vec::new();
        reader.push(stream(&[event]).as_bytes(), &mut fresh).unwrap();
        assert_eq!((reader.chunks(), fresh.len()), (0, 0), "{source}");
        assert!(!reader.is_complete(), "{source}");
    }
}

/// Source, deltas, and the text, reasoning and refusal that they hold.
const CONTENT: [(&str, &[&str], [&str; 3]); 26] = [
    (
        "OpenAI",
        &[r#"{"role":"assistant","content":""}"#, r#"{"content":"a b"}"#],
        ["a b", "", ""],
    ),
    (
        "Mistral: parts",
        &[
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}"#,
            r#"{"content":[{"type":"text","text":"x"}]}"#,
        ],
        ["x", "hm", ""],
    ),
    (
        "parts as strings",
        &[r#"{"content":["a"," ","b"]}"#],
        ["a b", "", ""],
    ),
    (
        "a single part",
        &[r#"{"content":{"type":"text","text":"a"}}"#],
        ["a", "", ""],
    ),
    (
        "output parts",
        &[r#"{"content":[{"type":"output_text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]}"#],
        ["a", "", ""],
    ),
    (
        "DeepSeek",
        &[
            r#"{"reasoning_content":"hm","content":null}"#,
            r#"{"content":"x"}"#,
        ],
        ["x", "hm", ""],
    ),
    (
        "vLLM, Ollama, Groq",
        &[r#"{"reasoning":"hm","content":""}"#, r#"{"content":"x"}"#],
        ["x", "hm", ""],
    ),
    (
        "both names",
        &[
            r#"{"reasoning":"hm","reasoning_content":"hm"}"#,
            r#"{"content":"x"}"#,
        ],
        ["x", "hm", ""],
    ),
    (
        "text in place of content",
        &[r#"{"text":"a "}"#, r#"{"content":"b","text":"b"}"#],
        ["a b", "", ""],
    ),
    (
        "text within text",
        &[
            r#"{"content":[{"type":"text","text":{"value":"a "}}]}"#,
            r#"{"content":{"parts":[{"text":"b"}]}}"#,
        ],
        ["a b", "", ""],
    ),
    ("a string as delta", &[r#""a ""#, r#""b""#], ["a b", "", ""]),
    (
        "Copilot",
        &[r#"{"reasoning_text":"hm"}"#, r#"{"content":"x"}"#],
        ["x", "hm", ""],
    ),
    (
        "Ollama through a proxy",
        &[r#"{"thinking":"hm"}"#, r#"{"content":"x"}"#],
        ["x", "hm", ""],
    ),
    (
        "LiteLLM",
        &[
            r#"{"reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s"}]}"#,
            r#"{"content":"x"}"#,
        ],
        ["x", "hm", ""],
    ),
    (
        "OpenRouter, details alone",
        &[
            r#"{"reasoning_details":[{"type":"reasoning.summary","summary":"h"}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.text","text":"m"},{"type":"reasoning.encrypted","data":"AA"}]}"#,
            r#"{"content":"x"}"#,
        ],
        ["x", "hm", ""],
    ),
    (
        "duplicate key",
        &[r#"{"content":"x","reasoning_content":"hm","reasoning_content":"hm"}"#],
        ["x", "hm", ""],
    ),
    (
        "OpenAI refusal",
        &[
            r#"{"content":null,"refusal":""}"#,
            r#"{"refusal":"I "}"#,
            r#"{"refusal":"cannot"}"#,
        ],
        ["", "", "I cannot"],
    ),
    (
        "refusal part",
        &[r#"{"content":[{"type":"refusal","refusal":"no"}]}"#],
        ["", "", "no"],
    ),
    (
        "OpenAI audio",
        &[
            r#"{"audio":{"id":"a","transcript":"a "}}"#,
            r#"{"audio":{"data":"AAAA"}}"#,
            r#"{"audio":{"transcript":"b"}}"#,
        ],
        ["a b", "", ""],
    ),
    (
        "a pair of halves",
        &[r#"{"content":"Hi \ud83d"}"#, r#"{"content":"\ude00 there"}"#],
        ["Hi 😀 there", "", ""],
    ),
    (
        "halves with an event between",
        &[
            r#"{"content":"\ud83d"}"#,
            r#"{"content":"","tool_calls":[]}"#,
            r#"{"content":"\ude00"}"#,
        ],
        ["😀", "", ""],
    ),
    (
        "half a character",
        &[r#"{"content":"a\ud83d"}"#, r#"{"content":"b"}"#],
        ["a\u{fffd}b", "", ""],
    ),
    (
        "half a character at the end",
        &[r#"{"content":"a\ud83d"}"#],
        ["a\u{fffd}", "", ""],
    ),
    ("raw tab", &["{\"content\":\"a\tb\"}"], ["a\tb", "", ""]),
    (
        "raw line break",
        &["{\"content\":\"a\n\nb\"}"],
        ["a\n\nb", "", ""],
    ),
    (
        "a private-use character",
        &["{\"content\":\"\u{10f8ff}\"}"],
        ["\u{10f8ff}", "", ""],
    ),
];

#[test]
fn content_is_read_in_every_shape() {
    for (source, deltas, expected) in CONTENT {
        let deltas: Vec<String> = deltas.iter().map(|one| delta(one)).collect();
        let events: Vec<&str> = deltas
            .iter()
            .map(String::as_str)
            .chain([STOP, "[DONE]"])
            .collect();
        let (answer, delivered) = read(&stream(&events), true, BodyEnd::Clean);
        let answer = answer.unwrap_or_else(|problem| panic!("{source}: {problem:?}"));
        let [text, _, refusal] = expected;
        assert_eq!(delivered, format!("{text}{refusal}"), "{source}");
        let parts = [&answer.text, &answer.reasoning, &answer.refusal];
        assert_eq!(parts.map(String::as_str), expected, "{source}");
        assert_eq!(answer.finish == Finish::Refusal, !refusal.is_empty(), "{source}");
        assert_eq!(answer.bad_text, delivered.contains('\u{fffd}'), "{source}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_stream_is_read_however_it_is_framed() {
    let crlf = stream(&[HELLO, STOP, "[DONE]"]).replace('\n', "\r\n");
    let lines = format!("{HELLO}\n{STOP}\n");
    for (source, body, labelled_events) in [
        ("OpenAI", stream(&[HELLO, STOP, "[DONE]"]), true),
        (
            "labelled as something else",
            stream(&[HELLO, STOP, "[DONE]"]),
            false,
        ),
        (
            "begins with a comment",
            format!(": OPENROUTER PROCESSING\n\n{}", stream(&[HELLO, STOP])),
            false,
        ),
        (
            "begins with blank lines",
            format!("\n\n{}", stream(&[HELLO, STOP])),
            false,
        ),
        (
            "byte order mark",
            format!("\u{feff}{}", stream(&[HELLO, STOP])),
            false,
        ),
        (
            "event names",
            format!("event: message\ndata: {HELLO}\nid: 7\nretry: 5\n\nevent: done\ndata: {STOP}\n\n"),
            true,
        ),
        ("carriage returns", crlf, true),
        (
            "no space",
            stream(&[HELLO, STOP]).replace("data: ", "data:"),
            false,
        ),
        (
            "prefix twice",
            stream(&[HELLO, STOP]).replace("data: ", "data: data: "),
            true,
        ),
        (
            "no blank line at the end",
            format!("data: {HELLO}\n\ndata: {STOP}\n"),
            true,
        ),
        (
            "no line end at the end",
            format!("data: {HELLO}\n\ndata: {STOP}"),
            true,
        ),
        (
            "two chunks in one event",
            format!("data: {HELLO}{STOP}\n\n"),
            true,
        ),
        (
            "one line break between events",
            stream(&[HELLO, STOP, "[DONE]"]).replace("\n\n", "\n"),
            true,
        ),
        (
            "indented fields",
            stream(&[HELLO, STOP, "[DONE]"]).replace("data:", "  data:"),
            false,
        ),
        (
            "indented JSON in many lines",
            format!(
                "data: {{\"choices\": [\ndata:   {{\"delta\": {{\ndata:     \"content\": \"hello\"}}}}\ndata: ]}}\n\n{}",
                stream(&[STOP])
            ),
            true,
        ),
        (
            "9router: a whole answer and done",
            format!("{WHOLE}data: [DONE]\n\n"),
            true,
        ),
        (
            "9router: a whole answer and done, labelled as JSON",
            format!("{WHOLE}\n\ndata: [DONE]\n\n"),
            false,
        ),
        ("a whole answer as an event", stream(&[WHOLE, "[DONE]"]), true),
        (
            "OpenRouter: comments before JSON",
            format!(": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n{WHOLE}"),
            false,
        ),
        (
            "Cloudflare: an envelope",
            format!(r#"{{"result":{WHOLE},"success":true,"errors":[],"messages":[]}}"#),
            false,
        ),
        (
            "AWS: an envelope of text",
            json!({"statusCode": 200, "body": WHOLE}).to_string(),
            false,
        ),
        ("JSON encoded twice", json!(WHOLE).to_string(), false),
        (
            "chunks encoded twice",
            stream(&[&json!(HELLO).to_string(), &json!(STOP).to_string(), "[DONE]"]),
            true,
        ),
        (
            "an envelope around each chunk",
            stream(&[
                &format!(r#"{{"code":0,"msg":"ok","data":{HELLO}}}"#),
                &format!(r#"{{"code":0,"msg":"ok","data":{STOP}}}"#),
                "[DONE]",
            ]),
            true,
        ),
        ("chunks in an array", format!("data: [{HELLO},{STOP}]\n\n"), true),
        ("lines of JSON", lines.clone(), false),
        ("lines of JSON, labelled as events", lines, true),
        (
            "done in lower case and quotes",
            format!("{}data: \"[done]\"\n\n", stream(&[HELLO, STOP])),
            true,
        ),
    ] {
        let (answer, text) = read(&body, labelled_events, BodyEnd::Clean);
        let answer = answer.unwrap_or_else(|problem| panic!("{source}: {problem:?}"));
        assert_eq!(
            (answer.text.as_str(), text.as_str(), answer.finish),
            ("hello", "hello", Finish::Stop),
            "{source}"
        );
    }
}

#[test]
fn a_whole_body_is_read_in_every_shape() {
    let usage = r#""usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3}"#;
    for (source, body, expected) in [
        (
            "OpenAI",
            format!(
                r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"hi"}},"finish_reason":"stop"}}],{usage}}}"#
            ),
            Finish::Stop,
        ),
        (
            "no finish reason",
            format!(r#"{{"choices":[{{"message":{{"content":"hi"}}}}],{usage}}}"#),
            Finish::Unknown,
        ),
        (
            "parts",
            format!(
                r#"{{"choices":[{{"message":{{"content":[{{"type":"text","text":"hi"}}]}},"finish_reason":"STOP"}}],{usage}}}"#
            ),
            Finish::Stop,
        ),
        (
            "nulls",
            format!(
                r#"{{"error":null,"choices":[{{"index":null,"delta":null,"message":{{"content":"hi","tool_calls":null}},"finish_reason":"stop"}}],{usage}}}"#
            ),
            Finish::Stop,
        ),
        (
            "pretty",
            format!(
                "{{\n  \"choices\": [\n    {{\"message\": {{\"content\": \"hi\"}}, \"finish_reason\": \"length\"}}\n  ],\n  {usage}\n}}\n"
            ),
            Finish::Length,
        ),
        (
            "legacy completion",
            format!(r#"{{"choices":[{{"text":"hi","finish_reason":"eos"}}],{usage}}}"#),
            Finish::Stop,
        ),
        (
            "one choice, not in a list",
            format!(r#"{{"choices":{{"message":{{"content":"hi"}},"finish_reason":"stop"}},{usage}}}"#),
            Finish::Stop,
        ),
    ] {
        for labelled_events in [false, true] {
            // a stream without a finish reason is not complete
            if labelled_events && expected == Finish::Unknown {
                continue;
            }
            let (answer, text) = read(&body, labelled_events, BodyEnd::Clean);
            let answer = answer.unwrap_or_else(|problem| panic!("{source}: {problem:?}"));
            assert_eq!(
                (answer.text.as_str(), text.as_str(), answer.finish),
                ("hi", "hi", expected),
                "{source}"
            );
            assert_eq!(
                (answer.usage, answer.estimated),
                (Usage::new(2, 1), false),
                "{source}"
            );
        }
    }
    for (source, body) in [
        ("empty list", r#"{"choices":[]}"#),
        ("no answer", r#"{"ok":true}"#),
        ("cut", r#"{"choices":[{"message":{"content":"hi"}"#),
    ] {
        assert!(
            matches!(
                read(body, false, BodyEnd::Clean).0,
                Err(ReadProblem::Malformed(_))
            ),
            "{source}"
        );
    }
}

#[test]
fn every_finish_reason_is_known_or_accepted_or_a_failure() {
    for (reason, expected) in [
        ("stop", Some(Finish::Stop)),
        ("STOP", Some(Finish::Stop)),
        ("end_turn", Some(Finish::Stop)),
        ("MAX_TOKENS", Some(Finish::Length)),
        ("tool_calls", Some(Finish::ToolCalls)),
        ("SAFETY", Some(Finish::ContentFilter)),
        ("refusal", Some(Finish::Refusal)),
        ("something new", Some(Finish::Unknown)),
        ("error", None),
        ("abort", None),
        ("insufficient_system_resource", None),
        ("network_error", None),
        ("content_filter: PROHIBITED_CONTENT", Some(Finish::ContentFilter)),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", None),
        ("engine_error", None),
        ("cancelled", None),
        ("timeout", None),
        ("ERROR_LIMIT", None),
    ] {
        let end = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
        let (answer, text) = read(&stream(&[HELLO, &end, "[DONE]"]), true, BodyEnd::Clean);
        assert_eq!(text, "hello");
        match (answer, expected) {
            (Ok(answer), Some(finish)) => assert_eq!(answer.finish, finish, "{reason}"),
            (Err(ReadProblem::ErrorEvent(error)), None) => {
                assert!(error.message.contains(reason), "{error:?}");
            }
            (answer, _) => panic!("{reason}: {answer:?}"),
        }
    }
    let twice = [
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls","native_finish_reason":"STOP"}]}"#,
        STOP,
    ];
    let answer = read(&stream(&twice), true, BodyEnd::Clean).0;
    assert_eq!(answer.unwrap().finish, Finish::ToolCalls, "ends twice");
    let camel = r#"{"choices":[{"index":0,"delta":{},"finishReason":"STOP"}]}"#;
    let answer = read(&stream(&[HELLO, camel]), true, BodyEnd::Clean).0;
    assert_eq!(answer.unwrap().finish, Finish::Stop, "a proxy of Gemini");
    let object = r#"{"choices":[{"index":0,"delta":{},"finish_reason":{"type":"length","length":9}}]}"#;
    assert_eq!(
        read(&stream(&[HELLO, object]), true, BodyEnd::Clean)
            .0
            .unwrap()
            .finish,
        Finish::Length,
        "SGLang"
    );
}

/// Errors that servers report under a success status, with words that the message must hold.
pub(crate) const ERRORS: [(&str, &str, &str); 29] = [
    (
        "llama-server",
        r#"{"error":{"code":500,"message":"it broke","type":"server_error"}}"#,
        "it broke",
    ),
    ("an error as text", r#"{"error":"it broke"}"#, "it broke"),
    (
        "vLLM",
        r#"{"object":"error","message":"it broke","type":"InternalServerError","param":null,"code":500}"#,
        "it broke",
    ),
    (
        "DeepInfra",
        r#"{"id":"1","choices":[],"error_type":"InternalError","error_message":"it broke"}"#,
        "it broke",
    ),
    (
        "MiniMax",
        r#"{"id":"1","choices":[],"base_resp":{"status_code":1000,"status_msg":"it broke"}}"#,
        "it broke",
    ),
    (
        "MiniMax",
        r#"{"choices":null,"base_resp":{"status_code":1013,"status_msg":"it broke"}}"#,
        "it broke",
    ),
    (
        "Baidu",
        r#"{"error_code":336000,"error_msg":"it broke"}"#,
        "it broke",
    ),
    ("FastAPI", r#"{"detail":"it broke"}"#, "it broke"),
    (
        "Zhipu",
        r#"{"code":500,"msg":"it broke","success":false}"#,
        "it broke",
    ),
    (
        "DashScope",
        r#"{"code":"InternalError","message":"it broke","request_id":"r"}"#,
        "it broke",
    ),
    (
        "Anthropic",
        r#"{"type":"error","error":{"type":"api_error","message":"it broke"}}"#,
        "it broke",
    ),
    (
        "Google",
        r#"[{"error":{"code":500,"message":"it broke","status":"INTERNAL"}}]"#,
        "it broke",
    ),
    (
        "OpenRouter",
        r#"{"id":"g","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"it broke"}}]}"#,
        "it broke",
    ),
    (
        "OpenRouter",
        r#"{"id":"g","error":{"code":502,"message":"it broke"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
        "it broke",
    ),
    (
        "finish reason alone",
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}"#,
        "error",
    ),
    (
        "broken JSON with an error",
        "{\"error\":{\"code\":500,\"message\":\"it broke\n\",\"x\":NaN}}",
        "it broke",
    ),
    (
        "SGLang",
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":{"type":"abort","message":"it broke","status_code":503}}]}"#,
        "it broke",
    ),
    (
        "inside a delta",
        r#"{"choices":[{"index":0,"delta":{"content":"","error":{"message":"it broke"}}}]}"#,
        "it broke",
    ),
    (
        "inside an envelope",
        r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"it broke"}}}"#,
        "it broke",
    ),
    (
        "an event within",
        r#"{"event":"error","data":"it broke"}"#,
        "it broke",
    ),
    (
        "a type alone",
        r#"{"type":"server_error","message":"it broke"}"#,
        "it broke",
    ),
    (
        "a status alone",
        r#"{"status":"failed","reason":"it broke"}"#,
        "it broke",
    ),
    (
        "OpenRouter, a provider that failed",
        r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop","native_finish_reason":"network_error"}]}"#,
        "network_error",
    ),
    ("err", r#"{"err":{"message":"it broke"}}"#, "it broke"),
    ("errno", r#"{"errno":500,"errmsg":"it broke"}"#, "it broke"),
    ("exception", r#"{"exception":"it broke"}"#, "it broke"),
    ("ok false", r#"{"ok":false,"msg":"it broke"}"#, "it broke"),
    (
        "camel case",
        r#"{"errorCode":"E1","errorMsg":"it broke"}"#,
        "it broke",
    ),
    ("error true", r#"{"error":true,"message":"it broke"}"#, "it broke"),
];

#[test]
fn an_error_inside_a_success_is_a_failure_in_every_shape_and_place() {
    for (source, error, words) in ERRORS {
        let bodies = [
            (stream(&[error, "[DONE]"]), true, ""),
            (stream(&[error]), false, ""),
            (stream(&[HELLO, error, "[DONE]"]), true, "hello"),
            (
                format!("event: error\ndata: {}\n\n", error.replace('\n', "")),
                true,
                "",
            ),
            // old llama-server
            (format!("error: {}\n\n", error.replace('\n', "")), true, ""),
            (format!("{error}\n"), true, ""),
            (format!("{error}\ndata: [DONE]\n\n"), true, ""),
            (format!("{}{error}", stream(&[HELLO])), true, "hello"),
            (error.to_owned(), false, ""),
        ];
        for (body, labelled_events, text) in bodies {
            let (answer, delivered) = read(&body, labelled_events, BodyEnd::Clean);
            assert_eq!(delivered, text, "{source}: {body}");
            match answer {
                Err(ReadProblem::ErrorEvent(found)) => {
                    assert!(found.message.contains(words), "{source}: {found:?} in {body}");
                }
                other => panic!("{source}: {other:?} in {body}"),
            }
        }
    }
    for (name, data) in [
        ("event: error\ndata", "out of memory"),
        // old llama-server
        ("error", "out of memory"),
        (
            "error",
            r#"{"code":500,"message":"out of memory","type":"server_error"}"#,
        ),
        (
            "event: internalServerException\ndata",
            r#"{"message":"out of memory"}"#,
        ),
        (
            "event: response.failed\ndata",
            r#"{"response":{"error":{"message":"out of memory"}}}"#,
        ),
        ("event: ERROR\ndata", r#"{"reason":"out of memory"}"#),
    ] {
        let event = format!("{name}: {data}\n\n");
        for body in [
            event.clone(),
            event.clone() + &stream(&[HELLO, STOP, "[DONE]"]),
            stream(&[HELLO]) + &event,
        ] {
            let answer = read(&body, true, BodyEnd::Clean).0;
            assert!(
                matches!(&answer, Err(ReadProblem::ErrorEvent(error)) if error.message.contains("out of memory")),
                "{answer:?} in {body}"
            );
        }
    }
}

const ENDED: &str = r#"{"choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":"stop"}]}"#;

/// Source, body, its end, and the problem with it.
type Ending = (&'static str, String, BodyEnd, Option<ReadProblem>);

#[expect(clippy::too_many_lines, reason = "one table")]
fn endings() -> Vec<Ending> {
    let truncated = |reset| Some(ReadProblem::Truncated { reset });
    let second = r#"{"choices":[{"index":1,"delta":{"content":"x"}}]}"#;
    let empty_reason = r#"{"choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":""}]}"#;
    let role = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
    vec![
        ("finish reason", stream(&[HELLO, STOP]), BodyEnd::Clean, None),
        (
            "finish reason without text",
            stream(&[STOP]),
            BodyEnd::Clean,
            None,
        ),
        // what is missing is at most the usage
        (
            "cut after the finish reason",
            stream(&[HELLO, STOP]),
            BodyEnd::Cut,
            None,
        ),
        (
            "cut after the end",
            stream(&[HELLO, STOP, "[DONE]"]),
            BodyEnd::Reset,
            None,
        ),
        ("clean end", stream(&[HELLO]), BodyEnd::Clean, truncated(false)),
        // a finish reason in every chunk proves nothing
        (
            "a finish reason with all text",
            stream(&[ENDED, ENDED]),
            BodyEnd::Clean,
            truncated(false),
        ),
        (
            "a finish reason with all text, done",
            stream(&[ENDED, ENDED, "[DONE]"]),
            BodyEnd::Clean,
            None,
        ),
        (
            "a finish reason with all text, and one without",
            stream(&[ENDED, ENDED, STOP]),
            BodyEnd::Cut,
            None,
        ),
        (
            "text after the finish reason",
            stream(&[HELLO, STOP, HELLO]),
            BodyEnd::Clean,
            None,
        ),
        (
            "done proves nothing",
            stream(&[HELLO, "[DONE]"]),
            BodyEnd::Clean,
            truncated(false),
        ),
        (
            "another choice is open",
            stream(&[HELLO, second, STOP, "[DONE]"]),
            BodyEnd::Clean,
            truncated(false),
        ),
        (
            "empty finish reasons",
            stream(&[empty_reason]),
            BodyEnd::Clean,
            truncated(false),
        ),
        ("role alone", stream(&[role]), BodyEnd::Clean, truncated(false)),
        (
            "half an event",
            format!(
                "{}data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a",
                stream(&[HELLO])
            ),
            BodyEnd::Clean,
            truncated(false),
        ),
        (
            "half of the last event",
            format!("{}data: {}", stream(&[HELLO]), &STOP[..STOP.len() - 1]),
            BodyEnd::Clean,
            truncated(false),
        ),
        (
            "half of the last event, cut",
            format!("{}data: {STOP}", stream(&[HELLO])),
            BodyEnd::Cut,
            truncated(false),
        ),
        ("reset", stream(&[HELLO]), BodyEnd::Reset, truncated(true)),
        ("nothing", String::new(), BodyEnd::Clean, Some(ReadProblem::Empty)),
        (
            "blank lines",
            "\n\n \n".to_owned(),
            BodyEnd::Clean,
            Some(ReadProblem::Empty),
        ),
        (
            "pings",
            ": ping\n\n: ping\n\n".to_owned(),
            BodyEnd::Clean,
            Some(ReadProblem::Empty),
        ),
        (
            "done alone",
            stream(&["[DONE]"]),
            BodyEnd::Clean,
            Some(ReadProblem::Empty),
        ),
        (
            "role and done",
            stream(&[role, "[DONE]"]),
            BodyEnd::Clean,
            Some(ReadProblem::Empty),
        ),
        (
            "usage and done",
            stream(&[USAGE, "[DONE]"]),
            BodyEnd::Clean,
            Some(ReadProblem::Empty),
        ),
        (
            "words",
            stream(&["Internal Server Error"]),
            BodyEnd::Clean,
            Some(ReadProblem::Malformed("Internal Server Error".into())),
        ),
        (
            "broken JSON",
            stream(&[HELLO, "{broken"]),
            BodyEnd::Clean,
            Some(ReadProblem::Malformed("{broken".into())),
        ),
    ]
}

#[test]
fn an_answer_is_whole_only_with_a_finish_reason_for_every_choice() {
    for (source, body, end, expected) in endings() {
        let outcome = read(&body, true, end).0;
        assert_eq!(outcome.err(), expected, "{source}: {body}");
    }
    for (source, body, problem) in [
        (
            "a page",
            "<!DOCTYPE html><title>502</title>",
            ReadProblem::NotAnApi("<!DOCTYPE html><title>502</title>".into()),
        ),
        (
            "words",
            "Bad gateway",
            ReadProblem::NotAnApi("Bad gateway".into()),
        ),
        (
            "the beginning of a field",
            "dat",
            ReadProblem::NotAnApi("dat".into()),
        ),
    ] {
        assert_eq!(read(body, false, BodyEnd::Clean).0, Err(problem), "{source}");
    }
}

#[test]
fn every_choice_is_kept() {
    let events = [
        r#"{"id":"c","created":1,"choices":[{"index":1,"delta":{"content":"one "}},{"index":0,"delta":{"content":"zero"}}]}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"more"},"finish_reason":"length","logprobs":{"content":[1]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":"{\"a\""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"finish_reason":"tool_calls"}]}"#,
    ];
    let mut reader = AnswerReader::new(true, 1 << 20, 2);
    let mut fresh = Vec::new();
    for (number, event) in events.iter().enumerate() {
        assert!(!reader.is_complete(), "before event {number}");
        reader.push(stream(&[event]).as_bytes(), &mut fresh).unwrap();
    }
    assert!(reader.is_complete());
    assert_eq!(
        (fresh.len(), reader.chunks()),
        (3, 5),
        "the second choice is counted and not streamed"
    );
    reader.end(BodyEnd::Clean, &mut fresh).unwrap();
    let answer = reader.answer(3);
    assert_eq!((answer.text.as_str(), answer.finish), ("zero", Finish::ToolCalls));
    let call = json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
    assert_eq!(answer.tool_calls, std::slice::from_ref(&call));
    assert_eq!(
        (answer.others[0].text.as_str(), answer.others[0].finish),
        ("one more", Finish::Length)
    );
    assert_eq!(
        answer.to_json(),
        json!({
            "id": "c", "created": 1, "object": "chat.completion", "model": null, "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "zero", "tool_calls": [call]}, "finish_reason": "tool_calls"},
                {"index": 1, "message": {"role": "assistant", "content": "one more"}, "finish_reason": "length", "logprobs": {"content": [1]}},
            ],
        })
    );
    // with one choice too few, a clean end is an end, and a cut is not
    let one = |end| {
        let mut reader = AnswerReader::new(true, 1 << 20, 2);
        let mut fresh = Vec::new();
        reader
            .push(stream(&[HELLO, STOP]).as_bytes(), &mut fresh)
            .unwrap();
        reader.end(end, &mut fresh)
    };
    assert_eq!(
        (one(BodyEnd::Clean), one(BodyEnd::Cut)),
        (Ok(()), Err(ReadProblem::Truncated { reset: false }))
    );
}

#[test]
fn a_message_that_states_the_text_again_adds_only_what_is_new() {
    let chunk = |delta: &str, message: &str| {
        format!(r#"{{"choices":[{{"index":0,"delta":{delta},"message":{{"content":"{message}"}}}}]}}"#)
    };
    let message = |text: &str| format!(r#"{{"choices":[{{"index":0,"message":{{"content":"{text}"}}}}]}}"#);
    let content = |text: &str| delta(&format!(r#"{{"content":"{text}"}}"#));
    for (source, events) in [
        (
            "Perplexity",
            [
                chunk(r#"{"content":"a "}"#, "a "),
                chunk(r#"{"content":"b "}"#, "a b "),
                chunk(r#"{"content":""}"#, "a b c"),
            ],
        ),
        (
            "the whole at the end",
            [content("a "), content("b c"), message("a b c")],
        ),
        (
            "the whole at the end, trimmed",
            [content(" a "), content("b c"), message("a b c")],
        ),
        (
            "increments as messages",
            [message("a "), message("b "), message("c")],
        ),
    ] {
        let mut events: Vec<&str> = events.iter().map(String::as_str).collect();
        events.extend([STOP, "[DONE]"]);
        let (answer, text) = read(&stream(&events), true, BodyEnd::Clean);
        assert_eq!(
            (answer.unwrap().text.trim(), text.trim()),
            ("a b c", "a b c"),
            "{source}"
        );
    }
    let both = r#"{"choices":[{"index":0,"delta":{},"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
    assert_eq!(
        read(both, false, BodyEnd::Clean).1,
        "hi",
        "an empty delta beside the message"
    );
}

#[test]
fn an_only_answer_is_one_choice_under_whatever_index() {
    let call = r#"{"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}"#;
    for (source, body, calls) in [
        (
            "Copilot: text and tool calls apart",
            format!(
                r#"{{"choices":[{{"message":{{"content":"hello"}},"finish_reason":"tool_calls"}},{{"message":{{"tool_calls":[{call}]}},"finish_reason":"tool_calls"}}]}}"#
            ),
            1,
        ),
        (
            "a finish reason under another index",
            stream(&[&HELLO.replace("\"index\":0", "\"index\":1"), STOP, "[DONE]"]),
            0,
        ),
        (
            "negative indexes",
            stream(&[HELLO, STOP]).replace("\"index\":0", "\"index\":-1"),
            0,
        ),
        (
            "indexes as strings",
            stream(&[HELLO, STOP]).replace("\"index\":0", "\"index\":\"0\""),
            0,
        ),
        (
            "a second answer that was not asked for, first",
            stream(&[
                r#"{"choices":[{"index":1,"delta":{"content":"x"}},{"index":0,"delta":{"content":"hello"}}]}"#,
                r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"},{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            ]),
            0,
        ),
    ] {
        let (answer, text) = read(&body, false, BodyEnd::Clean);
        let answer = answer.unwrap_or_else(|problem| panic!("{source}: {problem:?}"));
        assert_eq!(
            (answer.text.as_str(), text.as_str()),
            ("hello", "hello"),
            "{source}"
        );
        assert_eq!(answer.tool_calls.len(), calls, "{source}");
    }
}

#[test]
fn implausible_usage_is_replaced_by_an_estimate() {
    for odd in [
        r#"{"completion_tokens":-4}"#,
        r#"{"total_tokens":99999999999999}"#,
        r#"{"prompt_tokens":0}"#,
        r#""many""#,
    ] {
        let usage = format!(r#"{{"choices":[],"usage":{odd}}}"#);
        let answer = read(&stream(&[HELLO, STOP, &usage, "[DONE]"]), true, BodyEnd::Clean)
            .0
            .unwrap();
        assert_eq!(
            (answer.usage, answer.estimated),
            (Usage::new(3, 1), true),
            "{odd}"
        );
    }
    for (source, event) in [
        (
            "Groq",
            r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":2,"completion_tokens":1}}}"#,
        ),
        (
            "Moonshot",
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":2,"completion_tokens":1}}]}"#,
        ),
        (
            "other names",
            r#"{"choices":[],"usage":{"input_tokens":2,"output_tokens":1}}"#,
        ),
    ] {
        let answer = read(&stream(&[HELLO, STOP, event]), true, BodyEnd::Clean)
            .0
            .unwrap();
        assert_eq!((answer.usage.total(), answer.estimated), (3, false), "{source}");
    }
}

#[test]
fn rejects_a_body_that_exceeds_the_cap() {
    let mut reader = AnswerReader::new(true, 8, 1);
    let too_large = Err(ReadProblem::TooLarge(8));
    assert_eq!(reader.push(b"data: 123456789", &mut Vec::new()), too_large);
    assert_eq!(reader.push(b"x", &mut Vec::new()), too_large);
    let mut reader = AnswerReader::new(false, 8, 1);
    assert_eq!(reader.push(b"{\"choices\":[]}", &mut Vec::new()), too_large);
}

#[test]
fn chunks_before_a_problem_are_returned() {
    for bad in [r#"{"error":{"message":"boom"}}"#, "{broken"] {
        let mut reader = AnswerReader::new(true, 1 << 20, 1);
        let mut fresh = Vec::new();
        assert!(reader.push(stream(&[HELLO, bad]).as_bytes(), &mut fresh).is_err());
        assert_eq!(fresh, [Chunk::Text("hello".into())]);
    }
}
