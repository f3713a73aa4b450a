//! The decoder of chunked request bodies. Pure: the caller feeds bytes.

use bytes::{Buf, BytesMut};

use super::{Limits, Rejection};

/// The size line of a chunk may have extensions. Clients do not send them, so the limit is small.
const MAX_SIZE_LINE: usize = 256;

/// The decoder of one chunked body.
#[derive(Debug)]
pub(super) struct Dechunk {
    state: State,
    body: BytesMut,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size,
    Data(usize),
    DataEnd,
    Trailer,
}

impl Dechunk {
    pub(super) fn new() -> Self {
        Self {
            state: State::Size,
            body: BytesMut::new(),
            trailer_bytes: 0,
        }
    }

    /// Consumes the front of `input`. `Ok(true)`: the body is complete, and the rest of `input` belongs to the
    /// next request.
    pub(super) fn feed(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<bool, Rejection> {
        loop {
            match self.state {
                State::Size => match httparse::parse_chunk_size(input) {
                    Ok(httparse::Status::Complete((at, size))) => {
                        input.advance(at);
                        let room = limits.body_bytes - self.body.len();
                        self.state = match usize::try_from(size) {
                            Ok(0) => State::Trailer,
                            Ok(size) if size <= room => State::Data(size),
                            _ => return Err(Rejection::new(413, "the request body is too large")),
                        };
                    }
                    Ok(httparse::Status::Partial) if input.len() < MAX_SIZE_LINE => return Ok(false),
                    Ok(httparse::Status::Partial) | Err(_) => return Err(Rejection::bad("malformed chunk")),
                },
                State::Data(left) => {
                    let taken = input.split_to(left.min(input.len()));
                    self.body.extend_from_slice(&taken);
                    match left - taken.len() {
                        0 => self.state = State::DataEnd,
                        left => {
                            self.state = State::Data(left);
                            return Ok(false);
                        }
                    }
                }
                State::DataEnd => match input.as_ref() {
                    [b'\r', b'\n', ..] => {
                        input.advance(2);
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(false),
                    _ => return Err(Rejection::bad("malformed chunk")),
                },
                State::Trailer => {
                    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
                        let seen = self.trailer_bytes + input.len();
                        return if seen > limits.head_bytes {
                            Err(Rejection::new(431, "the trailers are too large"))
                        } else {
                            Ok(false)
                        };
                    };
                    // trailers are ignored
                    let line = input.split_to(end + 1);
                    self.trailer_bytes += line.len();
                    if matches!(line.as_ref(), b"\r\n" | b"\n") {
                        return Ok(true);
                    }
                    if self.trailer_bytes > limits.head_bytes {
                        return Err(Rejection::new(431, "the trailers are too large"));
                    }
                }
            }
        }
    }

    /// The decoded body.
    pub(super) fn into_body(self) -> bytes::Bytes {
        self.body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and the remaining input.
    type Decoded = (Vec<u8>, Vec<u8>);

    fn decode(text: &[u8], step: usize) -> Result<Option<Decoded>, Rejection> {
        let limits = Limits {
            body_bytes: 32,
            head_bytes: 64,
            ..Limits::default()
        };
        let mut decoder = Dechunk::new();
        let mut input = BytesMut::new();
        let mut pieces = text.chunks(step);
        while let Some(piece) = pieces.next() {
            input.extend_from_slice(piece);
            if decoder.feed(&mut input, &limits)? {
                pieces.for_each(|rest| input.extend_from_slice(rest));
                return Ok(Some((decoder.into_body().to_vec(), input.to_vec())));
            }
        }
        Ok(None)
    }

    #[test]
    fn decodes_chunks_however_the_reads_split_them() {
        let text = b"4\r\nsea,\r\n5;ext=1\r\n wall\r\n0\r\nX-T: 1\r\n\r\nGET";
        for step in 1..=text.len() {
            let (body, rest) = decode(text, step).unwrap().unwrap();
            assert_eq!(
                (body.as_slice(), rest.as_slice()),
                (&b"sea, wall"[..], &b"GET"[..])
            );
        }
    }

    #[test]
    fn rejects_oversized_and_malformed_chunks() {
        let trailers = format!("0\r\n{}", "X: y\r\n".repeat(20));
        let cases: [(&[u8], u16); 6] = [
            (b"21\r\n", 413),
            (b"1f\r\n0123456789012345678901234567890\r\n2\r\n", 413),
            (b"x\r\n", 400),
            (b"1\r\nab\r\n", 400),
            (b"ffffffffffffffff1\r\n", 400),
            (trailers.as_bytes(), 431),
        ];
        for (text, status) in cases {
            assert_eq!(decode(text, 3).unwrap_err().status, status, "{text:?}");
        }
        assert_eq!(decode(b"4\r\nse", 1), Ok(None));
    }
}
