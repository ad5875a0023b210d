/** Shared documents. A part of the Syncline client: import syncline.js. */

import {
  checkOptions, deferred, frozen, Joined, LONGEST, LOST_HISTORY, MOST_ALARMS, named, NOT_YET, randomId, refusal, SHARED_EVENTS, staysOpen,
  SynclineError, worthHealing,
} from "./syncline-base.js";
import { ot } from "./syncline-ot.js";
import { caret, movedBy, Places } from "./syncline-places.js";
import { Diverged, DocumentState } from "./syncline-state.js";
import { Patience } from "./syncline-strokes.js";
import { typeOf } from "./syncline-types.js";

/** What a type throws of an application's operation or content gets a code, if it has none. */
function coded(call) {
  try {
    return call();
  } catch (error) {
    throw error instanceof SynclineError ? error : new SynclineError(error.code ?? "operation_invalid", error.message);
  }
}

const SLICE = 8; // milliseconds that a page may stand still while much arrives
const MEASURED = 8; // operations at least, to say how fast they are taken in

/**
 * A shared document of any type as this client holds it; syncline-state.js has the algorithm, this the conversation around it.
 *
 * Events: `change` ({operation, origin: local | remote | undo | redo | restore | refused | rebased | healed | reset,
 * clients}), `cursors`, `collaborators`, `settled`, `steps` ({undo, redo}), `refused` ({code, message, operation, content}),
 * `rebased` ({before, after, operation}), `reset` ({reason, unsent}), `state`, `error`.
 */
export class SynclineDocument extends Joined {
  static _events = [...SHARED_EVENTS, "change", "cursors", "collaborators", "refused", "steps", "rebased", "reset"];
  #state;
  #whole = null; // the next join asks for the content; this is why: "healed" or "rebased"
  #exact = false; // the next join is told all operations: what waits could be lost over a content
  #small = false; // the next join tells no edits: with them it was larger than may be sent
  #alarms = 0; // times in a row that the content was not the server's
  #depths = null; // what an answer said whose operation is still to come
  #steps = "0 0"; // as they were told last
  #scheduled = false;
  #unread = 0; // the size of the inbox
  #inbox = []; // {task, size}: what came from the server and is not taken in yet, in order
  #working = 0; // a timer, between two slices
  #catchingUp = false; // what the answer to a join has told is not taken in yet
  #speed = 2; // operations that are taken in in a millisecond, as measured
  #patience = new Patience();
  #watch = 0; // a timer: looks after the operation in flight
  #cursor = undefined; // own, in `content`; null: hidden, undefined: never said
  #told = null; // own, as the server has it: it follows the operations by the same rules
  #cursorTimer = 0;
  #cursorAt = -Infinity;

  /** @internal */
  constructor(client, name, { type = "text", client: id } = {}) {
    super(client, name, "document");
    this.type = typeOf(type);
    const { maxPending } = client.options;
    const limit = () => Math.max(64, this.type.most(client.maxMessage));
    this.#state = new DocumentState(this.type, id ?? randomId(), { limit, maxPending });
    /** The others: client -> {client, user, name, role}. */
    this.collaborators = new Map();
    this.places = new Places(this.type);
  }

  get id() {
    return this.#state.client;
  }

