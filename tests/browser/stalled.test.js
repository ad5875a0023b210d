// What is typed while a server that is there does not answer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, only, until } from "./driving.mjs";
import { ReferenceServer, seeded, turn } from "./reference.mjs";

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
