"""What apps do with the SDKs. A case takes a base URL and returns what the app sees, as plain values."""

import asyncio
import logging
import os
import warnings

import anthropic
import openai
from pydantic import BaseModel

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402

litellm.suppress_debug_info = True
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

KEY = "sk-test-0123456789abcdef"
USER = [{"role": "user", "content": "What is a token b\u00fccket?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
RESPONSE_TOOLS = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}]
MESSAGES_TOOLS = [{"name": "weather", "input_schema": PARAMETERS}]


class Thing(BaseModel):
    name: str
    size: int


def openai_client(url, **options):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, **options)


def anthropic_client(url, **options):
    return anthropic.Anthropic(base_url=url, api_key=KEY, **options)


def plain(value):
    """A value without the classes of an SDK."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", warnings=False)
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def seen(call):
    """The value of a call, or its exception."""
    try:
        return plain(call())
    except Exception as error:
        return failed(error)


def failed(error):
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", {})
    return {
        "exception": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "message": str(error),
        "body": plain(getattr(error, "body", None)),
        "code": getattr(error, "code", None),
        "request_id": getattr(error, "request_id", None),
        "limit": headers.get("x-ratelimit-remaining-requests"),
    }


def streamed(open_stream):
    """The events of a stream up to its end or its exception, and the exception."""
    events = []
    try:
        for event in open_stream():
            events.append(plain(event))
    except Exception as error:
        return {"events": events, **failed(error)}
    return {"events": events}


# every case: name -> function of the base URL
CASES = {}


def case(name):
    def add(function):
        CASES[name] = function
        return function

    return add


def each(names):
    """A family of cases: the function gets the URL and the script."""

    def add(function):
        family = function.__name__.replace("_", " ")
        for name in names:
            CASES[f"{family} {name}"] = lambda url, name=name: function(url, name)
        return function

    return add


ERRORS = [f"error-{status}" for status in (400, 401, 403, 404, 422, 429, 500, 503, 529)]


@each(["text", "tools", "json", *ERRORS])
def chat(url, script):
    tools = {"tools": CHAT_TOOLS} if script == "tools" else {}
    return seen(lambda: openai_client(url).chat.completions.create(model=script, messages=USER, **tools))


@each(["text", "tools", "pings", *ERRORS])
def chat_stream(url, script):
    create = openai_client(url).chat.completions.create
    options = {"stream": True, "stream_options": {"include_usage": True}}
    return streamed(lambda: create(model=script, messages=USER, **options))


@case("chat with two choices")
def chat_two(url):
    create = openai_client(url).chat.completions.create
    return [
        seen(lambda: create(model="text", messages=USER, n=2, logprobs=True)),
        streamed(lambda: create(model="text", messages=USER, n=2, stream=True)),
    ]


@case("chat parsed")
def chat_parsed(url):
    completions = openai_client(url).chat.completions
    parsed = completions.parse(model="json", messages=USER, response_format=Thing)

    def helper():
        with completions.stream(model="json", messages=USER, response_format=Thing) as stream:
            yield from ([event.type, plain(event)] for event in stream)
            yield plain(stream.get_final_completion())

    return [plain(parsed), plain(parsed.choices[0].message.parsed), streamed(helper)]


@case("chat raw response")
def chat_raw(url):
    create = openai_client(url).chat.completions.with_raw_response.create
    extra = {"extra_body": {"x_unknown": [1.50, 2]}, "extra_headers": {"X-Title": "drill"}, "extra_query": {"api-version": "1 2"}}
    response = create(model="text", messages=USER, **extra)
    return [response.text, response.status_code, response.request_id, response.headers["openai-processing-ms"]]


@case("chat organization")
def chat_organization(url):
    client = openai_client(url, organization="org-1", project="proj-1", default_headers={"HTTP-Referer": "https://app.test"})
    return plain(client.chat.completions.create(model="text", messages=USER, extra_headers={"Idempotency-Key": "k-1"}))


@case("chat async")
def chat_async(url):
    async def run():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
            create = client.chat.completions.create
            whole = create(model="text", messages=USER)
            stream = await create(model="text", messages=USER, stream=True)
            return [plain(await whole), [plain(chunk) async for chunk in stream]]

    return asyncio.run(run())


@each(["text", "error-400", "error-500"])
def completions(url, script):
    create = openai_client(url).completions.create
    return [
        seen(lambda: create(model=script, prompt="Say")),
        streamed(lambda: create(model=script, prompt=["Say"], stream=True)),
    ]


@each(["text", "tools", "error-400", "error-429"])
def responses(url, script):
    client = openai_client(url)
    tools = {"tools": RESPONSE_TOOLS} if script == "tools" else {}
    return [
        seen(lambda: client.responses.create(model=script, input="Say", **tools)),
        streamed(lambda: client.responses.create(model=script, input="Say", stream=True, **tools)),
    ]


@case("responses parsed")
def responses_parsed(url):
    client = openai_client(url)
    parsed = client.responses.parse(model="json", input="Say", text_format=Thing)

    def helper():
        with client.responses.stream(model="json", input="Say", text_format=Thing) as stream:
            yield from (plain(event) for event in stream)
            yield plain(stream.get_final_response())

    return [plain(parsed.output_parsed), parsed.output_text, streamed(helper)]


@each(["text", "error-401"])
def embeddings(url, script):
    create = openai_client(url).embeddings.create
    return [
        seen(lambda: create(model=script, input=["a", "b"])),
        seen(lambda: create(model=script, input="a", encoding_format="float")),
    ]


@case("models")
def models(url):
    return [plain(openai_client(url).models.list().data), streamed(lambda: anthropic_client(url).models.list())]


@each(["text", "tools", *ERRORS])
def messages(url, script):
    tools = {"tools": MESSAGES_TOOLS} if script == "tools" else {}
    create = anthropic_client(url).messages.create
    return seen(lambda: create(model=script, max_tokens=64, messages=USER, system="Be brief.", **tools))


@each(["text", "tools", "pings", "error-400", "error-529"])
def messages_stream(url, script):
    tools = {"tools": MESSAGES_TOOLS} if script == "tools" else {}
    client = anthropic_client(url)

    def helper():
        with client.messages.stream(model=script, max_tokens=64, messages=USER, **tools) as stream:
            yield from ([event.type, plain(event)] for event in stream)
            yield plain(stream.get_final_message())

    return [
        streamed(lambda: client.messages.create(model=script, max_tokens=64, messages=USER, stream=True, **tools)),
        streamed(helper),
    ]


@case("messages beta")
def messages_beta(url):
    create = anthropic_client(url).beta.messages.create
    return plain(create(model="text", max_tokens=64, messages=USER, betas=["one-2026-01-01"]))


@each(["text", "error-404"])
def count_tokens(url, script):
    return seen(lambda: anthropic_client(url).messages.count_tokens(model=script, messages=USER))


def litellm_options(url, script, provider):
    base = f"{url}/v1" if provider == "openai" else url
    options = {"model": f"{provider}/{script}", "messages": USER, "api_base": base, "api_key": KEY, "max_retries": 2}
    return {**options, "max_tokens": 64}


def without_random(value):
    """LiteLLM draws ids and times of its own."""
    if isinstance(value, list):
        return [without_random(one) for one in value]
    if isinstance(value, dict):
        return {key: without_random(one) for key, one in value.items() if key not in ("id", "created")}
    return value


@each(["text", "tools", "error-400", "error-401", "error-404", "error-429", "error-500"])
def litellm_chat(url, script):
    tools = {"tools": CHAT_TOOLS} if script == "tools" else {}
    options = {**litellm_options(url, script, "openai"), **tools}
    return without_random([
        seen(lambda: litellm.completion(**options)),
        streamed(lambda: litellm.completion(**options, stream=True)),
    ])


@each(["text", "tools", "error-400", "error-529"])
def litellm_messages(url, script):
    tools = {"tools": CHAT_TOOLS} if script == "tools" else {}
    options = {**litellm_options(url, script, "anthropic"), **tools}
    return without_random([
        seen(lambda: litellm.completion(**options)),
        streamed(lambda: litellm.completion(**options, stream=True)),
    ])


@case("litellm responses")
def litellm_responses(url):
    options = {"model": "openai/text", "input": "Say", "api_base": f"{url}/v1", "api_key": KEY}
    return without_random([
        seen(lambda: litellm.responses(**options)),
        streamed(lambda: litellm.responses(**options, stream=True)),
    ])
