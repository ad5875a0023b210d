/**
 * Proof of delivery: a hash of each message's payload as it came, their sum, and what the server says of it
 * (docs/protocol.md, Delivery digest). Import syncline.js.
 */

const TABLE = new Int32Array(256);
for (let index = 0; index < 256; index += 1) {
  let crc = index;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  TABLE[index] = crc;
}

const encoder = new TextEncoder();
let buffer = new Uint8Array(4096);

/** CRC-32 (zlib's) of a text as UTF-8, going on from `crc`, that of what was before it. */
function crcOfText(crc, text) {
  if (text.length * 3 > buffer.length) buffer = new Uint8Array(text.length * 3);
  const { written } = encoder.encodeInto(text, buffer);
  let register = ~crc;
  for (let index = 0; index < written; index += 1) {
    register = (register >>> 8) ^ TABLE[(register ^ buffer[index]) & 0xff];
  }
  if (buffer.length > 1_048_576) buffer = new Uint8Array(4096); // a giant's memory is not kept
  return ~register >>> 0;
}

function crcOfOffset(crc, offset) {
  let register = ~crc;
  let low = offset >>> 0;
  let high = Math.floor(offset / 4_294_967_296);
  for (let index = 0; index < 8; index += 1) {
    register = (register >>> 8) ^ TABLE[(register ^ low) & 0xff];
    low = index === 3 ? high : low >>> 8;
  }
  return ~register >>> 0;
}

/** The hash of one message. `seed`: the CRC-32 of its epoch. */
export function itemHash(seed, offset, payload) {
  return crcOfText(crcOfOffset(seed, offset), payload);
}

export function epochSeed(epoch) {
  return crcOfText(0, epoch);
}

// Where a value lies in a text that JSON.parse has taken: so it is well-formed, and nothing else is checked. ---------

function skipSpace(text, at) {
  let code = text.charCodeAt(at);
  while (code === 32 || code === 10 || code === 13 || code === 9) code = text.charCodeAt((at += 1));
  return at;
}

function endOfString(text, at) {
  for (let quote = at; ; ) {
    quote = text.indexOf('"', quote + 1);
    let slashes = quote;
    while (text.charCodeAt(slashes - 1) === 92) slashes -= 1;
    if ((quote - slashes) % 2 === 0) return quote + 1;
  }
}

/** One past the last character of the value that begins at `at`. */
function endOfValue(text, at) {
  for (let depth = 0; ; ) {
    const code = text.charCodeAt(at);
    if (code === 34) {
      at = endOfString(text, at);
      if (depth === 0) return at;
    } else if (code === 123 || code === 91) {
      depth += 1;
      at += 1;
    } else if (code === 125 || code === 93) {
      depth -= 1;
      at += 1;
      if (depth === 0) return at;
    } else if (depth > 0) {
      at += 1;
    } else {
      while (at < text.length && !" \n\r\t,]}".includes(text[at])) at += 1;
      return at;
    }
  }
}

/** Where the elements of the array at `at` begin. */
export function elements(text, at) {
  const found = [];
  at = skipSpace(text, skipSpace(text, at) + 1);
  while (text.charCodeAt(at) !== 93) {
    found.push(at);
    at = skipSpace(text, endOfValue(text, at));
    if (text.charCodeAt(at) === 44) at = skipSpace(text, at + 1);
  }
  return found;
}

/** Where the value of a member of the object at `at` begins, or -1. */
export function member(text, at, name) {
  at = skipSpace(text, skipSpace(text, at) + 1);
  while (text.charCodeAt(at) !== 125) {
    const end = endOfString(text, at);
    const value = skipSpace(text, skipSpace(text, end) + 1);
    if (text.slice(at + 1, end - 1) === name) return value;
    at = skipSpace(text, endOfValue(text, value));
    if (text.charCodeAt(at) === 44) at = skipSpace(text, at + 1);
  }
  return -1;
}

function payloadOf(text, publication) {
  const at = member(text, publication, "data");
  return at < 0 ? "null" : text.slice(at, endOfValue(text, at));
}

const PUSH = '{"event":"message:received","data":{';

/** The payload of the `message:received` that begins at `at` of a frame. */
export function payloadOfPush(text, at) {
  if (at === 0 && text.startsWith(PUSH) && text.endsWith("}}")) {
    // `data` comes last, and no string before it can hold this: its quotes would have backslashes.
    const found = text.indexOf(',"data":', PUSH.length);
    if (found > 0) return text.slice(found + 8, -2);
  }
  return payloadOf(text, member(text, at, "data"));
}

/** The payloads of the publications in the `room:joined` that begins at `at` of a frame: a reply, or a push. */
export function payloadsOfJoined(text, at) {
  const result = Math.max(member(text, at, "result"), member(text, at, "data"));
  const publications = member(text, result, "publications");
  return elements(text, publications).map((publication) => payloadOf(text, publication));
}

