// What apps do with openai for Node. Reads [[case, base URL], ...] from stdin and prints what the app sees of each.
import { createRequire } from "node:module";

const require = createRequire(process.argv[2] + "/");
const { OpenAI } = require("openai");
const messages = [{ role: "user", content: "What is a token b\u00fccket?" }];
const chatTools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];
const plain = (value) => JSON.parse(JSON.stringify(value ?? null));

function failed(error) {
  const { status, code, message, error: body, requestID } = error;
  return plain({ exception: error.constructor.name, status, code, message, body, request_id: requestID });
}

async function seen(call) {
  try {
    return plain(await call());
  } catch (error) {
    return failed(error);
  }
}

async function streamed(open) {
  const events = [];
  try {
    for await (const event of await open()) events.push(plain(event));
    return { events };
  } catch (error) {
    return { events, ...failed(error) };
  }
}

async function both(create, request) {
  return [await seen(() => create(request)), await streamed(() => create({ ...request, stream: true }))];
}

async function run(name, url) {
  const client = new OpenAI({ baseURL: url + "/v1", apiKey: "sk-test-0123456789abcdef" });
  const chat = client.chat.completions.create.bind(client.chat.completions);
  const [kind, model] = name.split(" ");
  const tools = model === "tools" ? chatTools : undefined;
  switch (kind) {
    case "chat":
      return seen(() => chat({ model, messages, tools }));
    case "chat-stream":
      return streamed(() => chat({ model, messages, tools, stream: true, stream_options: { include_usage: true } }));
    case "helper":
      return seen(async () => {
        const stream = client.chat.completions.stream({ model, messages, tools });
        const chunks = [];
        for await (const chunk of stream) chunks.push(chunk);
        return [chunks, await stream.finalChatCompletion()];
      });
    case "completions":
      return both(client.completions.create.bind(client.completions), { model, prompt: "Say" });
    case "responses":
      return both(client.responses.create.bind(client.responses), { model, input: "Say" });
    case "responses-stream":
      return streamed(() => client.responses.create({ model, input: "Say", stream: true }));
    case "embeddings":
      return seen(() => client.embeddings.create({ model, input: ["a", "b"] }));
    case "models":
      return seen(async () => (await client.models.list()).data);
  }
}

let input = "";
for await (const part of process.stdin) input += part;
const answers = await Promise.all(JSON.parse(input).map(([name, url]) => run(name, url)));
console.log(JSON.stringify(answers));
