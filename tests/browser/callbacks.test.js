// What callbacks do: they close, leave, edit and ask again while something is being told.
import assert from "node:assert/strict";
import { test } from "node:test";
import { json, ot } from "../../src/client/browser/syncline.js";
import { answer, connect, only, rest, until } from "./driving.mjs";
import { ReferenceServer, seeded, turn } from "./reference.mjs";

/** A room on a server with some messages in it. */
async function filled(server, count = 5) {
  const client = connect(server, { name: "Writer" });
  const room = client.room("team");
  await until(server, () => room.joined);
  for (let number = 0; number < count; number += 1) room.send(number);
  await until(server, () => room.settled);
  return { client, room, send: (...data) => data.forEach((one) => room.send(one)) };
}

test("who closes the client in a callback has closed it, whatever is being told", async () => {
  const cases = {
    online: (client, close) => client.on("state", ({ state }) => state === "online" && close()),
    connecting: (client, close) => client.on("state", ({ state }) => state === "connecting" && close()),
    waiting: (client, close) => client.on("state", ({ state }) => state === "waiting" && close()),
    detached: (client, close) => client.room("team").on("state", ({ state }) => state === "detached" && close()),
    joining: (client, close) => client.room("team").on("state", ({ state }) => state === "joining" && close()),
    joined: (client, close) => client.room("team").on("joined", close),
    caught_up: (client, close) => client.room("team").on("caught_up", close),
    message: (client, close) => client.room("team", { history: 5 }).on("message", close),
    change: (client, close) => client.document("notes").on("change", close),
    guest: (client, close) => (client.options.onGuestToken = close),
    forgotten: (client, close) => (client.options.onGuestToken = (token) => token === null && close()),
    stalled: (client, close) => client.on("stalled", (stalled) => stalled && close()),
  };
  for (const [name, arrange] of Object.entries(cases)) {
    const server = new ReferenceServer(seeded(80));
    server.pingSeconds = 0.03;
    const writer = await filled(server);
    await writer.client.close();
    const client = connect(server, { name: "Ada", heartbeat: 5, patience: 5 });
    let closed = 0;
    arrange(client, () => void (closed += 1, client.close({ settle: 0 })));
    await until(server, () => closed || client.online);
    if (name === "forgotten") {
      server.intercept = (connection, { event, data, id }) => {
        if (event !== "auth" || !data.token) return false;
        answer(connection, id, { code: "token_invalid", message: "" });
        return true;
      };
    } else server.intercept = (connection, { event }) => name === "stalled" && event === "ping";
    if (!closed && name !== "stalled") server.cut(only(server));
    await until(server, () => closed);
    server.intercept = () => false;
    server.log.length = 0;
    const told = client.states.length;
    for (let pause = 0; pause < 10; pause += 1) {
      await rest(server);
      await new Promise((resolve) => setTimeout(resolve, 10)); // more than a ping's time
    }
    const joined = [...client.rooms.values(), ...client.documents.values()].some((one) => one.joined);
    assert.deepEqual([name, client.state, joined, server.connections.size, server.log], [name, "closed", false, 0, []]);
    assert.deepEqual([client.states.at(-1), client.states.length], ["closed", told], name);
    client.connect().catch(() => {}); // and it may begin anew
    await until(server, () => client.online || closed > 1);
    client.close({ settle: 0 });
  }
});

test("who connects anew in a callback of the loss is connected once", async () => {
  for (const [first, event] of [["detached", "state"], ["stalled", "stalled"]]) {
    const server = new ReferenceServer(seeded(81));
    const client = connect(server, { backoffBase: 1e6, backoffMax: 1e6, heartbeat: 5, patience: 5 });
    const room = client.room("team");
    await until(server, () => room.joined);
    if (first === "detached") room.on(event, ({ state }) => state === "detached" && client.reconnect());
    else client.on(event, (stalled) => stalled || client.reconnect());
    if (first === "stalled") {
      server.intercept = (connection, envelope) => envelope.event === "ping";
      await until(server, () => client.stalled);
    }
    server.cut(only(server));
    server.intercept = () => false;
    await until(server, () => room.joined);
    assert.deepEqual([client.state, server.connections.size], ["online", 1]);
    client.close();
  }
});

test("who leaves in a callback hears nothing more of it, and is not in it", async () => {
  const server = new ReferenceServer(seeded(82));
  const { client: writer } = await filled(server);
  const client = connect(server);
  for (const [event, heard] of [["message", [0]], ["joined", []], ["members", []], ["state", [0, 1, 2, 3, 4]]]) {
    const room = client.room("team", { history: 5 });
    const got = [];
    room.on("message", ({ data }) => got.push(data));
    room.on(event, () => room.leave());
    await until(server, () => room.state === "left");
    await rest(server);
    assert.deepEqual([event, got], [event, heard]);
    assert.equal([...server.connections].filter((one) => one.rooms.has("team")).length, 1, `only the writer is in it: ${event}`);
  }
  client.close();
  writer.close();
});

