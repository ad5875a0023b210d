// Roles that change, and people who are taken out, while connected.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../../src/client/browser/syncline.js";
import { ReferenceServer, seeded, turn } from "./reference.mjs";

const instant = { backoffBase: 0, backoffMax: 0, requestTimeout: 60_000, connectTimeout: 60_000, name: "Ada" };

async function until(server, done) {
  for (let tries = 0; tries < 3000; tries += 1) {
    if (done()) return;
    server.step();
    await turn();
  }
  throw new Error("it did not come to that");
}

const only = (server) => [...server.connections][0];
const answer = (connection, id, code) => connection.toClient.push(JSON.stringify({ id, event: "error", error: { code, message: "no" } }));

/** A client with a handle that is joined, and what it tells. */
async function joined(t, server, kind) {
  const client = new Client("http://reference/ws", { WebSocket: server.WebSocket, ...instant });
  t.after(() => client.close());
  client.connect();
  await until(server, () => client.online);
  const handle = kind === "room" ? client.room("x") : client.document("x", { type: kind });
  const told = [];
  for (const name of ["role", "removed"]) handle.on(name, (detail) => told.push({ [name]: detail }));
  await until(server, () => handle.joined);
  return { client, handle, told };
}

/** A server of JSON documents that need nothing but being there. */
function typedServer(seed) {
  const server = new ReferenceServer(seeded(seed));
  server.intercept = (connection, { event, data, id }) => {
    if (event !== "document:join" || data.type !== "json") return false;
    const result = { document: data.document, type: "json", generation: "g", revision: 0, role: "owner", seq: 0, undo: 0, redo: 0,
      client: data.client, content: {}, operations: null, collaborators: [{ client: "other", user: "o", name: "O", role: "editor" }] };
    connection.toClient.push(JSON.stringify({ id, event: "document:state", result }));
    return true;
  };
  return server;
}

const forbidden = { code: "forbidden" };

test("who is taken out of a room is told; what waits or comes later fails with the reason; it may be joined again", async (t) => {
  const server = new ReferenceServer(seeded(1));
  const { client, handle: room, told } = await joined(t, server, "room");
  assert.deepEqual([room.role, room.writable, room.removed], ["member", true, null]);
  const intercept = server.intercept;
  server.intercept = (connection, { id, event }) => {
    if (event !== "message:send" && event !== "event:custom") return false;
    if (id % 2) server.push(connection, "room:removed", { room: "x" });
    answer(connection, id, "not_a_member");
    return true;
  };
  const late = [room.send(1), room.send(2, { retry: false }), room.sendEvent("x")];
  for (const one of late) one.catch(() => {});
  await until(server, () => room.removed);
  for (const one of late) await Promise.race([assert.rejects(one, forbidden), until(server, () => false).catch(() => assert.fail("no answer"))]);
  assert.deepEqual(told, [{ removed: { code: "forbidden", message: "taken out of the room" } }]);
  assert.deepEqual([room.state, room.joined, room.writable, client.rooms.size], ["removed", false, false, 0]);
  for (const call of [() => room.send(1), () => room.send(1, { retry: false }), () => room.sendEvent("x"), () => room.allMembers()]) {
    await assert.rejects(call(), forbidden);
  }
  await room.leave();
  server.cut(only(server));
  await until(server, () => client.online);
  assert.equal(only(server).rooms.size, 0, "it is not joined again by itself");
  server.intercept = intercept;
  const again = client.room("x");
  assert.notEqual(again, room);
  await until(server, () => again.joined);
  assert.equal(told.length, 1);
});

test("who is not let in again after a lost connection was taken out", async (t) => {
  for (const [kind, code] of [["room", "forbidden"], ["room", "password_required"], ["text", "forbidden"], ["text", "document_not_found"]]) {
    const server = new ReferenceServer(seeded(2));
    const { client, handle, told } = await joined(t, server, kind);
    server.intercept = (connection, { id, event }) => event.endsWith(":join") && (answer(connection, id, code), true);
    server.cut(only(server));
    if (kind === "room") {
      const waiting = handle.send("waits");
      waiting.catch(() => {});
      await until(server, () => handle.removed);
      await assert.rejects(waiting, { code });
    } else await until(server, () => handle.removed);
    assert.deepEqual(told, [{ removed: { code, message: "no" } }]);
    assert.deepEqual([handle.state, handle.writable, client.rooms.size + client.documents.size], ["removed", false, 0]);
  }
});

test("a role in a room that changes, while connected or away", async (t) => {
  const server = new ReferenceServer(seeded(3));
  const { handle: room, told } = await joined(t, server, "room");
  for (const role of ["reader", "reader", "moderator"]) server.push(only(server), "room:role", { room: "x", role });
  await until(server, () => room.role === "moderator");
  assert.deepEqual(told, [{ role: { role: "reader" } }, { role: { role: "moderator" } }]);
  assert.equal(room.writable, true);
  server.cut(only(server));
  await until(server, () => room.joined);
  assert.deepEqual([room.role, told.at(-1)], ["member", { role: { role: "member" } }]);
});

