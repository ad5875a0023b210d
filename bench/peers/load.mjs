// A lean load generator for the peers' servers: `node load.mjs sharedb | y-websocket | hocuspocus PORT CLIENTS SECONDS`.
// The same work as ../load.py: each client keeps one single-character insert in flight and sends the next when the server
// has confirmed it. The peers' own protocols as raw frames; Yjs clients type runs, its best case, made before the clock
// starts. Prints one line of JSON as ../load.py does, after all clients turned out to have seen everything.

import assert from "node:assert/strict";
import { WebSocket } from "ws";

const [kind, port, countText, secondsText] = process.argv.slice(2);
const count = Number(countText);
const seconds = Number(secondsText);
const LENGTH = 1000;
const clients = [];
const latencies = [];
let sending = true;
let warm = false;

function connect(path) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { perMessageDeflate: false });
  socket.binaryType = "nodebuffer";
  return socket;
}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function acked(client) {
  if (warm) latencies.push(performance.now() - client.sentAt);
  client.inFlight = false;
  if (sending) client.send();
}

const protocols = {
  async sharedb() {
    const { type } = await import("ot-text-unicode");
    const join = async (index) => {
      const socket = connect("/");
      const client = { socket, sent: 0, version: 0, inFlight: false, log: index === 0 ? [] : null };
      await new Promise((resolve) => {
        socket.on("message", (data) => {
          const text = data.toString();
          if (text.includes('"a":"op"')) {
            assert(!text.includes('"error"'), text);
            const version = Number(/"v":(\d+)/.exec(text)[1]);
            if (version < client.version) return; // what a submission was transformed over comes twice
            assert.equal(version, client.version);
            client.version += 1;
            client.log?.push(text);
            if (text.includes(client.mark)) acked(client);
            return;
          }
          const message = JSON.parse(text);
          if (message.a === "init") socket.send(JSON.stringify({ a: "hs", protocol: 1, protocolMinor: 2, id: null }));
          if (message.a === "hs") {
            client.id = message.id;
            client.mark = `"src":"${message.id}"`;
            socket.send(JSON.stringify({ a: "s", c: "c", d: "bench", v: null }));
          }
          if (message.a === "s") {
            client.version = message.data.v;
            client.text = message.data.data;
            client.start = message.data.v;
            resolve();
          }
        });
      });
      client.send = () => {
        client.inFlight = true;
        client.sent += 1;
        const at = 1 + Math.floor(Math.random() * LENGTH);
        client.log?.push([at, "x"]);
        client.sentAt = performance.now();
        socket.send(`{"a":"op","c":"c","d":"bench","v":${client.version},"seq":${client.sent},"x":{},"op":[${at},"x"]}`);
      };
      return client;
    };
    return {
      join,
      async check() {
        assert.equal(new Set(clients.map((client) => client.version)).size, 1);
        const one = clients[0];
        assert.equal(one.version - one.start, clients.reduce((sum, client) => sum + client.sent, 0));
        let { text } = one;
        let mine = null;
        for (const item of one.log) {
          if (Array.isArray(item)) {
            mine = item;
            text = type.apply(text, item);
          } else if (item.includes(one.mark)) {
            mine = null;
          } else {
            const { op } = JSON.parse(item);
            text = type.apply(text, mine ? type.transform(op, mine, "right") : op);
            if (mine) mine = type.transform(mine, op, "left");
          }
        }
        const fresh = await join(-1);
        assert.equal(fresh.text, text);
      },
    };
  },

  // y-websocket sends an update on to everybody, its author included: the echo is the confirmation. Hocuspocus sends on
  // what arrived in one turn as one merged update, and confirms each (its message 8).
  async yjs(path, address) {
    const Y = await import("yjs");
    const encoding = await import("lib0/encoding");
    const decoding = await import("lib0/decoding");
    const head = (more) => {
      const encoder = encoding.createEncoder();
      if (address) encoding.writeVarString(encoder, address);
      more(encoder);
      return encoder;
    };
    const wrapped = (step, bytes) =>
      Buffer.from(
        encoding.toUint8Array(
          head((encoder) => {
            encoding.writeVarUint(encoder, 0);
            encoding.writeVarUint(encoder, step);
            encoding.writeVarUint8Array(encoder, bytes);
          }),
        ),
      );
    const prefix = encoding.toUint8Array(head((encoder) => encoding.writeVarUint(encoder, 0))).length;
    const payload = (data) => {
      const decoder = decoding.createDecoder(data.subarray(prefix + 1));
      return decoding.readVarUint8Array(decoder);
    };
    const join = async (index) => {
      const socket = connect(path);
      const client = { socket, frames: 0, bytes: 0, sent: 0, inFlight: false, log: index === 0 ? [] : null };
      client.doc = new Y.Doc();
      const updates = [];
      client.doc.on("update", (update) => updates.push(wrapped(2, update)));
      const text = client.doc.getText("t");
      let at = 0;
      const type = () => {
        if (at > 200) at = 0;
        text.insert(at, "x");
        at += 1;
      };
      if (index >= 0) for (let made = 0; made < 24_000 / count + 50; made++) type();
      let expected = null;
      await new Promise((resolve) => {
        socket.on("message", (data) => {
          const kind = data[prefix - 1];
          if (kind === 0 && data[prefix] === 2) {
            client.frames += 1;
            client.bytes += data.length;
            client.log?.push(data);
            if (!address && expected && data.length === expected.length && data.equals(expected)) {
              expected = null;
              acked(client);
            }
          } else if (kind === 8 && client.inFlight) {
            acked(client);
          } else if (kind === 0 && data[prefix] === 1) {
            client.state = payload(data);
            resolve();
          }
        });
        socket.on("open", () => {
          if (address) {
            const encoder = head((it) => {
              encoding.writeVarUint(it, 2);
              encoding.writeVarUint(it, 0);
              encoding.writeVarString(it, "token");
            });
            socket.send(encoding.toUint8Array(encoder));
          }
          socket.send(wrapped(0, Y.encodeStateVector(new Y.Doc())));
        });
      });
      client.send = () => {
        if (client.sent >= updates.length) type();
        expected = updates[client.sent];
        updates[client.sent] = null;
        client.sent += 1;
        client.inFlight = true;
        client.sentAt = performance.now();
        socket.send(expected);
      };
      return client;
    };
    return {
      join,
      async check() {
        const sent = clients.reduce((sum, client) => sum + client.sent, 0);
        assert.equal(new Set(clients.map((client) => `${client.frames} ${client.bytes}`)).size, 1);
        const mine = new Y.Doc();
        mine.transact(() => clients[0].log.forEach((data) => Y.applyUpdate(mine, payload(data))));
        const fresh = await join(-1);
        const theirs = new Y.Doc();
        Y.applyUpdate(theirs, fresh.state);
        assert.equal(mine.getText("t").toString(), theirs.getText("t").toString());
        assert.equal(mine.getText("t").length, sent);
      },
    };
  },
};