test("every listener hears every change in the order in which they were made, also when one of them edits", async () => {
  const server = new ReferenceServer(seeded(83));
  const [ada, bob] = [connect(server, { name: "Ada" }), connect(server, { name: "Bob" })];
  const [one, two] = [ada.document("notes"), bob.document("notes")];
  await until(server, () => one.joined && two.joined);
  const heard = [];
  let mirror = one.text;
  one.on("change", ({ origin }) => {
    if (origin !== "remote") return;
    one.insert(0, ">");
    assert.equal(one.text[0], ">"); // at once
  });
  one.on("change", ({ operation, origin }) => {
    mirror = ot.apply(mirror, operation);
    heard.push(origin);
  });
  two.insert(0, "abc");
  await until(server, () => one.settled && two.settled && heard.length === 2);
  assert.deepEqual([heard, mirror], [["remote", "local"], one.text]);
  ada.close();
  bob.close();
});

test("of a typed document, too; and of the state of a client", async () => {
  const server = new ReferenceServer(seeded(84));
  server.intercept = (connection, { event, data, id }) => {
    if (event !== "document:join") return false;
    const result = { document: data.document, type: "json", generation: "g", revision: 0, role: "owner", seq: 0, client: data.client,
      content: [], operations: null, collaborators: [] };
    connection.toClient.push(JSON.stringify({ id, event: "document:state", result }));
    return true;
  };
  const client = connect(server);
  const board = client.document("board", { type: "json" });
  await until(server, () => board.joined);
  let mirror = [];
  board.on("change", ({ origin }) => origin === "remote" && board.edit([{ p: [0], li: "mine" }]));
  board.on("change", ({ operation }) => (mirror = json.apply(mirror, operation)));
  const operations = [{ client: "x", seq: 1, operation: [{ p: [0], li: "theirs" }] }];
  server.push(only(server), "document:operation", { document: "board", revision: 1, operations });
  await until(server, () => board.revision === 1);
  assert.deepEqual([board.content, mirror], [["mine", "theirs"], ["mine", "theirs"]]);
  client.on("state", ({ state }) => state === "waiting" && client.close({ settle: 0 }));
  const heard = [];
  client.on("state", ({ state }) => heard.push(state));
  server.cut(only(server));
  assert.deepEqual(heard, ["waiting", "closed"]);
});

test("an undo that was rejected at the end is not carried out later; edits are", async () => {
  const server = new ReferenceServer(seeded(85));
  const asked = [];
  server.intercept = (connection, { event, data, id }) => {
    if (event !== "document:undo") return false;
    asked.push(data.seq); // never answered
    return true;
  };
  const client = connect(server);
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  notes.insert(0, "one ");
  await until(server, () => notes.settled);
  const outcomes = [];
  const undo = () => notes.undo().then((done) => outcomes.push(done), ({ code }) => outcomes.push(code));
  undo();
  await until(server, () => asked.length === 1); // in flight
  notes.insert(0, "two ");
  undo(); // waits
  notes.insert(0, "three ");
  const changes = [];
  notes.on("settled", (settled) => changes.push(settled));
  assert.equal(await client.close({ settle: 0 }), 4);
  await turn();
  assert.deepEqual(outcomes, ["closed", "closed"]);
  assert.deepEqual([notes.settled, notes.text.slice(0, 14)], [false, "three two one "]);
  asked.length = 0;
  client.connect();
  await until(server, () => notes.joined && notes.settled);
  await rest(server);
  assert.deepEqual([asked, notes.text, changes], [[], server.document("notes").text, [true]]);
  assert.equal(notes.text.slice(0, 14), "three two one ");
  client.close();
});

test("a handshake that fails without a `close` event is the end of that attempt", async () => {
  const server = new ReferenceServer(seeded(86));
  let made = 0;
  class Silent extends server.WebSocket { // as Node's own: `error`, and nothing else
    constructor(...args) {
      super(...args);
      if ((made += 1) > 3) return;
      server.connections.delete(this);
      setTimeout(() => this.onerror({}), 1);
    }
  }
  const client = connect(server, { WebSocket: Silent });
  await until(server, () => client.online);
  assert.deepEqual([made, client.lastClose], [4, { code: 1006, reason: "no connection" }]);
  only(server).onerror({}); // of one that is open: `close` follows, with the reason
  assert.equal(client.online, true);
  client.close();
});

