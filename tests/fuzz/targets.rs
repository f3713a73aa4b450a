//! The properties that hold for any input.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::io::Cursor;

use seawall::client::{Answer, AnswerReader, BodyEnd, Chunk, ReadProblem, SseDecoder, SseItem};
use seawall::drills::scenario;
use seawall::event::{Command, Failure, FailureClass, Phase};
use seawall::journal::{Header, Journal, Line, Reader};
use seawall::policy::classify::{self, BodyProblem, ConnectKind, Observed, Upstream};
use seawall::policy::hint;
use seawall::settings::file::{self, ConfigError};
use seawall::text::SafeText;
use seawall::time::Timestamp;

use crate::hostile::is_hostile;

/// Asserts one printable line of a few terminal lines at most.
fn assert_line(text: &str) {
    assert!(!text.is_empty());
    assert!(!text.contains('\n') && !text.contains(is_hostile), "{text:?}");
    assert!(
        text.chars().count() <= 1000,
        "{} characters",
        text.chars().count()
    );
}

/// Draws the splits of an input from the input itself, so that a failing input is complete.
fn cuts(input: &[u8], pieces: usize) -> Vec<usize> {
    let mut state = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut cuts: Vec<usize> = (1..pieces)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % (input.len() + 1)
        })
        .collect();
    cuts.sort_unstable();
    cuts
}

fn pieces<'a>(input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let ends = cuts.iter().copied().chain([input.len()]);
    let mut from = 0;
    ends.map(|to| input.get(std::mem::replace(&mut from, to)..to).unwrap())
        .collect()
}

// === the SSE decoder ===

/// The items, and true if invalid text was seen.
fn decoded<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<SseItem>, bool) {
    let mut decoder = SseDecoder::default();
    let mut items = Vec::new();
    for part in parts {
        // inputs are far below the limits, which have tests of their own
        decoder.push(part, &mut items).unwrap();
    }
    (items, decoder.saw_bad_text())
}

/// The WHATWG algorithm applied to the whole text at once. `None` for what the standard ignores and the decoder does
/// not: other fields, and JSON.
fn reference(input: &[u8]) -> Option<(Vec<SseItem>, bool)> {
    let text = String::from_utf8_lossy(input);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let Some((whole, _)) = text.rsplit_once('\n') else {
        return Some((Vec::new(), false));
    };
    let (mut items, mut name, mut data) = (Vec::new(), "", Vec::new());
    for line in whole.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        match (field, value.strip_prefix(' ').unwrap_or(value)) {
            ("", _) if line.starts_with(':') => items.push(SseItem::Comment),
            ("", _) => {
                let data = std::mem::take(&mut data).join("\n");
                if !data.is_empty() {
                    let name = name.to_owned();
                    items.push(SseItem::Event { name, data });
                }
                name = "";
            }
            ("event", value) => name = value,
            ("data", value) if !value.contains('{') => data.push(value),
            ("id" | "retry", _) => {}
            _ => return None,
        }
    }
    let end = input.iter().rposition(|byte| b"\r\n".contains(byte)).unwrap_or(0);
    Some((items, std::str::from_utf8(input.get(..end).unwrap()).is_err()))
}

/// However the input is split, the events are the same, and those of the standard where it says the same.
pub(crate) fn sse_decoder(input: &[u8]) {
    let whole = decoded([input]);
    if let Some(reference) = reference(input) {
        assert_eq!(whole, reference);
    }
    assert_eq!(decoded(input.chunks(1)), whole, "byte by byte");
    for count in [2, 3, 8] {
        let cuts = cuts(input, count);
        assert_eq!(decoded(pieces(input, &cuts)), whole, "cut at {cuts:?}");
    }
    let bytes: usize = whole.0.iter().map(bytes_of).sum();
    // an invalid byte becomes three bytes
    assert!(bytes <= 3 * input.len());
}

