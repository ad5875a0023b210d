/**
 * JSON documents: pure functions over plain values. A part of the Syncline client: import syncline.js.
 *
 * The operations are json0's, as docs/types.md describes them; the rules are the server's (src/core/json/json0.pyx and
 * text0.pyx, which say more about why): both must come to the same content. Values and operations are never changed once
 * they are made; `apply` copies what lies on the path.
 */

import { bytesOf, cutText, isObject, SynclineError } from "./syncline-base.js";
import { contentHash } from "./syncline-hash.js";
import { diff, drift } from "./syncline-jsondiff.js";

const MOST_COMPONENTS = 1000;
const MOST_LEVELS = 64;
const LONGEST_KEY = 1024;
const FORMS = new Set(["na p", "lm p", "oi p", "od p", "od oi p", "li p", "ld p", "ld li p", "p si", "p sd", "o p t"]);

const refuse = (message, code = "operation_invalid") => {
  throw new SynclineError(code, message);
};
const has = (object, name) => Object.hasOwn(object, name);
const without = (object, name) => Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));

// What comes from outside ----------------------------------------------------------------------------------------------

function checkText(text) {
  if (!text.isWellFormed ? /[\uD800-\uDFFF]/.test(text.replace(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g, "")) : !text.isWellFormed())
    refuse("a lone surrogate");
  return text;
}

function checkKey(key) {
  if (key.length > LONGEST_KEY) refuse(`a key of more than ${LONGEST_KEY} UTF-16 code units`);
  if (key === "__proto__") refuse("__proto__ is no key");
  return checkText(key);
}

/** A copy of a JSON value; throws for what JSON or the server does not have. */
function checkValue(value, depth = 0) {
  if (typeof value === "string") return checkText(value);
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value + 0 : refuse("a number that is not finite");
  if (depth >= MOST_LEVELS) refuse(`nested more than ${MOST_LEVELS} levels deep`);
  if (Array.isArray(value)) return Array.from(value, (item) => checkValue(item, depth + 1)); // holes are undefined, and refused
  if (!isObject(value)) return refuse("a value that JSON does not have");
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [checkKey(key), checkValue(item, depth + 1)]));
}

/** What is said to be there and is to be removed: null for what cannot be there. It is never believed, and so never refused. */
function checkClaim(value, depth) {
  try {
    return checkValue(value, depth);
  } catch (error) {
    if (error instanceof SynclineError) return null;
    throw error;
  }
}

const checkIndex = (value) =>
  Number.isInteger(value) && value >= 0 && value < 2 ** 31 ? value : refuse("indexes and positions are integers from 0");

function parseEdits(edits) {
  if (!Array.isArray(edits)) refuse("o is a list of edits");
  return edits
    .map((edit) => {
      if (!isObject(edit) || !["i p", "d p"].includes(Object.keys(edit).sort().join(" "))) refuse("an edit has p and i or d");
      const name = has(edit, "i") ? "i" : "d";
      if (typeof edit[name] !== "string") refuse("i and d are strings");
      return { p: checkIndex(edit.p), [name]: checkText(edit[name]) };
    })
    .filter((edit) => (edit.i ?? edit.d) !== "");
}

