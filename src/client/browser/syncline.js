/**
 * The Syncline client for browsers: rooms, messages, presence and shared documents over one WebSocket.
 *
 * One ES module without dependencies or a build step; it also runs under Node (give it a WebSocket class before Node
 * 22).
 * The protocol is docs/protocol.md, how to use this is docs/browser-client.md, types are in syncline.d.ts.
 *
 *   const client = new Client("ws://localhost:8000/ws", { name: "Ada" });
 *   await client.connect();
 *   const room = await client.join("team", { history: 20 });
 *   room.on("message", ({ name, data }) => console.log(name, data));
 *   const notes = client.document("notes");
 *   notes.on("change", ({ operation, origin }) => { ... });
 */

// ---------------------------------------------------------------------------------------------------------- Operations

/** Offsets are UTF-16 code units. An operation: n retains, "text" inserts, -n deletes; no trailing retain. */

const SURROGATES = /[\uD800-\uDBFF][\uDC00-\uDFFF]|[\uD800-\uDFFF]/g;
const LONE = /^(?:[\uD800-\uDBFF](?![\uDC00-\uDFFF])|[\uDC00-\uDFFF])/;

/** Every lone surrogate becomes U+FFFD; the length stays. */
const wellFormed = (text) => text.replace(SURROGATES, (found) => (found.length === 2 ? found : "\uFFFD"));

const size = (part) => (typeof part === "string" ? part.length : Math.abs(part));

/** Appends a component, merging it with an equal neighbour. */
function push(parts, part) {
  if (part === 0 || part === "") return;
  const last = parts.length - 1;
  const previous = parts[last];
  if (last >= 0 && typeof previous === typeof part && (typeof part === "string" || previous > 0 === part > 0)) {
    parts[last] = previous + part;
  } else {
    parts.push(part);
  }
}

function trimmed(parts) {
  if (parts[parts.length - 1] > 0) parts.pop();
  return parts;
}

/** Hands out an operation in pieces; behind its end it retains for ever. */
class Reader {
  constructor(operation) {
    this.parts = operation;
    this.index = 0;
    this.used = 0;
  }

  peek() {
    return this.parts[this.index];
  }

  /** The next piece of at most `most`; an insert (or a delete) comes whole when `whole` says so. */
  take(most, whole) {
    const part = this.parts[this.index];
    if (part === undefined) return most;
    const left = size(part) - this.used;
    const kind = typeof part === "string" ? "insert" : part < 0 ? "delete" : "retain";
    const count = kind === whole ? left : Math.min(left, most);
    const start = this.used;
    if (count === left) {
      this.index += 1;
      this.used = 0;
    } else {
      this.used += count;
    }
    if (kind === "insert") return part.slice(start, start + count);
    return kind === "delete" ? -count : count;
  }

  rest(parts) {
    while (this.index < this.parts.length) push(parts, this.take(Infinity));
    return trimmed(parts);
  }
}

function normalize(operation) {
  if (!Array.isArray(operation)) throw new TypeError("an operation is a list of components");
  const parts = [];
  for (const part of operation) {
    if (typeof part !== "string" && !Number.isSafeInteger(part)) {
      throw new TypeError("components are strings and integers");
    }
    push(parts, part);
  }
  return trimmed(parts);
}

function baseLength(operation) {
  let length = 0;
  for (const part of operation) if (typeof part === "number") length += Math.abs(part);
  return length;
}

function apply(text, operation) {
  if (baseLength(operation) > text.length) throw new RangeError("the operation reaches past the end of the text");
  let at = 0;
  let result = "";
  for (const part of operation) {
    if (typeof part === "string") result += part;
    else if (part < 0) at -= part;
    else result += text.slice(at, (at += part));
  }
  return result + text.slice(at);
}

function compose(first, second) {
  const parts = [];
  const reader = new Reader(first);
  for (const part of second) {
    if (typeof part === "string") {
      push(parts, part);
      continue;
    }
    for (let left = Math.abs(part); left > 0; ) {
      const piece = reader.take(left, "delete");
      if (typeof piece === "number" && piece < 0) {
        push(parts, piece);
        continue;
      }
      left -= size(piece);
      if (part > 0) push(parts, piece);
      else if (typeof piece === "number") push(parts, -piece);
    }
  }
  return reader.rest(parts);
}

/** As a balanced tree: O(n log n) for n operations of one component. */
function composeAll(operations, from = 0, to = operations.length) {
  if (to - from < 2) return to > from ? operations[from] : [];
  const middle = (from + to) >> 1;
  return compose(composeAll(operations, from, middle), composeAll(operations, middle, to));
}

/** `operation` as it must be applied after `other`. Where both insert at one place, "left" comes first. */
function transform(operation, other, side) {
  const parts = [];
  const reader = new Reader(operation);
  for (const part of other) {
    if (typeof part === "string") {
      if (side === "left" && typeof reader.peek() === "string") push(parts, reader.take(Infinity));
      push(parts, part.length);
      continue;
    }
    for (let left = Math.abs(part); left > 0; ) {
      const piece = reader.take(left, "insert");
      if (typeof piece === "string") {
        push(parts, piece);
        continue;
      }
      left -= Math.abs(piece);
      if (part > 0) push(parts, piece);
    }
  }
  return reader.rest(parts);
}

function invert(operation, text) {
  const parts = [];
  let at = 0;
  for (const part of operation) {
    if (typeof part === "string") push(parts, -part.length);
    else if (part > 0) {
      push(parts, part);
      at += part;
    } else {
      push(parts, text.slice(at, (at -= part)));
    }
  }
  return trimmed(parts);
}

function mapPosition(position, operation, stick = "right") {
  let at = 0;
  let mapped = position;
  for (const part of operation) {
    if (at > position) break;
    if (typeof part === "string") {
      if (at < position || stick === "right") mapped += part.length;
    } else if (part > 0) {
      at += part;
    } else {
      mapped -= Math.min(-part, position - at);
      at -= part;
    }
  }
  return mapped;
}

