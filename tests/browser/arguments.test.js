// What a program says wrongly is refused where it is said, and changes nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { bindTextarea, Client, json, richText } from "../../src/client/browser/syncline.js";
import { answer, connect, rest, until } from "./driving.mjs";
import { ReferenceServer, seeded } from "./reference.mjs";

/** A client that is online, and what else a test needs of it. */
async function online(context, options = {}) {
  const server = new ReferenceServer(seeded(1));
  const client = connect(server, options);
  context.after(() => client.close({ settle: 0 }));
  await until(server, () => client.online);
  return { server, client, until: (done) => until(server, done) };
}

test("an edit outside of the text, or of other things than texts and numbers, is refused", async (t) => {
  const { server, client, until } = await online(t);
  const notes = client.document("notes");
  assert.throws(() => notes.insert(5, "early"), { code: "not_joined" });
  await until(() => notes.joined);
  notes.insert(0, "a horse");
  await until(() => notes.settled);
  const changes = [];
  notes.on("change", (change) => changes.push(change));
  const outside = [
    () => notes.insert(-5, "Z"), () => notes.insert(notes.text.indexOf("zebra"), "Z"), () => notes.insert(8, "Z"),
    () => notes.insert(8, ""), () => notes.delete(-1, 1), () => notes.delete(0, -1), () => notes.delete(5, 3),
    () => notes.replace(-1, 1, "q"), () => notes.replace(0, 8, "q"),
    () => notes.edit([8, "Z"]), () => notes.setCursor(999, -5), () => notes.setCursor(-1), () => notes.setCursor(0, 8),
  ];
  for (const call of outside) assert.throws(call, RangeError, String(call));
  const strange = [
    () => notes.insert(0, -3), () => notes.insert(0, 5), () => notes.insert(0), () => notes.insert("1", "x"), () => notes.insert(0.5, "x"),
    () => notes.insert(NaN, "x"), () => notes.insert(Symbol("x"), "x"), () => notes.delete(0), () => notes.delete("0", 1),
    () => notes.replace(0, null, "q"),
    () => notes.edit([0.5, "x"]), () => notes.setCursor("1"), () => notes.setCursor(), () => notes.setCursor(0, null),
  ];
  for (const call of strange) assert.throws(call, TypeError, String(call));
  assert.deepEqual([notes.text, notes.settled, changes], ["a horse", true, []]);
  notes.insert(7, "!");
  notes.delete(0, 2);
  notes.replace(0, 5, "zebra");
  notes.insert(0, "");
  notes.delete(6, 0);
  notes.setCursor(6, 0);
  notes.setCursor(null);
  await until(() => notes.settled);
  assert.deepEqual([notes.text, server.document("notes").text], ["zebra!", "zebra!"]);
});

