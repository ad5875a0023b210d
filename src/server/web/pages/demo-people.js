// What a person looks like on the page: a colour and two letters.

const COLOURS = 16;
const MOST = 2 * COLOURS; // a second circle of hues between those of the first
const MOST_KNOWN = 1000; // people who keep their colour when they have left

const colours = new Map(); // user -> number of a colour
let present = new Set();

/** One of sixteen: the one that somebody has on every screen, unless another one there has it. FNV-1a over the id, its halves folded. */
function preferred(id) {
  let hash = 0x811c9dc5;
  for (const unit of String(id)) hash = Math.imul(hash ^ unit.codePointAt(0), 0x01000193) >>> 0;
  return (hash ^ (hash >>> 16)) & (COLOURS - 1);
}

function choose(id, taken) {
  const first = colours.get(id) ?? preferred(id);
  for (let step = 0; step < COLOURS; step += 1) {
    const colour = (first + step * 7) % COLOURS; // 7: not the neighbour, which looks much the same
    if (!taken.has(colour)) return colour;
  }
  for (let colour = COLOURS; colour < MOST; colour += 1) if (!taken.has(colour)) return colour;
  return first;
}

/** Who is here: no two of them have the same colour, while there are not more than colours. Who was here before keeps theirs. */
export function setPresent(ids) {
  const here = new Set(ids);
  const taken = new Set([...here].filter((id) => present.has(id)).map((id) => colours.get(id)));
  for (const id of [...here].filter((one) => !present.has(one)).sort()) {
    const colour = choose(id, taken);
    colours.delete(id); // and to the end: the newest is forgotten last
    colours.set(id, colour);
    taken.add(colour);
  }
  present = here;
  for (const id of [...colours.keys()].slice(0, Math.max(0, colours.size - MOST_KNOWN))) if (!here.has(id)) colours.delete(id);
}

/** The hue of somebody's colour, in degrees. */
export function hueOf(id) {
  const colour = colours.get(id) ?? preferred(id);
  return (colour % COLOURS) * (360 / COLOURS) + (colour < COLOURS ? 0 : 180 / COLOURS);
}

function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0] ?? "?"];
  return letters.map((word) => [...word][0]).join("").toLocaleUpperCase();
}

/** Turns an element into somebody's face. */
export function paintFace(element, id, name) {
  element.classList.add("face");
  element.style.setProperty("--hue", hueOf(id));
  element.textContent = initials(name);
  return element;
}

export function face(id, name, tag = "span") {
  const element = paintFace(document.createElement(tag), id, name);
  element.setAttribute("aria-hidden", "true");
  return element;
}

/** An element with a class and a text. */
export function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}