function parseComponent(given) {
  if (!isObject(given) || !FORMS.has(Object.keys(given).sort().join(" "))) refuse("a component has a path and what to do");
  if (!Array.isArray(given.p)) refuse("a path is a list of keys and indexes");
  if (given.p.length > MOST_LEVELS) refuse(`a path of more than ${MOST_LEVELS} steps`);
  const p = given.p.map((step) => (typeof step === "string" ? checkKey(step) : checkIndex(step)));
  const last = p[p.length - 1];
  if (has(given, "t")) return given.t === "text0" ? { p, t: "text0", o: parseEdits(given.o) } : refuse("only text0");
  if (has(given, "na")) return Number.isSafeInteger(given.na) ? { p, na: given.na + 0 } : refuse("na adds an integer");
  if (has(given, "si") || has(given, "sd")) {
    if (!p.length) refuse("the path of si and sd ends with a position");
    const edit = has(given, "si") ? { p: last, i: given.si } : { p: last, d: given.sd };
    return { p: p.slice(0, -1), t: "text0", o: parseEdits([edit]) };
  }
  if (has(given, "oi") || has(given, "od")) {
    if (p.length && typeof last !== "string") refuse("the path of oi and od ends with a key");
    if (!p.length && !(has(given, "oi") && has(given, "od"))) refuse("the root is replaced: od and oi");
  } else if (typeof last !== "number") refuse("the path of li, ld and lm ends with an index");
  const component = { p };
  for (const [name, value] of Object.entries(given)) {
    if (name === "lm") component.lm = checkIndex(value);
    else if (name !== "p") component[name] = (name === "od" || name === "ld" ? checkClaim : checkValue)(value, p.length);
  }
  return component;
}

const weight = (component) => (component.o ? component.o.length : 1);

/** The canonical form of an operation, checked; throws an error with `code` operation_invalid. */
function parse(operation, trusted = false) {
  if (!Array.isArray(operation)) refuse("an operation is a list of components");
  const parsed = operation.map(parseComponent);
  if (!trusted && parsed.reduce((sum, component) => sum + weight(component), 0) > MOST_COMPONENTS) {
    refuse(`more than ${MOST_COMPONENTS} components`);
  }
  return parsed.filter((component) => !component.o || component.o.length);
}

// Edits of strings -----------------------------------------------------------------------------------------------------

const inside = (text, at) => at > 0 && /^[\uD800-\uDBFF][\uDC00-\uDFFF]/.test(text.slice(at - 1, at + 1));

function applyEdits(start, edits) {
  let text = start;
  for (const { p, i, d } of edits) {
    if (p > text.length) refuse("an edit past the end of its string", "operation_out_of_range");
    if (d !== undefined && text.slice(p, p + d.length) !== d) refuse("the text to delete is not what is there");
    if (inside(text, p) || inside(text, p + (d ?? "").length)) refuse("it splits a surrogate pair");
    text = text.slice(0, p) + (i ?? "") + text.slice(p + (d ?? "").length);
  }
  return text;
}

const inject = (text, at, inserted) => text.slice(0, at) + inserted + text.slice(at);

function addEdit(edits, edit) {
  if ((edit.i ?? edit.d) === "") return;
  const last = edits[edits.length - 1];
  if (last?.i !== undefined && edit.i !== undefined && last.p <= edit.p && edit.p <= last.p + last.i.length) {
    edits[edits.length - 1] = { p: last.p, i: inject(last.i, edit.p - last.p, edit.i) };
  } else if (last?.d !== undefined && edit.d !== undefined && edit.p <= last.p && last.p <= edit.p + edit.d.length) {
    edits[edits.length - 1] = { p: edit.p, d: inject(edit.d, last.p - edit.p, last.d) };
  } else edits.push(edit);
}

function moved(at, other, after) {
  if (other.i !== undefined) return other.p < at || (other.p === at && after) ? at + other.i.length : at;
  return at > other.p ? Math.max(other.p, at - other.d.length) : at;
}

function editPast(result, edit, other, side) {
  if (edit.i !== undefined) {
    const p = moved(edit.p, other, side === "right");
    return addEdit(result, p === edit.p ? edit : { p, i: edit.i });
  }
  const end = edit.p + edit.d.length;
  if (other.i !== undefined) {
    const before = Math.min(Math.max(other.p - edit.p, 0), edit.d.length);
    if (edit.p < other.p) addEdit(result, { p: edit.p, d: edit.d.slice(0, before) });
    return addEdit(result, { p: edit.p + other.i.length, d: edit.d.slice(before) });
  }
  const otherEnd = other.p + other.d.length;
  if (edit.p >= otherEnd) return addEdit(result, { p: edit.p - other.d.length, d: edit.d });
  if (end <= other.p) return addEdit(result, edit);
  const low = Math.max(edit.p, other.p);
  const high = Math.min(end, otherEnd);
  if (edit.d.slice(low - edit.p, high - edit.p) !== other.d.slice(low - other.p, high - other.p)) {
    refuse("the text to delete is not what is there");
  }
  return addEdit(result, { p: Math.min(edit.p, other.p), d: edit.d.slice(0, low - edit.p) + edit.d.slice(high - edit.p) });
}

