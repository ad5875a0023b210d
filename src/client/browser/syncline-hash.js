/**
 * The hash of a content that is more than text, which the server tells now and then. A part of the Syncline client: import
 * syncline.js. docs/protocol.md, "Hash and healing", says what it is; the server's is src/core/values/content_hash.pyx.
 */

import { checksum } from "./syncline-ot.js";

const double = new DataView(new ArrayBuffer(8));

/** Murmur3's finish (fmix32). */
function mix(state) {
  let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function hashNumber(value) {
  double.setFloat64(0, value + 0); // -0 becomes 0
  return mix(mix(double.getUint32(0) ^ 4) ^ double.getUint32(4));
}

/** Of a JSON value, an unsigned number of 32 bits. */
export function contentHash(value) {
  if (value === null || value === undefined) return mix(1);
  if (typeof value === "boolean") return mix(value ? 3 : 2);
  if (typeof value === "number") return hashNumber(value);
  if (typeof value === "string") return mix(checksum(value) ^ 5);
  if (Array.isArray(value)) return mix(value.reduce((state, item) => mix(state ^ contentHash(item)), 0) ^ 6);
  let sum = 0;
  for (const key of Object.keys(value)) sum += mix(Math.imul(31, contentHash(key)) + contentHash(value[key]));
  return mix(sum ^ 7);
}

/** Of a rich text: its text's, an embed as U+FFFC, with the runs mixed in that have attributes or are an embed. */
export function richHash(document, plain) {
  let hash = checksum(plain);
  let [start, length, look, embed] = [0, 0, contentHash(null), null]; // of the run under way
  const end = () => {
    if (length && (embed !== null || look !== contentHash(null))) {
      hash = [start, length, look, contentHash(embed)].reduce((state, part) => mix(state ^ part), hash);
    }
    start += length;
    length = 0;
  };
  for (const { insert, attributes } of document) {
    const looks = contentHash(attributes);
    const text = typeof insert === "string";
    if (embed !== null || !text || looks !== look) {
      end();
      [look, embed] = [looks, text ? null : insert];
    }
    length += text ? insert.length : 1;
  }
  end();
  return hash >>> 0;
}
