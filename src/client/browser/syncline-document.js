/** Shared documents. A part of the Syncline client: import syncline.js. */

import {
  checkOptions, deferred, Joined, LOST_HISTORY, MOST_ALARMS, named, NOT_YET, randomId, refusal, SHARED_EVENTS, staysOpen, SynclineError,
  worthHealing,
} from "./syncline-base.js";
import { ot } from "./syncline-ot.js";
import { Diverged, DocumentState } from "./syncline-state.js";
import { Patience } from "./syncline-strokes.js";

const { apply, diff, endOf, keepsPairs, mapPosition, normalize, wellFormed } = ot;

const OPERATION_WEIGHT = 120_000; // of one submission: each character may take six bytes as JSON

/**
 * A shared text as this client holds it; syncline-state.js has the algorithm, this the conversation around it.
 *
 * Events: `change` ({operation, origin: local | remote | undo | redo | restore | refused | rebased | healed | reset,
 * clients}), `cursors`, `collaborators`, `settled`, `steps` ({undo, redo}), `refused` ({code, message, operation}),
 * `rebased` ({before, text, operation}), `reset` ({reason, unsent}), `state`, `error`.
 */
export class DocumentHandle extends Joined {
  static _events = [...SHARED_EVENTS, "change", "cursors", "collaborators", "refused", "steps", "rebased", "reset"];
  #state;
  #whole = null; // the next join asks for the text; this is why: "healed" or "rebased"
  #small = false; // the next join tells no edits: with them it was larger than may be sent
  #alarms = 0; // times in a row that the text was not the server's
  #depths = null; // what an answer said whose operation is still to come
  #steps = "0 0"; // as they were told last
  #scheduled = false;
  #patience = new Patience();
  #cursor = undefined; // own, in the local text; null: hidden, undefined: never said
  #told = null; // own, as the server has it: it follows the operations by the same rules
  #cursorTimer = 0;
  #cursorAt = 0;

  /** @internal */
  constructor(client, name, { client: id } = {}) {
    super(client, name, "document");
    const { maxPending } = client.options;
    const operationWeight = () => Math.max(64, Math.min(OPERATION_WEIGHT, client.maxMessage >> 3));
    this.#state = new DocumentState(id ?? randomId(), { operationWeight, maxPending });
    /** The others: client -> {client, user, name, role}. */
    this.collaborators = new Map();
    this.places = new Map(); // client -> {anchor, head} in the confirmed text
  }

  get id() {
    return this.#state.client;
  }

