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
  #kept = new Map(); // revision -> {version, entry}; another map for another document, or another life of it
  #horizon = 0;
  #wanted = null; // the revision to show
  #following = false; // that is the newest one, and stays it
  #trouble = ""; // why it cannot be shown or restored
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
    this.#kept = new Map();
    const follow = () => this.#follow();
    this.#releases = [
      ...["change", "settled", "state"].map((event) => document.on(event, follow)),
      document.on("reset", () => this.#begin()),
    ];
  }

  /** What people are called has changed. */
  refresh() {
    this.#paint();
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
    this.#following = true;
    this.#horizon = 0;
    this.#trouble = "";
    bar.hidden = past.hidden = false;
    editor.hidden = true;
    toggle.setAttribute("aria-expanded", "true");
    this.#opened(true);
    this.#paint();
    slider.focus();
    this.#ask();
  }

  #go(revision) {
    const head = this.#document.revision;
    this.#wanted = Math.max(this.#horizon, Math.min(revision, head));
    this.#following = this.#wanted === head;
    this.#trouble = "";
    this.#paint();
    this.#ask();
  }

  /** The document has changed, or the way to it: who looked at the newest version looks at the newest. */
  #follow() {
    if (!this.open) return;
    if (this.#following) this.#wanted = this.#document.revision;
    this.#paint();
    this.#ask(); // also for what could not be had without a connection
  }

  /** The document was created anew: what was seen of the old one is no past of it. */
  #begin() {
    this.#kept = new Map();
    this.#shown = null;
    this.#horizon = 0;
    if (this.open) this.#go(this.#document.revision);
  }

  /** One request at a time; what was wanted meanwhile is skipped, but for the last. */
  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    while (this.open && this.#shown?.version.revision !== this.#wanted) {
      const [shared, kept, revision] = [this.#document, this.#kept, this.#wanted];
      const stale = () => !this.open || this.#kept !== kept;
      try {
        const found = kept.get(revision) ?? (await this.#load(shared, kept, revision));
        if (stale()) continue;
        this.#shown = found;
        this.#trouble = "";
      } catch (error) {
        if (stale()) continue;
        if (error.code !== "history_trimmed") {
          this.#trouble = error.code === "disconnected" ? "Not connected: the history is on the server." : error.message;
          break;
        }
        const page = await shared.history({ limit: 1 }).catch(() => null);
        if (stale()) continue;
        if (page === null) break; // asked again when there is a connection
        this.#horizon = Math.max(revision + 1, page.horizon);
        this.#wanted = Math.max(this.#horizon, this.#wanted);
        this.#following ||= this.#wanted === shared.revision;
      }
      this.#paint();
    }
    this.#asking = false;
    this.#paint();
  }

  async #load(shared, kept, revision) {
    const since = Math.max(0, revision - 1);
    // What it changed is not to be had for the oldest one.
    const changed = shared.history({ since, limit: 1 }).catch(() => null);
    const [version, page] = await Promise.all([shared.textAt(revision), changed]);
    if (page && this.#kept === kept) this.#horizon = page.horizon;
    const entry = page?.operations.find((one) => one.revision === revision) ?? null;
    if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value);
    const found = { version, entry };
    kept.set(revision, found);
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
      this.#trouble = `This version cannot be restored: ${error.message}.`;
    }
    this.#paint();
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
    const told = this.#trouble || words.join(" \u00b7 ");
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
