// The connection and the rooms: coming back, giving up, staying the same guest, recovering by position.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Client, shouldReconnect } from "../../src/client/browser/syncline.js";
import { answer, connect, instant, only, rest, until } from "./driving.mjs";
import { ReferenceServer, seeded, turn } from "./reference.mjs";

test("connects with the subprotocol, as a guest, and hands over the guest's token", async () => {
  const server = new ReferenceServer(seeded(1));
  const kept = [];
  const client = connect(server, { onGuestToken: (token) => kept.push(token) });
  await until(server, () => client.online);
  assert.equal(await client.opened, client);
  assert.equal(client.url, "ws://reference/ws");
  assert.deepEqual(only(server).protocols, ["syncline.v1.json"]);
  assert.deepEqual(kept, ["guest-Ada"]);
  assert.equal(client.identity.user, "guest-Ada");
  server.cut(only(server));
  await until(server, () => client.online);
  assert.deepEqual(server.log.filter(({ event }) => event === "auth").map(({ data }) => data), [
    { name: "Ada" }, { name: "Ada", token: "guest-Ada", resume: "c" },
  ]);
  assert.deepEqual(client.states, ["connecting", "online", "waiting", "connecting", "online"]);
  client.close();
  assert.equal(client.state, "closed");
});

test("the close codes are those of the protocol", async () => {
  const text = await readFile(new URL("../../docs/protocol.md", import.meta.url), "utf8");
  const table = text.split("## Disconnect codes")[1].split("## Limits")[0];
  const told = new Map();
  for (const [, codes, back] of table.matchAll(/^\| ([0-9, -]+) \| (yes|no) \|/gm)) {
    for (const part of codes.split(", ")) {
      const [first, last = first] = part.split("-").map(Number);
      for (let code = first; code <= last; code += 1) told.set(code, back === "yes");
    }
  }
  for (let code = 1000; code < 5000; code += 1) assert.equal(shouldReconnect(code), told.get(code), String(code));
});

test("comes back or stays away as the close code says", async () => {
  for (const [code, state] of [[1005, "waiting"], [1006, "waiting"], [1012, "waiting"], [4000, "waiting"], [4499, "waiting"],
    [1000, "closed"], [1009, "closed"], [4500, "closed"], [4503, "closed"]]) {
    const server = new ReferenceServer(seeded(code));
    const client = connect(server, { backoffBase: 60_000, backoffMax: 60_000, random: () => 0.5 });
    await until(server, () => client.online);
    server.cut(only(server), { code, reason: "because" });
    assert.equal(client.state, state, String(code));
    assert.deepEqual(client.lastClose, { code, reason: "because" });
    client.close();
  }
});

test("the wait is random, grows, and has a bound; reconnect() cuts it short", async () => {
  const server = new ReferenceServer(seeded(2));
  server.up = false;
  const waits = [];
  const client = connect(server, { backoffBase: 1000, backoffMax: 6000, random: () => 0.5 });
  client.on("state", ({ state, retryAt }) => state === "waiting" && waits.push(Math.round((retryAt - Date.now()) / 100) * 100));
  for (let attempt = 0; attempt < 5; attempt += 1) {
    await until(server, () => client.state === "waiting");
    client.reconnect();
  }
  assert.deepEqual(waits, [500, 1000, 2000, 3000, 3000]);
  server.up = true;
  await until(server, () => client.online);
  client.close();
});

test("a fixed token that is refused ends it, a function is asked again, a stale guest starts anew", async () => {
  const refuse = (server, bad) => {
    server.intercept = (connection, { event, data, id }) => {
      if (event !== "auth" || !bad(data.token)) return false;
      answer(connection, id, { code: "token_invalid", message: "no" });
      return true;
    };
  };
  let server = new ReferenceServer(seeded(3));
  refuse(server, (token) => token === "bad");
  let client = connect(server, { token: "bad" });
  await until(server, () => client.state === "closed");
  await assert.rejects(client.opened, { code: "token_invalid" });

  let asked = 0;
  client = connect(server, { token: () => ((asked += 1) === 1 ? "bad" : "good") });
  await until(server, () => client.online);
  assert.equal(asked, 2);
  client.close();

  server = new ReferenceServer(seeded(4));
  const kept = [];
  refuse(server, (token) => token === "old");
  client = connect(server, { guestToken: "old", onGuestToken: (token) => kept.push(token) });
  await until(server, () => client.online);
  assert.deepEqual(kept, [null, "guest-Ada"]);
  client.close();
});

