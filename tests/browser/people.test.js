// Colours of people on the demo page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { hueOf, setPresent } from "../../src/server/web/pages/demo-people.js";

const people = (count, prefix = "user") => Array.from({ length: count }, (_, number) => `${prefix}-${number}`);
const different = (ids) => new Set(ids.map(hueOf)).size === ids.length;

test("people who are here together have different colours, and keep them", () => {
  assert.ok(!different(people(16)), "the ids alone collide");
  setPresent(people(3));
  const before = people(3).map(hueOf);
  for (const count of [16, 32]) {
    setPresent(people(count));
    assert.ok(different(people(count)), String(count));
    assert.deepEqual(people(3).map(hueOf), before, "who came first keeps the colour");
  }
  setPresent(people(40)); // more than there are
  assert.equal(new Set(people(40).map(hueOf)).size, 32);
});

test("who comes back has the same colour, unless somebody else has it now", () => {
  setPresent([]);
  const [one, other] = people(40, "guest").filter((id, _, all) => all.some((twin) => twin !== id && hueOf(twin) === hueOf(id)));
  setPresent([one]);
  const hue = hueOf(one);
  setPresent([]);
  assert.equal(hueOf(one), hue);
  const rival = people(400, "rival").find((id) => hueOf(id) === hue);
  setPresent([rival, other]);
  assert.equal(hueOf(rival), hue);
  setPresent([rival, other, one]);
  assert.notEqual(hueOf(one), hue);
  assert.equal(hueOf(rival), hue);
});
