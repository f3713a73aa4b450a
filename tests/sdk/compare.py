"""Runs every case direct and through the gateway, and compares what the app and the upstream see.

    compare.py [CASE ...]      the cases whose name contains one of these texts; all without

SEAWALL names the binary [default: target/debug/seawall].
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cases
from cases import CASES
from upstream import Upstream

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SEAWALL = os.environ.get("SEAWALL", str(ROOT / "target/debug/seawall"))
NODE_HOME = ROOT / "target/sdk"

# request headers of one connection, of Node's fetch, and the count of an SDK's own retries
CONNECTION = {
    "host", "connection", "accept-encoding", "content-length", "transfer-encoding", "sec-fetch-mode", "x-stainless-retry-count",
}


class Gateway:
    """A gateway in front of one upstream."""

    def __init__(self, upstream, *options):
        command = [SEAWALL, "serve", "--listen", "127.0.0.1:0", "--upstream", upstream.url, *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SEAWALL_")}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"gateway at (http://[\d.:]+)/v1", line):
                self.url = found[1]
                break
        else:
            raise RuntimeError(f"the gateway did not start: {''.join(self.log)}")
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


def difference(left, right, path=""):
    """The first place where two values differ."""
    if type(left) is type(right) is dict:
        for key in {**left, **right}:
            if found := difference(left.get(key), right.get(key), f"{path}.{key}"):
                return found
        return None
    if type(left) is type(right) is list:
        for index, (one, other) in enumerate(zip(left, right)):
            if found := difference(one, other, f"{path}[{index}]"):
                return found
        if len(left) != len(right):
            return f"{path}: {len(left)} items direct, {len(right)} through the gateway"
        return None
    return None if left == right else f"{path}: direct {left!r:.300}, through the gateway {right!r:.300}"


def sent(upstream):
    """The distinct requests that an upstream got from the app; the gateway's own probe carries no key of the app."""
    requests = []
    for method, path, headers, body in upstream.requests:
        headers = {name.lower(): value for name, value in headers.items() if name.lower() not in CONNECTION}
        if cases.KEY not in str(headers):
            continue
        if method == "GET":
            # the gateway labels what has no body
            headers.pop("content-type", None)
        request = {"method": method, "path": path, "headers": headers, "body": body.decode()}
        if request not in requests:
            requests.append(request)
    return requests


def compared(run):
    """Runs a function of the base URL direct and through the gateway; returns the first difference."""
    upstream = Upstream()
    direct = json.loads(json.dumps(run(upstream.url)))
    direct_sent, upstream = sent(upstream), Upstream()
    with Gateway(upstream) as gateway:
        through = json.loads(json.dumps(run(gateway.url)))
    return difference(direct, through, "answer") or difference(direct_sent, sent(upstream), "sent")


# beyond equality: broken streams, retries, the cache

CHECKS = {}


def check(name):
    def add(function):
        CHECKS[name] = function
        return function

    return add


def expect(condition, *seen):
    if not condition:
        raise AssertionError(" ".join(f"{one!r:.600}" for one in seen))


def texts(answer):
    """The text of the events of a stream in any format."""
    found = []
    for event in answer["events"]:
        if choices := event.get("choices"):
            found.append(choices[0].get("text") or (choices[0].get("delta") or {}).get("content") or "")
        elif isinstance(delta := event.get("delta"), str):
            found.append(delta)
        elif isinstance(delta, dict):
            found.append(delta.get("text") or "")
    return "".join(found)


STREAMS = {
    "chat": lambda url, script: cases.openai_client(url).chat.completions.create(model=script, messages=cases.USER, stream=True),
    "completions": lambda url, script: cases.openai_client(url).completions.create(model=script, prompt="Say", stream=True),
    "responses": lambda url, script: cases.openai_client(url).responses.create(model=script, input="Say", stream=True),
    "messages": lambda url, script: cases.anthropic_client(url).messages.create(
        model=script, max_tokens=64, messages=cases.USER, stream=True),
    "litellm": lambda url, script: cases.litellm.completion(**cases.litellm_options(url, script, "openai"), stream=True),
    "litellm-messages": lambda url, script: cases.litellm.completion(
        **cases.litellm_options(url, script, "anthropic"), stream=True),
}