test("a silent connection is asked, then given up", async () => {
  const server = new ReferenceServer(seeded(5));
  server.intercept = (connection, { event, data, id }) => {
    if (event === "ping") return true; // the network swallows it
    if (event !== "auth") return false;
    const result = { user: "u", name: data.name, ping_seconds: 0.02 };
    connection.toClient.push(JSON.stringify({ id, event: "auth:accepted", result }));
    return true;
  };
  const client = connect(server);
  await until(server, () => client.online);
  await until(server, () => client.lastClose?.code === 4002);
  assert.ok(server.log.some(({ event }) => event === "ping"));
  await until(server, () => client.online);
  client.close();
});

test("a request that loses its connection is told so, and not sent again", async () => {
  const server = new ReferenceServer(seeded(6));
  const client = connect(server);
  await until(server, () => client.online);
  const room = client.room("team");
  await until(server, () => room.state === "joined");
  const sent = room.send("hello", { retry: false });
  await turn();
  server.cut(only(server));
  await assert.rejects(sent, { code: "disconnected" });
  await assert.rejects(room.send("while away", { retry: false }), { code: "disconnected" });
  await until(server, () => room.state === "joined");
  assert.deepEqual(server.room("team").history, []);
  client.close();
});

test("messages wait for the room and are sent again, in order and published once", async () => {
  const server = new ReferenceServer(seeded(22));
  const client = connect(server, { maxRequests: 4 });
  const room = client.room("team");
  const early = room.send("early"); // not even connected
  await until(server, () => room.state === "joined");
  const got = [];
  room.on("message", ({ data }) => got.push(data));
  await rest(server);
  const first = await early;
  assert.equal(first.offset, 1);
  const lost = [room.send("one"), room.send("two")];
  await turn();
  const connection = only(server);
  server.receive(connection, connection.toServer.shift()); // both are published, the answers are lost
  server.cut(connection);
  const away = room.send("three");
  await until(server, () => room.state === "joined");
  await rest(server);
  assert.deepEqual((await Promise.all([...lost, away])).map(({ offset, duplicate }) => [offset, duplicate]), [
    [2, true], [3, true], [4, undefined],
  ]);
  assert.deepEqual(server.room("team").history.map(({ data }) => data), ["early", "one", "two", "three"]);
  assert.deepEqual(got, ["early", "one", "two", "three"]);

  server.cut(only(server));
  const waiting = [1, 2, 3, 4].map((number) => room.send(number));
  await assert.rejects(room.send(5), { code: "buffer_full" });
  client.close();
  for (const one of waiting) await assert.rejects(one, { code: "closed" });
  await assert.rejects(room.send("closed"), { code: "closed" });
});

test("without echo the position moves on, and the digest with it", async () => {
  const server = new ReferenceServer(seeded(23));
  const [ada, bob] = [connect(server), connect(server, { name: "Bob" })];
  const [room, other] = [ada.room("team"), bob.room("team")];
  await until(server, () => room.state === "joined" && other.state === "joined");
  const got = [];
  room.on("message", ({ data }) => got.push(data));
  other.send("one");
  await rest(server);
  assert.equal((await Promise.all([room.send("mine", { echo: false }), rest(server)]))[0].offset, 2);
  other.send("three");
  await rest(server);
  assert.deepEqual(got, ["one", "three"]);
  assert.equal(room.position.offset, 3);
  const joins = server.log.filter(({ event }) => event === "room:join").length;
  ada._heartbeat.ask([room]);
  await rest(server);
  assert.equal(server.proofs.unproven, 0);
  assert.ok(server.proofs.proven > 0);
  assert.equal(server.log.filter(({ event }) => event === "room:join").length, joins);
  ada.close();
  bob.close();
});

