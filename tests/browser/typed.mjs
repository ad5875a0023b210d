// The reference server with documents of any type, clients of it, and a fourth type: what tests of typed documents share.
import assert from "node:assert/strict";
import { Client, json } from "../../src/client/browser/syncline.js";
import { typeOf } from "../../src/client/browser/syncline-types.js";
import "./counter.mjs";
import { ReferenceServer, turn } from "./reference.mjs";

export const instant = { backoffBase: 0, backoffMax: 0, requestTimeout: 60_000, connectTimeout: 60_000 };

/** The reference server with documents of one type. */
export class TypedServer extends ReferenceServer {
  constructor(random, type = "json") {
    super(random);
    this.type = typeOf(type);
  }

  document(name) {
    if (!this.documents.has(name)) {
      const document = { generation: "g", content: this.type.empty(), history: [], forgotten: 0 };
      this.documents.set(name, { ...document, owners: new Map(), undo: new Map(), redo: new Map() });
    }
    return this.documents.get(name);
  }

  join(connection, { document: name, client, type, revision, generation, pending = [] }, reply, fail) {
    for (const { operation } of pending) this.type.parse(operation); // as the server does, which refuses the join else
    assert.equal(type, this.type.name);
    const document = this.document(name);
    const owner = document.owners.get(client) ?? connection.user;
    if (owner !== connection.user) return fail("client_taken");
    document.owners.set(client, owner);
    const returning = generation === document.generation && revision !== undefined;
    if (returning && revision < document.forgotten) return fail("history_trimmed");
    connection.documents.set(name, { client, place: null });
    const seq = document.history.reduce((last, entry) => (entry.client === client ? entry.seq : last), 0);
    return reply("document:state", {
      document: name, type, generation: document.generation, revision: document.history.length, role: "editor", client, seq,
      text: null, ...(returning ? {} : { content: document.content }),
      operations: returning ? document.history.slice(revision) : null, collaborators: this.meet(connection, name), ...this.depths(document, client),
    });
  }

  depths(document, client) {
    return { undo: document.undo.get(client)?.length ?? 0, redo: document.redo.get(client)?.length ?? 0 };
  }

  handle(connection, envelope) {
    const { event, data, id } = envelope;
    const kind = event.slice("document:".length);
    if (kind !== "undo" && kind !== "redo") return super.handle(connection, envelope);
    const answer = (name, detail) => connection.toClient.push(JSON.stringify({ id, event: name, ...detail }));
    return this.undo(connection, kind, data, (result) => answer(event, { result }), (code) => answer("error", { error: { code, message: code } }));
  }

  /** As tests/oracle/typed_undo.py: whole paths, moved by every commit. */
  undo(connection, kind, { document: name, seq }, reply, fail) {
    const joined = connection.documents.get(name);
    if (!joined) return fail("not_joined");
    const document = this.document(name);
    const { client } = joined;
    const known = document.history.findIndex((entry) => entry.client === client && entry.seq === seq);
    if (known >= 0) return reply({ document: name, seq, revision: known + 1, ...this.depths(document, client) });
    const path = document[kind].get(client) ?? [];
    if (path.every((operation) => this.type.isIdentity(operation))) return fail(`nothing_to_${kind}`);
    let operation;
    do operation = path.pop(); while (this.type.isIdentity(operation));
    this.commit(name, { client, seq, kind }, operation);
    return reply({ document: name, seq, revision: document.history.length, ...this.depths(document, client) });
  }

  commit(name, { client, seq, kind }, operation) {
    const document = this.document(name);
    const [content, told] = this.type.commit(document.content, operation);
    const inverse = this.type.invert(told, document.content);
    document.content = content;
    document.history.push({ client, seq, kind, operation: told });
    for (const paths of [document.undo, document.redo]) {
      for (const [other, path] of paths) if (other !== client) this.move(path, told);
    }
    const target = kind === "undo" ? "redo" : "undo";
    if (kind === undefined) document.redo.delete(client);
    if (!this.type.isIdentity(inverse)) document[target].set(client, [...(document[target].get(client) ?? []), inverse]);
    for (const other of this.connections) {
      if (other.documents.has(name)) {
        const operations = [{ client, seq, kind, operation: told }];
        this.push(other, "document:operation", { document: name, revision: document.history.length, operations });
      }
    }
    this.movePlaces(name, client, told);
  }

  move(path, step) {
    let passed = step;
    for (let index = path.length - 1; index >= 0; index -= 1) {
      const operation = path[index];
      path[index] = this.type.transform(operation, passed, "left");
      passed = this.type.transform(passed, operation, "right");
    }
  }

  push(connection, event, data) {
    if (connection !== this.deaf) super.push(connection, event, data);
  }

  take(name, { client, seq, revision, operation }) {
    const document = this.document(name);
    let arrived = this.type.parse(operation);
    for (const entry of document.history.slice(revision)) arrived = this.type.transform(arrived, entry.operation, "left");
    this.commit(name, { client, seq }, arrived);
    return undefined;
  }
}

export async function settle(server, handles) {
  for (let idle = 0; idle < 600; ) {
    await turn();
    if (server.step()) {
      idle = 0;
      while (server.step() && server.random() < 0.8);
    } else {
      if (idle > 3 && handles.every((handle) => handle.state === "joined" && handle.settled)) return;
      idle += 1;
      if (idle > 3) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  throw new Error("it never came to rest");
}

export async function crowd(server, count, options = {}) {
  const clients = Array.from({ length: count }, (_, number) => {
    const name = `user${number}`;
    const client = new Client("ws://reference", { WebSocket: server.WebSocket, name, guestToken: name, ...instant, ...options });
    client.connect().catch(() => {});
    return client;
  });
  const handles = clients.map((client) => client.document("board", { type: server.type.name }));
  const views = handles.map((handle) => {
    const view = { content: handle.content, errors: [], refused: [], resets: [] };
    handle.on("change", ({ operation, origin }) => {
      view.content = origin === "reset" ? handle.content : server.type.apply(view.content, operation);
      assert.deepEqual(view.content, handle.content);
    });
    handle.on("error", (error) => view.errors.push(error));
    handle.on("refused", (detail) => view.refused.push(detail));
    handle.on("reset", (detail) => view.resets.push(detail));
    return view;
  });
  await settle(server, handles);
  return { clients, handles, views, end: () => clients.forEach((client) => client.close()) };
}

export const randomCounter = (content, random) => Math.floor(random() * 9) - 3;
