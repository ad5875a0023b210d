// Documents of type json and rich-text: the handle against a reference server, through random interleavings, losses and refusals.
import assert from "node:assert/strict";
import { test } from "node:test";
import { json, ot, registerType, richText } from "../../src/client/browser/syncline.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";
import { randomJson, randomRich } from "./random.mjs";
import { seeded, turn } from "./reference.mjs";
import { TypedServer, crowd, randomCounter, settle } from "./typed.mjs";

const TROUBLES = [["edits made at once", 0, 0], ["losses", 0.05, 0], ["refusals and losses", 0.03, 0.1]];

for (const [type, randomOperation] of [["json", randomJson], ["rich-text", randomRich], ["counter", randomCounter]]) for (const [title, cutting, refusing] of TROUBLES) {
  test(`${type}, ${title}: everybody comes to the same`, async () => {
    let [asked, answered, undone] = [0, 0, 0];
    for (let seed = 1; seed <= 15; seed += 1) {
      const random = seeded(seed);
      const server = new TypedServer(random, type);
      server.refuse = () => (random() < refusing ? "document_too_large" : null);
      const { handles, views, end } = await crowd(server, 2 + (seed % 3));
      for (let round = 0; round < 80; round += 1) {
        const handle = handles[Math.floor(random() * handles.length)];
        if (random() < 0.75) handle.edit(randomOperation(handle.content, random));
        else {
          asked += 1;
          handle[random() < 0.6 ? "undo" : "redo"]().then((done) => (answered += 1) && (undone += Number(done)));
        }
        if (random() < 0.5) await turn();
        while (random() < 0.6 && server.step());
        const connections = [...server.connections];
        if (random() < cutting && connections.length) {
          server.cut(connections[Math.floor(random() * connections.length)], { handled: random() < 0.5 });
        }
      }
      await settle(server, handles);
      const { content, history } = server.document("board");
      for (const [index, handle] of handles.entries()) {
        assert.deepEqual(handle.content, content, `seed ${seed}`);
        assert.deepEqual(views[index].content, content);
        assert.equal(handle.revision, history.length);
        assert.deepEqual(views[index].errors, []);
      }
      const names = history.map(({ client, seq }) => `${client} ${seq}`);
      assert.equal(new Set(names).size, names.length);
      assert.equal(answered, asked);
      end();
    }
    assert.ok(undone > 50, `only ${undone} were undone`);
  });
}

test("a content has the hash that docs/protocol.md says", () => {
  const vectors = [
    [null, 1364076727], [true, 2247144487], [-0.5, 2651622101], [2 ** 53, 3938038988], ["héllo 🙂", 493548557], [[], 1558924552],
    [[1, [2]], 1778671740], [{ b: [1, "x"], a: null }, 698438849],
  ];
  for (const [value, hash] of vectors) assert.equal(json.hash(value), hash);
  assert.equal(json.hash({ a: null, b: [1, "x"] }), json.hash({ b: [1, "x"], a: null }));
  assert.equal(json.hash(-0), json.hash(0));
  const page = [{ insert: "Hello ", attributes: { bold: true } }, { insert: { image: "x.png" } }, { insert: "\n" }];
  assert.equal(richText.hash(page), 2172338191);
  assert.equal(json.hash({ size: 1.000000602794184 }), 0);
  assert.equal(richText.hash([{ insert: "x", attributes: { size: 1.000000602794184 } }, { insert: "\n" }]), 1185893834);
});

test("what no JSON can hold is refused, what the server sends is not", () => {
  assert.throws(() => json.parse([{ p: [], od: null, oi: { a: new Array(3) } }]), { code: "operation_invalid" });
  const page = [{ insert: "x", attributes: { size: 2 ** 53 } }];
  assert.deepEqual(richText.parse(page), page);
  assert.deepEqual(richText.parseContent(page), page);
});

const DAMAGES = {
  json: [
    [{ p: [], od: null, oi: { items: ["a", { b: 1 }], n: 0 } }],
    [{ p: ["items", 1, "b"], na: 1 }],
    [[{ p: ["n"], na: 1 }], [{ p: ["items", 0, 1], si: "!" }]],
  ],
  "rich-text": [
    [{ insert: "Hello" }, { insert: { image: "x" } }],
    [{ retain: 5, attributes: { bold: true } }],
    [[{ retain: 6 }, { insert: "!" }], [{ retain: 5, attributes: { color: "red" } }]],
  ],
};

