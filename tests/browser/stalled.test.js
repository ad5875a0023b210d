// What is typed while a server that is there does not answer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, only, until } from "./driving.mjs";
import { ReferenceServer, seeded, turn } from "./reference.mjs";
import { TypedServer } from "./typed.mjs";

/** A clock that stands still but for `tick`. */
function stopped(context) {
  let now = 1000;
  context.mock.method(performance, "now", () => now);
  return { tick: (milliseconds) => void (now += milliseconds) };
}

test("it goes in steps of undo, as without a connection: word by word, edit by edit", async (context) => {
  const clock = stopped(context);
  const server = new ReferenceServer(seeded(90));
  const sent = { text: [], json: [] };
  let revision = 0;
  server.intercept = (connection, { event, data, id }) => {
    const json = data?.document === "board";
    if (event === "document:operation") sent[json ? "json" : "text"].push(data.operation);
    if (!json) return false;
    const result = { document: "board", type: "json", generation: "g", revision: 0, role: "owner", seq: 0, client: data.client, content: [],
      operations: null, collaborators: [] };
    if (event === "document:join") connection.toClient.push(JSON.stringify({ id, event: "document:state", result }));
    else {
      const operations = [{ client: board.id, seq: data.seq, operation: data.operation }];
      server.push(connection, "document:operation", { document: "board", revision: (revision += 1), operations });
    }
    return true;
  };
  const client = connect(server);
  const notes = client.document("notes");
  const board = client.document("board", { type: "json" });
  await until(server, () => notes.joined && board.joined);
  const before = notes.text.length;
  const type = async (text, number) => {
    for (const letter of text) {
      notes.insert(notes.text.length, letter);
      await turn();
    }
    board.edit([{ p: [number], li: number }]);
    await turn();
  };
  for (const [number, word] of ["a ", "b c ", "d ", "e"].entries()) {
    await type(word, number);
    clock.tick(600); // a second is over after the second word
  }
  await until(server, () => notes.settled && board.settled);
  const inserted = sent.text.map((operation) => operation.find((part) => typeof part === "string"));
  assert.deepEqual(inserted, ["a", " b c ", "d ", "e"]);
  assert.deepEqual(sent.json.map((operation) => operation.map(({ li }) => li)), [[0], [1], [2], [3]]);
  assert.equal(notes.text.slice(before), "a b c d e");
  client.close();
});

test("steps do not pile up where every answer takes long, and who leaves sends what waits as one", async (context) => {
  const clock = stopped(context);
  const server = new ReferenceServer(seeded(94));
  const client = connect(server);
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  const operations = () => server.log.filter(({ event }) => event === "document:operation").length;
  for (const most of [10, 2, 2]) { // the first time nothing is known of the link
    const before = operations();
    for (let edits = 0; edits < 6; edits += 1) {
      notes.insert(0, "y ");
      await turn();
      clock.tick(300);
    }
    await until(server, () => clock.tick(400) ?? notes.settled);
    assert.ok(operations() - before <= most, `${operations() - before}`);
  }
  server.cut(only(server));
  for (const word of ["one ", "two ", "three "]) notes.insert(0, word);
  const before = operations();
  const leaving = notes.leave();
  await until(server, () => notes.state === "left");
  assert.equal(await leaving, 0);
  assert.equal(operations() - before, 1);
  client.close();
});

test("an undo that is not answered in time is over; one that has not gone out never does", async (context) => {
  const server = new TypedServer(seeded(95));
  const client = connect(server, { requestTimeout: 40 });
  context.after(() => client.close({ settle: 0 }));
  const board = client.document("board", { type: "json" });
  await until(server, () => board.joined);
  board.edit([{ p: [], od: null, oi: ["one"] }]);
  await until(server, () => board.settled);
  const asked = () => server.log.filter(({ event }) => event === "document:undo");

  server.cut(only(server));
  const [undo, initialize, restore] = [board.undo(), board.initialize({}), board.restore(0)];
  for (const [request, kind] of [[undo, "undo"], [initialize, "initialize"], [restore, "restore"]]) {
    await assert.rejects(request, { code: "not_sent", event: `document:${kind}` });
  }
  assert.equal(board.settled, true);
  await until(server, () => board.joined);
  assert.deepEqual([asked().length, board.content], [0, ["one"]], "it was given up");

  server.intercept = (_, { event }) => event === "document:undo"; // it says nothing
  const late = board.undo();
  const seen = late.catch((error) => error);
  await until(server, () => asked().length === 1);
  const error = await seen;
  assert.deepEqual([error.code, error.event], ["timeout", "document:undo"]);
  assert.equal(board.settled, false, "it may be done yet");
  server.intercept = () => false;
  await until(server, () => board.settled);
  assert.deepEqual([board.content, asked().length > 1], [null, true], "and was asked for again, after a join that told its fate");
  const redo = board.redo();
  await until(server, () => board.settled);
  assert.equal(await redo, true);
});