/** Both lists of edits past each other. Pieces that an edit falls into go through the rest of `first` one after the other. */
function crossEdits(first, second) {
  let left = first;
  const right = [];
  const behind = [];
  let waiting = second;
  let next = 0;
  for (;;) {
    if (next === waiting.length) {
      if (!behind.length) return [left, right];
      const outer = behind.pop();
      for (const component of left) addEdit(outer.walked, component);
      left = outer.walked;
      ({ waiting, next } = outer);
      continue;
    }
    let walker = waiting[next++];
    const walked = [];
    let index = 0;
    for (; index < left.length && walker; index += 1) {
      const pieces = [];
      editPast(walked, left[index], walker, "left");
      editPast(pieces, walker, left[index], "right");
      if (pieces.length === 1) walker = pieces[0];
      else {
        const rest = left.slice(index + 1);
        if (pieces.length) {
          behind.push({ walked, waiting, next });
          left = rest;
          [waiting, next] = [pieces, 0];
        } else {
          for (const component of rest) addEdit(walked, component);
          left = walked;
        }
        walker = null;
      }
    }
    if (walker) {
      addEdit(right, walker);
      left = walked;
    }
  }
}

// Apply and friends ----------------------------------------------------------------------------------------------------

function lookup(node, key) {
  if (Array.isArray(node)) {
    if (typeof key !== "number") refuse("the elements of a list have indexes");
    if (key >= node.length) refuse("an index past the end of its list", "operation_out_of_range");
  } else if (typeof key !== "string" || !has(node, key)) refuse("a path leads to a key that is not there");
  return node[key];
}

function resolveComponent(holder, fresh, component) {
  let node = holder;
  let key = "";
  for (const step of component.p) {
    let child = lookup(node, key);
    if (typeof child !== "object" || child === null) refuse("a path leads through what is no container");
    if (!fresh.has(child)) {
      child = Array.isArray(child) ? [...child] : { ...child };
      fresh.add(child);
      node[key] = child;
    }
    node = child;
    key = step;
  }
  if (component.o) {
    const text = lookup(node, key);
    if (typeof text !== "string") refuse("text is edited where there is none");
    node[key] = applyEdits(text, component.o);
  } else if (component.na !== undefined) {
    const number = lookup(node, key);
    const sum = number + component.na;
    if (!Number.isSafeInteger(number) || !Number.isSafeInteger(sum)) refuse("na where there is no integer, or beyond 2^53 - 1");
    node[key] = sum;
  } else if (component.oi !== undefined || component.od !== undefined) {
    if (Array.isArray(node)) refuse("oi and od are for objects");
    if (component.od === undefined && has(node, key)) refuse("oi without od where the key exists");
    const told = component.od !== undefined ? { ...component, od: lookup(node, key) } : component;
    if (component.oi !== undefined) node[key] = component.oi;
    else delete node[key];
    return told;
  } else if (!Array.isArray(node)) refuse("li, ld and lm are for lists");
  else if (component.lm !== undefined) {
    const item = lookup(node, key);
    lookup(node, component.lm);
    node.splice(key, 1);
    node.splice(component.lm, 0, item);
  } else if (component.ld !== undefined) {
    const ld = lookup(node, key);
    if (component.li !== undefined) node[key] = component.li;
    else node.splice(key, 1);
    return { ...component, ld };
  } else {
    if (typeof key !== "number") refuse("the elements of a list have indexes");
    if (key > node.length) refuse("an index past the end of its list", "operation_out_of_range");
    node.splice(key, 0, component.li);
  }
  return component;
}

