// What a server allows of requests and bytes a second: clients keep to it, and what is refused all the same is sent again.
import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, connect, only, rest, until } from "./driving.mjs";
import { Pace } from "../../src/client/browser/syncline-pace.js";
import { ReferenceServer, seeded, turn } from "./reference.mjs";

/** Who counts and who sends read one clock in a turn of the loop: between two readings this machine may do something else. */
function oneClock() {
  if (performance.now !== clock.now) return;
  let shown = null;
  performance.now = () => {
    if (shown === null) {
      shown = clock.now.call(performance);
      setImmediate(() => {
        shown = null;
      }).unref();
    }
    return shown;
  };
}

const clock = { now: performance.now };

/** As the server counts (src/core/bucket.pyx), frame by frame: what it would refuse. */
function counted(server, { requests_per_second, requests_burst, bytes_per_second, bytes_burst }) {
  server.limits = { ...server.limits, ...(requests_per_second && { requests_per_second, requests_burst }),
    ...(bytes_per_second && { bytes_per_second, bytes_burst }) };
  const bucket = (rate, burst) => {
    let [left, at] = [burst, performance.now()];
    return (cost) => {
      const now = performance.now();
      left = Math.min(burst, left + ((now - at) / 1000) * rate);
      at = now;
      if ((cost > burst ? burst / 2 : cost) > left) return false;
      left -= cost;
      return true;
    };
  };
  const refused = [];
  const counting = new WeakMap();
  oneClock();
  // As they are sent: this network may hold frames up, and bring them in a bunch.
  const { send } = server.WebSocket.prototype;
  server.WebSocket.prototype.send = function (text) {
    if (!counting.has(this)) counting.set(this, [bucket(requests_per_second, requests_burst), bucket(bytes_per_second, bytes_burst)]);
    const [requests, bytes] = counting.get(this);
    const envelopes = [JSON.parse(text)].flat();
    const own = envelopes.map(({ data }) => (data === undefined ? 0 : Buffer.byteLength(JSON.stringify(data))));
    const beside = (Buffer.byteLength(text) - own.reduce((sum, size) => sum + size, 0)) / envelopes.length;
    for (const [at, { event }] of envelopes.entries()) {
      if (requests_per_second && !requests(1)) refused.push(event);
      if (bytes_per_second && !bytes(own[at] + beside)) refused.push(event);
    }
    send.call(this, text);
  };
  return refused;
}

const sent = (server) => server.log.filter(({ event }) => event === "message:send").map(({ data }) => data.data);

test("requests and bytes go out as fast as the server takes them, in order, and none is refused", async () => {
  const cases = [
    [{ requests_per_second: 200, requests_burst: 20 }, (number) => number],
    [{ bytes_per_second: 200_000, bytes_burst: 20_000 }, (number) => `${number}`.padStart(3000)],
    [{ bytes_per_second: 200_000, bytes_burst: 20_000 }, (number) => `${number}`.padStart(number % 7 ? 10 : 19_000 + 300 * number)],
    [{ requests_per_second: 150, requests_burst: 10, bytes_per_second: 150_000, bytes_burst: 9000 }, (number) => `${number}`.padStart(99)],
  ];
  for (const [limits, data] of cases) {
    const server = new ReferenceServer(seeded(100));
    const refused = counted(server, limits);
    const client = connect(server);
    const room = client.room("team");
    await until(server, () => room.joined);
    const all = Array.from({ length: 60 }, (_, number) => data(number));
    for (const one of all) room.send(one);
    await until(server, () => room.settled);
    assert.deepEqual([refused, sent(server)], [[], all]);
    server.cut(only(server)); // a new connection has full buckets, and old timers are over
    for (const one of all) room.send(one);
    await until(server, () => room.joined && room.settled);
    assert.deepEqual([refused, sent(server).length], [[], 120]);
    client.close();
  }
});

test("what is given up while it waits is not sent, and of cursors the newest is", async () => {
  const server = new ReferenceServer(seeded(101));
  counted(server, { requests_per_second: 5, requests_burst: 3 });
  const client = connect(server, { cursorInterval: 0 });
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  server.log.length = 0;
  const stop = new AbortController();
  const wanted = client.request("ping").catch(() => {});
  const given = client.request("room:members", { room: "x" }, { signal: stop.signal });
  for (const place of [1, 2, 3]) client._send("document:cursor", { document: "notes", revision: 0, anchor: place, head: place });
  await turn();
  stop.abort();
  await assert.rejects(given, { name: "AbortError" });
  await until(server, () => server.log.some(({ event }) => event === "document:cursor"));
  await wanted;
  assert.deepEqual(server.log.map(({ event, data }) => [event, data?.anchor]), [["ping", undefined], ["document:cursor", 3]]);
  client.close();
});

