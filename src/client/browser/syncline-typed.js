/**
 * Shared documents of other types than text. A part of the Syncline client: import syncline.js.
 *
 *   confirmed --in flight--> . --waiting--> content     (confirmed: the server's content at `revision`)
 *
 * One operation is in flight; what is done meanwhile is composed into the one that waits. The server puts an arriving
 * operation to the left of its history, so here one's own win ties ("left"). The same as src/client/typed_state.py.
 * `type` says what operations are: {name, empty, parse, parseContent, resolve, apply, compose, transform, invert, diff,
 * isIdentity}, none of which changes its arguments; `parse` takes whether the server has checked it already.
 */

import { Joined, SynclineError } from "./syncline-base.js";
import { json } from "./syncline-json.js";
import { richText } from "./syncline-rich.js";

/** What an operation of a rich text cannot do gets its code here: the algebra throws TypeError and RangeError. */
function coded(call) {
  return (...args) => {
    try {
      return call(...args);
    } catch (error) {
      throw error instanceof SynclineError ? error : new SynclineError("operation_invalid", error.message);
    }
  };
}

function resolveRich(content, operation) {
  if (richText.baseLength(operation) > richText.length(content)) {
    throw new SynclineError("operation_out_of_range", "the operation reaches past the end of the document");
  }
  return [richText.apply(content, operation), operation];
}

export const TYPES = {
  json,
  "rich-text": {
    ...richText,
    parse: coded(richText.parse),
    parseContent: coded(richText.parseContent),
    resolve: coded(resolveRich),
  },
};

const KEPT = new Set("document_unavailable unavailable limit_exceeded rate_limited timeout buffer_full".split(" "));
const DOUBTFUL = new Set(["revision_unknown", "sequence_conflict", "not_joined", "internal"]);
const LOST_HISTORY = new Set(["revision_unknown", "history_trimmed"]);
const MOST_TRIES = 3;
const ENTRIES_IN_STATE = 1000; // a server that tells so many in a join may go on with pushes

/**
 * A document of a type in TYPES. Events: `change` ({operation, origin: local | remote | refused | rebased | reset}),
 * `collaborators`, `settled`, `refused` ({code, message, operation}), `reset` ({reason, unsent}), `state`, `error`.
 */
export class TypedHandle extends Joined {
  #confirmed;
  #content;
  #flight = null; // {operation, seq, sent, tries}
  #waiting = null;
  #size = 0; // of what waits, at most
  #seq = 0;
  #whole = false; // the next join asks for the content
  #scheduled = false;

  /** @internal */
  constructor(client, name, { type, client: id } = {}) {
    super(client, name);
    this.type = TYPES[type];
    if (!this.type) throw new SynclineError("invalid_data", `no document type ${type}`);
    this.id = id ?? crypto.randomUUID();
    this.#confirmed = this.#content = this.type.empty();
    this.revision = 0;
    this.generation = null;
    this.role = null;
    this.collaborators = new Map();
  }

  /** As it is here, own edits included; not to be changed. */
  get content() {
    return this.#content;
  }

  get settled() {
    return this.#flight === null && this.#waiting === null;
  }

  get writable() {
    return this.generation !== null && this.role !== "reader" && this.state !== "left" && this.state !== "failed";
  }