fn bytes_of(item: &SseItem) -> usize {
    match item {
        SseItem::Event { name, data } => name.len() + data.len(),
        SseItem::Comment => 0,
        SseItem::Unframed(text) => text.len(),
    }
}

// === the reader of answers ===

/// The answer or the problem, and the text that was delivered.
fn answer<'a>(
    parts: impl IntoIterator<Item = &'a [u8]>,
    labelled_events: bool,
    end: BodyEnd,
) -> (Result<Answer, ReadProblem>, String) {
    let mut reader = AnswerReader::new(labelled_events, 1 << 20, 1);
    let mut fresh = Vec::new();
    let pushed = parts
        .into_iter()
        .try_for_each(|part| reader.push(part, &mut fresh));
    let ended = pushed.and_then(|()| reader.end(end, &mut fresh));
    let texts = fresh.iter().map(|chunk| match chunk {
        Chunk::Text(text) | Chunk::Refusal(text) => text.as_str(),
        Chunk::Reasoning(_) | Chunk::ToolCalls(_) => "",
    });
    let text = texts.collect();
    (ended.map(|()| reader.answer(3)), text)
}

/// Splits do not matter, the text that was delivered is the text of the answer, and no prefix of a stream without
/// a finish reason is a whole answer.
pub(crate) fn answer_reader(input: &[u8]) {
    for (labelled_events, end) in [
        (true, BodyEnd::Clean),
        (false, BodyEnd::Clean),
        (true, BodyEnd::Cut),
        (false, BodyEnd::Reset),
    ] {
        let whole = answer([input], labelled_events, end);
        for count in [2, 3, 8] {
            let cuts = cuts(input, count);
            match (answer(pieces(input, &cuts), labelled_events, end), &whole) {
                // the excerpt is what has arrived
                ((Err(ReadProblem::NotAnApi(_)), _), (Err(ReadProblem::NotAnApi(_)), _)) => {}
                (pieces, whole) => assert_eq!(&pieces, whole, "cut at {cuts:?}"),
            }
        }
        if let Ok(answer) = &whole.0 {
            assert_eq!(whole.1, format!("{}{}", answer.text, answer.refusal));
            assert!(answer.to_json().is_object());
        }
    }
    let names = [b"finish_reason".as_slice(), b"finishReason"];
    let position = |name: &[u8]| input.windows(name.len()).position(|here| here == name);
    let finish = names.into_iter().filter_map(position).min();
    // a name can be spelt with escapes
    let before = input.get(..finish.unwrap_or(input.len())).unwrap();
    if !before.windows(2).any(|here| here == b"\\u") {
        for end in [BodyEnd::Clean, BodyEnd::Cut] {
            let (answer, _) = answer([before], true, end);
            assert!(answer.is_err(), "{answer:?}");
        }
    }
}

// === headers and errors ===

/// A response, read as leniently as possible, for the classifier.
struct Response {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Response {
    fn read(input: &[u8]) -> Self {
        let end = input.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = input.split_at(end.unwrap_or(input.len()));
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or(500),
            headers: headers(lines),
            body: body.get(4..).unwrap_or_default().to_vec(),
        }
    }
}

fn headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// A wait is finite and at most 2^53 seconds, invalid hints are reported, and whole seconds keep their value.
pub(crate) fn hint_headers(input: &[u8]) {
    let headers = headers(input.split(|byte| *byte == b'\n'));
    let first = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    for wall in [0, 1_431_704_061, u64::MAX] {
        let reading = hint::read(&headers, wall);
        let named = headers.contains_key("retry-after") || headers.contains_key("retry-after-ms");
        assert_eq!(named, reading.hint.is_some() || reading.rejected, "{headers:?}");
        if let Some(hint) = reading.hint {
            assert!(hint.wait.as_secs_f64() <= 9_007_199_254_740_992.0, "{hint:?}");
        }
        let digits = |value: &&str| value.len() < 16 && value.bytes().all(|byte| byte.is_ascii_digit());
        if !headers.contains_key("retry-after-ms")
            && let Some(seconds) = first("retry-after")
                .filter(digits)
                .and_then(|value| value.parse().ok())
        {
            let wait = reading.hint.map(|hint| hint.wait.as_secs());
            assert_eq!(wait, Some(seconds), "{headers:?}");
        }
        let said = first("x-should-retry").unwrap_or_default().to_lowercase();
        assert_eq!(reading.should_retry, said.parse().ok(), "{headers:?}");
    }
}