test("joins that are refused for now hold up nothing else; of cursors that are asked about each is answered", async () => {
  const server = new ReferenceServer(seeded(104));
  server.limits = { ...server.limits, requests_per_second: 0.001, requests_burst: 10 };
  const client = connect(server);
  for (let number = 0; number < 40; number += 1) client.document(`d${number}`);
  let joins = 0;
  server.intercept = (connection, { event, id }) => {
    if (event !== "document:join" || (joins += 1) <= 5) return false;
    connection.toClient.push(JSON.stringify({ id, event: "error", error: { code: "rate_limited", message: "", retry_after: 500 } }));
    return true;
  };
  await until(server, () => client.online && joins === 40);
  await rest(server);
  client.close({ settle: 0 });
  const other = connect(server);
  server.intercept = (connection, { event, data, id }) => {
    if (event === "document:cursor") connection.toClient.push(JSON.stringify({ id, event, result: {} }));
    return event === "document:cursor";
  };
  await until(server, () => other.online);
  const asked = [{ document: "d" }, { document: "d" }, undefined, null].map((data) => other.request("document:cursor", data));
  await until(server, () => server.log.filter(({ event }) => event === "document:cursor").length === 4);
  await rest(server);
  await Promise.all(asked);
  other.close();
});

test("a server that is asked whether it is there is asked at once, and what waits is bounded", async () => {
  const server = new ReferenceServer(seeded(103));
  counted(server, { requests_per_second: 0.001, requests_burst: 4 });
  const client = connect(server, { patience: 1000, maxBuffered: 5000 });
  const room = client.room("team");
  await until(server, () => room.joined);
  const outcomes = [];
  for (let number = 0; number < 10; number += 1) {
    room.send("x".repeat(1000)).catch(({ code }) => outcomes.push(code));
    client.reconnect(); // while it is online: asks
    await turn();
  }
  await until(server, () => server.log.filter(({ event }) => event === "ping").length > 3 && outcomes.length);
  assert.deepEqual([client.online, client.stalled, new Set(outcomes)], [true, false, new Set(["buffer_full"])]);
  client.close({ settle: 0 });
});

test("an operation, or undo, that is refused for now is sent again in the same session, and typing goes on", async () => {
  const server = new ReferenceServer(seeded(102));
  const client = connect(server);
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  const before = notes.text;
  const tries = [];
  server.intercept = (connection, { event, data, id }) => {
    if (!["document:operation", "document:undo"].includes(event)) return false;
    tries.push(data.seq);
    const error = { code: "rate_limited", message: "try again", retry_after: 0.001 };
    if (event === "document:undo") {
      connection.toClient.push(JSON.stringify({ id, event: "error", error: tries.filter((seq) => seq === data.seq).length < 3 ? error
        : { code: "nothing_to_undo", message: "" } }));
      return true;
    }
    if (tries.filter((seq) => seq === data.seq).length > 2) return false;
    server.push(connection, "error", { ...error, event, document: "notes", seq: data.seq });
    return true;
  };
  server.log.length = 0;
  notes.insert(0, "one ");
  await turn();
  notes.insert(4, "two ");
  const undone = notes.undo();
  await until(server, () => notes.settled);
  assert.equal(await undone, false);
  assert.deepEqual(tries, [1, 1, 1, 2, 2, 2, 3, 3, 3]);
  assert.equal(server.log.some(({ event }) => event === "document:join"), false);
  assert.deepEqual([notes.text, server.document("notes").text], [`one two ${before}`, `one two ${before}`]);
  notes.insert(0, "lost ");
  await until(server, () => tries.length === 10);
  server.cut(only(server)); // while it waits
  await until(server, () => notes.joined && notes.settled);
  await rest(server);
  assert.equal(server.document("notes").text, `lost one two ${before}`);
  client.close();
});

test("the time for an answer begins when a request goes out: what is held back is not given up as if it had been sent", async () => {
  const server = new ReferenceServer(seeded(105));
  const refused = counted(server, { bytes_per_second: 20_000, bytes_burst: 3000 });
  const client = connect(server, { requestTimeout: 150 });
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  const states = [];
  notes.on("state", ({ state }) => states.push(state));
  server.log.length = 0;
  server.intercept = (connection, { event, id }) => {
    if (event !== "document:undo") return false;
    answer(connection, id, { code: "nothing_to_undo", message: "" });
    return true;
  };
  notes.insert(0, "x".repeat(12_000)); // what goes next is owed for half a second
  await until(server, () => notes.settled);
  const undone = notes.undo().catch(({ code }) => code);
  const late = client.room("late");
  const given = client.request("ping").then(() => "answered", ({ code }) => code);
  let outcome;
  given.then((code) => { outcome = code; });
  await until(server, () => outcome);
  assert.deepEqual([outcome, server.log.some(({ event }) => event === "ping")], ["not_sent", false]);
  server.push(only(server), "document:operation", { document: "notes", revision: notes.revision + 1,
    operations: [{ client: "other", seq: 1, operation: ["seen "] }] });
  await until(server, () => notes.text.startsWith("seen "));
  await until(server, () => late.joined && notes.settled);
  assert.equal(await undone, "timeout", "it may be done yet, and it is asked for");
  assert.deepEqual([states, refused], [[], []]);
  const asked = server.log.map(({ event }) => event).filter((event) => event !== "room:digest").sort();
  assert.deepEqual(asked, ["document:operation", "document:undo", "room:join"]);
  client.close({ settle: 0 });
});

