// A writer with the browser client, under Node: writer.py says what it takes, does and tells.
import { createInterface } from "node:readline";
import { Client } from "../../src/client/browser/syncline.js";

const FIRST_PLANE = 2;
const MARKERS = 60_000;
const COLOURS = ["red", "green", "blue", null];
const NOISE = "abcdefghij";
const KINDS = ["text", "rich-text", "json"];
const [, , url, number, seed] = process.argv;

// FNV-1a of the seed, then mulberry32.
let drawn = [...seed].reduce((hash, character) => Math.imul(hash ^ character.codePointAt(0), 0x01000193), 0x811c9dc5) >>> 0;
function random() {
  drawn = (drawn + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(drawn ^ (drawn >>> 15), drawn | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const below = (count) => Math.floor(random() * count);
const choice = (list) => list[below(list.length)];
const say = (line) => console.log(JSON.stringify(line));

const client = new Client(url, { name: `writer ${number}`, backoffBase: 20, backoffMax: 250, random });
const documents = Object.fromEntries(KINDS.map((kind) => [kind, client.document(kind, { type: kind })]));
const typed = { text: "", "rich-text": "", json: "" };
const acknowledged = { text: 0, "rich-text": 0, json: 0 };
const [refused, lost, healed] = [[], [], []];
let edits = 0;
let online = 0;
let added = 0;
let next = (FIRST_PLANE + Number(number)) << 16;
const end = next + MARKERS;

client.on("state", ({ state }) => {
  if (state === "online") say({ online: (online += 1) });
});
for (const [kind, document] of Object.entries(documents)) {
  document.on("refused", ({ code }) => refused.push([kind, code]));
  document.on("reset", () => lost.push(kind));
  document.on("error", ({ code, message }) => (code === "diverged" ? healed : lost).push([kind, code, message]));
}

function mark(kind) {
  if (next === end) throw new Error("no markers are left");
  const marker = String.fromCodePoint(next);
  next += 1;
  typed[kind] += marker;
  return marker;
}

const tail = () => choice(["", choice(NOISE)]);

/** Of a string, or of characters and embeds: where one may insert, and where noise is. */
function placesIn(parts) {
  const places = [0];
  const noise = [];
  for (const one of parts) {
    if (typeof one === "string" && NOISE.includes(one)) noise.push(places.at(-1));
    places.push(places.at(-1) + (typeof one === "string" ? one.length : 1));
  }
  return [places, noise];
}

function editText(document) {
  const [places, noise] = placesIn(document.text);
  if (noise.length && random() < 0.25) document.delete(choice(noise), 1);
  else document.insert(choice(places), mark("text") + tail());
}

function editRich(document) {
  const parts = document.content.flatMap(({ insert }) => (typeof insert === "string" ? [...insert] : [insert]));
  const [places, noise] = placesIn(parts);
  const chance = random();
  let operation;
  if (noise.length && chance < 0.2) operation = [{ retain: choice(noise) }, { delete: 1 }];
  else if (parts.length && chance < 0.4) {
    const start = below(parts.length);
    const width = places[Math.min(parts.length, start + 1 + below(5))] - places[start];
    operation = [{ retain: places[start] }, { retain: width, attributes: { [choice(["color", "bold"])]: choice(COLOURS) } }];
  } else {
    const marker = mark("rich-text");
    const color = choice(COLOURS);
    const insert = { insert: chance < 0.5 ? { image: marker } : marker + tail() };
    operation = [{ retain: choice(places) }, color ? { ...insert, attributes: { color } } : insert];
  }
  document.edit(operation.filter(({ retain }) => retain !== 0));
}

function stringEdit(path, text) {
  const [places, noise] = placesIn(text);
  if (noise.length && random() < 0.3) {
    const at = choice(noise);
    return { p: [...path, at], sd: text[at] };
  }
  return { p: [...path, choice(places)], si: mark("json") + tail() };
}

function editJson(document) {
  const { list, keys, text } = document.content;
  const noise = [...list.keys()].filter((at) => list[at] === "-");
  const objects = [...list.keys()].filter((at) => list[at] !== "-");
  const chance = random();
  let component;
  if (chance < 0.1 && noise.length) component = { p: ["list", choice(noise)], ld: "-" };
  else if (chance < 0.25 && list.length) component = { p: ["list", below(list.length)], lm: below(list.length) };
  else if (chance < 0.35) component = { p: ["list", below(list.length + 1)], li: "-" };
  else if (chance < 0.5) component = stringEdit(["text"], text);
  else if (chance < 0.6 && objects.length) {
    const at = choice(objects);
    component = stringEdit(["list", at, "text"], list[at].text);
  } else if (chance < 0.7) component = { p: ["keys", mark("json")], oi: 1 };
  else if (chance < 0.8) {
    const key = `k${below(4)}`;
    component = { p: ["keys", key] };
    if (key in keys) component.od = keys[key];
    if (!(key in keys) || random() < 0.5) component.oi = below(1000);
  } else if (chance < 0.85) {
    component = { p: ["number"], na: below(13) - 3 };
    added += component.na;
  } else component = { p: ["list", below(list.length + 1)], li: { marker: mark("json"), text: "" } };
  document.edit([component]);
}

const EDITS = { text: editText, "rich-text": editRich, json: editJson };

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const COMMANDS = {
  async write({ count, kinds, patience }) {
    for (let left = count; left > 0; left -= 1) {
      const kind = choice(kinds);
      EDITS[kind](documents[kind]);
      edits += 1;
      say({ edits });
      await new Promise((resolve) => setImmediate(resolve));
      if (random() < patience) await until(() => documents[kind].settled || client.state !== "online");
      if (documents[kind].settled) acknowledged[kind] = [...typed[kind]].length;
    }
    say({ wrote: edits });
  },
  async settle() {
    await until(() => Object.values(documents).every(({ settled }) => settled));
    say({ settled: edits });
  },
  async level(revisions) {
    await until(() => Object.entries(revisions).every(([kind, revision]) => documents[kind].revision >= revision));
    const content = Object.fromEntries(KINDS.map((kind) => [kind, kind === "text" ? documents.text.text : documents[kind].content]));
    say({ report: { content, typed, acknowledged, added, refused, lost, healed } });
  },
  async state() {
    const about = Object.fromEntries(Object.entries(documents).map(([kind, { revision, state }]) => [kind, [revision, state]]));
    say({ state: { client: client.state, edits, ...about } });
  },
};

await client.connect();
await Promise.all(Object.values(documents).map(({ ready }) => ready));
say({ joined: true });
for await (const line of createInterface({ input: process.stdin })) {
  for (const [command, value] of Object.entries(JSON.parse(line))) COMMANDS[command](value);
}
client.close();
