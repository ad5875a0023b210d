// Shared documents: the handle against a reference server, through random interleavings, losses and refusals.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, ot } from "../../src/client/browser/syncline.js";
import { ReferenceServer, randomOperation, seeded, turn } from "./reference.mjs";

const instant = { backoffBase: 0, backoffMax: 0, cursorInterval: 0, requestTimeout: 60_000, connectTimeout: 60_000 };

function connect(server, name, options = {}) {
  const client = new Client("ws://reference", { WebSocket: server.WebSocket, name, guestToken: name, ...instant, ...options });
  client.connect().catch(() => {});
  return client;
}

/** Runs until nothing is on its way and `done` says so. */
async function settle(server, done = () => true) {
  for (let idle = 0; idle < 400; ) {
    await turn();
    if (server.step()) {
      idle = 0;
      while (server.step() && server.random() < 0.8);
    } else {
      if (done() && idle > 3) return;
      idle += 1;
      if (idle > 3) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  throw new Error("it never came to rest");
}

/** An editor beside the handle, kept up only by `change` events. */
function mirror(handle) {
  const view = { text: handle.text, resets: [], refused: [], errors: [] };
  handle.on("change", ({ operation }) => {
    view.text = ot.apply(view.text, operation);
    assert.equal(view.text, handle.text);
  });
  handle.on("reset", (detail) => view.resets.push(detail));
  handle.on("refused", (detail) => view.refused.push(detail));
  handle.on("error", (error) => view.errors.push(error));
  return view;
}

async function pair(server, names = ["ada", "bob"]) {
  const clients = names.map((name) => connect(server, name));
  const handles = clients.map((client) => client.document("notes"));
  const views = handles.map(mirror);
  await settle(server, () => handles.every((handle) => handle.state === "joined"));
  return { clients, handles, views, end: () => clients.forEach((client) => client.close()) };
}

test("edits made at once converge, whatever the order of arrival", async () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = seeded(seed);
    const server = new ReferenceServer(random);
    const names = ["ada", "bob", "cyd", "dan"].slice(0, 2 + (seed % 3));
    const { handles, views, end } = await pair(server, names);
    for (let round = 0; round < 120; round += 1) {
      const handle = handles[Math.floor(random() * handles.length)];
      handle.edit(randomOperation(handle.text, random));
      if (random() < 0.4) handle.setCursor(Math.floor(random() * handle.text.length));
      if (random() < 0.6) await turn();
      for (let steps = Math.floor(random() * 6); steps > 0; steps -= 1) server.step();
    }
    await settle(server, () => handles.every((handle) => handle.settled));
    for (const handle of handles) assert.equal(handle.text, server.document("notes").text, `seed ${seed}`);
    assert.deepEqual(views.map((view) => view.errors), names.map(() => []), `seed ${seed}`);
    // The others' cursors are where the server has them.
    for (const handle of handles) {
      for (const connection of server.connections) {
        const { client, place } = connection.documents.get("notes");
        if (client === handle.id) continue;
        const seen = handle.cursors.get(client);
        assert.deepEqual(seen && { anchor: seen.anchor, head: seen.head }, place ?? undefined, `seed ${seed}`);
      }
    }
    end();
  }
});