test("what is too large or too much is refused here", async () => {
  const server = new ReferenceServer(seeded(7));
  const client = connect(server, { maxMessage: 2000, maxRequests: 5 });
  await until(server, () => client.online);
  const room = client.room("team");
  await until(server, () => room.state === "joined");
  await assert.rejects(room.send("x".repeat(3000)), { code: "message_too_large" });
  await assert.rejects(room.send("\u6f22".repeat(700)), { code: "message_too_large" });
  const answers = Array.from({ length: 6 }, () => room.send("x"));
  await assert.rejects(answers[5], { code: "buffer_full" });
  await rest(server);
  assert.equal((await answers[4]).offset, 5);
  only(server).bufferedAmount = 10_000_000;
  await assert.rejects(room.send("x"), { code: "buffer_full" });
  client.close();
});

test("many requests of one turn share frames, in order", async () => {
  const server = new ReferenceServer(seeded(8));
  const client = connect(server);
  await until(server, () => client.online);
  const room = client.room("team");
  await until(server, () => room.state === "joined");
  const answers = Array.from({ length: 150 }, (_, index) => room.send(index));
  await turn();
  assert.equal(only(server).toServer.length, 3);
  await rest(server);
  await Promise.all(answers);
  assert.deepEqual(server.room("team").history.map(({ data }) => data), [...Array(150).keys()]);
  client.close();
});

test("messages go in the order of send, those in callbacks too", async () => {
  const server = new ReferenceServer(seeded(41));
  const client = connect(server);
  await until(server, () => client.online);
  const room = client.room("team");
  let next = 0;
  const say = () => room.send((next += 1)).catch(() => {});
  for (const event of ["joined", "caught_up", "state", "members", "message", "settled"]) room.on(event, () => next < 400 && say());
  client.on("state", say);
  for (let round = 0; round < 12; round += 1) {
    say();
    if (round % 3 === 0) await until(server, () => room.state === "joined");
    say();
    await turn();
    say();
    if (only(server)) server.cut(only(server));
    say();
    room.send((next += 1), { retry: false }).catch(() => {});
  }
  await until(server, () => room.settled);
  await rest(server);
  const got = server.room("team").history.map(({ data }) => data);
  assert.ok(got.length > 60);
  assert.deepEqual(got, [...got].sort((one, other) => one - other));
  assert.equal(new Set(got).size, got.length);
  client.close();
});

test("what was sent so long ago that the server may not know it again is not sent again", async () => {
  const server = new ReferenceServer(seeded(42));
  server.limits = { ...server.limits, idempotency_seconds: 0 };
  const client = connect(server);
  await until(server, () => client.online);
  const room = client.room("team");
  await until(server, () => room.state === "joined");
  server.intercept = (connection, { event }) => event === "message:send";
  const sent = assert.rejects(room.send("once"), { code: "fate_unknown" });
  await rest(server);
  server.cut(only(server));
  await until(server, () => room.state === "joined");
  await sent;
  client.close();
});

/** What each frame that came was: its bytes, and the events in it. */
function framesOf(server) {
  const frames = [];
  const receive = server.receive.bind(server);
  server.receive = (connection, text) => {
    frames.push({ bytes: Buffer.byteLength(text), events: [JSON.parse(text)].flat().map(({ event }) => event) });
    return receive(connection, text);
  };
  return frames;
}

