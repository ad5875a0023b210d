/** What the other parts of the Syncline client stand on: errors, events, joining. Import syncline.js. */

/**
 * A request that failed. `code` is one of docs/protocol.md, or this side's: disconnected, timeout, closed,
 * buffer_full, not_sent, unsettled.
 */
export class SynclineError extends Error {
  constructor(code, message, detail = {}) {
    super(message || code.replaceAll("_", " "));
    this.name = "SynclineError";
    this.code = code;
    Object.assign(this, detail);
  }
}

/** What the server said of a request `event`; `retryAfter` in seconds, where it said so. */
export function refusal({ code, message, retry_after: retryAfter }, event) {
  return new SynclineError(code, message, { event, ...(retryAfter >= 0 && { retryAfter }) });
}

/** A callback's fault must not stop the others: it surfaces as an uncaught error. */
export function report(error) {
  if (typeof reportError === "function") reportError(error);
  else queueMicrotask(() => { throw error; });
}

/** Calls what an application gave; a fault of it is reported, also when it comes later, as the rejection of a promise. */
export function call(callback, ...details) {
  try {
    const result = callback(...details);
    if (typeof result?.then === "function") result.then(undefined, report);
  } catch (error) {
    report(error);
  }
}

/** A value as the message of an error names it. */
export const named = (value) => (typeof value === "string" ? JSON.stringify(value) : String(value));

/** TypeError for a name that is not among `names`: misspelt, it would be passed over in silence. */
export function checkName(name, names, what) {
  if (!names.includes(name)) throw new TypeError(`there is no ${what} ${JSON.stringify(String(name))}, but ${names.join(", ")}`);
}

/** What was given by name. TypeError for another name than these. */
export function checkOptions(given, names) {
  if (typeof given !== "object" || given === null) throw new TypeError(`options are an object, not ${named(given)}`);
  for (const name of Object.keys(given)) checkName(name, names, "option");
  return given;
}

/** Whether it is an object as JSON has them: no array, and of no class (Date, Map, ...). Another window's are, too. */
export function isObject(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Throws invalid_data for what JSON does not have: written, it would be another value, unsaid. A field that is undefined is left out. */
export function checkJson(value) {
  if (value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value)) return;
  if (Array.isArray(value)) for (const item of value) checkJson(item);
  else if (isObject(value)) for (const item of Object.values(value)) item === undefined || checkJson(item);
  else {
    const what = typeof value === "object" ? `an object of the class ${value.constructor?.name}` : String(value);
    throw new SynclineError("invalid_data", `${what} is no ${typeof value === "number" ? "number" : "value"} of JSON`);
  }
}

/** Of what callbacks make happen in one go, before it is taken for something that has no end. */
const MOST_UNTOLD = 10_000;

/** A class that extends it names its events: `static _events`. */
export class Emitter {
  #listeners = new Map();
  #telling = false;
  #untold = []; // [name, detail, who listened when it happened]

  /** Calls `callback` at each `name`; returns the function that ends it. TypeError: there is no such event. */
  on(name, callback) {
    checkName(name, this.constructor._events, "event");
    if (typeof callback !== "function") throw new TypeError(`a callback is a function, not ${named(callback)}`);
    return this._on(name, callback);
  }

  off(name, callback) {
    checkName(name, this.constructor._events, "event");
    this.#listeners.get(name)?.delete(callback);
  }

  /** @internal As `on`, also for events that are nobody else's concern. */
  _on(name, callback) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(callback);
    return () => this.#listeners.get(name).delete(callback);
  }

  /** @internal Tells it, after whatever is being told: every listener hears everything in the order in which it happened. */
  _emit(name, detail) {
    this._happened(name, detail);
    this._tellAll();
  }

  /** @internal Keeps it for `_tellAll`. */
  _happened(name, detail) {
    const listeners = this.#listeners.get(name);
    if (listeners?.size) this.#untold.push([name, detail, [...listeners]]);
  }

  /** @internal */
  _tellAll() {
    if (this.#telling) return; // who does will go on with it
    this.#telling = true;
    for (let told = 0; this.#untold.length; told += 1) {
      const [name, detail, callbacks] = this.#untold.shift();
      if (told < MOST_UNTOLD) this.#tell(name, detail, callbacks);
      else {
        this.#untold = [];
        report(new RangeError(`callbacks make ever more happen: "${name}" and what came with it is not told`));
      }
    }
    this.#telling = false;
  }

  #tell(name, detail, callbacks) {
    const listeners = this.#listeners.get(name);
    for (const callback of callbacks) if (listeners.has(callback) && !this._muted(name)) call(callback, detail);
  }

  /** @internal Tells it now: for events that are nobody else's concern. */
  _tellNow(name, detail) {
    this.#tell(name, detail, [...(this.#listeners.get(name) ?? [])]);
  }

  /** @internal Whether nobody is told of it any more. */
  _muted() {
    return false;
  }
}

