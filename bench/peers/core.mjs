// The peers' side of bench_ot.py: `node core.mjs ROW [FILE]` checks a row's result, warms up, times it inside this
// process, and prints {"peer": figure, ...} as JSON on one line. Figures: milliseconds (medians), or operations a
// second where the name says "rate"; a size in bytes where it says "size".

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import assert from "node:assert/strict";

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** Median milliseconds of `run(prepare())`, after `warm` runs that do not count. */
function time(run, { rounds = 5, warm = 1, prepare = () => undefined } = {}) {
  const took = [];
  for (let round = -warm; round < rounds; round++) {
    const given = prepare();
    const start = process.hrtime.bigint();
    run(given);
    const end = process.hrtime.bigint();
    if (round >= 0) took.push(Number(end - start) / 1e6);
  }
  return median(took);
}

/** The same sequence of numbers in every language that has 32-bit integers. */
function randoms(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 4294967296) * below);
  };
}

function trace(file) {
  const data = JSON.parse(gunzipSync(readFileSync(file)).toString());
  return { edits: data.txns.flatMap((one) => one.patches), end: data.endContent };
}

/** Typing as one person does it: runs of single characters, now and then a jump or a deletion. */
function keystrokes(count, length, seed, letter) {
  const random = randoms(seed);
  const edits = [];
  let at = random(length + 1);
  for (let index = 0; index < count; index++) {
    if (random(20) === 0) at = random(length + 1);
    if (at > 0 && random(8) === 0) {
      at -= 1;
      length -= 1;
      edits.push([at, 1, ""]);
    } else {
      edits.push([at, 0, letter]);
      at += 1;
      length += 1;
    }
  }
  return edits;
}

