//! Assembly of an answer from the bytes of a response, streamed or not, and the decision whether it is complete.
//!
//! The body decides how it is read, not its label: server-sent events if it begins like them, otherwise JSON. A
//! JSON body is one chunk, or a line each.
//!
//! A stream is complete if every opened choice has a finish reason that is not a failure (docs/semantics.md,
//! Streams). `[DONE]` proves nothing: servers send it after an error, and proxies after a cut. The end of the body
//! proves nothing either: HTTP calls a body without length complete wherever it ends.

mod choice;
#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::choice::ChoiceReader;
use super::answer::{Answer, AnswerChoice, Chunk};
use super::sse::{SseDecoder, SseItem};
use crate::dialect::Dialect;
use crate::event::Fate;
use crate::openai::{ApiError, ChatChunk, Choice, Parsed, Usage, join_halves, merge_fields, parse_json};
use crate::text::SafeText;

/// A reason why a body is no complete answer. Excerpts are the first 200 characters, raw.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadProblem {
    /// Not the expected JSON, with its beginning.
    #[error("malformed answer: {0:?}")]
    Malformed(String),
    /// Neither JSON nor server-sent events, with its beginning.
    #[error("neither JSON nor server-sent events: {0:?}")]
    NotAnApi(String),
    /// An error inside a success status.
    #[error("the server reports an error: {:?}", .0.message)]
    ErrorEvent(ApiError),
    /// Larger than this many bytes.
    #[error("answer larger than {0} bytes")]
    TooLarge(u64),
    /// The body ended before the answer did.
    #[error("truncated answer")]
    Truncated {
        /// True if the connection was reset.
        reset: bool,
    },
    /// The body ended without content and without a finish reason.
    #[error("empty answer")]
    Empty,
}

/// The end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// Complete, as far as HTTP can know.
    Clean,
    /// Closed too early.
    Cut,
    /// The connection was reset.
    Reset,
}

/// An incremental reader of an answer. Feed it with [`push`](Self::push), end it with [`end`](Self::end).
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts about the body"
)]
pub struct AnswerReader {
    dialect: Dialect,
    framing: Framing,
    /// True if the label says that the body is a stream of events.
    labelled_events: bool,
    /// The number of choices that the request asked for.
    expected: u64,
    items: Vec<SseItem>,
    max_bytes: u64,
    bytes: u64,
    choices: BTreeMap<u64, ChoiceReader>,
    /// The index of the choice that is delivered while it comes.
    lead: Option<u64>,
    usage: Option<Usage>,
    model: Option<String>,
    /// The fields that seawall does not know.
    fields: Map<String, Value>,
    chunks: u64,
    progress: u64,
    /// Reads of white space before a body that is not labelled as events.
    blank_reads: u64,
    /// The beginning of data that is no chunk.
    stray: Option<String>,
    done: bool,
    bad_text: bool,
    has_halves: bool,
}

#[derive(Debug)]
enum Framing {
    /// Too few bytes to decide.
    Undecided(Vec<u8>),
    Events(SseDecoder),
    Json(Vec<u8>),
}

impl AnswerReader {
    /// A reader of a body of at most `max_bytes`, for a request that asked for `expected` choices (`n`). Set
    /// `labelled_events` if the `Content-Type` is `text/event-stream`.
    pub fn new(labelled_events: bool, max_bytes: u64, expected: u64) -> Self {
        Self {
            dialect: Dialect::Chat,
            framing: Framing::Undecided(Vec::new()),
            labelled_events,
            expected,
            items: Vec::new(),
            max_bytes,
            bytes: 0,
            choices: BTreeMap::new(),
            lead: None,
            usage: None,
            model: None,
            fields: Map::new(),
            chunks: 0,
            progress: 0,
            blank_reads: 0,
            stray: None,
            done: false,
            bad_text: false,
            has_halves: false,
        }
    }

