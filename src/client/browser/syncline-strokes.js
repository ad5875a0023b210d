/**
 * What is typed in one go, as the server groups it into steps of undo. A part of the Syncline client: import syncline.js.
 * The same as src/client/strokes.py, which says more about why.
 */

const MAX_TYPED = 16; // more at once is a paste

/** As text operations have it; null: only rich text has it. */
function plain(part) {
  if (typeof part !== "object") return part;
  if (part.delete !== undefined) return -part.delete;
  if (part.retain !== undefined) return part.attributes ? null : part.retain;
  return typeof part.insert === "string" ? part.insert : null;
}

/** {at, text, removed} of an operation of a text or a rich text that does one thing at one place; else null. */
function strokeOf(operation) {
  const parts = operation.map(plain);
  const at = typeof parts[0] === "number" && parts[0] > 0 ? parts.shift() : 0;
  if (parts.length !== 1 || parts[0] === null) return null;
  const [part] = parts;
  if (typeof part === "string") return { at, text: part, removed: 0 };
  return part < 0 ? { at, text: "", removed: -part } : null;
}

/** Whether `operation`, made on what `last` gave, belongs to the same step. */
export function continues(last, operation) {
  const [before, one] = [strokeOf(last), strokeOf(operation)];
  if (!before || !one) return false;
  if (before.text && one.text) {
    if (Math.max(before.text.length, one.text.length) > MAX_TYPED || one.at !== before.at + before.text.length) return false;
    return !/\s$/.test(before.text) || /^\s/.test(one.text);
  }
  if (before.text || one.text || Math.max(before.removed, one.removed) > MAX_TYPED) return false;
  return before.at === one.at || before.at === one.at + one.removed;
}

const STEP = 1000; // milliseconds: for the server later edits are another step
const STEP_ANSWERS = 4; // times the last answer: on a slow link each takes long, and steps that wait for one each would pile up

/** Whether what is in flight is not answered for long: what is done meanwhile goes on in steps then. */
export class Patience {
  #sentAt = 0;
  #took = 0; // the last answer

  sent() {
    this.#sentAt = Date.now();
  }

  answered() {
    this.#took = Date.now() - this.#sentAt;
  }

  get over() {
    return Date.now() - this.#sentAt > Math.max(STEP, STEP_ANSWERS * this.#took);
  }
}

/** Of more edits in a row than `most` the oldest become one. `compose` gives null where two are too large for one. */
export function limitSteps(items, most, compose, from = 0) {
  const steps = [...items];
  let count = steps.slice(from).filter(({ operation }) => operation).length;
  for (let at = from; count > most && at < steps.length - 1; ) {
    const operation = steps[at].operation && steps[at + 1].operation && compose(steps[at].operation, steps[at + 1].operation);
    if (operation) {
      steps.splice(at, 2, { operation });
      count -= 1;
    } else at += 1;
  }
  return steps;
}
