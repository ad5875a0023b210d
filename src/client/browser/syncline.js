/**
 * The Syncline client for browsers: rooms, messages, presence and shared documents over one WebSocket.
 *
 * One ES module: the server serves it whole at /syncline.js; in the source tree its parts are files of their own. No
 * dependency, no build step. It also runs under Node (give it a WebSocket class before Node 22).
 * The protocol is docs/protocol.md, how to use this is docs/browser-client.md, types are in syncline.d.ts.
 *
 *   const client = new Client("ws://localhost:8000/ws", { name: "Ada" });
 *   await client.connect();
 *   const room = await client.join("team", { history: 20 });
 *   const show = ({ name, data }) => console.log(name, data);
 *   room.history.forEach(show);
 *   room.on("message", show);
 *   const notes = client.document("notes");
 *   notes.on("change", ({ operation, origin }) => { ... });
 */

import {
  call, checkJson, checkName, checkOptions, deferred, Emitter, HOLDER, LONGEST, longer, named, refusal, report, RETRIED, SynclineError, unlessAborted,
  within,
} from "./syncline-base.js";
import { SynclineDocument, SynclineText } from "./syncline-document.js";
import { elements, Heartbeat } from "./syncline-proof.js";
import { Pace } from "./syncline-pace.js";
import { Room } from "./syncline-room.js";
import { ot } from "./syncline-ot.js";

export { SynclineError } from "./syncline-base.js";
export { SynclineDocument, SynclineText } from "./syncline-document.js";
export { json } from "./syncline-json.js";
export { Room } from "./syncline-room.js";
export { ot } from "./syncline-ot.js";
export { richText } from "./syncline-rich.js";
export { bindTextarea } from "./syncline-textarea.js";
export { registerType } from "./syncline-types.js";

/** Whether a client should come back by itself after this close code (docs/protocol.md, Disconnect codes). */
export function shouldReconnect(code) {
  return code < 4000 ? !ENDING.has(code) : code < 4500;
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
  connectTimeout: 10_000, // for the token function, and until authenticated
  requestTimeout: 15_000,
  heartbeat: 10_000, // silence after which a page that is shown asks whether the server is there; a hidden one after `ping_seconds`
  patience: 3000, // without an answer to that until it is `stalled`
  earlyMessages: 256, // in a room's `history` until somebody listens
  settle: 5000, // that `leave` and `close` wait for what is not acknowledged
  maxRequests: 1024, // without an answer yet
  maxMessage: 1_048_576, // a larger request is refused here; the server's limits.message_bytes bounds it
  maxBuffered: 4_194_304, // waiting in the socket: more requests are refused here
  cursorInterval: 60, // at most one cursor per document in this time
  maxPending: 4_194_304, // a document's edits that wait, in inserted UTF-16 units
  maxUnread: 33_554_432, // of what a document is told and has not taken in yet, in UTF-16 units; over it the document is joined again
  random: Math.random,
};

const TIMES = ["backoffBase", "backoffMax", "connectTimeout", "requestTimeout", "heartbeat", "patience", "settle", "cursorInterval"];
const ROOM_OPTIONS = ["password", "history", "position"];
const SOON = 5000; // for an answer when there is a reason to doubt, in milliseconds
const ENDING = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]);
const BATCH = 64; // envelopes in one frame, where the server takes so many
const BATCH_BYTES = 393_216;
// What any server takes, until it has told its own limits (docs/protocol.md, Limits).
const LEAST = { batch_size: 16, message_bytes: 32_768 };
const PING = "ping";
const REFRESH = 1000; // between two refreshes of a token, however often the server says that it ends
const CONTENT = new Set(["document:create", "document:join", "document:operation"]);
// What a WebSocket class throws where it can never work: a page that may not, say.
const VAIN = new Set(["SecurityError", "SyntaxError", "TypeError"]);
const HALVES = /\\\\|\\ud[89a-f][0-9a-f]{2}/g; // in what JSON.stringify writes: the pairs are no escapes there

