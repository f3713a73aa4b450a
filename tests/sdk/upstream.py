"""A scripted upstream on a free port of loopback: the model of a request names its script.

It speaks chat completions, completions, responses, embeddings and messages, whole and streamed, and keeps every
request. Scripts: `text`, `tools`, `json`, `two`, `pings`, `error-STATUS`, `flaky`, `failing`, `overloaded`, `error-event`, `cut`,
`cut-clean`, `cut-inside`, `half`, `html`, `empty`, `gated`, `slow`.
"""

import base64
import json
import select
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = ["A token ", "bucket holds ", "t\u00f6kens \U0001faa3."]
ARGUMENTS = '{"city": "Z\u00fcrich", "days": 2}'
OBJECT = '{"name": "bucket", "size": 3}'
CREATED = 1_780_000_000

ERRORS = {
    400: ("invalid_request_error", "invalid_value", "the value is invalid"),
    401: ("authentication_error", "invalid_api_key", "the key is wrong"),
    403: ("permission_error", "model_not_allowed", "the key has no access to the model"),
    404: ("not_found_error", "model_not_found", "no such model"),
    422: ("invalid_request_error", "unprocessable", "the request makes no sense"),
    429: ("rate_limit_error", "rate_limit_exceeded", "too many requests"),
    500: ("api_error", "internal", "the server failed"),
    503: ("api_error", "unavailable", "the server is loading"),
    529: ("overloaded_error", "overloaded", "the server is overloaded"),
}


