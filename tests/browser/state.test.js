// The state machine of shared documents without sockets or clocks: thousands of seeded schedules against a small model
// of the server. Undo, refusals, lost connections, every answer to a join, damaged texts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ot } from "../../src/client/browser/syncline.js";
import { Diverged, DocumentState } from "../../src/client/browser/syncline-state.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";
import { randomJson, randomRich } from "./random.mjs";
import { randomOperation, seeded } from "./reference.mjs";

const text = typeOf("text");
const RANDOM = { text: randomOperation, "rich-text": randomRich, json: randomJson };

/** The history, with plain stacks of inverses: what an undo should give is the server's business. */
class Server {
  constructor(random, type = text) {
    Object.assign(this, { random, type, contents: [type.empty()], entries: [], steps: new Map(), answers: {}, healed: 0 });
    this.often = { refuse: 0, composites: 0, whole: 0, pruned: 0 };
  }

  get content() {
    return this.contents.at(-1);
  }

  chance(name) {
    return this.random() < this.often[name];
  }

  commit(client, seq, operation, kind) {
    const inverse = { revision: this.entries.length + 1, operation: this.type.invert(operation, this.content) };
    const [content, told] = this.type.commit(this.content, operation);
    const steps = this.stepsOf(client);
    steps[kind === "undo" ? "redo" : "undo"].push(inverse);
    if (kind === "edit" || kind === "restore") steps.redo = [];
    this.entries.push({ client, seq, operation: told, ...(kind !== "edit" && { kind }) });
    this.contents.push(content);
  }

  stepsOf(client) {
    if (!this.steps.has(client)) this.steps.set(client, { undo: [], redo: [] });
    return this.steps.get(client);
  }

  since(revision, operation) {
    return this.entries.slice(revision).reduce((moved, entry) => this.type.transform(moved, entry.operation, "left"), operation);
  }

  /** Returns an error code or null. */
  submit(client, { seq, revision, item }) {
    if (this.entries.some((entry) => entry.client === client && entry.seq === seq)) return null;
    if (this.chance("refuse")) return "document_too_large";
    if (item.operation) this.commit(client, seq, this.since(revision, item.operation), "edit");
    else if (item.kind === "restore") {
      this.commit(client, seq, this.type.diff(this.content, this.contents[Math.min(item.to, this.contents.length - 1)]), "restore");
    } else {
      const step = this.stepsOf(client)[item.kind].pop();
      if (!step) return `nothing_to_${item.kind}`;
      this.commit(client, seq, this.since(step.revision, step.operation), item.kind);
    }
    return null;
  }

  count(name) {
    this.answers[name] = (this.answers[name] ?? 0) + 1;
  }

  /** What a join is answered: entries, some of them composed, or a text. */
  join(client, revision, pending) {
    const seq = this.entries.reduce((last, entry) => (entry.client === client ? entry.seq : last), 0);
    const answer = { seq, revision: this.entries.length };
    if (pending && this.chance("pruned")) {
      this.count("pruned");
      return { ...answer, content: this.content, origin: "rebased" };
    }
    if (pending?.length && this.chance("whole")) {
      this.count("whole");
      return { ...answer, content: this.content, pending: this.carry(client, revision, pending) };
    }
    const operations = [];
    const composed = pending && this.chance("composites");
    for (const entry of this.entries.slice(revision)) {
      const last = operations.at(-1);
      if (!composed || entry.client === client) operations.push(entry);
      else if (last?.count) operations.push({ operation: this.type.compose(operations.pop().operation, entry.operation), count: last.count + 1 });
      else operations.push({ operation: entry.operation, count: 1 });
      if (last?.count) this.count("composites");
    }
    return { ...answer, operations };
  }

  carry(client, revision, pending) {
    let waiting = pending;
    for (const entry of this.entries.slice(revision)) {
      if (waiting.length && entry.client === client && entry.seq === waiting[0].seq) {
        waiting = waiting.slice(1);
        continue;
      }
      let other = entry.operation;
      waiting = waiting.map(({ operation, seq }) => {
        const moved = { operation: this.type.transform(operation, other, "left"), seq };
        other = this.type.transform(other, operation, "right");
        return moved;
      });
    }
    return waiting.map(({ operation }) => operation);
  }
}

/** One client and its connection: what was sent and not read, how much of the history was sent to it. */
class Peer {
  constructor(server, name) {
    Object.assign(this, { server, name, type: server.type, state: new DocumentState(server.type, name, { limit: () => 60 }), up: [], down: [], online: true });
    this.sent = 0;
    this.mirror = this.state.content;
    this.tell(this.state.start("g", server.entries.length, server.content).changes);
    this.sent = server.entries.length;
  }