for (const type of ["json", "rich-text"]) for (const edits of [false, true]) {
  test(`${type}: a damaged content is found by its hash and healed${edits ? ", what is done meanwhile stays" : ""}`, async () => {
    const server = new TypedServer(seeded(8), type);
    const [start, damage, operations] = DAMAGES[type];
    const { handles: [ada, bob], views, end } = await crowd(server, 2);
    ada.edit(start);
    await settle(server, [ada, bob]);
    // The fault: a push that only Bob gets, of something that nobody has done.
    const [theirs] = [...server.connections].filter((one) => one.user === "user1");
    const { history, content } = server.document("board");
    server.push(theirs, "document:operation", { document: "board", revision: 2, operations: [{ client: "x", seq: 1, operation: damage }] });
    await settle(server, [ada, bob]);
    assert.notDeepEqual(bob.content, content);
    history.push({ client: "x", seq: 1, operation: [] });
    const [mine] = [...server.connections].filter((one) => one.user === "user0");
    server.push(mine, "document:operation", { document: "board", revision: 2, operations: history.slice(1) });
    const origins = [];
    bob.on("change", ({ origin }) => origins.push(origin));
    for (const operation of operations) {
      ada.edit(operation);
      await settle(server, [ada, bob]);
    }
    const hash = server.type.hash(server.document("board").content);
    for (const one of [mine, theirs]) server.push(one, "document:operation", { document: "board", revision: 4, operations: [], hash });
    if (edits) {
      while (views[1].errors.length === 0) assert.ok(server.step());
      bob.edit(operations[0]);
    }
    await settle(server, [ada, bob]);
    const { content: ended } = server.document("board");
    assert.deepEqual([ada.content, bob.content, views[1].content], [ended, ended, ended]);
    assert.deepEqual(origins.filter((origin) => origin === "healed"), ["healed"]);
    assert.deepEqual(views.map(({ errors, resets }) => [errors.map(({ code }) => code), resets]), [[[], []], [["diverged"], []]]);
    const told = server.log.filter(({ data }) => data.diverged).map(({ data }) => data.diverged.revision);
    assert.deepEqual(told, [4]);
    end();
  });
}

test("a hash that is wrong itself is believed ever less", async () => {
  const server = new TypedServer(seeded(9));
  const { handles: [ada], views, end } = await crowd(server, 1);
  ada.edit(DAMAGES.json[0]);
  await settle(server, [ada]);
  for (let round = 0; round < 9; round += 1) {
    const [mine] = [...server.connections];
    server.push(mine, "document:operation", { document: "board", revision: 1, operations: [], hash: 1 });
    await settle(server, [ada]);
  }
  assert.equal(server.log.filter(({ data }) => data.diverged).length, 4); // the first, second, fourth, eighth
  assert.deepEqual(views[0].content, server.document("board").content);
  end();
});

test("a history that is gone costs no edit", async () => {
  const server = new TypedServer(seeded(7));
  const { clients, handles: [ada, bob], views, end } = await crowd(server, 2);
  ada.edit([{ p: [], od: null, oi: { items: ["a"], n: 0 } }]);
  await settle(server, [ada, bob]);
  const [away] = [...server.connections].filter((one) => one.user === "user0");
  server.intercept = (connection) => connection === away;
  server.deaf = away;
  ada.edit([{ p: ["items", 1], li: "mine" }]);
  bob.edit([{ p: ["n"], na: 5 }]);
  await settle(server, [bob]);
  server.document("board").forgotten = server.document("board").history.length;
  server.intercept = () => false;
  server.cut(away);
  await settle(server, [ada, bob]);
  assert.deepEqual(ada.content, { items: ["a", "mine"], n: 5 });
  assert.deepEqual(bob.content, ada.content);
  assert.deepEqual(views[0].resets, []);
  assert.equal(clients[0].documents.get("board"), ada);
  end();
});

test("what does not fit is refused at once, and what is large is sent in pieces", async () => {
  const server = new TypedServer(seeded(9));
  const { handles: [ada, bob], end } = await crowd(server, 2);
  assert.throws(() => ada.edit([{ p: ["k"], oi: 1 }]), { code: "operation_invalid" });
  assert.throws(() => ada.edit([{ p: ["__proto__"], oi: 1 }]), { code: "operation_invalid" });
  assert.throws(() => ada.edit("x"), { code: "operation_invalid" });
  assert.equal(ada.content, null);
  assert.equal({}.k, undefined);
  ada.edit([{ p: [], od: null, oi: [] }]);
  const many = Array.from({ length: 900 }, (_, li) => ({ p: [0], li }));
  for (let count = 0; count < 3; count += 1) ada.edit(many);
  await settle(server, [ada, bob]);
  assert.equal(bob.content.length, 2700);
  assert.ok(server.document("board").history.every(({ operation }) => operation.length <= 1000));
  ada.setContent({ done: true });
  await settle(server, [ada, bob]);
  assert.deepEqual(bob.content, { done: true });
  bob.leave().catch(() => {}); // its answer would have to be delivered
  assert.throws(() => bob.edit([]), { code: "closed" });
  end();
});

test("a rich text refuses what does not fit, and takes whole contents", async () => {
  const server = new TypedServer(seeded(11), "rich-text");
  const { handles: [ada, bob], end } = await crowd(server, 2);
  assert.deepEqual(ada.content, []);
  assert.throws(() => ada.edit([{ retain: 1, attributes: { bold: true } }]), { code: "operation_out_of_range" });
  assert.throws(() => ada.edit([{ insert: "" }]), { code: "operation_invalid" });
  assert.throws(() => ada.edit("x"), { code: "operation_invalid" });
  ada.edit([{ insert: "a😀b" }]);
  assert.throws(() => ada.edit([{ retain: 2 }, { insert: "!" }]), { code: "operation_invalid" }); // half of a pair
  await settle(server, [ada, bob]);
  bob.setContent([{ insert: "a😀", attributes: { bold: true } }, { insert: "c" }, { insert: { image: "i" } }]);
  await settle(server, [ada, bob]);
  assert.deepEqual(ada.content, bob.content);
  assert.equal(richText.plain(ada.content), "a😀c\uFFFC");
  end();
});

