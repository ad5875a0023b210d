/**
 * A shared document as one client holds it, without connection or clock. A part of the Syncline client: import syncline.js.
 *
 *   confirmed --in flight--> . --queue--> content      (confirmed: the server's content at `revision`)
 *
 * Wave's simplification of Jupiter: one thing is in flight, what is done meanwhile is composed into the operation at
 * the end of the queue. The server puts an arriving operation to the left of its history, so here one's own win ties
 * against what comes in. The queue has more than that one operation where an undo, redo or restore waits: such a
 * request is sent after what was done before it, what is done after it goes behind it, and its operation, which the
 * server makes, arrives like a remote one. And what is done while there is no session stays in steps, as it is to be undone.
 *
 * What is in flight keeps its (client, seq) until its fate is known: only after `attach` (the answer to a join) has
 * told that it is not committed it is sent again, at the new revision. After `adopt` (the answer had a content) it gets
 * another number. Nothing that was done is dropped but by `start`, which hands it back.
 *
 * The same algorithm as src/client/document_state.py, which says more about why. What contents and operations are is
 * the type's business (syncline-types.js).
 */

import { SynclineError } from "./syncline-base.js";
import { continues } from "./syncline-strokes.js";

const REQUEST_BULK = 4096; // what a request that waits counts; what it is to put in beside that
const MOST_TOLD = 16; // operations in one join
const MOST_STEPS = MOST_TOLD - 1; // edits that wait as steps of their own; one more may be in flight

/** What is here and the history do not fit together. */
export class Diverged extends Error {}

export class DocumentState {
  #size = 0; // bulk of the queue, at most
  #bulks = new WeakMap(); // item -> its bulk, of those that were measured
  #apart = new WeakMap(); // item -> [the one behind it, the limit in which the two do not fit]

  /** `limit`: tells the bulk of one submission, `maxPending`: of all that waits. */
  constructor(type, client, { limit = () => 120_000, maxPending = 4_194_304 } = {}) {
    Object.assign(this, { type, client, limit, maxPending });
    this.generation = null;
    this.revision = 0;
    this.attached = false;
    this.content = type.empty();
    this.confirmed = this.content;
    this.seq = 0; // the newest that was sent under this id
    this.flight = null; // {item, limit, seq, sender, sent, composites, tries}
    this.queue = []; // {operation}, or a request: {kind, to, ...}
    this.finished = []; // [request, whether it was done]; the reader empties it
    this.dropped = []; // operations that went with what was refused; the reader empties it
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

  /** The operations that the server is not known to have, in order. */
  get edits() {
    return this.#items.flatMap(({ operation }) => (operation ? [operation] : []));
  }

  get #editsWait() {
    return this.#items.some(({ operation }) => operation);
  }

