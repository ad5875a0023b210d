// Random operations of the types of documents other than text.
import { richText } from "../../src/client/browser/syncline.js";

/** A random operation on a JSON value. */
export function randomJson(content, random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const value = () => pick([null, 1, 2, "x", "ab", [], [1, "y"], {}, { a: "z", b: [2] }]);
  const path = [];
  let here = content;
  while (here !== null && typeof here === "object" && Object.keys(here).length && random() < 0.7) {
    const key = pick(Object.keys(here));
    path.push(Array.isArray(here) ? Number(key) : key);
    here = here[key];
  }
  const last = path[path.length - 1];
  if (typeof last === "number" && random() < 0.4) {
    const list = path.slice(0, -1).reduce((node, step) => node[step], content);
    return [{ p: path, lm: Math.floor(random() * list.length) }];
  }
  if (typeof here === "string" && random() < 0.8) {
    const at = Math.floor(random() * (here.length + 1));
    return [at < here.length && random() < 0.4 ? { p: [...path, at], sd: here.slice(at) } : { p: [...path, at], si: pick(["q", "rs"]) }];
  }
  if (Number.isInteger(here) && random() < 0.8) return [{ p: path, na: 3 }];
  if (Array.isArray(here) && random() < 0.8) {
    const at = Math.floor(random() * (here.length + 1));
    return [at < here.length && random() < 0.4 ? { p: [...path, at], ld: here[at] } : { p: [...path, at], li: value() }];
  }
  if (here !== null && typeof here === "object" && !Array.isArray(here) && random() < 0.8) {
    const key = pick(["a", "b", "c"]);
    if (!Object.hasOwn(here, key)) return [{ p: [...path, key], oi: value() }];
    return [{ p: [...path, key], od: here[key], ...(random() < 0.5 ? { oi: value() } : {}) }];
  }
  return [typeof last === "number" ? { p: path, ld: here, li: value() } : { p: path, od: here, oi: value() }];
}

/** The same of a rich text. */
export function randomRich(content, random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const attributes = () => ({ [pick(["bold", "color"])]: pick([true, "red", null]) });
  const insert = () => ({ insert: pick(["x", "yz", "\n", "é", { image: "i" }]), ...(random() < 0.5 ? { attributes: attributes() } : {}) });
  const length = richText.length(content);
  const at = Math.floor(random() * (length + 1));
  const here = at > 0 ? [{ retain: at }] : [];
  const rest = Math.min(1 + Math.floor(random() * 3), length - at);
  if (rest === 0 || random() < 0.5) return [...here, insert()];
  return [...here, ...(random() < 0.3 ? [insert()] : []), random() < 0.5 ? { delete: rest } : { retain: rest, attributes: attributes() }];
}