/** [the content after it, the operation with what is really there in `od` and `ld`]. Throws, and changes nothing. */
function commit(content, operation) {
  const holder = { "": content };
  const fresh = new Set();
  const told = operation.map((component) => resolveComponent(holder, fresh, component));
  return [holder[""], told];
}

const apply = (content, operation) => commit(content, operation)[0];
const INVERSE = { oi: "od", od: "oi", li: "ld", ld: "li" };

function invertComponent(component) {
  const { p, o, na, lm } = component;
  if (o) {
    const undone = ({ p: at, i, d }) => (i === undefined ? { p: at, i: d } : { p: at, d: i });
    return { p, t: "text0", o: [...o].reverse().map(undone) };
  }
  if (na !== undefined) return { p, na: 0 - na };
  if (lm !== undefined) return { p: [...p.slice(0, -1), lm], lm: p[p.length - 1] };
  return Object.fromEntries(Object.entries(component).map(([name, value]) => [INVERSE[name] ?? name, value]));
}

/** What undoes `operation`, which applies to `content`. */
const invert = (operation, content) => commit(content, operation)[1].reverse().map(invertComponent);

function samePath(one, two) {
  let at = one.length;
  if (at !== two.length) return false;
  while (at > 0 && one[at - 1] === two[at - 1]) at -= 1; // they mostly differ at the end
  return at === 0;
}

const isScalar = (value) => typeof value !== "object" || value === null;

function append(operation, component) {
  const last = operation[operation.length - 1];
  if (!last || !samePath(last.p, component.p)) operation.push(component);
  else if (component.o && last.o) {
    const o = [...last.o];
    for (const edit of component.o) addEdit(o, edit);
    operation.pop();
    if (o.length) operation.push({ ...component, o });
  } else if (component.na !== undefined && last.na !== undefined && Number.isSafeInteger(component.na + last.na)) {
    operation[operation.length - 1] = { ...component, na: component.na + last.na };
  } else if (last.li !== undefined && component.ld !== undefined && component.li === undefined && isScalar(last.li)) {
    operation.pop();
    if (last.ld !== undefined) operation.push({ p: last.p, ld: last.ld });
  } else if (last.od !== undefined && last.oi === undefined && component.oi !== undefined && component.od === undefined) {
    operation[operation.length - 1] = { ...last, oi: component.oi };
  } else if (last.oi !== undefined && component.od !== undefined) {
    operation.pop();
    const rest = without(last, "oi");
    if (component.oi !== undefined) rest.oi = component.oi;
    if (Object.keys(rest).length > 1) operation.push(rest);
  } else if (!(component.lm !== undefined && component.lm === component.p[component.p.length - 1])) {
    operation.push(component);
  }
}

function compose(first, second) {
  const result = [...first];
  for (const component of second) append(result, component);
  return result;
}

/** An edit of a string in shorter ones, one after the other. */
function cutEdit({ p, i, d }, limit) {
  let at = p;
  return cutText(i ?? d, limit).map((part) => {
    const edit = i === undefined ? { p: at, d: part } : { p: at, i: part };
    if (i !== undefined) at += part.length;
    return edit;
  });
}

/** Lists that one message takes, of pieces that weigh what `weigh` says; a piece that is too large by itself is alone. */
function packed(pieces, weigh, limit) {
  const lists = [];
  let [room, bytes] = [0, 0];
  for (const piece of pieces) {
    const size = bytesOf(piece) + 1;
    room -= weigh(piece);
    bytes -= size;
    if (room < 0 || bytes < 0) {
      lists.push([]);
      room = MOST_COMPONENTS - weigh(piece);
      bytes = limit - size - 2;
    }
    lists.at(-1).push(piece);
  }
  return lists;
}

