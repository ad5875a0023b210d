/**
 * Rich text operations: pure functions over Quill's Deltas. A part of the Syncline client: import syncline.js.
 *
 * An operation is a list of ops from the start of the document to its end: {insert: text or embed}, {retain: n},
 * {delete: n}, the first two perhaps with `attributes` (a null takes one away). A document is inserts only. Lengths are
 * UTF-16 code units, an embed is one. What these functions give is canonical: equal neighbours are one, inserts come
 * before deletes of the same place, there is no plain retain at the end. What they take must be, too: `parse` makes it
 * so. Nothing is ever changed in place. All are linear in the ops and what they insert.
 *
 * The rules are those of quill-delta 5 and the server's (src/core/rich/rich.pyx): all must come to the same ops.
 */

import { bytesOf, cutText, isObject } from "./syncline-base.js";
import { richHash } from "./syncline-hash.js";
import { ot, text } from "./syncline-ot.js";

const MOST = 2 ** 31 - 1;
const MOST_OPS = 100_000;
const MOST_KEYS = 64;
const MOST_NAME = 255;
const MOST_ATTRIBUTES = 16_384;
const MOST_EMBED = 1_048_576;
const DEPTH = 16;
const EMBED = "\uFFFC";

const own = (map, name) => map !== undefined && Object.hasOwn(map, name);
const isText = (op) => typeof op.insert === "string";
const isEmbed = (op) => isObject(op.insert);
const isRetain = (op) => op.retain !== undefined;
const isDelete = (op) => op.delete !== undefined;
const isInsert = (op) => op.insert !== undefined;
const size = (op) => (isText(op) ? op.insert.length : (op.retain ?? op.delete ?? 1));
const isHigh = (text, at) => (text.charCodeAt(at) & 0xfc00) === 0xd800;
const isLow = (text, at) => (text.charCodeAt(at) & 0xfc00) === 0xdc00;
const splitsPair = (text, at) => at > 0 && at < text.length && isHigh(text, at - 1) && isLow(text, at);

/** JSON values; the order of names is no difference. */
function equal(a, b) {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => own(b, name) && equal(a[name], b[name]));
}

/** An op with these attributes; none when there are none. */
const dressed = (op, attributes) => (attributes === undefined ? op : { ...op, attributes });

const some = (entries) => (entries.length > 0 ? Object.fromEntries(entries) : undefined);

// Reading -------------------------------------------------------------------------------------------------------------

function refuse(reason) {
  throw new TypeError(reason);
}

function requireWellFormed(text) {
  if (ot.wellFormed(text) !== text) refuse("a text holds half a surrogate pair");
}

/** A checked copy; `room.left` falls by what it takes in JSON, about. */
function readValue(value, depth, room) {
  room.left -= 4;
  if (room.left < 0) refuse("attributes or an embed are too large");
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") {
    requireWellFormed(value);
    room.left -= value.length;
    if (room.left < 0) refuse("attributes or an embed are too large");
    return value;
  }
  if (typeof value === "number") {
    if (!Number.isFinite(value)) refuse("a number must be finite");
    room.left -= 4;
    return value;
  }
  if (!isObject(value) && !Array.isArray(value)) refuse("attributes and embeds must be JSON");
  if (depth === 0) refuse(`attributes and embeds may be nested ${DEPTH} deep`);
  if (Array.isArray(value)) return Array.from(value, (inner) => readValue(inner, depth - 1, room));
  const copy = {};
  for (const name of Object.keys(value)) {
    if (name === "__proto__") refuse(`${name} cannot be a name`);
    requireWellFormed(name);
    room.left -= name.length;
    copy[name] = readValue(value[name], depth - 1, room);
  }
  return copy;
}

function readAttributes(value, trusted) {
  if (!isObject(value)) refuse("attributes must be an object");
  const names = Object.keys(value);
  if (!trusted && names.length > MOST_KEYS) refuse(`more than ${MOST_KEYS} attributes`);
  for (const name of names) {
    if (name in Object.prototype) refuse(`${name} cannot be the name of an attribute`);
    if (!trusted && (name === "" || name.length > MOST_NAME)) {
      refuse(`the name of an attribute has 1 to ${MOST_NAME} characters`);
    }
  }
  const copy = readValue(value, DEPTH, { left: trusted ? Infinity : MOST_ATTRIBUTES });
  return names.length > 0 ? copy : undefined;
}

function readEmbed(value, trusted) {
  const names = isObject(value) ? Object.keys(value) : [];
  if (names.length !== 1) refuse("an insert is a text, or an embed: an object with one key, its type");
  if (names[0] === "" || names[0] in Object.prototype) refuse("that cannot be the type of an embed");
  return readValue(value, DEPTH, { left: trusted ? Infinity : MOST_EMBED });
}

