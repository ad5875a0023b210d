// The chat: messages in order, one's own at once, each sent exactly once however often the connection breaks.
import { face, hueOf, make } from "/demo-people.js";

const MOST_ROWS = 600; // older ones leave the page
const MOST_UNSENT = 50;
const TOGETHER = 5 * 60; // seconds within which one person's messages stand under one name

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" });

function textOf(data) {
  if (typeof data === "string") return data;
  if (typeof data?.text === "string") return data.text;
  return JSON.stringify(data)?.slice(0, 2000) ?? "";
}

function dayOf(time) {
  const date = new Date(time * 1000);
  const today = new Date();
  if (date.toDateString() === today.toDateString()) return "Today";
  today.setDate(today.getDate() - 1);
  return date.toDateString() === today.toDateString() ? "Yesterday" : calendar.format(date);
}

/** The text, its addresses of the web as links: strings and elements, never markup. */
function linked(text) {
  const parts = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"']+/gi)) {
    // What ends a sentence is not part of the address; a bracket is, when it was opened in there.
    let address = found.replace(/[.,;:!?]+$/, "");
    while (address.endsWith(")") && address.split(")").length > address.split("(").length) {
      address = address.slice(0, -1).replace(/[.,;:!?]+$/, "");
    }
    const link = make("a", "", address);
    link.href = address;
    if (!["http:", "https:"].includes(link.protocol) || !link.hostname) continue; // it is no address after all
    Object.assign(link, { target: "_blank", rel: "noopener noreferrer" });
    parts.push(text.slice(end, index), link);
    end = index + address.length;
  }
  return [...parts, text.slice(end)];
}

export class Chat {
  #room = null;
  #releases = [];
  #unsent = new Map(); // id -> {id, text, row, sending}
  #last = null; // {user, time, day} of the newest row
  #me = () => ({ user: "", name: "" });

  /** Elements: log, form, input, newer. `me()` is who one is, `arrived(message)` is told of others' new messages. */
  constructor({ log, form, input, newer }, { me, arrived }) {
    Object.assign(this, { log, form, input, newer, arrived });
    this.#me = me;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    input.addEventListener("input", () => this.#fit());
    newer.addEventListener("click", () => this.scrollDown());
    log.addEventListener("scroll", () => this.#atEnd() && (newer.hidden = true), { passive: true });
    this.#empty();
  }

  attach(room) {
    for (const release of this.#releases) release();
    this.#room = room;
    this.#unsent.clear();
    this.#empty();
    this.#access();
    this.#releases = [
      room.on("message", (message) => this.#received(message)),
      room.on("lost", () => this.#aside("Some messages are missing here.")),
      room.on("user_joined", ({ name }) => this.#aside(`${name} is here`)),
      room.on("user_left", ({ name }) => this.#aside(`${name} left`)),
      room.on("state", ({ state }) => {
        for (const entry of this.#unsent.values()) entry.row.classList.toggle("offline", state !== "joined");
      }),
      room.on("joined", () => this.#access()),
      room.on("role", () => this.#access()),
      room.on("removed", () => {
        this.#access();
        for (const entry of this.#unsent.values()) this.#fail(entry, "taken out of the room");
      }),
      // What was missed is there by now, one's own lost answers included: the rest was never received.
      room.on("caught_up", () => this.#unsent.forEach((entry) => this.#send(entry))),
    ];
  }

  /** Who may not send finds nothing to send with. */
  #access() {
    const shut = Boolean(this.#room.removed) || this.#room.role === "reader";
    for (const element of this.form.elements) element.disabled = shut;
  }

  #fail(entry, why) {
    if (!this.#unsent.delete(entry.id)) return;
    entry.row.classList.replace("pending", "failed");
    entry.row.title = why;
  }

  scrollDown() {
    this.log.scrollTop = this.log.scrollHeight;
    this.newer.hidden = true;
  }

  #submit() {
    const text = this.input.value.trim().toWellFormed?.() ?? this.input.value.trim();
    if (!text || !this.#room || this.#unsent.size >= MOST_UNSENT) return;
    this.input.value = "";
    this.#fit();
    const { user, name } = this.#me();
    const entry = { id: crypto.getRandomValues(new Uint32Array(3)).join("-"), text, sending: false };
    entry.row = this.#row({ user, name, time: Date.now() / 1000, text });
    entry.row.classList.add("pending");
    entry.row.classList.toggle("offline", this.#room.state !== "joined");
    this.#unsent.set(entry.id, entry);
    this.scrollDown();
    if (this.#room.state === "joined") this.#send(entry);
  }

  async #send(entry) {
    if (entry.sending) return;
    entry.sending = true;
    try {
      await this.#room.send({ text: entry.text, id: entry.id }, { retry: false }); // it has its own way, to show what waits
    } catch (error) {
      const lasting = !["disconnected", "timeout", "unavailable", "buffer_full", "closed"].includes(error.code);
      if (lasting) this.#fail(entry, error.message);
    } finally {
      entry.sending = false;
    }
  }

  #received({ user, name, time, data, replayed }) {
    const mine = this.#unsent.get(data?.id);
    if (mine && user === this.#me().user) {
      this.#unsent.delete(data.id);
      mine.row.classList.remove("pending", "offline");
      return;
    }
    const follow = this.#atEnd();
    this.#row({ user, name, time, text: textOf(data) });
    if (follow) this.scrollDown();
    else this.newer.hidden = false;
    if (!replayed && user !== this.#me().user) this.arrived({ user, name });
  }

  #row({ user, name, time, text }) {
    this.log.querySelector(".empty")?.remove();
    const day = dayOf(time);
    if (this.#last?.day !== day) this.#append(make("li", "aside day", day));
    const last = this.#last;
    const together = last?.user === user && last.name === name && last.day === day && time - last.time < TOGETHER;
    this.#last = { user, name, time, day };
    const row = document.createElement("li");
    if (together) row.className = "same";
    else {
      const head = make("div", "head");
      const who = make("span", "name", name);
      who.style.setProperty("--hue", hueOf(user));
      const at = make("time", "", clock.format(time * 1000));
      at.dateTime = new Date(time * 1000).toISOString();
      head.append(who, at);
      row.append(face(user, name), head);
    }
    row.title = full.format(time * 1000);
    const shown = make("div", "text");
    shown.append(...linked(text));
    row.append(shown);
    this.#append(row);
    return row;
  }

  #aside(text) {
    const follow = this.#atEnd();
    this.log.querySelector(".empty")?.remove();
    this.#append(make("li", "aside", text));
    if (this.#last) this.#last.user = null;
    if (follow) this.scrollDown();
  }

  #append(row) {
    this.log.append(row);
    for (let extra = this.log.childElementCount - MOST_ROWS; extra > 0; extra -= 1) this.log.firstElementChild.remove();
  }

  #empty() {
    this.log.replaceChildren(make("li", "empty", "No messages yet. Say hello."));
    this.#last = null;
    this.newer.hidden = true;
  }

  #atEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 60;
  }

  #fit() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight + 2}px`;
  }
}