  get text() {
    return this.#state.text;
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

  /** How many steps of this client's there are, about; 0: none that is known of. */
  get canUndo() {
    return this.#state.canUndo;
  }

  get canRedo() {
    return this.#state.canRedo;
  }

  // Joining --------------------------------------------------------------------------------------------------------
  _join(resolve, reject) {
    const state = this.#state;
    const data = { document: this.name, type: "text", unit: "utf-16", client: this.id };
    state.detach();
    if (state.generation !== null) {
      if (this.#whole === null) {
        Object.assign(data, { revision: state.revision, generation: state.generation });
        const pending = state.tellPending();
        if (pending !== null) data.pending = this.#small ? [] : pending;
      } else if (this.#whole === "healed") data.diverged = state.diverged();
    }
    this.#told = null;
    this.client._ask("document:join", data, resolve, reject);
  }

  _mendJoin({ code }) {
    if (code === "client_taken") {
      this.#state.rename(randomId()); // the user is another one now, a new guest say
      this.#finish();
    } else if (LOST_HISTORY.has(code) && this.#whole === null && this.generation !== null) {
      this.#whole = "rebased";
    } else if (code === "message_too_large" && !this.#small) {
      this.#small = true;
    } else return false;
    return true;
  }

  _joinedWith(answer) {
    this.#small = false;
    this._roleIs(answer.role);
    this.collaborators = new Map();
    this.places = new Map();
    for (const { anchor, head, ...who } of answer.collaborators) {
      if (who.client === this.id) continue;
      this.collaborators.set(who.client, who);
      this.#place(who.client, anchor, head);
    }
    const state = this.#state;
    const settled = this.settled;
    if (answer.text !== null && answer.text !== undefined) this.#load(answer);
    else {
      state.attach(answer.seq, answer.operations.length);
      const joining = this._joining;
      this.#operations(answer.revision, answer.operations, answer.hash);
      if (this._joining !== joining) return; // a difference was found: another join is under way
      if (state.inDoubt && answer.more) return void this._attach();
      if (state.inDoubt) state.attach(answer.seq, 0); // all of it is here now
    }
    Object.assign(state, { undo: answer.undo ?? 0, redo: answer.redo ?? 0 });
    this.#tellSteps();
    this._emit("collaborators", this.collaborators);
    this._emit("cursors", this.cursors);
    if (settled !== this.settled) this._emit("settled", this.settled);
    this._flush();
    this.#cursorLater();
  }

  /** A whole text. One of the same history: what waits is carried over; else it has nowhere to go. */
  #load({ text, revision, generation, seq, pending, rebased }) {
    const state = this.#state;
    const first = state.generation === null;
    const before = state.text;
    const whole = this.#whole;
    this.#whole = null;
    let changes = null;
    let lost = null;
    if (generation === state.generation) {
      const origin = rebased ? "rebased" : (whole ?? (pending ? "remote" : "rebased"));
      try {
        changes = state.adopt(revision, text, seq, pending ?? null, origin);
        this.#tell(changes);
        if (origin === "rebased") {
          this._emit("rebased", { before, text: state.text, operation: diff(text, state.text) });
        }
      } catch (error) {
        if (!(error instanceof Diverged)) throw error;
        this._emit("error", new SynclineError("diverged", error.message));
      }
    }
    if (changes === null) {
      ({ changes, lost } = state.start(generation, revision, text, seq));
      if (first && !changes.length) this.#tellChange({ operation: [], origin: "reset", clients: [] });
      this.#tell(changes);
    }
    this.#finish();
    if (lost) this._emit("reset", { reason: "the document was created anew", unsent: lost });
  }

  _detach() {
    this.#state?.detach();
    super._detach();
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
    if (!this.writable) throw this._refusal();
    let parts = normalize(operation);
    const wanted = apply(this.text, parts);
    let mended = false;
    if (!keepsPairs(parts, this.text)) {
      const text = wellFormed(wanted);
      mended = text !== wanted;
      parts = diff(this.text, text);
    }
    if (!parts.length) return mended;
    const settled = this.settled;
    this.#state.edit(parts, this.#state.flight !== null && this.#patience.over);
    if (this.#cursor) this.#cursor = mapRange(this.#cursor, parts, "right"); // what is typed is before one's own
    this._flush();
    this.#tellChange({ operation: parts, origin: "local", clients: [this.id] });
    this._emit("cursors", this.cursors);
    if (settled !== this.settled) this._emit("settled", this.settled);
    this.#tellSteps();
    return mended;
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
    this.#checkPlace(position, length);
    return this.edit([position, -length, text]);
  }

  #checkPlace(position, length = 0) {
    for (const number of [position, length]) {
      if (!Number.isSafeInteger(number)) throw new TypeError(`positions and lengths are integers, not ${named(number)}`);
    }
    if (position < 0 || length < 0 || position + length > this.text.length) {
      throw new RangeError(`${position}+${length} of ${this.text.length}: outside of the text`);
    }
  }

  // Undo and history -----------------------------------------------------------------------------------------------
  /**
   * Takes back this client's last step, whatever others did since; what they wrote stays. Resolves with false when
   * there is none. Steps live on the server: they outlast reconnects, and reloads of a page that keeps `id`.
   */
  undo() {
    return this.#request("undo");
  }

  redo() {
    return this.#request("redo");
  }

  /** Makes the text what it was at `revision`, by an operation that can be undone. */
  restore(revision) {
    return this.#request("restore", revision);
  }

  #request(kind, to) {
    if (this.client._error) return Promise.reject(this.client._error); // edits wait for `connect`; a promise would wait for ever
    if (!this.writable) return Promise.reject(this._refusal(`document:${kind}`));
    const settled = this.settled;
    const request = { kind, to, ...deferred() };
    try {
      this.#state.ask(request);
    } catch (error) {
      return Promise.reject(error);
    }
    this._flush();
    if (settled) this._emit("settled", false);
    return request.promise;
  }

  /** Operations after revision `since` (default: the last `limit`), oldest first: {revision, horizon, operations}. */
  async history(given = {}) {
    const { since, limit = 100, signal } = checkOptions(given, ["since", "limit", "signal"]);
    return this._request("document:history", { unit: "utf-16", since, limit }, { signal });
  }

  /** The text as it was, with who made it so and when: {revision, text, user, client, time}. */
  async textAt(revision, given = {}) {
    const { signal } = checkOptions(given, ["signal"]);
    return this._request("document:at", { unit: "utf-16", revision }, { signal });
  }

  /** Who wrote what is there, of the server's text or a part of it: {revision, horizon, ranges}. */
  async blame(given = {}) {
    const { start, end, signal } = checkOptions(given, ["start", "end", "signal"]);
    return this._request("document:blame", { unit: "utf-16", start, end }, { signal });
  }