/**
 * Makes a JSON value one that cannot be changed, at any depth; returns it. What is frozen is so all the way down: of a value made
 * from such a one only the new parts are visited.
 */
export function frozen(value) {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) frozen(part);
  return Object.freeze(value);
}

/** A promise with its handles, and whether it is still `open`; its rejection is never "unhandled": who does not await it does not care. */
export function deferred() {
  const result = { open: true };
  result.promise = new Promise((resolve, reject) => {
    const over = (settle) => (value) => {
      result.open = false;
      settle(value);
    };
    Object.assign(result, { resolve: over(resolve), reject: over(reject) });
  });
  result.promise.catch(() => {});
  return result;
}

/** The promise, or the signal's reason when that comes first; `undo` is called then. Without a signal the promise itself. */
export function unlessAborted(promise, signal, undo = () => {}) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => {
      undo();
      reject(signal.reason);
    };
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    const over = () => signal.removeEventListener("abort", stop);
    promise.then(resolve, reject).then(over, over);
    return undefined;
  });
}

/** No timer is longer, in milliseconds: what is would fire at once. */
export const LONGEST = 2 ** 31 - 1;

/** The promise, or the error when that takes longer than `ms`. */
export function within(promise, ms, error) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(reject, Math.min(ms, LONGEST), error);
    timer.unref?.(); // it keeps no program from its end
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Whether a text takes more bytes than that as UTF-8. */
export const longer = (text, limit) => text.length * 3 > limit && new TextEncoder().encode(text).length > limit;

/** What a value takes as JSON, in bytes. */
export const bytesOf = (value) => new TextEncoder().encode(JSON.stringify(value)).length;

/** A text in pieces of at most `room` bytes as JSON (64 at least), none with half a surrogate pair. */
export function cutText(text, room) {
  const most = Math.max(64, room);
  const pieces = [];
  for (let at = 0; at < text.length; ) {
    let count = Math.min(text.length - at, most);
    for (let size; (size = bytesOf(text.slice(at, at + count))) > most; ) count = Math.floor((count * most) / size);
    if (at + count < text.length && (text.charCodeAt(at + count) & 0xfc00) === 0xdc00) count -= 1;
    pieces.push(text.slice(at, at + count));
    at += count;
  }
  return pieces;
}

/** Events of rooms and documents alike. */
export const SHARED_EVENTS = ["settled", "role", "removed", "state", "error"];

/** What is told of a handle after its end: that, and nothing else. */
const LAST = new Set(["settled", "removed", "state", "error", "_end"]);
const ENDED = new Set(["left", "failed", "removed"]);

/** Among the `_users` of a handle: whoever has it. */
export const HOLDER = "holder";

/** Codes of a passing trouble: the same may be tried again. */
export const RETRIED = new Set([
  "unavailable", "document_unavailable", "internal", "timeout", "limit_exceeded", "rate_limited",
  "buffer_full",
]);

/** The way from what is here to what is there is not known: edits are carried over by comparing the contents. */
export const LOST_HISTORY = new Set(["revision_unknown", "history_trimmed"]);

// What becomes of an operation that the server did not take. Kept for as long as it lasts: the server has trouble.
// Or the session of the document is gone, which says nothing about the operation.
const KEPT = new Set("document_unavailable unavailable limit_exceeded timeout not_joined".split(" "));
// The join's answer tells; taken back when that happens again and again. Every other code: taken back.
const DOUBTFUL_REQUEST = new Set(["sequence_conflict", "internal"]);
const DOUBTFUL = new Set([...DOUBTFUL_REQUEST, "revision_unknown"]);
const MOST_TRIES = 3;

