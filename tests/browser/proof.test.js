// The delivery digest: payloads cut out of frames, their hashes, and what a client does when one went wrong on the way.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../../src/client/browser/syncline.js";
import * as proof from "../../src/client/browser/syncline-proof.js";
import { crc32, hashOf, ReferenceServer, seeded, turn } from "./reference.mjs";

const random = seeded(77);
const any = (...choices) => choices[Math.floor(random() * choices.length)];
const TEXTS = ["", "a", '"', "\\", '\\"', ',"data":{', '","data":', "é", "漢字", "🙂", "\u2028", "\u0000", "}}", "[{", "x".repeat(40)];

function value(depth = 3) {
  if (depth === 0 || random() < 0.3) return any(null, true, 0, -1.5e-7, 12345678901, any(...TEXTS));
  const size = Math.floor(random() * 4);
  if (random() < 0.5) return Array.from({ length: size }, () => value(depth - 1));
  return Object.fromEntries(Array.from({ length: size }, (_, index) => [any(...TEXTS) + index, value(depth - 1)]));
}

test("the hash is CRC-32 over epoch, offset and payload", () => {
  const seed = proof.epochSeed("a1b2c3d4");
  // The same numbers are in tests/core/test_digest.py: two programs, one hash.
  assert.equal(proof.itemHash(seed, 43, '{"text":"héllo, wörld 🙂"}'), 2241307788);
  assert.equal(proof.itemHash(seed, 2 ** 53 - 1, "null"), 4059665934);
  for (let round = 0; round < 300; round += 1) {
    const epoch = any(...TEXTS);
    const offset = Math.floor(random() * 2 ** any(4, 32, 33, 53));
    const data = value();
    assert.equal(proof.itemHash(proof.epochSeed(epoch), offset, JSON.stringify(data)), hashOf({ epoch, offset, data }));
  }
  const giant = "é".repeat(700_000); // more than is kept as a buffer
  assert.equal(proof.epochSeed(giant), crc32(Buffer.from(giant)));
  assert.equal(proof.epochSeed("after"), crc32(Buffer.from("after")));
});

test("a message that was not sent back counts by its hash", () => {
  const made = () => {
    const one = new proof.Proof();
    one.joined({ since: 0, value: 4_294_967_290 }, { offset: 0, epoch: "e" }, [], [], false);
    return one;
  };
  const [heard, spoke] = [made(), made()];
  heard.fold(1, '"hi"');
  spoke.foldHash(1, hashOf({ epoch: "e", offset: 1, data: "hi" }));
  assert.deepEqual(spoke.claim("r"), heard.claim("r"));
});

test("payloads are cut out of frames exactly as they came", () => {
  for (let round = 0; round < 400; round += 1) {
    const spaces = any(undefined, undefined, 1, "\t\r\n");
    const messages = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, index) => ({
      room: any(...TEXTS), offset: index + 1, epoch: "e", user: any(...TEXTS), name: any(...TEXTS), time: 1.5, data: value(),
    }));
    const payload = (text, at) => JSON.parse(proof.payloadOfPush(text, at));
    const pushes = messages.map((data) => ({ event: "message:received", data }));
    const single = JSON.stringify(pushes[0], null, spaces);
    assert.deepEqual(payload(single, 0), messages[0].data);
    assert.ok(single.includes(proof.payloadOfPush(single, 0)));
    if (spaces === undefined) assert.equal(proof.payloadOfPush(single, 0), JSON.stringify(messages[0].data));
    const many = JSON.stringify([...pushes, { id: 1, event: "x", result: value() }], null, spaces);
    const places = proof.elements(many, 0);
    assert.equal(places.length, pushes.length + 1);
    pushes.forEach((push, index) => assert.deepEqual(payload(many, places[index]), push.data.data));
    const result = { room: "r", members: [{ metadata: value() }], extra: value(), publications: messages, digest: null };
    for (const joined of [{ id: 5, event: "room:joined", result }, { event: "room:joined", data: result }]) {
      const text = JSON.stringify(joined, null, spaces);
      const cut = proof.payloadsOfJoined(text, 0);
      assert.deepEqual(cut.map((one) => JSON.parse(one)), messages.map(({ data }) => data));
      if (spaces === undefined) assert.deepEqual(cut, messages.map(({ data }) => JSON.stringify(data)));
    }
  }
  assert.deepEqual(proof.elements(" [ ] ", 0), []);
  assert.equal(proof.member("{}", 0, "a"), -1);
  assert.equal(proof.member(' {"b":[{"a":1}],"c":"\\\\" , "a":7}', 0, "a"), 31);
});

const instant = { backoffBase: 0, backoffMax: 0, requestTimeout: 60_000, connectTimeout: 60_000, name: "Ada", random: () => 0 };