/** Where the last insert or delete ends, in the text after it. */
function endOf(operation) {
  let at = 0;
  for (const part of operation) if (typeof part === "string" || part > 0) at += size(part);
  return at;
}

const isHigh = (text, index) => (text.charCodeAt(index) & 0xfc00) === 0xd800;
const isLow = (text, index) => (text.charCodeAt(index) & 0xfc00) === 0xdc00;
const splitsPair = (text, at) => at > 0 && at < text.length && isHigh(text, at - 1) && isLow(text, at);

/** One splice: common prefix and suffix are kept, surrogate pairs stay whole. */
function diff(before, after) {
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before.charCodeAt(start) === after.charCodeAt(start)) start += 1;
  if (splitsPair(before, start) || splitsPair(after, start)) start -= 1;
  let end = 0;
  const same = () => before.charCodeAt(before.length - 1 - end) === after.charCodeAt(after.length - 1 - end);
  while (end < most - start && same()) end += 1;
  if (splitsPair(before, before.length - end) || splitsPair(after, after.length - end)) end -= 1;
  return normalize([start, start - before.length + end, after.slice(start, after.length - end)]);
}

/** Whether the server would take it: no insert with half a character, no edge within one of `text`. */
function keepsPairs(operation, text) {
  let at = 0;
  for (const part of operation) {
    if (typeof part === "string") {
      if (splitsPair(text, at) || wellFormed(part) !== part) return false;
    } else {
      at += Math.abs(part);
      if (splitsPair(text, at)) return false;
    }
  }
  return true;
}

/** The same edit with the inserts before the deletes of one place: equal forms do the same to any text. */
function ordered(operation) {
  const parts = [];
  let removed = 0;
  for (const part of operation) {
    if (typeof part === "number" && part < 0) removed += part;
    else {
      if (typeof part === "number") {
        push(parts, removed);
        removed = 0;
      }
      push(parts, part);
    }
  }
  push(parts, removed);
  return JSON.stringify(parts);
}

/** What an operation costs on the wire, about: inserted characters, and eight for each component. */
const weigh = (operation) => operation.reduce((sum, part) => sum + 8 + (typeof part === "string" ? part.length : 0), 0);

/** [first, rest] that compose to `operation`, the first weighing at most `limit` (18 at least). */
function split(operation, limit) {
  const first = [];
  let covered = 0;
  let weight = 0;
  for (let index = 0; index < operation.length; index += 1) {
    const part = operation[index];
    const room = limit - weight - 8;
    if (room < 0 || (typeof part === "string" && part.length > room)) {
      let cut = Math.max(0, room);
      if (typeof part === "string" && splitsPair(part, cut)) cut -= 1;
      const head = typeof part === "string" ? part.slice(0, cut) : "";
      const tail = typeof part === "string" ? part.slice(cut) : part;
      push(first, head);
      return [trimmed(first), normalize([covered + head.length, tail, ...operation.slice(index + 1)])];
    }
    push(first, part);
    weight += 8 + (typeof part === "string" ? part.length : 0);
    if (typeof part === "string" || part > 0) covered += size(part);
  }
  return [operation, []];
}

/** The text operations, pure functions. */
export const ot = Object.freeze({
  apply, baseLength, compose, composeAll, diff, endOf, invert, keepsPairs, mapPosition, normalize, split, transform,
  wellFormed,
});

// -------------------------------------------------------------------------------------------------------------- Basics

/**
 * A request that failed. `code` is one of docs/protocol.md, or this side's: disconnected, timeout, closed,
 * buffer_full.
 */
export class SynclineError extends Error {
  constructor(code, message, detail = {}) {
    super(message || code.replaceAll("_", " "));
    this.name = "SynclineError";
    this.code = code;
    Object.assign(this, detail);
  }
}

/** A callback's fault must not stop the others: it surfaces as an uncaught error. */
function report(error) {
  if (typeof reportError === "function") reportError(error);
  else queueMicrotask(() => { throw error; });
}

class Emitter {
  #listeners = new Map();

