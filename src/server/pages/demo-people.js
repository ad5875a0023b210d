// What a person looks like on the page: a colour and two letters.

/** The hue of somebody's colour, one of sixteen: the same on every screen. FNV-1a over the id, its halves folded. */
export function hueOf(id) {
  let hash = 0x811c9dc5;
  for (const unit of String(id)) hash = Math.imul(hash ^ unit.codePointAt(0), 0x01000193) >>> 0;
  return ((hash ^ (hash >>> 16)) & 15) * 22.5;
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