    /// Sets the wire format of the body. Default: chat completions.
    #[must_use]
    pub fn with_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Reads bytes of a body and appends new chunks to `fresh`. Ignores what follows `[DONE]`.
    ///
    /// Chunks before a problem are in `fresh` too: it is chance if text and error come in one read or in two, and
    /// must not decide if the text is delivered.
    ///
    /// # Errors
    /// If the body is no answer. The reader cannot be used after that.
    pub fn push(&mut self, bytes: &[u8], fresh: &mut Vec<Chunk>) -> Result<(), ReadProblem> {
        if self.done {
            return Ok(());
        }
        let room = usize::try_from(self.max_bytes.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let mut within = Cow::Borrowed(bytes.get(..room).unwrap_or(bytes));
        self.bytes += bytes.len() as u64;
        if !self.dialect.is_known() {
            self.progress += 1;
            let is_within = self.bytes <= self.max_bytes;
            return is_within
                .then_some(())
                .ok_or(ReadProblem::TooLarge(self.max_bytes));
        }
        if let Framing::Undecided(start) = &mut self.framing {
            start.extend_from_slice(&within);
            let blank = start.len() - trim_blank(start).len();
            start.drain(..blank);
            match decide(start, self.labelled_events) {
                // blank lines keep a connection alive while a whole answer is written (DeepSeek)
                Start::Blank => {
                    self.blank_reads += u64::from(!self.labelled_events);
                }
                Start::Unknown => {}
                Start::Foreign => return Err(foreign(start)),
                Start::Events => {
                    within = Cow::Owned(std::mem::take(start));
                    self.framing = Framing::Events(SseDecoder::default());
                }
                Start::Json => {
                    within = Cow::Owned(std::mem::take(start));
                    self.framing = Framing::Json(Vec::new());
                }
            }
        }
        let read = match &mut self.framing {
            Framing::Undecided(_) => Ok(()),
            Framing::Json(body) => {
                body.extend_from_slice(&within);
                self.progress += 1;
                Ok(())
            }
            Framing::Events(decoder) => {
                let mut items = std::mem::take(&mut self.items);
                let pushed = decoder.push(&within, &mut items);
                let read = self.items(&mut items, fresh);
                self.items = items;
                read.and(pushed.map_err(|error| ReadProblem::TooLarge(error.limit as u64)))
            }
        };
        read?;
        if self.bytes > self.max_bytes && !self.done {
            return Err(ReadProblem::TooLarge(self.max_bytes));
        }
        Ok(())
    }

    /// The wire format of the body.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns true if the body is a stream of events.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.framing, Framing::Events(_))
    }

    /// Returns true once `[DONE]` came: nothing more needs to be read.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// A count that grows with every event that says anything: the measure of progress.
    pub fn progress(&self) -> u64 {
        self.progress + self.blank_reads
    }

    /// Number of chunks with content so far, the estimate of the answer's LLM tokens.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Returns true if every choice that the request asked for has its finish reason.
    pub fn is_complete(&self) -> bool {
        self.choices.len() as u64 >= self.expected && self.has_ended()
    }

    /// Returns true if nothing that was begun is missing: every opened choice has its finish reason, or the whole
    /// JSON body is there. A finish reason that comes with all content counts only with `[DONE]`.
    pub fn has_ended(&self) -> bool {
        match &self.framing {
            Framing::Json(body) if self.choices.is_empty() => {
                let parsed = parse_json(&String::from_utf8_lossy(body));
                !(parsed.cut || parsed.values.is_empty())
            }
            _ => !self.choices.is_empty() && self.choices.values().all(|choice| choice.has_ended(self.done)),
        }
    }

    /// Ends the body and appends the last chunks to `fresh`.
    ///
    /// # Errors
    /// If the answer is not complete. A break after the answer was complete is no error.
    pub fn end(&mut self, body_end: BodyEnd, fresh: &mut Vec<Chunk>) -> Result<(), ReadProblem> {
        let clean = body_end == BodyEnd::Clean;
        let truncated = ReadProblem::Truncated {
            reset: body_end == BodyEnd::Reset,
        };
        if !self.dialect.is_known() {
            return if clean { Ok(()) } else { Err(truncated) };
        }
        let mut whole = false;
        match &mut self.framing {
            Framing::Undecided(start) => {
                return Err(match start.as_slice() {
                    _ if !clean => truncated,
                    [] => ReadProblem::Empty,
                    start => foreign(start),
                });
            }
            Framing::Json(body) => {
                let body = std::mem::take(body);
                whole = self.read_body(&body, !clean, &truncated, fresh)?;
            }
            Framing::Events(decoder) => {
                self.bad_text |= decoder.saw_bad_text();
                // what a broken transport left unfinished is not an event
                if clean && !self.done {
                    let mut items = Vec::new();
                    let ended = decoder.end(&mut items);
                    self.bad_text |= decoder.saw_bad_text();
                    match self.items(&mut items, fresh) {
                        // half an event
                        Err(ReadProblem::Malformed(_)) => {}
                        read => read?,
                    }
                    ended.map_err(|error| ReadProblem::TooLarge(error.limit as u64))?;
                }
            }
        }
        for (index, reader) in &mut self.choices {
            let mut last = Vec::new();
            reader.end(&mut last);
            self.chunks += last.len() as u64;
            if self.lead == Some(*index) {
                fresh.append(&mut last);
            }
        }
        let has_finish = self.choices.values().any(|choice| choice.has_ended(true));
        if whole && (self.chunks > 0 || has_finish) {
            return Ok(());
        }
        if self.has_ended() && (clean || self.done || self.is_complete()) {
            return Ok(());
        }
        let empty = self.chunks == 0 && !has_finish;
        Err(match self.stray.take() {
            _ if !(clean && empty) => truncated,
            Some(stray) => ReadProblem::Malformed(stray),
            None if whole || self.done || self.progress == 0 => ReadProblem::Empty,
            None => truncated,
        })
    }