  /** Calls `callback` at each `name`; returns the function that ends it. */
  on(name, callback) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(callback);
    return () => this.off(name, callback);
  }

  off(name, callback) {
    this.#listeners.get(name)?.delete(callback);
  }

  /** @internal */
  _emit(name, detail) {
    for (const callback of [...(this.#listeners.get(name) ?? [])]) {
      try {
        callback(detail);
      } catch (error) {
        report(error);
      }
    }
  }
}

/** A promise with its handles; its rejection is never "unhandled": who does not await it does not care. */
function deferred() {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  result.promise.catch(() => {});
  return result;
}

/** Whether a client should come back by itself after this close code (docs/protocol.md, Disconnect codes). */
export function shouldReconnect(code) {
  if (code >= 4000) return code < 4500;
  return ![1000, 1002, 1003, 1007, 1008, 1009, 1010].includes(code);
}

/** Times in milliseconds, sizes in bytes unless said otherwise. */
const DEFAULTS = {
  WebSocket: undefined, // default: the global one
  token: undefined, // a JWT, or a function that returns one (or a promise of one) for each connection
  name: undefined, // a guest's name, used without `token`
  guestToken: undefined, // what `onGuestToken` was given the last time: come back as the same guest
  onGuestToken: undefined,
  backoffBase: 500, // the wait before attempt n is random between 0 and min(backoffMax, backoffBase * 2^n)
  backoffMax: 15_000,
  connectTimeout: 10_000, // until authenticated
  requestTimeout: 15_000,
  maxRequests: 1000, // without an answer yet
  maxMessage: 1_048_576, // the server's limits.message_bytes
  maxBuffered: 4_194_304, // waiting in the socket: more requests are refused here
  cursorInterval: 60, // at most one cursor per document in this time
  maxPending: 4_194_304, // a document's edits that wait, in inserted UTF-16 units
  random: Math.random,
};

const BATCH = 64; // envelopes in one frame; the server's limits.batch_size bounds it
const BATCH_CHARACTERS = 131_072;
const OPERATION_WEIGHT = 120_000; // of one submission: each character may take six bytes as JSON
const RETRIED = new Set(["unavailable", "document_unavailable", "internal", "timeout", "limit_exceeded", "buffer_full"]);

function byteLength(text) {
  return text.length * 3 <= 65_536 ? text.length : new TextEncoder().encode(text).length;
}

function defaultUrl() {
  return typeof location === "undefined" ? "ws://127.0.0.1:8000/ws" : new URL("/ws", location.href).href;
}

// -------------------------------------------------------------------------------------------------------------- Client

/**
 * One connection that comes back by itself, with the rooms and documents that live on it.
 *
 * States: idle -> connecting -> online -> waiting -> connecting ... -> closed. Events: `state`, `error`, `push`.
 */
export class Client extends Emitter {
  #options;
  #socket = null;
  #outbox = [];
  #requests = new Map();
  #nextId = 1;
  #attempt = 0;
  #timer = 0; // of the next attempt, or of the attempt that runs
  #pulse = 0;
  #opened = deferred();
  #onlineSince = 0;
  #wake = () => globalThis.document?.visibilityState !== "hidden" && this.reconnect();
  #refusals = 0;
  #presence = null;
  /** @type {Map<string, Room>} */ rooms = new Map();
  /** @type {Map<string, DocumentHandle>} */ documents = new Map();

  constructor(url = defaultUrl(), options = {}) {
    super();
    this.url = String(url).replace(/^http/, "ws");
    this.#options = { ...DEFAULTS, ...options };
    this.state = "idle";
    /** Answer to `auth`: user, name, connection, guest, expires_at, ping_seconds, version. */
    this.identity = null;
    this.retryAt = null;
    this.lastClose = null;
  }

  get options() {
    return this.#options;
  }

  get online() {
    return this.state === "online";
  }

  /** Resolves when online, however many attempts it takes; rejects when the server says not to come back. */
  connect() {
    if (this.state === "closed") {
      this.#opened = deferred();
      for (const entry of this.#entries()) entry._reopen();
    }
    if (this.state === "idle" || this.state === "closed") {
      globalThis.addEventListener?.("online", this.#wake);
      globalThis.document?.addEventListener("visibilitychange", this.#wake);
      this.#attempt = 0;
      this.#refusals = 0;
      this.#open();
    }
    return this.#opened.promise;
  }

  /** Tries now instead of waiting on; while online, checks that the server is there. */
  reconnect() {
    if (this.state === "waiting") this.#open();
    else if (this.state === "online") this.#beat(5000);
  }

  /** A guest's name for the next connections; takes effect at once by connecting anew. */
  rename(name) {
    this.#options.name = name;
    if (this.state === "online" && this.identity?.name !== name) this.#lose(4000, "renamed", 0);
    else if (this.state === "waiting") this.#open();
  }

  /** Ends it for good: rooms and documents get no more. `connect()` begins anew. */
  close() {
    this.#end(new SynclineError("closed", "the client was closed"), 1000, "");
  }

  #entries() {
    return [...this.rooms.values(), ...this.documents.values()];
  }

  #set(state, detail = {}) {
    this.state = state;
    this.retryAt = detail.retryAt ?? null;
    this._emit("state", { state, retryAt: this.retryAt, ...detail });
  }

  async #open() {
    clearTimeout(this.#timer);
    const options = this.#options;
    const attempt = {};
    this.#socket = attempt; // whatever of an older attempt is still to come finds itself replaced
    this.#set("connecting", { attempt: this.#attempt });
    this.#timer = setTimeout(() => this.#socket && this.#lose(1006, "no answer"), options.connectTimeout);
    try {
      const credentials = await this.#credentials();
      if (this.#socket !== attempt) return;
      const socket = new (options.WebSocket ?? globalThis.WebSocket)(this.url, ["syncline.v1.json"]);
      this.#socket = socket;
      socket.onopen = () => this.#authenticate(socket, credentials);
      socket.onmessage = ({ data }) => this.#socket === socket && this.#receive(data);
      socket.onclose = ({ code, reason }) => this.#socket === socket && this.#lose(code, reason);
      socket.onerror = () => {}; // a close event follows
    } catch (error) {
      if (this.#socket !== attempt) return;
      this._emit("error", error);
      this.#lose(1006, String(error?.message ?? error));
    }
  }

  async #credentials() {
    const { token, guestToken, name } = this.#options;
    if (token !== undefined) return { token: typeof token === "function" ? await token() : token };
    const guest = { name: name ?? "Guest" };
    if (guestToken) guest.token = guestToken;
    return guest;
  }

  #authenticate(socket, credentials) {
    this.#outbox = [];
    const ready = (identity) => this.#socket === socket && this.#ready(identity);
    const refused = (error) => this.#socket === socket && this.#refused(error, credentials);
    this._ask("auth", credentials, ready, refused, true);
  }

  #ready(identity) {
    clearTimeout(this.#timer);
    this.identity = identity;
    this.#onlineSince = Date.now();
    this.#refusals = 0;
    this.#keepGuest(identity);
    this.#set("online", { identity });
    this.#opened.resolve(this);
    for (const entry of this.#entries()) entry._attach();
    this.#beat();
  }

  #keepGuest({ guest, token }) {
    if (!token || this.#options.token !== undefined) return;
    this.#options.guestToken = token;
    this.#options.onGuestToken?.(token, guest);
  }

  #refused(error, credentials) {
    const { token } = this.#options;
    const stale = error.code === "token_invalid" || error.code === "token_expired";
    if (stale && token === undefined && credentials.token) {
      // The server's secret or its memory is new: be a new guest.
      this.#options.guestToken = undefined;
      this.#options.onGuestToken?.(null, true);
      return this.#lose(4006, error.code, 0);
    }
    if (RETRIED.has(error.code)) return this.#lose(1006, error.code);
    // A function may have better luck the next time; a fixed token never.
    if (stale && typeof token === "function" && (this.#refusals += 1) < 3) return this.#lose(4006, error.code);
    return this.#end(error, 4501, error.code);
  }

  /** This connection is over. Comes back after `delay`, or after a random one that grows with each failure. */
  #lose(code, reason, delay) {
    const options = this.#options;
    if (code === 4501 && options.token === undefined && options.guestToken) {
      options.guestToken = undefined;
      options.onGuestToken?.(null, true);
    } else if (!shouldReconnect(code)) {
      const error = new SynclineError("disconnected", reason || `closed with ${code}`, { close: code });
      return this.#end(error, code, reason);
    }
    this.#drop(new SynclineError("disconnected", "the connection was lost"));
    this.lastClose = { code, reason };
    if (this.#onlineSince && Date.now() - this.#onlineSince > 5000) this.#attempt = 0;
    this.#onlineSince = 0;
    const wait = delay ?? options.random() * Math.min(options.backoffMax, options.backoffBase * 2 ** this.#attempt);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#open(), wait);
    return this.#set("waiting", { retryAt: Date.now() + wait, code, reason, attempt: this.#attempt });
  }

  #end(error, code, reason) {
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.#drop(error);
    this.#opened.reject(error);
    this.lastClose = { code, reason };
    for (const entry of this.#entries()) entry._ended(error);
    if (this.state !== "closed") this.#set("closed", { code, reason, error });
  }

  #drop(error) {
    clearTimeout(this.#timer);
    clearTimeout(this.#pulse);
    const socket = this.#socket;
    this.#socket = null;
    this.#outbox = [];
    if (socket?.close) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      try {
        socket.close(1000);
      } catch {
        // Still connecting in a class that minds: it is not listened to any more.
      }
    }
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const entry of this.#entries()) entry._detach();
    for (const request of requests) {
      clearTimeout(request.timer);
      request.reject(error);
    }
  }

  /** A dead connection looks silent for ever: ask after `ping_seconds` of silence, give up after as long again. */
  #beat(patience) {
    clearTimeout(this.#pulse);
    const period = (this.identity?.ping_seconds ?? 25) * 1000;
    const ask = () => {
      this.#pulse = setTimeout(() => this.#lose(4002, "ping_timeout"), patience ?? period);
      this._send("ping", undefined, this.#nextId++);
    };
    if (patience === undefined) this.#pulse = setTimeout(ask, period);
    else ask();
  }

  #receive(data) {
    let envelopes;
    try {
      envelopes = JSON.parse(data);
    } catch (error) {
      this._emit("error", error);
      return this.#lose(1006, "not JSON");
    }
    if (this.state === "online") this.#beat();
    const socket = this.#socket;
    for (const envelope of Array.isArray(envelopes) ? envelopes : [envelopes]) {
      if (this.#socket !== socket) return undefined; // a callback closed it, or an envelope ended it
      try {
        if (envelope.id === undefined) this.#pushed(envelope.event, envelope.data ?? {});
        else this.#answered(envelope);
      } catch (error) {
        report(error);
      }
    }
    return undefined;
  }

  #answered({ id, event, result, error }) {
    const request = this.#requests.get(id);
    if (!request) return; // a ping's, or one that came too late
    this.#requests.delete(id);
    clearTimeout(request.timer);
    if (event !== "error") request.resolve(result);
    else request.reject(new SynclineError(error?.code ?? "internal", error?.message, { event: request.event }));
  }

  #pushed(event, data) {
    if (event === "auth:expiring") this.#refresh();
    else if (event === "error") {
      const document = this.documents.get(data.document);
      if (document?._failed(data)) return;
      this._emit("error", new SynclineError(data.code, data.message, { event: data.event }));
    } else if (event.startsWith("document:")) this.documents.get(data.document)?._push(event, data);
    else this.rooms.get(data.room)?._push(event, data);
    this._emit("push", { event, data });
  }

  async #refresh() {
    const { token } = this.#options;
    if (token !== undefined && typeof token !== "function") return; // nothing newer: 4006 will come
    try {
      const fresh = token === undefined ? {} : { token: await token() };
      this.#keepGuest({ guest: true, ...(await this.request("auth:refresh", fresh)) });
    } catch (error) {
      this._emit("error", error);
    }
  }

  /** @internal Puts an envelope into this turn's frame. */
  _send(event, data, id) {
    const envelope = { event };
    if (data !== undefined) envelope.data = data;
    if (id !== undefined) envelope.id = id;
    const text = JSON.stringify(envelope);
    if (byteLength(text) > this.#options.maxMessage) throw new SynclineError("message_too_large");
    if (this.#outbox.push(text) === 1) queueMicrotask(() => this.#flush());
  }

  #flush() {
    const outbox = this.#outbox;
    this.#outbox = [];
    if (this.#socket?.readyState !== 1) return;
    for (let start = 0; start < outbox.length; ) {
      let end = start;
      let length = 0;
      do length += outbox[end++].length;
      while (end < outbox.length && end - start < BATCH && length + outbox[end].length <= BATCH_CHARACTERS);
      this.#socket.send(end - start === 1 ? outbox[start] : `[${outbox.slice(start, end).join(",")}]`);
      start = end;
    }
  }

  /** Bytes that the network has not taken yet. */
  get buffered() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  /** Sends one request; resolves with its result, rejects with a SynclineError. What was lost is not sent again. */
  request(event, data) {
    return new Promise((resolve, reject) => this._ask(event, data, resolve, reject));
  }

  /**
   * @internal A request whose answer is handed over at once: what follows it in the same frame finds it done.
   */
  _ask(event, data, resolve, reject, always = false) {
    if (!always && this.state !== "online") return reject(new SynclineError("disconnected", "not connected"));
    if (this.#requests.size >= this.#options.maxRequests || this.buffered > this.#options.maxBuffered) {
      return reject(new SynclineError("buffer_full", "too many requests wait for an answer"));
    }
    const id = this.#nextId++;
    const timer = setTimeout(() => {
      this.#requests.delete(id);
      reject(new SynclineError("timeout", `no answer to ${event}`, { event }));
    }, this.#options.requestTimeout);
    this.#requests.set(id, { event, timer, resolve, reject });
    try {
      this._send(event, data, id);
    } catch (error) {
      this.#requests.delete(id);
      clearTimeout(timer);
      reject(error);
    }
    return undefined;
  }

  /**
   * The room's handle, joined now and after each reconnect. Options: password, history (how many to be sent at first).
   */
  room(name, options = {}) {
    let room = this.rooms.get(name);
    if (!room) {
      room = new Room(this, name, options);
      this.rooms.set(name, room);
      if (this.online) room._attach();
    }
    return room;
  }

  /** Joins and waits for it; rejects, and forgets the room, when the server refuses. */
  async join(name, options) {
    const room = this.room(name, options);
    try {
      await room.ready;
    } catch (error) {
      if (this.rooms.get(name) === room) this.rooms.delete(name);
      throw error;
    }
    return room;
  }

  /** The document's handle, joined now and after each reconnect; `await handle.ready`. Option: client (its id). */
  document(name, options = {}) {
    let document = this.documents.get(name);
    if (!document) {
      document = new DocumentHandle(this, name, options);
      this.documents.set(name, document);
      if (this.online) document._attach();
    }
    return document;
  }

  /** One's own status ("online", "away", "busy") in all rooms, said again after each reconnect. */
  setPresence(status, metadata = null) {
    this.#presence = { status, metadata };
    for (const room of this.rooms.values()) room._tellPresence();
  }

  /** @internal */
  get _presence() {
    return this.#presence;
  }
}

/** What rooms and documents share: joining, and joining again with growing waits while the server cannot. */
class Joined extends Emitter {
  #retry = 0;
  #failures = 0;
  _opened = deferred();

  constructor(client, name) {
    super();
    this.client = client;
    this.name = name;
    this.state = "detached";
  }

  /** Resolves at the first join; rejects when it is refused for good. */
  get ready() {
    return this._opened.promise;
  }

  _attach() {
    clearTimeout(this.#retry);
    if (!this.client.online || this.state === "left" || this.state === "failed") return;
    const token = {};
    this._joining = token;
    this._state("joining");
    const current = (then) => (value) => this._joining === token && this.state === "joining" && then(value);
    this._join(
      current((result) => {
        this.#failures = 0;
        this._state("joined");
        this._joinedWith(result);
        this._opened.resolve(this);
      }),
      current((error) => {
        if (this._mendJoin(error)) this._attach();
        else if (RETRIED.has(error.code)) this._again();
        else if (error.code !== "disconnected") this._fail(error);
      }),
    );
  }

  /** Joins after a wait that grows while it fails. */
  _again() {
    this._detach();
    const { backoffBase, backoffMax, random } = this.client.options;
    const wait = (0.5 + random() / 2) * Math.min(backoffMax, backoffBase * 2 ** this.#failures);
    this.#failures += 1;
    this.#retry = setTimeout(() => this._attach(), wait);
  }

  _detach() {
    clearTimeout(this.#retry);
    this._joining = null;
    if (this.state === "joining" || this.state === "joined") this._state("detached");
  }

  _ended(error) {
    this._detach();
    this._opened.reject(error);
  }

  _reopen() {
    this._opened = deferred();
    if (this.state === "failed") this._state("detached");
  }

  _fail(error) {
    this._detach();
    this._state("failed");
    this._opened.reject(error);
    this._emit("error", error);
  }

  _mendJoin() {
    return false;
  }

  _state(state) {
    if (this.state === state) return;
    this.state = state;
    this._emit("state", { state });
  }
}

// ---------------------------------------------------------------------------------------------------------------- Room

/**
 * A room: messages in order without gap or duplicate, over reconnects too.
 *
 * Events: `message`, `event`, `members`, `user_joined`, `user_left`, `presence`, `joined`, `lost` (the server no
 * longer has
 * everything that was missed), `state`, `error`.
 */
export class Room extends Joined {
  #options;
  #said = null; // presence as this connection has told it

  /** @internal */
  constructor(client, name, options) {
    super(client, name);
    this.#options = options;
    this.position = options.position ?? null;
    this.role = null;
    /** Who is here: user -> {user, name, role, status, last_seen, metadata}. */
    this.members = new Map();
  }

  _join(resolve, reject) {
    const { password, history } = this.#options;
    const data = { room: this.name };
    if (password !== undefined) data.password = password;
    if (history) data.history = history;
    if (this.position) data.recover = this.position;
    this.client._ask("room:join", data, resolve, reject);
  }

  _joinedWith({ role, position, recovered, publications, members }) {
    const before = this.position;
    this.role = role;
    this.members = new Map(members.map((member) => [member.user, member]));
    this.#said = null;
    if (before && recovered === false) this.position = before.epoch === position.epoch ? before : null;
    this._emit("joined", { role, recovered, members, position });
    this._emit("members", this.members);
    if (before && recovered === false) this._emit("lost", { position: before });
    for (const publication of publications) this.#publication(publication, true);
    this.position = position;
    this._tellPresence();
  }

  #publication(publication, replayed) {
    const { offset, epoch } = publication;
    if (this.position?.epoch === epoch && offset <= this.position.offset) return;
    this.position = { offset, epoch };
    this._emit("message", { ...publication, replayed });
  }

  _push(event, data) {
    if (this.state !== "joined") return;
    if (event === "message:received") {
      // Positions have no gaps: one that is missing means that something went wrong on the way.
      const { offset, epoch } = this.position;
      if (data.epoch !== epoch || data.offset > offset + 1) this._attach();
      else this.#publication(data, false);
    } else if (event === "event:custom") this._emit("event", data);
    else if (event === "room:user_joined") {
      const { user, name } = data;
      const known = this.members.get(user) ?? { role: null, last_seen: null };
      this.#member({ ...known, user, name, status: "online", metadata: null });
      this._emit("user_joined", data);
    } else if (event === "room:user_left") {
      this.members.delete(data.user);
      this._emit("user_left", data);
      this._emit("members", this.members);
    } else if (event === "presence:update") {
      const { room: _, ...member } = data;
      this.#member({ role: null, ...this.members.get(data.user), ...member });
      this._emit("presence", data);
    }
  }

  #member(member) {
    this.members.set(member.user, member);
    this._emit("members", this.members);
  }

  /** Resolves with {room, offset, epoch} when it is stored and sent. Rejected ones are not sent again by themselves. */
  send(data) {
    return this.client.request("message:send", { room: this.name, data });
  }

  /** At most once, without history. */
  sendEvent(name, data = null) {
    return this.client.request("event:custom", { room: this.name, name, data });
  }

  _tellPresence() {
    const wanted = this.client._presence;
    if (this.state !== "joined" || !wanted || this.#said === wanted) return;
    this.#said = wanted;
    this.client.request("presence:update", { room: this.name, ...wanted }).catch((error) => {
      if (error.code !== "disconnected") this._emit("error", error);
    });
  }

  /** Every stored member, also those who are not here. */
  async allMembers() {
    return (await this.client.request("room:members", { room: this.name })).members;
  }

  /** With `resign` the stored membership ends too. */
  async leave({ resign = false } = {}) {
    const joined = this.state === "joined";
    this._ended(new SynclineError("closed", "the room was left"));
    this._state("left");
    if (this.client.rooms.get(this.name) === this) this.client.rooms.delete(this.name);
    if (joined) await this.client.request("room:leave", { room: this.name, ...(resign && { resign }) });
  }
}

// ------------------------------------------------------------------------------------------------------------ Document

// What becomes of an operation that the server did not take. Kept for as long as it lasts: the server has trouble.
const KEPT = new Set(["document_unavailable", "unavailable", "limit_exceeded"]);
// The join's answer tells; taken back when that happens again and again. Every other code: taken back.
const DOUBTFUL = new Set(["revision_unknown", "sequence_conflict", "not_joined", "internal"]);
const MOST_TRIES = 3;

/**
 * A shared text as this client holds it.
 *
 *   confirmed --in flight--> . --pending--> text      (confirmed: the server's text at `revision`)
 *
 * Wave's simplification of Jupiter: at most one operation is in flight, what is typed meanwhile is composed into one
 * pending
 * operation. The server puts an arriving operation to the left of its history, so here one's own win ties against what
 * comes in. An operation keeps its (client, seq) until its fate is known and is sent again only after the join's
 * answer.
 *
 * Events: `change` ({operation, origin: local | remote | refused | reset, clients}), `cursors`, `collaborators`,
 * `settled`,
 * `refused` ({code, message, operation}), `reset` ({reason, unsent}), `state`, `error`.
 */
export class DocumentHandle extends Joined {
  #confirmed = "";
  #pending = [];
  #inFlight = null; // {client, seq, operation, sent, tries}
  #seq = 0;
  #generation = null;
  #fresh = true; // the next join asks for the text
  #reason = "the document was created anew";
  #head = 0; // the server's revision at the last join
  #scheduled = false;
  #cursor = undefined; // own, in the local text; null: hidden, undefined: never said
  #told = null; // own, as the server has it: it follows the operations by the same rules
  #cursorTimer = 0;
  #cursorAt = 0;

  /** @internal */
  constructor(client, name, { client: id } = {}) {
    super(client, name);
    this.id = id ?? randomId();
    this.text = "";
    this.revision = 0;
    this.role = null;
    /** The others: client -> {client, user, name, role}. */
    this.collaborators = new Map();
    this.places = new Map(); // client -> {anchor, head} in the confirmed text
  }

  get generation() {
    return this.#generation;
  }

  /** Whether edits are allowed: joined once, and not as a reader. */
  get writable() {
    return this.#generation !== null && this.role !== "reader" && this.state !== "left" && this.state !== "failed";
  }

  /** Whether the server has every edit. */
  get settled() {
    return this.#inFlight === null && this.#pending.length === 0;
  }

  // Joining --------------------------------------------------------------------------------------------------------
  _join(resolve, reject) {
    const data = { document: this.name, unit: "utf-16", client: this.id };
    if (!this.#fresh) Object.assign(data, { revision: this.revision, generation: this.#generation });
    if (this.#inFlight) this.#inFlight.sent = false;
    this.#told = null;
    this.client._ask("document:join", data, resolve, reject);
  }

  _mendJoin({ code }) {
    if (code === "client_taken") this.id = randomId(); // the user is another one now, a new guest say
    else if (code === "revision_unknown" && !this.#fresh) this.#begin("the server lost the revision that was here");
    else return false;
    return true;
  }

  _joinedWith(state) {
    this.role = state.role;
    this.id = state.client;
    this.collaborators = new Map();
    this.places = new Map();
    for (const { anchor, head, ...who } of state.collaborators) {
      if (who.client === this.id) continue;
      this.collaborators.set(who.client, who);
      this.#place(who.client, anchor, head);
    }
    if (state.text !== null && state.text !== undefined) this.#load(state);
    else {
      const flight = this.#inFlight;
      // Under the id that it was sent with: when it is committed its entry is here, or follows.
      if (flight) flight.sent = flight.client === this.id && state.seq >= flight.seq;
      this.#head = state.revision;
      this.#operations(this.revision + state.operations.length, state.operations);
    }
    this.#seq = Math.max(this.#seq, state.seq);
    this._emit("collaborators", this.collaborators);
    this._emit("cursors", this.cursors);
    this.#flush();
    this.#cursorLater();
  }

  /** A whole text. One of the same history is a difference to carry the edits over; else they cannot be placed. */
  #load({ text, revision, generation, seq }) {
    const first = this.#generation === null;
    const before = this.text;
    const flight = this.#inFlight;
    const same = !first && !this.#fresh && generation === this.#generation;
    const unsent = { text: before, base: this.#confirmed, operation: compose(flight?.operation ?? [], this.#pending) };
    const lost = !first && !same && !this.settled;
    if (same) {
      if (flight && seq >= flight.seq) {
        this.#confirmed = apply(this.#confirmed, flight.operation);
        this.#inFlight = null;
      }
      this.#incoming([diff(this.#confirmed, text)]);
    } else {
      this.#inFlight = null;
      this.#pending = [];
      this.text = text;
    }
    this.#confirmed = text;
    this.#generation = generation;
    this.revision = revision;
    this.#fresh = false;
    this.#head = revision;
    const operation = diff(before, this.text);
    if (first || operation.length) this._emit("change", { operation, origin: "reset", clients: [] });
    if (lost) {
      this._emit("reset", { reason: this.#reason, unsent });
      this._emit("settled", true);
    }
    this.#reason = "the document was created anew";
  }

  _state(state) {
    if (state !== "joined" && this.collaborators.size) {
      this.collaborators = new Map();
      this.places = new Map();
      this._emit("collaborators", this.collaborators);
      this._emit("cursors", this.cursors);
    }
    super._state(state);
  }

  // Local edits ----------------------------------------------------------------------------------------------------
  /**
   * Applies an edit here and sends it. Half characters become U+FFFD (one each, so the length stays); then `text`
   * differs
   * from what the operation says and true is returned: compare. Throws RangeError, TypeError, SynclineError.
   */
  edit(operation) {
    if (!this.writable) throw new SynclineError(this.role === "reader" ? "forbidden" : "not_joined");
    let parts = normalize(operation);
    const wanted = apply(this.text, parts);
    let mended = false;
    if (!keepsPairs(parts, this.text)) {
      const text = wellFormed(wanted);
      mended = text !== wanted;
      parts = diff(this.text, text);
    }
    if (!parts.length) return mended;
    const pending = compose(this.#pending, parts);
    if (weigh(pending) > this.client.options.maxPending) throw new SynclineError("buffer_full", "too much is unsent");
    const settled = this.settled;
    this.text = mended ? wellFormed(wanted) : wanted;
    this.#pending = pending;
    if (this.#cursor) this.#cursor = mapRange(this.#cursor, parts);
    this.#flush();
    this._emit("change", { operation: parts, origin: "local", clients: [this.id] });
    this._emit("cursors", this.cursors);
    if (settled !== this.settled) this._emit("settled", this.settled);
    return mended;
  }

  insert(position, text) {
    return this.edit([position, text]);
  }

  delete(position, length) {
    return this.edit([position, -length]);
  }

  replace(position, length, text) {
    return this.edit([position, -length, text]);
  }

  #flush() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.state !== "joined") return;
      if (!this.#inFlight && this.#pending.length) {
        const limit = Math.max(64, Math.min(OPERATION_WEIGHT, this.client.options.maxMessage >> 3));
        const [first, rest] = split(this.#pending, limit);
        this.#pending = rest;
        this.#inFlight = { client: this.id, seq: ++this.#seq, operation: first, sent: false, tries: 0 };
      }
      const flight = this.#inFlight;
      if (!flight || flight.sent) return;
      if (flight.client !== this.id) {
        if (this.revision < this.#head) return; // it may still turn up under the old id
        Object.assign(flight, { client: this.id, seq: ++this.#seq });
      }
      flight.sent = true;
      const { seq, operation } = flight;
      this.client._send("document:operation", { document: this.name, seq, revision: this.revision, operation });
    });
  }

  // What the server says -------------------------------------------------------------------------------------------
  _push(event, data) {
    if (this.state !== "joined") return;
    if (event === "document:operation") this.#operations(data.revision, data.operations);
    else if (event === "document:cursor") {
      for (const { client, anchor, head } of data.cursors) this.#place(client, anchor, head);
      this._emit("cursors", this.cursors);
    } else if (event === "document:collaborator_joined") {
      const { document: _, anchor, head, ...who } = data;
      if (who.client === this.id) return;
      this.collaborators.set(who.client, who);
      this.#place(who.client, anchor, head);
      this._emit("collaborators", this.collaborators);
      this._emit("cursors", this.cursors);
    } else if (event === "document:collaborator_left") {
      this.collaborators.delete(data.client);
      this.places.delete(data.client);
      this._emit("collaborators", this.collaborators);
      this._emit("cursors", this.cursors);
    } else if (event === "document:resync") this._attach();
    else if (event === "document:ack" && data.revision <= this.revision && this.#inFlight?.seq === data.seq) {
      this.#reload("an acknowledged operation was not in the history");
    }
  }

  #operations(revision, entries) {
    const start = revision - entries.length;
    if (start > this.revision) return void this._attach(); // something is missing: ask for it
    const settled = this.settled;
    const remote = []; // runs of committed operations of others, as they apply to the text
    const clients = new Set();
    try {
      let run = [];
      for (const { client, seq, operation } of entries.slice(this.revision - start)) {
        const flight = this.#inFlight;
        if (flight && flight.client === client && flight.seq === seq) {
          remote.push(...this.#incoming(run));
          run = [];
          if (ordered(flight.operation) !== ordered(operation)) throw new Error(`operation ${seq} is another one`);
          this.#confirmed = apply(this.#confirmed, operation);
          this.#movePlaces(operation);
          this.#told = caret(endOf(operation));
          this.#inFlight = null;
        } else {
          run.push(operation);
          if (client !== this.id) clients.add(client);
          this.#movePlaces(operation, client);
          if (this.#told) this.#told = mapRange(this.#told, operation);
        }
        this.revision += 1;
      }
      remote.push(...this.#incoming(run));
    } catch (error) {
      this._emit("error", error);
      return this.#reload("the local text and the history did not fit together");
    }
    const operation = composeAll(remote);
    if (operation.length) this.#changed(operation, "remote", [...clients]);
    this._emit("cursors", this.cursors);
    if (settled !== this.settled) this._emit("settled", this.settled);
    this.#flush();
    return this.#cursorLater();
  }

  /** Takes committed operations in, one after another, as the server did: composing first would not be the same. */
  #incoming(operations) {
    if (!operations.length) return [];
    this.#confirmed = apply(this.#confirmed, composeAll(operations));
    const flight = this.#inFlight;
    const shown = operations.map((operation) => {
      let other = operation;
      if (flight) [flight.operation, other] = pass(flight.operation, other);
      [this.#pending, other] = pass(this.#pending, other);
      return other;
    });
    this.text = apply(this.text, composeAll(shown));
    return shown;
  }

  #changed(operation, origin, clients) {
    if (this.#cursor) this.#cursor = mapRange(this.#cursor, operation);
    this._emit("change", { operation, origin, clients });
  }

  #begin(reason) {
    this.#fresh = true;
    this.#reason = reason;
  }

  /** Nothing fits any more: load the text anew. What was not acknowledged goes to the `reset` event. */
  #reload(reason) {
    this.#begin(reason);
    this._emit("error", new SynclineError("diverged", reason));
    this._attach();
  }

  /** @internal An error push; returns whether it was this document's operation. */
  _failed({ code, message, event, seq }) {
    const flight = this.#inFlight;
    if (event !== "document:operation" || !flight || flight.seq !== seq) return event === "document:cursor";
    if (KEPT.has(code) || (DOUBTFUL.has(code) && (flight.tries += 1) < MOST_TRIES)) this._again();
    else this.#takeBack(code, message);
    return true;
  }

  /** Nothing of it was applied: it goes exactly, and what was typed meanwhile stays. */
  #takeBack(code, message) {
    const { operation } = this.#inFlight;
    const inverse = invert(operation, this.#confirmed);
    const shown = transform(inverse, this.#pending, "right");
    this.#pending = transform(this.#pending, inverse, "left");
    this.#inFlight = null;
    this.text = apply(this.text, shown);
    if (shown.length) this.#changed(shown, "refused", []);
    this._emit("refused", { code, message, operation });
    this._emit("cursors", this.cursors);
    if (this.settled) this._emit("settled", true);
    this.#flush();
    this.#cursorLater();
  }

  // Cursors --------------------------------------------------------------------------------------------------------
  /** The others' cursors in the local text: client -> {client, user, name, role, anchor, head}. */
  get cursors() {
    const cursors = new Map();
    const flight = this.#inFlight?.operation ?? [];
    const local = (offset) => Math.min(mapPosition(mapPosition(offset, flight), this.#pending), this.text.length);
    for (const [client, { anchor, head }] of this.places) {
      const who = this.collaborators.get(client);
      if (who) cursors.set(client, { ...who, anchor: local(anchor), head: local(head) });
    }
    return cursors;
  }

  /** Says where one's own cursor is in `text`; null hides it. Sent when no edit is on its way, and not too often. */
  setCursor(anchor, head = anchor) {
    this.#cursor = anchor === null ? null : { anchor, head };
    this.#cursorLater();
  }

  #place(client, anchor, head) {
    if (anchor === null || head === null || anchor === undefined) this.places.delete(client);
    else if (client !== this.id) this.places.set(client, { anchor, head });
  }

  /** As the server does: every operation moves all cursors and puts its author's at its end. */
  #movePlaces(operation, author) {
    for (const [client, place] of this.places) this.places.set(client, mapRange(place, operation));
    if (this.collaborators.has(author)) this.places.set(author, caret(endOf(operation)));
  }

  #cursorDue() {
    if (this.#cursor === undefined || this.state !== "joined" || !this.settled) return false;
    return !sameRange(this.#cursor, this.#told);
  }

  #cursorLater() {
    if (this.#cursorTimer || !this.#cursorDue()) return;
    const wait = Math.max(0, this.#cursorAt + this.client.options.cursorInterval - Date.now());
    this.#cursorTimer = setTimeout(() => {
      this.#cursorTimer = 0;
      if (!this.#cursorDue() || this.client.buffered > 65_536) return;
      this.#cursorAt = Date.now();
      this.#told = this.#cursor;
      const { anchor, head } = this.#cursor ?? { anchor: null, head: null };
      this.client._send("document:cursor", { document: this.name, revision: this.revision, anchor, head });
    }, wait);
  }

  /** Leaves; edits that were not sent are gone (see `settled`). */
  async leave() {
    const joined = this.state === "joined";
    this._ended(new SynclineError("closed", "the document was left"));
    this._state("left");
    if (this.client.documents.get(this.name) === this) this.client.documents.delete(this.name);
    if (joined) await this.client.request("document:leave", { document: this.name });
  }

  _ended(error) {
    clearTimeout(this.#cursorTimer);
    this.#cursorTimer = 0;
    super._ended(error);
  }
}

/** One's own operation and another's, each as it applies after the other. */
const pass = (own, other) => [transform(own, other, "left"), transform(other, own, "right")];
const caret = (offset) => ({ anchor: offset, head: offset });
const mapRange = ({ anchor, head }, operation) => ({
  anchor: mapPosition(anchor, operation),
  head: mapPosition(head, operation),
});
const sameRange = (one, other) => one?.anchor === other?.anchor && one?.head === other?.head;

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => (byte % 36).toString(36)).join("") + Date.now().toString(36);
}