test("nothing is missed between a join and the first listener, within a bound", async () => {
  const server = new ReferenceServer(seeded(87));
  const writer = await filled(server, 3);
  const client = connect(server, { earlyMessages: 4 });
  const room = client.room("team", { history: 2 });
  await until(server, () => room.joined);
  const kept = () => room.history.map(({ data }) => data);
  assert.deepEqual([kept(), room.historyDropped], [[1, 2], 0]);
  writer.send(3, 4, 5, 6, 7);
  const seen = [];
  for (const { data } of room.history) { // who walks through it while more comes sees that, too
    seen.push(data);
    if (data === 1) await until(server, () => room.position.offset === 6);
  }
  assert.deepEqual(seen, [1, 2, 3, 4, 5]);
  await until(server, () => room.position.offset === 8);
  assert.deepEqual([kept(), room.historyDropped], [[2, 3, 4, 5, 6, 7], 1]); // four after the two that the join brought
  const heard = [];
  room.on("message", ({ data }) => heard.push(data));
  writer.send(8, 9);
  await until(server, () => room.position.offset === 10);
  assert.deepEqual([kept(), heard], [[2, 3, 4, 5, 6, 7], [8, 9]]);
  const other = connect(server, { earlyMessages: 0 });
  const listening = other.room("team", { history: 3 });
  const told = [];
  listening.on("message", ({ data }) => told.push(data));
  await until(server, () => listening.joined);
  writer.send(10);
  await until(server, () => listening.position.offset === 11);
  assert.deepEqual(listening.history.map(({ data }) => data), [7, 8, 9]); // told by events, too
  assert.deepEqual(told, [7, 8, 9, 10]);
  for (const one of [client, other, writer.client]) one.close();
});

test("who listens from a callback on hears what happens from then on; who does no more hears nothing", async () => {
  const server = new ReferenceServer(seeded(88));
  const client = connect(server);
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  const start = notes.text.length;
  let mirror = null;
  const gone = [];
  const off = notes.on("change", () => gone.push("first"));
  notes.on("change", () => notes.text.length === start + 1 && (notes.insert(0, "b"), off()));
  notes.on("change", () => {
    if (mirror !== null) return;
    mirror = notes.text;
    notes.on("change", ({ operation }) => (mirror = ot.apply(mirror, operation)));
  });
  notes.insert(0, "a");
  notes.insert(0, "c");
  assert.deepEqual([mirror, gone], [notes.text, ["first"]]);
  client.close();
});

test("callbacks that never agree are stopped, and a page goes on", async (context) => {
  const server = new ReferenceServer(seeded(89));
  const client = connect(server);
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  const faults = [];
  globalThis.reportError = (error) => faults.push(error.message);
  context.after(() => delete globalThis.reportError);
  const set = (letter) => notes.edit([letter, -1]);
  notes.insert(0, "a");
  notes.on("change", () => set(notes.text[0] === "a" ? "b" : "a"));
  set("b");
  assert.equal(faults.length, 1);
  assert.match(faults[0], /ever more/);
  client.close({ settle: 0 });
});

test("a room that waits is joined, and who waits for it told, when a callback connects anew in the middle of the end", async () => {
  const server = new ReferenceServer(seeded(91));
  const client = connect(server);
  const first = client.room("first");
  await until(server, () => first.joined);
  const intercept = server.intercept;
  server.intercept = (connection, { event, data }) => event === "room:join" && data.room === "team"; // not answered
  const waiting = client.join("team");
  const outcome = [];
  waiting.then((room) => outcome.push(room.state), ({ code }) => outcome.push(code));
  await rest(server);
  const release = first.on("state", ({ state }) => state === "detached" && client.connect());
  client.close({ settle: 0 });
  release();
  server.intercept = intercept;
  await until(server, () => outcome.length);
  assert.ok(["joined", "closed"].includes(outcome[0]), outcome[0]);
  client.close({ settle: 0 });
});

test("all who leave at once learn how much was not acknowledged, and it is told once", async () => {
  const server = new ReferenceServer(seeded(92));
  server.intercept = (connection, { event }) => event === "document:operation" || event === "document:undo";
  const client = connect(server);
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  notes.insert(0, "x");
  notes.undo().catch(() => {});
  const errors = [];
  notes.on("error", ({ code, count }) => errors.push([code, count]));
  assert.deepEqual(await Promise.all([20, 20, 5, 0].map((settle) => notes.leave({ settle }))), [2, 2, 2, 2]);
  assert.equal(await notes.leave(), 2);
  assert.deepEqual(errors, [["unsettled", 2]]);
  const other = client.document("other");
  await until(server, () => other.joined);
  other.insert(0, "x");
  other.on("error", ({ code, count }) => errors.push([code, count]));
  await client.close({ settle: 0 });
  await client.close({ settle: 0 });
  assert.deepEqual(errors, [["unsettled", 2], ["unsettled", 1]]);
});

test("the steps that a join brings are told", async () => {
  const server = new ReferenceServer(seeded(93));
  const client = connect(server);
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  let told;
  notes.on("steps", (steps) => (told = steps));
  notes.insert(0, "x");
  await until(server, () => notes.settled);
  assert.deepEqual(told, { undo: 1, redo: 0 });
  server.cut(only(server)); // this server keeps no steps
  await until(server, () => notes.joined);
  assert.deepEqual([told, notes.canUndo], [{ undo: 0, redo: 0 }, 0]);
  client.close();
});
