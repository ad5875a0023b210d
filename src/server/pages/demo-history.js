// The document's past: a slider over its revisions, the text as it was then, and the way back to it.
import { hueOf, make } from "/demo-people.js";

const MOST_KEPT = 200; // versions that were looked at, so that sliding back and forth asks only once

/** `nameOf(user)`: what to call somebody; `opened(open)`: the panel shows the past, or the present again. */
export class History {
  #elements;
  #nameOf;
  #opened;
  #document = null;
  #releases = [];
  #kept = new Map(); // revision -> {version, entry}
  #horizon = 0;
  #wanted = null; // the revision to show
  #asking = false;
  #shown = null;

  constructor(elements, { nameOf, opened }) {
    this.#elements = elements;
    this.#nameOf = nameOf;
    this.#opened = opened;
    const { toggle, slider, older, newer, restore, live, bar, past } = elements;
    toggle.addEventListener("click", () => (this.open ? this.close() : this.#open()));
    slider.addEventListener("input", () => this.#go(Number(slider.value)));
    older.addEventListener("click", () => this.#go(this.#wanted - 1));
    newer.addEventListener("click", () => this.#go(this.#wanted + 1));
    restore.addEventListener("click", () => this.#restore());
    live.addEventListener("click", () => this.close());
    for (const element of [bar, past]) {
      element.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    }
  }

  get open() {
    return this.#wanted !== null;
  }

  attach(document) {
    this.close();
    for (const release of this.#releases) release();
    this.#document = document;
    this.#kept.clear();
    const follow = () => this.open && this.#paint();
    this.#releases = [document.on("change", follow), document.on("settled", follow), document.on("state", follow)];
  }

  close() {
    if (!this.open) return;
    this.#wanted = null;
    this.#shown = null;
    const { bar, past, editor, toggle } = this.#elements;
    const focused = bar.contains(document.activeElement) || past.contains(document.activeElement);
    bar.hidden = past.hidden = true;
    editor.hidden = false;
    past.replaceChildren();
    toggle.setAttribute("aria-expanded", "false");
    this.#opened(false);
    if (focused) toggle.focus();
  }

  async #open() {
    const shared = this.#document;
    if (!shared || shared.generation === null) return;
    const { bar, past, editor, toggle, slider } = this.#elements;
    this.#wanted = shared.revision;
    this.#horizon = 0;
    bar.hidden = past.hidden = false;
    editor.hidden = true;
    toggle.setAttribute("aria-expanded", "true");
    this.#opened(true);
    this.#paint();
    slider.focus();
    this.#ask();
  }

  #go(revision) {
    this.#wanted = Math.max(this.#horizon, Math.min(revision, this.#document.revision));
    this.#paint();
    this.#ask();
  }

  /** One request at a time; what was wanted meanwhile is skipped, but for the last. */
  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    const shared = this.#document;
    try {
      while (this.open && this.#document === shared && this.#shown?.version.revision !== this.#wanted) {
        const revision = this.#wanted;
        const found = this.#kept.get(revision) ?? (await this.#load(shared, revision));
        if (!this.open || this.#document !== shared) break;
        this.#shown = found;
        this.#paint();
      }
    } catch (error) {
      if (error.code === "history_trimmed" && this.open) {
        const { horizon } = await shared.history({ limit: 1 }).catch(() => ({ horizon: shared.revision }));
        this.#horizon = Math.max(this.#wanted + 1, horizon);
        this.#wanted = this.#horizon;
        queueMicrotask(() => this.open && this.#ask());
      } else this.#say(error.code === "disconnected" ? "Not connected: the history is on the server." : error.message);
    } finally {
      this.#asking = false;
    }
    this.#paint();
  }

  async #load(shared, revision) {
    const since = Math.max(0, revision - 1);
    // What it changed is not to be had for the oldest one.
    const changed = shared.history({ since, limit: 1 }).catch(() => null);
    const [version, page] = await Promise.all([shared.textAt(revision), changed]);
    if (page) this.#horizon = page.horizon;
    const entry = page?.operations.find((one) => one.revision === revision) ?? null;
    if (this.#kept.size >= MOST_KEPT) this.#kept.delete(this.#kept.keys().next().value);
    const found = { version, entry };
    this.#kept.set(revision, found);
    return found;
  }

  async #restore() {
    const revision = this.#wanted;
    const { restore } = this.#elements;
    restore.disabled = true;
    try {
      await this.#document.restore(revision);
      this.close();
    } catch (error) {
      this.#say(`This version cannot be restored: ${error.message}.`);
    }
    this.#paint();
  }

  #say(text) {
    if (this.open) this.#elements.about.textContent = text;
  }

  #paint() {
    if (!this.open) return;
    const { slider, older, newer, restore, about, past } = this.#elements;
    const head = this.#document.revision;
    const revision = this.#wanted;
    slider.min = String(this.#horizon);
    slider.max = String(head);
    slider.value = String(revision);
    const share = head > this.#horizon ? (revision - this.#horizon) / (head - this.#horizon) : 1;
    slider.style.setProperty("--share", `${share * 100}%`);
    older.disabled = revision <= this.#horizon;
    newer.disabled = revision >= head;
    const shown = this.#shown;
    const here = shown?.version.revision === revision;
    restore.disabled = revision === head || !here || !this.#document.writable;
    const words = [`Version ${revision} of ${head}`];
    if (here && shown.version.user !== null) words.push(this.#nameOf(shown.version.user), when(shown.version.time));
    if (here && KINDS[shown.entry?.kind]) words.push(KINDS[shown.entry.kind]);
    if (revision === 0) words.push("the beginning");
    else if (revision === head) words.push("now");
    const told = words.join(" \u00b7 ");
    if (about.textContent !== told) about.textContent = told;
    slider.setAttribute("aria-valuetext", words.join(", "));
    past.setAttribute("aria-busy", String(!here));
    if (here && past.dataset.revision !== String(revision)) this.#paintText(shown);
    if (!here) delete past.dataset.revision;
  }

  /** The text, what came into it with this version marked. */
  #paintText({ version, entry }) {
    const { past } = this.#elements;
    const parts = [];
    let at = 0;
    for (const part of entry?.operation ?? []) {
      if (typeof part === "number" && part > 0) parts.push(version.text.slice(at, (at += part)));
      else if (typeof part === "string") {
        const mark = make("ins", "", part);
        mark.style.setProperty("--hue", hueOf(version.user ?? ""));
        parts.push(mark);
        at += part.length;
      } else {
        const gap = make("span", "gap");
        gap.title = "Something was deleted here";
        gap.style.setProperty("--hue", hueOf(version.user ?? ""));
        parts.push(gap);
      }
    }
    parts.push(version.text.slice(at));
    const page = make("div", "page");
    page.append(...parts);
    if (!version.text) page.append(make("span", "none", "Nothing was here."));
    past.replaceChildren(page);
    past.dataset.revision = String(version.revision);
    past.querySelector("ins, .gap")?.scrollIntoView({ block: "nearest" });
  }
}

const KINDS = { undo: "an undo", redo: "a redo", restore: "an older version restored" };

function when(seconds) {
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  return date.toLocaleString([], today ? time : { dateStyle: "medium", timeStyle: "short" });
}