/** Nothing of it was done, or sent: it may be, later. */
export const NOT_YET = new Set(["rate_limited", "buffer_full"]);

/** Whether the fate of what is in flight ({item, tries}) is open after this refusal: to be joined again. Counts the tries. */
export function staysOpen(flight, code) {
  const doubtful = (flight.item.kind ? DOUBTFUL_REQUEST : DOUBTFUL).has(code);
  return KEPT.has(code) || (doubtful && (flight.tries += 1) < MOST_TRIES);
}

/** So often in a row what is here is found not to be the server's; then it is taken anew after waits that grow. */
export const MOST_ALARMS = 3;

/**
 * Whether to act on a hash that differs, after `before` alarms in a row: on the first, second, fourth, eighth, ... So a content that is
 * another one is always healed in the end, and hashes that are wrong themselves cost ever less.
 */
export const worthHealing = (before) => (before & (before + 1)) === 0;

/** Joining again is refused with these: it is no longer open to this user. */
const SHUT = new Set(["forbidden", "password_required", "password_wrong", "room_not_found", "document_not_found"]);

/** What a request is answered that came after the end of its handle. */
const OUT = new Set(["not_a_member", "not_joined"]);

/** Joined for so many milliseconds it is joined well: the next trouble is the first one. */
const STEADY = 5000;

const LEAVE_OPTIONS = { room: ["settle", "resign"], document: ["settle"] };

/** What rooms and documents share: joining, and joining again with growing waits while the server cannot. */
export class Joined extends Emitter {
  #retry = 0;
  #failures = 0; // in a row, with no progress between
  #joinedAt = Infinity;
  #reached = null; // `_mark`, as it was joined again the last time without a wait
  #settledAsTold = true;
  #lost = 0; // how many operations and messages were not acknowledged at the end
  _opened = deferred();
  /** Who wants it: each that waits for its first join, and HOLDER once somebody has it. Nobody: it is left, or will be. */
  _users = new Set();

  /** `_kind`: "room" or "document". */
  constructor(client, name, kind) {
    super();
    this.client = client;
    this._kind = kind;
    this.name = name;
    this.state = "detached";
    this.role = null;
    /** Why this user is not in it any more; null otherwise. */
    this.removed = null;
    /** Why it is over: what is asked of it then rejects with this. */
    this._error = null;
    if (client.state === "closed") this._opened.reject(client._error); // until it connects anew
  }

  /** Whether this client is in it at this moment. */
  get joined() {
    return this.state === "joined";
  }

  /** Why a document cannot be edited, or asked for an undo: `event`. */
  _refusal(event = "document:operation") {
    const over = this._error ?? this.client._error;
    if (over) return over;
    if (this.role === "reader") return new SynclineError("forbidden", "readers do not edit", { event });
    return new SynclineError("not_joined", "the document is not joined yet");
  }

  /** Over for good: left, refused, or taken out. */
  get _over() {
    return this._error !== null;
  }

  /** A request about this. Rejects with why it is over, also when that was meanwhile. */
  async _request(event, data, options) {
    if (this._error) throw this._error;
    try {
      return await this.client.request(event, { [this._kind]: this.name, ...data }, options);
    } catch (error) {
      throw this._reason(error);
    }
  }

  /** Why, when a request came too late. */
  _reason(error) {
    return OUT.has(error.code) ? (this._error ?? error) : error;
  }

  /** Resolves at the first join; rejects when it is refused for good. */
  get ready() {
    return this._opened.promise;
  }

