/**
 * What leads from one JSON value to another, so that what others do meets what it was done to. A part of the Syncline client: import
 * syncline.js. The same as src/core/json/diff.py, which says more; docs/types.md, "Differences".
 */

import { budgetOf, common, splices } from "./syncline-differences.js";

const MOST_COMPONENTS = 1000;
const MOST_CARRIED = 100_000; // over which work is carried: some seconds
const MOST_STEPS = 4_000_000; // of all searches together: some thirty milliseconds

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const has = (object, name) => Object.hasOwn(object, name);

function sameValue(one, two) {
  if (one === two) return true;
  if (Array.isArray(one)) {
    return Array.isArray(two) && one.length === two.length && one.every((item, index) => sameValue(item, two[index]));
  }
  if (!isObject(one) || !isObject(two)) return false;
  const keys = Object.keys(one);
  return keys.length === Object.keys(two).length && keys.every((key) => has(two, key) && sameValue(one[key], two[key]));
}

const isTooMuch = (found, { most }) => found.reduce((sum, { o }) => sum + (o ? o.length : 1), 0) > most;

/** Whether it is too much already, whatever comes: it is not made to its end then. */
const isSure = (found, { most }) => found.length > most;

/** How two values that are not the same are compared within; undefined: as a whole. */
function within(before, after) {
  if (typeof before === "string" && typeof after === "string") return diffTexts;
  if (Array.isArray(before) && Array.isArray(after)) return diffLists;
  return isObject(before) && isObject(after) ? diffKeys : undefined;
}

/** The components of an operation from `before` to `after`; where they were too many, a value is replaced as a whole. */
export const diff = (before, after) => changes([], before, after, "od", "oi", { ...budgetOf(MOST_STEPS), most: MOST_COMPONENTS });

/**
 * The same, for carrying one's own work over it: it is sent to nobody, so that it may be large; and integers are added to, so that it
 * meets what others add.
 */
export const drift = (before, after) =>
  changes([], before, after, "od", "oi", { ...budgetOf(MOST_STEPS), most: MOST_CARRIED }).map(
    (one) => sumOf(one, "od", "oi") ?? sumOf(one, "ld", "li") ?? one,
  );

function sumOf(component, removed, put) {
  const [old, next] = [component[removed], component[put]];
  return [old, next, next - old].every(Number.isSafeInteger) ? { p: component.p, na: next - old } : undefined;
}

function changes(p, before, after, removed, put, budget) {
  if (sameValue(before, after)) return [];
  const search = within(before, after);
  let found = search?.(p, before, after, budget);
  if (found && isTooMuch(found, budget) && budget.steps) {
    budget.steps = 0; // fewer and larger ones
    found = search(p, before, after, budget);
  }
  return !found || isTooMuch(found, budget) ? [{ p, [removed]: before, [put]: after }] : found;
}

function diffTexts(p, before, after, budget) {
  let moved = 0;
  const o = splices(before, after, budget).flatMap(([start, deleted, inserted]) => {
    const at = start + moved;
    moved += inserted.length - deleted;
    return [...(deleted ? [{ p: at, d: before.slice(start, start + deleted) }] : []), ...(inserted ? [{ p: at, i: inserted }] : [])];
  });
  return [{ p, t: "text0", o }];
}

function diffKeys(p, before, after, budget) {
  const result = [];
  for (const [key, value] of Object.entries(before)) {
    if (has(after, key)) result.push(...changes([...p, key], value, after[key], "od", "oi", budget));
    else result.push({ p: [...p, key], od: value });
    if (isSure(result, budget)) return result;
  }
  for (const [key, value] of Object.entries(after)) if (!has(before, key)) result.push({ p: [...p, key], oi: value });
  return result;
}

// Lists ----------------------------------------------------------------------------------------------------------------

const byIndex = ([one], [other]) => one - other;

function diffLists(p, old, fresh, budget) {
  const shorter = Math.min(old.length, fresh.length);
  let head = 0;
  while (head < shorter && sameValue(old[head], fresh[head])) head += 1;
  let tail = 0;
  while (tail < shorter - head && sameValue(old[old.length - 1 - tail], fresh[fresh.length - 1 - tail])) tail += 1;
  const [before, after] = [old.slice(head, old.length - tail), fresh.slice(head, fresh.length - tail)];
  const [one, two] = namesOf(before, after);
  const same = subsequence(one, two, budget);
  const stay = [...same, ...pairsBetween(same, before, after, one, two)].sort(byIndex);
  const moved = othersInBoth(stay, one, two);
  const both = [...stay, ...moved].sort(byIndex);
  const kept = new Set(both.map(([index]) => index));
  const gone = before.flatMap((_, index) => (kept.has(index) ? [] : [index]));
  const rest = [
    ...[...gone].reverse().map((index) => ({ p: [...p, head + index], ld: before[index] })),
    ...arranged(p, head, after, stay, moved, gone, budget),
  ];
  const result = [];
  for (const [index, place] of both) {
    if (isSure(rest, budget) || isSure(result, budget)) break;
    result.push(...changes([...p, head + index], before[index], after[place], "ld", "li", budget));
  }
  return [...result, ...rest];
}

