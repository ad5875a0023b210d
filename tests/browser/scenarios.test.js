// The state machine through the scenarios that both clients pass. Those with handles on a real server: test_scenarios.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DocumentState } from "../../src/client/browser/syncline-state.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";
import { scenarios, stepsOf } from "./scenarios.mjs";

const ELSEWHERE = new Set(["hold", "release"]); // a view that is held back: the Python client's

/** One method for each step. */
class Machine {
  constructor({ type, content, revision = 0 }) {
    this.type = typeOf(type);
    this.most = Infinity;
    this.state = new DocumentState(this.type, "me", { limit: () => this.most });
    this.state.start("g", revision, content);
    this.heard = [];
    this.gone = null;
    this.places = new Map(); // others' cursors, as the handle keeps them: in the confirmed content
  }

  form(operation) {
    return this.type.describe(this.type.parse(operation));
  }

  hear(changes) {
    this.heard.push(...changes);
  }

  edit(operation) {
    this.hear([{ operation: this.state.edit(this.type.parse(operation)), origin: "local" }]);
  }

  undo() {
    this.state.ask({ kind: "undo" });
  }

  redo() {
    this.state.ask({ kind: "redo" });
  }

  restore(to) {
    this.state.ask({ kind: "restore", to });
  }

  receives({ revision, ...entry }) {
    this.state.receive(revision, [entry], (change) => this.hear([change]), (operation, author) => {
      const moved = (position) => this.type.move(operation, position);
      for (const [client, { anchor, head }] of this.places) this.places.set(client, { anchor: moved(anchor), head: moved(head) });
      const end = author === null ? null : this.type.end(operation);
      if (end !== null) this.places.set(author, { anchor: end, head: end });
    });
  }

  refused(seq) {
    this.hear(this.state.refuse(seq).changes);
  }

  resend() {
    this.state.flight.sent = false;
  }

  cut() {
    this.state.detach();
  }

  joined({ seq, missing }) {
    this.state.attach(seq, missing);
  }

  loaded({ generation = "g", revision, content, seq, pending = null, origin = "remote" }) {
    if (generation === this.state.generation) return this.hear(this.state.adopt(revision, content, seq, pending, origin));
    const { changes, lost } = this.state.start(generation, revision, content, seq);
    this.gone = lost;
    return this.hear(changes);
  }

  renamed(client) {
    this.state.rename(client);
  }

  cursor({ client, ...place }) {
    this.places.set(client, place);
  }

  limit(bulk) {
    this.most = bulk;
  }

  sends(wanted) {
    const sent = this.state.take();
    if (!sent || !wanted) return assert.equal(sent, wanted);
    const { seq, revision, item } = sent;
    if (item.kind) return assert.deepEqual({ seq, revision, kind: item.kind }, wanted);
    return assert.deepEqual({ seq, revision, operation: this.form(item.operation) }, { ...wanted, operation: this.form(wanted.operation) });
  }

  sends_pieces(wanted) {
    let pieces = 0;
    for (let sent = this.state.take(); sent; sent = this.state.take()) {
      pieces += 1;
      const operation = this.form(sent.item.operation);
      this.state.receive(sent.revision + 1, [{ client: this.state.client, seq: sent.seq, operation }], () => {});
    }
    assert.ok(this.state.settled);
    if (wanted !== true) assert.equal(pieces, wanted);
  }

  tells(wanted) {
    const formed = (told) => told && told.map(({ operation, seq }) => [seq, this.form(operation)]);
    assert.deepEqual(formed(this.state.tellPending()), formed(wanted));
  }

  shows(content) {
    assert.deepEqual(this.state.content, content);
  }

  confirmed(content) {
    assert.deepEqual(this.state.confirmed, content);
  }

  waits(count) {
    assert.deepEqual([this.state.unsettled, this.state.settled], [count, count === 0]);
  }

  events(wanted) {
    const heard = this.heard.splice(0);
    assert.deepEqual(heard.map(({ origin }) => origin), wanted.map(([origin]) => origin));
    for (const [at, [, operation]] of wanted.entries()) {
      if (operation !== undefined) assert.deepEqual(this.form(heard[at].operation), this.form(operation));
    }
  }

  answered(wanted) {
    assert.deepEqual(this.state.finished.splice(0).map(([{ kind }, done]) => [kind, done]), wanted);
  }

  lost(wanted) {
    const formed = (lost) => lost && { ...lost, operations: lost.operations.map((one) => this.form(one)) };
    assert.deepEqual(formed(this.gone), formed(wanted));
  }

  cursor_at({ client, ...wanted }) {
    const { anchor, head } = this.places.get(client);
    assert.deepEqual({ anchor: this.state.local(anchor), head: this.state.local(head) }, wanted);
  }
}

for (const scenario of scenarios.machine) {
  const skip = scenario.steps.some((step) => Object.keys(step).some((name) => ELSEWHERE.has(name)));
  test(scenario.name, { skip }, () => {
    const machine = new Machine(scenario);
    for (const [name, value, { fails }] of stepsOf(scenario)) {
      if (fails) assert.throws(() => machine[name](value), JSON.stringify(value));
      else machine[name](value);
    }
  });
}
