//! Tests of the scripts.

use proptest::prelude::*;

use super::*;
use crate::openai::{ChatChunk, Usage};
use crate::settings::Range;
use crate::simulator::MODEL;

const NO_LATENCY: LatencyProfile = LatencyProfile {
    first_token: Range { min_ms: 0, max_ms: 0 },
    between_tokens: Range { min_ms: 0, max_ms: 0 },
};

fn ask(text: &str, stream: bool) -> ChatSpec {
    ChatSpec {
        text: text.into(),
        prompt_tokens: 5,
        limit: 8000,
        stream,
        usage: true,
        created: 1_795_478_514,
    }
}

fn always(kind: FaultKind) -> FaultProfile {
    let mut profile = FaultProfile {
        cut_after: 2,
        stall_for: Duration::from_secs(3),
        ..FaultProfile::default()
    };
    profile.set_rate(kind, 1.0);
    profile
}

fn script(ask: &ChatSpec, faults: Option<&FaultProfile>, number: u64) -> Script {
    Script::new(
        ask,
        &Conditions {
            faults,
            pace: NO_LATENCY,
            seed: 42,
            number,
        },
    )
}

fn body(script: &Script) -> Vec<u8> {
    let pieces = script.steps.iter().filter_map(|step| match &step.step {
        Step::Bytes(bytes) => Some(bytes.to_vec()),
        _ => None,
    });
    pieces.flatten().collect()
}

fn chunks(script: &Script) -> Vec<ChatChunk> {
    let body = String::from_utf8(body(script)).unwrap();
    let data = body
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]")
        .map(|data| ChatChunk::read(data).unwrap())
        .collect()
}

fn text(script: &Script) -> String {
    let chunks = chunks(script);
    let deltas = chunks.iter().flat_map(|chunk| &chunk.choices);
    deltas.map(|choice| choice.delta.text.as_str()).collect()
}

fn status(script: &Script) -> Option<u16> {
    script.steps.iter().find_map(|step| match step.step {
        Step::Head { status, .. } => Some(status),
        _ => None,
    })
}

#[test]
fn a_stream_has_the_events_of_the_capture() {
    let script = script(&ask("The sea.", true), None, 1);
    let sizes: Vec<usize> = script
        .steps
        .iter()
        .map(|step| match &step.step {
            Step::Bytes(bytes) => bytes.windows(6).filter(|window| window == b"data: ").count(),
            _ => 0,
        })
        .collect();
    // head; role and first token; second; third; finish and usage; DONE; end
    assert_eq!(sizes, [0, 2, 1, 1, 2, 1, 0]);
    let chunks = chunks(&script);
    let finish: Vec<_> = chunks
        .iter()
        .map(|chunk| {
            let choice = chunk.choices.first()?;
            Some((choice.delta.text.clone(), choice.finish_reason.clone()))
        })
        .collect();
    let token = |text: &str| Some((text.to_owned(), None));
    assert_eq!(
        finish,
        [
            token(""),
            token("The"),
            token(" sea"),
            token("."),
            Some((String::new(), Some("stop".into()))),
            None,
        ]
    );
    assert_eq!(chunks.last().unwrap().usage, Some(Usage::new(5, 3)));
    assert!(chunks.iter().all(|chunk| chunk.model.as_deref() == Some(MODEL)));
}

#[test]
fn usage_is_sent_only_if_requested() {
    let mut plain = ask("The sea.", true);
    plain.usage = false;
    let script = script(&plain, None, 1);
    assert!(chunks(&script).iter().all(|chunk| chunk.usage.is_none()));
    assert!(chunks(&script).iter().all(|chunk| !chunk.choices.is_empty()));
}

