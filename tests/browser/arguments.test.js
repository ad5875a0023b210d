// What a program says wrongly is refused where it is said, and changes nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, until } from "./driving.mjs";
import { ReferenceServer, seeded } from "./reference.mjs";

/** A client that is online, and what else a test needs of it. */
async function online(context, options = {}) {
  const server = new ReferenceServer(seeded(1));
  const client = connect(server, options);
  context.after(() => client.close({ settle: 0 }));
  await until(server, () => client.online);
  return { server, client, until: (done) => until(server, done) };
}

test("an edit outside of the text, or of other things than texts and numbers, is refused", async (t) => {
  const { server, client, until } = await online(t);
  const notes = client.document("notes");
  assert.throws(() => notes.insert(5, "early"), { code: "not_joined" });
  await until(() => notes.joined);
  notes.insert(0, "a horse");
  await until(() => notes.settled);
  const changes = [];
  notes.on("change", (change) => changes.push(change));
  const outside = [
    () => notes.insert(-5, "Z"), () => notes.insert(notes.text.indexOf("zebra"), "Z"), () => notes.insert(8, "Z"), () => notes.insert(8, ""),
    () => notes.delete(-1, 1), () => notes.delete(0, -1), () => notes.delete(5, 3), () => notes.replace(-1, 1, "q"), () => notes.replace(0, 8, "q"),
    () => notes.edit([8, "Z"]), () => notes.setCursor(999, -5), () => notes.setCursor(-1), () => notes.setCursor(0, 8),
  ];
  for (const call of outside) assert.throws(call, RangeError, String(call));
  const strange = [
    () => notes.insert(0, -3), () => notes.insert(0, 5), () => notes.insert(0), () => notes.insert("1", "x"), () => notes.insert(0.5, "x"),
    () => notes.insert(NaN, "x"), () => notes.insert(Symbol("x"), "x"), () => notes.delete(0), () => notes.delete("0", 1), () => notes.replace(0, null, "q"),
    () => notes.edit([0.5, "x"]), () => notes.setCursor("1"), () => notes.setCursor(), () => notes.setCursor(0, null),
  ];
  for (const call of strange) assert.throws(call, TypeError, String(call));
  assert.deepEqual([notes.text, notes.settled, changes], ["a horse", true, []]);
  notes.insert(7, "!");
  notes.delete(0, 2);
  notes.replace(0, 5, "zebra");
  notes.insert(0, "");
  notes.delete(6, 0);
  notes.setCursor(6, 0);
  notes.setCursor(null);
  await until(() => notes.settled);
  assert.deepEqual([notes.text, server.document("notes").text], ["zebra!", "zebra!"]);
});
