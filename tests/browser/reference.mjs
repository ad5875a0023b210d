// A small server of the protocol in one process: documents and rooms, no sockets, frames delivered one by one by hand.
// It exists to drive the browser client through interleavings and failures that a real server shows only by chance.
import { ot } from "../../src/client/browser/syncline.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";

/** CRC-32 bit by bit: what the client's tables must agree with. */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** The hash of a message; the digest is their sum (docs/protocol.md, Delivery digest). */
export function hashOf({ epoch, offset, data }) {
  const place = Buffer.alloc(8);
  place.writeBigUInt64LE(BigInt(offset));
  return crc32(Buffer.concat([Buffer.from(epoch), place, Buffer.from(JSON.stringify(data))]));
}

const keys = new WeakMap(); // publication -> idempotency key
const digestOf = (publications) => publications.reduce((sum, one) => (sum + hashOf(one)) >>> 0, 0);

export class ReferenceServer {
  constructor(random = Math.random) {
    this.random = random;
    this.type = typeOf("text");
    this.connections = new Set();
    this.documents = new Map();
    this.rooms = new Map();
    this.up = true;
    this.refuse = () => null; // ({client, seq, operation}) -> an error code, or null
    this.tamper = (connection, text) => [text]; // what becomes of the frame of a message on its way
    this.proofs = { proven: 0, unproven: 0 }; // of what clients say of their rooms
    this.pingSeconds = 25;
    this.limits = { message_bytes: 1_048_576, batch_size: 256 };
    this.duplicates = 0;
    this.log = []; // events received
    this.intercept = () => false; // (connection, envelope) -> whether it was dealt with
    const server = this;
    this.WebSocket = class {
      constructor(url, protocols) {
        Object.assign(this, { url, protocols, readyState: 0, bufferedAmount: 0, toServer: [], toClient: [] });
        Object.assign(this, { documents: new Map(), rooms: new Set(), user: null });
        server.connections.add(this);
      }

      send(text) {
        if (this.readyState === 1) this.toServer.push(text);
      }

      close() {
        this.readyState = 3;
        server.forget(this);
      }
    };
  }

  document(name) {
    if (!this.documents.has(name)) {
      this.documents.set(name, { generation: `g${this.documents.size}`, text: "", history: [], owners: new Map() });
    }
    return this.documents.get(name);
  }

  room(name) {
    if (!this.rooms.has(name)) this.rooms.set(name, { epoch: "e1", class: "history", history: [] });
    return this.rooms.get(name);
  }

  /** Delivers one frame of a random connection and direction. False when there is nothing to do. */
  step() {
    const ready = [...this.connections].filter((one) => one.readyState === 0 || one.toServer.length || one.toClient.length);
    if (!ready.length) return false;
    const connection = ready[Math.floor(this.random() * ready.length)];
    if (connection.readyState === 0) {
      if (!this.up) this.cut(connection);
      else {
        connection.readyState = 1;
        connection.onopen?.({});
      }
    } else if (connection.toServer.length && (!connection.toClient.length || this.random() < 0.5)) {
      this.receive(connection, connection.toServer.shift());
    } else if (connection.toClient.length) {
      connection.onmessage?.({ data: connection.toClient.shift() });
    }
    return true;
  }

  forget(connection) {
    this.connections.delete(connection);
    for (const name of connection.documents.keys()) this.leave(connection, name);
  }

  /** The connection is gone, with whatever was on its way; `handled`: the server still read what had been sent. */
  cut(connection, { code = 1006, reason = "", handled = false } = {}) {
    if (handled) while (connection.toServer.length) this.receive(connection, connection.toServer.shift());
    this.forget(connection);
    connection.readyState = 3;
    connection.toServer.length = connection.toClient.length = 0;
    connection.onclose?.({ code, reason });
  }

  push(connection, event, data) {
    connection.toClient.push(JSON.stringify({ event, data }));
  }

  receive(connection, text) {
    const parsed = JSON.parse(text);
    for (const envelope of Array.isArray(parsed) ? parsed : [parsed]) {
      this.log.push(envelope);
      if (!this.intercept(connection, envelope)) this.handle(connection, envelope);
    }
  }

