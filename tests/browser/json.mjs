// The browser client's JSON type behind a pipe, for test_json.py: a line of calls in, a line of answers out.
import { createInterface } from "node:readline";
import { json } from "../../src/client/browser/syncline.js";

function answer([name, ...args]) {
  try {
    return { ok: json[name](...args) };
  } catch (error) {
    return { error: error.code ?? String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(JSON.parse(line).map(answer))}\n`);
}