function nameOf(name, what) {
  if (typeof name !== "string") throw new TypeError(`the name of a ${what} is a string, not ${named(name)}`);
  return ot.wellFormed(name);
}

/** How a document that is open is another one than what is asked for; null: it is that. */
function otherThan(document, type, client) {
  if (document.type.name !== type) return "as another type";
  return [undefined, document.id, document._asked].includes(client) ? null : "under another client id";
}

function defaultUrl() {
  return typeof location === "undefined" ? "ws://127.0.0.1:8000/ws" : new URL("/ws", location.href).href;
}

/**
 * One connection that comes back by itself, with the rooms and documents that live on it.
 *
 * States: idle -> connecting -> online -> waiting -> connecting ... -> closed. Events: `state`, `stalled`, `error`, `event`
 * (of an application's server, outside of rooms), `push`.
 */
export class Client extends Emitter {
  static _events = ["state", "stalled", "error", "event", "push"];
  #options;
  #socket = null;
  #outbox = [];
  #requests = new Map();
  #nextId = 1;
  #attempt = 0;
  #timer = 0; // of the next attempt, or of the attempt that runs
  #pulse = 0;
  #deadline = Infinity; // of the check that runs, on the clock of `performance`
  #opened = deferred();
  #onlineSince = Infinity;
  #stalled = false;
  #wake = () => globalThis.document?.visibilityState !== "hidden" && this.reconnect();
  #away = () => {
    if (this.state !== "online") return;
    this.#check(SOON);
    this.#setStalled(true);
  };
  #refusals = 0;
  #presence = null;
  #limits = LEAST; // of the server
  #pace = new Pace(); // of this connection
  #pacing = 0; // a timer, while the outbox waits for that
  #refreshing = 0; // a timer, while a refresh waits or is under way
  #refreshedAt = -Infinity;
  #token; // that this connection was authenticated with
  #closing = null; // the `close` that waits
  /** @internal Why it is closed; null: it is not. */ _error = null;
  /** @internal Joins may be written: at least `auth` is on its way. */ _joinable = false;
  /** @internal */ _heartbeat = new Heartbeat(this);
  /** @type {Map<string, Room>} */ rooms = new Map();
  /** @type {Map<string, SynclineDocument>} */ documents = new Map();

  constructor(url = defaultUrl(), options = {}) {
    super();
    this.url = String(url).replace(/^http/i, "ws");
    this.#options = { ...DEFAULTS, ...checkOptions(options, Object.keys(DEFAULTS)) };
    for (const name of TIMES) this.#options[name] = Math.min(this.#options[name], LONGEST);
    this.state = "idle";
    /** Answer to `auth`: user, name, connection, guest, expires_at, ping_seconds, version. */
    this.identity = null;
    this.retryAt = null;
    this.lastClose = null;
  }

  get options() {
    return this.#options;
  }

  /** Bytes that one request may have, as far as it is known what the server takes. */
  get maxMessage() {
    const told = this.identity?.limits?.message_bytes;
    return Math.min(this.#options.maxMessage, told ?? this.#options.maxMessage);
  }

  get online() {
    return this.state === "online";
  }

  /** Online as far as one knows, but the server does not answer, or the browser says that there is no network. */
  get stalled() {
    return this.#stalled;
  }

  /**
   * Resolves when online, however many attempts it takes; rejects when the server says not to come back, with TypeError when it can
   * never work.
   */
  connect() {
    const hindrance = this.#hindrance();
    if (hindrance) return Promise.reject(new TypeError(hindrance));
    this.#closing = null; // a `close` that waits is called off
    if (this.state === "closed") {
      this._error = null;
      this.#opened = deferred();
      for (const entry of this.#entries()) entry._reopen();
    }
    if (this.state === "idle" || this.state === "closed") {
      globalThis.addEventListener?.("online", this.#wake);
      globalThis.addEventListener?.("offline", this.#away);
      globalThis.document?.addEventListener("visibilitychange", this.#wake);
      this.#attempt = 0;
      this.#refusals = 0;
      this.#open();
    }
    return this.#opened.promise;
  }

  /** Why no attempt to connect can work; null: it may. */
  #hindrance() {
    if (typeof (this.#options.WebSocket ?? globalThis.WebSocket) !== "function") {
      return "there is no WebSocket here: give a class, new Client(url, { WebSocket })";
    }
    try {
      if (/^wss?:$/.test(new URL(this.url).protocol)) return null;
    } catch {
      // said below
    }
    return `a server's URL is a whole one, ws:, wss:, http: or https:, not ${JSON.stringify(this.url)}`;
  }

  /** Tries now instead of waiting on; while online, checks that the server is there. */
  reconnect() {
    if (this.state === "waiting") this.#open();
    else if (this.state === "online") this.#check(SOON);
  }

  /** A guest's name for the next connections; takes effect at once by connecting anew. */
  rename(name) {
    name = nameOf(name, "guest");
    const before = this.online ? this.identity.name : this.#options.name;
    this.#options.name = name;
    if (this.state === "waiting") this.#open();
    else if ((this.online || this.state === "connecting") && name !== before) this.#lose(4000, "renamed", 0);
  }

  /**
   * Ends it for good when the server has every edit and message, at the latest after `settle` ms (default: the option): rooms
   * and documents get no more. `connect()` begins anew, and sends what documents still have. Resolves with how many operations
   * and messages were not acknowledged; `error` events of rooms and documents say which.
   */
  async close(given = {}) {
    const { settle = this.#options.settle } = checkOptions(given, ["settle"]);
    const closing = (this.#closing = {});
    const end = () => {
      const unsettled = this.#entries().reduce((sum, entry) => sum + entry._unsettled, 0);
      if (this.#closing === closing) this.#end(new SynclineError("closed", "the client was closed"), 1000, "");
      return unsettled;
    };
    for (const entry of this.#entries()) entry._hurry();
    if (!this.settled && settle > 0) await Promise.all(this.#entries().map((entry) => entry._settle(settle)));
    return end();
  }

  /** Whether the server has every edit and every message. */
  get settled() {
    return this.#entries().every((entry) => entry.settled);
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
    const attempt = {};
    this.#socket = attempt; // whatever of an older attempt is still to come finds itself replaced
    this.#set("connecting", { attempt: this.#attempt });
    if (this.#socket !== attempt) return; // who was told has closed it
    try {
      const credentials = await this.#credentials();
      if (this.#socket === attempt) this.#dial(credentials);
    } catch (error) {
      if (this.#socket === attempt) this._emit("error", error);
      if (this.#socket === attempt) this.#lose(1006, String(error?.message ?? error)); // else a callback closed it
    }
  }

  #dial(credentials) {
    const { WebSocket = globalThis.WebSocket, connectTimeout } = this.#options;
    let socket;
    try {
      socket = new WebSocket(this.#handshake(credentials), ["syncline.v1.json"]);
    } catch (error) {
      if (!VAIN.has(error?.name)) throw error;
      return this.#end(error, 1006, error.message);
    }
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#lose(1006, "no answer"), connectTimeout);
    socket.onopen = () => this.#authenticate(socket, credentials);
    socket.onmessage = ({ data }) => this.#socket === socket && this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#socket === socket && this.#lose(code, reason);
    // Of a handshake that failed; not every class has a `close` event follow that. Later one does, and says more.
    socket.onerror = () => this.#socket === socket && !this._joinable && this.#lose(1006, "no connection");
    return undefined;
  }

  /** The URL; with the token of this connection in place of one that it has, which ends some time. */
  #handshake({ token }) {
    if (typeof this.#options.token !== "function") return this.url;
    return this.url.replace(/([?&]access_token=)[^&#]*/g, (found, name) => name + encodeURIComponent(token));
  }

  async #credentials() {
    const { token, guestToken, name } = this.#options;
    if (token !== undefined) return { token: typeof token === "function" ? await this.#freshToken() : token };
    const guest = { name: name ?? "Guest" };
    if (guestToken) guest.token = guestToken;
    return guest;
  }

  /** Without one `auth` would be a guest's, or refused for good. */
  async #freshToken() {
    const late = new SynclineError("timeout", "the token function did not answer in time");
    const asked = async () => this.#options.token();
    const token = await within(asked(), this.#options.connectTimeout, late).catch((error) => {
      throw error === late ? late : new SynclineError("token_invalid", `the token function failed: ${error?.message ?? error}`, { cause: error });
    });
    if (!token || typeof token !== "string") throw new SynclineError("token_invalid", "the token function gave no token");
    return token;
  }

  #authenticate(socket, credentials) {
    this.#outbox = [];
    const ready = (identity) => this.#socket === socket && this.#ready(identity, socket);
    const refused = (error) => this.#socket === socket && this.#refused(error, credentials);
    const resume = this.identity?.connection;
    this.#token = credentials.token;
    // The joins go out in the same frame: one round trip, and what an old connection was in rooms is taken over.
    this._joinable = true;
    this._ask("auth", resume === undefined ? credentials : { ...credentials, resume }, ready, refused);
    for (const entry of this.#entries()) entry._attach();
  }

  #ready(identity, socket) {
    clearTimeout(this.#timer);
    this.identity = identity;
    this.#limits = { ...LEAST, message_bytes: this.maxMessage, ...identity.limits };
    this.#pace.told(identity.limits ?? {});
    this.#onlineSince = performance.now();
    this.#refusals = 0;
    this._heartbeat.start((identity.ping_seconds ?? 25) * 1000);
    this.#keepGuest(identity);
    if (this.#socket !== socket) return; // who was told has closed it, here and below
    this.#set("online", { identity });
    if (this.#socket !== socket) return;
    this.#beat();
    this.#opened.resolve(this);
    if (this.#outbox.length) this.#flush(); // what was too large until now
    for (const entry of this.#entries()) if (entry.state === "detached") entry._attach();
  }

  /** The server's limits are others, or what is left of them is: what waits for its turn is looked at again. */
  #limited(limits) {
    if (!this.online) return;
    this.#limits = { ...LEAST, message_bytes: this.#limits.message_bytes, ...limits };
    this.identity = { ...this.identity, limits: { message_bytes: this.#limits.message_bytes, ...limits } };
    this.#pace.told(limits);
    clearTimeout(this.#pacing);
    this.#pacing = 0;
    this.#flush();
  }

  #keepGuest({ guest, token }) {
    if (!token || this.#options.token !== undefined) return;
    this.#options.guestToken = token;
    if (this.#options.onGuestToken) call(this.#options.onGuestToken, token, guest);
  }

  #forgetGuest() {
    this.#options.guestToken = undefined;
    if (this.#options.onGuestToken) call(this.#options.onGuestToken, null, true);
  }

  #refused(error, credentials) {
    const { token } = this.#options;
    const stale = error.code === "token_invalid" || error.code === "token_expired";
    if (stale && token === undefined && credentials.token) {
      // The server's secret or its memory is new: be a new guest.
      this.#forgetGuest();
      return this.#lose(4006, error.code, 0);
    }
    if (RETRIED.has(error.code)) return this.#lose(1006, error.code);
    // A function may have better luck the next time, when what it remembers has ended, too; a fixed token never.
    if (stale && typeof token === "function" && (this.#refusals += 1) < 3) return this.#lose(4006, error.code, REFRESH * this.#refusals);
    return this.#end(error, 4501, error.code);
  }

  /** This connection is over. Comes back after `delay`, or after a random one that grows with each failure. */
  #lose(code, reason, delay) {
    if (this.state === "closed") return undefined; // by who was told why it is lost
    const options = this.#options;
    if (code === 4501 && options.token === undefined && options.guestToken) {
      this.#forgetGuest();
      if (this.state === "closed") return undefined;
    } else if (!shouldReconnect(code)) {
      const error = new SynclineError("disconnected", reason || `closed with ${code}`, { close: code });
      return this.#end(error, code, reason);
    }
    this.state = "waiting"; // first: callbacks of rooms and documents may close it, or try now
    this.lastClose = { code, reason };
    this.#drop(new SynclineError("disconnected", "the connection was lost"));
    if (this.state !== "waiting" || this.#socket !== null) return undefined; // one has
    if (performance.now() - this.#onlineSince > 5000) this.#attempt = 0;
    this.#onlineSince = Infinity;
    const wait = delay ?? options.random() * Math.min(options.backoffMax, options.backoffBase * 2 ** this.#attempt);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#open(), wait);
    return this.#set("waiting", { retryAt: Date.now() + wait, code, reason, attempt: this.#attempt });
  }

  #end(error, code, reason) {
    if (this.state === "closed") return;
    this.state = "closed"; // first: callbacks of rooms and documents may ask for others, or to connect
    this._error = error;
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.removeEventListener?.("offline", this.#away);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.lastClose = { code, reason };
    this.#opened.reject(error);
    this.#drop(error);
    for (const entry of this.#entries()) if (this._error === error) entry._ended(error);
    if (this._error === error) this.#set("closed", { code, reason, error });
  }

  #drop(error) {
    clearTimeout(this.#timer);
    clearTimeout(this.#pulse);
    this.#deadline = Infinity;
    clearTimeout(this.#refreshing);
    this.#refreshing = 0;
    this.#limits = LEAST;
    this.#pace = new Pace();
    clearTimeout(this.#pacing);
    this.#pacing = 0;
    this._heartbeat.stop();
    const socket = this.#socket;
    this._joinable = false;
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
    for (const { timer } of requests) clearTimeout(timer);
    this.#setStalled(false);
    for (const entry of this.#entries()) entry._detach();
    for (const { reject } of requests) reject(error);
  }

  /** The server was heard. A dead connection looks silent for ever: it is asked after a while, and given up after `ping_seconds` more. */
  #beat() {
    clearTimeout(this.#pulse);
    this.#deadline = Infinity;
    const period = (this.identity?.ping_seconds ?? 25) * 1000;
    const hidden = globalThis.document?.visibilityState === "hidden";
    const wait = hidden ? period : Math.min(this.#options.heartbeat, period);
    // Of few requests that are allowed half are left for others.
    this.#pulse = setTimeout(() => this.#check(period), Math.min(LONGEST, Math.max(wait, 2 * this.#pace.period(PING))));
    this.#setStalled(false);
  }

  /** Asks the server whether it is there; without an answer it is `stalled`, and lost after `limit` ms, or when asked before sooner. */
  #check(limit) {
    // At once: behind what waits for its turn it would find a server dead that is there.
    const id = this.#nextId++;
    const ping = JSON.stringify({ event: PING, id });
    if (this.#socket?.readyState === 1) this.#socket.send(ping);
    const giveBack = this.#pace.count(ping);
    this.#requests.set(id, { event: PING, timer: 0, resolve() {}, reject: ({ code }) => code === "rate_limited" && giveBack() });
    const deadline = performance.now() + limit;
    if (deadline >= this.#deadline) return;
    this.#deadline = deadline;
    clearTimeout(this.#pulse);
    const patience = Math.min(this.#options.patience, limit);
    this.#pulse = setTimeout(() => {
      this.#pulse = setTimeout(() => this.#lose(4002, "ping_timeout"), limit - patience);
      this.#setStalled(true);
    }, patience);
  }

  #setStalled(stalled) {
    if (this.#stalled === stalled) return;
    this.#stalled = stalled;
    this._emit("stalled", stalled);
  }

  #receive(data) {
    const socket = this.#socket;
    let envelopes;
    try {
      envelopes = JSON.parse(data);
    } catch (error) {
      this._emit("error", error);
      if (this.#socket === socket) this.#lose(1006, "not JSON");
      return undefined;
    }
    if (this.state === "online") this.#beat();
    const places = Array.isArray(envelopes) ? elements(data, 0) : [0];
    for (const [index, envelope] of (Array.isArray(envelopes) ? envelopes : [envelopes]).entries()) {
      if (this.#socket !== socket) return undefined; // a callback closed it, or an envelope ended it
      const source = { text: data, at: places[index], size: (places[index + 1] ?? data.length) - places[index] };
      try {
        if (envelope.id === undefined) this.#pushed(envelope.event, envelope.data ?? {}, source);
        else this.#answered(envelope, source);
      } catch (error) {
        report(error);
      }
    }
    return undefined;
  }

  /** `source`: the frame, and where in it the envelope begins, and about how long that is. */
  #answered({ id, event, result, error }, source) {
    const request = this.#requests.get(id);
    if (!request) return; // it came too late
    this.#requests.delete(id);
    clearTimeout(request.timer);
    if (event !== "error") request.resolve(result, source);
    else request.reject(refusal(error ?? { code: "internal" }, request.event));
  }

  #pushed(event, data, source) {
    if (event === "auth:limits") this.#limited(data.limits);
    else if (event === "auth:expiring") this.#refreshSoon();
    else if (event === "error") {
      const document = this.documents.get(data.document);
      if (document?._failed(data)) return;
      this._emit("error", refusal(data, data.event));
    } else if (event === "event:custom" && data.room === null) this._emit("event", data);
    else if (event.startsWith("document:")) this.documents.get(data.document)?._push(event, data, source);
    else this.rooms.get(data.room)?._push(event, data, source);
    this._emit("push", { event, data });
  }

  #refreshSoon() {
    if (this.#refreshing) return;
    const wait = Math.max(0, this.#refreshedAt + REFRESH - performance.now());
    const socket = this.#socket;
    this.#refreshing = setTimeout(async () => {
      this.#refreshedAt = performance.now();
      await this.#refresh(socket);
      if (this.#socket === socket) this.#refreshing = 0;
    }, wait);
  }

  async #refresh(socket) {
    const { token } = this.#options;
    if (token !== undefined && typeof token !== "function") return; // nothing newer: 4006 will come
    try {
      const fresh = token === undefined ? {} : { token: await this.#freshToken() };
      if (this.#socket !== socket) return;
      if (fresh.token && fresh.token === this.#token) {
        throw new SynclineError("token_expired", "the token function gave the token again that is about to end");
      }
      const answer = await this.request("auth:refresh", fresh);
      this.#token = fresh.token;
      this.#keepGuest({ guest: true, ...answer });
    } catch (error) {
      if (this.#socket === socket) this._emit("error", error);
    }
  }

  /** @internal Puts an envelope into this turn's frame. */
  _send(event, data, id) {
    const envelope = { event };
    if (data !== undefined) envelope.data = data;
    if (id !== undefined) envelope.id = id;
    let text = JSON.stringify(envelope); // first: of what refers to itself there is no end
    checkJson(envelope);
    // Half a surrogate pair is U+FFFD, but in the content of documents: there the server refuses it.
    if (!CONTENT.has(event)) text = text.replace(HALVES, (found) => (found.length === 6 ? "\\ufffd" : found));
    if (longer(text, this.maxMessage)) throw new SynclineError("message_too_large");
    const cursor = event === "document:cursor" && id === undefined ? data.document : null;
    if (cursor !== null) this.#outbox = this.#outbox.filter((one) => one.cursor !== cursor); // only the newest has to go out
    if (this.#outbox.push({ text, event, id, cursor }) === 1) queueMicrotask(() => this.#flush());
  }

  #flush() {
    if (this.#pacing) return; // what may not go yet waits, in order
    const outbox = this.#outbox;
    this.#outbox = [];
    const socket = this.#socket;
    if (socket?.readyState !== 1) return;
    const { batch_size, message_bytes } = this.#limits;
    const most = Math.min(BATCH, batch_size);
    const room = Math.min(BATCH_BYTES, message_bytes) / 3 - 2; // in UTF-16 units, of which none takes more than three bytes
    let batch = [];
    let length = 0;
    const send = () => {
      if (batch.length) socket.send(batch.length === 1 ? batch[0] : `[${batch.join(",")}]`);
      batch = [];
      length = 0;
    };
    for (const [place, { text, event, id }] of outbox.entries()) {
      if (id !== undefined && !this.#requests.has(id)) continue; // given up while it waited
      if (longer(text, message_bytes) && event !== "auth") {
        if (!this.online) {
          this.#outbox = outbox.slice(place); // until the server has told what it takes
          break;
        }
        this.#answered({ id, event: "error", error: { code: "message_too_large" } }); // it takes less than it did
        if (this.#socket !== socket) return;
        continue;
      }
      const wait = this.#pace.take(text);
      if (wait) {
        this.#outbox = [...outbox.slice(place), ...this.#outbox];
        this.#pacing = setTimeout(() => {
          this.#pacing = 0;
          this.#flush();
        }, Math.min(wait, LONGEST));
        break;
      }
      if (batch.length >= most || length + text.length + 1 > room) send();
      if (id !== undefined) this.#expect(id, "timeout", "no answer to");
      batch.push(text);
      length += text.length + 1;
    }
    send();
  }

  /** Bytes that the network has not taken yet, and about those that the server does not allow yet. */
  get buffered() {
    const held = this.#pacing ? this.#outbox.reduce((sum, { text }) => sum + text.length, 0) : 0;
    return held + (this.#socket?.bufferedAmount ?? 0);
  }

  /**
   * Sends one request; resolves with its result, rejects with a SynclineError. What was lost is not sent again. With `signal`
   * (an AbortSignal) its answer is no longer waited for when that is aborted.
   */
  async request(event, data, given = {}) {
    const { signal } = checkOptions(given, ["signal"]);
    if (typeof event !== "string") throw new TypeError(`the name of a request is a string, not ${named(event)}`);
    if (!this.online) throw this._offline();
    signal?.throwIfAborted();
    let id;
    const answer = new Promise((resolve, reject) => {
      id = this._ask(event, data, resolve, reject, true);
    });
    return unlessAborted(answer, signal, () => this._forget(id));
  }

  /** @internal Why nothing can be asked now: it is over, or the connection is away. */
  _offline() {
    return this._error ?? new SynclineError("disconnected", "not connected");
  }

  /** @internal The answer to a request is of no interest any more. */
  _forget(id) {
    clearTimeout(this.#requests.get(id)?.timer);
    this.#requests.delete(id);
  }

  /**
   * @internal Leaves what `data` names, behind whatever of a join is under way there; without a connection there is nothing to leave.
   * Said again while the server cannot, unless it is joined again (`known`). Resolves with the first answer.
   */
  _leave(event, data, known) {
    const socket = this.#socket;
    const { backoffBase, backoffMax } = this.#options;
    return new Promise((resolve) => {
      const ask = (tries) => {
        if (this.#socket !== socket || known()) return void resolve();
        this._ask(event, data, resolve, (error) => {
          resolve();
          if (RETRIED.has(error.code)) setTimeout(ask, Math.min(backoffMax, backoffBase * 2 ** tries), tries + 1);
        });
      };
      if (this._joinable) ask(0);
      else resolve();
    });
  }

  /** A request is given up that has no answer after `requestTimeout` from now on, with `code`. */
  #expect(id, code, message) {
    const request = this.#requests.get(id);
    clearTimeout(request.timer);
    request.timer = setTimeout(() => {
      this.#requests.delete(id);
      request.reject(new SynclineError(code, `${message} ${request.event}`, { event: request.event }));
    }, this.#options.requestTimeout);
  }

  /**
   * @internal A request whose answer is handed over at once: what follows it in the same frame finds it done. What may not go out yet
   * waits until it may: its answer is waited for from then on. `impatient`: no longer than `requestTimeout` for that, too.
   */
  _ask(event, data, resolve, reject, impatient = false) {
    if (!this._joinable) return reject(this._offline());
    if (this.#requests.size >= this.#options.maxRequests || this.buffered > this.#options.maxBuffered) {
      return reject(new SynclineError("buffer_full", "too many requests wait for an answer"));
    }
    const id = this.#nextId++;
    this.#requests.set(id, { event, timer: 0, resolve, reject });
    try {
      this._send(event, data, id);
      if (impatient) this.#expect(id, "not_sent", "held back by the rate limit, not sent:");
    } catch (error) {
      this._forget(id);
      reject(error);
    }
    return id;
  }

  /**
   * The room's handle, joined now and after each reconnect. Options: password, history (how many to be sent at first).
   */
  room(name, options = {}) {
    const room = this.#room(name, checkOptions(options, ROOM_OPTIONS));
    room._users.add(HOLDER);
    return room;
  }

  #room(name, options = {}) {
    name = nameOf(name, "room");
    let room = this.rooms.get(name);
    if (!room) {
      room = new Room(this, name, options);
      this.rooms.set(name, room);
      if (this.online) room._attach();
    }
    return room;
  }

  /**
   * Joins and waits for it; rejects, and forgets the room, when the server refuses. Given up (`signal`, an AbortSignal) by all who wait,
   * the join is undone.
   */
  async join(name, given = {}) {
    const { signal, ...options } = checkOptions(given, [...ROOM_OPTIONS, "signal"]);
    signal?.throwIfAborted();
    if (this._error) throw this._error;
    const room = this.#room(name, options);
    try {
      await room._wanting(signal);
    } catch (error) {
      if (!signal?.aborted && this.rooms.get(room.name) === room) this.rooms.delete(room.name);
      throw error;
    }
    return room;
  }

  /**
   * The document's handle, joined now and after each reconnect; `await handle.ready`. Options: client (its id), type
   * ("text", "rich-text", "json", or one that was registered), signal (an AbortSignal: aborted before it is joined, it is left). One that
   * is open here already as another type, or under another id, stays: `ready` of what is returned rejects with invalid_data.
   */
  document(name, options = {}) {
    const { type = "text", client, signal } = checkOptions(options, ["client", "type", "signal"]);
    signal?.throwIfAborted();
    name = nameOf(name, "document");
    let document = this.documents.get(name);
    const other = document && otherThan(document, type, client);
    if (!document || other) {
      document = new (type === "text" ? SynclineText : SynclineDocument)(this, name, options);
      document._asked = client; // its id may become another one: client_taken
      if (other) {
        const error = new SynclineError("invalid_data", `${JSON.stringify(name)} is open ${other}`);
        queueMicrotask(() => document._over || document._fail(error)); // when listeners can hear it
        return document;
      }
      this.documents.set(name, document);
      if (this.online) document._attach();
    }
    if (signal) document._wanting(signal).catch(() => {}); // told by `ready`
    else document._users.add(HOLDER);
    return document;
  }

  /** Rejects with room_exists, ... Whoever creates it is its owner. `defaultRole` null: only who was granted a role may join. */
  async createRoom(name, given = {}) {
    const { password, defaultRole = "member" } = checkOptions(given, ["password", "defaultRole"]);
    const data = { room: nameOf(name, "room"), default_role: defaultRole };
    if (password !== undefined) data.password = password;
    await this.request("room:create", data);
  }

  /** `text` is for the type text, `content` for the others. Rejects with document_exists, document_too_large, invalid_data, ... */
  async createDocument(name, text = "", given = {}) {
    const { type = "text", content, defaultRole = "editor" } = checkOptions(given, ["type", "content", "defaultRole"]);
    const data = { document: nameOf(name, "document"), default_role: defaultRole, type, content };
    if (type === "text" || text !== "") data.text = text;
    await this.request("document:create", data);
  }

  /** One's own status ("online", "away", "busy"; TypeError for another; `metadata`: JSON, invalid_data for what is none) in all rooms, said again after each reconnect. */
  setPresence(status, metadata = null) {
    checkName(status, ["online", "away", "busy"], "status");
    checkJson(metadata);
    this.#presence = { status, metadata };
    for (const room of this.rooms.values()) room._tellPresence();
  }

  /** @internal */
  get _presence() {
    return this.#presence;
  }
}
