// Types of one's own: what registerType takes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { registerType } from "../../src/client/browser/syncline.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";
import { seeded } from "./reference.mjs";
import { TypedServer, crowd, settle } from "./typed.mjs";

class Numbers {
  #start = 0;

  empty() {
    return this.#start;
  }

  parseContent(value) {
    return Number.isInteger(value) ? value : this.refuse("a number is an integer");
  }

  refuse(message) {
    throw new TypeError(message);
  }

  transform = (operation) => operation; // its own, the others are of the class

  isIdentity({ add }) {
    return add === 0;
  }

  hash(content) {
    return content >>> 0;
  }
}

class Counter extends Numbers {
  parse(operation) {
    return Number.isInteger(operation?.add) ? { add: operation.add } : this.refuse("an operation adds an integer");
  }

  apply(content, { add }) {
    return content + add;
  }

  compose(first, second) {
    return { add: first.add + second.add };
  }

  invert({ add }) {
    return { add: -add };
  }

  diff(before, after) {
    return { add: after - before };
  }

  bulk() {
    return 7;
  }
}

test("a type may be an object of a class", async (t) => {
  registerType("numbers", new Counter());
  assert.equal(typeOf("numbers").bulk({ add: 1 }), 7);
  const server = new TypedServer(seeded(160), "numbers");
  const { handles: [ada, bob], views, end } = await crowd(server, 2);
  t.after(end);
  ada.edit({ add: 3 });
  bob.setContent(4);
  await settle(server, [ada, bob]);
  assert.equal(await Promise.all([ada.undo(), settle(server, [ada, bob])]).then(([done]) => done), true);
  assert.deepEqual([ada.content, bob.content, views.flatMap(({ errors }) => errors)], [4, 4, []]);
  assert.throws(() => ada.edit({ add: "x" }), { code: "operation_invalid", message: "an operation adds an integer" });
});

test("what is no type is refused where it is given", () => {
  for (const [name, type, message] of [
    ["", new Counter(), /name of a type/], [7, new Counter(), /name of a type/], ["x", null, /a type is an object/], ["x", "json", /a type is an object/],
    ["x", {}, /the type "x" needs empty\(\)/], ["x", new Numbers(), /needs parse\(\)/], ["x", { ...typeOf("json"), hash: 7 }, /needs hash\(\)/],
    ["x", { ...typeOf("json"), move: true }, /move of the type "x" is no function/],
  ]) assert.throws(() => registerType(name, type), { name: "TypeError", message });
  assert.throws(() => typeOf("x"), { code: "invalid_data" });
  registerType("json, too", { ...typeOf("json"), stroke: undefined });
  assert.equal(typeOf("json, too").stroke([]), null);
});