test("an option that there is not is refused by name, and nothing is asked", async (t) => {
  const { server, client, until } = await online(t);
  const room = client.room("team");
  const notes = client.document("notes");
  const board = client.document("board", { type: "text" });
  await until(() => room.joined && notes.joined && board.joined);
  server.log.length = 0;
  const wrong = [
    [() => new Client("ws://reference", { nmae: "Ada" }), '"nmae"'],
    [() => client.join("other", { histroy: 5 }), '"histroy"'],
    [() => client.room("other", { signal: null }), '"signal"'],
    [() => client.document("other", { typ: "json" }), '"typ"'],
    [() => client.createRoom("vault", { default_role: "reader", password: "x" }), '"default_role"'],
    [() => client.createRoom("vault", { pasword: "x" }), '"pasword", but password, defaultRole'],
    [() => client.createDocument("other", "", { default_role: "reader" }), '"default_role"'],
    [() => client.request("ping", {}, { timeout: 5 }), '"timeout"'],
    [() => client.close({ settel: 0 }), '"settel"'],
    [() => room.send("x", { ecko: false }), '"ecko"'],
    [() => room.sendEvent("secret", 1, { users: ["bob"] }), '"users", but to'],
    [() => room.sendEvent("secret", 1, { to: { user: ["bob"] } }), '"user", but users, connections'],
    [() => room.sendEvent("secret", 1, { to: null }), "null"],
    [() => room.sendEvent("secret", 1, "bob"), "bob"],
    [() => room.allMembers({ limit: 5 }), '"limit"'],
    [() => room.leave({ resing: true }), '"resing"'],
    [() => notes.leave({ resign: true }), '"resign"'],
    [() => notes.history({ form: 1 }), '"form"'],
    [() => notes.textAt(1, { at: 1 }), '"at"'],
    [() => notes.blame({ from: 1 }), '"from"'],
  ];
  for (const [call, said] of wrong) {
    await assert.rejects(async () => call(), (error) => error instanceof TypeError && error.message.includes(said), String(call));
  }
  assert.deepEqual([client.online, room.joined, notes.joined, client.rooms.size, client.documents.size], [true, true, true, 1, 2]);
  await rest(server);
  assert.deepEqual(server.log, []);
  room.sendEvent("secret", 1, { to: { users: [] } }).catch(() => {});
  room.sendEvent("open", 1).catch(() => {});
  await until(() => server.log.length === 2);
  assert.deepEqual(server.log.map(({ data }) => data.to), [{ users: [] }, undefined]);
});

test("an event that there is not has no listeners", async (t) => {
  const { client } = await online(t);
  const emitters = [client, client.room("team"), client.document("notes"), client.document("board", { type: "json" })];
  for (const emitter of emitters) {
    for (const name of ["mesage", "_end", undefined]) {
      assert.throws(() => emitter.on(name, () => {}), TypeError);
      assert.throws(() => emitter.off(name, () => {}), TypeError);
    }
    assert.throws(() => emitter.on("state"), /a callback is a function/);
    emitter.on("state", () => {})();
  }
});

test("what a document is created with is sent as it was given: text and content are the server's to refuse", async (t) => {
  const { server, client, until } = await online(t);
  server.log.length = 0;
  const content = { a: 1 };
  const calls = [
    ["", { content }], ["Hello", { type: "json", content }], ["Hello"], ["", { type: "json", content }], [undefined, { type: "json" }], [],
  ];
  for (const given of calls) client.createDocument("n", ...given).catch(() => {});
  await until(() => server.log.length === calls.length);
  assert.deepEqual(server.log.map(({ data: { document: _, default_role: role, ...data } }) => role === "editor" && data), [
    { type: "text", content, text: "" }, { type: "json", content, text: "Hello" }, { type: "text", text: "Hello" },
    { type: "json", content }, { type: "json" }, { type: "text", text: "" },
  ]);
});

test("a document that is open is not had as another type, or under another id", async (t) => {
  const { server, client, until } = await online(t);
  const notes = client.document("notes", { client: "mine" });
  const page = client.document("page", { type: "rich-text" }); // not joined: this server has none
  await until(() => notes.joined);
  assert.equal(client.document("notes"), notes);
  assert.equal(client.document("notes", { type: "text", client: "mine" }), notes);
  assert.equal(client.document("page", { type: "rich-text", client: page.id }), page);
  server.log.length = 0;
  const another = [["notes", { type: "json" }, "another type"], ["page", { type: "json" }, "another type"], ["page", {}, "another type"],
    ["notes", { client: "other" }, "another client id"], ["page", { type: "rich-text", client: "other" }, "another client id"]];
  for (const [name, options, how] of another) {
    const handle = client.document(name, options);
    const told = [];
    for (const event of ["removed", "error"]) handle.on(event, ({ code, message }) => told.push({ [event]: { code, message } }));
    const refused = { code: "invalid_data", message: `"${name}" is open ${how === "another type" ? "as" : "under"} ${how}` };
    await assert.rejects(handle.ready, refused);
    assert.deepEqual([handle.writable, handle.state, told], [false, "failed", [{ error: refused }]]);
    assert.throws(() => (handle.insert ? handle.insert(0, "x") : handle.edit([])), refused);
    await assert.rejects(handle.undo(), refused);
    assert.equal(await handle.leave(), 0);
  }
  const left = client.document("notes", { type: "json" });
  assert.equal(await left.leave(), 0); // before it was told
  assert.equal(left.state, "left");
  assert.deepEqual([client.documents.get("notes"), client.documents.get("page"), client.documents.size], [notes, page, 2]);
  notes.insert(0, "still here");
  await until(() => notes.settled);
  const asked = server.log.filter(({ data }) => data.document !== "page"); // that tries to join
  assert.deepEqual(asked.map(({ event }) => event), ["document:operation"]);
  assert.equal(await client.document("notes").ready, notes);
  server.intercept = (connection, { event, data, id }) => {
    if (event !== "document:join" || data.client !== "theirs") return false;
    answer(connection, id, { code: "client_taken", message: "of another user" });
    return true;
  };
  const renamed = client.document("renamed", { client: "theirs" });
  await until(() => renamed.joined);
  assert.notEqual(renamed.id, "theirs");
  assert.equal(client.document("renamed", { client: "theirs" }), renamed);
  assert.equal(client.document("renamed", { client: renamed.id }), renamed);
});

