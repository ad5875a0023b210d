/**
 * The types of documents: what everything else (state, handle) works with. A part of the Syncline client: import syncline.js.
 *
 * A type is one object. None of its functions changes its arguments. Needed are
 *
 *   empty() -> content                  of a new document
 *   parseContent(value) -> content      as the server sent it, or as an application gives it; throws
 *   parse(value, trusted) -> operation  checked; `trusted`: by the server already, which has bounds of its own; throws
 *   apply(content, operation) -> content
 *   transform(operation, other, side) -> operation  as it must be made after `other`; "left" wins ties
 *   compose(first, second) -> operation
 *   invert(operation, content) -> operation         what undoes it; throws when it does not fit `content`
 *   diff(before, after) -> operation
 *   isIdentity(operation) -> boolean
 *   hash(content) -> number             as the server has it, 32 bits
 *
 * and of the rest what is not as in DEFAULTS. The same names as in src/core/documents/document_type.py, which says more.
 */

import { bytesOf, named, SynclineError } from "./syncline-base.js";
import { json } from "./syncline-json.js";
import { text } from "./syncline-ot.js";
import { richText } from "./syncline-rich.js";

const DEFAULTS = {
  /** As JSON values, for applications and for the wire. */
  show: (content) => content,
  describe: (operation) => operation,
  /** [content after it, the operation with what is really there]. Throws when it does not fit. */
  commit(content, operation) {
    return [this.apply(content, operation), operation];
  },
  /** The operation as it waits and is sent: without what the server does not look at. */
  lean: (operation) => operation,
  /** Whether one's own work may be carried over a `drift` without losing any: else the server tells all operations. */
  drifts: () => false,
  /** `diff`, for what others did when only the outcome is known: over it one's own work is carried. */
  drift(before, after) {
    return this.diff(before, after);
  },
  /** [own, other], each as it applies after the other; `own` wins ties. */
  cross(own, other) {
    return [this.transform(own, other, "left"), this.transform(other, own, "right")];
  },
  /** As a balanced tree: O(n log n) for n small operations. One at least. */
  composeAll(operations, from = 0, to = operations.length) {
    if (to - from === 1) return operations[from];
    const middle = (from + to) >> 1;
    return this.compose(this.composeAll(operations, from, middle), this.composeAll(operations, middle, to));
  },
  /** Whether `applied` is what becomes of `planned` when it is done. False: it may be, all the same. */
  isSame: (planned, applied) => JSON.stringify(planned) === JSON.stringify(applied),
  /** Where a position goes; what is inserted at it leaves it where it is, unless it sticks to the "right". */
  move: (operation, position) => position,
  /** Where its author's cursor is afterwards; null: it says nothing about that. */
  end: () => null,
  /** A position that has gone astray, as one of `content`. */
  within: (content, position) => position,
  /** Throws for what is no position of `content`. */
  checkPosition() {
    throw new SynclineError("invalid_data", "documents of this type have no cursors");
  },
  /** What it takes to tell it, about; what waits is bounded in that. */
  bulk(operation) {
    return bytesOf(this.describe(operation));
  },
  /** The bulk that is sure to fit into a message of so many bytes. */
  most: (bytes) => Math.floor(bytes * 0.9),
  /** In pieces to be done one after the other, each of at most `limit` where that is possible. */
  split: (operation) => [operation],
  /** {at, text, removed, where}: an operation that does one thing at one place, as typing does; else null. */
  stroke: () => null,
};

const NEEDED = ["empty", "parseContent", "parse", "apply", "transform", "compose", "invert", "diff", "isIdentity", "hash"];
const TYPES = new Map();

/** The methods of the classes that an object is of, for itself. */
function inherited(object) {
  const methods = {};
  for (let of = Object.getPrototypeOf(object); of && of !== Object.prototype; of = Object.getPrototypeOf(of)) {
    for (const key of Object.getOwnPropertyNames(of)) {
      if (key in methods || key === "constructor" || typeof object[key] !== "function") continue;
      methods[key] = object[key].bind(object);
    }
  }
  return methods;
}

/** From now on documents of the type `name` can be opened. TypeError: something is missing in it, or is no function. */
export function registerType(name, type) {
  if (typeof name !== "string" || !name) throw new TypeError(`the name of a type is a string, not ${named(name)}`);
  if (typeof type !== "object" || type === null) throw new TypeError(`a type is an object, not ${named(type)}`);
  for (const method of NEEDED) if (typeof type[method] !== "function") throw new TypeError(`the type ${named(name)} needs ${method}()`);
  for (const method of Object.keys(DEFAULTS)) {
    if (!["undefined", "function"].includes(typeof type[method])) throw new TypeError(`${method} of the type ${named(name)} is no function`);
  }
  const own = Object.fromEntries(Object.entries(type).filter(([, value]) => value !== undefined));
  TYPES.set(name, Object.freeze({ ...DEFAULTS, ...inherited(type), ...own, name }));
}

/** Throws SynclineError (invalid_data). */
export function typeOf(name) {
  const type = TYPES.get(name);
  if (!type) throw new SynclineError("invalid_data", `no document type ${name}`);
  return type;
}

for (const type of [text, richText, json]) registerType(type.name, type);
