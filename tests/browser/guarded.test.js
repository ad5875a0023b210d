// Faults of a server, a type or a callback: they are told, and a document goes on.
import assert from "node:assert/strict";
import { test } from "node:test";
import { registerType } from "../../src/client/browser/syncline.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";
import { connect, only, until } from "./driving.mjs";
import { randomJson } from "./random.mjs";
import { ReferenceServer, seeded, turn } from "./reference.mjs";
import { TypedServer, crowd, settle } from "./typed.mjs";

test("a push that makes no sense is told, the document is joined again, and what was typed is there", async (t) => {
  for (const data of [{ cursors: null }, { event: "document:operation", operations: 7 }, { event: "document:collaborator_joined", client: null }]) {
    const server = new ReferenceServer(seeded(120));
    const client = connect(server);
    t.after(() => client.close({ settle: 0 }));
    const notes = client.document("notes");
    await until(server, () => notes.joined);
    const errors = [];
    notes.on("error", (error) => errors.push(error));
    const { event = "document:cursor", ...rest } = data;
    const stays = event === "document:collaborator_joined"; // sense enough
    server.push(only(server), event, { document: "notes", revision: 0, ...rest });
    notes.insert(0, "typed");
    await until(server, () => notes.settled && notes.joined);
    assert.deepEqual([errors.map(({ code }) => code), server.document("notes").text], [stays ? [] : ["diverged"], "typed"]);
  }
});

test("an answer to a join that makes no sense is told, and asked for again", async (t) => {
  const server = new TypedServer(seeded(121));
  let [broken, wrong] = ["collaborators", 0]; // of the answer, and how many were so far
  server.intercept = (connection, { event, id }) => {
    if (event !== "document:join" || (wrong += 1) > 3) return false;
    const result = { document: "board", type: "json", generation: "g", revision: 0, role: "editor", seq: 0, text: null, content: null,
      operations: null, collaborators: [] };
    result[broken] = 7;
    connection.toClient.push(JSON.stringify({ id, event: "document:state", result }));
    return true;
  };
  const { handles: [ada], views: [view], end } = await crowd(server, 1);
  t.after(end);
  assert.deepEqual(view.errors.map(({ code }) => code), ["diverged", "diverged", "diverged"]);
  ada.edit([{ p: [], od: null, oi: "there" }]);
  [broken, wrong] = ["operations", 1];
  server.cut(only(server));
  await settle(server, [ada]);
  assert.deepEqual([ada.content, server.document("board").content, view.errors.length], ["there", "there", 5]);
});

test("a type that throws costs nothing that was typed", async (t) => {
  let faulty = null;
  const counter = typeOf("counter");
  const guarded = (name) => (...args) => {
    if (faulty === name) {
      faulty = null;
      throw new TypeError(`${name} has a fault`);
    }
    return counter[name](...args);
  };
  registerType("faulty", { ...counter, describe: guarded("describe"), split: guarded("split"), hash: guarded("hash") });
  for (const name of ["split", "describe", "hash"]) {
    const server = new TypedServer(seeded(122), "faulty");
    const { handles: [ada], views: [view], end } = await crowd(server, 1);
    t.after(end);
    ada.edit(3);
    faulty = name;
    if (name === "hash") server.push(only(server), "document:operation", { document: "board", revision: 0, operations: [], hash: 0 });
    await turn();
    server.step();
    await settle(server, [ada]);
    const refused = view.refused.length; // what has no form for the wire
    assert.deepEqual([ada.content, server.document("board").content, refused], name === "describe" ? [0, 0, 1] : [3, 3, 0], name);
  }
});

