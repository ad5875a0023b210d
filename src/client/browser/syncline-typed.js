/**
 * Shared documents of other types than text. A part of the Syncline client: import syncline.js.
 *
 *   confirmed --in flight--> . --waiting--> content     (confirmed: the server's content at `revision`)
 *
 * One operation is in flight; what is done meanwhile is composed into the one that waits, and an undo or redo waits for
 * its turn behind that. The server puts an arriving operation to the left of its history, so here one's own win ties
 * ("left"). The same as src/client/typed_state.py.
 * `type` says what operations are: {name, empty, parse, parseContent, hash, resolve, apply, compose, transform, invert, diff,
 * isIdentity}, none of which changes its arguments; `parse` takes whether the server has checked it already.
 */

import {
  deferred, frozen, Joined, longer, LOST_HISTORY, MOST_ALARMS, NOT_YET, randomId, refusal, SHARED_EVENTS, staysOpen, SynclineError,
  worthHealing,
} from "./syncline-base.js";
import { json } from "./syncline-json.js";
import { richText } from "./syncline-rich.js";
import { continues, limitSteps, Patience } from "./syncline-strokes.js";

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

const MOST_STEPS = 64; // edits that wait as steps of their own
const MOST_REQUESTS = 1000; // that wait: a key held down is not to fill the memory
const ENTRIES_IN_STATE = 1000; // a server that tells so many in a join may go on with pushes

/**
 * A document of a type in TYPES. Events: `change` ({operation, origin: local | remote | undo | redo | restore | refused |
 * rebased | healed | reset}), `collaborators`, `settled`, `steps` ({undo, redo}), `refused` ({code, message, operation}), `reset`
 * ({reason, unsent}), `state`, `error`.
 */
export class TypedHandle extends Joined {
  static _events = [...SHARED_EVENTS, "change", "collaborators", "refused", "steps", "reset"];
  #confirmed;
  #content;
  #flight = null; // {item, seq, sender, sent, tries}
  #queue = []; // items: {operation}, or a request {kind, to, resolve, reject}; a last operation is composed with what is done
  #undo = 0; // steps that the server has for this client, about
  #redo = 0;
  #depths = null; // what an answer said whose operation is still to come
  #steps = "0 0"; // as they were told last
  #size = 0; // of what waits, at most
  #seq = 0;
  #whole = null; // the next join asks for the content; this is why: "healed" or "rebased"
  #alarms = 0; // times in a row that the content was not the server's
  #scheduled = false;
  #patience = new Patience();

  /** @internal */
  constructor(client, name, { type, client: id } = {}) {
    super(client, name, "document");
    this.type = TYPES[type];
    if (!this.type) throw new SynclineError("invalid_data", `no document type ${type}`);
    this.id = id ?? randomId();
    this.#confirmed = this.#content = this.type.empty();
    this.revision = 0;
    this.generation = null;
    this.collaborators = new Map();
  }

  /** As it is here, own edits included. It is frozen: to change it is an error, and it stays as it is when the document changes. */
  get content() {
    return frozen(this.#content);
  }

  #tellChange(operation, origin) {
    this._emit("change", { operation: frozen(operation), origin });
  }

  get settled() {
    return this.#flight === null && this.#queue.length === 0;
  }