test("undo and redo take their turn, and leave the others' work alone", async () => {
  const server = new TypedServer(seeded(13));
  const { handles: [ada, bob], end } = await crowd(server, 2);
  const [origins, steps] = [[], []];
  ada.on("change", ({ origin }) => origins.push(origin));
  ada.on("steps", (detail) => steps.push(detail));
  ada.edit([{ p: [], od: null, oi: { items: ["a"], n: 0 } }]);
  await settle(server, [ada, bob]);
  ada.edit([{ p: ["items", 0], ld: "a" }]);
  const first = ada.undo();
  ada.edit([{ p: ["n"], na: 1 }]); // behind it
  assert.equal(ada.settled, false);
  await settle(server, [ada, bob]);
  assert.equal(await first, true);
  assert.deepEqual(bob.content, { items: ["a"], n: 1 });
  bob.edit([{ p: ["items", 1], li: "b" }]);
  await settle(server, [ada, bob]);
  assert.equal(ada.canUndo, 1); // edits count as one at most, until the server says
  const both = Promise.all([ada.undo(), ada.undo(), ada.undo(), ada.redo()]);
  await settle(server, [ada, bob]);
  assert.deepEqual(await both, [true, true, false, true]);
  assert.deepEqual(ada.content, { items: ["a", "b"], n: 0 });
  assert.deepEqual([ada.canUndo, ada.canRedo], [1, 1]);
  assert.deepEqual(steps.at(-1), { undo: 1, redo: 1 });
  assert.deepEqual(origins, ["local", "local", "local", "undo", "remote", "undo", "undo", "redo"]);
  const left = ada.undo();
  ada.leave().catch(() => {});
  await assert.rejects(left, { code: "closed" });
  await assert.rejects(ada.undo(), { code: "closed" });
  end();
});

for (const [name, word, content] of [["json", [{ p: [], od: null, oi: "word" }], "word"], ["rich-text", [{ insert: "word" }], [{ insert: "word" }]]]) {
  test(`${name}: an edit just before leave() or close() is on the server; one that cannot be is said`, async () => {
    for (const end of ["leave", "close"]) {
      const server = new TypedServer(seeded(80), name);
      const { clients, handles: [ada] } = await crowd(server, 1);
      ada.edit(word);
      const ended = end === "leave" ? ada.leave() : clients[0].close();
      for (let round = 0; round < 200 && !["left", "closed"].includes(end === "leave" ? ada.state : clients[0].state); round += 1) {
        await turn();
        server.step();
      }
      for (let round = 0; round < 50; round += 1) {
        await turn();
        server.step();
      }
      assert.equal(await ended, 0, end);
      assert.deepEqual(server.document("board").content, content, end);
      clients.forEach((client) => client.close());
    }
    const server = new TypedServer(seeded(81), name);
    const { clients, handles: [ada], views } = await crowd(server, 1);
    server.up = false;
    for (const one of server.connections) server.cut(one);
    ada.edit(word);
    assert.equal(await ada.leave({ settle: 1 }), 1);
    const error = views[0].errors.find(({ code }) => code === "unsettled");
    assert.equal(error.count, 1);
    assert.deepEqual(error.unsent.operations, [word]);
    clients.forEach((client) => client.close());
  });
}

for (const [name, content] of [["json", { items: ["a", { b: [1] }], n: 0 }], ["rich-text", [{ insert: "x", attributes: { bold: true } }, { insert: { image: "i" } }]]]) {
  test(`${name}: neither the content nor operations can be changed from outside`, async () => {
    const frozenAll = (value) => Object.isFrozen(value) && (typeof value !== "object" || value === null || Object.values(value).every(frozenAll));
    const server = new TypedServer(seeded(90), name);
    const { handles: [ada, bob], end } = await crowd(server, 2);
    const operations = [];
    for (const handle of [ada, bob]) handle.on("change", ({ operation }) => operations.push(operation));
    const given = structuredClone(content);
    ada.setContent(given);
    assert.ok(!Object.isFrozen(given), "what was given stays one's own");
    (Array.isArray(given) ? given : given.items).length = 0;
    await settle(server, [ada, bob]);
    assert.equal(operations.length, 2);
    for (const value of [ada.content, bob.content, ...operations]) assert.ok(frozenAll(value));
    for (const handle of [ada, bob]) assert.deepEqual(handle.content, content);
    const before = bob.content;
    assert.equal(bob.content, before);
    if (name === "json") bob.edit([{ p: ["n"], na: 1 }]);
    else bob.edit([{ insert: "y" }]);
    assert.deepEqual(before, content, "it stays as it was");
    if (name === "json") assert.equal(bob.content.items, before.items, "what has not changed is the same");
    assert.ok(frozenAll(bob.content));
    assert.throws(() => bob.content.push?.(1) ?? (bob.content.n = 9), TypeError);
    await settle(server, [ada, bob]);
    assert.deepEqual(ada.content, bob.content);
    end();
  });
}

