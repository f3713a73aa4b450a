//! Error objects in every shape that servers and gateways use.
//!
//! | shape | servers |
//! |---|---|
//! | `{"error":{..}}`, `{"error":".."}`, `[{"error":{..}}]` | OpenAI, llama.cpp, Anthropic; Ollama, TGI; Google |
//! | `{"object":"error",..}`, `{"type":"error",..}` | vLLM, Mistral; OpenAI's Responses API |
//! | `{"detail":..}`, `{"title":..,"status":..}` | FastAPI; RFC 9457 |
//! | `{"code":..,"message":..}`, `msg` | DashScope, Zhipu, SiliconFlow, Spark |
//! | `{"error_type":..,"error_message":..}` | DeepInfra |
//! | `{"error_code":..,"error_msg":..}` | Baidu |
//! | `{"base_resp":{"status_code":..,"status_msg":..}}` | MiniMax |
//! | `{"errors":[..]}`, `{"fault":{"faultstring":..}}` | Cloudflare, GitHub; Apigee |
//! | `{"message":".."}` | AWS, Kong |
//!
//! Members that servers send with every good answer are no error: `error: null`, `code: 0`,
//! `base_resp.status_code: 0`.

use serde_json::{Map, Value};

use super::json;

/// Members that hold the message, the more precise first.
const MESSAGES: &[&str] = &[
    "message",
    "Message",
    "msg",
    "error_message",
    "errorMessage",
    "error_msg",
    "errorMsg",
    "errmsg",
    "err_msg",
    "status_msg",
    "error_description",
    "faultstring",
    "detail",
    "title",
    "error",
    "err",
    "exception",
];

/// Members that hold the code.
const CODES: &[&str] = &[
    "code",
    "Code",
    "error_code",
    "errorCode",
    "errorcode",
    "errcode",
    "errno",
    "status_code",
    "statusCode",
];

/// Members that hold the type.
const KINDS: &[&str] = &["type", "error_type", "errorType", "__type", "status"];

/// Members that may hold a whole error object.
const INNER: &[&str] = &[
    "error",
    "Error",
    "errors",
    "err",
    "exception",
    "fault",
    "detail",
    "base_resp",
    "message",
    "msg",
];

/// Most levels of JSON text inside JSON text that are read.
const MAX_QUOTES: u8 = 3;

/// An error object as a server sent it, in any of the shapes in use.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ApiError {
    /// The message for humans, with the message of the server behind a gateway if the gateway quotes it.
    pub message: String,
    /// The most reliable field to match on: `rate_limit_error`, `exceed_context_size_error`, ...
    pub kind: String,
    /// A name or a number, or empty.
    pub code: String,
    /// The parameter that caused the error, or empty.
    pub param: String,
    /// The HTTP status that the object itself names.
    pub(crate) named_status: Option<u16>,
    /// The JSON that was read, also where text quotes it, for what only some servers send: counts, waits.
    pub(crate) json: Box<Value>,
}

/// The HTTP status that a number means, for the codes of one provider.
type Codes = &'static [(u16, &'static [u32])];

/// `base_resp.status_code` of MiniMax (platform.minimax.io, Error Codes). 1039 is its limit of tokens per minute.
const MINIMAX: Codes = &[
    (429, &[1002, 1039, 1041, 2056]),
    (401, &[1004, 2049]),
    (402, &[1008]),
    (504, &[1001]),
    (400, &[1026, 1027, 1042, 1043, 1044, 2013, 2037, 2039, 2042, 2048]),
];

/// `error_code` of Baidu's gateway (cloud.baidu.com, Qianfan error codes).
const BAIDU: Codes = &[
    (429, &[4, 18]),
    (402, &[17, 19]),
    (401, &[13, 14, 15, 110, 111]),
    (403, &[6]),
    (503, &[2]),
    (400, &[100]),
];