  get #editsWait() {
    return this.#items.some(({ operation }) => operation);
  }

  /** How many steps of this client's there are, about; 0: none that is known of. */
  get canUndo() {
    return this.#undo + Number(this.#editsWait);
  }

  get canRedo() {
    return this.#editsWait ? 0 : this.#redo;
  }

  get writable() {
    return this.generation !== null && this.role !== "reader" && !(this._error ?? this.client._error);
  }

  // Local edits ----------------------------------------------------------------------------------------------------
  /** An operation on the content as it is here. Throws an error with a `code`, and changes nothing, when it does not fit. */
  submit(operation) {
    if (!this.writable) throw this._refusal();
    const [content, told] = this.type.resolve(this.#content, this.type.parse(operation));
    this.#measure(told);
    const last = this.#queue.at(-1)?.operation;
    // What is done while there is no session stays in steps, as it is to be undone.
    const slow = this.#flight !== null && this.#patience.over;
    const joins = last && ((this.state === "joined" && !slow) || (this.type === TYPES["rich-text"] && continues(last, told)));
    const both = joins ? this.#composed(last, told) : null;
    const waiting = both ?? told;
    const settled = this.settled;
    this.#content = content;
    if (both) this.#queue.pop();
    if (!this.type.isIdentity(waiting)) this.#queue.push({ operation: waiting });
    this.#limitSteps();
    this._flush();
    this.#tellChange(told, "local");
    if (settled !== this.settled) this._emit("settled", this.settled);
    this.#tellSteps();
  }

  /** What waits is bounded; added up, and measured exactly only where that is about to matter. */
  #measure(told) {
    const { maxPending } = this.client.options;
    const added = JSON.stringify(told).length;
    let size = (this.#queue.length ? this.#size : 0) + added;
    if (size > maxPending) {
      this.#limitSteps(1); // steps hold what was taken away again
      const last = this.#queue.at(-1)?.operation;
      const after = last ? JSON.stringify(this.type.compose(last, told)).length : added;
      const others = this.#queue.slice(0, last ? -1 : undefined);
      size = others.reduce((sum, { operation }) => sum + (operation ? JSON.stringify(operation).length : 0), after);
      if (size > maxPending) throw new SynclineError("buffer_full");
    }
    this.#size = size;
  }

  #limitSteps(most = MOST_STEPS) {
    const compose = (first, second) => {
      const operation = this.#composed(first, second);
      return operation && this.type.split?.(operation)[1] ? null : operation;
    };
    this.#queue = limitSteps(this.#queue, most, compose);
  }

  /** Two edits as one; null: it would be larger than may be sent, and be refused where each of them is not. */
  #composed(first, second) {
    const operation = this.type.compose(first, second);
    const { maxMessage } = this.client;
    if (this.#size < maxMessage >> 2) return operation;
    const envelope = { event: "document:operation", data: this.#submission(Number.MAX_SAFE_INTEGER, operation) };
    return longer(JSON.stringify(envelope), maxMessage) ? null : operation;
  }

  #submission(seq, operation) {
    return { document: this.name, seq, revision: this.revision, operation };
  }

  /** Submits the difference to `value`. Throws as `submit`, also when there is none. */
  setContent(value) {
    if (!this.writable) throw this._refusal();
    const operation = this.type.diff(this.#content, this.type.parseContent(value));
    if (!this.type.isIdentity(operation)) this.submit(operation);
  }

  // Undo -----------------------------------------------------------------------------------------------------------
  /**
   * Takes back this client's last step, whatever others did since; what they did stays. Resolves with false when there is
   * none. Steps live on the server: they outlast reconnects, and reloads of a page that keeps `id`.
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

  #request(kind, to) {
    if (this.client._error) return Promise.reject(this.client._error);
    if (!this.writable) return Promise.reject(this._refusal(`document:${kind}`));
    if (this.#queue.filter((item) => item.kind).length >= MOST_REQUESTS) return Promise.reject(new SynclineError("buffer_full"));
    const settled = this.settled;
    const request = { kind, to, ...deferred() };
    this.#queue.push(request);
    this._flush();
    if (settled) this._emit("settled", false);
    return request.promise;
  }

  #setDepths({ undo, redo }) {
    if (this.state === "joined") [this.#undo, this.#redo] = [undo, redo];
    this.#tellSteps();
  }

  #tellSteps() {
    const steps = `${this.canUndo} ${this.canRedo}`;
    if (steps === this.#steps) return;
    this.#steps = steps;
    this._emit("steps", { undo: this.canUndo, redo: this.canRedo });
  }

  /** A request is over: its operation has come, or there is none. */
  #finish(request, done) {
    if (done && this.#depths) [this.#undo, this.#redo] = [this.#depths.undo, this.#depths.redo];
    this.#depths = null;
    if (done || request.kind !== "restore") request.resolve(done);
    else request.reject(new SynclineError("revision_unknown", "the document was created anew"));
    this.#tellSteps();
  }

  /** Guesses that are never too high, until the server's answer: it joins what is typed in one go into a step. */
  #countStep(kind) {
    if (kind === "undo") [this.#undo, this.#redo] = [Math.max(0, this.#undo - 1), this.#redo + 1];
    else if (kind === "redo") [this.#undo, this.#redo] = [this.#undo + 1, Math.max(0, this.#redo - 1)];
    else [this.#undo, this.#redo] = [Math.max(1, this.#undo), 0];
  }

  // Out ------------------------------------------------------------------------------------------------------------
  #take() {
    const item = this.#queue.shift();
    if (!item.operation || !this.type.split) return item;
    const [operation, rest] = this.type.split(item.operation);
    if (rest) this.#queue.unshift({ operation: rest });
    return { operation };
  }

  _flush() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.state !== "joined") return undefined;
      if (this.#flight === null && this.#queue.length) {
        this.#flight = { item: this.#take(), seq: (this.#seq += 1), sender: this.id, sent: false, tries: 0 };
      }
      const flight = this.#flight;
      if (flight === null || flight.sent) return undefined;
      flight.sent = true;
      this.#patience.sent();
      const { item, seq } = flight;
      if (item.operation) {
        try {
          return this.client._send("document:operation", this.#submission(seq, item.operation));
        } catch (error) {
          return this.#refused(error); // larger than may be sent
        }
      }
      const data = { document: this.name, seq, revision: this.revision };
      if (item.kind === "restore") data.to = item.to;
      const current = () => this.state === "joined" && this.#flight === flight;
      return this.client._ask(`document:${item.kind}`, data, (answer) => {
        if (!current()) this.#setDepths(answer); // its operation has come already
        else if (answer.revision <= this.revision) this.#reload("an operation was committed unnoticed");
        else this.#depths = answer;
      }, (error) => {
        if (current() && error.code !== "disconnected") this.#refused(error);
      });
    });
  }

  // Joining --------------------------------------------------------------------------------------------------------
  _join(resolve, reject) {
    const data = { document: this.name, type: this.type.name, client: this.id };
    if (this.#flight) this.#flight.sent = false;
    if (this.generation !== null && this.#whole === null) Object.assign(data, { revision: this.revision, generation: this.generation });
    else if (this.#whole === "healed") data.diverged = this.#diverged();
    this.client._ask("document:join", data, resolve, reject);
  }

  _mendJoin({ code }) {
    if (code === "client_taken") this.#rename(); // the user is another one now, a new guest say
    else if (LOST_HISTORY.has(code) && this.#whole === null && this.generation !== null) this.#whole = "rebased";
    else return false;
    return true;
  }

  /** Goes on under another client id. What was to be undone belongs to the old one; an edit in flight may have got in under it. */
  #rename() {
    this.id = randomId();
    [this.#undo, this.#redo] = [0, 0];
    const item = this.#flight?.item;
    if (item?.kind) {
      this.#flight = null;
      this.#finish(item, false);
    }
    this.#tellSteps();
  }

  #isInFlight(client, seq) {
    return this.#flight?.seq === seq && this.#flight.sender === client;
  }

  _joinedWith(answer) {
    const settled = this.settled;
    this._roleIs(answer.role);
    this.collaborators = new Map(answer.collaborators.map((who) => [who.client, who]));
    this.collaborators.delete(this.id);
    if (answer.operations === null) {
      if (!this.#load(answer)) return;
    } else {
      const joining = this._joining;
      this.#operations(answer.revision, answer.operations, answer.hash);
      if (this._joining !== joining) return; // a difference was found: another join is under way
      const more = answer.more ?? answer.operations.length >= ENTRIES_IN_STATE;
      if (this.#flight && this.#flight.sender !== this.id) {
        if (more) return void this._attach(); // it may be among those that are still to come
        Object.assign(this.#flight, { seq: (this.#seq += 1), sender: this.id }); // it did not get in under the old name
      } else if (this.#flight && this.#flight.seq <= answer.seq) {
        // It is committed. A long list goes on in pushes: then it is among those.
        if (!more) return void this.#reload("an operation was committed unnoticed");
        this.#flight.sent = true;
      }
    }
    this.#setDepths({ undo: answer.undo ?? 0, redo: answer.redo ?? 0 });
    this._emit("collaborators", this.collaborators);
    if (settled !== this.settled) this._emit("settled", this.settled);
    this._flush();
  }

  /** A whole content. One of the same history: what waits is carried over by the difference. False: it cannot be read. */
  #load({ content, revision, generation, seq }) {
    const whole = this.#whole;
    this.#whole = null;
    let fresh;
    try {
      fresh = this.type.parseContent(content);
    } catch (error) {
      this.#whole = whole;
      this._emit("error", new SynclineError("diverged", `the content cannot be read: ${error.message}`));
      this._again();
      return false;
    }
    const again = generation === this.generation;
    const healing = again && whole === "healed";
    let own = this.#items;
    let news = null;
    let lost = null;
    try {
      if (again && this.#flight?.sender === this.id && seq >= this.#flight.seq) {
        const [item] = own; // it is in the content
        own = own.slice(1);
        if (item.operation) this.#confirmed = this.type.apply(this.#confirmed, item.operation);
        else this.#finish(item, true);
      }
      if (again && (own.length || healing)) {
        const [moved, passed] = this.#over(own, this.type.diff(this.#confirmed, fresh));
        if (healing) { // what is seen need not be what it had to be
          const view = moved.reduce((made, { operation }) => (operation ? this.type.apply(made, operation) : made), fresh);
          news = this.type.diff(this.#content, view);
          this.#content = view;
        } else {
          news = passed;
          this.#content = this.type.apply(this.#content, passed);
        }
        own = moved;
      }
    } catch {
      news = null;
    }
    if (news === null) {
      lost = own.filter((item) => item.operation).map((item) => item.operation);
      for (const item of own) if (item.kind) this.#finish(item, false);
      own = [];
      this.#content = fresh;
    }
    Object.assign(this, { revision, generation });
    this.#confirmed = fresh;
    this.#seq = Math.max(seq, again ? this.#seq : 0);
    this.#flight = null;
    this.#queue = own.filter((item) => item.kind || !this.type.isIdentity(item.operation));
    this.#limitSteps();
    const changed = news === null || !healing || !this.type.isIdentity(news);
    if (changed) this.#tellChange(news, news === null ? "reset" : (whole ?? "rebased"));
    if (lost?.length) this._emit("reset", { reason: "the document was created anew", unsent: lost });
    return true;
  }

  /** The items as they apply after `other`, and `other` as it applies after them. */
  #over(items, other) {
    let passed = other;
    const moved = items.map((item) => {
      if (item.kind) return item;
      const operation = this.type.transform(item.operation, passed, "left");
      passed = this.type.transform(passed, item.operation, "right");
      return { operation };
    });
    return [moved, passed];
  }

  // What the server says -------------------------------------------------------------------------------------------
  _push(event, data) {
    if (this.state !== "joined") return;
    if (event === "document:operation") this.#operations(data.revision, data.operations, data.hash);
    else if (event === "document:resync") this._attach();
    else if (event === "document:role") this._roleOf(data);
    else if (event === "document:removed") this._takenOut();
    else if (event === "document:ack") {
      if (data.revision <= this.revision && this.#isInFlight(this.id, data.seq)) this.#reload("an operation was committed unnoticed");
    } else if (event === "document:collaborator_joined" || event === "document:collaborator_left") {
      if (event.endsWith("left")) this.collaborators.delete(data.client);
      else if (data.client !== this.id) this.collaborators.set(data.client, data);
      this._emit("collaborators", this.collaborators);
    }
  }

  #operations(revision, entries, hash) {
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
        const own = this.#isInFlight(client, seq);
        const item = own ? this.#flight.item : null;
        if (own && item.kind !== kind) throw new SynclineError("diverged", `${item.kind ?? "edit"} ${seq} was committed as ${kind ?? "edit"}`);
        if (own) {
          this.#flight = null;
          this.#patience.answered();
          this.#countStep(kind);
        }
        if (!item?.operation) this.#arrive(arrived, client === this.id && kind ? kind : "remote");
        if (item?.kind) this.#finish(item, true);
      }
    } catch (error) {
      this.#reload(error.message);
      return;
    }
    if (settled !== this.settled) this._emit("settled", this.settled);
    this.#tellSteps();
    const same = hash !== undefined ? this.#same(revision, hash) : null;
    if (same === false && worthHealing(this.#alarms)) return this.#reload(`the content of revision ${revision} is not the server's`);
    this.#alarms = same ? 0 : this.#alarms + (same === false);
    return this._flush();
  }

  /** Whether the content here is the server's at `revision`; null while that cannot be told. */
  #same(revision, hash) {
    return this.settled && revision === this.revision ? this.type.hash(this.#content) === hash : null;
  }

  /** What to tell the server then. */
  #diverged() {
    if (this.settled) this.#confirmed = this.#content; // what is healed is what the user sees
    return { revision: this.revision, hash: this.type.hash(this.#confirmed) };
  }

  #arrive(operation, origin) {
    let passed = operation;
    if (this.#flight) [[this.#flight.item], passed] = this.#over([this.#flight.item], passed);
    [this.#queue, passed] = this.#over(this.#queue, passed);
    this.#queue = this.#queue.filter((item) => item.kind || !this.type.isIdentity(item.operation));
    if (this.type.isIdentity(passed)) return;
    const [content, told] = this.type.resolve(this.#content, passed);
    this.#content = content;
    this.#tellChange(told, origin);
  }

  /** What is here is not what the server has: take its content. What was done here stays. */
  #reload(reason) {
    this.#whole = "healed";
    this.#alarms += 1;
    this._emit("error", new SynclineError("diverged", reason));
    if (this.#alarms > MOST_ALARMS) this._again(); // it does not help: no faster than the server can bear
    else this._attach();
  }

  /** @internal An error push; returns whether it was this document's operation. */
  _failed(error) {
    if (error.event !== "document:operation" || !this.#isInFlight(this.id, error.seq)) return error.event === "document:cursor";
    this.#refused(refusal(error, error.event));
    return true;
  }

  #refused(error) {
    const { code, message } = error;
    const { item } = this.#flight;
    if (NOT_YET.has(code)) return this._limited(this.#flight, error);
    if (staysOpen(this.#flight, code)) return this._again(error);
    this.#flight = null;
    if (item.kind) {
      if (code !== `nothing_to_${item.kind}`) item.reject(error);
      else if (item.kind === "undo") this.#undo = 0;
      else this.#redo = 0;
      this.#finish(item, false);
    } else {
      try {
        this.#arrive(this.type.invert(item.operation, this.#confirmed), "refused");
      } catch (fault) {
        return this.#reload(fault.message);
      }
      this._emit("refused", { code, message, operation: frozen(item.operation) });
    }
    if (this.settled) this._emit("settled", true);
    this.#tellSteps();
    return this._flush();
  }

  get #items() {
    return this.#flight ? [this.#flight.item, ...this.#queue] : this.#queue;
  }

  _hurry() {
    this.#limitSteps(1);
  }

  get _unsettled() {
    return this.#items.length;
  }

  get _unsent() {
    return this.#items.flatMap(({ operation }) => (operation ? [operation] : []));
  }

  _giveUp(error) {
    const requests = this.#items.filter(({ kind }) => kind); // not asked (again): who waited for it is told that it is over
    if (this.#flight?.item.kind) this.#flight = null;
    this.#queue = this.#queue.filter(({ kind }) => !kind);
    for (const request of requests) request.reject(error);
  }
}