test("what is done without a connection is undone in steps", async () => {
  for (const [name, edits, seen] of [
    ["json", [[{ p: [], od: null, oi: [] }], [{ p: [0], li: 1 }], [{ p: [1], li: 2 }]], [[1], [], null]],
    ["rich-text", [..."one two"].map((letter, at) => [...(at ? [{ retain: at }] : []), { insert: letter }]), [[{ insert: "one " }], []]],
  ]) {
    const server = new TypedServer(seeded(95), name);
    const { handles: [ada], end } = await crowd(server, 1);
    server.up = false;
    for (const one of server.connections) server.cut(one);
    for (const edit of edits) ada.edit(edit);
    server.up = true;
    await settle(server, [ada]);
    for (const content of seen) {
      const undone = ada.undo();
      await settle(server, [ada]);
      assert.equal(await undone, true);
      assert.deepEqual(ada.content, content, name);
    }
    end();
  }
});

for (const [name, first, more] of [
  ["json", [{ p: [], od: null, oi: [] }], (text) => [{ p: [0], li: text }]],
  ["rich-text", [{ insert: "x" }], (text) => [{ insert: { image: text } }]],
]) {
  test(`${name}: an edit larger than may be sent is refused and taken back; many that fit each are never one that does not`, async () => {
    const server = new TypedServer(seeded(96), name);
    const { handles: [ada], views: [view], end } = await crowd(server, 1, { maxMessage: 2000 });
    ada.edit(first);
    await settle(server, [ada]);
    const before = ada.content;
    ada.edit(more("y".repeat(3000)));
    await settle(server, [ada]);
    assert.deepEqual(view.refused, [{ code: "message_too_large", message: "message too large", operation: more("y".repeat(3000)), content: null }]);
    assert.deepEqual([ada.content, server.document("board").content], [before, before]);
    for (let number = 0; number < 20; number += 1) ada.edit(more(`${number}`.repeat(200))); // one is in flight
    await settle(server, [ada]);
    server.up = false;
    for (const one of server.connections) server.cut(one);
    for (let number = 0; number < 80; number += 1) ada.edit(more(`${number}`.repeat(200))); // more than are kept as steps
    server.up = true;
    await settle(server, [ada]);
    assert.equal(view.refused.length, 1);
    assert.deepEqual([server.document("board").content, view.content], [ada.content, ada.content]);
    assert.equal(JSON.stringify(ada.content).includes("79".repeat(200)), true);
    end();
  });
}

for (const [name, word, later] of [
  ["json", [{ p: [], od: null, oi: ["one"] }], [{ p: [1], li: "two" }]],
  ["rich-text", [{ insert: "one" }], [{ retain: 3 }, { insert: "two" }]],
]) {
  test(`${name}: a guest that the server has forgotten goes on under another client id, and nothing is done twice`, async () => {
    for (const handled of [false, true]) {
      const server = new TypedServer(seeded(97), name);
      const { handles: [ada], views: [view], end } = await crowd(server, 1);
      const before = ada.id;
      server.intercept = (connection, { event, data, id }) => {
        if (event !== "auth" || data.token !== "user0") return false;
        connection.toClient.push(JSON.stringify({ id, event: "error", error: { code: "token_invalid", message: "" } }));
        return true;
      };
      ada.edit(word);
      await turn(); // in flight
      for (const one of server.connections) server.cut(one, { handled });
      ada.edit(later);
      await settle(server, [ada]);
      assert.notEqual(ada.id, before);
      assert.deepEqual(server.document("board").history.map(({ client }) => client), [handled ? before : ada.id, ada.id]);
      assert.deepEqual([view.errors, view.resets, view.refused], [[], [], []]);
      assert.deepEqual([server.document("board").content, view.content], [ada.content, ada.content]);
      assert.deepEqual(ada.content, name === "json" ? ["one", "two"] : [{ insert: "onetwo" }]);

      const undone = ada.undo();
      await turn();
      for (const one of server.connections) server.cut(one);
      server.intercept = (connection, { event, data, id }) => {
        if (event !== "auth" || data.token !== "guest-user0") return false;
        connection.toClient.push(JSON.stringify({ id, event: "error", error: { code: "token_invalid", message: "" } }));
        server.intercept = () => false;
        server.document("board").owners.set(ada.id, "nobody");
        return true;
      };
      await settle(server, [ada]);
      assert.equal(await undone, false); // that step is the old one's
      assert.equal(ada.canUndo, 0);
      end();
    }
  });
}

/** Cut off, edited by `work`, and back: with whatever waits then. */
async function away(server, handle, work) {
  server.up = false;
  for (const one of server.connections) server.cut(one);
  work();
  server.up = true;
  await settle(server, [handle]);
}

