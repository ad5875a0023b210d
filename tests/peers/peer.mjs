// Other implementations of operational transformation, behind one pipe. See __init__.py, which starts it.
//
// A line of standard input is a JSON array of calls, [name, ...arguments]; its answer is one line, an array with
// {"ok": value} or {"error": message} for each.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const Delta = require("quill-delta");
const json0 = require("ot-json0").type;
const text = require("ot-text-unicode").type;
const { AttributeMap } = Delta;
const { richText: rich } = await import("../../src/client/browser/syncline.js"); // the browser's twin of core/rich/rich.pyx

const delta = (ops) => new Delta(ops);
const quill = {
  compose: (a, b) => delta(a).compose(delta(b)).ops,
  transform: (a, b, priority) => delta(a).transform(delta(b), priority).ops,
  transformPosition: (a, index, priority) => delta(a).transformPosition(index, priority),
  invert: (a, base) => delta(a).invert(delta(base)).ops,
  diff: (a, b) => delta(a).diff(delta(b)).ops,
  // What an editor makes of operations as they come: pushed one by one.
  push: (ops) => ops.reduce((made, op) => made.push(op), delta([])).chop().ops,
  "attributes.compose": AttributeMap.compose,
  "attributes.diff": AttributeMap.diff,
  "attributes.invert": AttributeMap.invert,
  "attributes.transform": AttributeMap.transform,
};
const modules = { quill, json0, text, rich };

function answer([name, ...args]) {
  try {
    const dot = name.indexOf(".");
    const value = modules[name.slice(0, dot)][name.slice(dot + 1)](...args);
    return { ok: value === undefined ? null : value };
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(JSON.parse(line).map(answer))}\n`);
}