test("settled is told at each change of it, whatever happens in callbacks, refusals and joins", async (t) => {
  for (let seed = 130; seed < 150; seed += 1) {
    const random = seeded(seed);
    const server = new TypedServer(random);
    server.refuse = () => (random() < 0.1 ? ["document_too_large", "unavailable", "not_joined", "internal"][Math.floor(random() * 4)] : null);
    const clients = ["ada", "bob"].map((name) => connect(server, { name, guestToken: name }));
    t.after(() => clients.forEach((client) => client.close({ settle: 0 })));
    const handles = clients.map((client) => client.document("board", { type: "json" }));
    await settle(server, handles);
    const told = handles.map(() => [true]);
    let inside = 0;
    for (const [index, handle] of handles.entries()) {
      handle.on("settled", (settled) => {
        told[index].push(settled);
        if (handle.writable && inside < 30 && random() < 0.4) {
          inside += 1;
          handle.edit(randomJson(handle.content, random));
        }
      });
      handle.on("cursors", () => handle.writable && random() < 0.05 && handle.edit(randomJson(handle.content, random)));
    }
    for (let round = 0; round < 60; round += 1) {
      const handle = handles[Math.floor(random() * 2)];
      if (random() < 0.7) handle.edit(randomJson(handle.content, random));
      else handle.undo().catch(() => {});
      if (random() < 0.5) await turn();
      while (random() < 0.6 && server.step());
      const [connection] = [...server.connections];
      if (connection && random() < 0.1) server.cut(connection, { handled: random() < 0.5 });
    }
    server.refuse = () => null;
    await settle(server, handles);
    for (const [index, one] of told.entries()) {
      assert.ok(one.every((settled, at) => !at || settled !== one[at - 1]), `seed ${seed}: ${one}`);
      assert.equal(one.at(-1), handles[index].settled);
    }
  }
});

test("who closes in the middle of what comes in hears of no fault", async (t) => {
  const server = new TypedServer(seeded(123));
  const { clients, handles: [ada, bob], views: [view] } = await crowd(server, 2);
  const [client] = clients;
  t.after(() => clients.forEach((one) => one.close({ settle: 0 })));
  ada.edit([{ p: [], od: null, oi: ["a"] }]);
  await settle(server, [ada, bob]);
  bob.edit([{ p: [0], li: "b" }]);
  await turn();
  const [one, other] = server.connections;
  server.receive(other, other.toServer.shift());
  const undone = ada.undo().catch(({ code }) => code);
  await turn();
  server.receive(one, one.toServer.shift());
  const frames = one.toClient.splice(0).map((frame) => JSON.parse(frame)).filter(({ event }) => event === "document:operation");
  assert.equal(frames.length, 2);
  const [{ data: first }, { data }] = frames;
  server.push(one, "document:operation", { ...data, operations: [...first.operations, ...data.operations] });
  ada.on("change", () => client.close({ settle: 0 }));
  one.onmessage({ data: one.toClient.shift() });
  assert.deepEqual([await undone, client.state, view.errors.map(({ code }) => code)], ["closed", "closed", ["unsettled"]]);
});

/** A document that is told more than it can take in in a slice: `tell(count)`, all in one push. */
async function flooded(t, options = {}) {
  const server = new ReferenceServer(seeded(124));
  const client = connect(server, options);
  t.after(() => client.close({ settle: 0 }));
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  let clock = 0;
  t.mock.method(performance, "now", () => (clock += 4)); // time passes with each look at it
  const { history } = server.document("notes");
  const tell = (count) => {
    const operations = Array.from({ length: count }, () => {
      const operation = { client: "zoe", seq: history.length + 1, operation: ["z".repeat(100)] };
      history.push(operation);
      server.document("notes").text = `${"z".repeat(100)}${server.document("notes").text}`;
      return operation;
    });
    server.push(only(server), "document:operation", { document: "notes", revision: history.length, operations });
    only(server).onmessage({ data: only(server).toClient.shift() });
  };
  return { server, notes, tell };
}

test("an edit goes out between the slices of what comes in", async (t) => {
  const { server, notes, tell } = await flooded(t);
  tell(200);
  notes.insert(0, "mine");
  await new Promise((resolve) => setTimeout(resolve, 1)); // one more slice
  await turn();
  assert.ok(notes.revision < 100, `${notes.revision}`);
  assert.equal(only(server).toServer.length, 1);
  await until(server, () => notes.settled && notes.revision === 201);
  assert.deepEqual([notes.text, notes.text.length], [server.document("notes").text, 20_004]);
});

test("what a document is told and cannot take in is bounded: it joins again, and misses nothing", async (t) => {
  const { server, notes, tell } = await flooded(t, { maxUnread: 10_000 });
  const states = [];
  notes.on("state", ({ state }) => states.push(state));
  tell(40); // 6 kB
  notes.insert(0, "mine");
  assert.deepEqual(states, []);
  tell(60);
  assert.deepEqual(states, ["detached"]);
  await until(server, () => notes.joined && notes.settled && notes.revision === 101);
  assert.deepEqual(notes.text, server.document("notes").text);
  assert.deepEqual(states, ["detached", "joining", "joined"]);
});