  tell(changes) {
    for (const { operation } of changes) this.mirror = this.type.apply(this.mirror, operation);
    assert.deepEqual(this.mirror, this.state.content);
  }

  edit() {
    const operation = this.type.parse(RANDOM[this.type.name](this.state.content, this.server.random));
    if (!operation.length) return;
    this.state.edit(operation);
    this.mirror = this.type.apply(this.mirror, operation);
  }

  /** Typed while an answer is on its way; returns whether it is still there. */
  mark() {
    if (this.type !== text) return () => true;
    const mark = `<${(this.marks = (this.marks ?? 0) + 1)}${this.name}>`;
    const operation = ot.normalize(this.server.random() < 0.5 ? [mark] : [this.state.content.length, mark]);
    this.state.edit(operation);
    this.mirror = ot.apply(this.mirror, operation);
    return () => this.state.content.includes(mark);
  }

  stepUp() {
    if (!this.online) return;
    const submission = this.state.take();
    if (submission) this.up.push({ ...submission, item: { ...submission.item } });
    const next = this.up.shift();
    if (!next) return;
    const code = this.server.submit(this.name, next);
    this.push();
    if (code) this.down.push(() => this.tell(this.state.refuse(next.seq).changes));
  }

  push() {
    for (; this.sent < this.server.entries.length; this.sent += 1) {
      const revision = this.sent + 1;
      const entry = this.server.entries[this.sent];
      this.down.push(() => this.receive(revision, [entry]));
    }
  }

  receive(revision, entries) {
    this.state.receive(revision, entries, (change) => this.tell([change]));
    assert.deepEqual(this.mirror, this.state.content);
    if (this.state.same(revision, this.type.hash(this.server.contents[revision])) === false) this.heal();
  }

  heal() {
    this.server.healed += 1;
    this.state.detach();
    assert.notEqual(this.state.diverged().hash, this.type.hash(this.server.contents[this.state.revision]));
    const isThere = this.mark();
    this.tell(this.state.adopt(this.server.entries.length, this.server.content, this.state.seq, null, "healed"));
    assert.ok(isThere());
    this.down = [];
    this.sent = this.server.entries.length;
  }

  stepDown() {
    if (!this.online) return;
    this.push();
    this.down.shift()?.();
  }

  lose(handled) {
    this.online = false;
    if (handled) for (const submission of this.up) this.server.submit(this.name, submission);
    this.up = [];
    this.down = [];
    this.state.detach();
  }

  comeBack() {
    if (this.online) return;
    this.online = true;
    const { state, server } = this;
    const answer = server.join(this.name, state.revision, state.tellPending());
    const isThere = server.random() < 0.5 ? this.mark() : () => true;
    this.sent = answer.revision;
    if (answer.content === undefined) {
      state.attach(answer.seq, answer.operations.length);
      this.receive(answer.revision, answer.operations);
    } else this.tell(state.adopt(answer.revision, answer.content, answer.seq, answer.pending ?? null, answer.origin));
    assert.ok(isThere(), "what was typed meanwhile is gone");
  }
}

/** A schedule of `steps`; returns the server. Everybody must end with one text, every request answered. */
function run(seed, kinds, often = {}, steps = 80, type = text) {
  const random = seeded(seed);
  const server = new Server(random, type);
  Object.assign(server.often, often);
  const peers = ["a", "b", "c"].slice(0, 2 + (seed % 2)).map((name) => new Peer(server, name));
  const asked = [];
  const answered = [];
  const collect = (peer) => answered.push(...peer.state.finished.splice(0));
  for (let step = 0; step < steps; step += 1) {
    const peer = peers[Math.floor(random() * peers.length)];
    const kind = kinds[Math.floor(random() * kinds.length)];
    if (kind === "e") peer.edit();
    else if (kind === "u") peer.stepUp();
    else if (kind === "d") peer.stepDown();
    else if (kind === "x" && peer.online) peer.lose(random() < 0.5);
    else if (kind === "c") peer.comeBack();
    else if ("zyv".includes(kind)) {
      const to = Math.floor(random() * (peer.state.revision + 1));
      asked.push(peer.state.ask({ kind: { z: "undo", y: "redo", v: "restore" }[kind], to }));
    } else if (kind === "k" && peer.state.settled && peer.state.content.length > 2) {
      peer.state.content = `${peer.state.content.slice(0, 1)}#${peer.state.content.slice(2)}`;
      if (!ot.keepsPairs([1], peer.state.content)) peer.state.content = ot.wellFormed(peer.state.content);
      peer.state.content = ot.wellFormed(peer.state.content);
      peer.mirror = peer.state.content;
    }
    collect(peer);
  }
  server.often = { refuse: 0, composites: 0, whole: 0, pruned: 0 };
  const quiet = (peer) => peer.online && peer.state.settled && !peer.down.length && peer.sent === server.entries.length;
  for (let round = 0; !peers.every(quiet); round += 1) {
    assert.ok(round < 5000, `seed ${seed}: it never comes to rest`);
    for (const peer of peers) {
      peer.comeBack();
      peer.stepUp();
      peer.stepDown();
      collect(peer);
    }
  }
  if (kinds.includes("k")) return server;
  for (const { state } of peers) {
    assert.deepEqual(state.content, server.content, `seed ${seed}`);
    assert.deepEqual(state.confirmed, server.content, `seed ${seed}`);
    assert.equal(state.revision, server.entries.length);
  }
  assert.equal(server.healed, 0, `seed ${seed}: a hash differed though nothing was wrong`);
  assert.equal(answered.length, asked.length, `seed ${seed}`);
  assert.deepEqual(new Set(answered.map(([request]) => request)), new Set(asked));
  const keys = server.entries.map(({ client, seq }) => `${client}/${seq}`);
  assert.equal(new Set(keys).size, keys.length, `seed ${seed}`);
  return server;
}

