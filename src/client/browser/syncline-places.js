/** Where the others' cursors are in the confirmed content of a document. A part of the Syncline client: import syncline.js. */

// Over so many operations a cursor is moved that is told late, and no more of them than are of so much bulk together are kept for that.
const MOST_PASSED = 256;
const PASSED_BULK = 262_144;

export const caret = (position) => ({ anchor: position, head: position });

/** A cursor as `operation` moves it. By the server's rule what is inserted at one leaves it where it is. */
export function movedBy(type, { anchor, head }, operation, stick = "left") {
  return { anchor: type.move(operation, anchor, stick), head: type.move(operation, head, stick) };
}

export class Places {
  #type;
  #late = new Map(); // client -> [revision, place]: of a revision that is still to come
  #passed = []; // the newest operations: {operation, author, from, bulk}, made on the revision `from`
  #bulk = 0; // of those

  constructor(type) {
    this.#type = type;
    this.known = new Map(); // client -> {anchor, head}
  }

  clear() {
    this.known.clear();
    this.#late.clear();
    this.#passed = [];
    this.#bulk = 0;
  }

  delete(client) {
    this.known.delete(client);
    this.#late.delete(client);
  }

  /** What the server tells of `revision`; `place` null hides it. `now`: the revision that is here. */
  put(client, place, revision, now) {
    if (revision > now) {
      this.#late.set(client, [revision, place]);
      return;
    }
    this.#late.delete(client);
    let moved = place;
    for (const { operation, author, from } of this.#passed) {
      if (from < revision) continue;
      const end = author === client ? this.#type.end(operation) : null;
      if (end !== null) moved = caret(end);
      else if (moved) moved = movedBy(this.#type, moved, operation);
    }
    if (moved) this.known.set(client, moved);
    else this.known.delete(client);
  }

  /** As the server does: every operation moves all cursors and puts its author's at its end. `from`, `now`: the revisions around it. */
  move(operation, author, from, now) {
    for (const [client, place] of this.known) this.known.set(client, movedBy(this.#type, place, operation));
    const end = author === null ? null : this.#type.end(operation);
    if (end !== null) this.known.set(author, caret(end));
    const bulk = this.#type.bulk(operation);
    this.#passed.push({ operation, author, from, bulk });
    this.#bulk += bulk;
    while (this.#passed.length > MOST_PASSED || this.#bulk > PASSED_BULK) this.#bulk -= this.#passed.shift().bulk;
    for (const [client, [revision, place]] of [...this.#late]) if (revision <= now) this.put(client, place, revision, now);
  }
}