/** Runs until `done`; now and then the clients' heartbeats, which a clock would start, are due. */
async function until(server, done, tries = 6000) {
  for (let count = 1; count < tries; count += 1) {
    if (done()) return;
    server.step();
    await turn();
    if (count % 40 === 0) for (const client of server.clients) client._heartbeat.ask(client.rooms.values());
    if (count > 100 && count % 40 === 1) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error("it did not come to that");
}

/** Two clients in one room, closed at the end of the test; what Bob's application sees. */
async function pair(test, seed) {
  const server = new ReferenceServer(seeded(seed));
  const make = (name) => new Client("http://reference/ws", { WebSocket: server.WebSocket, ...instant, name });
  const [ada, bob] = (server.clients = [make("Ada"), make("Bob")]);
  ada.connect();
  bob.connect();
  test.after(() => [ada, bob].forEach((one) => one.close()));
  const seen = { got: [], proofs: [], lost: [] };
  const room = bob.room("team");
  room.on("message", ({ offset, data }) => seen.got.push([offset, data]));
  room.on("proof", (detail) => seen.proofs.push(detail));
  room.on("lost", (detail) => seen.lost.push(detail));
  const sender = ada.room("team");
  await until(server, () => room.state === "joined" && sender.state === "joined");
  return { server, bob, room, sender, seen };
}

/** Its fate is looked at in what the others got. */
const say = (room, data) => room.send(data).catch(() => {});
const isBob = (connection) => connection.user === "guest-Bob";

for (const fault of ["lost", "twice", "swapped", "altered"]) {
  for (const place of ["middle", "last"]) {
    test(`${fault}, ${place}: found within a heartbeat and repaired`, async (context) => {
      const { server, room, sender, seen } = await pair(context, fault.length * 10 + place.length);
      const count = 8;
      const held = [];
      server.tamper = (connection, text) => {
        const { n } = JSON.parse(text).data.data;
        if (!isBob(connection)) return [text];
        if (n !== (place === "middle" ? 3 : count - 1)) return [text, ...held.splice(0)];
        if (fault === "twice") return [text, text];
        if (fault === "altered") return [text.replace("text", "TEXT")];
        if (fault === "swapped") held.push(text);
        return [];
      };
      for (let n = 0; n < count; n += 1) say(sender, { n, is: "text" });
      await until(server, () => room.proof.proven?.offset === count);
      assert.deepEqual(seen.got.map(([offset, { n }]) => [offset, n]), Array.from({ length: count }, (_, n) => [n + 1, n]));
      assert.deepEqual(seen.lost, []);
      assert.equal(seen.proofs.at(-1).complete, true);
      const failures = seen.proofs.filter(({ complete }) => !complete).length;
      assert.equal(room.proof.failures, failures);
      if (fault === "altered" || (place === "last" && fault !== "twice")) assert.equal(failures, 1);
      assert.equal(room.proof.duplicates, fault === "twice" ? 1 : 0);
      assert.ok(server.proofs.proven > 0 && (fault !== "altered" || server.proofs.unproven > 0));
      say(sender, { n: count });
      await until(server, () => room.proof.proven?.offset === count + 1);
    });
  }
}

test("cuts and faults at random: every message once, in order, and proven at the end", async (context) => {
  for (let seed = 1; seed <= 6; seed += 1) {
    const { server, bob, room, sender, seen } = await pair(context, seed * 31);
    const chance = seeded(seed);
    server.tamper = (connection, text) => {
      if (!isBob(connection) || chance() < 0.85) return [text];
      return [[], [text, text], [text.replace("text", "TEXT")]][Math.floor(chance() * 3)];
    };
    const count = 150;
    for (let n = 0; n < count; n += 1) {
      say(sender, { n, is: "text" });
      for (let steps = 0; steps < 6; steps += 1) {
        server.step();
        await turn();
      }
      const mine = [...server.connections].find(isBob);
      if (mine && chance() < 0.04) server.cut(mine);
    }
    server.tamper = (connection, text) => [text];
    await until(server, () => room.proof.proven?.offset === count, 20_000);
    assert.ok(bob.online && room.proof.failures + room.proof.duplicates > 0);
    assert.deepEqual(seen.got.map(([offset, { n }]) => [offset, n]), Array.from({ length: count }, (_, n) => [n + 1, n]));
    assert.deepEqual(seen.lost, []);
  }
});

test("over a lost connection it goes on with its own digest: what was altered before shows after", async (context) => {
  const { server, bob, room, sender, seen } = await pair(context, 5);
  server.cut([...server.connections].find(isBob));
  await until(server, () => room.state === "joined" && bob.online);
  server.tamper = (connection, text) => [isBob(connection) ? text.replace("text", "TEXT") : text];
  say(sender, { is: "text" });
  await until(server, () => seen.got.length === 1);
  server.tamper = (connection, text) => [text];
  server.cut([...server.connections].find(isBob));
  await until(server, () => room.proof.proven?.offset === 1);
  assert.deepEqual(seen.proofs.slice(-2).map(({ complete }) => complete), [false, true]);
  assert.equal(seen.got.length, 1);
});

test("a room that the server does not know this client to be in is joined again", async (context) => {
  const { server, room, sender, seen } = await pair(context, 6);
  [...server.connections].find(isBob).rooms.delete("team");
  say(sender, { n: 1 });
  const joins = () => server.log.filter(({ event, data }) => event === "room:join" && data.room === "team").length;
  const before = joins();
  await until(server, () => seen.got.length === 1 && room.proof.proven?.offset === 1);
  assert.ok(joins() > before && room.state === "joined");
});

test("a clock asks", async (context) => {
  const server = new ReferenceServer(seeded(3));
  server.pingSeconds = 0.05;
  server.clients = [];
  const client = new Client("http://reference/ws", { WebSocket: server.WebSocket, ...instant });
  context.after(() => client.close());
  client.connect();
  client.room("team");
  const asked = () => server.log.filter(({ event }) => event === "room:digest").length;
  await until(server, () => asked() > 2, 100_000);
});

test("a room of which the server keeps no digest is not asked about", async (context) => {
  const { server, room, sender } = await pair(context, 8);
  server.intercept = (connection, { event, data, id }) => {
    if (event !== "room:join") return false;
    server.handle(connection, { event, data: { ...data, digest: false }, id });
    return true;
  };
  server.cut([...server.connections].find(isBob));
  await until(server, () => room.state === "joined");
  say(sender, { n: 1 });
  // The other one's heartbeats go on meanwhile.
  await until(server, () => room.position.offset === 1 && sender.proof.proven?.offset === 1);
  say(sender, { n: 2 });
  await until(server, () => room.position.offset === 2 && sender.proof.proven?.offset === 2);
  assert.equal(room.proof.proven, null);
});