  get canUndo() {
    return this.undo + Number(this.#editsWait);
  }

  get canRedo() {
    return this.#editsWait ? 0 : this.redo;
  }

  /** A position of the confirmed content in `content`. */
  local(position) {
    const moved = this.edits.reduce((at, operation) => this.type.move(operation, at, "left"), position); // as the server will
    return this.type.within(this.content, moved);
  }

  // Local edits --------------------------------------------------------------------------------------------------
  /**
   * Does an operation; returns it with what was really there. `slow`: what is in flight is not answered for long; steps of undo are
   * kept then as they are without a session. Throws what the type throws when it does not fit, and buffer_full; nothing is changed then.
   */
  edit(operation, slow = false) {
    const [content, told] = this.type.commit(this.content, operation);
    const own = this.type.lean(told);
    const joins = this.#makeRoom(own) || this.#joins(own, this.attached && !slow);
    const composed = joins ? this.type.compose(this.queue.at(-1).operation, own) : own;
    this.content = content;
    this.queue.splice(joins ? -1 : this.queue.length, 1, ...(this.type.isIdentity(composed) ? [] : [{ operation: composed }]));
    this.#limitSteps();
    return told;
  }

  /** Asks for an undo, redo, restore or initialize after what was done so far: `request` is {kind, to, content}. Throws buffer_full. */
  ask(request) {
    const bulk = REQUEST_BULK + (request.content === undefined ? 0 : JSON.stringify(request.content).length);
    this.#size = (this.queue.length ? this.#size : 0) + bulk;
    if (this.#size > this.maxPending) {
      this.#limitSteps(1, Infinity); // steps hold what was taken away again
      this.#size = this.#bulkOf(this.queue) + bulk;
      if (this.#size > this.maxPending) throw new SynclineError("buffer_full", "too much is unsent");
    }
    this.queue.push(Object.assign(request, { bulk }));
    return request;
  }

  /** Whether it is composed into the last edit; `always`: into any that no join is telling of. */
  #joins(operation, always) {
    const last = this.queue.length > this.told ? this.queue.at(-1).operation : undefined;
    return last !== undefined && (always || continues(this.type.stroke(last), this.type.stroke(operation)));
  }

  /** Added up, and measured where that is about to matter. True: it has room only if it is composed into the last edit. */
  #makeRoom(operation) {
    const added = this.type.bulk(operation);
    this.#size = (this.queue.length ? this.#size : 0) + added;
    if (this.#size <= this.maxPending) return false;
    this.#limitSteps(1, Infinity); // steps hold what was taken away again
    const joins = this.#joins(operation, true);
    const last = joins ? this.type.bulk(this.type.compose(this.queue.at(-1).operation, operation)) : added;
    this.#size = this.#bulkOf(this.queue.slice(0, joins ? -1 : undefined)) + last;
    if (this.#size > this.maxPending) throw new SynclineError("buffer_full", "too much is unsent");
    return joins;
  }

  #bulkOf(items) {
    return items.reduce((sum, item) => sum + (item.operation ? this.#bulk(item) : item.bulk), 0);
  }

  /** Of an edit that waits: measured once. */
  #bulk(item) {
    if (!this.#bulks.has(item)) this.#bulks.set(item, this.type.bulk(item.operation));
    return this.#bulks.get(item);
  }

  /** Steps that wait become one: each costs a round trip, and there may not be time for many. */
  hurry() {
    this.#limitSteps(1);
  }

  /**
   * Of more edits than `most` those become one that stand beside one another and are smallest together, unless that could not be sent
   * in one go: so all stay about as large, and each costs the server little of what it has in a join. O(edits), and the
   * work on those that are new: of two that do not fit together that is remembered.
   */
  #limitSteps(most = MOST_STEPS, bulk = null) {
    const steps = this.queue.slice(this.told);
    let count = steps.filter(({ operation }) => operation).length;
    if (count <= most) return;
    const limit = bulk ?? this.limit();
    const bulks = steps.map((item) => (item.operation ? this.#bulk(item) : Infinity));
    const sum = (at) => {
      const [behind, most] = this.#apart.get(steps[at]) ?? [];
      return behind === steps[at + 1] && limit <= most ? Infinity : bulks[at] + bulks[at + 1];
    };
    const together = bulks.slice(1).map((_, at) => sum(at));
    while (count > most) {
      const least = together.reduce((one, other) => Math.min(one, other), Infinity);
      if (least === Infinity) break;
      const at = together.indexOf(least);
      const operation = this.type.compose(steps[at].operation, steps[at + 1].operation);
      if (limit !== Infinity && !this.#fits(operation, limit)) {
        together[at] = Infinity;
        this.#apart.set(steps[at], [steps[at + 1], limit]);
        continue;
      }
      const composed = { operation };
      steps.splice(at, 2, composed);
      bulks.splice(at, 2, this.#bulk(composed));
      together.splice(at, 1);
      for (const pair of [at - 1, at]) if (pair >= 0 && pair < together.length) together[pair] = sum(pair);
      count -= 1;
    }
    this.queue.splice(this.told, Infinity, ...steps);
  }

  /** Whether it can go out in one go. */
  #fits(operation, limit) {
    return this.type.split(operation, limit).length < 2;
  }

  /** What to send now: {seq, revision, item}, or null. Nothing more until the fate of that is known. */
  take() {
    if (!this.attached) return null;
    if (!this.flight) {
      if (!this.queue.length) return null;
      const limit = this.limit();
      const [item, ...rest] = this.#pieces(this.queue[0], limit);
      this.queue.splice(0, 1, ...rest);
      this.seq += 1;
      this.flight = { item, limit, seq: this.seq, sender: this.client, sent: false, composites: false, tries: 0 };
    } else if (this.flight.sent || this.inDoubt) return null;
    else {
      if (this.flight.sender !== this.client) {
        this.seq += 1; // it did not get in under the old name
        Object.assign(this.flight, { seq: this.seq, sender: this.client });
      }
      const limit = this.limit(); // this server may take less than the one before it did
      if (limit < this.flight.limit) {
        const [item, ...rest] = this.#pieces(this.flight.item, limit);
        this.queue.unshift(...rest);
        Object.assign(this.flight, { item, limit });
      }
    }
    this.flight.sent = true;
    return { seq: this.flight.seq, revision: this.revision, item: this.flight.item };
  }

  /** An item as it may be sent: one or more, each in one go. */
  #pieces(item, limit) {
    const pieces = item.operation ? this.type.split(item.operation, limit) : [];
    return pieces.length ? pieces.map((operation) => ({ operation })) : [item];
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
    this.queue = this.#effective(this.queue);
    this.told = 0;
    this.#limitSteps();
  }

  #effective(items) {
    return items.filter((item) => item.kind || !this.type.isIdentity(item.operation));
  }

  /**
   * The edits that wait, as a join tells them: [{operation, seq}]. When they are too many or too large: empty, of types whose work
   * drifts. Null: the answer must have every operation; also because one that went out under an older name is to be found among them.
   */
  tellPending() {
    this.#tidy();
    const told = this.queue.filter(({ operation }) => operation).map(({ operation }) => ({ operation }));
    if (this.flight?.item.operation) {
      if (this.flight.sender !== this.client) return null;
      told.unshift({ operation: this.flight.item.operation, seq: this.flight.seq });
    }
    const parsed = told.every(({ operation }) => this.#fits(operation, Infinity)); // not more than anybody takes
    if (told.length > MOST_TOLD || this.#bulkOf(told) > this.limit() || !parsed) return this.type.drifts() ? [] : null;
    this.told = this.queue.length;
    return told;
  }

  /** Whether there are edits that `tellPending` has not told, and that could be lost over a content. */
  get isUntold() {
    return !this.type.drifts() && this.queue.slice(this.told).some(({ operation }) => operation);
  }

  /** Nobody wants the request any more. Whether it had not gone out: then it never will. */
  withdraw(request) {
    const place = this.queue.indexOf(request);
    if (place < 0) return false;
    this.told -= Number(place < this.told);
    this.queue.splice(place, 1);
    return true;
  }

  /** No request is asked (again): who waited for it is told that it is over. Returns them. */
  giveUp() {
    const requests = this.#items.filter(({ kind }) => kind);
    if (this.flight?.item.kind) this.flight = null;
    this.queue = this.queue.filter(({ kind }) => !kind);
    this.#tidy();
    return requests;
  }

  /** With what they really remove, one after the other from the confirmed content on; as they wait from the first one that does not fit. */
  #asTold(operations) {
    const told = [];
    let content = this.confirmed;
    try {
      for (const operation of operations) {
        const [after, whole] = this.type.commit(content, operation);
        content = after;
        told.push(whole);
      }
    } catch {
      // the rest as it is
    }
    return [...told, ...operations.slice(told.length)];
  }

  /** The edits that wait, as they are handed back when they have nowhere to go; null: there are none. */
  lost() {
    const operations = this.#asTold(this.edits);
    return operations.length ? { content: this.content, base: this.confirmed, operations } : null;
  }

  /** A content that is the first one, or another document's. Returns {changes, lost}. */
  start(generation, revision, content, seq = 0) {
    const lost = this.lost();
    for (const item of this.#items) if (item.kind) this.finished.push([item, false]);
    const operation = this.type.diff(this.content, content);
    this.flight = null;
    this.queue = [];
    this.#restart(generation, revision, content, seq);
    this.content = content;
    return { changes: this.#changes({ operation, origin: "reset", clients: [] }), lost };
  }

  #changes(change) {
    return this.type.isIdentity(change.operation) ? [] : [change];
  }

  #restart(generation, revision, content, seq) {
    Object.assign(this, { generation, revision, attached: true, confirmed: content, inDoubt: false });
    this.seq = Math.max(this.seq, seq);
    this.#tidy();
  }

  /** The answer to a join without a content: `receive` the `missing` operations next; one counts for what follows. `seq`: the last one committed. */
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
   * A content of the generation that is here: what waits is carried over. `pending`: what `tellPending` told, as it
   * applies to `content`; without it, by the smallest difference to the confirmed content. Returns the changes of `content`;
   * throws Diverged when nothing fits: `start` then.
   */
  adopt(revision, content, seq, pending = null, origin = "remote") {
    const flight = this.flight;
    if (flight && flight.sender === this.client && seq >= flight.seq) {
      if (flight.item.kind) this.finished.push([flight.item, true]);
      else [this.confirmed] = this.#fitted(this.confirmed, flight.item.operation);
    } else if (flight) {
      this.queue.unshift(flight.item);
      this.told += 1;
    }
    this.flight = null;
    const [items, operation] = this.#carryAsTold(content, pending) ?? this.#over(this.queue, this.type.drift(this.confirmed, content));
    let local = content;
    for (const item of items) {
      if (!item.operation) continue;
      const [content, fitted] = this.#fitted(local, item.operation);
      [local, item.operation] = [content, this.type.lean(fitted)];
    }
    const change = this.#change(local, operation);
    this.queue = items;
    this.#restart(this.generation, revision, content, seq);
    this.content = local;
    return this.#changes({ operation: change, origin, clients: [] });
  }

  /** `commit`, of what may not fit. Throws Diverged. */
  #fitted(content, operation) {
    try {
      return this.type.commit(content, operation);
    } catch (error) {
      throw new Diverged(`the edits do not fit: ${error.message}`, { cause: error });
    }
  }

  /** What makes `wanted` of what is seen: `operation`, if it does. */
  #change(wanted, operation) {
    try {
      const [seen, told] = this.type.commit(this.content, operation);
      if (this.#equal(seen, wanted)) return told;
    } catch {
      // it is another way
    }
    return this.type.diff(this.content, wanted);
  }

  #equal(one, other) {
    return one === other || this.type.isIdentity(this.type.diff(one, other));
  }

  #carryAsTold(content, pending) {
    const told = this.queue.slice(0, this.told);
    if (pending === null || told.filter((item) => item.operation).length !== pending.length) return null;
    let [before, after, next] = [this.confirmed, content, 0];
    try {
      for (const [place, { operation }] of told.entries()) {
        if (!operation) continue;
        const carried = this.type.parse(pending[next++], true);
        [before] = this.type.commit(before, operation);
        [after] = this.type.commit(after, carried);
        told[place] = { operation: this.type.lean(carried) };
      }
    } catch {
      return null;
    }
    const [later, change] = this.#over(this.queue.slice(this.told), this.type.drift(before, after));
    return [[...told, ...later], change];
  }

