// The demo page: puts the pieces together. The chat, the editor and what people look like are in files beside this one.
import { Client } from "/syncline.js";
import { Chat } from "/demo-chat.js";
import { createEditor } from "/demo-editor.js";
import { History } from "/demo-history.js";
import { face, make, paintFace, setPresent } from "/demo-people.js";

const $ = (id) => document.getElementById(id);
const collator = new Intl.Collator();

/** What this tab remembers: another tab is another guest. Private modes may refuse; then nothing is remembered. */
const memory = {
  get(key) {
    try {
      return sessionStorage.getItem(`syncline.${key}`) ?? undefined;
    } catch {
      return undefined;
    }
  },
  set(key, value) {
    try {
      if (value === null) sessionStorage.removeItem(`syncline.${key}`);
      else sessionStorage.setItem(`syncline.${key}`, value);
    } catch {
      // Then it is forgotten.
    }
  },
};

function inventName() {
  const one = (list) => list[Math.floor(Math.random() * list.length)];
  const first = ["Amber", "Brisk", "Calm", "Clever", "Coral", "Gentle", "Lucky", "Merry", "Quiet", "Swift", "Velvet"];
  const second = ["Badger", "Falcon", "Finch", "Fox", "Heron", "Lynx", "Marten", "Otter", "Robin", "Seal", "Wren"];
  return `${one(first)} ${one(second)}`;
}

function roomInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim();
  } catch {
    return "";
  }
}

const client = new Client(undefined, {
  name: memory.get("name"),
  guestToken: memory.get("guest"),
  onGuestToken: (token) => memory.set("guest", token),
});
let room = null;
let shared = null;
let unread = 0;
/** This client's ids in the documents it was in: who comes back can undo what it did. */
const ids = new Map(JSON.parse(memory.get("documents") ?? "[]"));
const names = new Map(); // user -> name, of everybody who was seen here
let status = memory.get("status") ?? "online";

const me = () => ({ user: client.identity?.user ?? "", name: client.options.name ?? "" });
const editor = createEditor($("editor"), { refused: (error) => notice(`That edit was not possible: ${error.message}.`) });
const past = new History(
  {
    bar: $("history"), past: $("past"), editor: $("editor"), toggle: $("history-toggle"), slider: $("history-slider"),
    older: $("history-older"), newer: $("history-newer"), about: $("history-about"), restore: $("history-restore"),
    live: $("history-live"),
  },
  {
    nameOf: (user) => (user === me().user ? "you" : (names.get(user) ?? "somebody")),
    opened(open) {
      showSteps();
      if (open) learnNames();
      else editor.view.requestMeasure();
    },
  },
);
const chat = new Chat(
  { log: $("log"), form: $("compose"), input: $("message"), newer: $("newer") },
  {
    me,
    arrived() {
      if (chatVisible()) return;
      unread += 1;
      showUnread();
    },
  },
);

// Connection ---------------------------------------------------------------------------------------------------------

const CONNECTION = {
  idle: "Not connected",
  connecting: "Connecting\u2026",
  online: "Online",
  waiting: "Reconnecting",
  closed: "Offline",
  stalled: "No answer",
};
let countdown = 0;

/** Whether what the page shows of others is so now. */
const live = () => client.online && !client.stalled;

client.on("state", showConnection);
client.on("stalled", () => client.online && showConnection({ state: client.stalled ? "stalled" : "online", retryAt: null }));

function showConnection({ state, retryAt, error }) {
  clearInterval(countdown);
  document.body.classList.toggle("stale", !live());
  $("connection").dataset.state = state;
  $("connection").title = error?.message ?? "";
  $("connection-text").textContent = CONNECTION[state];
  $("connection-retry").hidden = state !== "waiting" && state !== "closed";
  $("connection-retry").querySelector(".label").textContent = state === "closed" ? "Reconnect" : "Try now";
  const count = () => {
    const seconds = retryAt === null ? 0 : Math.ceil((retryAt - Date.now()) / 1000);
    $("connection-countdown").textContent = state === "waiting" && seconds > 0 ? `in ${seconds} s` : "";
  };
  count();
  if (state === "waiting") countdown = setInterval(count, 250);
  if (state === "online") showMe();
  showSaved();
  showMembers();
  showWriters();
}

$("connection-retry").addEventListener("click", () => {
  if (client.state === "closed") client.connect().catch(() => {});
  else client.reconnect();
});

// Rooms --------------------------------------------------------------------------------------------------------------