class Upstream(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests = []
        self.lock = threading.Lock()
        # until it is set, answers of `gated` wait, streams after some text
        self.gate = threading.Event()
        # set once the client of a `slow` request has left
        self.left = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that leaves is no error."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.keep(b"")
        models = [{"id": "text", "object": "model", "created": CREATED, "owned_by": "tests", "extra": [1]}]
        self.whole(200, {"object": "list", "data": models})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        seen = self.keep(body)
        asked = json.loads(body)
        path = self.path.split("?")[0]
        script = asked["model"].removeprefix("openai/")
        if script == "flaky":
            script = "error-500" if seen == 1 else "text"
        if script == "failing":
            # the first error says less than the last
            script = "error-500" if seen == 1 else "html"
        if script == "gated" and not asked.get("stream"):
            self.server.gate.wait(20)
        if script == "slow":
            self.slow(path)
        elif script.startswith("error-") and script != "error-event":
            self.error(path, int(script.removeprefix("error-")))
        elif script == "html":
            self.plain(200, b"<!doctype html><title>Sign in</title>", "text/html; charset=utf-8")
        elif script == "empty":
            self.plain(200, b"", "application/json")
        elif path == "/v1/messages/count_tokens":
            self.whole(200, {"input_tokens": 17, "extra": None})
        elif path == "/v1/embeddings":
            self.whole(200, embeddings(asked))
        elif asked.get("stream"):
            self.stream(script, BREAK_AT[path], STREAMS[path](script, asked))
        else:
            body = compact(ANSWERS[path](script, asked))
            self.plain(200, body[: len(body) // 2] if script == "half" else body, "application/json")

    def keep(self, body):
        """Keeps the request; returns how many there are."""
        with self.server.lock:
            self.server.requests.append((self.command, self.path, dict(self.headers), body))
            return len(self.server.requests)

    def head(self, status, headers):
        self.send_response(status)
        for name, value in {
            "x-request-id": "req_1",
            "request-id": "req_1",
            "x-ratelimit-remaining-requests": "41",
            "openai-processing-ms": "7",
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()

    def plain(self, status, body, kind, headers=None):
        self.head(status, {"content-type": kind, "content-length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def whole(self, status, value, headers=None):
        self.plain(status, compact(value), "application/json", headers)

    def error(self, path, status):
        kind, code, message = ERRORS[status]
        if path.startswith("/v1/messages"):
            value = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
        else:
            value = {"error": {"message": message, "type": kind, "param": "model", "code": code, "extra": 1}}
        # an answer that asks clients to hammer
        wait = {"retry-after": "0", "x-should-retry": "true"} if status in (429, 503) else {}
        self.whole(status, value, wait)

    def stream(self, script, break_at, events):
        self.head(200, {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"})
        for position, event in enumerate(events):
            if position == break_at and script in ("cut", "cut-clean", "cut-inside"):
                break
            if position == break_at and script == "error-event":
                self.chunk(stream_error(event))
                return self.chunk(b"")
            if position == break_at and script == "gated":
                self.server.gate.wait(20)
            if position == 0 and script == "overloaded":
                self.chunk(stream_error(event))
                return self.chunk(b"")
            if script == "pings":
                self.chunk(b": ping\n\n")
            self.chunk(event)
        else:
            return self.chunk(b"")
        if script == "cut-inside":
            self.chunk(event[: len(event) // 2])
        if script == "cut-clean":
            return self.chunk(b"")
        self.wfile.flush()
        self.close_connection = True

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def slow(self, path):
        """Says a little, then waits until the client leaves."""
        if path == "/v1/chat/completions" and b'"stream":true' in self.server.requests[-1][3].replace(b" ", b""):
            self.head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
            for event in list(chat_stream("text", {}))[:3]:
                self.chunk(event)
        select.select([self.connection], [], [], 20)
        self.server.left.set()
        self.close_connection = True


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def data(value, name=None):
    # members in the order and spacing of this server: bytes that a second serializer would change
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ":  "))
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def stream_error(event):
    if event.startswith(b"event: message") or event.startswith(b"event: content"):
        error = {"type": "overloaded_error", "message": "the server is overloaded"}
        return data({"type": "error", "error": error}, "error")
    if event.startswith(b"event: response"):
        return data({"type": "error", "code": "server_error", "message": "the server failed", "sequence_number": 9}, "error")
    return data({"error": {"message": "the server failed", "type": "server_error", "code": "internal"}})


def content(script):
    return {"json": [OBJECT[:9], OBJECT[9:]]}.get(script, WORDS)


# chat completions

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4},
    "extra_tokens": 1,
}


def chat_call(arguments):
    return {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}


def chat(script, asked):
    message = {"role": "assistant", "content": "".join(content(script)), "refusal": None}
    finish = "stop"
    if script == "tools":
        message, finish = {"role": "assistant", "content": None, "tool_calls": [chat_call(ARGUMENTS)]}, "tool_calls"
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
        for index in range(asked.get("n") or 1)
    ]
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": asked["model"],
        "choices": choices, "usage": USAGE, "system_fingerprint": "fp_1", "x_extra": {"kept": True},
    }


def chat_stream(script, asked):
    def chunk(index, delta, finish=None):
        return data({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": asked.get("model"),
            "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}], "x_extra": 1,
        })

    count = asked.get("n") or 1
    for index in range(count):
        yield chunk(index, {"role": "assistant", "content": None if script == "tools" else ""})
    if script == "tools":
        yield chunk(0, {"tool_calls": [{"index": 0, **chat_call("")}]})
        for part in (ARGUMENTS[:7], ARGUMENTS[7:]):
            yield chunk(0, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        yield chunk(0, {}, "tool_calls")
    else:
        for word in content(script):
            for index in range(count):
                yield chunk(index, {"content": word})
        for index in range(count):
            yield chunk(index, {}, "stop")
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield data({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": asked["model"], "choices": [], "usage": USAGE})
    yield b"data: [DONE]\n\n"


# completions

def completions(script, asked):
    choice = {"index": 0, "text": "".join(content(script)), "logprobs": None, "finish_reason": "stop"}
    return {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": asked["model"], "choices": [choice], "usage": USAGE}


def completions_stream(script, asked):
    for text, finish in [*((word, None) for word in content(script)), ("", "stop")]:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        yield data({"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": asked["model"], "choices": [choice]})
    yield b"data: [DONE]\n\n"


# responses

def response_items(script):
    if script == "tools":
        return [{"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": ARGUMENTS, "status": "completed"}]
    part = {"type": "output_text", "text": "".join(content(script)), "annotations": [], "logprobs": []}
    return [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Think."}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]},
    ]


def responses(script, asked, status="completed"):
    done = status == "completed"
    usage = {
        "input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 12,
    }
    return {
        "id": "resp_1", "object": "response", "created_at": CREATED, "status": status, "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "model": asked["model"],
        "output": response_items(script) if done else [], "parallel_tool_calls": True, "temperature": 1.0,
        "tool_choice": "auto", "tools": asked.get("tools") or [], "top_p": 1.0, "usage": usage if done else None, "x_extra": 1,
    }


def responses_stream(script, asked):
    number = iter(range(1000))

    def event(kind, **fields):
        return data({"type": f"response.{kind}", "sequence_number": next(number), **fields}, f"response.{kind}")

    yield event("created", response=responses(script, asked, "in_progress"))
    yield event("in_progress", response=responses(script, asked, "in_progress"))
    for index, item in enumerate(response_items(script)):
        at = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "reasoning":
            yield event("output_item.added", output_index=index, item={**item, "summary": []})
        elif item["type"] == "function_call":
            yield event("output_item.added", output_index=index, item={**item, "arguments": "", "status": "in_progress"})
            for part in (ARGUMENTS[:7], ARGUMENTS[7:]):
                yield event("function_call_arguments.delta", **at, delta=part)
            yield event("function_call_arguments.done", **at, name="weather", arguments=ARGUMENTS)
        else:
            at["content_index"] = 0
            part = item["content"][0]
            yield event("output_item.added", output_index=index, item={**item, "content": [], "status": "in_progress"})
            yield event("content_part.added", **at, part={**part, "text": ""})
            for word in content(script):
                yield event("output_text.delta", **at, delta=word, logprobs=[])
            yield event("output_text.done", **at, text=part["text"], logprobs=[])
            yield event("content_part.done", **at, part=part)
        yield event("output_item.done", output_index=index, item=item)
    yield event("completed", response=responses(script, asked))


# embeddings

def embeddings(asked):
    inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    vectors = [[0.25 * (index + 1), -0.5, 1e-7] for index, _ in enumerate(inputs)]
    if asked.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack("<3f", *vector)).decode() for vector in vectors]
    rows = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return {"object": "list", "data": rows, "model": asked["model"], "usage": {"prompt_tokens": 5, "total_tokens": 5}}


# messages

MESSAGES_USAGE = {"input_tokens": 9, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 3}


def blocks(script):
    if script == "tools":
        tool = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": json.loads(ARGUMENTS)}
        return [{"type": "text", "text": "I look."}, tool]
    thinking = {"type": "thinking", "thinking": "Think.", "signature": "c2ln"}
    return [thinking, {"type": "text", "text": "".join(content(script))}]


def message(script, asked, parts, reason, usage):
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "content": parts,
        "stop_reason": reason, "stop_sequence": None, "usage": usage, "x_extra": 1,
    }


def messages(script, asked):
    reason = "tool_use" if script == "tools" else "end_turn"
    return message(script, asked, blocks(script), reason, MESSAGES_USAGE)


def messages_stream(script, asked):
    def event(kind, **fields):
        return data({"type": kind, **fields}, kind)

    yield event("message_start", message=message(script, asked, [], None, {**MESSAGES_USAGE, "output_tokens": 1}))
    for index, block in enumerate(blocks(script)):
        if block["type"] == "text":
            start, deltas = {**block, "text": ""}, [{"type": "text_delta", "text": word} for word in content(script)]
            if script == "tools":
                deltas = [{"type": "text_delta", "text": block["text"]}]
        elif block["type"] == "thinking":
            start = {**block, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": "Think."}, {"type": "signature_delta", "signature": "c2ln"}]
        else:
            start = {**block, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", ARGUMENTS[:7], ARGUMENTS[7:])]
        yield event("content_block_start", index=index, content_block=start)
        yield event("ping")
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    reason = "tool_use" if script == "tools" else "end_turn"
    yield event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=MESSAGES_USAGE)
    yield event("message_stop")


ANSWERS = {
    "/v1/chat/completions": chat,
    "/v1/completions": completions,
    "/v1/responses": responses,
    "/v1/messages": messages,
}
STREAMS = {
    "/v1/chat/completions": chat_stream,
    "/v1/completions": completions_stream,
    "/v1/responses": responses_stream,
    "/v1/messages": messages_stream,
}
# the event at which a stream breaks: some text was sent by then, and some is missing
BREAK_AT = {
    "/v1/chat/completions": 3,
    "/v1/completions": 2,
    "/v1/responses": 8,
    "/v1/messages": 9,
}