/// `code` of Zhipu (docs.z.ai, four digits), Spark (xfyun.cn, five) and Qianfan (six).
const OTHERS: Codes = &[
    (
        429,
        &[
            1302, 1303, 1305, 1312, 1313, 11202, 11203, 336_501, 336_502, 336_503,
        ],
    ),
    (401, &[1000, 1001, 1002, 1003, 1004, 11200]),
    (402, &[1113, 1304, 1308, 1309, 1310, 11201]),
    (403, &[1110, 1111, 1112, 1121, 1220, 1311]),
    (404, &[1211, 1221, 1222]),
    (413, &[1261, 10907, 336_007, 336_103]),
    (
        400,
        &[
            1210, 1212, 1213, 1214, 1215, 1300, 1301, 10013, 10014, 10019, 336_001, 336_002, 336_003,
        ],
    ),
    (503, &[10110, 336_100]),
];

/// The HTTP status that a name means: the first row with a part of the name, in lower case and without
/// punctuation. Sources: google.rpc.Code, the exceptions of AWS and of the SDKs, DashScope, Volcengine, Apigee.
const NAMES: &[(u16, &[&str])] = &[
    (
        429,
        &[
            "ratelimit",
            "throttl",
            "toomanyrequests",
            "resourceexhausted",
            "quotaviolation",
            "spikearrest",
            "slowdown",
        ],
    ),
    (
        402,
        &[
            "insufficient",
            "arrearage",
            "overdue",
            "billing",
            "paymentrequired",
        ],
    ),
    (
        401,
        &["unauthenticated", "unauthorized", "authentication", "apikey"],
    ),
    (403, &["permission", "forbidden", "accessdenied"]),
    (404, &["notfound"]),
    (413, &["toolarge"]),
    (
        400,
        &[
            "badrequest",
            "invalidrequest",
            "invalidarg",
            "invalidparam",
            "validation",
            "failedprecondition",
            "outofrange",
            "context",
            "contentfilter",
            "inspection",
        ],
    ),
    (422, &["unprocessable"]),
    (409, &["conflict", "aborted", "alreadyexists"]),
    (504, &["timeout", "timedout", "deadlineexceeded"]),
    (
        501,
        &["notimplemented", "unimplemented", "notsupported", "unsupported"],
    ),
    (502, &["badgateway"]),
    (503, &["unavailable", "overload", "notready", "capacity"]),
];