    /// The answer. Call it after [`end`](Self::end) has succeeded. `prompt_estimate`: LLM tokens of the prompt, used
    /// if the server reports no plausible usage.
    pub fn answer(mut self, prompt_estimate: u64) -> Answer {
        let mut bad_text = self.bad_text;
        let (mut choices, mut fields) = (Vec::new(), Vec::new());
        for (index, reader) in self.choices {
            let (choice, rest, replaced) = reader.finish(index);
            bad_text |= replaced;
            choices.push(choice);
            fields.push(rest);
        }
        // it differs between a stream and a whole answer
        self.fields.remove("object");
        let choice_fields = Value::Array(fields);
        let mut fields = Value::Object(self.fields);
        if self.has_halves {
            join_halves(&mut fields);
        }
        fields["choices"] = choice_fields;
        let lead = choices.iter().position(|choice| Some(choice.index) == self.lead);
        let first = lead.map_or_else(AnswerChoice::default, |position| choices.remove(position));
        let shown = if first.text.is_empty() {
            &first.refusal
        } else {
            &first.text
        };
        Answer {
            shown: SafeText::new(shown),
            text: first.text,
            reasoning: first.reasoning,
            refusal: first.refusal,
            tool_calls: first.tool_calls,
            finish: first.finish,
            others: choices,
            usage: self
                .usage
                .unwrap_or_else(|| Usage::new(prompt_estimate, self.chunks)),
            estimated: self.usage.is_none(),
            model: self.model,
            bad_text,
            fate: Fate::Answered,
            headers: None,
            wire: None,
            fields,
        }
    }

    /// Reads a JSON body; returns true if it is one whole answer, and false if it is a stream in lines.
    fn read_body(
        &mut self,
        body: &[u8],
        broken: bool,
        truncated: &ReadProblem,
        fresh: &mut Vec<Chunk>,
    ) -> Result<bool, ReadProblem> {
        let text = String::from_utf8_lossy(body);
        self.bad_text |= matches!(text, Cow::Owned(_));
        let parsed = parse_json(&text);
        if parsed.cut && broken {
            return Err(truncated.clone());
        }
        let (cut, has_halves) = (parsed.cut, parsed.has_halves);
        let chunks = self.translated("", parsed);
        let whole = chunks.len() == 1;
        for chunk in chunks {
            self.chunk(chunk, has_halves, fresh)?;
        }
        if cut || self.choices.is_empty() {
            return Err(ReadProblem::Malformed(excerpt(&text)));
        }
        if whole {
            // one chunk of text is many tokens
            let bytes: usize = self.choices.values().map(ChoiceReader::text_bytes).sum();
            self.chunks = self.chunks.max((bytes as u64).div_ceil(4));
        }
        Ok(whole)
    }

    fn items(&mut self, items: &mut Vec<SseItem>, fresh: &mut Vec<Chunk>) -> Result<(), ReadProblem> {
        for item in items.drain(..) {
            let (name, data) = match item {
                SseItem::Comment => continue,
                SseItem::Event { name, data } => (name, data),
                SseItem::Unframed(text) => (String::new(), text),
            };
            // a gateway that adds the prefix to lines that have it
            let data = data.trim_start().trim_start_matches("data:").trim();
            if data.trim_matches('"').eq_ignore_ascii_case("[done]") {
                self.done = true;
                break;
            }
            self.event(&name, data, fresh)?;
        }
        items.clear();
        Ok(())
    }

    fn event(&mut self, name: &str, data: &str, fresh: &mut Vec<Chunk>) -> Result<(), ReadProblem> {
        if reports_error(name) {
            let error = ApiError::parse(data.as_bytes());
            return Err(ReadProblem::ErrorEvent(error.unwrap_or_else(|| ApiError {
                message: excerpt(data),
                ..ApiError::default()
            })));
        }
        let parsed = parse_json(data);
        let (cut, has_halves) = (parsed.cut, parsed.has_halves);
        let chunks = self.translated(name, parsed);
        if chunks.is_empty() && !cut && data != "null" && self.dialect == Dialect::Chat {
            self.stray.get_or_insert_with(|| excerpt(data));
        }
        for chunk in chunks {
            self.chunk(chunk, has_halves, fresh)?;
        }
        // text is missing, which an answer must not hide
        if cut {
            return Err(ReadProblem::Malformed(excerpt(data)));
        }
        Ok(())
    }