  handle(connection, { event, data, id }) {
    const reply = (name, result) => id !== undefined && connection.toClient.push(JSON.stringify({ id, event: name, result }));
    const fail = (code, extra = {}) => {
      const error = { code, message: `${code} it is` };
      if (id === undefined) this.push(connection, "error", { ...error, event, ...extra });
      else connection.toClient.push(JSON.stringify({ id, event: "error", error }));
    };
    if (event === "auth") {
      connection.user = data.token ?? `guest-${data.name}`;
      return reply("auth:accepted", {
        user: connection.user, name: data.name, connection: "c", guest: true, expires_at: null, ping_seconds: this.pingSeconds,
        version: "0", token: connection.user, limits: this.limits,
      });
    }
    if (event === "ping") return reply("ping", { time: 0 });
    if (event === "room:digest") return reply(event, { rooms: data.rooms.flatMap((one) => this.compare(connection, one)) });
    if (event === "room:join") return this.joinRoom(connection, data, reply);
    if (event === "message:send") return this.publish(connection, data, reply);
    if (event === "presence:update") return reply(event, data);
    if (event === "document:join") return this.join(connection, data, reply, fail);
    if (event === "document:operation") return this.operation(connection, data, fail);
    if (event === "document:cursor") return this.cursor(connection, data);
    if (event === "room:leave") {
      connection.rooms.delete(data.room);
      return reply(event, data);
    }
    if (event === "document:leave") {
      this.leave(connection, data.document);
      return reply(event, data);
    }
    return fail("unknown_event");
  }

  compare(connection, { room: name, epoch, offset, digest }) {
    if (!connection.rooms.has(name)) return [];
    const room = this.room(name);
    const upTo = room.history.filter((one) => one.offset <= offset);
    const agrees = epoch === room.epoch && upTo.length === offset && digestOf(upTo) === digest;
    this.proofs[agrees ? "proven" : "unproven"] += 1;
    return [{ room: name, epoch: room.epoch, offset: room.history.length, digest: digestOf(room.history) }];
  }

  joinRoom(connection, { room: name, history = 0, recover, digest }, reply) {
    const room = this.room(name);
    connection.rooms.add(name);
    const recovered = recover ? recover.epoch === room.epoch : null;
    const publications = recovered
      ? room.history.filter(({ offset }) => offset > recover.offset)
      : room.history.slice(Math.max(0, room.history.length - history));
    const position = { offset: room.history.at(-1)?.offset ?? 0, epoch: room.epoch };
    const answer = { room: name, role: "member", class: room.class, position, recovered, publications, members: [] };
    // `since` is 0: the digest is of all that the room ever had.
    if (digest) answer.digest = { since: 0, value: (digestOf(room.history) - digestOf(publications)) >>> 0 };
    return reply("room:joined", answer);
  }

  publish(connection, { room: name, data, echo = true, idempotency_key: key }, reply) {
    const room = this.room(name);
    const known = room.history.find((one) => key !== undefined && keys.get(one) === key);
    if (known) return reply("message:send", { room: name, offset: known.offset, epoch: room.epoch, duplicate: true });
    const offset = (room.history.at(-1)?.offset ?? 0) + 1;
    const publication = { room: name, offset, epoch: room.epoch, user: connection.user, name: "", time: 0, data };
    room.history.push(publication);
    const frame = JSON.stringify({ event: "message:received", data: publication });
    keys.set(publication, key);
    const sent = JSON.stringify({ event: "message:sent", data: { room: name, offset, epoch: room.epoch, hash: hashOf(publication) } });
    for (const other of this.connections) {
      if (!other.rooms.has(name)) continue;
      other.toClient.push(...this.tamper(other, other === connection && !echo ? sent : frame));
    }
    return reply("message:send", { room: name, offset, epoch: room.epoch });
  }

  join(connection, { document: name, client, revision, generation }, reply, fail) {
    const document = this.document(name);
    const owner = document.owners.get(client);
    if (owner !== undefined && owner !== connection.user) return fail("client_taken");
    document.owners.set(client, connection.user);
    const returning = generation === document.generation;
    if (returning && revision > document.history.length) return fail("revision_unknown");
    connection.documents.set(name, { client, place: null });
    const seq = document.history.reduce((last, entry) => (entry.client === client ? entry.seq : last), 0);
    const collaborators = this.meet(connection, name);
    return reply("document:state", {
      document: name, generation: document.generation, revision: document.history.length, role: connection.role ?? "editor",
      unit: "utf-16", client, seq, text: returning ? null : document.text,
      operations: returning ? document.history.slice(revision) : null, collaborators,
    });
  }

