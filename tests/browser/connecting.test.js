// While there is no connection yet, or a dead one: checks, names and tokens.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../../src/client/browser/syncline.js";
import { connect, only, rest, until } from "./driving.mjs";
import { ReferenceServer, seeded } from "./reference.mjs";

test("reconnect() again and again does not put off the end of a dead connection", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new ReferenceServer(seeded(64));
  const client = connect(server);
  await until(server, () => client.online);
  server.intercept = (connection, { event }) => event === "ping";
  for (let second = 0; second < 5; second += 1) {
    assert.equal(client.lastClose, null);
    client.reconnect();
    context.mock.timers.tick(1000);
  }
  assert.equal(client.lastClose.code, 4002);
  client.close();
});

test("a name that is given while connecting is the one that this connection has", async () => {
  const server = new ReferenceServer(seeded(65));
  const client = connect(server);
  assert.equal(client.state, "connecting");
  client.rename("Bob"); // no socket is open yet
  await until(server, () => client.online);
  assert.equal(client.identity.name, "Bob");
  server.intercept = (connection, { event }) => event === "auth"; // never answered
  server.cut(only(server));
  server.log.length = 0;
  await until(server, () => server.log.some(({ event }) => event === "auth"));
  server.intercept = () => false;
  client.rename("Cyd"); // `auth` is on its way
  await until(server, () => client.online);
  assert.equal(client.identity.name, "Cyd");
  assert.equal(server.connections.size, 1);
  client.close();
});

test("a token function that gives none is asked again, and nobody is a guest meanwhile", async () => {
  const server = new ReferenceServer(seeded(66));
  const given = [undefined, null, "", 7, "good", undefined];
  const client = connect(server, { token: async () => given.shift() });
  const errors = [];
  client.on("error", ({ code }) => errors.push(code));
  await until(server, () => client.online);
  const sent = () => server.log.filter(({ event }) => event.startsWith("auth")).map(({ event, data }) => [event, data.token]);
  assert.deepEqual([errors, sent()], [Array(4).fill("token_invalid"), [["auth", "good"]]]);
  server.push(only(server), "auth:expiring", { seconds_left: 0 });
  await until(server, () => errors.length === 5); // the connection goes on until the old one ends
  assert.deepEqual([client.state, sent().length], ["online", 1]);
  client.close();
});

test("what is asked of a document of a client that was closed is refused, not waited for", async () => {
  const server = new ReferenceServer(seeded(68));
  const client = connect(server);
  await until(server, () => client.online);
  const document = client.document("notes");
  await until(server, () => document.joined);
  document.insert(0, "x");
  await rest(server);
  await client.close();
  for (const ask of [() => document.undo(), () => document.redo(), () => document.restore(1)]) {
    await assert.rejects(ask, { code: "closed" });
  }
});

test("a token function that throws is told with a code and what it threw", async () => {
  const server = new ReferenceServer(seeded(70));
  const faults = [new Error("no session"), "gone"];
  const waiting = [() => { throw faults[0]; }, () => Promise.reject(faults[1]), () => "good"];
  const client = connect(server, { token: () => waiting.shift()() });
  const errors = [];
  client.on("error", (error) => errors.push(error));
  await until(server, () => client.online);
  assert.deepEqual(errors.map(({ code, message, cause }) => [code, message, cause]), [
    ["token_invalid", "the token function failed: no session", faults[0]], ["token_invalid", "the token function failed: gone", "gone"],
  ]);
  client.close();
});

test("a token function that does not answer is told, asked again, and no attempt waits for it for ever", async () => {
  const server = new ReferenceServer(seeded(69));
  let asked = 0;
  const token = () => ((asked += 1) < 3 ? new Promise(() => {}) : "good");
  const client = connect(server, { token, connectTimeout: 20 });
  const errors = [];
  client.on("error", ({ code, message }) => errors.push(`${code}: ${message}`));
  await until(server, () => client.online);
  assert.deepEqual([errors, asked], [Array(2).fill("timeout: the token function did not answer in time"), 3]);
  asked = 0;
  server.push(only(server), "auth:expiring", { seconds_left: 0 });
  await until(server, () => errors.length === 3);
  assert.equal(client.state, "online");
  client.close();
});

test("a token in the URL is replaced by the one of this connection, where a function gives them", async () => {
  for (const [token, second] of [[() => "fresh/1", "fresh/1"], ["fixed", "first"]]) {
    const server = new ReferenceServer(seeded(72));
    const urls = [];
    class Watched extends server.WebSocket {
      constructor(url, protocols) {
        super(url, protocols);
        urls.push(url);
      }
    }
    const client = new Client("http://reference/ws?a=1&access_token=first&b=2", { WebSocket: Watched, backoffBase: 0, token });
    client.connect();
    await until(server, () => client.online);
    assert.deepEqual(urls.map((url) => new URL(url).searchParams.get("access_token")), [second]);
    assert.equal(new URL(urls[0]).searchParams.get("b"), "2");
    client.close();
  }
});

test("who closes the client in a callback of `error` has closed it", async () => {
  class Broken {
    constructor() {
      throw new Error("not now");
    }
  }
  const server = new ReferenceServer(seeded(70));
  for (const options of [{ token: () => "" }, { WebSocket: Broken }]) {
    const client = connect(server, options);
    client.on("error", () => client.close());
    await assert.rejects(client.opened, { code: "closed" });
    await rest(server);
    assert.deepEqual(client.states, ["connecting", "closed"]);
  }
  const client = connect(server);
  await until(server, () => client.online);
  client.on("error", () => client.close());
  only(server).toClient.push("{");
  await until(server, () => client.state !== "online");
  await rest(server);
  assert.deepEqual(client.states, ["connecting", "online", "closed"]);
});

test("a WebSocket class that throws for a reason that may pass is tried again", async () => {
  const server = new ReferenceServer(seeded(71));
  let made = 0;
  class Sometimes extends server.WebSocket {
    constructor(...args) {
      if ((made += 1) < 3) throw new Error("not now");
      super(...args);
    }
  }
  const client = connect(server, { WebSocket: Sometimes });
  await until(server, () => client.online);
  assert.deepEqual([made, client.states], [3, ["connecting", "waiting", "connecting", "waiting", "connecting", "online"]]);
  client.close();
});
