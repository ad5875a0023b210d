// The scenarios that both clients pass: tests/scenarios/documents.json, which says what its steps mean.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

function expanded(value) {
  if (Array.isArray(value)) return value.map(expanded);
  if (typeof value !== "object" || value === null) return value;
  if (value.$repeat) return value.$repeat[0].repeat(value.$repeat[1]);
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, expanded(inner)]));
}

export const scenarios = expanded(JSON.parse(readFileSync(new URL("../scenarios/documents.json", import.meta.url), "utf8")));

/** Each step, as often as it is to be done: [its name, what it says, all of it]. */
export function* stepsOf({ steps }) {
  for (const step of steps) {
    const [name, ...others] = Object.keys(step).filter((one) => !["by", "times", "fails"].includes(one));
    assert.deepEqual(others, []);
    for (let count = step.times ?? 1; count > 0; count -= 1) yield [name, step[name], step];
  }
}