test("what can never connect is refused at once, not tried for ever", async () => {
  class Counted {
    static made = 0;

    constructor() {
      Counted.made += 1;
      throw new SyntaxError("no");
    }
  }
  for (const url of ["foo bar://", "127.0.0.1:8000/ws", "localhost:8000/ws", "/ws", "ftp://reference/ws", "ws://", "", { name: "Ada" }]) {
    const client = new Client(url, { WebSocket: Counted });
    await assert.rejects(client.connect(), (error) => error instanceof TypeError && error.message.includes(JSON.stringify(String(url))));
    assert.equal(client.state, "idle");
  }
  await assert.rejects(new Client("ws://reference", { WebSocket: "ws" }).connect(), TypeError);
  const there = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  delete globalThis.WebSocket;
  await assert.rejects(new Client("ws://reference").connect(), /there is no WebSocket here/);
  if (there) Object.defineProperty(globalThis, "WebSocket", there);
  assert.equal(Counted.made, 0);
  // A class that throws: browsers do for what the page may not, or for a URL that they do not take.
  const client = new Client("wss://reference/ws", { WebSocket: Counted, backoffBase: 0 });
  const room = client.room("team");
  await assert.rejects(client.connect(), SyntaxError);
  await assert.rejects(room.ready, SyntaxError);
  assert.deepEqual([client.state, Counted.made], ["closed", 1]);
});

test("a room and a document may be asked for before there is a connection", async (t) => {
  const server = new ReferenceServer(seeded(2));
  const client = new Client("ws://reference", { WebSocket: server.WebSocket, requestTimeout: 60_000 });
  t.after(() => client.close({ settle: 0 }));
  const joined = client.join("team");
  const opened = client.document("notes").ready;
  await assert.rejects(client.createRoom("vault"), { code: "disconnected" });
  client.connect();
  await until(server, () => client.rooms.get("team").joined && client.documents.get("notes").joined);
  assert.deepEqual([(await joined).name, (await opened).name], ["team", "notes"]);
});