test("what is sent keeps to the server's limits, and before they are told to what any server takes", async () => {
  for (const limits of [{ message_bytes: 40_000, batch_size: 20 }, undefined]) {
    const server = new ReferenceServer(seeded(31));
    server.limits = limits;
    const most = limits ?? { message_bytes: 1_048_576, batch_size: 16 };
    const frames = framesOf(server);
    const client = connect(server);
    const rooms = Array.from({ length: 100 }, (_, index) => client.room(`r${index}`));
    const notes = client.document("notes");
    await until(server, () => notes.state === "joined" && rooms.every(({ state }) => state === "joined"));
    assert.ok(frames[0].events.length <= 16);
    const paste = "\u0001ä漢💃".repeat(9000);
    for (let round = 0; round < 2; round += 1) {
      const sent = rooms.map((room) => room.send("漢".repeat(1000)));
      notes.insert(0, paste);
      await Promise.all([rest(server), ...sent]);
      await until(server, () => notes.settled);
      server.cut(only(server));
      await until(server, () => notes.state === "joined" && rooms.every(({ state }) => state === "joined"));
    }
    assert.equal(server.document("notes").text, paste.repeat(2));
    assert.ok(frames.every(({ bytes, events }) => bytes <= most.message_bytes && events.length <= most.batch_size));
    for (const { bytes, events } of frames.filter(({ events }) => events.includes("auth"))) assert.ok(bytes <= 32_768 && events.length <= 16);
    if (limits) await assert.rejects(rooms[0].send("x".repeat(40_000)), { code: "message_too_large" });
    client.close();
  }
});

test("a request that is larger than any server must take waits for its limits, and is refused when it is too large", async () => {
  const server = new ReferenceServer(seeded(32));
  const client = connect(server);
  await until(server, () => client.online);
  server.intercept = (connection, { event }) => event !== "auth"; // without an answer
  const frames = framesOf(server);
  server.limits = { message_bytes: 40_000, batch_size: 20 };
  server.cut(only(server));
  await until(server, () => client.state === "connecting" && client._joinable);
  const answers = [];
  for (const size of [10, 35_000, 45_000, 20]) client._ask("x", "y".repeat(size), () => {}, ({ code }) => answers.push(`${size} ${code}`));
  await rest(server);
  assert.deepEqual(frames.map(({ events }) => events), [["auth"], ["x"], ["x"], ["x"]]);
  assert.deepEqual(answers, ["45000 message_too_large"]);
  client.close();
});

test("a token is refreshed no sooner than a second after another, and not by itself", async (context) => {
  context.mock.method(performance, "now", () => 1000); // it stands still
  const server = new ReferenceServer(seeded(33));
  let asked = 0;
  const client = connect(server, { token: () => `token ${(asked += 1)}` });
  server.intercept = (connection, { event, id }) => {
    if (event !== "auth:refresh") return false;
    connection.toClient.push(JSON.stringify({ id, event, result: { expires_at: 0 } }));
    return true;
  };
  const warn = async () => {
    for (let times = 0; times < 50; times += 1) server.push(only(server), "auth:expiring", { seconds_left: 0 });
    await rest(server);
  };
  const refreshes = () => server.log.filter(({ event }) => event === "auth:refresh").map(({ data }) => data.token);
  await until(server, () => client.online);
  await warn();
  await until(server, () => refreshes().length === 1);
  await warn();
  assert.deepEqual(refreshes(), ["token 2"]);
  client.close();

  const errors = [];
  const same = connect(server, { token: () => "the same" });
  same.on("error", ({ code }) => errors.push(code));
  await until(server, () => same.online);
  server.push([...server.connections].at(-1), "auth:expiring", { seconds_left: 0 });
  await until(server, () => errors.length === 1);
  assert.deepEqual([errors, refreshes()], [["token_expired"], ["token 2"]]);
  same.close();
});

test("messages come in order without gap or duplicate, over lost connections", async () => {
  const server = new ReferenceServer(seeded(9));
  const [ada, bob] = [connect(server), connect(server, { name: "Bob" })];
  await until(server, () => ada.online && bob.online);
  const got = [];
  const lost = [];
  const room = ada.room("team", { history: 10 });
  room.on("message", ({ data }) => got.push(data));
  room.on("lost", (detail) => lost.push(detail));
  const other = bob.room("team");
  await until(server, () => room.state === "joined" && other.state === "joined");
  for (let number = 0; number < 60; number += 1) {
    other.send(number).catch(() => {});
    if (number % 3 === 0) await turn();
    for (let steps = number % 5; steps > 0; steps -= 1) server.step();
    const mine = [...server.connections].find((one) => one.user === "guest-Ada");
    if (number % 7 === 6 && mine) server.cut(mine);
  }
  await until(server, () => ada.online && room.state === "joined");
  await rest(server);
  assert.deepEqual(got, [...Array(60).keys()]);
  assert.deepEqual(lost, []);

  // The history is lost: told so, and on with what there is.
  server.rooms.set("team", { epoch: "e2", history: [] });
  server.cut([...server.connections].find((one) => one.user === "guest-Ada"));
  await until(server, () => room.state === "joined");
  assert.equal(lost.length, 1);
  other.send("after").catch(() => {});
  await rest(server);
  assert.equal(got.at(-1), "after");
  ada.close();
  bob.close();
});

