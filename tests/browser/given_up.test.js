// What is given up is undone: joins, leaves and other requests that nobody waits for any more.
import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, connect, only, rest, until } from "./driving.mjs";
import { ReferenceServer, seeded, turn } from "./reference.mjs";

/** Answers to joins wait until `release()`. */
function held(server) {
  const waiting = [];
  let open = false;
  server.intercept = (connection, envelope) => {
    // In order, as the server's inbox has it: what follows a join that waits, waits too.
    if (open || (!envelope.event.endsWith(":join") && !waiting.length) || envelope.event === "auth") return false;
    waiting.push([connection, envelope]);
    return true;
  };
  const release = () => {
    open = true;
    for (const [connection, envelope] of waiting.splice(0)) if (server.connections.has(connection)) server.handle(connection, envelope);
  };
  return { waiting, release };
}

const inside = (server, kind) => [...server.connections].some((one) => (kind === "room" ? one.rooms : one.documents).has("x"));
const KINDS = ["room", "text", "json"];
const handle = (client, kind, options = {}) => (kind === "room" ? client.room("x", options) : client.document("x", { type: kind, ...options }));

test("who leaves while a join is under way is out, and may come again at once", async () => {
  for (const kind of KINDS) {
    const server = new ReferenceServer(seeded(31));
    const client = connect(server);
    await until(server, () => client.online);
    const gate = held(server);
    const first = handle(client, kind);
    await until(server, () => gate.waiting.length);
    const left = first.leave();
    await rest(server);
    gate.release();
    await until(server, () => server.log.some(({ event }) => event.endsWith(":leave")));
    await rest(server);
    await left;
    assert.equal(inside(server, kind), false, kind);
    await assert.rejects(first.ready, { code: "closed" });
    const again = held(server);
    handle(client, kind).leave();
    const third = handle(client, kind);
    await rest(server);
    assert.deepEqual(again.waiting.map(([, { event }]) => event.split(":")[1]), ["join", "leave", "join"], kind);
    again.release();
    if (kind !== "json") await until(server, () => third.state === "joined"); // this server has texts only
    await until(server, () => inside(server, kind));
    assert.equal(client.rooms.size + client.documents.size, 1);
    client.close();
  }
});

test("a join that all who wait have given up is undone; one that somebody waits for goes on", async () => {
  const server = new ReferenceServer(seeded(32));
  const client = connect(server);
  await until(server, () => client.online);
  let gate = held(server);
  const stop = new AbortController();
  const given = client.join("x", { signal: stop.signal });
  const other = client.join("x", { signal: new AbortController().signal });
  await until(server, () => gate.waiting.length);
  stop.abort(new Error("enough"));
  await assert.rejects(given, /enough/);
  gate.release();
  await until(server, () => client.rooms.get("x")?.state === "joined");
  assert.equal(await other, client.rooms.get("x"));
  const leaving = (await other).leave();
  await rest(server);
  await leaving;

  gate = held(server);
  const stops = [new AbortController(), new AbortController()];
  const both = stops.map(({ signal }) => client.join("x", { signal }));
  await until(server, () => gate.waiting.length);
  for (const one of stops) one.abort();
  for (const one of both) await assert.rejects(one, { name: "AbortError" });
  gate.release();
  await rest(server);
  assert.equal(inside(server, "room"), false);
  assert.equal(client.rooms.size, 0);
  await assert.rejects(client.join("x", { signal: stop.signal }), /enough/);

  for (const type of ["text", "json"]) {
    gate = held(server);
    const late = new AbortController();
    const document = client.document("x", { type, signal: late.signal });
    await until(server, () => gate.waiting.length);
    late.abort();
    gate.release();
    await rest(server);
    assert.deepEqual([document.state, inside(server, type), client.documents.size], ["left", false, 0]);
  }
  const late = new AbortController();
  const document = client.document("x", { signal: late.signal });
  await until(server, () => document.state === "joined");
  await turn();
  late.abort(); // too late to change anything
  assert.equal(document.state, "joined");
  client.close();
});

test("what was given up before a connection was lost is not joined on the next one", async () => {
  for (const kind of KINDS) {
    const server = new ReferenceServer(seeded(33));
    const client = connect(server);
    await until(server, () => client.online);
    const gate = held(server);
    const one = handle(client, kind);
    await until(server, () => gate.waiting.length);
    server.cut(only(server), { handled: true });
    await one.leave();
    gate.release();
    await until(server, () => client.online);
    await rest(server);
    assert.equal(inside(server, kind), false, kind);
    client.close();
  }
});