  /** Whether the content here is the server's at `revision`; null while that cannot be told. */
  same(revision, hash) {
    return this.settled && revision === this.revision ? this.type.hash(this.content) === hash : null;
  }

  /** What to tell the server then. `adopt` its content. */
  diverged() {
    if (this.settled) this.confirmed = this.content; // what is healed is what the user sees
    return { revision: this.revision, hash: this.type.hash(this.confirmed) };
  }

  /** Goes on under another client id: this one is another user's now. What was to be undone belongs to the old one. */
  rename(client) {
    this.client = client;
    this.seq = 0;
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
   * when `content` has changed, `visit(operation, client)` for each of them, with null for the author when it is the ack
   * of an edit. Throws Diverged, and what the type throws; what was taken in before is told.
   */
  receive(revision, entries, tell, visit = () => {}) {
    let run = []; // of others, still to be taken in: their operations are done in one go
    let clients = new Set();
    let start = this.revision; // before the run
    let change = null; // taken in and not told yet
    const note = ({ operation, origin, clients: by }) => {
      if (operation === null || this.type.isIdentity(operation)) return;
      const authors = new Set([...(change?.clients ?? []), ...by]);
      const both = change ? this.type.compose(change.operation, operation) : operation;
      change = { operation: both, origin, clients: [...authors] };
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
      for (const { client = "", seq = 0, operation: given, kind = "edit", count = 1 } of entries) {
        at += count;
        if (at <= this.revision) continue;
        if (at !== this.revision + count) throw new Diverged(`revision ${at} came after ${this.revision}`);
        const operation = this.type.parse(given, true);
        const asked = kind !== "edit" && client === this.client;
        if (asked || this.isInFlight(client, seq)) takeIn();
        if (asked) told();
        const acked = this.isInFlight(client, seq); // who was told may have given it up
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

  /** Returns what changes for the content. */
  #acknowledge(client, operation, kind) {
    const { item, seq, composites } = this.flight;
    if (kind !== (item.kind === "initialize" ? "restore" : item.kind ?? "edit")) throw new Diverged(`operation ${seq} was committed as ${kind}`);
    const after = this.type.apply(this.confirmed, operation);
    // Transforming over operations that were composed is not the same as over one after another: then the server's
    // form is the right one. Else another form with another content is a fault.
    let correction = null;
    if (item.operation && !this.type.isSame(item.operation, operation)) {
      correction = this.type.drift(this.type.apply(this.confirmed, item.operation), after);
      if (this.type.isIdentity(correction)) correction = null;
      else if (!composites) throw new Diverged(`operation ${seq} was committed as another one`);
    }
    this.confirmed = after;
    this.flight = null;
    this.inDoubt = false;
    this.#countSteps(kind);
    if (item.kind) {
      this.finished.push([item, true]);
      return { operation: this.#passQueue([operation]), origin: kind, clients: [client] };
    }
    return { operation: this.#passQueue(correction ? [correction] : []), origin: "remote", clients: [] };
  }

  /** A guess until the server's answer: it joins what is typed in one go into a step, so that edits count as one. */
  #countSteps(kind) {
    if (kind === "undo") [this.undo, this.redo] = [Math.max(0, this.undo - 1), this.redo + 1];
    else if (kind === "redo") [this.undo, this.redo] = [this.undo + 1, Math.max(0, this.redo - 1)];
    else [this.undo, this.redo] = [Math.max(1, this.undo), 0];
  }

  /** Takes committed operations in, one after another, as the server did: composing first would not be the same. */
  #incoming(operations) {
    this.confirmed = this.type.apply(this.confirmed, this.type.composeAll(operations));
    const item = this.flight?.item;
    if (!item?.operation) return this.#passQueue(operations);
    const passed = operations.map((operation) => {
      const [own, other] = this.type.cross(item.operation, operation);
      item.operation = this.type.lean(own);
      return other;
    });
    return this.#passQueue(passed);
  }

  /** Operations that apply after what is in flight: through the queue, one by one, into what is seen. Returns the change of that, or null. */
  #passQueue(operations) {
    if (!operations.length) return null;
    const passed = operations.map((operation) => {
      const [moved, other] = this.#over(this.queue, operation);
      this.queue = moved;
      return other;
    });
    if (!this.told) this.queue = this.#effective(this.queue);
    const [content, told] = this.type.commit(this.content, this.type.composeAll(passed));
    this.content = content;
    return told;
  }

  /** The items as they apply after `operation`, and `operation` as it applies after them. */
  #over(items, operation) {
    let other = operation;
    const moved = items.map((item) => {
      if (!item.operation) return item;
      const [own, passed] = this.type.cross(item.operation, other);
      other = passed;
      return { operation: this.type.lean(own) };
    });
    for (const [at, item] of items.entries()) {
      const [behind, most] = this.#apart.get(item) ?? []; // two that do not fit together will hardly do so now
      if (behind && behind === items[at + 1]) this.#apart.set(moved[at], [moved[at + 1], most]);
    }
    return [moved, other];
  }

  /**
   * What is in flight was refused: an operation is taken back exactly, what was done meanwhile stays. Edits that were made within what it
   * had made are gone with it: they are in `dropped` then. So is all that waits where it can not be taken back: `fits` says whether it
   * could. Returns {changes, fits, operation}: what was refused, as it was told.
   */
  refuse(seq) {
    if (!this.isInFlight(this.client, seq)) return { changes: [], fits: true };
    const { item } = this.flight;
    this.flight = null;
    if (item.kind) {
      this.finished.push([item, false]);
      return { changes: [], fits: true };
    }
    const waiting = this.queue;
    const [refused, ...told] = this.#asTold([item.operation, ...this.edits]);
    const change = (operation) => this.#changes({ operation, origin: "refused", clients: [] });
    try {
      const [queue, operation] = this.#over(waiting, this.type.invert(item.operation, this.confirmed));
      const [content, seen] = this.type.commit(this.content, operation);
      Object.assign(this, { content, queue: this.told ? queue : this.#effective(queue) });
      const nothing = (one) => this.type.isIdentity(one.operation);
      const pairs = waiting.map((one, at) => [one, queue[at]]).filter(([one]) => one.operation);
      this.dropped.push(...told.filter((_, at) => nothing(pairs[at][1]) && !nothing(pairs[at][0])));
      return { changes: change(seen), fits: true, operation: refused };
    } catch {
      const operation = this.type.diff(this.content, this.confirmed);
      this.dropped.push(...told);
      this.queue = waiting.filter(({ kind }) => kind);
      this.told = 0;
      this.content = this.confirmed;
      return { changes: change(operation), fits: false, operation: refused };
    }
  }
}