test("connections that break, acks that are lost, operations that are refused: it converges", async () => {
  let cuts = 0;
  let refusals = 0;
  for (let seed = 100; seed < 160; seed += 1) {
    const random = seeded(seed);
    const server = new ReferenceServer(random);
    const { handles, views, end } = await pair(server, ["ada", "bob", "cyd"]);
    const codes = ["operation_out_of_range", "document_unavailable", "internal", "revision_unknown", "document_too_large"];
    server.refuse = () => (random() < 0.06 ? codes[Math.floor(random() * codes.length)] : null);
    for (let round = 0; round < 100; round += 1) {
      const handle = handles[Math.floor(random() * handles.length)];
      handle.edit(randomOperation(handle.text, random));
      if (random() < 0.6) await turn();
      for (let steps = Math.floor(random() * 6); steps > 0; steps -= 1) server.step();
      if (random() < 0.06) {
        const open = [...server.connections].filter((one) => one.readyState === 1);
        if (open.length) server.cut(open[Math.floor(random() * open.length)], { handled: random() < 0.5 });
        cuts += 1;
      }
      if (random() < 0.03) for (const one of server.connections) server.push(one, "document:resync", { document: "notes" });
    }
    server.refuse = () => null;
    await settle(server, () => handles.every((handle) => handle.settled && handle.state === "joined"));
    const { text } = server.document("notes");
    for (const handle of handles) assert.equal(handle.text, text, `seed ${seed}`);
    refusals += views.reduce((sum, view) => sum + view.refused.length, 0);
    assert.deepEqual(views.flatMap((view) => view.errors.filter(({ code }) => code === "diverged")), [], `seed ${seed}`);
    assert.deepEqual(views.flatMap((view) => view.resets), [], `seed ${seed}`);
    // Exactly the operations that were not refused are in the history, once each.
    const keys = server.document("notes").history.map(({ client, seq }) => `${client}/${seq}`);
    assert.equal(new Set(keys).size, keys.length, `seed ${seed}`);
    end();
  }
  assert.ok(cuts > 200 && refusals > 25, `${cuts} cuts and ${refusals} refusals were tried`);
});

test("every character that was typed is there once, unless it was refused", async () => {
  let refusals = 0;
  for (let seed = 200; seed < 240; seed += 1) {
    const random = seeded(seed);
    const server = new ReferenceServer(random);
    const { handles, views, end } = await pair(server);
    server.refuse = () => (random() < 0.05 ? ["document_too_large", "unavailable", "internal"][Math.floor(random() * 3)] : null);
    let typed = 0;
    for (let round = 0; round < 80; round += 1) {
      const handle = handles[Math.floor(random() * 2)];
      const count = 1 + Math.floor(random() * 4);
      handle.insert(Math.floor(random() * (handle.text.length + 1)), "x".repeat(count));
      typed += count;
      if (random() < 0.7) await turn();
      for (let steps = Math.floor(random() * 4); steps > 0; steps -= 1) server.step();
      const open = [...server.connections].filter((one) => one.readyState === 1);
      if (random() < 0.1 && open.length) server.cut(open[0], { handled: random() < 0.5 });
    }
    server.refuse = () => null;
    await settle(server, () => handles.every((handle) => handle.settled));
    const refused = views.flatMap((view) => view.refused);
    refusals += refused.length;
    for (const { operation } of refused) typed -= operation.filter((part) => typeof part === "string").join("").length;
    assert.equal(server.document("notes").text, "x".repeat(typed), `seed ${seed}`);
    for (const handle of handles) assert.equal(handle.text.length, typed);
    end();
  }
  assert.ok(refusals > 2, `${refusals} refusals`);
});

test("an operation whose ack was lost is found in the history, not sent again", async () => {
  const server = new ReferenceServer(seeded(1));
  const { handles: [ada], end } = await pair(server, ["ada"]);
  ada.insert(0, "once");
  await turn();
  const [connection] = server.connections;
  server.cut(connection, { handled: true });
  assert.equal(server.document("notes").text, "once");
  ada.insert(4, " more");
  await settle(server, () => ada.settled);
  assert.equal(server.document("notes").text, "once more");
  assert.equal(server.duplicates, 0);
  assert.deepEqual(server.document("notes").history.map(({ seq }) => seq), [1, 2]);
  end();
});

test("a refused operation is taken back exactly, what was typed meanwhile stays", async () => {
  const server = new ReferenceServer(seeded(2));
  const { handles: [ada, bob], views: [view], end } = await pair(server);
  ada.insert(0, "The cat sat.");
  await settle(server, () => ada.settled);
  server.refuse = ({ operation }) => (operation.includes("MUCH") ? "document_too_large" : null);
  ada.replace(4, 3, "MUCH");
  await turn();
  ada.insert(ada.text.length, " Really.");
  bob.insert(0, "Once: ");
  await settle(server, () => ada.settled && bob.settled);
  assert.equal(ada.text, "Once: The cat sat. Really.");
  assert.equal(bob.text, ada.text);
  assert.equal(server.document("notes").text, ada.text);
  assert.deepEqual(view.refused.map(({ code, operation }) => [code, operation]), [["document_too_large", view.refused[0].operation]]);
  ada.insert(0, "!");
  await settle(server, () => ada.settled);
  assert.equal(bob.text, ada.text);
  end();
});