const onServer = (server) => server.document("board");
const largest = (server) => Math.max(...server.log.map((envelope) => JSON.stringify(envelope).length));

for (const connected of [true, false]) {
  const how = connected ? "while one is in flight" : "without a connection";
  const during = async (server, handle, work) => (connected ? (work(), settle(server, [handle])) : away(server, handle, work));

  test(`rich text: pictures and pastes that are more than a message together go in pieces (${how})`, async () => {
    const server = new TypedServer(seeded(101), "rich-text");
    const { handles: [ada, bob], views: [view], end } = await crowd(server, 2);
    const picture = (number) => [{ insert: { image: String(number).repeat(80_000) } }];
    await during(server, ada, () => {
      for (let number = 0; number < 14; number += 1) ada.edit(picture(number % 10));
      ada.edit([{ insert: "漢😀\n".repeat(300_000), attributes: { bold: true } }]);
    });
    ada.edit([{ insert: "typed later" }]);
    await settle(server, [ada, bob]);
    assert.deepEqual([view.refused, view.errors], [[], []]);
    assert.equal(richText.length(ada.content), 1_200_000 + 14 + 11);
    assert.ok(largest(server) <= 1_048_576);
    assert.deepEqual([bob.content, onServer(server).content], [ada.content, ada.content]);
    end();
  });

  test(`json: a thousand and one edits of a string, and a long one, are all kept (${how})`, async () => {
    const server = new TypedServer(seeded(102));
    const { handles: [ada, bob], views: [view], end } = await crowd(server, 2);
    ada.edit([{ p: [], od: null, oi: { text: "-".repeat(2002) } }]);
    await settle(server, [ada]);
    await during(server, ada, () => {
      ada.edit([{ p: ["first"], oi: 0 }]); // in flight
      for (let number = 0; number < 1001; number += 1) ada.edit([{ p: ["text", 3 * number + 1], si: "x" }]);
      ada.edit([{ p: ["text", 0], si: "漢😀\n".repeat(300_000) }]);
    });
    await settle(server, [ada, bob]);
    assert.deepEqual([view.refused, view.errors], [[], []]);
    assert.equal(ada.content.text, "漢😀\n".repeat(300_000) + "-x-".repeat(1001));
    assert.ok(largest(server) <= 1_048_576);
    assert.deepEqual([bob.content, onServer(server).content], [ada.content, ada.content]);
    await during(server, ada, () => ada.edit([{ p: ["text"], t: "text0", o: [{ p: 0, d: "漢😀\n".repeat(300_000) }] }]));
    assert.equal(onServer(server).content.text, "-x-".repeat(1001));
    assert.deepEqual([view.refused, view.errors], [[], []]);
    end();
  });

  test(`json: a value that no message holds is refused, with what was typed, and the rest is kept (${how})`, async () => {
    const server = new TypedServer(seeded(103));
    const { handles: [ada], views: [view], end } = await crowd(server, 1);
    ada.edit([{ p: [], od: null, oi: [] }]);
    await settle(server, [ada]);
    const large = { p: [1], li: "y".repeat(3_000_000) };
    await during(server, ada, () => ada.edit([{ p: [0], li: "before" }, large, { p: [2], li: "after" }]));
    ada.edit([{ p: [2], li: "later" }]);
    await settle(server, [ada]);
    assert.deepEqual(view.refused.map(({ code, operation }) => [code, operation]), [["message_too_large", [large]]]);
    assert.deepEqual([ada.content, onServer(server).content], [["before", "after", "later"], ["before", "after", "later"]]);
    end();
  });
}

test("what cannot be sent for another reason is refused, too, and the handle goes on", async () => {
  registerType("broken", { ...typeOf("counter"), describe: (operation) => (operation === 13 ? 13n : operation) });
  const server = new TypedServer(seeded(104), "broken");
  const { handles: [ada], views: [view], end } = await crowd(server, 1);
  ada.edit(1);
  ada.edit(12);
  await settle(server, [ada]);
  assert.deepEqual([ada.content, view.refused.length, view.refused[0].code], [0, 1, "invalid_data"]);
  ada.edit(2);
  await settle(server, [ada]);
  assert.deepEqual([ada.content, onServer(server).content], [2, 2]);
  end();
});