/** How many numbers of a list in order are smaller (or, `equal`, not larger). */
function countBelow(list, number, equal = false) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < number || (equal && list[middle] === number)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Moves and inserts, from the first place on; `gone` are removed already. Elements that stay or wait to be moved are known by their old
 * index without those; `slots`: how many of those stand before each that was put, in order; `away`: what was taken from among them.
 */
function arranged(p, head, after, stay, moved, gone, budget) {
  const [staying, moving] = [stay, moved].map((pairs) => new Map(pairs.map(([index, place]) => [place, index])));
  const away = [];
  const slots = [];
  const result = [];
  let passed = 0; // of those that stay or wait, so many lie before the place that is filled next
  for (const [place, value] of after.entries()) {
    if (isSure(result, budget)) break;
    if (staying.has(place)) {
      passed = staying.get(place) - countBelow(gone, staying.get(place)) + 1;
      continue;
    }
    const at = passed - countBelow(away, passed) + slots.length;
    if (moving.has(place)) {
      const rank = moving.get(place) - countBelow(gone, moving.get(place));
      const index = rank - countBelow(away, rank) + countBelow(slots, rank, true);
      if (index !== at) result.push({ p: [...p, head + index], lm: head + at - Number(index < at) });
      away.splice(countBelow(away, rank), 0, rank);
    } else result.push({ p: [...p, head + at], li: value });
    slots.push(passed);
  }
  return result;
}

/** "id" of an object, as a name; null: it has none that counts. */
function idOf(item) {
  if (!isObject(item) || !has(item, "id")) return null;
  return typeof item.id === "string" || Number.isSafeInteger(item.id) ? `#${JSON.stringify(item.id)}` : null;
}

const inOrder = (value) => (isObject(value) ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, value[key]])) : value);
const canonical = (value) => JSON.stringify(value, (_, inner) => inOrder(inner));

/** A number for each element: the same where they are the same. */
function namesOf(before, after) {
  const counts = [before, after].map((items) => {
    const count = new Map();
    for (const id of items.map(idOf)) count.set(id, (count.get(id) ?? 0) + 1);
    return count;
  });
  const numbers = new Map();
  const name = (item) => {
    const id = idOf(item);
    const known = id !== null && counts.every((count) => (count.get(id) ?? 0) <= 1) ? id : canonical(item);
    if (!numbers.has(known)) numbers.set(known, numbers.size);
    return numbers.get(known);
  };
  return [before.map(name), after.map(name)];
}

/** What stays: pairs of indexes, in order. */
function subsequence(old, fresh, budget) {
  const pairs = onceInBoth(old, fresh);
  const shared = new Set(fresh);
  const inBoth = [...new Set(old)].filter((name) => shared.has(name)).length;
  return (pairs.length < inBoth && common(old, fresh, budget)) || rising(pairs);
}

function onceInBoth(old, fresh) {
  const places = new Map();
  for (const [side, names] of [old, fresh].entries()) {
    for (const [index, name] of names.entries()) {
      const place = places.get(name) ?? { at: [-1, -1], times: [0, 0] };
      place.at[side] = index;
      place.times[side] += 1;
      places.set(name, place);
    }
  }
  return [...places.values()].filter(({ times: [one, two] }) => one === 1 && two === 1).map(({ at }) => at).sort(byIndex);
}

/** The longest part in which both rise; the first do already. O(n log n). */
function rising(pairs) {
  const ends = []; // of the best run of each length
  const tops = []; // which pair that is
  const before = [];
  for (const [number, [, place]] of pairs.entries()) {
    const length = countBelow(ends, place);
    before.push(length ? tops[length - 1] : -1);
    ends[length] = place;
    tops[length] = number;
  }
  const result = [];
  for (let at = tops.length ? tops.at(-1) : -1; at >= 0; at = before[at]) result.push(pairs[at]);
  return result.reverse();
}

/** Of what is in both lists, what does not stay. */
function othersInBoth(matched, old, fresh) {
  const [indexes, places] = [0, 1].map((side) => new Set(matched.map((pair) => pair[side])));
  const waiting = new Map();
  for (let index = old.length - 1; index >= 0; index -= 1) {
    if (indexes.has(index)) continue;
    if (!waiting.has(old[index])) waiting.set(old[index], []);
    waiting.get(old[index]).push(index);
  }
  return fresh.flatMap((name, place) => (places.has(place) || !waiting.get(name)?.length ? [] : [[waiting.get(name).pop(), place]]));
}

/** Elements without `id`, in one list only, that stand between the same two that stay: one is the other, changed. */
function pairsBetween(stay, before, after, old, fresh) {
  const [inOld, inFresh] = [new Set(old), new Set(fresh)];
  const alone = (from, to, items, names, others) => {
    const found = [];
    for (let at = from; at < to; at += 1) if (!others.has(names[at]) && idOf(items[at]) === null) found.push(at);
    return found;
  };
  const result = [];
  let [start, first] = [0, 0];
  for (const [index, place] of [...stay, [before.length, after.length]]) {
    const gone = alone(start, index, before, old, inFresh);
    const come = alone(first, place, after, fresh, inOld);
    for (let at = 0; at < Math.min(gone.length, come.length); at += 1) result.push([gone[at], come[at]]);
    [start, first] = [index + 1, place + 1];
  }
  return result;
}
