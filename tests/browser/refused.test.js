// What the server will not have: it is taken back, and nothing that was done is lost untold.
import assert from "node:assert/strict";
import { test } from "node:test";
import { registerType } from "../../src/client/browser/syncline.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";
import { connect, until } from "./driving.mjs";
import { ReferenceServer, seeded, turn } from "./reference.mjs";
import { TypedServer, crowd, settle } from "./typed.mjs";

const TOO_LARGE = () => "document_too_large";

test("what was done within a value that is refused is told, with what was seen", async (t) => {
  const server = new TypedServer(seeded(110));
  const { handles: [ada], views: [view], end } = await crowd(server, 1);
  t.after(end);
  ada.edit([{ p: [], od: null, oi: { title: "t" } }]);
  await settle(server, [ada]);
  server.refuse = TOO_LARGE;
  ada.edit([{ p: ["list"], oi: [] }]);
  await turn();
  ada.edit([{ p: ["list", 0], li: "hours of work" }]);
  const { content } = ada;
  server.step(); // it is read, and refused
  server.refuse = () => null;
  await settle(server, [ada]);
  assert.deepEqual(view.refused.map(({ message, ...told }) => told), [
    { code: "document_too_large", operation: [{ p: ["list"], oi: [] }], content },
    { code: "document_too_large", operation: [{ p: ["list", 0], li: "hours of work" }], content },
  ]);
  assert.deepEqual([ada.content, server.document("board").content], [{ title: "t" }, { title: "t" }]);

  server.refuse = TOO_LARGE;
  ada.edit([{ p: ["title"], od: "t", oi: "u" }]);
  await turn();
  server.step();
  await settle(server, [ada]);
  assert.deepEqual([view.refused[2].content, view.errors], [null, []], "nothing was done since");
});

test("where it cannot be taken back all that waits is told, and the content is the server's", async (t) => {
  let broken = false;
  registerType("one way", {
    ...typeOf("counter"),
    invert: (operation) => {
      if (broken) {
        broken = false; // the server has the same type
        throw new TypeError("it does not fit");
      }
      return typeOf("counter").invert(operation);
    },
  });
  const server = new TypedServer(seeded(111), "one way");
  const { handles: [ada], views: [view], end } = await crowd(server, 1);
  t.after(end);
  ada.edit(1);
  await settle(server, [ada]);
  server.refuse = TOO_LARGE;
  ada.edit(5);
  await turn();
  ada.edit(7);
  server.step();
  broken = true;
  server.refuse = () => null;
  await settle(server, [ada]);
  assert.deepEqual(view.refused.map(({ operation, content }) => [operation, content]), [[5, 13], [7, 13]]);
  assert.deepEqual([ada.content, view.content, server.document("board").content], [1, 1, 1]);
  assert.deepEqual(view.errors.map(({ code }) => code), ["diverged"]);
  assert.deepEqual(view.resets, []);
  ada.edit(2);
  await settle(server, [ada]);
  assert.equal(server.document("board").content, 3);
});

test("the answer not_joined never takes an edit back, and joins that do not help wait ever longer", async (t) => {
  for (const type of ["text", "json"]) {
    const server = type === "text" ? new ReferenceServer(seeded(112)) : new TypedServer(seeded(112));
    const client = connect(server, { backoffBase: 4, backoffMax: 64, random: () => 0.5 });
    t.after(() => client.close({ settle: 0 }));
    const document = client.document("d", { type });
    const refused = [];
    document.on("refused", (detail) => refused.push(detail));
    await until(server, () => document.joined);
    const waits = [];
    const { setTimeout } = globalThis;
    t.mock.method(globalThis, "setTimeout", (action, wait, ...rest) => setTimeout(action, waits.push(wait) && wait, ...rest));
    let [refusals, given] = [0, 0];
    const code = () => ((given += 1) <= 8 ? "not_joined" : null);
    server.refuse = () => {
      const answered = code();
      refusals += answered !== null;
      return answered;
    };
    document.edit(type === "text" ? ["kept"] : [{ p: [], od: null, oi: "kept" }]);
    await until(server, () => document.settled);
    assert.deepEqual([refusals, refused, document.content], [8, [], "kept"], type);
    const joins = waits.filter((wait) => [3, 6, 12, 24, 48].includes(wait));
    assert.deepEqual(joins.slice(0, 6), [3, 6, 12, 24, 48, 48], type);
    given = 0; // it was taken: the next trouble is the first one
    waits.length = 0;
    document.edit(type === "text" ? ["x"] : [{ p: [], od: null, oi: "x" }]);
    await until(server, () => document.settled);
    assert.deepEqual(waits.filter((wait) => [3, 6, 12, 24, 48].includes(wait)).slice(0, 3), [3, 6, 12], type);
    t.mock.restoreAll();
  }
});