test("an undo that finds the buffer full waits, in the same session", async () => {
  const server = new ReferenceServer(seeded(106));
  const client = connect(server, { maxRequests: 1 });
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  server.log.length = 0;
  server.intercept = (connection, { event, id }) => {
    if (event === "document:undo") answer(connection, id, { code: "nothing_to_undo", message: "" });
    return event === "document:undo" || event === "ping";
  };
  const asked = client.request("ping").catch(({ code }) => code); // never answered
  const undone = notes.undo();
  await rest(server);
  await turn();
  assert.deepEqual(server.log.map(({ event }) => event), ["ping"]);
  answer(only(server), 3, { code: "internal", message: "" });
  await until(server, () => notes.settled);
  assert.deepEqual([await asked, await undone], ["internal", false]);
  assert.deepEqual(server.log.map(({ event }) => event), ["ping", "document:undo"]);
  client.close({ settle: 0 });
});

test("what was more than the burst before the limits were told is owed: a long token", async () => {
  const server = new ReferenceServer(seeded(107));
  const refused = counted(server, { bytes_per_second: 10_000, bytes_burst: 2000 });
  const client = connect(server, { token: "t".repeat(4000) });
  await until(server, () => client.online);
  let answered = false;
  client.request("ping").then(() => { answered = true; });
  await until(server, () => answered);
  assert.deepEqual(refused, []);
  client.close();
});

test("where hardly anything is allowed, asking whether the server is there leaves enough for a join", async () => {
  const server = new ReferenceServer(seeded(108));
  const [rate, burst] = [5, 1];
  server.limits = { ...server.limits, requests_per_second: rate, requests_burst: burst };
  let [left, at] = [burst, performance.now()];
  server.intercept = (connection, { event, id }) => {
    const now = performance.now();
    left = Math.min(burst, left + ((now - at) / 1000) * rate);
    at = now;
    if (left < 1 && event !== "auth") answer(connection, id, { code: "rate_limited", message: "", retry_after: (1 - left) / rate });
    if (left < 1 && event !== "auth") return true;
    left -= 1;
    return false;
  };
  const client = connect(server, { heartbeat: 30, patience: 5000 });
  await until(server, () => client.online);
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  notes.insert(0, "x");
  await until(server, () => notes.settled);
  assert.equal(server.log.filter(({ event }) => event === "document:join").length, 1);
  client.close({ settle: 0 });
});

test("the limits of connection and user are kept to each, from what was left when they were told", () => {
  const goes = (pace, text) => pace.take(text) === 0;
  const left = new Pace();
  left.take("x".repeat(1000)); // `auth`: it is in what is left
  left.take("a");
  left.told({ user_requests_per_second: 1, user_requests_burst: 10, user_requests_left: 4 });
  assert.deepEqual([goes(left, "b"), goes(left, "c"), goes(left, "d")], [true, true, false]); // 9 - 6 - 1
  const owed = new Pace();
  owed.told({ bytes_per_second: 100, bytes_burst: 1000, bytes_left: -500 });
  assert.ok(owed.take("x".repeat(95)) > 7700);
  const both = new Pace();
  both.told({ bytes_per_second: 1, bytes_burst: 4096, bytes_left: 4096, user_bytes_per_second: 1, user_bytes_burst: 8192, user_bytes_left: 8000 });
  assert.deepEqual([goes(both, "x".repeat(7900)), goes(both, "x".repeat(2000))], [false, true]);
});

test("limits that are told again hold from then on, and end what was owed", async () => {
  const server = new ReferenceServer(seeded(109));
  server.limits = { ...server.limits, bytes_per_second: 100, bytes_burst: 1000 };
  const client = connect(server);
  const notes = client.document("notes");
  await until(server, () => notes.joined);
  notes.insert(0, "x".repeat(100_000));
  await until(server, () => notes.settled);
  let answered = 0;
  const ask = () => client.request("ping").then(() => { answered += 1; }, () => {});
  ask();
  await rest(server);
  assert.equal(answered, 0);
  const limits = { batch_size: 20, requests_per_second: 0.001, requests_burst: 5, requests_left: 3 };
  server.push(only(server), "auth:limits", { limits });
  await until(server, () => answered === 1);
  assert.deepEqual(client.identity.limits, { message_bytes: 1_048_576, ...limits });
  for (let number = 0; number < 4; number += 1) ask();
  await rest(server);
  assert.equal(answered, 2); // 4.5 - 2 of three and a half
  client.close({ settle: 0 });
});