const UPSTREAM: Upstream<'_> = Upstream {
    host: "127.0.0.1:8033",
    model: Some("tiny"),
    key_name: Some("SEAWALL_API_KEY"),
};

/// For any response and any error in its body: a class, a fitting phase, and a sentence.
pub(crate) fn error_classifier(input: &[u8]) {
    let Response {
        status,
        headers,
        body,
    } = Response::read(input);
    let failure = classify::classify(
        &UPSTREAM,
        &Observed::Response {
            status,
            headers: &headers,
            body: &body,
            wall_seconds: 1_431_704_061,
        },
    );
    assert_eq!(failure.status, Some(status));
    assert_sentence(&failure);
    assert_phase_of_response(&failure, status);

    let error = seawall::openai::ApiError::parse(&body);
    let text = String::from_utf8_lossy(&body);
    for delivered in [false, true] {
        for problem in [
            BodyProblem::Malformed { excerpt: &body },
            BodyProblem::NotAnApi {
                content_type: &text,
                excerpt: &body,
            },
        ]
        .into_iter()
        .chain(error.iter().map(|error| BodyProblem::ErrorEvent { error }))
        {
            let failure = classify::classify(
                &UPSTREAM,
                &Observed::Body {
                    status: 200,
                    delivered,
                    problem,
                },
            );
            assert_sentence(&failure);
            assert_eq!(failure.phase == Phase::Delivered, delivered, "{failure:?}");
            assert_ne!(failure.phase, Phase::NotSent, "{failure:?}");
            assert_ne!(
                failure.phase,
                Phase::Ambiguous,
                "a response had begun: {failure:?}"
            );
        }
    }
    for observed in [
        Observed::Connect {
            kind: ConnectKind::Refused,
            detail: &text,
        },
        Observed::Panic { detail: &text },
    ] {
        assert_sentence(&classify::classify(&UPSTREAM, &observed));
    }
}

/// One line of bounded length, without a control character or anything that looks like a key.
fn assert_sentence(failure: &Failure) {
    assert_line(&failure.message);
    assert!(failure.message.chars().count() <= 240, "{failure:?}");
    assert!(!has_key(&failure.message), "{failure:?}");
    // breaker and limiter must accept it
    let _: (_, bool) = (classify::sample(failure), classify::is_unsent(failure));
    let written = serde_json::to_string(failure).unwrap();
    assert_eq!(&serde_json::from_str::<Failure>(&written).unwrap(), failure);
}

/// `sk-` at the start of a word, followed by eight letters or digits.
fn has_key(text: &str) -> bool {
    text.match_indices("sk-").any(|(at, _)| {
        let before = text.get(..at).unwrap().chars().next_back();
        let key = text.get(at + 3..).unwrap();
        let length = key.bytes().take_while(u8::is_ascii_alphanumeric).count();
        length >= 8 && before.is_none_or(|c| !c.is_ascii_alphanumeric())
    })
}