function readLength(value) {
  if (!Number.isInteger(value) || value <= 0 || value > MOST) refuse("a length is a positive integer below 2^31");
  return value;
}

function readOp(value, trusted) {
  if (!isObject(value)) refuse("an op is an object");
  const names = Object.keys(value).filter((name) => value[name] !== undefined);
  const attributes = names.includes("attributes") ? readAttributes(value.attributes, trusted) : undefined;
  const [kind, ...others] = names.filter((name) => name !== "attributes");
  if (others.length > 0 || !["insert", "retain", "delete"].includes(kind)) {
    refuse("an op has one of insert, retain, delete, and perhaps attributes");
  }
  if (kind === "retain") return dressed({ retain: readLength(value.retain) }, attributes);
  if (kind === "delete") {
    if (names.length > 1) refuse("a delete has no attributes");
    return { delete: readLength(value.delete) };
  }
  if (typeof value.insert !== "string") {
    return dressed({ insert: readEmbed(value.insert, trusted) }, withoutNulls(attributes));
  }
  if (value.insert === "") refuse("an inserted text must not be empty");
  requireWellFormed(value.insert);
  return dressed({ insert: value.insert }, withoutNulls(attributes));
}

/**
 * A canonical copy of a list of ops, or of {ops}: what the server would take. `trusted`: the server sent it, so that no
 * bound on its size holds, since formats add up. Throws TypeError.
 */
function parse(value, trusted = false) {
  const given = Array.isArray(value) ? value : value?.ops; // Quill's Delta is of a class
  if (!Array.isArray(given)) refuse("a delta is a list of ops");
  if (!trusted && given.length > MOST_OPS) refuse(`more than ${MOST_OPS} ops`);
  const ops = [];
  for (const op of given) push(ops, readOp(op, trusted));
  return chop(ops);
}

/** A document as the server sent it. Throws TypeError. */
function parseContent(value) {
  const document = parse(value ?? [], true);
  if (!document.every(isInsert)) refuse("the content of a rich text is a list of inserts");
  return document;
}

// Attributes: undefined stands for none -------------------------------------------------------------------------------

function withoutNulls(attributes) {
  if (attributes === undefined) return undefined;
  return some(Object.entries(attributes).filter(([, value]) => value !== null));
}

/** First `first`, then `second`. A retain keeps nulls: what it is composed onto may have the attribute. */
function composeAttributes(first, second, keepNull) {
  if (second === undefined) return first;
  const both = { ...first, ...second };
  return keepNull ? both : withoutNulls(both);
}

function transformAttributes(first, second, priority) {
  if (first === undefined || second === undefined || !priority) return second;
  return some(Object.entries(second).filter(([name]) => !own(first, name)));
}

/** As quill-delta: a list or an object never counts as the value that is there already. */
function invertAttributes(attributes, base) {
  const back = [];
  for (const [name, value] of Object.entries(attributes)) {
    if (!own(base, name)) back.push([name, null]);
    else if (typeof base[name] === "object" || base[name] !== value) back.push([name, base[name]]);
  }
  return some(back);
}

/** What makes `after` of `before`. */
function diffAttributes(before, after) {
  const changes = [];
  for (const name of Object.keys(before ?? {})) if (!own(after, name)) changes.push([name, null]);
  for (const [name, value] of Object.entries(after ?? {})) {
    if (!own(before, name) || !equal(before[name], value)) changes.push([name, value]);
  }
  return some(changes);
}

// Lists of ops --------------------------------------------------------------------------------------------------------

/** Appends an op, merging it with an equal neighbour; an insert goes before a delete. */
function push(ops, op) {
  if (size(op) === 0) return;
  const at = isInsert(op) && ops.length > 0 && isDelete(ops[ops.length - 1]) ? ops.length - 1 : ops.length;
  const last = ops[at - 1];
  if (last !== undefined && isDelete(last) && isDelete(op)) {
    ops[at - 1] = { delete: last.delete + op.delete };
  } else if (last !== undefined && isText(last) && isText(op) && equal(last.attributes, op.attributes)) {
    ops[at - 1] = { ...last, insert: last.insert + op.insert };
  } else if (last !== undefined && isRetain(last) && isRetain(op) && equal(last.attributes, op.attributes)) {
    ops[at - 1] = { ...last, retain: last.retain + op.retain };
  } else {
    ops.splice(at, 0, op);
  }
}

function chop(ops) {
  const last = ops[ops.length - 1];
  if (last !== undefined && isRetain(last) && last.attributes === undefined) ops.pop();
  return ops;
}

/** Hands out ops in pieces; behind the end it retains for ever. */
class Reader {
  constructor(ops) {
    this.ops = ops;
    this.index = 0;
    this.used = 0;
  }

  get more() {
    return this.index < this.ops.length;
  }