test("a position in JSON follows what it points at; where that is removed it stays where it was", () => {
  for (const [operation, before, after] of [
    [[{ p: ["l", 0], li: "x" }], ["l", 0], ["l", 1]],
    [[{ p: ["l", 2], li: "x" }], ["l", 1, "k"], ["l", 1, "k"]],
    [[{ p: ["l", 1], ld: 0 }], ["l", 1, "k", 3], ["l", 1]],
    [[{ p: ["l", 0], ld: 0 }], ["l", 1, "k", 3], ["l", 0, "k", 3]],
    [[{ p: ["l", 1], ld: 0, li: 1 }], ["l", 1, "k"], ["l", 1]],
    [[{ p: ["l", 0], lm: 2 }], ["l", 0, "k"], ["l", 2, "k"]],
    [[{ p: ["l", 0], lm: 2 }], ["l", 1], ["l", 0]],
    [[{ p: ["l", 2], lm: 0 }], ["l", 1], ["l", 2]],
    [[{ p: ["a"], od: 1 }], ["a", 4, "b"], []],
    [[{ p: ["a", "b"], od: 1 }], ["a", "b"], ["a"]],
    [[{ p: ["a"], od: 1, oi: 2 }], ["a", 4], ["a"]],
    [[{ p: ["b"], od: 1, oi: 2 }], ["a", 4], ["a", 4]],
    [[{ p: [], od: 1, oi: 2 }], ["a", 4], []],
    [[{ p: ["n"], na: 2 }], ["n"], ["n"]],
    [[{ p: ["s", 1], si: "ab" }], ["s", 1], ["s", 1]],
    [[{ p: ["s", 0], si: "🤟" }], ["s", 1], ["s", 3]],
    [[{ p: ["s", 0], sd: "abc" }], ["s", 2], ["s", 0]],
    [[{ p: ["s", 0], sd: "a" }], ["t", 2], ["t", 2]],
    [[{ p: ["l", 0], li: 1 }, { p: ["l", 1, 0], si: "x" }], ["l", 0, 4], ["l", 1, 5]],
  ]) assert.deepEqual(json.move(json.parse(operation), before), after, JSON.stringify(operation));
  assert.deepEqual(json.move(json.parse([{ p: ["s", 1], si: "ab" }]), ["s", 1], "right"), ["s", 3]);

  const content = { l: ["ab", { k: null }] };
  for (const place of [[], ["l"], ["l", 0], ["l", 0, 2], ["l", 2], ["l", 1, "k"]]) json.checkPosition(content, place);
  for (const place of [["x"], ["l", 3], ["l", 0, 3], ["l", 1, "k", 0], ["l", "k"], [0], ["l", 2, 0], ["l", 0, 1, 1], ["l", -1], ["l", 0.5], 3]) {
    assert.throws(() => json.checkPosition(content, place), JSON.stringify(place));
  }
});

test("a position goes where the thing goes that it points at (random operations)", () => {
  const random = seeded(21);
  const under = (n) => Math.floor(random() * n);
  for (let round = 0; round < 300; round += 1) {
    let content = [0, 1, 2].map((row) => Array.from({ length: 1 + under(4) }, (_, name) => [`${row} ${name}`]));
    for (let step = 0; step < 20; step += 1) {
      const row = content.findIndex((items) => items.length && random() < 0.6);
      if (row < 0) continue;
      const at = under(content[row].length);
      const [mark] = content[row][at];
      const size = content[row].length;
      const operation = json.parse([[
        { p: [under(content.length + 1)], li: [["new"]] }, { p: [row, under(size + 1)], li: ["new"] }, { p: [row, under(size)], ld: 0 },
        { p: [row, under(size)], lm: under(size) }, { p: [under(content.length)], lm: under(content.length) }, { p: [under(content.length)], ld: 0 },
      ][under(6)]]);
      content = json.apply(content, operation);
      const place = json.move(operation, [row, at]);
      json.checkPosition(content, place);
      const found = content.flatMap((items, r) => items.flatMap(([one], c) => (one === mark && mark !== "new" ? [[r, c]] : [])));
      if (found.length) assert.deepEqual(place, found[0], JSON.stringify(operation));
    }
  }
});

for (const [type, content, cursor, edits, wrong] of [
  ["rich-text", [{ insert: "Hello " }, { insert: { image: "x" } }], [6, 7], [[{ insert: "Oh! " }], [{ retain: 4 }, { delete: 2 }], [{ retain: 9 }, { insert: "x" }]], 8],
  ["json", { items: [{ title: "Hello" }] }, [["items", 0, "title", 2], ["items", 0, "title", 5]],
    [[{ p: ["items", 0], li: "first" }], [{ p: ["items", 1, "title", 0], si: "Oh! " }], [{ p: ["items", 1], lm: 0 }]], ["items", 2]],
]) {
  test(`${type}: cursors are seen by the others and follow what they are at, here and on the server`, async () => {
    const server = new TypedServer(seeded(31), type);
    const { handles: [ada, bob], end } = await crowd(server, 2, { cursorInterval: 0 });
    ada.setContent(content);
    await settle(server, [ada, bob]);
    ada.setCursor(...cursor);
    assert.throws(() => ada.setCursor(wrong));
    await settle(server, [ada, bob]);
    const seen = () => [bob.cursors.get(ada.id)].map(({ anchor, head }) => [anchor, head])[0];
    assert.deepEqual(seen(), cursor);
    assert.equal(bob.cursors.get(ada.id).name, "user0");
    let wanted = cursor;
    for (const operation of edits) {
      bob.edit(operation);
      wanted = wanted.map((one) => server.type.move(server.type.parse(operation), one));
      assert.deepEqual(seen(), wanted); // before the server has it
    }
    await settle(server, [ada, bob]);
    assert.deepEqual(seen(), wanted);
    const places = [...server.connections].map(({ user, documents }) => [user, documents.get("board").place]);
    assert.deepEqual(new Map(places).get("user0"), { anchor: wanted[0], head: wanted[1] });
    assert.notDeepEqual(wanted, cursor);
    ada.setCursor(null);
    await settle(server, [ada, bob]);
    assert.equal(bob.cursors.has(ada.id), false);
    ada.setCursor(type === "json" ? ["items", 0, "title", 0] : 0);
    ada.edit(type === "json" ? [{ p: ["items", 0, "title", 0], si: "Ada" }] : [{ insert: "Ada" }]);
    await settle(server, [ada, bob]);
    assert.deepEqual(seen(), type === "json" ? [["items", 0, "title", 3], ["items", 0, "title", 3]] : [3, 3]); // behind what she typed
    end();
  });
}

