// Cases computed by npm ot-text-unicode: `node vectors.mjs FILE` writes 4,000 of them, always the same, gzipped, a JSON
// object a line. vectors() in __init__.py calls it.
//
// d document; a, b concurrent operations on it; c an operation after a; ab = transform(a, b, left),
// ba = transform(b, a, right), ac = compose(a, c); da, db, dac, m the documents after a, b, a then c, and both.
// Offsets and lengths count code points; most documents have characters above U+FFFF.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";

const { type } = createRequire(import.meta.url)("ot-text-unicode");

const CASES = 4000;
const LONGEST = 80;
const WORDS = [
  ..."a b c \n é e\u0301 漢 かな слово word twelve  , . ".split(" "),
  ..."💃 𝄞 🤟 👩‍👩‍👧 🇪🇺 𠮷野 x🙂y 🧵🪡".split(" "),
].filter(Boolean);

let state = 20261127;

/** A whole number below `limit`: the same sequence everywhere. */
function below(limit) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 4294967296) * limit);
}

function words(most) {
  return Array.from({ length: 1 + below(most) }, () => WORDS[below(WORDS.length)]).join(below(2) ? " " : "");
}

/** Any components in any order that fit; deletions by length or by their text, as the type allows both. */
function operation(text) {
  const characters = [...text];
  const made = [];
  let at = 0;
  for (let left = below(10) ? 1 + below(6) : 0; left > 0; left -= 1) {
    const kind = below(3);
    const count = Math.min(1 + below(6), characters.length - at);
    if (kind === 0) made.push(words(2));
    else if (count > 0) {
      if (kind === 1) made.push(count);
      else made.push({ d: below(2) ? count : characters.slice(at, at + count).join("") });
      at += count;
    }
  }
  return type.normalize(made);
}

const lines = [];
let document = "";
for (let number = 0; number < CASES; number += 1) {
  const length = [...document].length;
  if (length > LONGEST || below(20) === 0) document = below(4) ? words(12) : "";
  const d = document;
  const [a, b] = [operation(d), operation(d)];
  const [da, db] = [type.apply(d, a), type.apply(d, b)];
  const c = operation(da);
  const [ab, ba, ac] = [type.transform(a, b, "left"), type.transform(b, a, "right"), type.compose(a, c)];
  const m = type.apply(db, ab);
  assert.equal(type.apply(da, ba), m);
  lines.push(JSON.stringify({ d, a, b, c, ab, ba, ac, da, db, dac: type.apply(d, ac), m }));
  document = m;
}
const astral = lines.filter((line) => /[\u{10000}-\u{10ffff}]/u.test(JSON.parse(line).d)).length;
assert.ok(astral > CASES / 2, `only ${astral} documents have characters above U+FFFF`);
writeFileSync(process.argv[2], gzipSync(`${lines.join("\n")}\n`));