function enter(name) {
  if (room?.name === name) return;
  room?.leave().catch(() => {});
  shared?.leave().catch(() => {});
  notice(null);
  unread = 0;
  $("room-name").textContent = name;
  document.title = `${name} \u00b7 Syncline`;
  memory.set("room", name);
  if (roomInAddress() !== name) history.replaceState(null, "", `#${encodeURIComponent(name)}`);

  room = client.room(name, { history: 50 });
  chat.attach(room);
  room.on("members", showMembers);
  room.on("state", showMembers);
  room.on("joined", () => past.open && learnNames());
  room.on("role", ({ role }) => notice(role === "reader" ? "You may read here, but no longer write." : `You are ${role} here now.`));
  room.on("removed", () => notice("You were taken out of this room."));
  room.on("error", (error) => notice(`The room cannot be joined: ${error.message}.`));
  shared = client.document(name, { client: ids.get(name) });
  ids.set(name, shared.id);
  editor.attach(shared);
  past.attach(shared);
  shared.on("steps", showSteps);
  shared.on("state", showSteps);
  shared.on("settled", showSaved);
  shared.on("state", showSaved);
  for (const changed of [showSteps, showSaved]) shared.on("role", changed);
  shared.on("removed", () => notice("Your access to this document was taken away."));
  shared.on("collaborators", showWriters);
  shared.on("refused", ({ message }) => notice(`An edit was taken back: ${message || "the server refused it"}.`));
  shared.on("rebased", ({ operation }) => {
    if (operation.length) notice("You were away for long. Your edits are kept; please look whether they are in place.");
  });
  shared.on("reset", ({ unsent }) => {
    notice("The document on the server is a new one. What you had not saved is not in it.", unsent.content);
  });
  shared.on("error", (error) => {
    if (shared?.state === "failed") notice(`The document cannot be opened: ${error.message}.`);
  });
  showMembers();
  showWriters();
  showSteps();
  showSaved();
  showUnread();
}

function notice(text, copy = null) {
  $("notice").hidden = text === null;
  $("notice-text").textContent = text ?? "";
  $("notice-copy").hidden = copy === null;
  $("notice-copy").onclick = () => copyText(copy).catch(() => {});
}

/** Rejects when the browser does not let it. */
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // There is none for a page over plain http whose name is not localhost.
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("not copied");
  return undefined;
}

$("notice-close").addEventListener("click", () => notice(null));

addEventListener("hashchange", () => {
  const name = roomInAddress();
  if (name && client.state !== "idle") enter(name);
});

$("share").addEventListener("click", async () => {
  const label = $("share").querySelector(".label");
  try {
    await copyText(location.href);
    label.textContent = "Copied";
  } catch {
    label.textContent = "Copy it from the address bar";
  }
  setTimeout(() => (label.textContent = "Copy link"), 1800);
});

// The document's head ------------------------------------------------------------------------------------------------

function savedState() {
  if (shared?.state === "failed" || shared?.removed) return ["failed", "Not available"];
  if (!shared || shared.generation === null) return ["loading", "Loading\u2026"];
  if (shared.role === "reader") return ["reader", "Read only"];
  if (shared.settled) return live() ? ["saved", "Saved"] : ["offline", "Saved, offline"];
  return live() ? ["saving", "Saving\u2026"] : ["offline", "Not saved yet: offline"];
}

function showSaved() {
  const [state, text] = savedState();
  if ($("saved").dataset.state === state && $("saved").textContent === text) return;
  $("saved").dataset.state = state;
  $("saved").textContent = text;
}

/** Everybody here gets a colour; who is not in the list of members of a large room may still be writing. */
function giveColours() {
  const writers = [...(shared?.collaborators.values() ?? [])].map(({ user }) => user);
  setPresent([me().user, ...(room?.members.keys() ?? []), ...writers].filter(Boolean));
}

function showWriters() {
  giveColours();
  const writers = new Map([...(shared?.collaborators.values() ?? [])].map((one) => [one.user, one]));
  writers.delete(me().user);
  if (!live()) writers.clear(); // not known
  $("faces").replaceChildren(...[...writers.values()].slice(0, 6).map(({ user, name }) => {
    const item = paintFace(document.createElement("li"), user, name);
    item.title = name;
    item.setAttribute("aria-label", name);
    return item;
  }));
}

function showSteps() {
  const can = shared?.writable && !past.open;
  $("undo").disabled = !can || shared.canUndo === 0;
  $("redo").disabled = !can || shared.canRedo === 0;
}

$("undo").addEventListener("click", () => editor.undo());
$("redo").addEventListener("click", () => editor.redo());

