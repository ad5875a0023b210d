// What tests do with a client beside a reference server.
import { Client } from "../../src/client/browser/syncline.js";
import { turn } from "./reference.mjs";

export const instant = { backoffBase: 0, backoffMax: 0, requestTimeout: 60_000, connectTimeout: 60_000, name: "Ada" };

export function connect(server, options = {}) {
  const client = new Client("http://reference/ws", { WebSocket: server.WebSocket, ...instant, ...options });
  client.states = [];
  client.on("state", ({ state }) => client.states.push(state));
  client.opened = client.connect();
  client.opened.catch(() => {});
  return client;
}

/** Runs until `done`. */
export async function until(server, done) {
  for (let tries = 0; tries < 3000; tries += 1) {
    if (done()) return;
    server.step();
    await turn();
    if (tries > 100) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error("it did not come to that");
}

export const rest = async (server) => {
  for (let quiet = 0; quiet < 6; quiet += 1) {
    await turn();
    while (server.step()) quiet = 0;
  }
};
export const only = (server) => [...server.connections][0];
export const answer = (connection, id, error) => connection.toClient.push(JSON.stringify({ id, event: "error", error }));
