/** Shared documents. A part of the Syncline client: import syncline.js. */

import { Joined, SynclineError } from "./syncline-base.js";
import { ordered, ot, weigh } from "./syncline-ot.js";

const { apply, compose, composeAll, diff, endOf, invert, keepsPairs, mapPosition, normalize, split, transform } = ot;
const { wellFormed } = ot;

const OPERATION_WEIGHT = 120_000; // of one submission: each character may take six bytes as JSON

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
