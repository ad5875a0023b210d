// A document or room that is joined again and again without anything coming of it waits ever longer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, until } from "./driving.mjs";
import { ReferenceServer, seeded } from "./reference.mjs";
import { TypedServer } from "./typed.mjs";

const WAITS = [3, 6, 12, 24, 48];

/** A client whose waits before joining again are noted; `rude(connection, envelope, reply)` is what the server makes of a join after the first. */
function crossed(t, seed, rude) {
  const server = new ReferenceServer(seeded(seed));
  const client = connect(server, { backoffBase: 4, backoffMax: 64, random: () => 0.5 });
  t.after(() => client.close({ settle: 0 }));
  const waits = [];
  const { setTimeout } = globalThis;
  t.mock.method(globalThis, "setTimeout", (action, wait, ...rest) => {
    if (WAITS.includes(wait)) waits.push(wait);
    return setTimeout(action, wait, ...rest);
  });
  let joins = 0;
  server.intercept = (connection, envelope) => {
    if (!/:join$/.test(envelope.event) || (joins += 1) === 1) return false;
    assert.ok(joins < 100, "it is joined without a wait");
    const say = (rest) => connection.toClient.push(JSON.stringify({ id: envelope.id, ...rest }));
    const { document: name, client: id } = envelope.data;
    const state = (revision, rest) => say({
      event: "document:state",
      result: { document: name, generation: "g0", revision, role: "editor", unit: "utf-16", client: id, seq: 0, text: null, collaborators: [], ...rest },
    });
    return rude({ server, connection, envelope, joins, say, state });
  };
  const grows = () => until(server, () => waits.length > 5).then(() => assert.deepEqual(waits.slice(0, 6), [3, 6, 12, 24, 48, 48]));
  return { server, client, waits, grows, joins: () => joins };
}

const again = ({ server, connection, envelope }) => {
  server.handle(connection, envelope);
  server.push(connection, "document:resync", { document: "d", reason: "" });
  return true;
};

test("a document that the server begins anew with", async (t) => {
  const { server, client, grows } = crossed(t, 150, again);
  const document = client.document("d");
  await until(server, () => document.joined);
  server.push([...server.connections][0], "document:resync", { document: "d", reason: "" });
  await grows();
});

test("one whose name is always taken", async (t) => {
  const { server, client, grows } = crossed(t, 151, ({ say }) => {
    say({ event: "error", error: { code: "client_taken", message: "" } });
    return true;
  });
  const document = client.document("d");
  await until(server, () => document.joined);
  server.push([...server.connections][0], "document:resync", { document: "d", reason: "" });
  await grows();
});

test("one of whose history something is always missing", async (t) => {
  const { server, client, grows } = crossed(t, 152, ({ state }) => {
    state(9, { operations: [{ client: "zoe", seq: 1, operation: ["?"] }] });
    return true;
  });
  const document = client.document("d");
  await until(server, () => document.joined);
  server.push([...server.connections][0], "document:resync", { document: "d", reason: "" });
  await grows();
});

for (const told of [[], [{ client: "zoe", seq: 1, operation: ["?"] }]]) {
  test(`one that is never told what became of an edit under its old name: ${told.length} operations and more to come`, async (t) => {
    const { server, client, grows, joins } = crossed(t, 153, ({ connection, say, state, joins: times }) => {
      if (times === 2) say({ event: "error", error: { code: "client_taken", message: "" } });
      else state(told.length, { operations: told, more: true });
      return true;
    });
    const document = client.document("d");
    await until(server, () => document.joined);
    let edits = 0;
    server.refuse = () => "none may come";
    document.insert(0, "in doubt");
    await until(server, () => server.log.some(({ event }) => event === "document:operation"));
    edits = server.log.filter(({ event }) => event === "document:operation").length;
    server.cut([...server.connections][0]);
    await grows();
    assert.ok(joins() > 6);
    assert.equal(server.log.filter(({ event }) => event === "document:operation").length, edits, "it may have got in");
    assert.ok(document.text.includes("in doubt"));
  });
}

test("one whose history comes in parts is joined at once for each", async (t) => {
  const { server, client, waits, joins } = crossed(t, 154, ({ say, state, joins: times }) => {
    const at = times - 2;
    if (times === 2) say({ event: "error", error: { code: "client_taken", message: "" } });
    else state(at, { operations: [{ client: "zoe", seq: at, operation: ["?"] }], ...(at < 9 && { more: true }) });
    return true;
  });
  const document = client.document("d");
  await until(server, () => document.joined);
  server.refuse = () => "none may come";
  document.insert(0, "in doubt");
  await until(server, () => server.log.some(({ event }) => event === "document:operation"));
  server.refuse = () => null;
  server.cut([...server.connections][0]);
  await until(server, () => document.joined && document.revision >= 9);
  assert.deepEqual([joins(), waits], [11, []]);
});

test("a room in whose messages there is always a hole", async (t) => {
  const { server, client, grows } = crossed(t, 155, ({ server: of, connection, envelope }) => {
    of.handle(connection, envelope);
    of.push(connection, "room:behind", { room: "r" });
    return true;
  });
  const room = client.room("r");
  await until(server, () => room.joined);
  server.push([...server.connections][0], "message:received", { room: "r", offset: 7, epoch: "e1", user: "zoe", name: "", time: 0, data: 1 });
  await grows();
});

test("what was done in JSON while a join was under way goes past all operations, not over the content that it brings", async (t) => {
  const server = new TypedServer(seeded(160));
  const client = connect(server);
  t.after(() => client.close({ settle: 0 }));
  const board = client.document("board", { type: "json" });
  await until(server, () => board.joined);
  board.edit([{ p: [], od: null, oi: [{ t: "abc" }, 1] }]);
  await until(server, () => board.settled);
  const told = [];
  server.intercept = (connection, { id, event, data }) => {
    if (event !== "document:join") return false;
    told.push("pending" in data);
    if (told.length > 1) return false;
    board.edit([{ p: [0, "t", 3], si: "!" }]); // an element without id: a difference would not know it again
    const result = { document: "board", type: "json", generation: board.generation, revision: board.revision, role: "editor", unit: "utf-16",
      client: data.client, seq: data.pending?.[0]?.seq ?? 1, text: null, content: [1, { t: "xabc" }], operations: null, pending: [], collaborators: [] };
    connection.toClient.push(JSON.stringify({ id, event: "document:state", result }));
    return true;
  };
  server.push([...server.connections][0], "document:resync", { document: "board", reason: "" });
  await until(server, () => told.length === 2 && board.settled);
  assert.deepEqual([told, board.content], [[true, false], [{ t: "abc!" }, 1]]);
});