  _flush() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.state !== "joined") return undefined;
      const submission = this.#state.take();
      if (!submission) return undefined;
      this.#patience.sent();
      const { seq, revision, item } = submission;
      const data = { document: this.name, seq, revision };
      if (item.operation) {
        try {
          return this.client._send("document:operation", { ...data, operation: item.operation });
        } catch (error) {
          return this.#failed(error); // larger than may be sent
        }
      }
      if (item.kind === "restore") data.to = item.to;
      const { flight } = this.#state;
      const current = () => this.state === "joined" && this.#state.flight === flight;
      return this.client._ask(`document:${item.kind}`, data, (answer) => {
        if (!current()) this.#setDepths(answer); // its operation has come already
        else if (answer.revision <= this.revision) this.#reload("an acknowledged operation was not in the history");
        else this.#depths = answer;
      }, (error) => {
        if (current() && error.code !== "disconnected") this.#failed(error);
      });
    });
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
  _push(event, data) {
    if (this.state !== "joined") return;
    if (event === "document:operation") this.#operations(data.revision, data.operations, data.hash);
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
    else if (event === "document:role") this._roleOf(data);
    else if (event === "document:removed") this._takenOut();
    else if (event === "document:ack" && data.revision <= this.revision && this.#state.isInFlight(this.id, data.seq)) {
      this.#reload("an acknowledged operation was not in the history");
    }
  }

  #operations(revision, entries, hash) {
    const start = entries.reduce((at, { count = 1 }) => at - count, revision);
    if (start > this.revision) return void this._attach(); // something is missing: ask for it
    const settled = this.settled;
    const visit = (operation, author) => {
      this.#movePlaces(operation, author);
      if (author === null) this.#told = caret(endOf(operation));
      else if (this.#told) this.#told = mapRange(this.#told, operation);
    };
    const { flight } = this.#state;
    try {
      this.#state.receive(revision, entries, (change) => this.#tell([change]), visit);
    } catch (error) {
      this._emit("error", error);
      return this.#reload("the local text and the history did not fit together");
    }
    if (flight !== null && this.#state.flight !== flight) this.#patience.answered();
    this.#finish();
    this._emit("cursors", this.cursors);
    if (settled !== this.settled) this._emit("settled", this.settled);
    const same = hash !== undefined ? this.#state.same(revision, hash) : null;
    if (same === false && worthHealing(this.#alarms)) return this.#reload("the local text was not the server's");
    this.#alarms = same ? 0 : this.#alarms + (same === false);
    this._flush();
    return this.#cursorLater();
  }

  /** `_change` at once, while `text` is what it made: for who keeps in step with that. */
  #tellChange(change) {
    this._happened("change", change); // first: in `_change` there may be others
    this._tellNow("_change", change);
    this._tellAll();
  }

  #tell(changes) {
    for (const change of changes) {
      if (this.#cursor) this.#cursor = mapRange(this.#cursor, change.operation);
      this.#tellChange(change);
    }
  }

  /** What is here is not what the server has: take its text. What was typed stays. */
  #reload(reason) {
    this.#whole = "healed";
    this.#alarms += 1;
    this._emit("error", new SynclineError("diverged", reason));
    if (this.#alarms > MOST_ALARMS) this._again(); // it does not help: no faster than the server can bear
    else this._attach();
  }

  /** @internal An error push; returns whether it was this document's operation. */
  _failed(error) {
    if (error.event !== "document:operation" || !this.#state.isInFlight(this.id, error.seq)) return error.event === "document:cursor";
    this.#failed(refusal(error, error.event));
    return true;
  }

  #failed(error) {
    const { code, message } = error;
    const { flight } = this.#state;
    if (NOT_YET.has(code)) return this._limited(flight, error);
    if (staysOpen(flight, code)) return this._again(error);
    const { item, seq } = flight;
    if (item.kind && code === `nothing_to_${item.kind}`) this.#state[item.kind] = 0;
    else if (item.kind) item.reject(error);
    let changes;
    try {
      changes = this.#state.refuse(seq);
    } catch (fault) {
      if (!(fault instanceof Diverged)) throw fault;
      return this.#reload(fault.message);
    }
    this.#tell(changes);
    this.#finish();
    if (item.operation) this._emit("refused", { code, message, operation: item.operation });
    this._emit("cursors", this.cursors);
    if (this.settled) this._emit("settled", true);
    this._flush();
    return this.#cursorLater();
  }

  // Cursors --------------------------------------------------------------------------------------------------------
  /** The others' cursors in the local text: client -> {client, user, name, role, anchor, head}. */
  get cursors() {
    const cursors = new Map();
    const local = (offset) => this.#state.local(offset);
    for (const [client, { anchor, head }] of this.places) {
      const who = this.collaborators.get(client);
      if (who) cursors.set(client, { ...who, anchor: local(anchor), head: local(head) });
    }
    return cursors;
  }

  /** Says where one's own cursor is in `text`; null hides it. Sent when no edit is on its way, and not too often. Throws as `insert`. */
  setCursor(anchor, head = anchor) {
    if (this._error) throw this._error;
    if (anchor !== null) for (const offset of [anchor, head]) this.#checkPlace(offset);
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

  _hurry() {
    this.#state.hurry();
  }

  get _unsettled() {
    return this.#state.unsettled;
  }

  get _unsent() {
    return this.#state.lost();
  }

  _giveUp(error) {
    clearTimeout(this.#cursorTimer);
    this.#cursorTimer = 0;
    for (const request of this.#state.giveUp()) request.reject(error);
  }
}

const caret = (offset) => ({ anchor: offset, head: offset });
/** By the server's rule: what is inserted at a cursor leaves it where it is. */
const mapRange = ({ anchor, head }, operation, stick = "left") => ({
  anchor: mapPosition(anchor, operation, stick),
  head: mapPosition(head, operation, stick),
});
const sameRange = (one, other) => one?.anchor === other?.anchor && one?.head === other?.head;