def broken_stream(kind, script):
    """A stream that breaks after some text: the same text as direct, then an exception."""

    def run():
        direct = cases.streamed(lambda: STREAMS[kind](Upstream().url, script))
        with Gateway(Upstream()) as gateway:
            through = cases.streamed(lambda: STREAMS[kind](gateway.url, script))
        expect(texts(direct), direct)
        expect(texts(direct) == texts(through), texts(direct), texts(through), through)
        expect("exception" in through, through)

    return run


def node_stream(kind, script):
    def run():
        upstream = Upstream()
        with Gateway(upstream) as gateway:
            (through,) = node([(f"{kind} {script}", gateway.url)])
        expect(texts(through), through)
        expect("exception" in through, through)

    return run


def no_answer(kind, script):
    """A success status without an answer: an error of the server, and never a success."""

    def run():
        upstream = Upstream()
        with Gateway(upstream) as gateway:
            through = cases.streamed(lambda: STREAMS[kind](gateway.url, script))
        expect(not texts(through), through)
        status = through.get("status")
        expect(status is not None and status >= 500, through)
        # the last error counts, not that of the first attempt
        expect("127.0.0.1" in through["message"], through)

    return run


for _kind in STREAMS:
    for _script in ("cut", "cut-clean", "cut-inside", "error-event"):
        CHECKS[f"{_kind} stream {_script}"] = broken_stream(_kind, _script)
    for _script in ("html", "empty", "overloaded", "failing"):
        CHECKS[f"{_kind} stream {_script}"] = no_answer(_kind, _script)


@check("overloaded before content")
def overloaded():
    with Gateway(Upstream()) as gateway:
        through = cases.streamed(lambda: STREAMS["messages"](gateway.url, "overloaded"))
    expect((through["exception"], through["status"]) == ("OverloadedError", 529), through)
    expect(through["body"]["error"]["type"] == "overloaded_error", through)


@check("retries are not multiplied")
def retries():
    for status, attempts in ((429, 4), (500, 4), (400, 1)):
        upstream = Upstream()
        with Gateway(upstream) as gateway:
            create = cases.openai_client(gateway.url).chat.completions.with_raw_response.create
            try:
                create(model=f"error-{status}", messages=cases.USER)
            except cases.openai.APIStatusError as error:
                headers = error.response.headers
        calls = [path for method, path, *_ in upstream.requests if method == "POST"]
        expect(headers["x-should-retry"] == "false", dict(headers))
        expect(len(calls) == int(headers["x-seawall-attempts"]) <= attempts, len(calls), dict(headers))
        expect(headers.get("retry-after") != "0", dict(headers))


@check("a cache hit, whole and streamed")
def cache_hit():
    upstream = Upstream()
    with Gateway(upstream) as gateway:
        client = cases.openai_client(gateway.url)
        chat = client.chat.completions
        asked = {"messages": cases.USER, "temperature": 0}
        for model in ("text", "tools"):
            tools = {"tools": cases.CHAT_TOOLS} if model == "tools" else {}
            whole = [chat.with_raw_response.create(model=model, **asked, **tools) for _ in range(2)]
            expect(whole[0].text == whole[1].text, whole[0].text, whole[1].text)
            used = [response.headers["x-seawall-cache"].split(";")[0] for response in whole]
            expect(used == ["miss", "hit"], model, used)
            streams = [
                cases.streamed(lambda: chat.create(model=model, stream=True, **asked, **tools)) for _ in range(2)
            ]
            expect(streams[0] == streams[1] and "exception" not in streams[0], streams)
        messages = cases.anthropic_client(gateway.url).messages
        asked = {"model": "text", "max_tokens": 64, "messages": cases.USER, "extra_body": {"temperature": 0}}
        for stream in (False, True):
            both = [messages.with_raw_response.create(**asked, stream=stream) for _ in range(2)]
            used = [response.headers["x-seawall-cache"].split(";")[0] for response in both]
            # the client may be done with the stream before its flight has stored the answer
            expect(used in (["miss", "hit"], ["miss", "shared"]), stream, used)
            expect(both[0].http_response.read() == both[1].http_response.read(), both)
        both = [client.embeddings.with_raw_response.create(model="text", input="a") for _ in range(2)]
        expect(both[1].headers["x-seawall-cache"] == "hit", dict(both[1].headers))
        expect(both[0].text == both[1].text, both)
    calls = [path for method, path, *_ in upstream.requests if method == "POST"]
    expect(len(calls) == 7, calls)