test("coming back is one frame: auth, rooms and documents", async () => {
  const server = new ReferenceServer(seeded(21));
  const client = connect(server);
  const room = client.room("team");
  const notes = client.document("notes");
  await until(server, () => room.state === "joined" && notes.state === "joined");
  const frames = [];
  const receive = server.receive.bind(server);
  server.receive = (connection, text) => {
    frames.push([JSON.parse(text)].flat().map(({ event }) => event));
    return receive(connection, text);
  };
  server.cut(only(server));
  assert.equal(room.state, "detached");
  await assert.rejects(client.request("ping"), { code: "disconnected" });
  await until(server, () => room.state === "joined" && notes.state === "joined");
  assert.deepEqual(frames[0], ["auth", "room:join", "document:join"]);
  await rest(server);
  assert.equal(frames.flat().filter((event) => event === "room:join").length, 1);

  // Refused: they are joined with the next token, and nobody is told of an error.
  const errors = [];
  client.on("error", (error) => errors.push(error));
  server.intercept = (connection, { event, id }) => {
    const refused = event === "auth" && server.log.filter((one) => one.event === "auth").length < 4;
    if (!refused && (event === "auth" || connection.user !== null)) return false;
    answer(connection, id, { code: refused ? "token_expired" : "unauthenticated", message: "no" });
    return true;
  };
  server.cut(only(server));
  await until(server, () => room.state === "joined" && notes.state === "joined");
  assert.deepEqual(errors, []);
  client.close();
});

test("a gap in the offsets makes the room ask for what is missing", async () => {
  const server = new ReferenceServer(seeded(10));
  const client = connect(server);
  await until(server, () => client.online);
  const room = client.room("team");
  const got = [];
  room.on("message", ({ data }) => got.push(data));
  await until(server, () => room.state === "joined");
  const { history } = server.room("team");
  for (const [offset, data] of [[1, "one"], [2, "two"]]) {
    history.push({ room: "team", offset, epoch: "e1", user: "u", name: "U", time: 0, data });
  }
  server.push(only(server), "message:received", history[1]); // the first one never came
  await rest(server);
  assert.deepEqual(got, ["one", "two"]);
  client.close();
});

test("told that it fell behind, the room asks for what was not sent", async () => {
  const server = new ReferenceServer(seeded(13));
  const client = connect(server);
  await until(server, () => client.online);
  const room = client.room("team");
  const got = [];
  room.on("message", ({ data }) => got.push(data));
  await until(server, () => room.state === "joined");
  assert.equal(room.roomClass, "history");
  const { history } = server.room("team");
  for (const [offset, data] of [[1, "one"], [2, "two"], [3, "three"]]) {
    history.push({ room: "team", offset, epoch: "e1", user: "u", name: "U", time: 0, data });
  }
  server.push(only(server), "message:received", history[0]);
  server.push(only(server), "room:behind", { room: "team", position: { offset: 1, epoch: "e1" } });
  server.push(only(server), "message:received", history[2]); // live again, before the answer
  await rest(server);
  assert.deepEqual(got, ["one", "two", "three"]);
  assert.equal(server.log.filter(({ event }) => event === "room:join").length, 2);
  client.close();
});