const rows = {
  async replay(file) {
    const { edits, end } = trace(file);
    const { Doc } = await import("diamond-types-node");
    const { JumpRopeString } = await import("jumprope").then((it) => ({ JumpRopeString: it.default?.default ?? it.default ?? it }));
    const { LoroDoc } = await import("loro-crdt");
    const Y = await import("yjs");
    const runs = {
      "diamond-types (wasm)": [
        () => {
          const doc = new Doc("bench");
          for (const [at, gone, text] of edits) {
            if (gone) doc.del(at, gone);
            if (text) doc.ins(at, text);
          }
          return doc.get();
        },
        { rounds: 3 },
      ],
      "jumprope (js)": [
        () => {
          const rope = new JumpRopeString();
          for (const [at, gone, text] of edits) {
            if (gone) rope.del(at, gone);
            if (text) rope.insert(at, text);
          }
          return rope.toString();
        },
        { rounds: 3 },
      ],
      "loro-crdt (wasm)": [
        () => {
          const text = new LoroDoc().getText("t");
          for (const [at, gone, inserted] of edits) {
            if (gone) text.delete(at, gone);
            if (inserted) text.insert(at, inserted);
          }
          return text.toString();
        },
        { rounds: 1, warm: 0 },
      ],
      yjs: [
        () => {
          const doc = new Y.Doc();
          const text = doc.getText("t");
          doc.transact(() => {
            for (const [at, gone, inserted] of edits) {
              if (gone) text.delete(at, gone);
              if (inserted) text.insert(at, inserted);
            }
          });
          return text.toString();
        },
        { rounds: 1, warm: 0 },
      ],
    };
    const figures = {};
    for (const [name, [run, options]] of Object.entries(runs)) {
      let result;
      figures[name] = time(() => (result = run()), options);
      assert.equal(result, end, name);
    }
    return figures;
  },

  async transform() {
    const { type } = await import("ot-text-unicode");
    const figures = {};
    for (const behind of [100, 1000]) {
      // One operation against the `behind` that were committed meanwhile, transform alone.
      const random = randoms(7);
      let text = "x".repeat(1000);
      const history = [];
      for (let index = 0; index < behind; index++) {
        const op = [1 + random(900), "y"];
        history.push(op);
        text = type.apply(text, op);
      }
      const mine = [500, "hello", { d: 5 }];
      const rebase = () => {
        let op = mine;
        for (const other of history) op = type.transform(op, other, "left");
        return op;
      };
      assert.equal(type.apply(text, rebase()).length, text.length);
      const runs = 50_000 / behind;
      const took = time(() => {
        for (let index = 0; index < runs; index++) rebase();
      }, { rounds: 7, warm: 3 });
      figures[`ot-text-unicode rate ${behind}`] = (runs / took) * 1000;
    }
    return figures;
  },

  async rich() {
    const { default: Delta } = await import("quill-delta");
    const a = new Delta().retain(10).insert("abc", { bold: true }).retain(30, { italic: true }).delete(4);
    const b = new Delta().retain(12).delete(5).insert("xyz").retain(20, { color: "red" });
    const text = new Delta().insert("0123456789".repeat(10));
    const left = a.transform(b, true);
    const right = b.transform(a, false);
    assert.deepEqual(text.compose(a).compose(left), text.compose(b).compose(right));
    assert.deepEqual(text.compose(a).compose(b), text.compose(a.compose(b)));
    const count = 20_000;
    const many = (one) => (count / time(() => {
      for (let index = 0; index < count; index++) one();
    }, { rounds: 7, warm: 3 })) * 1000;
    return { "quill-delta rate transform": many(() => a.transform(b, true)), "quill-delta rate compose": many(() => a.compose(b)) };
  },

  async json0() {
    const { default: json0 } = await import("ot-json0");
    const a = [{ p: ["items", 3, "name"], si: undefined, od: "a", oi: "b" }].map(({ si, ...rest }) => rest);
    const b = [{ p: ["items", 1], li: { name: "new" } }];
    const document = { items: [{ name: "x" }, { name: "y" }, { name: "z" }, { name: "a" }] };
    const copy = () => JSON.parse(JSON.stringify(document));
    const one = json0.type.apply(json0.type.apply(copy(), a), json0.type.transform(b, a, "right"));
    const two = json0.type.apply(json0.type.apply(copy(), b), json0.type.transform(a, b, "left"));
    assert.deepEqual(one, two);
    const count = 20_000;
    const took = time(() => {
      for (let index = 0; index < count; index++) json0.type.transform(a, b, "left");
    }, { rounds: 7, warm: 3 });
    return { "ot-json0 rate transform": (count / took) * 1000 };
  },

  async branches() {
    const Y = await import("yjs");
    const count = 10_000;
    const start = "0123456789".repeat(100);
    const base = new Y.Doc({ gc: false });
    base.clientID = 1;
    base.getText("t").insert(0, start);
    const seed = Y.encodeStateAsUpdate(base);
    const branch = (client, letter) => {
      const doc = new Y.Doc();
      doc.clientID = client;
      Y.applyUpdate(doc, seed);
      const text = doc.getText("t");
      for (const [at, gone, inserted] of keystrokes(count, start.length, client, letter)) {
        if (gone) text.delete(at, gone);
        if (inserted) text.insert(at, inserted);
      }
      return Y.encodeStateAsUpdate(doc);
    };
    const a = branch(2, "a");
    const b = branch(3, "b");
    const fresh = (update) => () => {
      const doc = new Y.Doc();
      Y.applyUpdate(doc, update);
      return doc;
    };
    const one = fresh(a)();
    Y.applyUpdate(one, b);
    const two = fresh(b)();
    Y.applyUpdate(two, a);
    assert.equal(one.getText("t").toString(), two.getText("t").toString());
    const figures = { yjs: time((doc) => Y.applyUpdate(doc, b), { prepare: fresh(a), rounds: 7, warm: 3 }) };

    const { type } = await import("ot-text-unicode");
    const spell = ([at, gone, inserted]) => [...(at ? [at] : []), inserted || { d: gone }];
    // List against list at a tenth of the size: the work grows with the square.
    const small = 1000;
    const left = keystrokes(small, start.length, 2, "a").map(spell);
    const right = keystrokes(small, start.length, 3, "b").map(spell);
    const lists = () => {
      const ours = [...left];
      const moved = [];
      for (let other of right) {
        for (let index = 0; index < ours.length; index++) {
          const mine = ours[index];
          ours[index] = type.transform(mine, other, "left");
          other = type.transform(other, mine, "right");
        }
        moved.push(other);
      }
      return [ours, moved];
    };
    const [ours, moved] = lists();
    const play = (...parts) => parts.flat().reduce((text, op) => type.apply(text, op), start);
    assert.equal(play(left, moved), play(right, ours));
    figures["ot-text-unicode, list x list of 1,000"] = time(lists, { rounds: 1, warm: 0 });
    return figures;
  },

  async history(file) {
    const { edits, end } = trace(file);
    const { Doc } = await import("diamond-types-node");
    const Y = await import("yjs");
    const doc = new Doc("bench");
    const whole = new Y.Doc({ gc: false });
    const text = whole.getText("t");
    whole.transact(() => {
      for (const [at, gone, inserted] of edits) {
        if (gone) {
          doc.del(at, gone);
          text.delete(at, gone);
        }
        if (inserted) {
          doc.ins(at, inserted);
          text.insert(at, inserted);
        }
      }
    });
    const bytes = doc.toBytes();
    assert.equal(Doc.fromBytes(bytes).get(), end);
    assert.equal(text.toString(), end);
    return { "diamond-types size": bytes.length, "yjs size, deleted text kept": Y.encodeStateAsUpdateV2(whole).length };
  },

  async open() {
    const Y = await import("yjs");
    const source = new Y.Doc();
    const text = source.getText("t");
    text.insert(0, "0123456789".repeat(1000));
    const updates = [Y.encodeStateAsUpdate(source)];
    source.on("update", (update) => updates.push(update));
    for (const [at, gone, inserted] of keystrokes(10_000, 10_000, 5, "z")) {
      if (gone) text.delete(at, gone);
      if (inserted) text.insert(at, inserted);
    }
    const load = () => {
      const doc = new Y.Doc();
      doc.transact(() => {
        for (const update of updates) Y.applyUpdate(doc, update);
      });
      return doc;
    };
    assert.equal(load().getText("t").toString(), text.toString());
    return { yjs: time(load, { rounds: 5, warm: 2 }) };
  },
};

const [row, ...rest] = process.argv.slice(2);
console.log(JSON.stringify(await rows[row](...rest)));