test("requests that are given up are forgotten, and a message is not sent again", async () => {
  const server = new ReferenceServer(seeded(34));
  const client = connect(server, { maxRequests: 1 });
  await until(server, () => client.online);
  const room = client.room("x");
  await until(server, () => room.state === "joined");
  await rest(server);
  server.intercept = (connection, { event }) => event !== "auth" && !event.endsWith(":join");
  const stop = new AbortController();
  const asked = room.allMembers({ signal: stop.signal });
  await rest(server);
  stop.abort();
  await assert.rejects(asked, { name: "AbortError" });
  const second = new AbortController();
  const sent = room.send("not again", { signal: second.signal }); // there is a place again for a request
  await rest(server);
  assert.equal(server.log.filter(({ event }) => event === "message:send").length, 1);
  server.cut(only(server));
  second.abort();
  await assert.rejects(sent, { name: "AbortError" });
  await until(server, () => room.state === "joined");
  await rest(server);
  assert.equal(server.log.filter(({ event }) => event === "message:send").length, 1);
  client.close();
});

test("a leave that the server cannot do now is said again; who may not resign is still in the room", async () => {
  const server = new ReferenceServer(seeded(35));
  const client = connect(server);
  await until(server, () => client.online);
  const room = client.room("x");
  await until(server, () => room.state === "joined");
  const refusals = ["forbidden", "rate_limited"];
  server.intercept = (connection, { id, event }) => {
    if (event !== "room:leave" || !refusals.length) return false;
    answer(connection, id, { code: refusals.shift() });
    return true;
  };
  const resigned = room.leave({ resign: true });
  resigned.catch(() => {});
  await rest(server);
  await assert.rejects(resigned, { code: "forbidden" });
  assert.deepEqual([room.state, client.rooms.get("x")], ["joined", room]);
  room.leave();
  await until(server, () => !inside(server, "room"));
  assert.equal(server.log.filter(({ event }) => event === "room:leave").length, 3);
  client.close();
});

test("a message that is given up holds up nobody, and is not sent again by a lost connection", async () => {
  const server = new ReferenceServer(seeded(36));
  const client = connect(server);
  const room = client.room("x");
  const stops = Array.from({ length: 6 }, () => new AbortController());
  const sent = stops.map(({ signal }, number) => room.send(number, { signal })); // they wait for the room
  stops[0].abort();
  stops[3].abort();
  await until(server, () => room.state === "joined" && room._unsettled === 0);
  await assert.rejects(sent[0], { name: "AbortError" });
  assert.deepEqual(server.room("x").history.map(({ data }) => data), [1, 2, 4, 5]);

  server.intercept = (connection, { event }) => event === "message:send";
  const late = Array.from({ length: 3 }, () => new AbortController());
  const again = late.map(({ signal }, number) => room.send(6 + number, { signal }));
  await rest(server);
  const released = room.on("state", () => late[0].abort()); // as it is lost
  late[1].abort();
  const ends = [assert.rejects(again[0], { name: "AbortError" }), assert.rejects(again[1], { name: "AbortError" })];
  server.intercept = () => false;
  server.cut(only(server));
  await until(server, () => room.state === "joined" && room.settled);
  await Promise.all(ends);
  released();
  assert.equal((await again[2]).offset, 5);
  assert.deepEqual(server.room("x").history.map(({ data }) => data), [1, 2, 4, 5, 8]);
  const before = server.log.length;
  await assert.rejects(room.send(9, { signal: late[0].signal }), { name: "AbortError" });
  await rest(server);
  assert.equal(server.log.length, before);
  client.close();
});

test("leaving settles first, also while the join is under way, unless somebody wants it again", async () => {
  const server = new ReferenceServer(seeded(37));
  const client = connect(server, { settle: 60_000 });
  await until(server, () => client.online);
  let gate = held(server);
  const room = client.room("x");
  const sent = room.send("said");
  await until(server, () => gate.waiting.length);
  const left = room.leave();
  assert.equal(room.state, "joining");
  gate.release();
  await until(server, () => room.state === "left");
  assert.equal((await sent).offset, 1);
  await rest(server);
  assert.equal(await left, 0);
  assert.equal(inside(server, "room"), false);

  gate = held(server);
  const second = client.room("x");
  second.send("said too");
  await until(server, () => gate.waiting.length);
  const called = second.leave();
  const stop = new AbortController();
  const waits = client.join("x", { signal: stop.signal });
  gate.release();
  await until(server, () => second.settled);
  assert.equal(await called, 0);
  assert.equal(await waits, second);
  stop.abort();
  await rest(server);
  assert.deepEqual([second.state, inside(server, "room")], ["joined", true]);
  client.close();
});

test("who joins again as one resigns is in the room as the answer has come", async () => {
  const server = new ReferenceServer(seeded(38));
  const client = connect(server);
  const room = client.room("x");
  await until(server, () => room.state === "joined");
  const resigned = room.leave({ resign: true });
  const again = client.join("x");
  await rest(server);
  await resigned;
  assert.equal(await again, room);
  assert.deepEqual([room.state, inside(server, "room")], ["joined", true]);
  assert.deepEqual(server.log.slice(-2).map(({ event }) => event), ["room:leave", "room:join"]);
  client.close();
});

/** Joins are answered with the error `code` while it is set. */
function refusing(server) {
  const gate = { code: null };
  server.intercept = (connection, { event, id }) => {
    if (!gate.code || !event.endsWith(":join")) return false;
    answer(connection, id, { code: gate.code, message: "no" });
    return true;
  };
  return gate;
}