/** In pieces of at most MOST_COMPONENTS and `limit` bytes, cut between components and in edits of strings; a value stays whole. */
function split(operation, limit = Infinity) {
  const cut = (component) => {
    const whole = component.o === undefined || (weight(component) <= MOST_COMPONENTS && bytesOf(component) <= limit);
    if (whole) return [component];
    const room = limit - bytesOf({ ...component, o: [] });
    const edits = component.o.flatMap((edit) => cutEdit(edit, room - 32));
    return packed(edits, () => 1, room).map((o) => ({ ...component, o }));
  };
  return packed(operation.flatMap(cut), weight, limit);
}

// Transform ------------------------------------------------------------------------------------------------------------

const reach = ({ p, o, na }) => p.length + (o || na !== undefined ? 1 : 0);

/** The step in the path of `below` that `above` is about; null when they do not meet, -1 for the root. */
function operand(above, below) {
  const last = reach(above) - 1;
  if (last < 0) return -1;
  if (last >= reach(below)) return null;
  for (let index = 0; index < last; index += 1) if (above.p[index] !== below.p[index]) return null;
  return last;
}

const isListed = ({ li, ld, lm }) => li !== undefined || ld !== undefined || lm !== undefined;

/** Whether two components are nothing to each other, as far as that is seen at once: where their paths part. */
function apart(one, other) {
  const [a, b] = [one.p, other.p];
  const shorter = Math.min(a.length, b.length);
  for (let at = 0; at < shorter; at += 1) {
    if (a[at] === b[at]) continue;
    if (typeof a[at] === "string" || typeof b[at] === "string") return true; // the keys of an object are nothing to each other
    return !(at === a.length - 1 && isListed(one)) && !(at === b.length - 1 && isListed(other));
  }
  return false;
}

const stepOf = ({ p }, at) => (at >= 0 && at < p.length ? p[at] : null);
function atStep(component, at, step) {
  if (component.p[at] === step) return component;
  const p = component.p.slice();
  p[at] = step;
  return component.li !== undefined && component.ld === undefined ? { p, li: component.li } : { ...component, p }; // the quick way for most
}
const after = (flag) => (flag ? 1 : 0);

/** `component` removes something that `other` changes: it then removes the changed thing. */
function withChangedVictim(component, other, within) {
  if (stepOf(component, within) !== stepOf(other, within)) return component;
  const name = component.ld !== undefined ? "ld" : "od";
  try {
    return { ...component, [name]: apply(component[name], [{ ...other, p: other.p.slice(component.p.length) }]) };
  } catch (error) {
    if (error instanceof SynclineError) return component;
    throw error;
  }
}

/** `given` after `other`, or null. Without `victims` what it says of what it removes stays as it is: `commit` makes that true. */
function past(given, other, side, victims) {
  let component = given;
  const within = victims && (component.ld !== undefined || component.od !== undefined) ? operand(component, other) : null;
  if (within !== null && reach(other) > reach(component)) component = withChangedVictim(component, other, within);
  const at = operand(other, component);
  if (at === null || (isListed(other) && typeof stepOf(component, at) !== "number")) return component;
  if (other.o || other.na !== undefined) return component; // edits of one string: pastEdits
  if (other.oi !== undefined || other.od !== undefined) return pastKey(component, other, at, side);
  if (other.lm !== undefined) return pastMove(component, other, at, side);
  if (other.ld === undefined) return pastInsert(component, other, at, side);
  return other.li === undefined ? pastRemoval(component, other, at) : pastReplacement(component, other, at, side);
}

/** Two edits of strings past each other; nulls for nothing. */
function pastEdits(own, other) {
  const [left, right] = crossEdits(own.o, other.o);
  return [left.length ? { ...own, o: left } : null, right.length ? { ...other, o: right } : null];
}

