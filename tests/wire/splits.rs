//! Every captured stream through the decoder alone, split at every byte: fast enough to test every byte, where the tests
//! over sockets sample.

use seawall::client::{SseDecoder, SseItem};

use crate::server::{capture, captured_names};

/// A decoder and its items so far.
type Decoded = (SseDecoder, Vec<SseItem>);

fn push(mut decoder: SseDecoder, parts: &[&[u8]]) -> Decoded {
    let mut items = Vec::new();
    for part in parts {
        decoder.push(part, &mut items).unwrap();
    }
    (decoder, items)
}

/// The bodies of all captured streams, without chunk sizes.
fn streams() -> Vec<(String, Vec<u8>)> {
    let bodies = captured_names().into_iter().map(|name| {
        let response = capture(&name);
        (name, body(&response))
    });
    bodies
        .filter(|(_, body)| body.starts_with(b"data:") || body.starts_with(b":"))
        .collect()
}

fn body(response: &[u8]) -> Vec<u8> {
    let Some(at) = response.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Vec::new();
    };
    let (head, mut rest) = response.split_at(at + 4);
    if !String::from_utf8_lossy(head)
        .to_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return rest.to_vec();
    }
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        // a truncated stream may end inside a chunk
        let chunk = rest.get(end + 2..).unwrap_or_default();
        body.extend(chunk.iter().take(size));
        rest = chunk.get(size + 2..).unwrap_or_default();
    }
    body
}

/// The positions where events end.
fn boundaries(body: &[u8]) -> Vec<usize> {
    let blank = |at: &usize| {
        let before = &body[..*at];
        before.ends_with(b"\n\n") || before.ends_with(b"\r\n\r\n")
    };
    let mut all = vec![0];
    all.extend((1..body.len()).filter(blank));
    all.push(body.len());
    all
}

/// A split shows in the state of the decoder or in its items, or has no effect. So each split is tried within its event
/// and the next one, and the whole state compared: what follows cannot differ.
#[test]
fn every_cut_of_every_captured_stream_changes_nothing() {
    let streams = streams();
    assert!(streams.len() >= 30, "{}", streams.len());
    for (name, body) in &streams {
        let ends = boundaries(body);
        let mut before = SseDecoder::default();
        let mut events = Vec::new();
        for (place, pair) in ends.windows(2).enumerate() {
            let [from, end] = pair else { unreachable!() };
            let next = ends[(place + 2).min(ends.len() - 1)];
            let whole = push(before.clone(), &[&body[*from..next]]);
            for cut in from + 1..=*end {
                let parts = [&body[*from..cut], &body[cut..next]];
                assert_eq!(push(before.clone(), &parts), whole, "{name} cut at {cut}");
            }
            let (after, items) = push(before, &[&body[*from..*end]]);
            before = after;
            events.extend(items);
        }
        assert_eq!((before, events), push(SseDecoder::default(), &[body]), "{name}");
    }
}

/// The same without that argument: byte by byte, in two halves at sampled positions, and in many pieces.
#[test]
fn captured_streams_in_bytes_and_in_random_pieces() {
    for (name, body) in streams() {
        let whole = push(SseDecoder::default(), &[&body]);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(push(SseDecoder::default(), &bytes), whole, "{name} byte by byte");
        let mut state = body.len() as u64;
        for round in 0..24 {
            let mut cuts: Vec<usize> = (0..=round * 3)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as usize % body.len()
                })
                .collect();
            cuts.sort_unstable();
            let mut from = 0;
            let parts: Vec<&[u8]> = cuts
                .iter()
                .chain([&body.len()])
                .map(|to| &body[std::mem::replace(&mut from, *to)..*to])
                .collect();
            assert_eq!(
                push(SseDecoder::default(), &parts),
                whole,
                "{name} cut at {cuts:?}"
            );
        }
    }
}