  /** The op at hand, whole. */
  get op() {
    return this.ops[this.index] ?? { retain: Infinity };
  }

  get left() {
    return size(this.op) - this.used;
  }

  /** The next piece, of `length` <= left. */
  take(length = this.left) {
    const { op, used } = this;
    if (!this.more) return { retain: length };
    if (length === this.left) {
      this.index += 1;
      this.used = 0;
    } else {
      this.used += length;
    }
    if (length === size(op) || isEmbed(op)) return op;
    if (!isText(op)) return isRetain(op) ? { ...op, retain: length } : { delete: length };
    if (splitsPair(op.insert, used + length)) throw new RangeError("an operation may not split a surrogate pair");
    return { ...op, insert: op.insert.slice(used, used + length) };
  }
}

/** How much of a document it names. */
const baseLength = (ops) => ops.reduce((sum, op) => sum + (isInsert(op) ? 0 : size(op)), 0);

/** Of a document; of an operation: what it retains, inserts and deletes. */
const length = (ops) => ops.reduce((sum, op) => sum + size(op), 0);

/** The text of a document, an embed as U+FFFC. */
const plain = (document) => document.map((op) => (isText(op) ? op.insert : EMBED)).join("");

function requireDocument(operation, document) {
  if (!document.every(isInsert)) throw new TypeError("that is no document: it retains or deletes");
  if (baseLength(operation) > length(document)) {
    throw Object.assign(new RangeError("the operation reaches past the end of the document"), { code: "operation_out_of_range" });
  }
}

// The verbs -----------------------------------------------------------------------------------------------------------

/** The document after the operation. Throws RangeError: past the end, a split surrogate pair. */
function apply(document, operation) {
  requireDocument(operation, document);
  return compose(document, operation);
}

/** One operation that does what `first` and then `second` do. Throws RangeError: a split surrogate pair. */
function compose(first, second) {
  const ops = [];
  const before = new Reader(first);
  const after = new Reader(second);
  while (before.more || after.more) {
    if (isInsert(after.op)) {
      push(ops, after.take());
      continue;
    }
    if (isDelete(before.op)) {
      push(ops, before.take());
      continue;
    }
    const step = Math.min(before.left, after.left);
    const old = before.take(step);
    const change = after.take(step);
    if (isDelete(change)) {
      if (isRetain(old)) push(ops, change);
      continue;
    }
    const content = isRetain(old) ? { retain: step } : { insert: old.insert };
    push(ops, dressed(content, composeAttributes(old.attributes, change.attributes, isRetain(old))));
  }
  return chop(ops);
}

/**
 * `operation` as it must be applied after `other`. Where both insert at one place "left" comes first; where both set an
 * attribute the left one stays, as if it had come last: what the server holds a later operation for.
 */
function transform(operation, other, side) {
  if (other.length === 0) return operation;
  const priority = side === "right"; // the other's, in quill-delta's words
  const ops = [];
  const theirs = new Reader(other);
  const mine = new Reader(operation);
  while (mine.more) {
    if (isInsert(theirs.op) && (priority || !isInsert(mine.op))) {
      push(ops, { retain: size(theirs.take()) });
      continue;
    }
    if (isInsert(mine.op)) {
      push(ops, mine.take());
      continue;
    }
    const step = Math.min(theirs.left, mine.left);
    const done = theirs.take(step);
    const change = mine.take(step);
    if (isDelete(done)) continue;
    if (isDelete(change)) push(ops, change);
    else push(ops, dressed({ retain: step }, transformAttributes(done.attributes, change.attributes, priority)));
  }
  return chop(ops);
}

/** What undoes `operation`, which applies to `document`. Throws as `apply`. */
function invert(operation, document) {
  requireDocument(operation, document);
  const ops = [];
  const base = new Reader(document);
  for (const op of operation) {
    if (isInsert(op)) {
      push(ops, { delete: size(op) });
      continue;
    }
    for (let left = size(op); left > 0; ) {
      const old = base.take(Math.min(left, base.left));
      left -= size(old);
      if (isDelete(op)) push(ops, old);
      else if (op.attributes === undefined) push(ops, { retain: size(old) });
      else push(ops, dressed({ retain: size(old) }, invertAttributes(op.attributes, old.attributes)));
    }
  }
  return chop(ops);
}

/** The embeds of a document, with where they stand. */
function embedsOf(document) {
  const embeds = [];
  let at = 0;
  for (const op of document) {
    if (isEmbed(op)) embeds.push([at, op.insert]);
    at += size(op);
  }
  return embeds;
}

/** How far from the start (or, with lists that are reversed, from the end) the embeds let two documents be the same. */
function sameEmbeds(one, two, distance) {
  for (let index = 0; index < Math.max(one.length, two.length); index += 1) {
    const [a, b] = [one[index], two[index]];
    const [atA, atB] = [a ? distance(a[0], 0) : Infinity, b ? distance(b[0], 1) : Infinity];
    if (atA !== atB || !equal(a[1], b[1])) return Math.min(atA, atB);
  }
  return Infinity;
}

