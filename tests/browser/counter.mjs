// A fourth type: a number that is added to. The type of tests/faults/counter.py, for the browser client; what must be there is all that it has.
import { registerType, SynclineError } from "../../src/client/browser/syncline.js";

const integer = (value) => {
  if (!Number.isInteger(value) || Math.abs(value) >= 2 ** 31) throw new SynclineError("operation_invalid", "a counter counts in integers");
  return value;
};

registerType("counter", {
  empty: () => 0,
  parseContent: (value) => integer(value ?? 0),
  parse: integer,
  apply: (content, operation) => integer(content + operation),
  transform: (operation) => operation,
  compose: (first, second) => first + second,
  invert: (operation) => 0 - operation,
  diff: (before, after) => after - before,
  isIdentity: (operation) => operation === 0,
  hash: (content) => content >>> 0,
});
