// The browser client's typed documents against a real server (test_typed.py): says each settled content, does what it is told.
import { createInterface } from "node:readline";
import { Client } from "../../src/client/browser/syncline.js";

const [, , url, type] = process.argv;
if (type === "counter") await import("./counter.mjs");
const client = new Client(url, { name: "Node", backoffBase: 20, backoffMax: 100 });
const document = client.document("page", { type });
await client.connect();
await document.ready;
console.log("joined");
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "content") console.log(JSON.stringify({ settled: document.settled, content: document.content }));
  else if (line === "undo") console.log(await document.undo());
  else if (line === "cursors") console.log(JSON.stringify([...document.cursors.values()].map(({ anchor, head }) => [anchor, head])));
  else if (line === "past") console.log(JSON.stringify([(await document.contentAt(1)).content, (await document.history()).operations.length]));
  else if (line.startsWith("cursor ")) document.setCursor(...JSON.parse(line.slice(7)));
  else if (line.startsWith("first ")) console.log(await document.initialize(JSON.parse(line.slice(6))));
  else document.edit(JSON.parse(line));
}
client.close();