/// docs/semantics.md, Failures: after a response the request was sent, and a final failure needs a reason.
fn assert_phase_of_response(failure: &Failure, status: u16) {
    let Failure {
        class,
        phase,
        should_retry,
        ..
    } = *failure;
    assert!(!matches!(phase, Phase::NotSent | Phase::Delivered), "{failure:?}");
    if should_retry == Some(true) {
        assert_ne!(phase, Phase::Final, "{failure:?}");
    }
    let waits_in_vain = matches!(
        class,
        FailureClass::Quota | FailureClass::Auth | FailureClass::Invalid | FailureClass::NotFound
    );
    if waits_in_vain && should_retry != Some(true) {
        assert_eq!(phase, Phase::Final, "{failure:?}");
    }
    if phase == Phase::Ambiguous {
        // a client error did no work; only 409 leaves that open
        assert!(status == 409 || status >= 500, "{status}: {failure:?}");
    }
    if phase == Phase::Begun {
        assert!(status < 300, "{status}: {failure:?}");
    }
}

// === files ===

/// Names the file, or another one named in it, in one line.
fn assert_config_error(error: &ConfigError, text: &str) {
    assert_line(&error.to_string());
    if let ConfigError::Syntax { name, line, .. } = error
        && name.as_str() == "fuzz.toml"
    {
        assert!((1..=text.lines().count() + 1).contains(line), "{error}");
    }
}

/// A scenario that passes validation, or a sentence with the remedy.
pub(crate) fn scenario_file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let scene = match scenario::read("fuzz.toml", &text, None, None) {
        Ok(scene) => scene,
        Err(error) => return assert_config_error(&error, &text),
    };
    scene.policy.validate().unwrap();
    let (mut at, mut profiles) = (Timestamp::ZERO, Vec::new());
    for timed in &scene.commands {
        assert!(at <= timed.at);
        at = timed.at;
        match &timed.command {
            Command::ApplyPolicy { policy } => policy.validate().unwrap(),
            Command::SetFaultProfile { profile } => {
                profile.validate().unwrap();
                profiles.push(profile);
            }
            _ => {}
        }
    }
    let mut phases = scene.scenario.upstream.phases.clone();
    phases.sort_by_key(|phase| phase.from);
    let mut end = std::time::Duration::ZERO;
    for phase in phases {
        assert!(end <= phase.from && phase.from < phase.until);
        end = phase.until;
    }
    // printed in reports and journals
    let words = [&scene.scenario.name, &scene.scenario.about, &scene.policy.name];
    let profiles = profiles
        .iter()
        .flat_map(|profile| [&profile.name, &profile.about]);
    let users = scene
        .scenario
        .expectations
        .iter()
        .filter_map(|one| one.user.as_ref());
    for word in words.into_iter().chain(profiles).chain(users) {
        assert!(!word.contains('\n') && !word.contains(is_hostile), "{word:?}");
    }
    let calls = |command: &Command| matches!(command, Command::Burst { .. } | Command::Send { .. });
    let has_calls =
        !scene.scenario.callers.is_empty() || scene.commands.iter().any(|timed| calls(&timed.command));
    assert!(!scene.scenario.duration.is_zero() && has_calls);
    // an expectation without bounds would always pass
    for expectation in &scene.scenario.expectations {
        assert!(expectation.at_least.or(expectation.at_most).is_some());
    }
}

/// A valid policy that survives a journal, or a sentence with the remedy.
pub(crate) fn policy_file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match file::parse_policy("fuzz.toml", &text) {
        Ok(policy) => {
            assert!(!policy.name.contains(is_hostile));
            policy.validate().unwrap();
            let written = serde_json::to_string(&policy).unwrap();
            assert_eq!(
                serde_json::from_str::<seawall::settings::Policy>(&written).unwrap(),
                policy
            );
        }
        Err(error) => assert_config_error(&error, &text),
    }
}

/// The same for a fault profile.
pub(crate) fn fault_file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match file::parse_faults("fuzz.toml", &text) {
        Ok(profile) => {
            assert!(
                ![&profile.name, &profile.about]
                    .iter()
                    .any(|text| text.contains(is_hostile))
            );
            profile.validate().unwrap();
        }
        Err(error) => assert_config_error(&error, &text),
    }
}