// The ids are in the session's storage only while the page is away: a tab that is duplicated gets its own ones.
memory.set("documents", null);
addEventListener("pagehide", () => {
  if (shared) ids.set(shared.name, shared.id);
  memory.set("documents", JSON.stringify([...ids].slice(-50)));
});
addEventListener("pageshow", () => memory.set("documents", null));
// What is on its way goes on while the browser asks; what waits for a connection would be gone.
addEventListener("beforeunload", (event) => client.settled || event.preventDefault());

// People -------------------------------------------------------------------------------------------------------------

const STATUS = { online: "Online", away: "Away", busy: "Busy", offline: "Offline" };

/** Who wrote here before, too. */
async function learnNames() {
  const members = await room.allMembers().catch(() => []);
  for (const { user, name } of members) names.set(user, name);
  past.refresh();
}

function showMembers() {
  giveColours();
  for (const { user, name } of room?.members.values() ?? []) names.set(user, name);
  past.refresh();
  const known = live() && room?.state === "joined";
  const others = [...(room?.members.values() ?? [])].filter(({ user }) => user !== me().user);
  others.sort((one, other) => collator.compare(one.name, other.name));
  const rows = others.map(({ user, name, status: theirs }) => {
    const row = document.createElement("li");
    const state = make("span", "status", known ? (STATUS[theirs] ?? theirs) : "Not known");
    state.dataset.status = known ? theirs : "unknown";
    row.append(face(user, name), make("span", "who", name), state);
    return row;
  });
  if (!rows.length && known) {
    rows.push(make("li", "alone", "Nobody else yet. Open this page in a second window, or send somebody the link."));
  }
  $("members").replaceChildren(...rows);
  $("people-count").textContent = known ? String(others.length + 1) : "?";
  $("people-badge").textContent = String(others.length + 1);
  $("people-badge").hidden = others.length === 0 || !known;
}

function showMe() {
  giveColours();
  const { user, name } = me();
  paintFace($("you-face"), user, name);
  if (document.activeElement !== $("you-name")) $("you-name").value = name;
  $("you-status").value = status;
}

function rename(name) {
  const clean = name.trim().slice(0, 40);
  if (clean && clean !== client.options.name) {
    memory.set("name", clean);
    client.rename(clean);
  }
  $("you-name").value = client.options.name;
  showMe();
}

$("you").addEventListener("submit", (event) => {
  event.preventDefault();
  $("you-name").blur();
});
$("you-name").addEventListener("change", () => rename($("you-name").value));
$("you-status").addEventListener("change", () => {
  status = $("you-status").value;
  memory.set("status", status);
  client.setPresence(status);
});

// Panels on a narrow screen ------------------------------------------------------------------------------------------

const narrow = matchMedia("(max-width: 819px)");

function chatVisible() {
  if (document.visibilityState !== "visible") return false;
  return !narrow.matches || document.body.dataset.panel === "chat";
}

function showUnread() {
  if (chatVisible()) unread = 0;
  $("unread").hidden = unread === 0;
  $("unread").textContent = unread > 99 ? "99+" : String(unread);
  $("unread").setAttribute("aria-label", `${unread} unread`);
}

for (const button of document.querySelectorAll(".tabs button")) {
  button.addEventListener("click", () => {
    document.body.dataset.panel = button.dataset.panel;
    for (const other of document.querySelectorAll(".tabs button")) other.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    if (button.dataset.panel === "chat") chat.scrollDown();
    if (button.dataset.panel === "document") editor.view.requestMeasure();
    showUnread();
  });
}
document.addEventListener("visibilitychange", showUnread);
narrow.addEventListener("change", showUnread);

// Joining ------------------------------------------------------------------------------------------------------------

function ask() {
  $("join-name").value = client.options.name ?? inventName();
  $("join-room").value = room?.name || roomInAddress() || memory.get("room") || "lobby";
  $("join-title").textContent = room ? "Change room" : "Join a room";
  $("join-cancel").hidden = room === null;
  $("join").showModal();
  (room ? $("join-room") : $("join-name")).select();
}

$("join").addEventListener("cancel", (event) => room === null && event.preventDefault());
$("join-cancel").addEventListener("click", () => $("join").close());
$("room-button").addEventListener("click", ask);
$("join-form").addEventListener("submit", (event) => {
  const name = $("join-name").value.trim();
  const where = $("join-room").value.trim();
  if (!name || !where) return event.preventDefault();
  return start(name, where);
});

function start(name, where) {
  if (client.state === "idle") {
    memory.set("name", name);
    client.options.name = name;
    client.setPresence(status);
    client.connect().catch(() => {});
  } else {
    rename(name);
  }
  enter(where);
  showMe();
}

const known = roomInAddress() || memory.get("room");
if (memory.get("name") && known) start(memory.get("name"), known);
else ask();