test("documents without positions have no cursors", async () => {
  const server = new TypedServer(seeded(32), "counter");
  const { handles: [ada], end } = await crowd(server, 1);
  assert.throws(() => ada.setCursor(1), { code: "invalid_data" });
  end();
});

for (const [name, type, first, strokes, expected] of [
  ["json", "json", [{ p: [], od: null, oi: { title: "" } }], (text) => [...text].map((letter, at) => [{ p: ["title", at], si: letter }]), ["one ", "two ", "three"]],
  ["rich-text", "rich-text", [], (text) => [...text].map((letter, at) => (at ? [{ retain: at }, { insert: letter }] : [{ insert: letter }])), ["one ", "two ", "three"]],
]) {
  test(`${name}: what is typed without a connection is undone word by word`, async () => {
    const server = new TypedServer(seeded(33), type);
    const { handles: [ada], end } = await crowd(server, 1);
    ada.edit(first);
    await settle(server, [ada]);
    await away(server, ada, () => strokes(expected.join("")).forEach((stroke) => ada.edit(stroke)));
    const shown = () => (type === "json" ? ada.content.title : richText.plain(ada.content));
    for (let count = expected.length; count > 0; count -= 1) {
      assert.equal(shown(), expected.slice(0, count).join(""));
      const undone = ada.undo();
      await settle(server, [ada]);
      assert.equal(await undone, true);
    }
    assert.equal(shown(), "");
    end();
  });
}

test("what was missed is taken in in slices: others run between, order is kept, and nothing is lost when it breaks off", async (context) => {
  let clock = 0;
  context.mock.method(performance, "now", () => (clock += 4)); // time passes with each look at it: 8 operations a slice
  for (const broken of [false, true]) {
    const server = new TypedServer(seeded(41));
    const { handles: [ada, bob], views: [view], end } = await crowd(server, 2, { cursorInterval: 0 });
    ada.edit([{ p: [], od: null, oi: { items: [], text: "" } }]);
    await settle(server, [ada, bob]);
    const [away] = [...server.connections].filter((one) => one.user === "user0");
    server.intercept = (connection) => connection === away;
    server.deaf = away;
    ada.edit([{ p: ["text", 0], si: "mine" }]);
    for (let number = 0; number < 300; number += 1) server.commit("board", { client: "zoe", seq: number + 1 }, [{ p: ["items", number], li: number }]);
    await settle(server, [bob]);
    bob.setCursor(["items", 200]);
    await settle(server, [bob]);
    server.intercept = () => false;
    server.deaf = null;
    const told = [];
    let [typed, cut] = [false, false];
    const type = () => {
      if (!typed) ada.edit([{ p: ["text", 0], si: "between " }]);
      typed = true;
    };
    ada.on("state", ({ state }) => told.push(state));
    ada.on("change", ({ origin }) => {
      if (told.at(-1) !== origin) told.push(origin);
      if (origin === "remote" && !typed) setImmediate(type);
      if (broken && origin === "remote" && typed && !cut) {
        cut = true;
        for (const one of server.connections) server.cut(one);
      }
    });
    server.cut(away);
    await settle(server, [ada, bob]);
    await settle(server, [ada, bob]);
    assert.deepEqual([ada.content, bob.content], [onServer(server).content, onServer(server).content]);
    assert.deepEqual(ada.content, { items: Array.from({ length: 300 }, (_, number) => number), text: "between mine" });
    assert.deepEqual([view.content, view.errors, view.resets], [ada.content, [], []]);
    const rejoin = ["detached", "joining", "remote", "local", "remote"];
    assert.deepEqual(told, broken ? [...rejoin, "detached", "joining", "remote", "joined"] : [...rejoin, "joined"]);
    if (!broken) assert.deepEqual(ada.cursors.get(bob.id).anchor, ["items", 200]);
    end();
  }
});

