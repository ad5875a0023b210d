/**
 * What is typed in one go, as the server groups it into steps of undo. A part of the Syncline client: import syncline.js.
 * The same as src/client/strokes.py, which says more about why.
 */

const MAX_TYPED = 16; // more at once is a paste

/** Whether a stroke ({at, text, removed, where}), made on what `before` gave, belongs to the same step. */
export function continues(before, one) {
  if (!before || !one || before.where !== one.where) return false;
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
    this.#sentAt = performance.now();
  }

  answered() {
    this.#took = performance.now() - this.#sentAt;
  }

  get over() {
    return performance.now() - this.#sentAt > Math.max(STEP, STEP_ANSWERS * this.#took);
  }
}
