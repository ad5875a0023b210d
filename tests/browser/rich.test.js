// Rich text of syncline.js: what the comparison with quill-delta and the core (tests/core/test_rich_browser.py) leaves.
import assert from "node:assert/strict";
import { test } from "node:test";
import { richText } from "../../src/client/browser/syncline.js";
import { seeded } from "./reference.mjs";

const { apply, compose, diff, invert, length, parse, transform } = richText;

function frozen(value) {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(frozen);
  return value;
}

const pick = (random, list) => list[Math.floor(random() * list.length)];
const VALUES = [null, true, 1, "red", { a: [1] }, { a: [2] }];

const someAttributes = (random) => ({ [pick(random, ["bold", "color"])]: pick(random, VALUES) });

function someInsert(random) {
  const insert = pick(random, ["a", "bc", "\n", "é", "\uFFFC", { image: "x" }, { image: "y" }]);
  return random() < 0.5 ? { insert } : { insert, attributes: someAttributes(random) };
}

function someDocument(random) {
  return frozen(parse(Array.from({ length: Math.floor(random() * 6) }, () => someInsert(random))));
}

function someOperation(random, size) {
  const ops = [];
  for (let left = size; left > 0; ) {
    const step = 1 + Math.floor(random() * Math.min(left, 3));
    left -= step;
    const format = { retain: step, attributes: someAttributes(random) };
    ops.push(pick(random, [{ retain: step }, { delete: step }, format]));
    if (random() < 0.4) ops.push(someInsert(random));
  }
  return frozen(parse([...(random() < 0.5 ? [someInsert(random)] : []), ...ops]));
}

test("the laws, and nothing is changed in place", () => {
  const random = seeded(5);
  for (let round = 0; round < 2000; round += 1) {
    const document = someDocument(random);
    const [a, b] = [someOperation(random, length(document)), someOperation(random, length(document))];
    const after = frozen(apply(document, a));
    assert.deepEqual(
      apply(after, transform(b, a, "left")),
      apply(apply(document, b), transform(a, b, "right")),
      JSON.stringify([document, a, b]),
    );
    const c = someOperation(random, length(after));
    assert.deepEqual(apply(document, compose(a, c)), apply(after, c));
    assert.deepEqual(apply(after, invert(a, document)), document);
    assert.deepEqual(apply(document, diff(document, after)), after);
    assert.deepEqual(parse(a), a);
  }
});

test("a parsed operation shares nothing with what was given", () => {
  const given = [{ insert: { image: { url: "x" } }, attributes: { style: { size: 1 } } }];
  const made = parse(given);
  given[0].insert.image.url = "y";
  given[0].attributes.style.size = 2;
  assert.deepEqual(made, [{ insert: { image: { url: "x" } }, attributes: { style: { size: 1 } } }]);
});

test("what JSON cannot say is refused", () => {
  const proto = JSON.parse('{"__proto__":1}');
  const attributes = [{ a: NaN }, { a: Infinity }, { a: undefined }, { a: () => 1 }, { a: 1n }, { a: [,] }, proto];
  for (const one of attributes) assert.throws(() => parse([{ retain: 1, attributes: one }]), TypeError);
  const round = {};
  round.round = round;
  assert.throws(() => parse([{ insert: round }]), TypeError);
});

test("what a server sends has no bounds on its size", () => {
  const attributes = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`a${index}`, 1]));
  assert.throws(() => parse([{ insert: "x", attributes }]), TypeError);
  assert.deepEqual(parse([{ insert: "x", attributes }], true), [{ insert: "x", attributes }]);
  assert.deepEqual(richText.parseContent([{ insert: "x", attributes }]), [{ insert: "x", attributes }]);
  assert.throws(() => richText.parseContent([{ delete: 1 }]), TypeError);
});