/// A journal that was read is written again as the same text up to the first error, and the error is one line.
pub(crate) fn journal_reader(input: &[u8]) {
    let open = |text: &[u8]| Reader::open(Cursor::new(text.to_vec()));
    let reader = match open(input) {
        Ok(reader) => reader,
        Err(error) => return assert_line(&error.to_string()),
    };
    let header = reader.header.clone();
    let mut read = Vec::new();
    let mut errors = 0;
    for line in reader.lines() {
        assert_eq!(errors, 0, "something after an error");
        match line {
            Ok(line) => read.push(line),
            Err(error) => {
                errors += 1;
                assert_line(&error.to_string());
            }
        }
    }
    let written = write(&header, &read);
    let again = open(&written).unwrap();
    assert_eq!(again.header, header);
    let mut lines: Vec<Line> = again.lines().map(Result::unwrap).collect();
    // the writer counts events itself
    assert!(matches!(lines.pop(), Some(Line::End { .. })));
    read.retain(|line| !matches!(line, Line::End { .. }));
    assert_eq!(lines, read);
    assert_eq!(write(&header, &lines), written);
    // JSON escapes C0 controls; no other hostile character survives reading
    assert!(!String::from_utf8(written).unwrap().contains(is_hostile));
}

fn write(header: &Header, lines: &[Line]) -> Vec<u8> {
    let mut journal = Journal::try_new(Vec::new(), header).unwrap();
    for line in lines {
        match line {
            Line::Event(event) => journal.write(event).unwrap(),
            Line::Gap(lost) => journal.gap(*lost).unwrap(),
            Line::Blank | Line::End { .. } => {}
        }
    }
    journal.finish().unwrap()
}

// === text ===

/// No hostile character is left, sanitised text is unchanged, and splits do not matter.
pub(crate) fn sanitiser(input: &[u8]) {
    let raw = String::from_utf8_lossy(input);
    let whole = SafeText::new(&raw);
    assert!(!whole.contains(is_hostile), "{whole:?}");
    assert!(whole.len() <= 4 * raw.len());
    assert!(longest_stack(&whole) <= 8, "{whole:?}");
    assert_eq!(SafeText::new(&whole), whole, "not the same when sanitised again");
    assert!(!whole.single_line().contains('\n'));

    let mut by_chars = SafeText::default();
    let mut joined = SafeText::default();
    for (at, c) in raw.char_indices() {
        let c = raw.get(at..at + c.len_utf8()).unwrap();
        by_chars.push(c);
        joined.push_within(&SafeText::new(c), usize::MAX);
    }
    assert_eq!(by_chars, whole, "character by character");
    let mut in_pieces = SafeText::default();
    let cuts = cuts(input, 5).into_iter().map(|cut| raw.floor_char_boundary(cut));
    for piece in pieces(raw.as_bytes(), &cuts.collect::<Vec<_>>()) {
        in_pieces.push(std::str::from_utf8(piece).unwrap());
    }
    assert_eq!(in_pieces, whole);
    // pieces sanitised separately have lost their carriage returns and nothing else
    assert_eq!(joined, whole, "sanitised apart and joined");

    for max in [1, 2, 7, 80] {
        let excerpt = SafeText::excerpt(&raw, max);
        assert!(excerpt.chars().count() <= max, "{max}: {excerpt:?}");
        assert_eq!(SafeText::new(&excerpt), excerpt);
        assert_eq!(SafeText::from_bytes(input, max), excerpt);
        let mut within = SafeText::new("é");
        within.push_within(&whole, 2 + max);
        assert!(within.len() <= 2 + max);
    }
}

/// The longest run of characters without width.
fn longest_stack(text: &str) -> usize {
    let is_zero = |c: char| unicode_width::UnicodeWidthChar::width(c) == Some(0);
    let runs = text.split(|c| !is_zero(c)).map(|run| run.chars().count());
    runs.max().unwrap_or(0)
}