/** Both operations past each other, the first wins ties. O(first x second); pairs that are nothing to each other cost next to nothing. */
function crossed(first, second, victims) {
  let left = first;
  const right = [];
  for (const component of second) {
    let walker = component;
    const walked = [];
    for (const own of left) {
      if (walker === null || apart(own, walker)) append(walked, own);
      else {
        const [passed, next] = own.o && walker.o && samePath(own.p, walker.p)
          ? pastEdits(own, walker)
          : [past(own, walker, "left", victims), past(walker, own, "right", victims)];
        if (passed) append(walked, passed);
        walker = next;
      }
    }
    if (walker) append(right, walker);
    left = walked;
  }
  return [left, right];
}

function pastKey(component, other, at, side) {
  if (stepOf(component, at) !== stepOf(other, at)) return component;
  const same = reach(component) === reach(other);
  if (other.oi === undefined) return same && component.oi !== undefined ? { p: component.p, oi: component.oi } : null;
  if (same && component.oi !== undefined && side === "left") return { p: component.p, od: other.oi, oi: component.oi };
  return null;
}

function pastInsert(component, other, at, side) {
  const index = component.p[at];
  const place = other.p[at];
  const same = reach(component) === reach(other);
  if (same && component.li !== undefined && component.ld === undefined && index === place) {
    return atStep(component, at, index + after(side === "right"));
  }
  const moved = atStep(component, at, index + after(place <= index));
  return same && component.lm !== undefined && place <= component.lm ? { ...moved, lm: component.lm + 1 } : moved;
}

function pastReplacement(component, other, at, side) {
  if (component.p[at] !== other.p[at]) return component;
  if (reach(component) !== reach(other)) return null;
  if (component.ld === undefined) return component;
  return component.li !== undefined && side === "left" ? { ...component, ld: other.li } : null;
}

function pastRemoval(given, other, at) {
  let component = given;
  const index = component.p[at];
  const place = other.p[at];
  const same = reach(component) === reach(other);
  if (same && component.lm !== undefined) {
    if (place === index) return null;
    const to = component.lm;
    if (place < to || (place === to && index < to)) component = { ...component, lm: to - 1 };
  }
  if (place === index) {
    if (!same) return null;
    if (component.ld !== undefined) return component.li !== undefined ? { p: component.p, li: component.li } : null;
  }
  return atStep(component, at, index - after(place < index));
}

function pastMove(component, other, at, side) {
  const index = component.p[at];
  const from = other.p[at];
  const to = other.lm;
  const same = reach(component) === reach(other);
  if (same && component.lm !== undefined) return movePastMove(component, other, at, side);
  if (same && component.li !== undefined && component.ld === undefined) {
    return atStep(component, at, index - after(index > from) + after(index > to));
  }
  return atStep(component, at, carried(index, from, to));
}

function movePastMove(component, other, at, side) {
  const start = component.p[at];
  const end = component.lm;
  const from = other.p[at];
  const to = other.lm;
  if (from === to) return component;
  if (start === from) return side === "right" ? null : { ...atStep(component, at, to), lm: start === end ? to : end };
  let index = start - after(start > from);
  let lm = end;
  if (start > to) index += 1;
  else if (start === to && from > to) {
    index += 1;
    lm += after(start === end);
  }
  if (end > from || (end === from && end > start)) lm -= 1;
  if (end > to) lm += 1;
  else if (end === to) {
    if ((to > from && end > start) || (to < from && end < start)) lm += after(side === "right");
    else if (end > start) lm += 1;
    else if (end === from) lm -= 1;
  }
  return { ...atStep(component, at, index), lm };
}

/** `operation` as it must be made after `other`; both were made on the same content. "left" wins ties. */
function transform(operation, other, side) {
  if (side === "left") return crossed(operation, other, true)[0];
  return crossed(other, operation, true)[1];
}

/** Both past each other, "left" the own one. */
const cross = (own, other) => crossed(own, other, false);

// Positions: a path, the last step of which may be an offset in a string. The server's are src/core/json/positions.pyx ------------------------