test("a role in a document is taken and given, access is taken away", async (t) => {
  for (const kind of ["text", "json"]) {
    const server = kind === "json" ? typedServer(4) : new ReferenceServer(seeded(4));
    const { client, handle, told } = await joined(t, server, kind);
    const edit = () => (kind === "json" ? handle.edit([{ p: ["a"], oi: 1 }]) : handle.insert(0, "a"));
    const role = (name, id = handle.id) => server.push(only(server), "document:role", { document: "x", client: id, user: "u", role: name });
    role("reader");
    await until(server, () => told.length === 1);
    assert.deepEqual([handle.role, handle.writable, told[0]], ["reader", false, { role: { role: "reader" } }]);
    assert.throws(edit, { ...forbidden, event: "document:operation" });
    for (const [ask, event] of [["undo", "document:undo"], ["redo", "document:redo"], ["restore", "document:restore"]]) {
      await assert.rejects(handle[ask](0), { ...forbidden, event });
    }
    role("editor");
    await until(server, () => told.length === 2);
    assert.equal(handle.writable, true);
    const changed = [];
    handle.on("collaborators", (people) => changed.push([...people.values()].map((one) => one.role)));
    if (kind === "json") {
      role("reader", "other");
      await until(server, () => changed.length);
      assert.deepEqual(changed, [["reader"]]);
    }
    edit();
    const undone = handle.undo();
    undone.catch(() => {});
    server.push(only(server), "document:removed", { document: "x" });
    await until(server, () => handle.removed);
    await assert.rejects(undone, forbidden);
    assert.throws(edit, forbidden);
    await assert.rejects(handle.undo(), forbidden);
    assert.deepEqual([handle.state, handle.writable, client.documents.size], ["removed", false, 0]);
    assert.deepEqual(told.at(-1), { removed: { code: "forbidden", message: "your access was taken away" } });
    const again = client.document("x", { type: kind });
    assert.notEqual(again, handle);
    await until(server, () => again.joined);
  }
});

test("what is asked of a document as it ends fails with the reason, and so does what is asked of it then", async (t) => {
  for (const kind of ["text", "json"]) {
    for (const [end, reason] of [["removed", forbidden], ["left", { code: "closed" }]]) {
      const server = kind === "json" ? typedServer(5) : new ReferenceServer(seeded(5));
      const { handle } = await joined(t, server, kind);
      const { intercept } = server;
      server.intercept = (connection, request) => {
        if (request.event === "document:join") return intercept(connection, request);
        answer(connection, request.id, "not_joined");
        return true;
      };
      const asking = [() => handle.grant("bob", "reader")];
      if (kind === "text") asking.push(() => handle.history(), () => handle.textAt(0), () => handle.blame());
      const late = asking.map((ask) => ask());
      if (end === "left") handle.leave({ settle: 0 });
      else server.push(only(server), "document:removed", { document: "x" });
      await until(server, () => handle.state === end);
      await turn();
      let failed = 0;
      for (const one of late) one.catch(() => (failed += 1));
      await until(server, () => failed === late.length);
      for (const one of late) await assert.rejects(one, reason);
      for (const ask of asking) await assert.rejects(ask(), reason);
      if (kind === "text") for (const place of [0, null]) assert.throws(() => handle.setCursor(place), reason);
      else assert.throws(() => handle.setContent(handle.content), reason);
    }
  }
});

test("a reader cannot set a content, also when that is the one that is there; nobody can before it is there", async (t) => {
  const server = typedServer(6);
  const { client, handle } = await joined(t, server, "json");
  assert.throws(() => client.document("later", { type: "json" }).setContent(null), { code: "not_joined", message: /not joined yet/ });
  handle.setContent({});
  server.push(only(server), "document:role", { document: "x", client: handle.id, user: "u", role: "reader" });
  await until(server, () => handle.role === "reader");
  assert.throws(() => handle.setContent({}), { code: "forbidden", message: /readers/ });
});

test("the membership of a room that was left is not ended in silence", async (t) => {
  const server = new ReferenceServer(seeded(7));
  const { handle: room } = await joined(t, server, "room");
  await room.leave({ settle: 0 });
  await assert.rejects(room.leave({ resign: true }), { code: "closed" });
  assert.equal(await room.leave(), 0);
  const { handle: other } = await joined(t, server, "room");
  for (const one of server.connections) server.push(one, "room:removed", { room: "x" });
  await until(server, () => other.removed);
  assert.equal(await other.leave({ resign: true }), 0); // it has none any more
});