test("in rooms that do not give all to slow readers a hole is none", async () => {
  for (const roomClass of ["latest", "volatile"]) {
    const server = new ReferenceServer(seeded(14));
    server.room("ticker").class = roomClass;
    const client = connect(server);
    await until(server, () => client.online);
    const room = client.room("ticker");
    const got = [];
    room.on("message", ({ data }) => got.push(data));
    await until(server, () => room.state === "joined");
    assert.equal(room.roomClass, roomClass);
    for (const offset of [1, 4, 9]) {
      const publication = { room: "ticker", offset, epoch: "e1", user: "u", name: "U", time: 0, data: offset };
      server.push(only(server), "message:received", publication);
    }
    await rest(server);
    assert.deepEqual(got, [1, 4, 9]);
    assert.equal(room.position.offset, 9);
    assert.equal(server.log.filter(({ event }) => event === "room:join").length, 1);
    room.send(1, { key: "x", retry: false }).catch(() => {});
    await rest(server);
    assert.deepEqual(server.log.at(-1).data, { room: "ticker", data: 1, key: "x" });
    client.close();
  }
});

test("a push in the same frame as the answer to the join is not missed", async () => {
  const server = new ReferenceServer(seeded(11));
  const client = connect(server);
  await until(server, () => client.online);
  server.intercept = (connection, { event, id }) => {
    if (event !== "room:join") return false;
    const position = { offset: 0, epoch: "e1" };
    const result = { room: "team", role: "member", position, recovered: null, publications: [], members: [] };
    const data = { room: "team", offset: 1, epoch: "e1", user: "u", name: "U", time: 0, data: "first" };
    const frame = [{ id, event: "room:joined", result }, { event: "message:received", data }];
    connection.toClient.push(JSON.stringify(frame));
    return true;
  };
  const room = client.room("team");
  const got = [];
  room.on("message", ({ data }) => got.push(data));
  await rest(server);
  assert.deepEqual(got, ["first"]);
  client.close();
});

test("a refused join rejects; a callback that throws disturbs nobody", async () => {
  const server = new ReferenceServer(seeded(13));
  const client = connect(server);
  await until(server, () => client.online);
  server.intercept = (connection, { event, data, id }) => {
    if (event !== "room:join" || data.password === "right") return false;
    answer(connection, id, { code: "password_wrong", message: "no" });
    return true;
  };
  const refused = assert.rejects(client.join("team", { password: "wrong" }), { code: "password_wrong" });
  await rest(server);
  await refused;
  assert.equal(client.rooms.size, 0);
  const joined = client.join("team", { password: "right" });
  await rest(server);
  const room = await joined;
  const uncaught = new Promise((resolve) => (globalThis.reportError = resolve));
  const got = [];
  room.on("message", () => { throw new Error("mine"); });
  const release = room.on("message", ({ data }) => got.push(data));
  room.send(1);
  await rest(server);
  assert.equal((await uncaught).message, "mine");
  release();
  room.send(2);
  await rest(server);
  assert.deepEqual(got, [1]);
  delete globalThis.reportError;
  client.close();
});

test("close() ends everything, connect() begins anew", async () => {
  const server = new ReferenceServer(seeded(14));
  const client = connect(server);
  const room = client.room("team");
  const notes = client.document("notes");
  await until(server, () => room.state === "joined" && notes.state === "joined");
  const board = client.document("board", { type: "json" });
  const answer = { role: "editor", generation: "g", revision: 0, content: {}, operations: null, seq: 0, collaborators: [] };
  board._joinedWith(answer, "join", () => {}); // the reference server has texts only
  notes.insert(0, "kept");
  client.close({ settle: 0 });
  assert.equal(server.connections.size, 0);
  await assert.rejects(client.request("ping"), { code: "closed" });
  for (const edit of [() => notes.insert(0, "lost"), () => notes.edit([]), () => board.edit([]), () => board.setContent(1)]) {
    assert.throws(edit, { code: "closed" });
  }
  assert.deepEqual([notes.writable, board.writable, room.writable, notes.text], [false, false, false, "kept"]);
  board.leave({ settle: 0 });
  client.connect();
  await until(server, () => notes.joined && notes.settled);
  assert.equal(server.document("notes").text, "kept");
  assert.deepEqual([notes.writable, room.writable], [true, true]);
  notes.insert(0, "and ");
  client.close();
});

