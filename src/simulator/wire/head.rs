//! The parser of request headers: bytes in, a [`Head`] or a [`Rejection`] out. Pure.

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::{Limits, Rejection};

/// The largest number of header fields; real clients send a dozen.
const MAX_FIELDS: usize = 64;

/// A parsed header block.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    /// HTTP/1.0 has no chunks and is never kept alive here.
    pub(super) http10: bool,
    pub(super) length: BodyLength,
}

/// The length of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// A number of bytes; 0 without a length field.
    Bytes(usize),
    /// Chunked.
    Chunked,
}

impl Head {
    /// Parses the header block at the start of `buffer` and returns its length too. `Ok(None)`: more bytes are
    /// needed.
    pub(super) fn parse(buffer: &[u8], limits: &Limits) -> Result<Option<(Self, usize)>, Rejection> {
        const TOO_LARGE: Rejection = Rejection::new(431, "the header block is too large");
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        let length = match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() < limits.head_bytes => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(TOO_LARGE),
            Err(httparse::Error::Version) => return Err(Rejection::new(505, "not HTTP/1.0 or HTTP/1.1")),
            Err(_) => return Err(Rejection::bad("malformed request header")),
        };
        if length > limits.head_bytes {
            return Err(TOO_LARGE);
        }
        let method = parsed.method.and_then(|method| method.parse().ok());
        let uri = parsed.path.and_then(|path| path.parse::<Uri>().ok());
        let (Some(method), Some(uri)) = (method, uri) else {
            return Err(Rejection::bad("malformed request line"));
        };
        let mut headers = HeaderMap::with_capacity(parsed.headers.len());
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_bytes(field.value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(Rejection::bad("malformed header field"));
            };
            headers.append(name, value);
        }
        let http10 = parsed.version == Some(0);
        let head = Self {
            method,
            target: uri
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned(),
            length: body_length(&headers, http10, limits)?,
            headers,
            http10,
        };
        Ok(Some((head, length)))
    }

    /// Returns true if the client waits for `100 Continue` before it sends its body.
    pub(super) fn expects_continue(&self) -> bool {
        !self.http10 && has_token(&self.headers, &header::EXPECT, "100-continue")
    }

    /// Returns true if the connection ends after this request.
    pub(super) fn wants_close(&self) -> bool {
        self.http10 || has_token(&self.headers, &header::CONNECTION, "close")
    }
}

/// The body length by RFC 9112 section 6.3, at its strictest: ambiguous framing is rejected.
fn body_length(headers: &HeaderMap, http10: bool, limits: &Limits) -> Result<BodyLength, Rejection> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (Some(_), Some(_)) => Err(Rejection::bad(
            "Content-Length and Transfer-Encoding contradict each other",
        )),
        (Some(coding), None) => {
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            if chunked && codings.next().is_none() && !http10 {
                Ok(BodyLength::Chunked)
            } else {
                Err(Rejection::bad("the only supported Transfer-Encoding is chunked"))
            }
        }
        (None, Some(length)) => {
            let digits = length.to_str().unwrap_or_default();
            if lengths.next().is_some() || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Rejection::bad("malformed Content-Length"));
            }
            match digits.parse() {
                Ok(bytes) if bytes <= limits.body_bytes => Ok(BodyLength::Bytes(bytes)),
                _ => Err(Rejection::new(413, "the request body is too large")),
            }
        }
        (None, None) => Ok(BodyLength::Bytes(0)),
    }
}

/// Returns true if a comma-separated field contains `token`.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(Head, usize)>, Rejection> {
        Head::parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn every_prefix_of_a_head_needs_more_bytes() {
        let text = "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        for end in 0..text.len() {
            assert!(parse(&text[..end]).unwrap().is_none(), "{end}");
        }
        let (head, length) = parse(&format!("{text}abc")).unwrap().unwrap();
        assert_eq!(length, text.len());
        assert_eq!(
            (head.method, head.target.as_str(), head.length, head.http10),
            (
                Method::POST,
                "/v1/chat/completions?x=1",
                BodyLength::Bytes(3),
                false
            )
        );
    }

    #[test]
    fn rejects_ambiguous_framing() {
        let cases = [
            ("Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
            ("Content-Length: 3\r\nContent-Length: 4", 400),
            ("Content-Length: +3", 400),
            ("Content-Length:", 400),
            ("Content-Length: 3, 3", 400),
            ("Transfer-Encoding: gzip, chunked", 400),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
            ("Content-Length: 8388609", 413),
            ("Content-Length: 99999999999999999999999", 413),
        ];
        for (fields, status) in cases {
            let rejection = parse(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n")).unwrap_err();
            assert_eq!(rejection.status, status, "{fields}: {rejection}");
        }
    }

    #[test]
    fn size_and_number_of_fields_are_limited() {
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(33 * 1024));
        assert_eq!(parse(&long).unwrap_err().status, 431);
        assert_eq!(parse(&format!("{long}\r\n\r\n")).unwrap_err().status, 431);
        let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(count));
        assert!(parse(&fields(64)).unwrap().is_some());
        assert_eq!(parse(&fields(65)).unwrap_err().status, 431);
    }

    #[test]
    fn rejects_malformed_requests() {
        for text in [
            "\0\0\0\0\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET\r\n\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
        ] {
            assert_eq!(parse(text).unwrap_err().status, 400, "{text}");
        }
        assert_eq!(parse("GET / HTTP/2.0\r\n\r\n").unwrap_err().status, 505);
    }

    #[test]
    fn keep_alive_follows_the_version_and_the_field() {
        let close = |text: &str| parse(text).unwrap().unwrap().0.wants_close();
        assert!(!close("GET / HTTP/1.1\r\n\r\n"));
        assert!(close("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert!(close("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            drop(Head::parse(&bytes, &Limits::default()));
        }
    }
}