  _attach() {
    clearTimeout(this.#retry);
    if (!this.client._joinable || this._over) return;
    const token = {};
    this._joining = token;
    this._state("joining");
    if (this._joining !== token) return; // left, or closed, by who was told
    const current = (then) => (value, source) => this._joining === token && this.state === "joining" && then(value, source);
    this._join(
      current((result, source) => {
        this.#joinedAt = performance.now();
        this.state = "joined";
        const done = () => {
          this._opened.resolve(this);
          if (this._joining === token) this._emit("state", { state: "joined" });
        };
        this._guarded(() => this._joinedWith(result, source, done) || done()); // else it is done later
      }),
      current((error) => {
        if (this._mendJoin(error)) this._renew();
        else if (RETRIED.has(error.code) && !(error.code === "limit_exceeded" && this.role === null)) this._again(error);
        else if (this.role !== null && SHUT.has(error.code)) this._takenOut(error);
        else if (error.code !== "disconnected") this._fail(error);
      }),
    );
  }

  /** `settled` whenever it is another value than the one that was told last. */
  _tellSettled() {
    if (this.settled === this.#settledAsTold) return;
    this.#settledAsTold = this.settled;
    this._emit("settled", this.settled);
  }

  /** What `action` throws is a fault of somebody's: it is told and joined again, after a wait that grows. What waits, waits on. */
  _guarded(action) {
    try {
      return action();
    } catch (error) {
      const { state } = this;
      this._emit("error", new SynclineError("diverged", `${this._kind} ${named(this.name)}: ${error?.message ?? error}`, { cause: error }));
      if (state === "joined" && this.state === "joined") this._again();
      return undefined;
    }
  }

  /** Another value as soon as something of it has arrived. */
  get _mark() {
    return null;
  }

  /**
   * What is here is not what the server has: joins again, at once when something came of the last time or it went well for long, otherwise
   * after a wait that grows.
   */
  _renew() {
    const mark = this._mark;
    if (mark === this.#reached && !(performance.now() - this.#joinedAt > STEADY)) return this._again();
    this.#failures = 0;
    this.#reached = mark;
    this.#joinedAt = Infinity;
    return this._attach();
  }

  /** Joins after a wait that grows while it fails, or is joined only to fail again. */
  _again(error) {
    if (performance.now() - this.#joinedAt > STEADY) this.#failures = 0;
    this.#joinedAt = Infinity;
    this._detach();
    if (this._over) return; // left by who was told
    this._later(() => this._attach(), this.#failures, error);
    this.#failures += 1;
  }

  /** The server has taken something: the next trouble is the first one. */
  _progressed() {
    this.#failures = 0;
  }

  /** `action` after what the server said in `error`, and a wait that grows with `tries`; unless it is detached, or joins, before. */
  _later(action, tries, error) {
    const { backoffBase, backoffMax, random } = this.client.options;
    const wait = (0.5 + random() / 2) * Math.min(backoffMax, backoffBase * 2 ** tries) + 1000 * Math.min(error?.retryAfter ?? 0, 600);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(action, wait);
  }

  /**
   * What is in flight ({sent, limited}) was refused for now (NOT_YET), as too much was asked for: nothing was done, and the session goes
   * on. The same is sent again, not sooner than the server said.
   */
  _limited(flight, error) {
    if (this.state !== "joined") return; // the answer to the join tells
    flight.limited = (flight.limited ?? 0) + 1;
    this._later(() => {
      flight.sent = false;
      this._flush();
    }, flight.limited - 1, error);
  }

  _detach() {
    clearTimeout(this.#retry);
    this._joining = null;
    if (this.state === "joining" || this.state === "joined") this._state("detached");
  }

  /** Resolves when the server has everything of this, at the latest after `ms`, or with the end. */
  _settle(ms) {
    const vain = this._over || ["idle", "closed"].includes(this.client.state);
    if (this.settled || vain || !(ms > 0)) return Promise.resolve();
    return new Promise((resolve) => {
      const over = () => {
        clearTimeout(timer);
        for (const release of releases) release();
        resolve();
      };
      const timer = setTimeout(over, Math.min(ms, LONGEST));
      const look = () => this.settled && over();
      const releases = [this.on("settled", look), this.on("state", look), this._on("_end", over)];
    });
  }

  /** Sets a user's role; null removes it. */
  async grant(user, role) {
    await this._request(`${this._kind}:grant`, { user, role });
  }

  /** No longer the client's; a new one may be had. */
  _forget() {
    const handles = this.client[`${this._kind}s`];
    if (handles.get(this.name) === this) handles.delete(this.name);
  }

  /**
   * Leaves when the server has every edit and message, at the latest after `settle` ms (default: the client's option), unless somebody
   * wants it again by then; what is left of that time it waits for the server's answer. Resolves with how many were not acknowledged:
   * messages reject, an `error` event has the edits. With `resign` the stored membership of a room ends too, whatever time that takes;
   * rejects when that fails (forbidden, of the owner): then nothing has changed here.
   */
  async leave(given = {}) {
    const { resign = false } = checkOptions(given, LEAVE_OPTIONS[this._kind]);
    if (resign && this._error && !this.removed) throw this._error; // a membership is not ended by a room that was left already
    return this._leave(given);
  }

  /** `reason`: what `ready` rejects with. */
  async _leave({ settle = this.client.options.settle, resign = false, reason }) {
    const until = performance.now() + settle;
    this._users.clear();
    this._hurry();
    if (!this.settled) await this._settle(settle);
    if (this._over) return this.#lost;
    if (this._users.size) return this._unsettled;
    const { client, name, _kind: kind } = this;
    if (resign) {
      try {
        await client.request(`${kind}:leave`, { [kind]: name, resign });
      } catch (error) {
        this._users.add(HOLDER);
        throw error;
      }
      if (this._users.size) this._attach(); // wanted again since it was asked
      if (this._over) return this.#lost;
      if (this._users.size) return this._unsettled;
    }
    this._forget();
    const told = resign ? null : client._leave(`${kind}:leave`, { [kind]: name }, () => client[`${kind}s`].has(name));
    if (reason !== undefined) this._opened.reject(reason);
    this._error = new SynclineError("closed", `the ${kind} was left`);
    this._ended(this._error);
    this._state("left");
    if (settle > 0) await within(told, until - performance.now()).catch(() => {});
    return this.#lost;
  }

  /** Says what the server is not known to have, when that is about to be nobody's concern any more. */
  _tellUnsettled() {
    const count = (this.#lost = this._unsettled);
    this._tellNow("_end");
    if (count) {
      const message = `the server has not acknowledged ${count} of what was done here`;
      this._emit("error", new SynclineError("unsettled", message, { count, unsent: this._unsent }));
    }
  }

  _ended(error) {
    this._tellUnsettled();
    this._detach();
    this._opened.reject(error);
    this._giveUp(error);
    this._tellSettled();
  }

  /** Waits for the first join. Given up by all who wait, it is undone. */
  async _wanting(signal) {
    const waiter = {};
    this._users.add(waiter);
    try {
      await unlessAborted(this.ready, signal);
      this._users.add(HOLDER);
    } finally {
      if (this._users.delete(waiter) && !this._users.size && signal?.aborted) this._leave({ settle: 0, reason: signal.reason });
    }
  }

  _reopen() {
    if (!this._opened.open) this._opened = deferred();
  }

  /** Refused for good: the handle is over, and another one may be had. Forgotten first: a callback may ask for that. */
  _fail(error) {
    this._error = error;
    this._forget();
    this._ended(error);
    this._state("failed");
    this._emit("error", error);
  }

  /** This user was taken out, or is not let in again: the handle is over, and another one may be had. */
  _takenOut(error = new SynclineError("forbidden", this._kind === "room" ? "taken out of the room" : "your access was taken away")) {
    this.removed = this._error = error;
    this._forget();
    this._ended(error);
    this._state("removed");
    this._emit("removed", { code: error.code, message: error.message });
  }

  /** The role of a client in this document, of this one or another. */
  _roleOf({ client, role }) {
    if (client === this.id) return this._roleIs(role);
    const who = this.collaborators.get(client);
    if (!who) return undefined;
    this.collaborators.set(client, { ...who, role });
    return this._emit("collaborators", this.collaborators);
  }

  /** What this user may do. Told when it has changed. */
  _roleIs(role) {
    const before = this.role;
    this.role = role;
    if (before !== null && before !== role) this._emit("role", { role });
  }

  _mendJoin() {
    return false;
  }

  /** What waits is to be sent in as few round trips as it can be. */
  _hurry() {}

  _muted(name) {
    return ENDED.has(this.state) && !LAST.has(name);
  }

  _state(state) {
    if (this.state === state) return;
    this.state = state;
    this._emit("state", { state });
  }
}

/** crypto.randomUUID is for secure contexts only: not for a page over plain http whose name is not localhost. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => (byte % 36).toString(36)).join("") + Date.now().toString(36);
}