const SEEDS = Number(process.env.SYNCLINE_SCHEDULES ?? 500);
const EVERY_WAY = { composites: 0.6, whole: 0.4, pruned: 0.2 };

test("delays and refusals", () => {
  for (let seed = 0; seed < SEEDS; seed += 1) run(seed, "eeuudd", { refuse: seed % 2 ? 0.2 : 0 });
});

test("lost connections", () => {
  for (let seed = 0; seed < SEEDS; seed += 1) run(seed, "eeeuudddxcc");
});

test("undo, redo and restore, over lost connections and refusals", () => {
  const kinds = {};
  for (let seed = 0; seed < SEEDS; seed += 1) {
    for (const { kind = "edit" } of run(seed, "eeeuuudddzzyvxcc", { refuse: 0.05 }).entries) kinds[kind] = (kinds[kind] ?? 0) + 1;
  }
  for (const kind of ["undo", "redo", "restore"]) assert.ok(kinds[kind] > SEEDS / 10, `${kind}: ${kinds[kind]}`);
});

test("every answer to a join, undo among them", () => {
  const total = {};
  for (let seed = 0; seed < SEEDS; seed += 1) {
    const { answers } = run(seed, "eeeeuuudddxczy", EVERY_WAY, 120);
    for (const [name, count] of Object.entries(answers)) total[name] = (total[name] ?? 0) + count;
  }
  for (const name of ["composites", "whole", "pruned"]) assert.ok(total[name] > SEEDS / 10, `${name}: ${total[name]}`);
});

for (const type of ["rich-text", "json"].map(typeOf)) {
  test(`${type.name}: undo, refusals, lost connections and every answer to a join`, () => {
    const total = {};
    for (let seed = 0; seed < SEEDS / 2; seed += 1) {
      run(seed, "eeeuuudddzzyvxcc", { refuse: 0.05 }, 80, type);
      const { answers } = run(seed, "eeeeuuudddxczy", EVERY_WAY, 120, type);
      for (const [name, count] of Object.entries(answers)) total[name] = (total[name] ?? 0) + count;
    }
    const often = SEEDS / (type.drifts() ? 20 : 60);
    for (const name of ["composites", "whole", "pruned"]) assert.ok(total[name] > often, `${name}: ${total[name]}`);
  });
}

test("a text that was damaged is found by its hash and healed", () => {
  let healed = 0;
  for (let seed = 0; seed < SEEDS; seed += 1) {
    const server = run(seed, "eeuuuudddddk", {}, 100);
    healed += server.healed;
  }
  assert.ok(healed > SEEDS / 10, `${healed}`);
});

test("what does not fit is an error, and what was taken in before it is told", () => {
  const state = new DocumentState(text, "me");
  state.start("g", 0, "abc");
  const told = [];
  const entries = [{ client: "x", seq: 1, operation: ["!"] }, { client: "x", seq: 2, operation: [99, "y"] }];
  assert.throws(() => state.receive(5, entries, () => {}), Diverged);
  state.receive(1, entries.slice(0, 1), (change) => told.push(change));
  assert.deepEqual(told, [{ operation: ["!"], origin: "remote", clients: ["x"] }]);
  assert.throws(() => state.receive(2, entries.slice(1), () => {}), RangeError);
  state.edit(["mine"]);
  const { seq } = state.take();
  assert.throws(() => state.receive(2, [{ client: "me", seq, operation: ["other"] }], () => {}), Diverged);
});