test("nonsense from the server ends the connection, not the client", async () => {
  const server = new ReferenceServer(seeded(15));
  const client = connect(server);
  const errors = [];
  client.on("error", (error) => errors.push(error));
  await until(server, () => client.online);
  only(server).toClient.push("{");
  await until(server, () => errors.length === 1);
  await until(server, () => client.online);
  client.close();
});

test("half a surrogate pair is a replacement character in what is said, and never in what is edited", async () => {
  const server = new ReferenceServer(seeded(77));
  const client = connect(server, { name: "Ada\ud83d" });
  await until(server, () => client.online);
  const sent = [];
  server.intercept = (connection, { event, data }) => (sent.push({ event, data }), false);
  const room = client.room("team\udc00");
  assert.equal(room, client.room("team\ufffd"));
  assert.equal(room.name, "team\ufffd");
  assert.equal(client.document("d\ud83d").name, "d\ufffd");
  for (const data of ["a\ud83d", { "k\ud83d": ["\\ud83d", "\\\ud83d", "\ud83d\ude00", "\n\udfff\""] }]) {
    client.request("event:custom", { room: "team\ufffd", name: "n\ud83d", data }).catch(() => {});
  }
  for (const event of ["document:create", "document:operation"]) {
    client.request(event, { document: "e", text: "\ud83d", operation: ["\ud83d"] }).catch(() => {});
  }
  await until(server, () => sent.some(({ event }) => event === "document:operation"));
  assert.equal(server.log.find(({ event }) => event === "auth").data.name, "Ada\ufffd");
  const said = sent.filter(({ event }) => event === "event:custom").map(({ data }) => data);
  assert.deepEqual(said.map(({ name }) => name), ["n\ufffd", "n\ufffd"]);
  assert.deepEqual(said.map(({ data }) => data), [
    "a\ufffd", { "k\ufffd": ["\\ud83d", "\\\ufffd", "\ud83d\ude00", "\n\ufffd\""] },
  ]);
  for (const { event, data } of sent) {
    if (data?.text) assert.deepEqual([event.startsWith("document:"), data.text, data.operation], [true, "\ud83d", ["\ud83d"]]);
  }
  client.close();
});

test("a message sent just before leaving or closing is sent; one that cannot be is told", async () => {
  const server = new ReferenceServer(seeded(60));
  const client = connect(server, { settle: 60_000 });
  await until(server, () => client.online);
  for (const [number, retry] of [[0, true], [1, false]]) {
    const room = await Promise.race([client.join("team"), until(server, () => false)]);
    const sent = room.send(number, { retry });
    assert.equal(room.settled, false);
    assert.equal(client.settled, false);
    const left = room.leave();
    assert.equal(client.rooms.get("team"), room, "it is still there while it settles");
    await until(server, () => room.state === "left");
    assert.equal((await sent).offset, number + 1);
    await rest(server);
    assert.equal(await left, 0);
  }
  const room = await Promise.race([client.join("team"), until(server, () => false)]);
  const third = room.send(2);
  const closed = client.close();
  await until(server, () => client.state === "closed");
  assert.equal(await closed, 0);
  assert.equal((await third).offset, 3);

  client.connect();
  await until(server, () => room.state === "joined");
  server.up = false;
  server.cut(only(server));
  const lost = assert.rejects(room.send(3), { code: "closed" });
  assert.equal(await client.close({ settle: 1 }), 1);
  await lost;
  assert.deepEqual(server.room("team").history.map(({ data }) => data), [0, 1, 2]);
});

test("connect() calls a close() off that waits; a second close() with settle 0 does not wait", async () => {
  const server = new ReferenceServer(seeded(61));
  const client = connect(server);
  const room = client.room("team");
  await until(server, () => room.state === "joined");
  room.send(0);
  const first = client.close();
  client.connect();
  await until(server, () => room.settled);
  assert.equal(await first, 0);
  assert.equal(client.state, "online");
  room.send(1).catch(() => {});
  const second = client.close();
  assert.equal(client.state, "online");
  assert.equal(await client.close({ settle: 0 }), 1);
  assert.equal(client.state, "closed");
  await second;
});

