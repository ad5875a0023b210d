/**
 * A shared text as one client holds it, without connection or clock. A part of the Syncline client: import syncline.js.
 *
 *   confirmed --in flight--> . --queue--> text      (confirmed: the server's text at `revision`)
 *
 * Wave's simplification of Jupiter: one thing is in flight, what is typed meanwhile is composed into the operation at
 * the end of the queue. The server puts an arriving operation to the left of its history, so here one's own win ties
 * against what comes in. The queue has more than that one operation where an undo, redo or restore waits: such a
 * request is sent after what was typed before it, what is typed after it goes behind it, and its operation, which the
 * server makes, arrives like a remote one. And what is typed while there is no session stays in steps, as it is to be undone.
 *
 * What is in flight keeps its (client, seq) until its fate is known: only after `attach` (the answer to a join) has
 * told that it is not committed it is sent again, at the new revision. After `adopt` (the answer had a text) it gets
 * another number. Nothing that was typed is dropped but by `start`, which hands it back.
 *
 * The same algorithm as src/client/document_state.py, which says more about why.
 */

import { checksum, ordered, ot, weigh } from "./syncline-ot.js";
import { SynclineError } from "./syncline-base.js";
import { continues, limitSteps } from "./syncline-strokes.js";

const { apply, compose, composeAll, diff, invert, keepsPairs, split, transform } = ot;

const REQUEST_WEIGHT = 16;
const MOST_TOLD = 16; // operations in one join
const MOST_STEPS = MOST_TOLD - 1; // edits that wait as steps of their own; one more may be in flight

/** One's own operation and another's, each as it applies after the other. */
const pass = (own, other) => [transform(own, other, "left"), transform(other, own, "right")];

/** The items as they apply after `operation`, and `operation` as it applies after them. */
function over(items, operation) {
  let other = operation;
  const moved = items.map((item) => {
    if (!item.operation) return item;
    const [own, passed] = pass(item.operation, other);
    other = passed;
    return { operation: own };
  });
  return [moved, other];
}

const effective = (items) => items.filter((item) => item.kind || item.operation.length);
const fit = (text, operation) => ot.baseLength(operation) <= text.length && keepsPairs(operation, text);

/** The local text and the history do not fit together. */
export class Diverged extends Error {}

export class DocumentState {
  /** `operationWeight`: tells that of one submission, `maxPending`: of all that waits (see `weigh`). */
  constructor(client, { operationWeight = () => 120_000, maxPending = 4_194_304 } = {}) {
    Object.assign(this, { client, operationWeight, maxPending });
    this.generation = null;
    this.revision = 0;
    this.attached = false;
    this.text = "";
    this.confirmed = "";
    this.seq = 0; // the newest that was ever sent
    this.flight = null; // {item, weight, seq, sender, sent, composites, tries}
    this.queue = []; // {operation}, or a request: {kind, to, ...}
    this.finished = []; // [request, whether it was done]; the reader empties it
    this.undo = 0; // steps that the server has for this client, about
    this.redo = 0;
    this.inDoubt = false; // whether what is in flight got in under an older name
    this.told = 0; // how much of the queue the join that is under way tells of: it must stay as it is
  }

  /** Whether every edit is acknowledged and every request answered. */
  get settled() {
    return this.flight === null && this.queue.length === 0;
  }

  /** How many operations and requests the server is not known to have. */
  get unsettled() {
    return this.#items.length;
  }