test("a document that was created anew resets, and hands over what was not saved", async () => {
  const server = new ReferenceServer(seeded(3));
  const { handles: [ada], views: [view], end } = await pair(server, ["ada"]);
  ada.insert(0, "saved");
  await settle(server, () => ada.settled);
  server.documents.set("notes", { generation: "another", text: "new", history: [], owners: new Map() });
  server.up = false;
  server.cut([...server.connections][0]);
  ada.insert(5, " and not");
  server.up = true;
  await settle(server, () => ada.state === "joined");
  assert.equal(ada.text, "new");
  assert.equal(ada.generation, "another");
  assert.equal(view.resets.length, 1);
  assert.equal(view.resets[0].unsent.content, "saved and not");
  assert.deepEqual(view.resets[0].unsent.operations, [[5, " and not"]]);
  assert.ok(ada.settled);
  ada.insert(3, "er");
  await settle(server, () => ada.settled);
  assert.equal(server.document("notes").text, "newer");
  end();
});

test("a server that lost revisions: what was typed stays, and one is told", async () => {
  const server = new ReferenceServer(seeded(4));
  const { handles: [ada], views: [view], end } = await pair(server, ["ada"]);
  const told = [];
  ada.on("rebased", (detail) => told.push(detail));
  for (const word of ["one ", "two "]) {
    ada.insert(0, word);
    await settle(server, () => ada.settled);
  }
  const document = server.document("notes");
  document.history.pop();
  document.text = "one ";
  server.cut([...server.connections][0]);
  ada.insert(0, "three ");
  await settle(server, () => ada.state === "joined" && ada.settled);
  assert.equal(ada.text, "three one ");
  assert.equal(document.text, "three one ");
  assert.deepEqual(told, [{ before: "three two one ", after: "three one ", operation: ["three "] }]);
  assert.deepEqual(view.resets, []);
  end();
});

test("a client id that belongs to somebody else is changed, and the work goes on", async () => {
  const server = new ReferenceServer(seeded(5));
  const { clients: [client], handles: [ada], end } = await pair(server, ["ada"]);
  const before = ada.id;
  ada.insert(0, "a");
  await turn();
  server.cut([...server.connections][0], { handled: true }); // committed under the old id
  client.options.guestToken = "somebody else";
  ada.insert(1, "b");
  await settle(server, () => ada.settled);
  assert.notEqual(ada.id, before);
  assert.equal(server.document("notes").text, "ab");
  ada.insert(2, "c");
  await turn();
  server.cut([...server.connections][0]); // not committed
  client.options.guestToken = "a third";
  await settle(server, () => ada.settled);
  assert.equal(server.document("notes").text, "abc");
  end();
});

test("half characters become U+FFFD, halves of a pair are never sent", async () => {
  const server = new ReferenceServer(seeded(6));
  const { handles: [ada, bob], end } = await pair(server);
  assert.equal(ada.edit(["😀x\uD83D"]), true);
  assert.equal(ada.text, "😀x\uFFFD");
  assert.equal(ada.edit([1, -1, "\uDE01"]), false); // what an editor makes of 😀 -> 😁
  assert.equal(ada.text, "😁x\uFFFD");
  for (const cut of [
    () => ada.edit([1, -1]), () => ada.edit([1, "y"]), () => ada.edit([1, -1, "\uD83D"]), () => ada.insert(1, "y"), () => ada.delete(0, 1),
    () => ada.replace(1, 2, "y"),
  ]) assert.throws(cut, { code: "operation_invalid", message: /surrogate pair/ });
  assert.equal(ada.text, "😁x\uFFFD", "what others wrote is not broken");
  assert.equal(ada.setText("\uD83Dx\uFFFD"), true);
  assert.equal(ada.text, "\uFFFDx\uFFFD");
  await settle(server, () => ada.settled);
  assert.equal(server.document("notes").text, ada.text);
  assert.equal(bob.text, ada.text);
  end();
});