test("a name that is no text, a textarea that is none, a status that there is not: refused where it is said", async (t) => {
  const { server, client, until } = await online(t);
  const room = client.room("team");
  const notes = client.document("notes");
  const board = client.document("board", { type: "json" }); // this server has no such documents: it tries to join
  const asked = () => server.log.filter(({ data }) => data.document !== "board");
  await until(() => room.joined && notes.joined);
  server.log.length = 0;
  const wrong = [
    [() => client.join(5), "the name of a room is a string, not 5"], [() => client.join(), "a room is a string, not undefined"],
    [() => client.room(null), "a room is a string, not null"], [() => client.document(undefined), "a document is a string, not undefined"],
    [() => client.createRoom(), "a room is a string"], [() => client.createDocument({}), "a document is a string"],
    [() => client.request(undefined), "a request is a string"],
    [() => client.setPresence("bzzy"), '"bzzy", but online, away, busy'], [() => client.setPresence("offline"), "offline"],
    [() => client.setPresence(), "undefined"],
    [() => bindTextarea(notes, null), "a textarea, not null"], [() => bindTextarea(notes, {}), "a textarea"],
    [() => bindTextarea(board, {}), "the handle of a text"], [() => bindTextarea("notes", {}), 'the handle of a text, not "notes"'],
  ];
  for (const [call, said] of wrong) {
    await assert.rejects(async () => call(), (error) => error instanceof TypeError && error.message.includes(said), String(call));
  }
  for (const call of [() => client.room(5), () => client.document(5), () => client.setPresence("bzzy")]) assert.throws(call, TypeError);
  await rest(server);
  assert.deepEqual([client.rooms.size, client.documents.size, asked()], [1, 2, []]);
  client.createDocument("half \ud83d").catch(() => {}); // as `document` calls it
  client.setPresence("away");
  await until(() => asked().length === 2);
  assert.deepEqual(asked().map(({ data }) => data.document ?? data.status), ["half \ufffd", "away"]);
});

test("what is no number of JSON is refused and not sent as null; what is null, or such a word, is sent", async (t) => {
  const { server, client, until } = await online(t);
  const room = client.room("team");
  await until(() => room.joined);
  server.log.length = 0;
  const errors = [];
  room.on("error", ({ code }) => errors.push(code));
  const wrong = [
    () => room.send(NaN), () => room.send({ a: [1, { b: -Infinity }] }), () => room.send(Infinity, { retry: false }),
    () => room.sendEvent("x", { at: 0 / 0 }), () => client.request("event:custom", { room: "team", name: "x", data: NaN }),
  ];
  for (const call of wrong) await assert.rejects(call, { code: "invalid_data", message: /^-?(NaN|Infinity) is no number of JSON$/ }, String(call));
  assert.throws(() => client.setPresence("away", { battery: NaN }), { code: "invalid_data" });
  class Point { x = 1; }
  const values = [new Date(), new Map(), new Set([1]), /x/, new Point(), new Error("x"), new Number(1), new Uint8Array(2), Promise.resolve(), [1, , 2],
    [undefined], () => 1, Symbol("x"), { toJSON: () => 1 }];
  for (const value of values.flatMap((one) => [one, { a: [one] }])) {
    if (value === undefined) continue;
    const calls = [() => room.send(value), () => room.sendEvent("x", value), () => client.createDocument("j", "", { type: "json", content: value })];
    for (const call of calls) await assert.rejects(call, { code: "invalid_data" }, String(call));
    assert.throws(() => client.setPresence("away", value), { code: "invalid_data" });
    assert.throws(() => json.parseContent(value), { code: "operation_invalid" });
    assert.throws(() => json.parse([{ p: ["a"], oi: value }]), { code: "operation_invalid" });
    assert.throws(() => richText.parse([{ insert: { image: [value] }, attributes: { a: 1 } }]), TypeError);
    assert.throws(() => richText.parse([{ insert: "x", attributes: { a: value } }]), TypeError);
  }
  class Delta { ops = [{ insert: "x" }]; } // Quill's
  assert.deepEqual(richText.parse(new Delta()), [{ insert: "x" }]);
  await rest(server);
  assert.deepEqual([errors, server.log], [[], []]);
  client.setPresence("away", runInNewContext("({ other: ['window', Object.create(null)] })"));
  await until(() => server.log.length);
  assert.deepEqual(server.log.splice(0)[0].data.metadata, { other: ["window", {}] });
  const right = [null, "null", { a: null, b: [1.5, -0, 1e300] }];
  for (const data of right) room.send(data);
  await until(() => room.settled);
  assert.deepEqual(server.log.map(({ data }) => data.data), JSON.parse(JSON.stringify(right)));
});
