/** A <textarea> as the editor of a shared text. A part of the Syncline client: import syncline.js. */

import { named, report } from "./syncline-base.js";
import { ot } from "./syncline-ot.js";

const ASKED = new Set(["undo", "redo", "restore"]);

/** How a textarea shows a text: it knows one way to end a line. */
const shown = (text) => text.replace(/\r\n?/g, "\n");

/** What made `after` of `before`. Where that is not the only one, the caret shows which it was: "a" was typed at the end of "aaa". */
function edited(before, after, caret) {
  if (before === after) return [];
  const most = Math.min(before.length, after.length);
  const behind = after.length - caret;
  let tail = behind <= most && before.endsWith(after.slice(caret)) ? behind : 0;
  let head = 0;
  while (head < most - tail && before[head] === after[head]) head += 1;
  while (tail < most - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail += 1;
  const parts = ot.normalize([head, after.slice(head, after.length - tail), head + tail - before.length]);
  return ot.keepsPairs(parts, before) ? parts : ot.diff(before, after);
}

/** Where what is shown at an offset is in `text`. */
function placesOf(text) {
  if (!text.includes("\r")) return (offset) => offset;
  const places = [];
  for (let at = 0; at < text.length; at += text.startsWith("\r\n", at) ? 2 : 1) places.push(at);
  return (offset) => places[offset] ?? text.length;
}

/** An operation on the shown text as one on `text`. */
function inDocument(parts, text) {
  const place = placesOf(text);
  let at = 0;
  return parts.map((part) => {
    if (typeof part === "string") return part;
    const start = place(at);
    at += Math.abs(part);
    return Math.sign(part) * (place(at) - start);
  });
}

/**
 * Binds a textarea to a shared text, both ways, until the function that this returns is called. What others do moves neither
 * caret nor selection nor scrolling; while an input method composes, it waits. The keys of undo and redo take back this client's
 * own steps. The caret is told to the others. It is read-only while the document cannot be written, and when it is bound no more.
 */
export function bindTextarea(handle, textarea) {
  if (typeof handle?.setText !== "function") {
    throw new TypeError(`what a textarea is bound to is the handle of a text, not ${named(handle)}`);
  }
  if (typeof textarea?.setRangeText !== "function") throw new TypeError(`what is bound is a textarea, not ${named(textarea)}`);
  const page = textarea.ownerDocument;
  let text = ""; // of the document, as far as the textarea shows it
  let held = []; // what the document has done since, which the textarea does not show yet
  let composing = false;
  let taking = false;

  const focused = () => page.activeElement === textarea;

  function replaceAll() {
    text = handle.text;
    held = [];
    const parts = ot.diff(textarea.value, shown(text));
    if (parts.length) splice(parts);
  }

  /** Changes what is shown. `caret`: where it goes; null: it stays. */
  function splice(parts, caret = null) {
    const { scrollTop, scrollLeft, selectionStart, selectionEnd, selectionDirection } = textarea;
    let at = 0;
    for (const part of parts) {
      if (typeof part === "string") textarea.setRangeText(part, at, (at += part.length) - part.length, "preserve");
      else if (part > 0) at += part;
      else textarea.setRangeText("", at, at - part, "preserve");
    }
    // Only of the one that has the focus: elsewhere some browsers take the focus for that.
    if (focused()) {
      const end = caret ?? ot.mapPosition(selectionEnd, parts, "left");
      const start = caret ?? (selectionStart === selectionEnd ? end : ot.mapPosition(selectionStart, parts, "right"));
      textarea.setSelectionRange(Math.min(start, end), end, selectionDirection);
    }
    Object.assign(textarea, { scrollTop, scrollLeft });
  }

  /** What the user did. */
  function take() {
    const parts = edited(shown(text), textarea.value, textarea.selectionEnd);
    if (!parts.length) return;
    const own = inDocument(parts, text);
    text = ot.apply(text, own);
    const operation = ot.transform(own, held, "left");
    held = ot.transform(held, own, "right");
    taking = true;
    try {
      handle.edit(operation);
      if (!held.length && text !== handle.text) replaceAll(); // half characters were replaced, or a listener edited
    } catch (error) {
      replaceAll();
      report(error);
    } finally {
      taking = false;
    }
  }

  /** What the document did. */
  function show(origin) {
    if (!held.length) return;
    const after = ot.baseLength(held) <= text.length ? ot.apply(text, held) : null;
    if (after !== handle.text) return replaceAll();
    const plain = !text.includes("\r") && !after.includes("\r");
    const parts = plain ? held : ot.diff(shown(text), shown(after));
    text = after;
    held = [];
    splice(parts, ASKED.has(origin) ? ot.endOf(parts) : null);
    return undefined;
  }

  function settle(origin) {
    if (composing) return;
    take();
    show(origin);
  }

  function tellCaret() {
    if (handle._over || !focused() || composing || held.length) return;
    const place = placesOf(text);
    const [start, end] = [place(textarea.selectionStart), place(textarea.selectionEnd)];
    if (end > handle.text.length) return;
    if (textarea.selectionDirection === "backward") handle.setCursor(end, start);
    else handle.setCursor(start, end);
  }

  const ask = (event, which) => {
    event.preventDefault();
    settle();
    if (handle.writable) handle[which]().catch(report);
  };

  const listeners = {
    input: () => settle(),
    compositionstart: () => {
      settle();
      composing = true;
    },
    compositionend: () => {
      composing = false;
      settle();
    },
    beforeinput: (event) => {
      if (event.inputType === "historyUndo") ask(event, "undo");
      else if (event.inputType === "historyRedo") ask(event, "redo");
    },
    keydown: (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.altKey || event.isComposing) return;
      const key = event.key.toLowerCase();
      if (key === "z") ask(event, event.shiftKey ? "redo" : "undo");
      else if (key === "y" && !event.shiftKey) ask(event, "redo");
    },
    keyup: tellCaret,
    pointerup: tellCaret,
    focus: tellCaret,
  };
  for (const [name, listener] of Object.entries(listeners)) textarea.addEventListener(name, listener);
  page.addEventListener("selectionchange", tellCaret);
  const setAccess = () => (textarea.readOnly = !handle.writable);
  const releases = [
    handle._on("_change", ({ operation, origin }) => {
      if (taking) return;
      try {
        held = ot.compose(held, operation);
      } catch {
        replaceAll(); // another textarea of this page told of its edit before this one was through
        return;
      }
      settle(origin);
    }),
    handle.on("state", setAccess),
    handle.on("role", setAccess),
  ];
  setAccess();
  replaceAll();

  return () => {
    for (const release of releases) release();
    for (const [name, listener] of Object.entries(listeners)) textarea.removeEventListener(name, listener);
    page.removeEventListener("selectionchange", tellCaret);
    textarea.readOnly = true;
    if (!handle._over) handle.setCursor(null);
  };
}