  get #items() {
    return this.flight ? [this.flight.item, ...this.queue] : this.queue;
  }

  get editsWait() {
    return this.#items.some((item) => item.operation);
  }

  get canUndo() {
    return this.undo + Number(this.editsWait);
  }

  get canRedo() {
    return this.editsWait ? 0 : this.redo;
  }

  /** An offset of the confirmed text in `text`. */
  local(offset) {
    let at = offset;
    for (const { operation } of this.#items) if (operation) at = ot.mapPosition(at, operation, "left"); // as the server will
    return Math.min(at, this.text.length);
  }

  // Local edits --------------------------------------------------------------------------------------------------
  /**
   * A canonical operation that fits. `slow`: what is in flight is not answered for long; steps of undo are kept then as they are without
   * a session. Throws buffer_full; nothing is changed then.
   */
  edit(operation, slow = false) {
    let joins = this.#joins(operation, this.attached && !slow);
    if (!this.#hasRoom(operation, joins)) {
      this.#limitSteps(1); // steps hold what was deleted again
      joins = this.#joins(operation, true);
      if (!this.#hasRoom(operation, joins)) throw new SynclineError("buffer_full", "too much is unsent");
    }
    const composed = joins ? compose(this.queue.pop().operation, operation) : operation;
    this.text = apply(this.text, operation);
    if (composed.length) this.queue.push({ operation: composed });
    this.#limitSteps();
  }

  /** Asks for an undo, redo or restore after what was typed so far: `request` is {kind, to}. Throws buffer_full. */
  ask(request) {
    if (this.#weight + REQUEST_WEIGHT > this.maxPending) throw new SynclineError("buffer_full", "too much is unsent");
    this.queue.push(request);
    return request;
  }

  /** Whether it is composed into the last edit; `always`: into any that no join is telling of. */
  #joins(operation, always) {
    const last = this.queue.length > this.told ? this.queue.at(-1).operation : undefined;
    return last !== undefined && (always || continues(last, operation));
  }

  #hasRoom(operation, joins) {
    const last = this.queue.at(-1)?.operation;
    const added = joins ? weigh(compose(last, operation)) - weigh(last) : weigh(operation);
    return this.#weight + added <= this.maxPending;
  }

  get #weight() {
    return this.queue.reduce((sum, { operation }) => sum + (operation ? weigh(operation) : REQUEST_WEIGHT), 0);
  }

  /** Steps that wait become one: each costs a round trip, and there may not be time for many. */
  hurry() {
    this.#limitSteps(1);
  }

  #limitSteps(most = MOST_STEPS) {
    this.queue = limitSteps(this.queue, most, compose, this.told);
  }

  /** What to send now: {seq, revision, item}, or null. Nothing more until the fate of that is known. */
  take() {
    if (!this.attached) return null;
    if (!this.flight) {
      if (!this.queue.length) return null;
      this.seq += 1;
      const weight = this.operationWeight();
      const item = this.#piece(this.queue.shift(), weight);
      this.flight = { item, weight, seq: this.seq, sender: this.client, sent: false, composites: false, tries: 0 };
    } else if (this.flight.sent || this.inDoubt) return null;
    else {
      if (this.flight.sender !== this.client) {
        this.seq += 1; // it did not get in under the old name
        Object.assign(this.flight, { seq: this.seq, sender: this.client });
      }
      const weight = this.operationWeight();
      // This server takes less than the one before it did.
      if (weight < this.flight.weight) Object.assign(this.flight, { item: this.#piece(this.flight.item, weight), weight });
    }
    this.flight.sent = true;
    return { seq: this.flight.seq, revision: this.revision, item: this.flight.item };
  }

  /** What of an item may be sent in one go; the rest waits. */
  #piece(item, weight) {
    if (!item.operation) return item;
    const [operation, rest] = split(item.operation, weight);
    if (rest.length) this.queue.unshift({ operation: rest });
    return { operation };
  }

  isInFlight(client, seq) {
    return this.flight !== null && this.flight.seq === seq && this.flight.sender === client;
  }

  // Joining ------------------------------------------------------------------------------------------------------
  /** The connection, or the server's session of this document, is gone. Local edits go on. */
  detach() {
    this.attached = false;
    if (this.flight) this.flight.sent = false;
  }

  /** No join is under way: what does nothing is left out. */
  #tidy() {
    this.queue = effective(this.queue);
    this.told = 0;
    this.#limitSteps();
  }

  /**
   * The edits that wait, as a join tells them: [{operation, seq}]; empty, too, when they are too many or too large.
   * Null: the answer must have every operation, one that went out under an older name is to be found among them.
   */
  tellPending() {
    this.#tidy();
    const told = this.queue.filter(({ operation }) => operation).map(({ operation }) => ({ operation }));
    if (this.flight?.item.operation) {
      if (this.flight.sender !== this.client) return null;
      told.unshift({ operation: this.flight.item.operation, seq: this.flight.seq });
    }
    const weight = told.reduce((sum, { operation }) => sum + weigh(operation), 0);
    if (told.length > MOST_TOLD || weight > this.operationWeight()) return [];
    this.told = this.queue.length;
    return told;
  }

  /** No request is asked (again): who waited for it is told that it is over. Returns them. */
  giveUp() {
    const requests = this.#items.filter(({ kind }) => kind);
    if (this.flight?.item.kind) this.flight = null;
    this.queue = this.queue.filter(({ kind }) => !kind);
    this.#tidy();
    return requests;
  }

  /** The edits that wait, as they are handed back when they have nowhere to go; null: there are none. */
  lost() {
    const edits = this.#items.flatMap(({ operation }) => (operation ? [operation] : []));
    return edits.length ? { text: this.text, base: this.confirmed, operation: composeAll(edits) } : null;
  }

  /** A text that is the first one, or another document's. Returns {changes, lost}. */
  start(generation, revision, text, seq = 0) {
    const lost = this.lost();
    for (const item of this.#items) if (item.kind) this.finished.push([item, false]);
    const operation = diff(this.text, text);
    this.flight = null;
    this.queue = [];
    this.#restart(generation, revision, text, seq);
    this.text = text;
    return { changes: operation.length ? [{ operation, origin: "reset", clients: [] }] : [], lost };
  }

  #restart(generation, revision, text, seq) {
    Object.assign(this, { generation, revision, attached: true, confirmed: text, inDoubt: false });
    this.seq = Math.max(this.seq, seq);
    this.#tidy();
  }

  /** The answer to a join without a text: `receive` the `missing` operations next. `seq`: the last one committed. */
  attach(seq, missing) {
    this.#tidy();
    this.attached = true;
    const flight = this.flight;
    const renamed = flight !== null && flight.sender !== this.client;
    this.inDoubt = renamed && missing > 0;
    if (flight) flight.sent = !renamed && seq >= flight.seq;
    this.seq = Math.max(this.seq, seq);
  }

  /**
   * A text of the generation that is here: what waits is carried over. `pending`: what `tellPending` told, as it
   * applies to `text`; without it, by the smallest difference to the confirmed text. Returns the changes of `text`;
   * throws Diverged when nothing fits: `start` then.
   */
  adopt(revision, text, seq, pending = null, origin = "remote") {
    const flight = this.flight;
    if (flight && flight.sender === this.client && seq >= flight.seq) {
      if (flight.item.kind) this.finished.push([flight.item, true]);
      else {
        if (!fit(this.confirmed, flight.item.operation)) throw new Diverged(`operation ${flight.seq} does not fit`);
        this.confirmed = apply(this.confirmed, flight.item.operation);
      }
    } else if (flight) {
      this.queue.unshift(flight.item);
      this.told += 1;
    }
    this.flight = null;
    const [items, operation] = this.#carryAsTold(text, pending) ?? over(this.queue, diff(this.confirmed, text));
    let local = text;
    for (const item of items) {
      if (!item.operation) continue;
      if (!fit(local, item.operation)) throw new Diverged("the edits do not fit their text");
      local = apply(local, item.operation);
    }
    const leads = fit(this.text, operation) && apply(this.text, operation) === local;
    const change = leads ? operation : diff(this.text, local);
    this.queue = items;
    this.#restart(this.generation, revision, text, seq);
    this.text = local;
    return change.length ? [{ operation: change, origin, clients: [] }] : [];
  }

  #carryAsTold(text, pending) {
    const told = this.queue.slice(0, this.told);
    if (pending === null || told.filter((item) => item.operation).length !== pending.length) return null;
    let [before, after, next] = [this.confirmed, text, 0];
    for (const [place, { operation }] of told.entries()) {
      if (!operation) continue;
      const carried = pending[next++];
      if (!fit(before, operation) || !fit(after, carried)) return null;
      before = apply(before, operation);
      after = apply(after, carried);
      told[place] = { operation: carried };
    }
    const [later, change] = over(this.queue.slice(this.told), diff(before, after));
    return [[...told, ...later], change];
  }

  /** Whether the text here is the server's at `revision`; null while that cannot be told. */
  same(revision, hash) {
    return this.settled && revision === this.revision ? checksum(this.text) === hash : null;
  }

  /** What to tell the server then. `adopt` its text. */
  diverged() {
    if (this.settled) this.confirmed = this.text; // what is healed is what the user sees
    return { revision: this.revision, hash: checksum(this.confirmed) };
  }

  /** Goes on under another client id: this one is another user's now. What was to be undone belongs to the old one. */
  rename(client) {
    this.client = client;
    this.undo = 0;
    this.redo = 0;
    if (this.flight?.item.kind) {
      this.finished.push([this.flight.item, false]);
      this.flight = null;
    }
  }

  // What the server says -------------------------------------------------------------------------------------------
  /**
   * Committed operations, the last one making `revision`; what is known already is skipped. `tell(change)` is called
   * when `text` has changed, `visit(operation, client)` for each of them, with null for the author when it is the ack
   * of an edit. Throws Diverged, RangeError; what was taken in before is told.
   */
  receive(revision, entries, tell, visit = () => {}) {
    let run = []; // of others, still to be taken in: their operations are applied to the texts in one go
    let clients = new Set();
    let start = this.revision; // before the run
    let change = null; // taken in and not told yet
    const note = ({ operation, origin, clients: by }) => {
      if (!operation.length) return;
      const first = change ? change.operation : [];
      const authors = new Set([...(change?.clients ?? []), ...by]);
      change = { operation: compose(first, operation), origin, clients: [...authors] };
    };
    const takeIn = (origin = "remote") => {
      if (run.length) note({ operation: this.#incoming(run), origin, clients: [...clients] });
      run = [];
      clients = new Set();
    };
    const told = () => {
      const [now] = [change, (change = null)];
      if (now) tell(now);
    };
    try {
      let at = revision - entries.reduce((sum, { count = 1 }) => sum + count, 0);
      for (const { client = "", seq = 0, operation, kind = "edit", count = 1 } of entries) {
        at += count;
        if (at <= this.revision) continue;
        if (at !== this.revision + count) throw new Diverged(`revision ${at} came after ${this.revision}`);
        const acked = this.isInFlight(client, seq);
        const asked = kind !== "edit" && client === this.client;
        if (acked || asked) takeIn();
        if (asked) told();
        if (acked) note(this.#acknowledge(client, operation, kind));
        else {
          if (this.flight && count > 1) this.flight.composites = true;
          if (!run.length) start = this.revision;
          run.push(operation);
          if (client && (asked || client !== this.client)) clients.add(client);
          if (asked) takeIn(kind);
        }
        this.revision = at;
        visit(operation, acked && kind === "edit" ? null : client);
        if (asked) told();
      }
      takeIn();
    } finally {
      if (run.length) this.revision = start; // it did not fit
      told();
    }
  }

  /** Returns what changes for the text. */
  #acknowledge(client, operation, kind) {
    const { item, seq, composites } = this.flight;
    if (kind !== (item.kind ?? "edit")) throw new Diverged(`operation ${seq} was committed as ${kind}`);
    const before = item.operation ? apply(this.confirmed, item.operation) : this.confirmed;
    const after = apply(this.confirmed, operation);
    // Transforming over operations that were composed is not the same as over one after another: then the server's
    // form is the right one. Else another form with another text is a fault.
    const another = item.operation && ordered(item.operation) !== ordered(operation) && before !== after;
    if (another && !composites) throw new Diverged(`operation ${seq} was committed as another one`);
    this.confirmed = after;
    this.flight = null;
    this.inDoubt = false;
    this.#countSteps(kind);
    if (item.kind) {
      this.finished.push([item, true]);
      return { operation: this.#passQueue([operation]), origin: kind, clients: [client] };
    }
    return { operation: another ? this.#passQueue([diff(before, after)]) : [], origin: "remote", clients: [] };
  }

  /** About right, until the server's next answer: it joins what is typed in one go into a step. */
  #countSteps(kind) {
    if (kind === "undo") [this.undo, this.redo] = [Math.max(0, this.undo - 1), this.redo + 1];
    else if (kind === "redo") [this.undo, this.redo] = [this.undo + 1, Math.max(0, this.redo - 1)];
    else [this.undo, this.redo] = [Math.max(1, this.undo), 0];
  }

  /** Takes committed operations in, one after another, as the server did: composing first would not be the same. */
  #incoming(operations) {
    this.confirmed = apply(this.confirmed, composeAll(operations));
    const item = this.flight?.item;
    if (!item?.operation) return this.#passQueue(operations);
    const passed = operations.map((operation) => {
      const [own, other] = pass(item.operation, operation);
      item.operation = own;
      return other;
    });
    return this.#passQueue(passed);
  }

  /** Operations that apply after what is in flight: through the queue, one by one, into the text. */
  #passQueue(operations) {
    const shown = operations.map((operation) => {
      const [moved, other] = over(this.queue, operation);
      this.queue = moved;
      return other;
    });
    if (!this.told) this.queue = effective(this.queue);
    const shownAtOnce = composeAll(shown);
    this.text = apply(this.text, shownAtOnce);
    return shownAtOnce;
  }

  /** What is in flight was refused: an operation is taken back exactly, what was typed meanwhile stays. */
  refuse(seq) {
    if (!this.isInFlight(this.client, seq)) return [];
    const { item } = this.flight;
    this.flight = null;
    if (item.kind) {
      this.finished.push([item, false]);
      return [];
    }
    if (!fit(this.confirmed, item.operation)) throw new Diverged(`refused operation ${seq} does not fit the text here`);
    const operation = this.#passQueue([invert(item.operation, this.confirmed)]);
    return operation.length ? [{ operation, origin: "refused", clients: [] }] : [];
  }
}