test("a handler may return a promise: they begin in order, and one that rejects is reported", async () => {
  const server = new ReferenceServer(seeded(62));
  const reported = [];
  const unhandled = [];
  const keep = (error) => unhandled.push(error);
  globalThis.reportError = (error) => reported.push(error.message);
  process.on("unhandledRejection", keep);
  try {
    const client = connect(server, { onGuestToken: async () => { throw new Error("token"); } });
    client.on("state", async ({ state }) => { if (state === "online") throw new Error("state"); });
    const room = client.room("team");
    const heard = [];
    room.on("message", async ({ data }) => {
      heard.push(data);
      await turn();
      throw new Error(`message ${data}`);
    });
    const notes = client.document("notes");
    notes.on("change", async () => { throw new Error("change"); });
    const board = client.document("board", { type: "json" });
    board.on("error", async () => { throw new Error("typed"); });
    await until(server, () => room.state === "joined" && notes.state === "joined");
    board._fail(new Error("no"));
    room.send(0);
    room.send(1);
    notes.insert(0, "x");
    await until(server, () => client.settled);
    await rest(server);
    assert.deepEqual(heard, [0, 1]);
    assert.deepEqual([...new Set(reported)].sort(), ["change", "message 0", "message 1", "state", "token", "typed"]);
    assert.deepEqual(unhandled, []);
    client.close();
  } finally {
    delete globalThis.reportError;
    process.off("unhandledRejection", keep);
  }
});

test("a server that does not answer is stalled before it is given up; the browser's word counts at once", async () => {
  const server = new ReferenceServer(seeded(63));
  let silent = true;
  server.intercept = (connection, { event }) => silent && event === "ping";
  const listeners = {};
  globalThis.addEventListener = (name, callback) => (listeners[name] = callback);
  globalThis.removeEventListener = (name) => delete listeners[name];
  try {
    const client = connect(server, { heartbeat: 5, patience: 5 });
    const told = [];
    client.on("stalled", (stalled) => told.push(stalled));
    await until(server, () => client.stalled);
    assert.equal(client.state, "online", "it is not given up for that");
    silent = false;
    client.reconnect();
    await until(server, () => !client.stalled);
    assert.deepEqual(told, [true, false]);
    assert.equal(client.lastClose, null);

    await turn();
    silent = true;
    listeners.offline();
    assert.equal(client.stalled, true);
    silent = false;
    client.reconnect();
    await until(server, () => !client.stalled);
    silent = true;
    await until(server, () => client.stalled);
    server.cut(only(server));
    assert.equal(client.stalled, false, "it is known to be lost now");
    assert.equal(client.state, "waiting");
    await client.close();
    assert.deepEqual(Object.keys(listeners), []);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("room.history has what the join brought, and no message is in neither it nor the events", async () => {
  const server = new ReferenceServer(seeded(67));
  const publication = (offset, data) => ({ room: "team", offset, epoch: "e1", user: "bob", name: "Bob", time: 0, data });
  server.room("team").history.push(publication(1, "one"), publication(2, "two"), publication(3, "three"));
  const client = connect(server);
  await until(server, () => client.online);
  const joining = client.join("team", { history: 2 });
  await turn();
  const connection = only(server);
  server.receive(connection, connection.toServer.shift());
  const push = { event: "message:received", data: publication(4, "in the same frame") };
  server.room("team").history.push(publication(4, "in the same frame"));
  connection.onmessage({ data: `[${connection.toClient.pop()},${JSON.stringify(push)}]` });
  const room = await joining;
  const got = [];
  const show = ({ data, replayed }) => got.push([data, replayed]);
  room.history.forEach(show);
  room.on("message", show);
  room.send("five");
  await rest(server);
  assert.deepEqual(got, [["two", true], ["three", true], ["in the same frame", false], ["five", false]]);
  server.cut(only(server));
  server.room("team").history.push(publication(6, "six"));
  await until(server, () => room.joined && got.length === 5);
  assert.equal(room.history.length, 3, "what came later is none of it");
  client.close();
});