  // Local edits ----------------------------------------------------------------------------------------------------
  /** An operation on the content as it is here. Throws an error with a `code`, and changes nothing, when it does not fit. */
  submit(operation) {
    if (!this.writable) throw new SynclineError(this.role === "reader" ? "forbidden" : "not_joined");
    const [content, told] = this.type.resolve(this.#content, this.type.parse(operation));
    const waiting = this.#waiting === null ? told : this.type.compose(this.#waiting, told);
    this.#measure(told, waiting);
    const settled = this.settled;
    this.#content = content;
    this.#waiting = this.type.isIdentity(waiting) ? null : waiting;
    this.#flush();
    this._emit("change", { operation: told, origin: "local" });
    if (settled !== this.settled) this._emit("settled", this.settled);
  }

  /** What waits is bounded; added up, and measured exactly only where that is about to matter. */
  #measure(told, waiting) {
    const { maxPending } = this.client.options;
    let size = (this.#waiting === null ? 0 : this.#size) + JSON.stringify(told).length;
    if (size > maxPending && (size = JSON.stringify(waiting).length) > maxPending) throw new SynclineError("buffer_full");
    this.#size = size;
  }

  /** Submits the difference to `value`. */
  setContent(value) {
    const operation = this.type.diff(this.#content, this.type.parseContent(value));
    if (!this.type.isIdentity(operation)) this.submit(operation);
  }

  #flush() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.state !== "joined") return;
      if (this.#flight === null && this.#waiting !== null) {
        const [operation, rest] = this.type.split ? this.type.split(this.#waiting) : [this.#waiting, null];
        this.#flight = { operation, seq: (this.#seq += 1), sent: false, tries: 0 };
        this.#waiting = rest;
      }
      if (this.#flight === null || this.#flight.sent) return;
      this.#flight.sent = true;
      const { seq, operation } = this.#flight;
      this.client._send("document:operation", { document: this.name, seq, revision: this.revision, operation });
    });
  }

  // Joining --------------------------------------------------------------------------------------------------------
  _join(resolve, reject) {
    const data = { document: this.name, type: this.type.name, client: this.id };
    if (this.#flight) this.#flight.sent = false;
    if (this.generation !== null && !this.#whole) Object.assign(data, { revision: this.revision, generation: this.generation });
    this.client._ask("document:join", data, resolve, reject);
  }

  _mendJoin({ code }) {
    if (!LOST_HISTORY.has(code) || this.#whole || this.generation === null) return false;
    this.#whole = true;
    return true;
  }

  _joinedWith(answer) {
    const settled = this.settled;
    this.role = answer.role;
    this.collaborators = new Map(answer.collaborators.map((who) => [who.client, who]));
    this.collaborators.delete(this.id);
    if (answer.operations === null) this.#load(answer);
    else {
      const joining = this._joining;
      this.#operations(answer.revision, answer.operations);
      if (this._joining !== joining) return; // a difference was found: another join is under way
      if (this.#flight && this.#flight.seq <= answer.seq) {
        // It is committed. A long list goes on in pushes: then it is among those.
        if (answer.operations.length < ENTRIES_IN_STATE) return void this.#reload("an operation was committed unnoticed");
        this.#flight.sent = true;
      }
    }
    this._emit("collaborators", this.collaborators);
    if (settled !== this.settled) this._emit("settled", this.settled);
    this.#flush();
  }

  /** A whole content. One of the same history: what waits is carried over by the difference. */
  #load({ content, revision, generation, seq }) {
    this.#whole = false;
    const fresh = this.type.parseContent(content);
    const own = [this.#flight?.operation, this.#waiting].filter((operation) => operation);
    const again = generation === this.generation;
    let news = null;
    let carried = own;
    if (own.length && again) {
      try {
        [carried, news] = this.#over(own, this.type.diff(this.#confirmed, fresh));
        this.#content = this.type.apply(this.#content, news);
      } catch {
        news = null;
      }
    }
    const lost = news === null && own.length ? own : null;
    if (news === null) {
      carried = [];
      this.#content = fresh;
    }
    Object.assign(this, { revision, generation });
    this.#confirmed = fresh;
    this.#seq = Math.max(seq, again ? this.#seq : 0);
    this.#flight = null;
    const waiting = carried.reduce((one, two) => this.type.compose(one, two), []);
    this.#waiting = carried.length && !this.type.isIdentity(waiting) ? waiting : null;
    this._emit("change", news === null ? { operation: null, origin: "reset" } : { operation: news, origin: "rebased" });
    if (lost) this._emit("reset", { reason: "the document was created anew", unsent: lost });
  }

  /** The operations as they apply after `other`, and `other` as it applies after them. */
  #over(operations, other) {
    let passed = other;
    const moved = operations.map((operation) => {
      const after = this.type.transform(operation, passed, "left");
      passed = this.type.transform(passed, operation, "right");
      return after;
    });
    return [moved, passed];
  }

  // What the server says -------------------------------------------------------------------------------------------
  _push(event, data) {
    if (this.state !== "joined") return;
    if (event === "document:operation") this.#operations(data.revision, data.operations);
    else if (event === "document:resync") this._attach();
    else if (event === "document:ack") {
      if (data.revision <= this.revision && this.#flight?.seq === data.seq) this.#reload("an operation was committed unnoticed");
    } else if (event === "document:collaborator_joined" || event === "document:collaborator_left") {
      if (event.endsWith("left")) this.collaborators.delete(data.client);
      else if (data.client !== this.id) this.collaborators.set(data.client, data);
      this._emit("collaborators", this.collaborators);
    }
  }

  #operations(revision, entries) {
    const settled = this.settled;
    let number = revision - entries.length;
    try {
      for (const { client, seq, operation, kind } of entries) {
        number += 1;
        if (number <= this.revision) continue;
        if (number !== this.revision + 1) throw new SynclineError("diverged", `revision ${number} after ${this.revision}`);
        const arrived = this.type.parse(operation, true); // the server has checked its size: formats add up
        this.#confirmed = this.type.apply(this.#confirmed, arrived);
        this.revision = number;
        if (client === this.id && this.#flight?.seq === seq && kind === undefined) this.#flight = null;
        else this.#arrive(arrived, "remote");
      }
    } catch (error) {
      this.#reload(error.message);
      return;
    }
    if (settled !== this.settled) this._emit("settled", this.settled);
    this.#flush();
  }

  #arrive(operation, origin) {
    let passed = operation;
    if (this.#flight) [[this.#flight.operation], passed] = this.#over([this.#flight.operation], passed);
    if (this.#waiting) [[this.#waiting], passed] = this.#over([this.#waiting], passed);
    if (this.#waiting && this.type.isIdentity(this.#waiting)) this.#waiting = null;
    if (this.type.isIdentity(passed)) return;
    const [content, told] = this.type.resolve(this.#content, passed);
    this.#content = content;
    this._emit("change", { operation: told, origin });
  }

  /** What is here is not what the server has: take its content. What was done here stays. */
  #reload(reason) {
    this.#whole = true;
    this._emit("error", new SynclineError("diverged", reason));
    this._attach();
  }

  /** @internal An error push; returns whether it was this document's operation. */
  _failed({ code, message, event, seq }) {
    if (event !== "document:operation" || this.#flight?.seq !== seq) return event === "document:cursor";
    const { operation } = this.#flight;
    if (KEPT.has(code) || (DOUBTFUL.has(code) && (this.#flight.tries += 1) < MOST_TRIES)) {
      this._again();
      return true;
    }
    this.#flight = null;
    try {
      this.#arrive(this.type.invert(operation, this.#confirmed), "refused");
    } catch (error) {
      this.#reload(error.message);
      return true;
    }
    this._emit("refused", { code, message, operation });
    if (this.settled) this._emit("settled", true);
    this.#flush();
    return true;
  }

  /** Leaves; edits that were not sent are gone (see `settled`). */
  async leave() {
    const joined = this.state === "joined";
    this._ended(new SynclineError("closed", "the document was left"));
    this._state("left");
    if (this.client.documents.get(this.name) === this) this.client.documents.delete(this.name);
    if (joined) await this.client.request("document:leave", { document: this.name });
  }
}
