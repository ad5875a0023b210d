/**
 * What two texts, or two lists, have in common. A part of the Syncline client: import syncline.js. The same as
 * src/core/ot/differences.pyx: Myers' greedy algorithm (An O(ND) Difference Algorithm and Its Variations, 1986), within bounds.
 */

const LONGEST = 4_000_000; // cells of both, from where they differ on
const MOST_WORK = 1_000_000; // steps of one search: some ten milliseconds
const MOST_CHANGES = 1000; // their rows take half their square in numbers
const MOST_SPLICES = 100; // of one text: others would have to follow each of them

/** What all searches of one difference may do together. */
export const budgetOf = (steps = Infinity) => ({ steps });

/** Takes from the budget what the search may need: no more than both, times both. */
function maySearch(old, fresh, budget) {
  const both = old + fresh;
  const steps = both + Math.min(MOST_WORK, both * both);
  if (both > LONGEST || steps > budget.steps) return false;
  budget.steps -= steps;
  return true;
}

const rowStart = (changes) => (changes * (changes + 1)) / 2; // it has one more

/** Where diagonal k (x - y) is entered with so many changes, furthest (-1: nowhere), and from which one. */
function stepTo(rows, changes, k, n, m) {
  if (changes === 0) return [0, 0];
  const row = rowStart(changes - 1);
  const at = (k + changes) / 2;
  const left = at > 0 ? rows[row + at - 1] : -1;
  const above = at < changes ? rows[row + at] : -1;
  const right = left >= 0 && left < n ? left + 1 : -1;
  const down = above >= 0 && above - (k + 1) < m ? above : -1;
  return right > down ? [right, k - 1] : [down, k + 1];
}

/** [start in a, start in b, length] of the runs that both share, in order; null where that is much work. */
function runs(a, b) {
  const [n, m] = [a.length, b.length];
  const rows = [];
  let work = 0;
  for (let changes = 0; changes <= MOST_CHANGES && work <= MOST_WORK + n + m; changes += 1) {
    for (let k = -changes; k <= changes; k += 2) {
      let [x] = stepTo(rows, changes, k, n, m);
      if (x >= 0) {
        const start = x;
        while (x < n && x - k < m && a[x] === b[x - k]) x += 1;
        work += x - start;
        if (x === n && x - k === m) return backwards(rows, changes, n, m);
      }
      rows.push(x);
    }
    work += changes + 1;
  }
  return null;
}

function backwards(rows, most, n, m) {
  const found = [];
  let [x, k] = [n, n - m];
  for (let changes = most; changes >= 0; changes -= 1) {
    const [start, origin] = stepTo(rows, changes, k, n, m);
    if (x > start) found.push([start, start - k, x - start]);
    if (changes) {
      x = rows[rowStart(changes - 1) + (origin + changes - 1) / 2];
      k = origin;
    }
  }
  return found.reverse();
}

/** [start, end, start, end] of what is not shared. */
function between(shared, old, fresh) {
  const hunks = [];
  let [at, to] = [0, 0];
  for (const [start, first, length] of [...shared, [old, fresh, 0]]) {
    if (start > at || first > to) hunks.push([at, start, to, first]);
    [at, to] = [start + length, first + length];
  }
  return hunks;
}

const changed = ([start, end, first, last]) => Math.max(end - start, last - first);

/** Two become one where what lies between them is no longer than either: it is the same by chance. And so on until few are left. */
function gathered(given) {
  let hunks = given;
  for (let least = 0; ; least = 2 * least + 1) {
    const kept = [];
    for (let one of hunks) {
      for (; kept.length; kept.pop()) {
        const last = kept.at(-1);
        const gap = one[0] - last[1];
        if (gap > least && (gap > changed(last) || gap > changed(one))) break;
        one = [last[0], one[1], last[2], one[3]];
      }
      kept.push(one);
    }
    if (kept.length <= MOST_SPLICES) return kept;
    hunks = kept;
  }
}

const isHigh = (text, at) => (text.charCodeAt(at) & 0xfc00) === 0xd800;
const isLow = (text, at) => (text.charCodeAt(at) & 0xfc00) === 0xdc00;
const splitsPair = (text, at) => at > 0 && at < text.length && isHigh(text, at - 1) && isLow(text, at);

/** Characters as numbers, and where each begins; the last place is the end. */
function cellsOf(text) {
  const cells = [];
  const places = [];
  for (let at = 0; at < text.length; at += cells.at(-1) > 0xffff ? 2 : 1) {
    places.push(at);
    cells.push(text.codePointAt(at));
  }
  places.push(text.length);
  return [cells, places];
}

/**
 * [start, deleted, inserted] for each change, in order: UTF-16 units of `before`, as it is before all of them, and no pair is split.
 * The fewest changes by characters, where those are few; one splice, of all that differs, where that would be much work.
 */
export function splices(before, after, budget = budgetOf()) {
  const most = Math.min(before.length, after.length);
  let head = 0;
  while (head < most && before.charCodeAt(head) === after.charCodeAt(head)) head += 1;
  if (splitsPair(before, head) || splitsPair(after, head)) head -= 1;
  let tail = 0;
  const same = () => before.charCodeAt(before.length - 1 - tail) === after.charCodeAt(after.length - 1 - tail);
  while (tail < most - head && same()) tail += 1;
  if (splitsPair(before, before.length - tail) || splitsPair(after, after.length - tail)) tail -= 1;
  const [old, fresh] = [before.slice(head, before.length - tail), after.slice(head, after.length - tail)];
  if (!old && !fresh) return [];
  if (old && fresh && old.length + fresh.length <= LONGEST) {
    const [a, placesA] = cellsOf(old);
    const [b, placesB] = cellsOf(fresh);
    const shared = maySearch(a.length, b.length, budget) ? runs(a, b) : null;
    if (shared) {
      return gathered(between(shared, a.length, b.length)).map(([start, end, first, last]) => [
        head + placesA[start], placesA[end] - placesA[start], fresh.slice(placesB[first], placesB[last]),
      ]);
    }
  }
  return [[head, old.length, fresh]];
}

/** Pairs of indexes of a longest common subsequence of two lists of numbers, in order; null where that is much work. */
export function common(before, after, budget = budgetOf()) {
  const found = maySearch(before.length, after.length, budget) ? runs(before, after) : null;
  return found && found.flatMap(([start, first, length]) => Array.from({ length }, (_, step) => [start + step, first + step]));
}
