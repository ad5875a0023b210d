// The types are written by hand: they name everything public of syncline.js, and nothing else.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as syncline from "../../src/client/browser/syncline.js";

const types = readFileSync(new URL("../../src/client/browser/syncline.d.ts", import.meta.url), "utf8");

test("every export is typed, every typed value is exported", () => {
  const typed = [...types.matchAll(/^export (?:const|class|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(typed.sort(), Object.keys(syncline).sort());
  const block = /export const ot: \{([^}]*)\}/.exec(types)[1];
  assert.deepEqual([...block.matchAll(/readonly (\w+):/g)].map(([, name]) => name).sort(), Object.keys(syncline.ot).sort());
});

test("every public member is typed, every typed method is there", () => {
  for (const name of ["Client", "Room", "SynclineDocument", "SynclineText"]) {
    const bodyOf = (one) => {
      const [body, parent] = new RegExp(`^export class ${one}(?:<[^{]*?>)? (?:extends (\\w+))?[^]*?^}`, "m").exec(types);
      return body + (parent ? bodyOf(parent) : "");
    };
    const body = bodyOf(name);
    const typed = new Set([...body.matchAll(/^ {2}(?:readonly )?(\w+)[(:<]/gm)].map(([, member]) => member));
    const members = new Set();
    for (let type = syncline[name].prototype; type !== Object.prototype; type = Object.getPrototypeOf(type)) {
      for (const member of Object.getOwnPropertyNames(type)) if (!member.startsWith("_")) members.add(member);
    }
    members.delete("constructor");
    typed.delete("constructor");
    for (const member of members) assert.ok(typed.has(member), `${name}.${member} has no type`);
    const methods = [...body.matchAll(/^ {2}(\w+)[(<]/gm)].map(([, member]) => member).filter((one) => one !== "constructor");
    for (const method of methods) assert.ok(members.has(method), `${name}.${method} is not there`);
  }
});

test("close codes", () => {
  for (const code of [1001, 1006, 1011, 1012, 1013, 4000, 4001, 4006, 4499]) assert.ok(syncline.shouldReconnect(code), code);
  for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 4500, 4503, 4999]) assert.ok(!syncline.shouldReconnect(code), code);
});

test("the events that a listener may have are those of the types", () => {
  const all = { Client: "ClientEvents", Room: "RoomEvents", SynclineDocument: "DocumentEvents" };
  for (const [name, events] of Object.entries(all)) {
    const body = new RegExp(`^export (?:interface|type) ${events}[ <][^]*?^}`, "m").exec(types)[0];
    const typed = [...body.matchAll(/^ {2}(\w+):/gm)].map(([, event]) => event);
    assert.deepEqual(typed.sort(), [...syncline[name]._events].sort(), name);
  }
});
