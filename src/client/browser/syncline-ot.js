/**
 * Text operations: pure functions over plain arrays. A part of the Syncline client: import syncline.js.
 *
 * An operation is a list of components from the start of the text to its end: n retains, "text" inserts, -n deletes;
 * there is no trailing retain. Offsets are UTF-16 code units. All are linear in the components, those with a text in
 * its length too. The rules are the server's (src/core/ot/ot.pyx): both must come to the same text.
 */

import { named } from "./syncline-base.js";
import { splices } from "./syncline-differences.js";

const MOST_WEIGHT = 120_000; // of one submission
const SURROGATES = /[\uD800-\uDBFF][\uDC00-\uDFFF]|[\uD800-\uDFFF]/g;

/** Every lone surrogate becomes U+FFFD; the length stays. */
const wellFormed = (text) => text.replace(SURROGATES, (found) => (found.length === 2 ? found : "\uFFFD"));

const size = (part) => (typeof part === "string" ? part.length : Math.abs(part));

/** Appends a component, merging it with an equal neighbour. */
function push(parts, part) {
  if (part === 0 || part === "") return;
  const last = parts.length - 1;
  const previous = parts[last];
  if (last >= 0 && typeof previous === typeof part && (typeof part === "string" || previous > 0 === part > 0)) {
    parts[last] = previous + part;
  } else {
    parts.push(part);
  }
}

function trimmed(parts) {
  const last = parts[parts.length - 1];
  if (typeof last === "number" && last > 0) parts.pop(); // ("1" > 0 holds, too)
  return parts;
}

/** Hands out an operation in pieces; behind its end it retains for ever. */
class Reader {
  constructor(operation) {
    this.parts = operation;
    this.index = 0;
    this.used = 0;
  }

  peek() {
    return this.parts[this.index];
  }

  /** The next piece of at most `most`; an insert (or a delete) comes whole when `whole` says so. */
  take(most, whole) {
    const part = this.parts[this.index];
    if (part === undefined) return most;
    const left = size(part) - this.used;
    const kind = typeof part === "string" ? "insert" : part < 0 ? "delete" : "retain";
    const count = kind === whole ? left : Math.min(left, most);
    const start = this.used;
    if (count === left) {
      this.index += 1;
      this.used = 0;
    } else {
      this.used += count;
    }
    if (kind === "insert") return part.slice(start, start + count);
    return kind === "delete" ? -count : count;
  }

  rest(parts) {
    while (this.index < this.parts.length) push(parts, this.take(Infinity));
    return trimmed(parts);
  }
}

function normalize(operation) {
  if (!Array.isArray(operation)) throw new TypeError("an operation is a list of components");
  const parts = [];
  for (const part of operation) {
    if (typeof part !== "string" && !Number.isSafeInteger(part)) {
      throw new TypeError("components are strings and integers");
    }
    push(parts, part);
  }
  return trimmed(parts);
}

function baseLength(operation) {
  let length = 0;
  for (const part of operation) if (typeof part === "number") length += Math.abs(part);
  return length;
}

function apply(text, operation) {
  if (baseLength(operation) > text.length) throw new RangeError("the operation reaches past the end of the text");
  let at = 0;
  let result = "";
  for (const part of operation) {
    if (typeof part === "string") result += part;
    else if (part < 0) at -= part;
    else result += text.slice(at, (at += part));
  }
  return result + text.slice(at);
}

function compose(first, second) {
  const parts = [];
  const reader = new Reader(first);
  for (const part of second) {
    if (typeof part === "string") {
      push(parts, part);
      continue;
    }
    for (let left = Math.abs(part); left > 0; ) {
      const piece = reader.take(left, "delete");
      if (typeof piece === "number" && piece < 0) {
        push(parts, piece);
        continue;
      }
      left -= size(piece);
      if (part > 0) push(parts, piece);
      else if (typeof piece === "number") push(parts, -piece);
    }
  }
  return reader.rest(parts);
}

/** As a balanced tree: O(n log n) for n operations of one component. */
function composeAll(operations, from = 0, to = operations.length) {
  if (to - from < 2) return to > from ? operations[from] : [];
  const middle = (from + to) >> 1;
  return compose(composeAll(operations, from, middle), composeAll(operations, middle, to));
}

/** `operation` as it must be applied after `other`. Where both insert at one place, "left" comes first. */
function transform(operation, other, side) {
  const parts = [];
  const reader = new Reader(operation);
  for (const part of other) {
    if (typeof part === "string") {
      if (side === "left" && typeof reader.peek() === "string") push(parts, reader.take(Infinity));
      push(parts, part.length);
      continue;
    }
    for (let left = Math.abs(part); left > 0; ) {
      const piece = reader.take(left, "insert");
      if (typeof piece === "string") {
        push(parts, piece);
        continue;
      }
      left -= Math.abs(piece);
      if (part > 0) push(parts, piece);
    }
  }
  return reader.rest(parts);
}

function invert(operation, text) {
  const parts = [];
  let at = 0;
  for (const part of operation) {
    if (typeof part === "string") push(parts, -part.length);
    else if (part > 0) {
      push(parts, part);
      at += part;
    } else {
      push(parts, text.slice(at, (at -= part)));
    }
  }
  return trimmed(parts);
}

function mapPosition(position, operation, stick = "right") {
  let at = 0;
  let mapped = position;
  for (const part of operation) {
    if (at > position) break;
    if (typeof part === "string") {
      if (at < position || stick === "right") mapped += part.length;
    } else if (part > 0) {
      at += part;
    } else {
      mapped -= Math.min(-part, position - at);
      at -= part;
    }
  }
  return mapped;
}