test("a paste larger than a message goes in pieces", async () => {
  const server = new ReferenceServer(seeded(8));
  const { handles: [ada, bob], end } = await pair(server);
  const text = "😀\u0001 line\n".repeat(40_000);
  ada.insert(0, text);
  await settle(server, () => ada.settled);
  assert.ok(server.document("notes").text === text && bob.text === text);
  assert.ok(server.document("notes").history.length >= 3);
  assert.throws(() => ada.insert(0, "x".repeat(5_000_000)), { code: "buffer_full" });
  assert.ok(ada.text === text);
  end();
});

test("cursors are sent only when the text is settled, and follow the edits of others", async () => {
  const server = new ReferenceServer(seeded(9));
  const { handles: [ada, bob], end } = await pair(server);
  ada.insert(0, "hello");
  ada.setCursor(2, 4);
  await turn();
  assert.ok(!server.log.some(({ event }) => event === "document:cursor"));
  await settle(server, () => ada.settled);
  const places = () => [...bob.cursors.values()].map(({ user, anchor, head }) => [user, anchor, head]);
  assert.deepEqual(places(), [["ada", 2, 4]]);
  bob.insert(0, "oh, "); // seen at once, before the server knows
  assert.deepEqual(places(), [["ada", 6, 8]]);
  await settle(server, () => bob.settled);
  const sent = server.log.filter(({ event }) => event === "document:cursor").length;
  await settle(server);
  assert.equal(server.log.filter(({ event }) => event === "document:cursor").length, sent);
  ada.setCursor(null);
  await settle(server);
  assert.deepEqual(places(), []);
  ada.leave();
  await settle(server);
  assert.equal(bob.collaborators.size, 0);
  end();
});

test("a reader cannot edit, and a document that is refused says so", async () => {
  const server = new ReferenceServer(seeded(10));
  server.intercept = (connection, { event, data, id }) => {
    if (event === "document:join" && data.document === "secret") {
      connection.toClient.push(JSON.stringify({ id, event: "error", error: { code: "forbidden", message: "no" } }));
      return true;
    }
    connection.role = "reader";
    return false;
  };
  const { clients: [client], handles: [ada], end } = await pair(server, ["ada"]);
  assert.equal(ada.writable, false);
  assert.throws(() => ada.insert(0, "x"), { code: "forbidden" });
  const secret = client.document("secret");
  assert.throws(() => secret.insert(0, "x"), { code: "not_joined" });
  await settle(server, () => secret.state === "failed");
  await assert.rejects(secret.ready, { code: "forbidden" });
  end();
});

test("a document that cannot be loaded is tried again", async () => {
  const server = new ReferenceServer(seeded(11));
  let failures = 3;
  server.intercept = (connection, { event, id }) => {
    if (event !== "document:join" || failures === 0) return false;
    failures -= 1;
    connection.toClient.push(JSON.stringify({ id, event: "error", error: { code: "document_unavailable", message: "" } }));
    return true;
  };
  const { handles: [ada], end } = await pair(server, ["ada"]);
  assert.equal(ada.state, "joined");
  assert.equal(failures, 0);
  end();
});