    /// The chunks of an event or a body, translated if they are of another dialect.
    fn translated(&mut self, name: &str, mut parsed: Parsed) -> Vec<ChatChunk> {
        if self.dialect != Dialect::Chat {
            let format = self.dialect.format();
            for value in &mut parsed.values {
                let reading = format.read(name, value.take());
                self.done |= reading.done;
                *value = reading.chunk;
            }
        }
        ChatChunk::all(parsed)
    }

    fn chunk(
        &mut self,
        mut chunk: ChatChunk,
        has_halves: bool,
        fresh: &mut Vec<Chunk>,
    ) -> Result<(), ReadProblem> {
        self.progress += u64::from(chunk.is_progress());
        self.usage = chunk.usage.filter(is_plausible).or(self.usage);
        if self.model.is_none() {
            self.model = chunk.model.take().filter(|model| !model.is_empty());
        }
        let mut failed = None;
        let single = self.expected <= 1;
        let first = chunk.choices.iter().map(|choice| choice.index).min();
        for choice in chunk.choices {
            let lead = *self.lead.get_or_insert(first.filter(|_| single).unwrap_or(0));
            let index = if single && self.belongs_to_lead(&choice) {
                lead
            } else {
                choice.index
            };
            let mut new = Vec::new();
            let reader = self.choices.entry(index).or_default();
            failed = reader.read(choice, has_halves, &mut new).or(failed);
            self.chunks += new.len() as u64;
            if index == lead {
                fresh.append(&mut new);
            }
        }
        if let Some(error) = chunk.error.or(failed) {
            return Err(ReadProblem::ErrorEvent(error));
        }
        self.has_halves |= has_halves;
        merge_fields(&mut self.fields, chunk.rest);
        Ok(())
    }

    /// Returns true if a new choice is a part of the only answer: its tool calls (Copilot), or its finish reason
    /// under another index.
    fn belongs_to_lead(&self, choice: &Choice) -> bool {
        let delta = &choice.delta;
        let is_part = if delta.is_empty() {
            let lead = self.lead.and_then(|lead| self.choices.get(&lead));
            choice.finish_reason.is_some() && lead.is_some_and(|lead| !lead.has_ended(true))
        } else {
            delta.text.is_empty() && !delta.tool_calls.is_empty()
        };
        is_part && !self.choices.contains_key(&choice.index)
    }
}

/// Returns true if the name of an event reports an error: `error`, `response.failed`, `internalServerException`.
fn reports_error(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["error", "exception", "failed", "failure"]
        .iter()
        .any(|word| name.contains(word))
}

/// A usage of this many tokens or more is taken for a server's mistake, and one of 0 for a placeholder.
const IMPLAUSIBLE_TOKENS: u64 = 100_000_000;

fn is_plausible(usage: &Usage) -> bool {
    (1..IMPLAUSIBLE_TOKENS).contains(&usage.total())
}

/// The kind of a body, as its beginning shows it.
enum Start {
    /// Only white space.
    Blank,
    /// More bytes are needed.
    Unknown,
    Events,
    Json,
    /// Neither, such as an HTML page.
    Foreign,
}

/// The fields of server-sent events, and a comment.
const EVENT_FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes after white space and byte order marks.
fn trim_blank(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes.trim_ascii_start();
    while let Some(after) = rest.strip_prefix(BYTE_ORDER_MARK) {
        rest = after.trim_ascii_start();
    }
    rest
}

fn decide(start: &[u8], labelled_events: bool) -> Start {
    let begins = |field: &[u8]| start.starts_with(field);
    match start.first() {
        None => Start::Blank,
        Some(_) if BYTE_ORDER_MARK.starts_with(start) => Start::Unknown,
        Some(b'<') => Start::Foreign,
        // a stream may begin with an error in bare JSON
        Some(b'{' | b'[' | b'"') if !labelled_events => Start::Json,
        Some(_) if labelled_events || EVENT_FIELDS.into_iter().any(begins) => Start::Events,
        Some(_) if EVENT_FIELDS.iter().any(|field| field.starts_with(start)) => Start::Unknown,
        Some(_) => Start::Foreign,
    }
}

/// The problem of a body that is neither JSON nor events.
fn foreign(start: &[u8]) -> ReadProblem {
    ReadProblem::NotAnApi(excerpt(&String::from_utf8_lossy(start)))
}

/// The first 200 characters after white space.
fn excerpt(text: &str) -> String {
    text.trim_start().chars().take(200).collect()
}