/** Where the last insert or delete ends, in the text after it. */
function endOf(operation) {
  let at = 0;
  for (const part of operation) if (typeof part === "string" || part > 0) at += size(part);
  return at;
}

const isHigh = (text, index) => (text.charCodeAt(index) & 0xfc00) === 0xd800;
const isLow = (text, index) => (text.charCodeAt(index) & 0xfc00) === 0xdc00;
const splitsPair = (text, at) => at > 0 && at < text.length && isHigh(text, at - 1) && isLow(text, at);

/** What differs: at each place what is put in, then what is removed. Bounded, some ten milliseconds; surrogate pairs stay whole. */
function diff(before, after) {
  const parts = [];
  let at = 0;
  for (const [start, deleted, inserted] of splices(before, after)) {
    push(parts, start - at);
    push(parts, inserted);
    push(parts, -deleted);
    at = start + deleted;
  }
  return parts;
}

/** Whether the server would take it: no insert with half a character, no edge within one of `text`. */
function keepsPairs(operation, text) {
  let at = 0;
  for (const part of operation) {
    if (typeof part === "string") {
      if (splitsPair(text, at) || wellFormed(part) !== part) return false;
    } else {
      at += Math.abs(part);
      if (splitsPair(text, at)) return false;
    }
  }
  return true;
}

/** The same edit with the inserts before the deletes of one place: equal forms do the same to any text. */
function ordered(operation) {
  const parts = [];
  let removed = 0;
  for (const part of operation) {
    if (typeof part === "number" && part < 0) removed += part;
    else {
      if (typeof part === "number") {
        push(parts, removed);
        removed = 0;
      }
      push(parts, part);
    }
  }
  push(parts, removed);
  return JSON.stringify(parts);
}

/** What an operation costs on the wire, about: inserted characters, and eight for each component. */
const weigh = (operation) => operation.reduce((sum, part) => sum + 8 + (typeof part === "string" ? part.length : 0), 0);

/** [first, rest] that compose to `operation`, the first weighing at most `limit` (18 at least). */
function split(operation, limit) {
  const first = [];
  let covered = 0;
  let weight = 0;
  for (let index = 0; index < operation.length; index += 1) {
    const part = operation[index];
    const room = limit - weight - 8;
    if (room < 0 || (typeof part === "string" && part.length > room)) {
      let cut = Math.max(0, room);
      if (typeof part === "string" && splitsPair(part, cut)) cut -= 1;
      const head = typeof part === "string" ? part.slice(0, cut) : "";
      const tail = typeof part === "string" ? part.slice(cut) : part;
      push(first, head);
      return [trimmed(first), normalize([covered + head.length, tail, ...operation.slice(index + 1)])];
    }
    push(first, part);
    weight += 8 + (typeof part === "string" ? part.length : 0);
    if (typeof part === "string" || part > 0) covered += size(part);
  }
  return [operation, []];
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** CRC-32 (zlib's) of the text as UTF-16LE: what the server tells of its text now and then. */
function checksum(text) {
  let crc = -1;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    crc = CRC[(crc ^ unit) & 255] ^ (crc >>> 8);
    crc = CRC[(crc ^ (unit >>> 8)) & 255] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

const check = (holds, message) => {
  if (!holds) throw new RangeError(message);
};

function pieces(operation, limit) {
  const made = [];
  for (let rest = operation; rest.length; ) {
    const [first, after] = split(rest, limit);
    made.push(first);
    rest = after;
  }
  return made;
}

/** {at, text, removed} of an operation that does one thing at one place; else null. */
function strokeOf(operation) {
  if (operation.includes(null)) return null; // that of a rich text, part of which no text has
  const at = typeof operation[0] === "number" && operation[0] > 0 ? operation[0] : 0;
  const [part, ...more] = at ? operation.slice(1) : operation;
  if (part === undefined || more.length) return null;
  return typeof part === "string" ? { at, text: part, removed: 0 } : { at, text: "", removed: -part };
}

export const ot = Object.freeze({
  apply, baseLength, checksum, compose, composeAll, diff, endOf, invert, keepsPairs, mapPosition, normalize, split,
  transform, wellFormed,
});

/** The type of documents that are plain texts (syncline-types.js says what is in a type). */
export const text = {
  name: "text",
  drifts: () => true,
  empty: () => "",
  parseContent: (value) => {
    if (typeof value !== "string") throw new TypeError("a text is a string");
    return value;
  },
  parse: (operation, trusted = false) => (trusted ? operation : normalize(operation)),
  apply,
  invert: (operation, content) => {
    check(baseLength(operation) <= content.length, "the operation reaches past the end of the text");
    return invert(operation, content);
  },
  isIdentity: (operation) => operation.length === 0,
  isSame: (planned, applied) => ordered(planned) === ordered(applied),
  composeAll, compose, diff, transform,
  move: (operation, position, stick = "left") => mapPosition(position, operation, stick),
  end: endOf,
  within: (content, position) => Math.min(position, content.length),
  checkPosition: (content, position) => {
    if (!Number.isSafeInteger(position)) throw new TypeError(`positions and lengths are integers, not ${named(position)}`);
    check(position >= 0 && position <= content.length, `${position} of ${content.length}: outside of the text`);
  },
  hash: checksum,
  bulk: weigh,
  most: (bytes) => Math.min(MOST_WEIGHT, bytes >> 3), // each character may take six bytes as JSON
  split: pieces,
  stroke: strokeOf,
};

export { checksum };