  /** Tells the others who has joined; returns the others. */
  meet(connection, name) {
    const others = [...this.connections].filter((one) => one !== connection && one.documents.has(name));
    for (const other of others) this.push(other, "document:collaborator_joined", { document: name, ...this.who(connection, name) });
    return others.map((one) => this.who(one, name));
  }

  who(connection, name) {
    const { client, place } = connection.documents.get(name);
    const at = place ?? { anchor: null, head: null };
    return { client, user: connection.user, name: connection.user, role: "editor", ...at };
  }

  leave(connection, name) {
    const { client } = connection.documents.get(name);
    connection.documents.delete(name);
    for (const other of this.connections) {
      if (other.documents.has(name)) this.push(other, "document:collaborator_left", { document: name, client });
    }
  }

  operation(connection, { document: name, seq, revision, operation }, fail) {
    const joined = connection.documents.get(name);
    if (!joined) return fail("not_joined", { document: name, seq });
    const document = this.document(name);
    const { client } = joined;
    const known = document.history.findIndex((entry) => entry.client === client && entry.seq === seq);
    if (known >= 0) {
      this.duplicates += 1;
      return this.push(connection, "document:ack", { document: name, seq, revision: known + 1 });
    }
    const code = this.refuse({ client, seq, operation }) || this.take(name, { client, seq, revision, operation });
    return code ? fail(code, { document: name, seq }) : undefined;
  }

  /** What has a number of its own: moved to the head and done. Gives the code of the error that refuses it. */
  take(name, { client, seq, revision, operation }) {
    const document = this.document(name);
    let arrived = operation;
    for (const entry of document.history.slice(revision)) arrived = ot.transform(arrived, entry.operation, "left");
    if (ot.baseLength(arrived) > document.text.length) return "operation_out_of_range";
    if (!ot.keepsPairs(arrived, document.text)) return "operation_invalid";
    document.text = ot.apply(document.text, arrived);
    document.history.push({ client, seq, operation: arrived });
    for (const other of this.connections) {
      const there = other.documents.get(name);
      if (!there) continue;
      this.push(other, "document:operation", {
        document: name, revision: document.history.length, operations: [{ client, seq, operation: arrived }],
      });
    }
    this.movePlaces(name, client, arrived);
    return undefined;
  }

  movePlaces(name, author, operation) {
    const end = this.type.end(operation);
    for (const { documents } of this.connections) {
      const there = documents.get(name);
      if (there?.client === author && end !== null) there.place = { anchor: end, head: end };
      else if (there?.place) there.place = this.moved(there.place, operation);
    }
  }

  moved({ anchor, head }, operation) {
    return { anchor: this.type.move(operation, anchor), head: this.type.move(operation, head) };
  }

  cursor(connection, { document: name, revision, anchor, head }) {
    const joined = connection.documents.get(name);
    if (!joined) return;
    const document = this.document(name);
    joined.place = anchor === null ? null : { anchor, head };
    for (const { operation } of document.history.slice(revision)) {
      if (joined.place) joined.place = this.moved(joined.place, operation);
    }
    for (const other of this.connections) {
      if (other !== connection && other.documents.has(name)) {
        const cursors = [{ client: joined.client, anchor: null, head: null, ...joined.place }];
        this.push(other, "document:cursor", { document: name, revision: document.history.length, cursors });
      }
    }
  }
}

/** A small seeded generator (mulberry32): failures can be repeated. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const PIECES = ["a", "1", "-2", " ", "bc", "def", "\n", "é", "😀", "👩‍👩‍👧", "💃x", "the ", "漢字"];

/** A random operation on `text` that keeps surrogate pairs whole, of one to four components' work. */
export function randomOperation(text, random) {
  const parts = [];
  let at = 0;
  for (let round = Math.ceil(random() * 2); round > 0; round -= 1) {
    const point = (low) => {
      const found = low + Math.floor(random() * (text.length - low + 1));
      const low_ = found > 0 && found < text.length && /[\uDC00-\uDFFF]/.test(text[found]) && /[\uD800-\uDBFF]/.test(text[found - 1]);
      return low_ ? found + 1 : found;
    };
    const start = point(at);
    const end = random() < 0.5 ? start : Math.min(point(start), text.length);
    parts.push(start - at);
    const insert = random() < 0.7 ? PIECES[Math.floor(random() * PIECES.length)] : "";
    if (random() < 0.5) parts.push(insert, start - end);
    else parts.push(start - end, insert);
    at = end;
  }
  return ot.normalize(parts);
}

/** Lets timers, promises and microtasks run. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));