@check("equal calls share one answer")
def shared():
    upstream = Upstream()
    with Gateway(upstream) as gateway, ThreadPoolExecutor(2) as pool:
        create = cases.openai_client(gateway.url).chat.completions.with_raw_response.create
        asked = {"model": "gated", "messages": cases.USER, "temperature": 0}

        def used(response):
            return response.headers["x-seawall-cache"].split(";")[0]

        # the second one reads the beginning while the rest is not sent yet
        streams = [create(**asked, stream=True) for _ in range(2)]
        expect([used(stream) for stream in streams] == ["miss", "shared"], streams)
        begun = [iter(stream.parse()) for stream in streams]
        first = [[next(stream), next(stream)] for stream in begun]
        upstream.gate.set()
        chunks = [cases.plain([*head, *tail]) for head, tail in zip(first, begun)]
        expect(chunks[0] == chunks[1] and len(chunks[0]) == 5, chunks)
        upstream.gate.clear()
        threading.Timer(2, upstream.gate.set).start()
        calls = list(pool.map(lambda _: create(**asked), range(2)))
        expect(calls[0].text == calls[1].text, calls)
        expect(sorted(map(used, calls)) == ["miss", "shared"], list(map(used, calls)))
    expect(len([1 for method, *_ in upstream.requests if method == "POST"]) == 2, upstream.requests)


@check("a client that leaves cancels its call")
def leaves():
    for stream in (False, True):
        upstream = Upstream()
        with Gateway(upstream) as gateway:
            client = cases.openai_client(gateway.url, timeout=1 if not stream else None, max_retries=0)
            if stream:
                opened = client.chat.completions.create(model="slow", messages=cases.USER, stream=True)
                next(iter(opened))
                opened.close()
            else:
                cases.seen(lambda: client.chat.completions.create(model="slow", messages=cases.USER))
            expect(upstream.left.wait(5), "the upstream still serves a call whose client has left")


def node(runs):
    script = [shutil.which("node"), str(HERE / "node.mjs"), str(NODE_HOME)]
    done = subprocess.run(script, input=json.dumps(runs), capture_output=True, text=True, timeout=120)
    expect(done.returncode == 0, done.stderr)
    return json.loads(done.stdout)


NODE_CASES = [
    *(f"chat {script}" for script in ("text", "tools", "error-400", "error-401", "error-429", "error-500")),
    *(f"chat-stream {script}" for script in ("text", "tools", "pings", "error-404", "error-503")),
    "helper text", "helper tools", "completions text", "responses text", "responses tools", "embeddings text", "models",
]
if shutil.which("node") and (NODE_HOME / "node_modules/openai").is_dir():
    for _name in NODE_CASES:
        CASES[f"node {_name}"] = lambda url, name=_name: node([(name, url)])
    for _kind in ("chat-stream", "responses-stream"):
        for _script in ("cut", "cut-clean", "cut-inside", "error-event"):
            CHECKS[f"node {_kind} {_script}"] = node_stream(_kind, _script)


def main():
    wanted = sys.argv[1:]
    names = [name for name in [*CASES, *CHECKS] if not wanted or any(part in name for part in wanted)]

    def judge(name):
        try:
            return CHECKS[name]() if name in CHECKS else compared(CASES[name])
        except Exception:
            return traceback.format_exc(limit=-2)

    with ThreadPoolExecutor(8) as pool:
        results = dict(zip(names, pool.map(judge, names)))
    wrong = {name: why for name, why in results.items() if why}
    for name, why in wrong.items():
        print(f"{name}: {why}")
    print(f"tests/sdk: {len(results) - len(wrong)} of {len(results)} cases the same direct and through the gateway")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