impl ApiError {
    /// Parses the body of a response with an error status, also one in server-sent events; `None` for an unknown
    /// format, such as plain text.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok().or_else(|| framed(body))?;
        Self::in_answer(&value).or_else(|| {
            let first = match &value {
                Value::Array(items) => items.first()?,
                value => value,
            };
            let error = Self::read(first);
            (!error.message.is_empty() && !has_choices(first.as_object()?)).then_some(error)
        })
    }

    /// Returns the error that a body or a stream chunk under a success status reports, if it does.
    ///
    /// A member `error` with content counts always, also inside a choice. The other shapes count only without
    /// choices, because some servers add `code` and `message` to every answer.
    pub fn in_answer(value: &Value) -> Option<Self> {
        let reporting = match value {
            Value::Array(items) => return items.iter().find_map(Self::in_answer),
            Value::Object(fields) if reports_error(fields) => value,
            value => value
                .get("choices")?
                .as_array()?
                .iter()
                .find(|choice| !is_nothing(&choice["error"]))?,
        };
        let mut error = Self::read(reporting);
        if error.message.is_empty() && error.kind.is_empty() && error.code.is_empty() {
            error.message = error.json.to_string();
        }
        Some(error)
    }

    /// Returns the HTTP status that the error corresponds to: the one that it names, or the one that its code or
    /// type means. `None` if they mean nothing in particular.
    pub fn status(&self) -> Option<u16> {
        let coded = |codes: Codes| {
            let code: u32 = self.code.parse().ok()?;
            let row = codes.iter().find(|(_, codes)| codes.contains(&code))?;
            Some(row.0)
        };
        if self.json["base_resp"].is_object() {
            return coded(MINIMAX);
        }
        let baidu = !self.json["error_code"].is_null();
        self.named_status
            .or_else(|| coded(BAIDU).filter(|_| baidu))
            .or_else(|| coded(OTHERS))
            .or_else(|| named(&self.code))
            .or_else(|| named(&self.kind))
    }

    fn read(value: &Value) -> Self {
        let mut error = Self::default();
        error.absorb(value, MAX_QUOTES);
        error.json = Box::new(value.clone());
        unquote(&mut error.json, MAX_QUOTES);
        error
    }

    /// Takes what is still missing from a value that describes an error.
    fn absorb(&mut self, value: &Value, quotes: u8) {
        match value {
            Value::String(text) => self.say(text, quotes),
            Value::Array(items) => {
                if let Some(first) = items.first() {
                    self.absorb(first, quotes);
                }
            }
            Value::Object(fields) => self.absorb_object(fields, quotes),
            _ => {}
        }
    }

    fn absorb_object(&mut self, fields: &Map<String, Value>, quotes: u8) {
        // an object inside says more than the one around it
        for inner in INNER.iter().filter_map(|key| fields.get(*key)) {
            if inner.is_object() || inner.is_array() {
                self.absorb(inner, quotes);
            }
        }
        for text in MESSAGES.iter().filter_map(|key| fields.get(*key)?.as_str()) {
            self.say(text, quotes);
        }
        // `"error":"Bad Request"` beside a message (Fastify, OAuth) is a name
        let name = fields
            .get("error")
            .filter(|name| name.as_str() != Some(&self.message));
        let kinds = KINDS.iter().filter_map(|key| fields.get(*key)).chain(name);
        fill(
            &mut self.kind,
            kinds.filter(|kind| number(kind).is_none() && !is_failure_word(kind)),
        );
        let codes = || CODES.iter().filter_map(|key| fields.get(*key));
        fill(&mut self.code, codes().filter(|code| !is_success(code)));
        let statuses = ["status", "http_code", "http_status"];
        let statuses = codes().chain(statuses.iter().filter_map(|key| fields.get(*key)));
        self.named_status = self
            .named_status
            .or_else(|| statuses.into_iter().find_map(error_status));
        let place = fields.get("loc").and_then(|place| place.as_array()?.last());
        fill(
            &mut self.param,
            ["param", "parameter"]
                .iter()
                .filter_map(|key| fields.get(*key))
                .chain(place),
        );
        // OpenRouter says "Provider returned error" and quotes the provider
        if let Some(raw) = fields.get("metadata").and_then(|metadata| metadata.get("raw")) {
            let mut inner = Self::default();
            inner.absorb(raw, quotes);
            if !inner.message.is_empty() && !self.message.contains(&inner.message) {
                let joint = if self.message.is_empty() { "" } else { ": " };
                self.message = format!("{}{joint}{}", self.message, inner.message);
            }
        }
    }

    /// Takes a message. If it quotes JSON that is an error, it takes the message inside instead, and what else the
    /// JSON says.
    fn say(&mut self, text: &str, quotes: u8) {
        if !self.message.is_empty() {
            return;
        }
        text.trim().clone_into(&mut self.message);
        let (Some(start), true) = (text.find('{'), quotes > 0) else {
            return;
        };
        let (before, json) = text.split_at(start);
        let first = serde_json::Deserializer::from_str(json).into_iter().next();
        if let Some(Ok(json)) = first {
            let mut inner = Self::default();
            inner.absorb(&json, quotes - 1);
            if !inner.message.is_empty() {
                let before = before.trim_end_matches('[');
                self.message = format!("{before}{}", inner.message);
                self.named_status = self.named_status.or(inner.named_status);
                fill(&mut self.kind, [&Value::from(inner.kind)]);
                fill(&mut self.code, [&Value::from(inner.code)]);
            }
        }
    }
}

