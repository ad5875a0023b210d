// The others' cursors: told for a revision that is here, one that is still to come, or one that has passed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Places } from "../../src/client/browser/syncline-places.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";
import { connect, until } from "./driving.mjs";
import { ReferenceServer, seeded } from "./reference.mjs";
import { TypedServer, crowd, settle } from "./typed.mjs";

async function pair(t) {
  const server = new ReferenceServer(seeded(140));
  const clients = ["ada", "bob"].map((name) => connect(server, { name, guestToken: name }));
  t.after(() => clients.forEach((client) => client.close({ settle: 0 })));
  const [ada, bob] = clients.map((client) => client.document("notes"));
  await until(server, () => ada.collaborators.has(bob.id) && bob.joined);
  const connection = [...server.connections].find(({ user }) => user === "ada");
  const says = (event, data) => {
    server.push(connection, event, { document: "notes", ...data });
    connection.onmessage({ data: connection.toClient.shift() });
  };
  const cursor = (revision, anchor, head = anchor) => says("document:cursor", { revision, cursors: [{ client: bob.id, anchor, head }] });
  const commits = (revision, client, operation, count) =>
    says("document:operation", { revision, operations: [{ client, seq: revision, operation, ...(count && { count }) }] });
  const place = () => [...ada.cursors.values()].map(({ anchor, head }) => [anchor, head])[0];
  return { ada, bob, cursor, commits, place };
}

test("one of a revision that has not come waits for it, and is moved from there on", async (t) => {
  const { bob, cursor, commits, place } = await pair(t);
  cursor(2, 4, 6);
  assert.equal(place(), undefined);
  commits(1, "zoe", ["0123456789"]);
  assert.equal(place(), undefined);
  commits(2, "zoe", ["ab"]);
  assert.deepEqual(place(), [4, 6], "it knows that edit");
  commits(3, "zoe", ["!"]);
  assert.deepEqual(place(), [5, 7]);
  cursor(9, 1);
  cursor(3, 2); // the newest is what counts
  for (let revision = 4; revision < 11; revision += 1) commits(revision, "zoe", ["."]);
  assert.deepEqual(place(), [9, 9]);
  cursor(12, 1);
  commits(12, "zoe", ["xy"], 2);
  assert.deepEqual(place(), [1, 1], "several in one");
  cursor(13, null);
  commits(13, bob.id, [3, "z"]);
  assert.equal(place(), undefined);
});

test("one of a revision that has passed is moved on", async (t) => {
  const { ada, bob, cursor, commits, place } = await pair(t);
  commits(1, "zoe", ["0123456789"]);
  commits(2, "zoe", ["ab"]);
  commits(3, "zoe", [4, -3]);
  cursor(1, 1, 8);
  assert.deepEqual(place(), [3, 7]);
  commits(4, bob.id, [1, "mine"]);
  cursor(2, 7);
  assert.deepEqual(place(), [5, 5], "what it typed since says where it is");
  cursor(0, 0);
  assert.deepEqual(place(), [5, 5]);
  cursor(4, 99);
  assert.deepEqual(place(), [ada.text.length, ada.text.length]);
});

test("rich text: a position past the end is shown at the end", async (t) => {
  const server = new TypedServer(seeded(141), "rich-text");
  const { handles: [ada, bob], end } = await crowd(server, 2);
  t.after(end);
  ada.edit([{ insert: "abc" }]);
  await settle(server, [ada, bob]);
  const connection = [...server.connections].find(({ user }) => user === "user0");
  server.push(connection, "document:cursor", { document: "board", revision: 1, cursors: [{ client: bob.id, anchor: 9, head: 1 }] });
  await settle(server, [ada, bob]);
  const { anchor, head } = ada.cursors.get(bob.id);
  assert.deepEqual([anchor, head], [3, 1]);
  assert.equal(typeOf("rich-text").within([{ insert: "ab" }, { insert: { image: "x" } }], 7), 3);
});

test("what is kept to move a cursor that is told late is bounded, in number and in size", () => {
  const places = new Places(typeOf("text"));
  let revision = 0;
  const commits = (operation) => places.move(operation, null, revision, (revision += 1));
  const place = (told, position) => {
    places.put("bob", { anchor: position, head: position }, told, revision);
    return places.known.get("bob").anchor;
  };
  for (let times = 0; times < 300; times += 1) commits(["."]);
  assert.equal(place(100, 1), 201);
  assert.equal(place(0, 1), 257, "over the newest 256");
  commits(["x".repeat(262_144)]);
  assert.equal(place(299, 1), 1, "too large by itself: nothing is kept");
  commits(["y".repeat(262_000)]);
  commits(["z"]);
  assert.equal(place(301, 1), 262_002);
  commits(["w".repeat(200)]);
  assert.equal(place(301, 1), 202, "the oldest are let go of");
});
