// A scenario of tests/scenarios/documents.json with handles of the browser client on a real server (test_scenarios.py): url, its name.
import assert from "node:assert/strict";
import { Client } from "../../src/client/browser/syncline.js";
import { scenarios, stepsOf } from "./scenarios.mjs";

const [, , url, wanted] = process.argv;
const scenario = scenarios.server.find(({ name }) => name === wanted);
const { type } = scenario;

/** Until it is true; who waits for too long is ended by the test. */
async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** A client that can be without a connection. */
class Party {
  refused = [];
  origins = [];
  #open = true;
  #socket = null;

  constructor(name) {
    const party = this;
    this.client = new Client(url, {
      name, backoffBase: 5, backoffMax: 20, cursorInterval: 0,
      WebSocket: class extends WebSocket {
        constructor(address, protocols) {
          if (!party.#open) throw new Error("no connection");
          super(address, protocols);
          party.#socket = this;
        }
      },
    });
  }

  open() {
    this.document = this.client.document("d", { type });
    this.document.on("change", ({ origin }) => this.origins.push(origin));
    this.document.on("refused", ({ code }) => this.refused.push(code));
    return this.document.ready;
  }

  get connected() {
    return this.client.online;
  }

  async cut() {
    this.#open = false;
    this.#socket.close();
    await until(() => !this.client.online);
  }

  async back() {
    this.#open = true;
    await until(() => this.document.joined);
  }
}

const parties = new Map(scenario.clients.map((name) => [name, new Party(name)]));
for (const [number, party] of [...parties.values()].entries()) {
  await party.client.connect();
  if (!number) {
    if (type === "text") await party.client.createDocument("d", scenario.content);
    else await party.client.createDocument("d", "", { type, content: scenario.content });
  }
  await party.open();
  party.origins.length = 0; // of the first content
}
const reader = new Client(url, { name: "reader" });
await reader.connect();

const here = () => [...parties.values()].filter(({ connected }) => connected).map(({ document }) => document);

async function settle() {
  await until(() => here().every(({ joined, settled }) => joined && settled));
  const head = Math.max(...here().map(({ revision }) => revision));
  await until(() => here().every(({ revision }) => revision >= head));
}

async function fresh() {
  const document = await reader.document("d", { type }).ready;
  await document.leave();
  return document;
}

for (const [name, value, { by }] of stepsOf(scenario)) {
  const party = parties.get(by);
  if (!party) {
    if (name === "settle") await settle();
    else if (name === "lives") assert.equal((await fresh()).revision, value);
    else {
      assert.equal(name, "shows");
      for (const { content } of [...here(), await fresh()]) assert.deepEqual(content, value);
    }
  } else if (name === "edit") party.document.edit(value);
  else if (name === "undo" || name === "redo") assert.equal(await party.document[name](), true);
  else if (name === "cut" || name === "back") await party[name]();
  else if (name === "shows") assert.deepEqual(party.document.content, value);
  else if (name === "refused") {
    await until(() => party.document.settled);
    assert.deepEqual(party.refused.splice(0), value);
  } else if (name === "events") assert.deepEqual(party.origins.splice(0), value.map(([origin]) => origin));
  else if (name === "cursor") party.document.setCursor(value.anchor, value.head);
  else {
    assert.equal(name, "cursor_at");
    const { client, ...place } = value;
    const seen = () => party.document.cursors.get(parties.get(client).document.id);
    await until(() => seen() && JSON.stringify([seen().anchor, seen().head]) === JSON.stringify([place.anchor, place.head]));
  }
}
for (const { client } of [...parties.values(), { client: reader }]) client.close();
console.log("passed");