/** What makes the document `after` of `before`: one splice of the content, formats where it stays. */
function diff(before, after) {
  const [old, now] = [plain(before), plain(after)];
  const [oldEmbeds, nowEmbeds] = [embedsOf(before), embedsOf(after)];
  const most = Math.min(old.length, now.length);
  const ahead = Math.min(most, sameEmbeds(oldEmbeds, nowEmbeds, (at) => at));
  let start = 0;
  while (start < ahead && old.charCodeAt(start) === now.charCodeAt(start)) start += 1;
  if (splitsPair(old, start) || splitsPair(now, start)) start -= 1;
  const ends = [old.length - 1, now.length - 1];
  const fromEnd = (at, which) => ends[which] - at;
  const behind = Math.min(most - start, sameEmbeds(oldEmbeds.reverse(), nowEmbeds.reverse(), fromEnd));
  let end = 0;
  while (end < behind && old.charCodeAt(ends[0] - end) === now.charCodeAt(ends[1] - end)) end += 1;
  if (splitsPair(old, old.length - end) || splitsPair(now, now.length - end)) end -= 1;

  const ops = [];
  const from = new Reader(before);
  const to = new Reader(after);
  const format = (units) => {
    for (let left = units; left > 0; ) {
      const step = Math.min(left, from.left, to.left);
      left -= step;
      push(ops, dressed({ retain: step }, diffAttributes(from.take(step).attributes, to.take(step).attributes)));
    }
  };
  format(start);
  for (let left = now.length - start - end; left > 0; ) {
    const piece = to.take(Math.min(left, to.left));
    left -= size(piece);
    push(ops, piece);
  }
  for (let left = old.length - start - end; left > 0; ) left -= size(from.take(Math.min(left, from.left)));
  push(ops, { delete: old.length - start - end });
  format(end);
  return chop(ops);
}

/** Where a cursor goes; an insert exactly at it pushes it on, unless it sticks to the "left". */
function mapPosition(position, operation, stick = "right") {
  let at = 0;
  let mapped = position;
  for (const op of operation) {
    if (at > mapped) break;
    if (isDelete(op)) {
      mapped -= Math.min(op.delete, mapped - at);
      continue;
    }
    if (isInsert(op) && (at < mapped || stick === "right")) mapped += size(op);
    at += size(op);
  }
  return mapped;
}

/** Where the last insert, delete or format ends, in the document after it; null: it does nothing. */
function endOf(operation) {
  if (!operation.length) return null;
  return operation.reduce((at, op) => at + (isDelete(op) ? 0 : size(op)), 0);
}

/** In pieces of at most `limit` bytes, cut between ops and in inserted texts; an embed stays whole. */
function split(operation, limit) {
  const pieces = [];
  let covered = 0; // by the pieces before, in what they give
  let [count, bytes] = [0, 0]; // of the piece under way
  for (const op of operation) {
    const whole = bytesOf(op) <= limit - 64 || !isText(op);
    const room = limit - 64 - bytesOf(dressed({ insert: "" }, op.attributes));
    for (const part of whole ? [op] : cutText(op.insert, room).map((insert) => ({ ...op, insert }))) {
      const long = bytesOf(part) + 1;
      if (!count || count >= MOST_OPS - 1 || bytes + long > limit) {
        pieces.push([]);
        push(pieces.at(-1), { retain: covered });
        [count, bytes] = [1, 32];
      }
      push(pieces.at(-1), part);
      count += 1;
      bytes += long;
      if (!isDelete(part)) covered += size(part);
    }
  }
  return pieces.map(chop).filter((piece) => piece.length > 0);
}

/** As text operations have it; null: only rich text has it. */
function plainPart(op) {
  if (isDelete(op)) return -op.delete;
  if (isRetain(op)) return op.attributes ? null : op.retain;
  return isText(op) ? op.insert : null;
}

/** The type rich-text of documents (syncline-types.js says what is in a type). */
export const richText = Object.freeze({
  name: "rich-text",
  drifts: () => true,
  /** A new document. */
  empty: () => [],
  isIdentity: (operation) => operation.length === 0,
  hash: (document) => richHash(document, plain(document)),
  split,
  move: (operation, position, stick = "left") => mapPosition(position, operation, stick),
  end: endOf,
  within: (document, position) => Math.min(position, length(document)),
  checkPosition: (document, position) => text.checkPosition({ length: length(document) }, position),
  stroke: (operation) => text.stroke(operation.map(plainPart)),
  apply, baseLength, compose, diff, invert, length, mapPosition, parse, parseContent, plain, transform,
});