test("an edit that is not answered in time is asked after by a join, unless it has not left", async (context) => {
  const server = new ReferenceServer(seeded(96));
  const client = connect(server, { requestTimeout: 30 });
  context.after(() => client.close({ settle: 0 }));
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  const joins = () => server.log.filter(({ event }) => event === "document:join").length;
  server.intercept = (_, { event }) => event === "document:operation";
  notes.insert(0, "kept");
  await until(server, () => joins() === 2);
  server.intercept = () => false;
  await until(server, () => notes.settled);
  assert.deepEqual([notes.text, server.document("notes").text], ["kept", "kept"]);

  const before = joins();
  only(server).bufferedAmount = 10;
  server.intercept = (_, { event }) => event === "document:operation";
  notes.insert(4, "!");
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(joins(), before);
  only(server).bufferedAmount = 0;
  await until(server, () => joins() > before);
  server.intercept = () => false;
  await until(server, () => notes.settled);
  assert.equal(server.document("notes").text, "kept!");
});

test("one that was refused for now is not asked after before it has gone out again", async (context) => {
  const server = new ReferenceServer(seeded(97));
  const client = connect(server, { requestTimeout: 30, backoffBase: 200, backoffMax: 200, random: () => 0.5 });
  context.after(() => client.close({ settle: 0 }));
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  let refusals = 0;
  server.refuse = () => ((refusals += 1) === 1 ? "rate_limited" : null);
  notes.insert(0, "kept");
  await until(server, () => notes.settled);
  assert.equal(server.log.filter(({ event }) => event === "document:join").length, 1);
});

test("an undo that is answered, and does not come, is asked after by a join", async (context) => {
  const server = new TypedServer(seeded(98));
  const client = connect(server, { requestTimeout: 30 });
  context.after(() => client.close({ settle: 0 }));
  const board = client.document("board", { type: "json" });
  await until(server, () => board.joined);
  board.edit([{ p: [], od: null, oi: ["one"] }]);
  await until(server, () => board.settled);
  let answers = 0;
  server.intercept = (connection, { id, event, data }) => {
    if (event !== "document:undo") return false;
    answers += 1;
    const result = { document: "board", revision: data.revision + 1, seq: data.seq, undo: 0, redo: 1 };
    connection.toClient.push(JSON.stringify({ id, event, result }));
    return true;
  };
  const undone = board.undo().catch(({ code }) => code);
  await until(server, () => answers === 1);
  board.edit([{ p: [0], li: "later" }]);
  await until(server, () => answers > 1); // after a join
  server.intercept = () => false;
  await until(server, () => board.settled);
  assert.deepEqual([await undone, board.content], ["timeout", server.document("board").content]);
});

test("an edit of which a join says that it follows is asked after when it does not", async (context) => {
  const server = new ReferenceServer(seeded(99));
  const client = connect(server, { requestTimeout: 30 });
  context.after(() => client.close({ settle: 0 }));
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  let joins = 0;
  server.intercept = (connection, { id, event, data }) => {
    if (event === "document:operation") return true;
    if (event !== "document:join") return false;
    joins += 1;
    const result = { document: "notes", generation: notes.generation, revision: data.revision, role: "editor", unit: "utf-16", client: data.client,
      seq: 1, text: null, operations: [], collaborators: [], more: true };
    connection.toClient.push(JSON.stringify({ id, event: "document:state", result }));
    return true;
  };
  notes.insert(0, "mine");
  await until(server, () => joins > 2);
  server.intercept = () => false;
  await until(server, () => notes.settled);
  assert.equal(notes.text, server.document("notes").text);
});
