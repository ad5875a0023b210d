// What is removed is not sent, however large it is: the server knows what was there.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DocumentState } from "../../src/client/browser/syncline-state.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";
import { seeded, turn } from "./reference.mjs";
import { TypedServer, crowd, settle } from "./typed.mjs";

const LARGE = { text: "y".repeat(450_000), list: Array.from({ length: 45_000 }, (_, number) => `${number}`.padStart(7, "0")) };

test("a large value that is removed, with a connection and without, is told by its place alone; undo brings it back", async (t) => {
  const server = new TypedServer(seeded(150));
  const { handles: [ada, bob], views, end } = await crowd(server, 2);
  t.after(end);
  server.document("board").content = { doc: LARGE, list: [LARGE], n: 1 };
  for (const one of [...server.connections]) server.cut(one);
  server.document("board").generation = "another";
  await settle(server, [ada, bob]);
  const edits = [
    [{ p: ["doc"], od: LARGE }], [{ p: ["doc"], od: LARGE, oi: 2 }], [{ p: ["list", 0], ld: LARGE }], [{ p: ["list", 0], ld: LARGE, li: 2 }],
    [{ p: [], od: {}, oi: [] }],
  ];
  for (const offline of [false, true]) {
    for (const operation of edits) {
      const before = ada.content;
      let told = null;
      const release = ada.on("change", (change) => (told ??= change.operation));
      server.log.length = 0;
      if (offline) {
        server.up = false;
        server.cut([...server.connections].find(({ user }) => user === "user0"));
      }
      ada.edit(operation);
      await turn();
      bob.edit([{ p: ["n"], na: 1 }]); // it is moved over another's
      server.up = true;
      await settle(server, [ada, bob]);
      release();
      const there = operation[0].p.length ? operation : [{ ...operation[0], od: before }];
      assert.deepEqual(told, there, "who listens learns what was there");
      assert.ok(server.log.every((envelope) => JSON.stringify(envelope).length < 1000), "no large message");
      assert.equal(await Promise.all([ada.undo(), settle(server, [ada, bob])]).then(([done]) => done), true);
      if (operation[0].p.length) assert.deepEqual(ada.content, { ...before, n: before.n + 1 });
      else assert.deepEqual(ada.content.doc, LARGE);
      assert.deepEqual([bob.content, server.document("board").content], [ada.content, ada.content]);
    }
  }
  assert.deepEqual(views.flatMap(({ errors, refused }) => [...errors, ...refused]), []);
});

test("requests that wait count, with the content that they are to put in; steps make room for one more", () => {
  const state = new DocumentState(typeOf("text"), "a", { maxPending: 12_000 });
  state.start("g", 0, "");
  state.ask({ kind: "initialize", content: "x".repeat(5000) });
  assert.throws(() => state.ask({ kind: "undo" }), { code: "buffer_full" });
  assert.equal(state.queue.length, 1);
  state.queue = [];
  state.detach();
  for (let times = 0; times < 5; times += 1) for (const edit of [["y".repeat(1500)], [-1500]]) state.edit(edit);
  state.ask({ kind: "undo" });
  state.ask({ kind: "undo" });
  assert.throws(() => state.ask({ kind: "undo" }), { code: "buffer_full" });
});