test("an edit just before leave() or close() is on the server; one that cannot be is said", async () => {
  const server = new ReferenceServer(seeded(70));
  const { clients, handles: [ada, bob], views } = await pair(server);
  ada.insert(0, "first ");
  ada.insert(6, "and ");
  const left = ada.leave();
  await settle(server, () => ada.state === "left");
  assert.equal(await left, 0);
  assert.equal(bob.text, "first and ");
  bob.insert(0, "second ");
  const closed = clients[1].close();
  assert.equal(clients[1].state, "online");
  await settle(server, () => clients[1].state === "closed");
  assert.equal(await closed, 0);
  assert.equal(server.document("notes").text, "second first and ");
  assert.deepEqual(views.map(({ errors }) => errors), [[], []]);

  const again = clients[0].document("notes");
  const view = mirror(again);
  await settle(server, () => again.state === "joined");
  server.up = false;
  for (const one of server.connections) server.cut(one);
  again.insert(0, "lost ");
  assert.equal(await again.leave({ settle: 1 }), 1);
  const [error] = view.errors;
  assert.equal(error.code, "unsettled");
  assert.equal(error.count, 1);
  assert.equal(error.unsent.content, "lost second first and ");
  assert.deepEqual(error.unsent.operations, [["lost "]]);
  clients[0].close();
});

test("opened again while it is being left, a document stays", async () => {
  const server = new ReferenceServer(seeded(71));
  const { clients: [client], handles: [ada], end } = await pair(server);
  ada.insert(0, "kept ");
  const left = ada.leave();
  assert.equal(client.document("notes"), ada);
  await settle(server, () => ada.settled);
  assert.equal(await left, 0);
  assert.equal(ada.state, "joined");
  end();
});

test("what is written at another's cursor leaves it where it is, as on the server", async () => {
  const server = new ReferenceServer(seeded(72));
  const { handles: [ada, bob], end } = await pair(server);
  ada.insert(0, "both here ");
  ada.setCursor(10);
  await settle(server, () => bob.cursors.get(ada.id)?.head === 10);
  const told = () => server.log.filter(({ event }) => event === "document:cursor").length;
  const before = told();
  bob.insert(10, "Bob's");
  assert.equal(bob.cursors.get(ada.id).head, 10);
  ada.setCursor(10); // as an editor does with each change
  await settle(server, () => ada.text === "both here Bob's");
  ada.setCursor(10);
  await settle(server);
  assert.equal(bob.cursors.get(ada.id).head, 10);
  assert.equal(told(), before, "nothing had to be corrected");
  end();
});

test("edits that are too large together for a server that takes less than before are sent after the join, in pieces", async () => {
  const server = new ReferenceServer(seeded(73));
  const { handles: [ada, bob], views: [view], end } = await pair(server);
  const [mine] = [...server.connections].filter((one) => one.user === "ada");
  ada.insert(0, "\u6f22".repeat(20_000));
  await turn(); // in flight
  server.up = false;
  server.cut(mine);
  for (const letter of "abc") ada.insert(ada.text.length, letter.repeat(20_000));
  server.limits = { message_bytes: 32_768, batch_size: 256 };
  server.log.length = 0;
  server.up = true;
  await settle(server, () => ada.state === "joined" && ada.settled);
  assert.deepEqual([view.refused, view.errors], [[], []]);
  assert.ok(ada.text === "\u6f22".repeat(20_000) + "a".repeat(20_000) + "b".repeat(20_000) + "c".repeat(20_000));
  assert.ok(server.document("notes").text === ada.text && bob.text === ada.text);
  for (const envelope of server.log) assert.ok(Buffer.byteLength(JSON.stringify(envelope)) <= 32_768);
  assert.deepEqual(server.log.find(({ event }) => event === "document:join").data.pending, []);
  end();
});

test("an edit that cannot even be sent in pieces is refused, and the handle goes on", async () => {
  const server = new ReferenceServer(seeded(74));
  const client = connect(server, "ada", { maxMessage: 300 });
  const notes = client.document("notes");
  const view = mirror(notes);
  await settle(server, () => notes.state === "joined");
  notes.insert(0, "\u0001".repeat(64));
  await settle(server, () => notes.settled);
  assert.deepEqual(view.refused.map(({ code }) => code), ["message_too_large"]);
  notes.insert(0, "fits");
  await settle(server, () => notes.settled);
  assert.equal(notes.text.slice(0, 4), "fits");
  assert.equal(server.document("notes").text, notes.text);
  client.close();
});