/// The JSON of the first server-sent event, or of a body that needs repairs.
fn framed(body: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(body);
    let data = |line: &str| {
        let (field, data) = line.split_once(':')?;
        matches!(field.trim_start(), "data" | "error").then(|| data.to_owned())
    };
    let text = text.lines().find_map(data).unwrap_or_else(|| text.into_owned());
    let mut value = json::parse(text.trim()).values.into_iter().next()?;
    json::join_halves(&mut value);
    Some(value)
}

/// Replaces every text that quotes a JSON object by the object.
fn unquote(value: &mut Value, quotes: u8) {
    match value {
        Value::String(text) => {
            let Some(start) = text.find('{').filter(|_| quotes > 0) else {
                return;
            };
            let mut json = serde_json::Deserializer::from_str(&text[start..]).into_iter();
            if let Some(Ok(json @ Value::Object(_))) = json.next() {
                *value = json;
                unquote(value, quotes - 1);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| unquote(item, quotes)),
        Value::Object(fields) => fields.values_mut().for_each(|field| unquote(field, quotes)),
        _ => {}
    }
}

/// Fills an empty field with the first of the values that is text or a number.
fn fill<'a>(field: &mut String, values: impl IntoIterator<Item = &'a Value>) {
    if field.is_empty() {
        let text = |value: &Value| match value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        *field = values.into_iter().find_map(text).unwrap_or_default();
    }
}

/// Returns true if an object under a success status reports an error by itself.
fn reports_error(fields: &Map<String, Value>) -> bool {
    let value = |key: &str| fields.get(key).unwrap_or(&Value::Null);
    let has = |key: &str| !is_nothing(value(key));
    let marked = ["object", "type", "event"]
        .iter()
        .any(|key| value(key) == "error");
    if has("error") || has("Error") || marked {
        return true;
    }
    if has_choices(fields) {
        return false;
    }
    let coded = CODES.iter().any(|code| !is_success(value(code)));
    let failed = coded
        || value("success") == false
        || value("ok") == false
        || value("type").as_str().is_some_and(|kind| kind.ends_with("error"))
        || value("status") == false
        || is_failure_word(value("status"))
        || error_status(value("status")).is_some();
    [
        "detail",
        "errors",
        "err",
        "exception",
        "errorMsg",
        "fault",
        "error_type",
        "error_message",
        "error_msg",
        "errorType",
        "errorMessage",
    ]
    .iter()
    .any(|key| has(key))
        || !is_success(value("error_code"))
        || !is_success(&value("base_resp")["status_code"])
        || (failed && (has("reason") || MESSAGES.iter().any(|key| has(key))))
}

fn has_choices(fields: &Map<String, Value>) -> bool {
    let choices = fields.get("choices").and_then(Value::as_array);
    choices.is_some_and(|choices| !choices.is_empty())
}

/// Returns true if a member is there only as a placeholder.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => ["", "0", "null", "none", "ok", "success"]
            .iter()
            .any(|word| text.trim().eq_ignore_ascii_case(word)),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(fields) => fields
            .iter()
            .all(|(key, value)| is_nothing(value) || (CODES.contains(&key.as_str()) && is_success(value))),
    }
}

/// Returns true if a code means that nothing is wrong.
fn is_success(code: &Value) -> bool {
    is_nothing(code) || number(code).is_some_and(|code| (200..300).contains(&code))
}

fn is_failure_word(status: &Value) -> bool {
    let words = ["error", "fail", "failed", "failure"];
    status
        .as_str()
        .is_some_and(|status| words.iter().any(|word| status.eq_ignore_ascii_case(word)))
}

/// A number, or a string that is one.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// The HTTP status that a member names.
fn error_status(value: &Value) -> Option<u16> {
    number(value)
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| (400..600).contains(status))
}

/// The HTTP status that a code or type means by its name.
fn named(name: &str) -> Option<u16> {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = name.to_ascii_lowercase();
    let row = NAMES
        .iter()
        .find(|(_, parts)| parts.iter().any(|part| name.contains(part)))?;
    Some(row.0)
}

#[cfg(test)]
mod tests;