const protocol = {
  sharedb: protocols.sharedb,
  "y-websocket": () => protocols.yjs("/bench", ""),
  pycrdt: () => protocols.yjs("/bench", ""),
  hocuspocus: () => protocols.yjs("/", "bench"),
}[kind];
const { join, check } = await protocol();
for (let index = 0; index < count; index++) clients.push(await join(index));
for (const client of clients) client.send();
await sleep(500);
warm = true;
const started = performance.now();
const cpu = process.cpuUsage();
process.stderr.write("start\n");
await sleep(seconds * 1000);
const took = (performance.now() - started) / 1000;
const busy = process.cpuUsage(cpu);
process.stderr.write("stop\n");
warm = false;
sending = false;
const order = latencies.sort((a, b) => a - b);
for (let waited = 0; clients.some((client) => client.inFlight) && waited < 200; waited++) await sleep(100);
await sleep(300);
await check();
console.log(
  JSON.stringify({
    clients: count,
    rate: order.length / took,
    deliveries: (order.length * count) / took, // every operation reaches every client: that is what check() says
    p50: order[Math.floor(order.length / 2)],
    p99: order[Math.floor(order.length * 0.99)],
    "generator busy": (busy.user + busy.system) / 1e6 / took,
  }),
);
process.exit(0);