/**
 * More than so many messages or characters are not left unproven, whatever the time: a repair needs them from the
 * server's history, which holds 1000 and 1 MiB of a room by default.
 */
const MESSAGES = 400;
const CHARACTERS = 400_000;

/** What is known of the deliveries of one room. */
export class Proof {
  #since = -1; // -1: the server keeps no digest of this room
  #epoch = null;
  #seed = 0;
  #offset = 0;
  #total = 0;
  #fresh = 0;
  #characters = 0;
  asked = false; // a comparison is under way
  row = 0; // failures without a success between
  /** Up to here everything that came is what was sent, once and in order. */ proven = null;
  /** Where a repair begins: the last proven position, or where the digest did. */ floor = null;
  checks = 0;
  failures = 0;
  duplicates = 0;

  /** `continued`: nothing is missing between what was folded so far and these. */
  joined(digest, position, publications, payloads, continued) {
    this.asked = false;
    if (!digest) {
      this.#since = -1;
      return;
    }
    const same = digest.since === this.#since && position.epoch === this.#epoch;
    if (!continued || this.row > 0 || !same) {
      this.#since = digest.since;
      this.#total = digest.value;
      this.#epoch = position.epoch;
      this.#seed = epochSeed(position.epoch);
      this.#offset = publications.length ? publications[0].offset - 1 : position.offset;
      this.floor = { offset: this.#offset, epoch: this.#epoch };
    }
    publications.forEach(({ offset }, index) => offset > this.#offset && this.fold(offset, payloads[index]));
    this.#offset = position.offset;
  }

  /** For a join: what this digest is, when it can be gone on with. */
  state() {
    return this.#since >= 0 && this.row === 0 ? { since: this.#since, proven: this.floor.offset } : true;
  }

  /** The next message; whether it is time to compare. */
  fold(offset, payload) {
    if (this.#since < 0) return false;
    this.#total = (this.#total + itemHash(this.#seed, offset, payload)) >>> 0;
    this.#offset = offset;
    this.#fresh += 1;
    this.#characters += payload.length;
    return (this.#fresh >= MESSAGES || this.#characters >= CHARACTERS) && !this.asked;
  }

  /** The next message is one's own that was not sent back; the server gives its hash. */
  foldHash(offset, hash) {
    if (this.#since < 0) return;
    this.#total = (this.#total + hash) >>> 0;
    this.#offset = offset;
  }

  /** What to ask the server, also when nothing came: the last message may be lost. Null while an answer is awaited. */
  claim(room) {
    if (this.#since < 0 || this.asked) return null;
    this.asked = true;
    this.#fresh = this.#characters = 0;
    return { room, epoch: this.#epoch, offset: this.#offset, digest: this.#total };
  }

  /** Whether the room is exactly where this client is. */
  compare({ epoch, offset, digest }) {
    if (epoch !== this.#epoch || offset !== this.#offset || digest !== this.#total) {
      this.failures += 1;
      this.row += 1;
      return false;
    }
    this.checks += 1;
    this.row = 0;
    this.proven = this.floor = { offset, epoch };
    return true;
  }
}

const ROOMS = 256; // in one request; the server takes no more
const SOON = 1000; // milliseconds at most: random, because many clients come back together

/** Asks about the rooms now and then, while there is a connection. */
export class Heartbeat {
  #client;
  #timer = 0;
  #soon = 0;

  constructor(client) {
    this.#client = client;
  }

  start(milliseconds) {
    this.stop();
    this.#timer = setInterval(() => {
      // An answer that has not come by now is lost, or good for this question too.
      for (const room of this.#client.rooms.values()) room.proof.asked = false;
      this.ask(this.#client.rooms.values());
    }, milliseconds);
  }

  stop() {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#timer = this.#soon = 0;
    for (const room of this.#client.rooms.values()) room.proof.asked = false;
  }

  /** For rooms that were joined again. */
  soon() {
    if (this.#soon || !this.#timer) return;
    this.#soon = setTimeout(() => {
      this.#soon = 0;
      this.ask(this.#client.rooms.values());
    }, this.#client.options.random() * SOON);
  }

  ask(rooms) {
    const asked = [];
    for (const room of rooms) {
      const claim = room.state === "joined" ? room.proof.claim(room.name) : null;
      if (claim) asked.push([room, claim]);
    }
    for (let start = 0; start < asked.length; start += ROOMS) this.#send(asked.slice(start, start + ROOMS));
  }

  #send(asked) {
    const waiting = () => asked.map(([room]) => room).filter((room) => {
      const { asked: was } = room.proof;
      room.proof.asked = false;
      return was && room.state === "joined";
    });
    const answered = ({ rooms }) => {
      const answers = new Map(rooms.map((answer) => [answer.room, answer]));
      for (const room of waiting()) room._compared(answers.get(room.name));
    };
    this.#client._ask("room:digest", { rooms: asked.map(([, claim]) => claim) }, answered, waiting, true);
  }
}