test("what was refused, one more than allowed too, is forgotten; who comes back to a full server waits", async () => {
  for (const kind of ["room", "text"]) {
    const server = new ReferenceServer(seeded(37));
    const client = connect(server);
    await until(server, () => client.online);
    const gate = refusing(server);
    for (gate.code of ["forbidden", "limit_exceeded"]) {
      const refused = handle(client, kind);
      const inCallback = [];
      refused.on("state", ({ state }) => state === "detached" && inCallback.push(client[kind === "room" ? "rooms" : "documents"].size));
      await until(server, () => refused.state === "failed");
      await assert.rejects(refused.ready, { code: gate.code });
      assert.deepEqual(inCallback, [0], kind);
      await assert.rejects(refused.grant("bob", null), { code: gate.code });
    }
    if (kind === "room") {
      const joining = client.join("x");
      joining.catch(() => {});
      await rest(server);
      await assert.rejects(joining, { code: "limit_exceeded" });
    }
    assert.equal(client.rooms.size + client.documents.size, 0, kind);
    gate.code = null;
    const again = handle(client, kind);
    await until(server, () => again.state === "joined");
    gate.code = "limit_exceeded";
    server.log.length = 0;
    server.cut(only(server));
    await until(server, () => server.log.filter(({ event }) => event.endsWith(":join")).length > 2); // asked again and again
    gate.code = null;
    await until(server, () => again.state === "joined");
    client.close();
  }
});

test("a callback of one that was taken out may ask for another", async () => {
  for (const kind of ["room", "text"]) {
    const server = new ReferenceServer(seeded(38));
    const client = connect(server);
    const first = handle(client, kind);
    await until(server, () => first.state === "joined");
    let second = null;
    first.on("state", () => (second ??= handle(client, kind)));
    server.push(only(server), kind === "room" ? "room:removed" : "document:removed", { room: "x", document: "x" });
    await until(server, () => second?.state === "joined");
    assert.notEqual(second, first);
    client.close();
  }
});

test("what is over says why, and asks the server nothing", async () => {
  const server = new ReferenceServer(seeded(39));
  const client = connect(server);
  const room = client.room("x");
  const notes = client.document("x");
  await until(server, () => room.joined && notes.joined);
  const leaving = [room.leave(), notes.leave()];
  await rest(server);
  await Promise.all(leaving);
  server.log.length = 0;
  const asked = [
    () => room.send(1), () => room.send(1, { retry: false }), () => room.sendEvent("x"), () => room.allMembers(), () => room.grant("bob", null),
    () => notes.grant("bob", null), () => notes.history(), () => notes.textAt(0), () => notes.blame(), () => notes.undo(),
  ];
  for (const ask of asked) await assert.rejects(ask(), { code: "closed" });
  await rest(server);
  assert.deepEqual(server.log, []);

  client.close();
  await assert.rejects(client.join("x"), { code: "closed" });
  await assert.rejects(client.createRoom("x"), { code: "closed" });
  const later = [client.room("y"), client.document("y")];
  for (const one of later) await assert.rejects(one.ready, { code: "closed" });
  client.connect();
  await until(server, () => later.every((one) => one.joined));
  server.cut(only(server), { code: 4503, reason: "removed" });
  for (const ask of [client.join("x"), client.request("ping"), later[0].send(1)]) {
    await assert.rejects(ask, { code: "disconnected", close: 4503 });
  }
});

test("a document that is given up has the reason of its signal", async () => {
  for (const type of ["text", "json"]) {
    const server = new ReferenceServer(seeded(40));
    const client = connect(server);
    await until(server, () => client.online);
    held(server);
    const [stop, plain] = [new AbortController(), new AbortController()];
    const first = client.document("x", { type, signal: stop.signal });
    stop.abort(new Error("enough"));
    await assert.rejects(first.ready, /enough/);
    const second = client.document("x", { type, signal: plain.signal });
    plain.abort();
    await assert.rejects(second.ready, { name: "AbortError" });
    client.close();
  }
});

test("leaving keeps its time while the server does not answer, and says how much is not acknowledged", async () => {
  const server = new ReferenceServer(seeded(73));
  const client = connect(server);
  await until(server, () => client.online);
  for (const [settle, work] of [[20, 1], [20, 0], [0, 0], [0, 1]]) {
    for (const kind of ["room", "document"]) {
      const handle = client[kind]("x");
      await until(server, () => handle.joined);
      if (work && kind === "room") handle.send(1).catch(() => {});
      if (work && kind === "document") handle.insert(0, "x");
      assert.equal(await handle.leave({ settle }), work, kind); // the server does nothing meanwhile
      assert.equal(handle.state, "left");
      await rest(server);
    }
  }
  assert.equal([...server.connections].some(({ rooms, documents }) => rooms.has("x") || documents.has("x")), false);
  client.close();
});