  /** As it is here, own edits included. It is frozen: to change it is an error, and it stays as it is when the document changes. */
  get content() {
    return frozen(this.type.show(this.#state.content));
  }

  get revision() {
    return this.#state.revision;
  }

  get generation() {
    return this.#state.generation;
  }

  /** Whether edits are allowed: joined once, and not as a reader. */
  get writable() {
    return this.generation !== null && this.role !== "reader" && !(this._error ?? this.client._error);
  }

  /** Whether the server has every edit, and every undo is answered. */
  get settled() {
    return this.#state.settled;
  }

  /**
   * How many steps of this client's there are, about; 0: none that is known of. What was done since the server's last answer to a join,
   * undo or redo counts as one step, and as one more while some of it waits: there may be more, or fewer. Others may have left nothing
   * of some.
   */
  get canUndo() {
    return this.#state.canUndo;
  }

  get canRedo() {
    return this.#state.canRedo;
  }

  // Joining --------------------------------------------------------------------------------------------------------
  _join(resolve, reject) {
    const state = this.#state;
    this.#drop(); // the answer has it
    const data = { document: this.name, type: this.type.name, unit: "utf-16", client: this.id };
    state.detach();
    if (state.generation !== null) {
      if (this.#whole === null) {
        Object.assign(data, { revision: state.revision, generation: state.generation });
        const pending = state.tellPending()?.map(({ operation, ...told }) => ({ ...told, operation: this.type.describe(operation) }));
        if (pending && !this.#exact) data.pending = this.#small ? [] : pending;
      } else if (this.#whole === "healed") data.diverged = state.diverged();
    }
    this.#told = null;
    this.client._ask("document:join", data, resolve, reject);
  }

  get _mark() {
    return `${this.generation} ${this.revision}`;
  }

  /** Whether it may be asked for again, in another way. */
  _mendJoin({ code }) {
    if (code === "client_taken") {
      this.#state.rename(randomId()); // the user is another one now, a new guest say
      this.#finish();
      this._tellSettled();
    } else if (LOST_HISTORY.has(code) && this.#whole === null && this.generation !== null) {
      this.#whole = "rebased";
    } else if (code === "message_too_large" && !this.#small && !this.#exact) {
      if (this.type.drifts()) this.#small = true;
      else this.#exact = true;
    } else return false;
    return true;
  }

  /** Says that it calls `then` itself, when everything that came with the answer is taken in. */
  _joinedWith(answer, source, then) {
    this.#small = false;
    this._roleIs(answer.role);
    this.collaborators = new Map();
    this.places.clear();
    for (const { anchor: _, head: __, ...who } of answer.collaborators) if (who.client !== this.id) this.collaborators.set(who.client, who);
    const state = this.#state;
    if (this.state !== "joined") return true; // who was told of the role has left, or closed
    const joined = () => {
      this.#catchingUp = false;
      for (const place of answer.collaborators) this.#place(place, answer.revision);
      Object.assign(state, { undo: answer.undo ?? 0, redo: answer.redo ?? 0 });
      this.#tellSteps();
      this._emit("collaborators", this.collaborators);
      this._emit("cursors", this.cursors);
      this._tellSettled();
      if (state.flight) this.#expectAck(state.flight); // what was told to follow has to come
      this._flush();
      this.#cursorLater();
      then();
    };
    if (answer.operations === null) {
      if (this.#load(answer)) joined();
      return true;
    }
    state.attach(answer.seq, answer.operations.length + Number(answer.more ?? false));
    this.#exact = false;
    this.#catchingUp = true;
    this.#do(this.#intake(answer.revision, answer.operations, answer.hash, () => {
      if (state.inDoubt && answer.more) return this._renew();
      if (state.inDoubt) state.attach(answer.seq, 0); // all of it is here now
      if (state.flight?.sent && !answer.more) return this.#reload("an acknowledged operation was not in the history");
      return joined();
    }));
    return true;
  }

  /** A whole content. One of the same history: what waits is carried over; else it has nowhere to go. False: it cannot be read. */
  #load({ text = null, content: given = text, revision, generation, seq, pending = null, rebased }) {
    const state = this.#state;
    let content;
    try {
      content = this.type.parseContent(given);
    } catch (error) {
      this._emit("error", new SynclineError("diverged", `the content cannot be read: ${error.message}`));
      this._again();
      return false;
    }
    if (pending && generation === state.generation && state.isUntold) { // done meanwhile
      this.#exact = true;
      this._renew();
      return false;
    }
    this.#exact = false;
    const first = state.generation === null;
    const before = this.content;
    const whole = this.#whole;
    this.#whole = null;
    let changes = null;
    let lost = null;
    if (generation === state.generation) {
      const origin = rebased ? "rebased" : (whole ?? (pending ? "remote" : "rebased"));
      try {
        changes = state.adopt(revision, content, seq, pending, origin);
      } catch (error) {
        this._emit("error", new SynclineError("diverged", error.message, { cause: error }));
        if (this.state !== "joined") return false; // ended by who was told
      }
      if (changes !== null) {
        this.#tell(changes);
        if (origin === "rebased") {
          const operation = this.type.describe(this.type.diff(content, state.content));
          this._emit("rebased", { before, after: this.content, operation: frozen(operation) });
        }
      }
    }
    if (changes === null) {
      ({ changes, lost } = state.start(generation, revision, content, seq));
      if (first && !changes.length) changes = [{ operation: this.type.diff(content, content), origin: "reset", clients: [] }];
      this.#tell(changes);
    }
    this.#finish();
    if (lost) this._emit("reset", { reason: "the document was created anew", unsent: this.#lostWork(lost) });
    return true;
  }

  _detach() {
    this.#drop();
    this.#state?.detach();
    super._detach();
  }

  _state(state) {
    if (state !== "joined" && this.collaborators.size) {
      this.collaborators = new Map();
      this.places.clear();
      this._emit("collaborators", this.collaborators);
      this._emit("cursors", this.cursors);
    }
    super._state(state);
  }

  // Local edits ----------------------------------------------------------------------------------------------------
  /** Does an operation here and sends it. Throws an error with a `code`, and changes nothing, when it does not fit. */
  edit(operation) {
    if (!this.writable) throw this._refusal();
    coded(() => this._edit(this.type.parse(operation)));
  }

  /** Edits by the difference to `value`. Throws as `edit`. */
  setContent(value) {
    if (!this.writable) throw this._refusal();
    coded(() => this._edit(this.type.diff(this.#state.content, this.type.parseContent(value))));
  }

  /** @internal One that is parsed. Throws what the type throws. */
  _edit(operation) {
    if (this.type.isIdentity(operation)) return;
    const told = this.#state.edit(operation, this.#state.flight !== null && this.#patience.over);
    this._flush();
    if (this.#cursor) this.#cursor = movedBy(this.type, this.#cursor, told, "right"); // what is typed is before one's own
    this.#tellChange({ operation: told, origin: "local", clients: [this.id] });
    this._emit("cursors", this.cursors);
    this._tellSettled();
    this.#tellSteps();
  }

  // Undo and history -----------------------------------------------------------------------------------------------
  /**
   * Takes back this client's last step, whatever others did since; what they wrote stays. Resolves with false when
   * there is none. Steps live on the server: they outlast reconnects, and reloads of a page that keeps `id`. Rejects when it is not
   * answered within `requestTimeout`: `not_sent` (it never will be done) or `timeout` (it may be yet). So do the next three.
   */
  undo() {
    return this.#request("undo");
  }

  redo() {
    return this.#request("redo");
  }

  /** Makes the content what it was at `revision`, by an operation that can be undone. */
  restore(revision) {
    return this.#request("restore", revision);
  }

  /**
   * Gives a document that has no content yet its first one. Resolves with false when it has one: of several that do this at the same
   * time, or one of which was offline, the first one's stays, and nothing else changes.
   */
  async initialize(content) {
    this.type.parseContent(content);
    return this.#request("initialize", undefined, structuredClone(content));
  }

  #request(kind, to, content) {
    if (!this.writable) return Promise.reject(this._refusal(`document:${kind}`));
    const request = { kind, to, content, ...deferred() };
    try {
      this.#state.ask(request);
    } catch (error) {
      return Promise.reject(error);
    }
    const timer = setTimeout(() => this.#late(request), Math.min(this.client.options.requestTimeout, LONGEST));
    const over = (settle) => (value) => {
      clearTimeout(timer);
      settle(value);
    };
    Object.assign(request, { resolve: over(request.resolve), reject: over(request.reject) });
    this._flush();
    this._tellSettled();
    return request.promise;
  }

  /** It was not answered in time. One that has not gone out never does. */
  #late(request) {
    const event = `document:${request.kind}`;
    const unsent = this.#state.withdraw(request);
    const [code, what] = unsent ? ["not_sent", "sent"] : ["timeout", "answered"];
    request.reject(new SynclineError(code, `${event} was not ${what} in time`, { event }));
    this._tellSettled();
  }

  /** Operations after revision `since` (default: the last `limit`), oldest first: {revision, horizon, operations}. */
  async history(given = {}) {
    const { since, limit = 100, signal } = checkOptions(given, ["since", "limit", "signal"]);
    return this._request("document:history", { unit: "utf-16", since, limit }, { signal });
  }

  /** The content as it was, with who made it so and when: {revision, content, user, client, time}. */
  async contentAt(revision, given = {}) {
    const { signal } = checkOptions(given, ["signal"]);
    const { text, ...answer } = await this._request("document:at", { unit: "utf-16", revision }, { signal });
    return text === undefined ? answer : { ...answer, content: text };
  }

  _flush() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this._guarded(() => {
      this.#scheduled = false;
      if (this.state !== "joined" || this.#catchingUp) return undefined;
      const submission = this.#state.take();
      if (!submission) return undefined;
      this.#patience.sent();
      const { seq, revision, item } = submission;
      const data = { document: this.name, seq, revision };
      if (item.operation) {
        try {
          this.client._send("document:operation", { ...data, operation: this.type.describe(item.operation) });
          return this.#expectAck(this.#state.flight);
        } catch (error) {
          return this.#failed(error); // larger than may be sent
        }
      }
      if (item.kind === "restore") data.to = item.to;
      if (item.kind === "initialize") data.content = item.content;
      const { flight } = this.#state;
      const current = () => this.state === "joined" && this.#state.flight === flight;
      this.#expectAck(flight);
      return this.client._ask(`document:${item.kind}`, data, (answer) => this._guarded(() => {
        if (!current()) this.#setDepths(answer); // its operation has come already
        else if (answer.revision <= this.revision) this.#reload("an acknowledged operation was not in the history");
        else this.#depths = answer;
      }), (error) => this._guarded(() => {
        if (current() && error.code !== "disconnected") this.#failed(error);
      }));
    }));
  }

  /** It is answered within `requestTimeout`, or the document is joined again, which tells its fate. */
  #expectAck(flight) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      if (this.state !== "joined" || this.#state.flight !== flight) return;
      if (this.client.buffered || this.#inbox.length) this.#expectAck(flight); // it may not have left, or the answer is here
      else this._renew();
    }, Math.min(this.client.options.requestTimeout, LONGEST));
  }

  #setDepths({ undo, redo }) {
    if (this.state === "joined") Object.assign(this.#state, { undo, redo });
    this.#tellSteps();
  }

  #tellSteps() {
    const steps = `${this.canUndo} ${this.canRedo}`;
    if (steps === this.#steps) return;
    this.#steps = steps;
    this._emit("steps", { undo: this.canUndo, redo: this.canRedo });
  }

  /** Answers those whose undo, redo or restore is over. */
  #finish() {
    const finished = this.#state.finished.splice(0);
    for (const [request, done] of finished) {
      if (done && this.#depths) Object.assign(this.#state, { undo: this.#depths.undo, redo: this.#depths.redo });
      this.#depths = null;
      if (done || request.kind !== "restore") request.resolve(done);
      else request.reject(new SynclineError("revision_unknown", "the document was created anew"));
    }
    this.#tellSteps();
  }

  // What the server says -------------------------------------------------------------------------------------------
  _push(event, data, { size }) {
    if (this.state !== "joined") return;
    this._guarded(() => {
      this.#do(event === "document:operation" ? this.#intake(data.revision, data.operations, data.hash) : () => this.#pushed(event, data), size);
    });
    if (this.#unread > this.client.options.maxUnread) this._again(); // its answer says the same in fewer steps
  }

  /** A task, which gives false when there was not time enough for all of it. One after the other, in slices: a page goes on meanwhile. `size` counts while it waits. */
  #do(task, size = 0) {
    this.#unread += size;
    if (this.#inbox.push({ task, size }) === 1) this.#work();
  }

  #work() {
    const until = globalThis.document?.visibilityState === "hidden" ? Infinity : performance.now() + SLICE; // there timers are slow
    const inbox = this.#inbox;
    while (inbox.length) {
      const through = this._guarded(() => inbox[0].task(until, () => this.#inbox === inbox));
      if (this.#inbox !== inbox) return; // dropped
      if (through !== false) this.#unread -= inbox.shift().size;
      if (inbox.length && performance.now() >= until) {
        this.#working = setTimeout(() => this.#work());
        this._flush(); // what is typed does not wait for all of it
        return;
      }
    }
    this._flush();
    this.#cursorLater();
  }

  #drop() {
    clearTimeout(this.#working);
    clearTimeout(this.#watch);
    this.#inbox = [];
    this.#unread = 0;
    this.#catchingUp = false;
  }

  #pushed(event, data) {
    if (event === "document:cursor") {
      for (const place of data.cursors) this.#place(place, data.revision);
      this._emit("cursors", this.cursors);
    } else if (event === "document:collaborator_joined") {
      const { document: _, anchor, head, ...who } = data;
      if (who.client === this.id) return;
      this.collaborators.set(who.client, who);
      this.#place({ client: who.client, anchor, head }, this.revision);
      this._emit("collaborators", this.collaborators);
      this._emit("cursors", this.cursors);
    } else if (event === "document:collaborator_left") {
      this.collaborators.delete(data.client);
      this.places.delete(data.client);
      this._emit("collaborators", this.collaborators);
      this._emit("cursors", this.cursors);
    } else if (event === "document:resync") this._renew();
    else if (event === "document:role") this._roleOf(data);
    else if (event === "document:removed") this._takenOut();
    else if (event === "document:ack" && data.revision <= this.revision && this.#state.isInFlight(this.id, data.seq)) {
      this.#reload("an acknowledged operation was not in the history");
    }
  }

  /** A task: takes committed operations in, as many at a time as there is time for; `then` when all are here. */
  #intake(revision, entries, hash, then = () => {}) {
    const counted = (some) => some.reduce((sum, { count = 1 }) => sum + count, 0);
    let at = revision - counted(entries);
    let next = 0;
    return (until, current) => {
      if (at > this.revision) return this._renew(); // something is missing: ask for it
      while (next < entries.length) {
        const began = performance.now();
        if (began >= until) return false;
        const part = entries.slice(next, next + Math.ceil(this.#speed * Math.max(0, until - began)));
        next += part.length;
        at += counted(part);
        if (!this.#receive(at, part) || !current()) return undefined;
        if (part.length < MEASURED) continue;
        const speed = part.length / Math.max(performance.now() - began, 0.1);
        this.#speed = Math.max(1 / SLICE, Math.min(speed, 4 * this.#speed));
      }
      const same = hash !== undefined ? this.#state.same(revision, hash) : null;
      if (same === false && worthHealing(this.#alarms)) return this.#reload("the content was not the server's");
      this.#alarms = same ? 0 : this.#alarms + (same === false);
      return then();
    };
  }

  /** Whether they fit. */
  #receive(revision, entries) {
    let from = this.revision;
    const visit = (operation, author) => {
      this.places.move(operation, this.collaborators.has(author) ? author : null, from, this.revision);
      from = this.revision;
      const end = author === null ? this.type.end(operation) : null;
      if (end !== null) this.#told = caret(end);
      else if (this.#told) this.#told = movedBy(this.type, this.#told, operation);
    };
    const { flight } = this.#state;
    try {
      this.#state.receive(revision, entries, (change) => this.#tell([change]), visit);
    } catch (error) {
      if (this.state !== "joined") return false; // who was told of it has ended it in the middle
      this._emit("error", error);
      this.#reload("what is here and the history did not fit together");
      return false;
    }
    if (flight !== null && this.#state.flight !== flight) {
      clearTimeout(this.#watch);
      this.#patience.answered();
      this._progressed();
    }
    this.#finish();
    this._tellSettled();
    this._emit("cursors", this.cursors);
    return true;
  }

  /** `_change` at once, while `content` is what it made: for who keeps in step with that. */
  #tellChange({ operation, ...about }) {
    const change = { operation: frozen(this.type.describe(operation)), ...about };
    this._happened("change", change); // first: in `_change` there may be others
    this._tellNow("_change", change);
    this._tellAll();
  }

  #tell(changes) {
    for (const change of changes) {
      if (this.#cursor) this.#cursor = movedBy(this.type, this.#cursor, change.operation);
      this.#tellChange(change);
    }
  }

  /** What is here is not what the server has: take its content. What was done here stays. */
  #reload(reason) {
    this.#whole = "healed";
    this.#alarms += 1;
    this._emit("error", new SynclineError("diverged", reason));
    if (this.state !== "joined") return; // ended by who was told
    if (this.#alarms > MOST_ALARMS) this._again(); // it does not help: no faster than the server can bear
    else this._attach();
  }

  /** @internal An error push; returns whether it was this document's operation. */
  _failed(error) {
    if (error.event !== "document:operation" || !this.#state.isInFlight(this.id, error.seq)) return error.event === "document:cursor";
    this.#do(() => {
      if (this.#state.isInFlight(this.id, error.seq)) this.#failed(refusal(error, error.event));
    });
    return true;
  }

  #failed(error) {
    const { code = "invalid_data", message } = error; // without one it could not be sent
    const { flight } = this.#state;
    clearTimeout(this.#watch); // it is answered
    if (NOT_YET.has(code)) return this._limited(flight, error);
    if (staysOpen(flight, code)) return this._again(error);
    const { item, seq } = flight;
    if (item.kind && code === `nothing_to_${item.kind}`) this.#state[item.kind] = 0;
    else if (item.kind && (item.kind !== "initialize" || code !== "document_exists")) item.reject(error);
    const before = this.content;
    const later = this.#state.queue.length > 0;
    const { changes, fits, operation: refused } = this.#state.refuse(seq);
    const dropped = this.#state.dropped.splice(0);
    this.#tell(changes);
    this.#finish();
    const content = later || !fits ? before : null;
    for (const operation of item.operation ? [refused, ...dropped] : []) {
      this._emit("refused", { code, message, operation: frozen(this.type.describe(operation)), content });
    }
    if (!fits) return this.#reload(`refused operation ${seq} does not fit what is here`);
    this._emit("cursors", this.cursors);
    this._tellSettled();
    this._flush();
    return this.#cursorLater();
  }

  // Cursors --------------------------------------------------------------------------------------------------------
  /** The others' cursors in `content`: client -> {client, user, name, role, anchor, head}. */
  get cursors() {
    const cursors = new Map();
    const local = (position) => frozen(this.#state.local(position));
    for (const [client, { anchor, head }] of this.places.known) {
      const who = this.collaborators.get(client);
      try {
        if (who) cursors.set(client, { ...who, anchor: local(anchor), head: local(head) });
      } catch {
        // A place that fits nothing here is not shown, until the server tells another one.
      }
    }
    return cursors;
  }

  /** Says where one's own cursor is in `content`; null hides it. Sent when no edit is on its way, and not too often. */
  setCursor(anchor, head = anchor) {
    if (this._error) throw this._error;
    if (anchor !== null) for (const position of [anchor, head]) this.type.checkPosition(this.#state.content, position);
    this.#cursor = anchor === null ? null : structuredClone({ anchor, head });
    this.#cursorLater();
  }

  /** Where another one's is, in the content of `revision`. */
  #place({ client, anchor = null, head = null }, revision) {
    if (!this.collaborators.has(client)) return;
    this.places.put(client, anchor === null || head === null ? null : { anchor, head }, revision, this.revision);
  }

  #cursorDue() {
    if (this.#cursor === undefined || this.state !== "joined" || !this.settled || this.#inbox.length) return false;
    return !sameRange(this.#cursor, this.#told);
  }

  #cursorLater() {
    if (this.#cursorTimer || !this.#cursorDue()) return;
    const wait = Math.max(0, this.#cursorAt + this.client.options.cursorInterval - performance.now());
    this.#cursorTimer = setTimeout(() => {
      this.#cursorTimer = 0;
      if (!this.#cursorDue() || this.client.buffered > 65_536) return;
      this.#cursorAt = performance.now();
      this.#told = this.#cursor; // first: what cannot be sent is not tried for ever
      const { anchor, head } = this.#cursor ?? { anchor: null, head: null };
      try {
        this.client._send("document:cursor", { document: this.name, revision: this.revision, anchor, head });
      } catch (error) {
        this._emit("error", error);
      }
    }, wait);
  }

  _hurry() {
    this.#state.hurry();
  }

  get _unsettled() {
    return this.#state.unsettled;
  }

  get _unsent() {
    return this.#lostWork(this.#state.lost());
  }

  /** As it is handed back: {content, base, operations}, or null. */
  #lostWork(lost) {
    if (!lost) return null;
    const [content, base] = [lost.content, lost.base].map((one) => this.type.show(one));
    return frozen({ content, base, operations: lost.operations.map((operation) => this.type.describe(operation)) });
  }

  _giveUp(error) {
    clearTimeout(this.#cursorTimer);
    this.#cursorTimer = 0;
    for (const request of this.#state.giveUp()) request.reject(error);
  }
}

/** A shared text: `content` is `text`, and there is more that can be done to it. */
export class SynclineText extends SynclineDocument {
  get text() {
    return this.content;
  }

  /**
   * Half characters that are put in become U+FFFD (one each, so the length stays); then `text` differs from what the operation says and
   * true is returned: compare. Throws RangeError, TypeError, SynclineError: operation_invalid where it would cut a character in two.
   */
  edit(operation) {
    if (!this.writable) throw this._refusal();
    const parts = ot.normalize(operation);
    const wanted = ot.keepsPairs(parts, this.text) ? null : ot.apply(this.text, parts);
    if (wanted === null) {
      this._edit(parts);
      return false;
    }
    const whole = ot.wellFormed(wanted);
    const put = parts.map((part) => (typeof part === "string" ? ot.wellFormed(part) : part));
    if (whole !== wanted && !ot.keepsPairs(put, this.text)) {
      throw new SynclineError("operation_invalid", "an operation may not split a surrogate pair");
    }
    this._edit(ot.diff(this.text, whole));
    return whole !== wanted;
  }

  insert(position, text) {
    return this.replace(position, 0, text);
  }

  delete(position, length) {
    return this.replace(position, length, "");
  }

  /** As `edit`; RangeError also for a position or a length below 0: in an operation it would be a deletion. */
  replace(position, length, text) {
    if (!this.writable) throw this._refusal();
    if (typeof text !== "string") throw new TypeError(`what is inserted is a string, not ${named(text)}`);
    if (!Number.isSafeInteger(length)) throw new TypeError(`positions and lengths are integers, not ${named(length)}`);
    this.type.checkPosition(this.text, position);
    if (length < 0 || position + length > this.text.length) {
      throw new RangeError(`${position}+${length} of ${this.text.length}: outside of the text`);
    }
    return this.edit([position, -length, text]);
  }

  /** Edits by the difference to `text`; returns as `edit`. */
  setText(text) {
    if (typeof text !== "string") throw new TypeError(`a text is a string, not ${named(text)}`);
    return this.edit(ot.diff(this.text, text));
  }

  /** The text as it was, with who made it so and when: {revision, text, user, client, time}. */
  async textAt(revision, options = {}) {
    const { content, ...answer } = await this.contentAt(revision, options);
    return { ...answer, text: content };
  }

  /** Who wrote what is there, of the server's text or a part of it: {revision, horizon, ranges}. */
  async blame(given = {}) {
    const { start, end, signal } = checkOptions(given, ["start", "end", "signal"]);
    return this._request("document:blame", { unit: "utf-16", start, end }, { signal });
  }
}

const sameRange = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