#[test]
fn the_token_limit_ends_with_reason_length() {
    for stream in [true, false] {
        let mut short = ask("One two three four.", stream);
        short.limit = 2;
        let body = String::from_utf8(body(&script(&short, None, 1))).unwrap();
        assert!(body.contains(r#""finish_reason":"length""#), "{body}");
        assert!(body.contains(r#""completion_tokens":2"#) && !body.contains("three"));
    }
}

#[test]
fn the_same_number_gives_the_same_script_in_any_order() {
    let profile = crate::settings::file::load_faults("mixed").unwrap();
    let ask = ask("Some words to say.", true);
    let forwards: Vec<_> = (0..100).map(|n| script(&ask, Some(&profile), n)).collect();
    let mut backwards: Vec<_> = (0..100).rev().map(|n| script(&ask, Some(&profile), n)).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards);
    let hit = forwards.iter().filter(|script| script.fault.is_some()).count();
    assert!((20..=50).contains(&hit), "{hit}");
}

#[test]
fn switching_faults_on_does_not_change_other_scripts() {
    let calm = FaultProfile::default();
    let ask = ask("Some words.", true);
    assert_eq!(script(&ask, Some(&calm), 9), script(&ask, None, 9));
}

#[test]
fn each_fault_ends_with_its_step() {
    use FaultKind as F;
    let cases = [
        (F::RateLimited, Some(429), Step::End),
        (F::ServerError, Some(500), Step::End),
        (F::Unavailable, Some(503), Step::End),
        (F::Overloaded, Some(529), Step::End),
        (F::Stall, None, Step::Reset),
        (F::Reset, None, Step::Reset),
        (F::Cut, Some(200), Step::Cut),
        (F::StallMidStream, Some(200), Step::Reset),
        (F::Drip, Some(200), Step::End),
        (F::Malformed, Some(200), Step::End),
        (F::WrongContentType, Some(200), Step::End),
    ];
    for (kind, code, last) in cases {
        for stream in [true, false] {
            let script = script(&ask("One two three four.", stream), Some(&always(kind)), 1);
            assert_eq!(script.fault.map(|(_, kind)| kind), Some(kind));
            assert_eq!(status(&script), code, "{kind:?}");
            assert_eq!(
                script.steps.last().map(|step| &step.step),
                Some(&last),
                "{kind:?}"
            );
            let (at, _) = script.fault.unwrap();
            assert!(at < script.steps.len());
        }
    }
}

#[test]
fn a_cut_keeps_exactly_cut_after_tokens() {
    for kind in [FaultKind::Cut, FaultKind::StallMidStream] {
        let profile = always(kind);
        let long = script(&ask("One two three four.", true), Some(&profile), 1);
        assert_eq!(text(&long), "One two");
        // shorter than the limit: everything but the end
        let short = script(&ask("One", true), Some(&profile), 1);
        assert_eq!((text(&short).as_str(), chunks(&short).len()), ("One", 2));
        let wait = long.steps.last().unwrap().after;
        assert_eq!(wait == Duration::from_secs(3), kind == FaultKind::StallMidStream);
    }
}

#[test]
fn a_cut_body_is_half_its_announced_length() {
    let script = script(&ask("One two.", false), Some(&always(FaultKind::Cut)), 1);
    let Step::Head { framing, .. } = &script.steps[0].step else {
        panic!("{script:?}");
    };
    let sent = body(&script).len() as u64;
    assert!(matches!(framing, Framing::Length(promised) if *promised / 2 == sent && sent > 0));
}

#[test]
fn a_drip_sends_the_same_text_in_pieces_that_split_characters() {
    let ask = ask("Größe, Ähre, Öl, übermäßig: überall.", true);
    let calm = script(&ask, None, 1);
    let drip = script(&ask, Some(&always(FaultKind::Drip)), 1);
    assert_eq!((text(&drip), body(&drip).len()), (ask.text, body(&calm).len()));
    let pieces: Vec<_> = drip
        .steps
        .iter()
        .filter_map(|step| match &step.step {
            Step::Bytes(bytes) => Some(bytes),
            _ => None,
        })
        .collect();
    assert!(pieces.iter().all(|piece| (1..=7).contains(&piece.len())));
    assert!(pieces.iter().any(|piece| std::str::from_utf8(piece).is_err()));
}

#[test]
fn a_drip_takes_factor_times_longer() {
    let pace = LatencyProfile {
        first_token: Range {
            min_ms: 100,
            max_ms: 100,
        },
        between_tokens: Range {
            min_ms: 10,
            max_ms: 10,
        },
    };
    let profile = always(FaultKind::Drip);
    let took = |faults, stream| -> Duration {
        let conditions = Conditions {
            faults,
            pace,
            seed: 1,
            number: 1,
        };
        let script = Script::new(&ask("One two three four five six.", stream), &conditions);
        script.steps.iter().map(|step| step.after).sum()
    };
    // 100 ms to the first of seven tokens, then six waits of 10 ms; dripping, seven of nearly 80 ms
    assert_eq!(took(None, true), Duration::from_millis(160));
    let dripped = took(Some(&profile), true).as_millis();
    assert!((650..=660).contains(&dripped), "{dripped}");
    assert_eq!(took(None, false), Duration::from_millis(160));
    let dripped = took(Some(&profile), false).as_millis();
    assert!((1260..=1280).contains(&dripped), "{dripped}");
}

#[test]
fn retry_after_is_sent_unless_it_is_zero() {
    let hint = |seconds| {
        let mut profile = always(FaultKind::RateLimited);
        profile.retry_after = seconds;
        let script = script(&ask("x", true), Some(&profile), 1);
        let Step::Head { headers, .. } = script.steps[0].step.clone() else {
            panic!("{script:?}");
        };
        headers.into_iter().find(|(name, _)| *name == "Retry-After")
    };
    assert_eq!(hint(7), Some(("Retry-After", "7".into())));
    assert_eq!(hint(0), None);
}

#[test]
fn attempt_numbers_are_unique() {
    let mut numbers: Vec<u64> = (0..50)
        .flat_map(|call| (1..5).map(move |attempt| attempt_number(call, attempt)))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 200);
}

#[test]
fn splits_text_like_a_tokenizer() {
    assert_eq!(
        tokens("Circuit breakers, half-open.\n\nÖl  42"),
        [
            "Circuit", " breaker", "s", ",", " half", "-", "open", ".", "\n", "\n", "Öl", " ", " 42"
        ]
    );
}

#[test]
fn tokens_of_the_canned_answers_average_about_four_bytes() {
    let text: String = crate::simulator::reply::all()
        .iter()
        .map(|reply| reply.text)
        .collect();
    let mean = text.len() as f64 / tokens(&text).len() as f64;
    assert!((3.2..=5.2).contains(&mean), "{mean}");
}

proptest! {
    #[test]
    fn tokens_join_to_the_text(text in "\\PC{0,80}|[ a-zA-Z.,\n]{0,80}") {
        let tokens = tokens(&text);
        prop_assert!(tokens.iter().all(|token| !token.is_empty()));
        prop_assert_eq!(tokens.concat(), text);
    }

    #[test]
    fn every_script_ends_exactly_once(
        words in "[ a-zé.]{0,60}", limit in 1_u64..20, stream: bool, usage: bool, cut_after in 0_u32..10,
        kind in 0_usize..12, number: u64,
    ) {
        let mut profile = FaultProfile { cut_after, ..FaultProfile::default() };
        if let Some(kind) = FaultKind::ALL.get(kind) {
            profile.set_rate(*kind, 1.0);
        }
        let ask = ChatSpec { limit, stream, usage, ..ask(&words, stream) };
        let script = script(&ask, Some(&profile), number);
        let ends = script.steps.iter().filter(|step| matches!(step.step, Step::End | Step::Cut | Step::Reset));
        prop_assert_eq!(ends.count(), 1);
        let last_is_end = matches!(script.steps.last().map(|step| &step.step), Some(Step::End | Step::Cut | Step::Reset));
        prop_assert!(last_is_end);
    }
}
