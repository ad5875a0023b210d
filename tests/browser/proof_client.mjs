// The browser client against a real server (test_proof.py): runs until everything up to an offset is proven, then says what it saw.
import { Client } from "../../src/client/browser/syncline.js";

const [, , url, offset] = process.argv;
const client = new Client(url, { name: "Node", backoffBase: 20, backoffMax: 100 });
const seen = { got: [], lost: 0, failures: 0, duplicates: 0, connections: 0 };
client.on("state", ({ state }) => (seen.connections += state === "online"));
const room = client.room("team");
room.on("message", (message) => seen.got.push([message.offset, message.data]));
room.on("lost", () => (seen.lost += 1));
room.on("proof", ({ complete, position }) => {
  if (!complete || position.offset < Number(offset)) return;
  seen.failures = room.proof.failures;
  seen.duplicates = room.proof.duplicates;
  client.close();
  console.log(JSON.stringify(seen));
});
await client.connect();
await room.ready;
console.log("joined");