/** Throws for what is no position of `content`. */
function checkPosition(content, position) {
  if (!Array.isArray(position)) throw new TypeError("a position in JSON is a path: a list of keys and indexes");
  let node = content;
  for (const [at, step] of position.entries()) {
    const last = at === position.length - 1;
    const size = Array.isArray(node) || typeof node === "string" ? node.length : -1;
    const behind = last && Number.isInteger(step) && step >= 0 && step <= size;
    const inside = typeof step === "string" ? isObject(node) && has(node, step) : Array.isArray(node) && node[step] !== undefined;
    if (!behind && !inside) refuse("the cursor lies outside of the content", "invalid_data");
    node = node[step];
  }
}

/** Where a position goes that points at something, which it follows; where that is removed it stays where it was. */
function move(operation, position, stick = "left") {
  return operation.reduce((at, component) => pastComponent(component, at, stick), position);
}

function pastComponent(component, position, stick) {
  const { p } = component;
  const last = p.length - 1;
  const meets = (steps) => position.length >= steps && p.slice(0, steps).every((step, at) => step === position[at]);
  if (component.o) {
    const offset = position.at(-1);
    if (position.length !== p.length + 1 || typeof offset !== "number" || !meets(p.length)) return position;
    return [...p, component.o.reduce((at, edit) => moved(at, edit, stick === "right"), offset)];
  }
  if (component.na !== undefined) return position;
  if (last < 0) return []; // the root is another one
  if (position.length <= last || !meets(last)) return position;
  const index = position[last];
  const own = p[last];
  if (has(component, "oi") || has(component, "od")) {
    if (index !== own) return position;
    return has(component, "oi") ? p : p.slice(0, last);
  }
  if (typeof index !== "number") return position;
  const to = (step) => [...position.slice(0, last), step, ...position.slice(last + 1)];
  if (has(component, "lm")) return to(carried(index, own, component.lm));
  if (has(component, "ld")) {
    if (index === own) return p;
    return has(component, "li") ? position : to(index - after(own < index));
  }
  return to(index + after(own <= index));
}

/** Where an element is after one was moved. */
function carried(index, from, to) {
  if (index === from) return to;
  return index - after(index > from) + after(index > to || (index === to && from > to));
}

/** Behind the last edit of a string; null: the operation ends with something else. */
function end(operation) {
  const { p, o } = operation.at(-1) ?? {};
  const edit = o?.at(-1);
  return edit ? [...p, edit.p + (edit.i ?? "").length] : null;
}

/** {at, text, removed, where} of one edit of one string; else null. */
function stroke(operation) {
  if (operation.length !== 1 || operation[0].o?.length !== 1) return null;
  const [{ p: at, i = "", d = "" }] = operation[0].o;
  return { at, text: i, removed: d.length, where: JSON.stringify(operation[0].p) };
}

/** Of what is removed only that it is: the server puts in what is there, and a large value need not be told to be removed. */
function lean(operation) {
  const told = ({ od = null, ld = null }) => od !== null || ld !== null;
  if (!operation.some(told)) return operation;
  return operation.map((one) => (told(one) ? { ...one, ...(has(one, "od") ? { od: null } : { ld: null }) } : one));
}

/** What an operation does: what it says of what was there is not believed, and may differ. */
const intended = ({ p, o, na, lm, oi, li, od, ld }) => [p, o, na, lm, oi, li, oi === undefined, li === undefined, od === undefined, ld === undefined];
const intent = (operation) => JSON.stringify(operation.map(intended));

/** The type json of documents (syncline-types.js says what is in a type). Every function returns new values and changes none. */
export const json = {
  name: "json",
  empty: () => null,
  parse,
  parseContent: (value) => checkValue(value),
  apply,
  commit,
  lean,
  compose,
  transform,
  cross,
  invert,
  diff,
  drift,
  hash: contentHash,
  split,
  move,
  end,
  checkPosition,
  stroke,
  isIdentity: (operation) => operation.length === 0,
  isSame: (planned, applied) => intent(planned) === intent(applied),
};