test("json: setContent keeps identity: what one moves another edits, and the edit lands on it", async () => {
  for (const named of [true, false]) {
    const thing = (name) => (named ? { id: name, title: name } : { title: name });
    const server = new TypedServer(seeded(51));
    const { handles: [ada, bob], end } = await crowd(server, 2);
    ada.setContent({ items: ["a", "b", "c", "d"].map(thing) });
    await settle(server, [ada, bob]);
    ada.setContent({ items: ["d", "a", "b", "c"].map(thing) });
    bob.edit([{ p: ["items", 3, "title", 1], si: "!" }, { p: ["items", 1, "done"], oi: true }]);
    await settle(server, [ada, bob]);
    const wanted = { items: [{ ...thing("d"), title: "d!" }, thing("a"), { ...thing("b"), done: true }, thing("c")] };
    assert.deepEqual([ada.content, bob.content, onServer(server).content], [wanted, wanted, wanted]);
    assert.ok(onServer(server).history.some(({ operation: [{ p, lm }] }) => p[1] === 3 && lm === 0));
    ada.setContent({ items: [{ ...wanted.items[2], title: "bee" }, ...wanted.items.slice(0, 2), thing("e")] });
    await settle(server, [ada, bob]);
    if (named) assert.ok(onServer(server).history.at(-1).operation.some(({ p, t }) => t === "text0" && p.at(-1) === "title"));
    assert.deepEqual([bob.content.items.map(({ title }) => title), bob.content], [["bee", "d!", "a", "e"], ada.content]);
    end();
  }
});

test("differences lead there, whatever the lists; texts are changed where they differ", () => {
  const random = seeded(52);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const thing = () => pick([
    () => Math.floor(random() * 3), () => ({ id: pick([0, 1, 2, "1", "x"]), x: Math.floor(random() * 2), list: [Math.floor(random() * 2)] }),
    () => ({ x: Math.floor(random() * 2) }), () => pick(["ab", "abc", null, true, { id: true }, { id: 1.5 }, [0], [[1]]]),
  ])();
  for (let round = 0; round < 3000; round += 1) {
    const before = Array.from({ length: Math.floor(random() * 9) }, thing);
    const after = random() < 0.6 ? before.map((one) => [random(), one]).sort(([a], [b]) => a - b).map(([, one]) => one).slice(Math.floor(random() * 3)) : [];
    after.push(...Array.from({ length: Math.floor(random() * 4) }, thing));
    const operation = json.parse(json.diff({ in: [before, 1] }, { in: [after, 2] }));
    assert.deepEqual(json.commit({ in: [before, 1] }, operation), [{ in: [after, 2] }, operation]);
    const [one, two] = [0, 1].map(() => Array.from({ length: Math.floor(random() * 14) }, () => pick(["a", "b", "💃", "\u{1FA00}"])).join(""));
    assert.equal(ot.apply(one, ot.diff(one, two)), two);
    assert.ok(ot.keepsPairs(ot.diff(one, two), one));
    assert.equal(json.apply(one, json.diff(one, two)), two);
  }
  assert.deepEqual(ot.diff("The quick fox jumps", "A quick brown fox leaps"), ["A", -3, 7, "brown ", 4, "lea", -3]);
  assert.deepEqual(ot.diff("an old text", "a new text"), [1, " new", -5]); // what words share by chance is not kept
  const noise = [0, 1].map(() => Array.from({ length: 20_000 }, () => pick(["a", "b"])).join(""));
  assert.ok(ot.diff(...noise).length <= 4); // a search is given up
  const many = Array.from({ length: 190 }, (_, gap) => `5${"-".repeat(gap + 10)}`).join("");
  assert.ok(ot.diff(many, many.replaceAll("5", "X")).filter((part) => typeof part === "string").length <= 100);
  const shuffled = Array.from({ length: 3000 }, (_, id) => ({ id, x: id % 7 }));
  assert.deepEqual(json.apply(shuffled, json.diff(shuffled, [...shuffled].reverse())), [...shuffled].reverse());
});

test("a number that JSON cannot tell is not shown, one that another client stored can be removed", async () => {
  const server = new TypedServer(seeded(53));
  const { handles: [ada, bob], views, end } = await crowd(server, 2);
  server.commit("board", { client: "zoe", seq: 1 }, [{ p: [], od: null, oi: { big: { id: 2 ** 63, n: 2 ** 53 }, n: 2 ** 53 - 1 } }]);
  await settle(server, [ada, bob]);
  for (const operation of [[{ p: ["n"], na: 1 }], [{ p: ["n"], na: 2 ** 53 }], [{ p: ["big", "n"], na: -1 }], [{ p: ["x"], oi: NaN }]]) {
    assert.throws(() => ada.edit(operation), { code: "operation_invalid" }, JSON.stringify(operation));
  }
  assert.equal(ada.content.n, 2 ** 53 - 1);
  ada.edit([{ p: ["n"], na: -1 }]);
  ada.edit([{ p: ["big"], od: { id: 2n ** 63n } }]); // whatever it says was there
  await settle(server, [ada, bob]);
  assert.deepEqual([bob.content, ada.content], [{ n: 2 ** 53 - 2 }, { n: 2 ** 53 - 2 }]);
  assert.deepEqual(views.map(({ refused, errors }) => [refused, errors]), [[[], []], [[], []]]);
  end();
});
