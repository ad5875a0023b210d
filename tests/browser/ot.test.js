// The text operations of syncline.js: vectors of another implementation, and the laws.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { delimiter } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { ot } from "../../src/client/browser/syncline.js";
import { randomOperation, seeded } from "./reference.mjs";

// Files of cases; test_client.py names them.
const vectors = (process.env.SYNCLINE_VECTORS ?? "").split(delimiter).filter(Boolean);

/** ot-text-unicode's operation, in code points, as ours in UTF-16 units of `text`. */
function units(operation, text) {
  const characters = [...text];
  let at = 0;
  const width = (count) => {
    const taken = characters.slice(at, at + count).join("").length;
    at += count;
    return taken;
  };
  return ot.normalize(
    operation.map((part) => {
      if (typeof part === "string") return part;
      if (typeof part === "number") return width(part);
      return -width(typeof part.d === "number" ? part.d : [...part.d].length);
    }),
  );
}

test("agrees with the vectors of ot-text-unicode", () => {
  assert.ok(vectors.length > 0, "SYNCLINE_VECTORS names no file: run this by pytest tests/browser -k ot.test");
  const lines = vectors.flatMap((path) => gunzipSync(readFileSync(path)).toString("utf8").trim().split("\n"));
  assert.ok(lines.length >= 4000);
  for (const line of lines) {
    const { d, a, b, c, ab, ba, ac, da, db, dac, m } = JSON.parse(line);
    const [first, second] = [units(a, d), units(b, d)];
    assert.equal(ot.apply(d, first), da);
    assert.equal(ot.apply(d, second), db);
    const after = ot.transform(first, second, "left");
    assert.deepEqual(after, units(ab, db), line);
    assert.deepEqual(ot.transform(second, first, "right"), units(ba, da), line);
    assert.equal(ot.apply(db, after), m);
    const composed = ot.compose(first, units(c, da));
    assert.equal(ot.apply(d, composed), dac);
    assert.deepEqual(composed, units(ac, d), line);
  }
});

test("laws", () => {
  const random = seeded(7);
  let text = "";
  for (let round = 0; round < 20_000; round += 1) {
    const [a, b] = [randomOperation(text, random), randomOperation(text, random)];
    const afterA = ot.apply(text, a);
    const c = randomOperation(afterA, random);
    const d = randomOperation(ot.apply(afterA, c), random);
    const context = JSON.stringify({ text, a, b, c, d });
    const merged = ot.apply(afterA, ot.transform(b, a, "right"));
    assert.equal(merged, ot.apply(ot.apply(text, b), ot.transform(a, b, "left")), context);
    assert.equal(ot.apply(text, ot.compose(a, c)), ot.apply(afterA, c), context);
    assert.equal(
      ot.apply(text, ot.compose(ot.compose(a, c), d)), ot.apply(text, ot.compose(a, ot.compose(c, d))), context,
    );
    assert.equal(ot.apply(text, ot.composeAll([a, c, d])), ot.apply(ot.apply(afterA, c), d), context);
    assert.equal(ot.apply(afterA, ot.invert(a, text)), text, context);
    assert.equal(ot.apply(text, ot.diff(text, afterA)), afterA, context);
    assert.ok(ot.keepsPairs(ot.diff(text, afterA), text), context);
    assert.deepEqual(ot.normalize(a), a);
    const position = Math.floor(random() * (text.length + 1));
    for (const side of ["left", "right"]) {
      const mark = ot.transform(ot.normalize([position, "|"]), a, side);
      assert.equal(ot.mapPosition(position, a, side), mark[0] === "|" ? 0 : mark[0], context + side);
    }
    const [first, rest] = ot.split(a, 18);
    assert.ok(first.length > 0 || a.length === 0, context);
    assert.equal(ot.apply(ot.apply(text, first), rest), afterA, context);
    assert.ok(ot.keepsPairs(first, text) && ot.keepsPairs(rest, ot.apply(text, first)), context);
    text = afterA.length > 60 ? "" : afterA;
  }
});

test("composing what was concurrent first is not the same (why the client goes step by step)", () => {
  const [x, a, b] = [[2, "x"], [-2], ["B"]]; // on a text of two characters
  assert.equal(ot.apply("B", ot.transform(ot.transform(x, a, "left"), b, "left")), "xB");
  assert.equal(ot.apply("B", ot.transform(x, ot.compose(a, b), "left")), "Bx");
});

test("texts that look like numbers are texts", () => {
  assert.deepEqual(ot.normalize([9, "1"]), [9, "1"]);
  assert.deepEqual(ot.normalize([9, "1", -1, "-2", 5]), [9, "1", -1, "-2"]);
  assert.deepEqual(ot.compose(["1"], [1, "2"]), ["12"]);
  assert.deepEqual(ot.transform(["7"], ["3"], "right"), [1, "7"]);
  assert.deepEqual(ot.invert([1, -1], "a5"), [1, "5"]);
});

test("half characters", () => {
  assert.equal(ot.wellFormed("a\uD83Db\uDE00😀"), "a\uFFFDb\uFFFD😀");
  assert.equal(ot.keepsPairs([1, "x"], "😀"), false);
  assert.equal(ot.keepsPairs([-1], "😀"), false);
  assert.equal(ot.keepsPairs([2, "\uD83D"], "😀"), false);
  assert.equal(ot.keepsPairs([-2, "😁"], "😀"), true);
  assert.deepEqual(ot.diff("😀", "😁"), ["😁", -2]);
  assert.deepEqual(ot.diff("a\u{1F600}", "a\u{1FA00}"), [1, "\u{1FA00}", -2]);
});

test("a large edit is cut into pieces that fit", () => {
  let left = ot.normalize([3, "x😀".repeat(5000), -2, "end"]);
  let text = "abcdef";
  const expected = ot.apply(text, left);
  let pieces = 0;
  while (left.length) {
    const [first, rest] = ot.split(left, 1000);
    assert.ok(first.reduce((sum, part) => sum + 8 + (typeof part === "string" ? part.length : 0), 0) <= 1000);
    text = ot.apply(text, first);
    left = rest;
    pieces += 1;
  }
  assert.equal(text, expected);
  assert.ok(pieces > 14 && pieces < 20);
});

test("nonsense is refused", () => {
  assert.throws(() => ot.apply("abc", [4]), RangeError);
  assert.throws(() => ot.apply("abc", [2, -2]), RangeError);
  assert.throws(() => ot.normalize([1.5]), TypeError);
  assert.throws(() => ot.normalize([{ d: 1 }]), TypeError);
  assert.throws(() => ot.normalize("abc"), TypeError);
});