test("work that has nowhere to go is handed back", () => {
  const state = new DocumentState(text, "me");
  state.start("g", 0, "abc");
  state.edit(["x"]);
  state.take();
  const request = state.ask({ kind: "undo" });
  state.edit([4, "y"]);
  const { changes, lost } = state.start("g2", 7, "other");
  assert.deepEqual(lost, { content: "xabcy", base: "abc", operations: [["x"], [4, "y"]] });
  assert.equal(ot.apply("xabcy", changes[0].operation), "other");
  assert.deepEqual(state.finished, [[request, false]]);
  assert.ok(state.settled);
});

test("the checksum is zlib's", () => {
  assert.equal(ot.checksum(""), 0);
  assert.equal(ot.checksum("a"), 0x3d3f4819);
  assert.equal(ot.checksum("héllo 😀"), 0x0f450f67);
});

test("what is typed without a session stays in steps, bounded; what is deleted again makes room", () => {
  const state = new DocumentState(text, "a");
  state.start("g", 0, "");
  for (const word of ["one ", "two "]) for (const letter of word) state.edit([state.content.length, letter].filter(Boolean));
  assert.deepEqual(state.queue, [{ operation: ["one two "] }], "with a session it is one");
  state.take();
  state.detach();
  for (const word of ["three ", "four"]) for (const letter of word) state.edit([state.content.length, letter]);
  state.edit([state.content.length - 1, -1]);
  state.edit([state.content.length - 1, -1]);
  state.edit(["a paste that is longer than sixteen "]);
  state.edit([36, "x"]);
  assert.deepEqual(state.queue.map(({ operation }) => operation), [
    [8, "three "], [14, "four"], [16, -2], ["a paste that is longer than sixteen "], [36, "x"],
  ]);
  assert.deepEqual(state.tellPending().map(({ seq }) => seq), [1, ...Array(5).fill(undefined)]);
  state.attach(0, 0);
  assert.equal(state.queue.length, 5);
  state.detach();
  for (let number = 0; number < 40; number += 1) state.edit([`${number % 10} `]);
  assert.equal(state.queue.length, 15);

  state.maxPending = 1000;
  for (let number = 0; number < 9; number += 1) state.edit(["y".repeat(80)]);
  const { content } = state;
  assert.throws(() => { for (;;) state.edit(["z".repeat(80)]); }, { code: "buffer_full" });
  state.edit([-400]);
  state.edit(["x".repeat(300)]);
  assert.ok(state.content.endsWith(content.slice(400)));
  const sent = ot.apply("", state.flight.item.operation);
  assert.equal(state.queue.reduce((made, { operation }) => ot.apply(made, operation), sent), state.content);
});

test("steps that wait become one where they are smallest, so that none is much larger than others", () => {
  const json = typeOf("json");
  const state = new DocumentState(json, "a", { limit: () => 1_000_000 });
  state.start("g", 0, { list: [] });
  state.detach();
  for (let number = 0; number < 1000; number += 1) state.edit([{ p: ["list", 0], li: number }]);
  const sizes = state.queue.map(({ operation }) => operation.length);
  assert.equal(sizes.reduce((sum, size) => sum + size), 1000);
  assert.ok(sizes.length === 15 && Math.max(...sizes) <= 200, String(sizes));
});

test("a join tells nothing that the server refuses: no operation of more than 1,000 components", () => {
  const json = typeOf("json");
  const state = new DocumentState(json, "a", { limit: () => 1_000_000 });
  state.start("g", 0, { list: [] });
  state.detach();
  for (let number = 0; number < 3000; number += 1) state.edit([{ p: ["list", number], li: number }]);
  const told = state.tellPending();
  assert.ok(told.length > 0 && told.length <= 16);
  assert.equal(told.reduce((sum, { operation }) => sum + json.parse(operation).length, 0), 3000);
  state.attach(0, 0);
  state.hurry();
  for (const { operation } of state.queue) json.parse(operation);
  state.detach();
  state.queue = [{ operation: state.queue.flatMap(({ operation }) => operation) }]; // as transforms may make one longer
  assert.equal(state.tellPending(), null, "its answer has every operation");
});

test("that two edits which wait do not fit together is found out once, also when others' operations come between", () => {
  let composed = 0;
  const type = { ...text, compose: (...both) => (composed += 1) && text.compose(...both) };
  const state = new DocumentState(type, "a", { limit: () => 500, maxPending: 10_000_000 });
  state.start("g", 0, "");
  state.edit(["first"]);
  state.take();
  state.detach();
  for (let number = 0; number < 1000; number += 1) state.edit(["x".repeat(300)]);
  assert.equal(state.queue.length, 1000);
  assert.ok(composed < 2000, `${composed}`);
  for (let revision = 1; revision < 4; revision += 1) {
    state.receive(revision, [{ client: "other", seq: revision, operation: ["o"] }], () => {});
    composed = 0;
    state.edit(["y"]);
    assert.ok(composed < 5, `${composed}`);
  }
});
