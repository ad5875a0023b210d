/**
 * How fast requests go out: nine tenths of the server's rate, for clocks; and half of its burst at once, so that what the network, or a busy server,
 * holds up and lets go in a bunch is not refused: up to half a burst late. A part of the Syncline client: import syncline.js. The same as src/client/pace.py.
 */

const SHARE = 0.9;
const AT_ONCE = 0.5;
const AROUND = 5; // bytes: each request is counted with its part of the frame around it
const NEAR = 64; // bytes that the server may count less: what a frame has beside its requests' data counts for all in equal parts

/** A token bucket (src/core/bucket.pyx): `rate` a second flow in, up to `burst`; it begins full. */
class Bucket {
  #at = performance.now();

  constructor(rate, burst) {
    this.rate = rate;
    this.burst = this.left = burst;
  }

  /** Takes `cost`: 0; or takes nothing: the milliseconds until `needed` is there. */
  take(cost, needed = cost <= this.burst ? cost : this.burst / 2) {
    const now = performance.now();
    if (now > this.#at) this.left = Math.min(this.burst, this.left + ((now - this.#at) / 1000) * this.rate);
    this.#at = now;
    if (needed > this.left) return Math.ceil(((needed - this.left) / this.rate) * 1000);
    this.left -= cost;
    return 0;
  }

  count(cost) {
    this.left = Math.min(this.burst, this.left - cost);
  }
}

/** One of the server's buckets, as this side keeps it; `spent`: of what the server's had at most. */
class Limit extends Bucket {
  #all; // the server's burst
  #even; // what goes at once

  constructor(rate, burst, spent) {
    super(rate * SHARE, burst * SHARE);
    this.#all = burst;
    this.#even = new Bucket(rate * SHARE, burst * AT_ONCE);
    this.left -= spent;
  }

  /** For a cost between the two bursts the server's has to be full: so it is when this one is. */
  take(cost) {
    const part = Math.min(cost, this.#even.burst);
    const early = this.#even.take(part);
    if (early) return early;
    const wait = cost > this.burst && cost <= this.#all + NEAR ? super.take(cost, this.burst) : super.take(cost);
    if (wait) this.#even.left += part;
    return wait;
  }

  /** Takes it whether it is there or not; less than nothing: gives it back. */
  count(cost) {
    this.left = Math.min(this.burst, this.left - cost);
    this.#even.left = Math.min(this.#even.burst, this.#even.left - cost);
  }
}

// Of the connection, and of its user over all connections.
const NAMES = ["requests", "bytes", "user_requests", "user_bytes"];

const sizeOf = (text) => new TextEncoder().encode(text).length + AROUND;
const costOf = (name, size) => (name.endsWith("requests") ? 1 : size);

/** One request of `size` bytes from all of [name, bucket]: 0. Else the milliseconds until it may, and nothing is taken. */
function take(limits, size) {
  for (const [place, [name, limit]] of limits.entries()) {
    const wait = limit.take(costOf(name, size));
    if (!wait) continue;
    for (const [other, taken] of limits.slice(0, place)) taken.count(-costOf(other, size));
    return wait;
  }
  return 0;
}

/** Of one connection. Until `told` everything may go; it is counted. */
export class Pace {
  #limits = []; // [name, Limit]
  #gone = []; // the sizes of what went before it was told: of `auth`, and of what is joined with it; null: it was

  /** `limits`: as the server has said them, and what was left of each when it answered `auth`. */
  told(limits = {}) {
    const servers = [];
    for (const name of NAMES) {
      const { [`${name}_per_second`]: rate, [`${name}_burst`]: burst, [`${name}_left`]: left = burst } = limits;
      if (rate > 0 && burst > 0) servers.push([name, Object.assign(new Bucket(rate, burst), { left })]);
    }
    const gone = NAMES.some((name) => limits[`${name}_left`] !== undefined) ? this.#gone?.slice(1) : this.#gone; // without `auth`
    // What is larger than the burst is owed, what is refused costs nothing: as there.
    for (const size of gone ?? []) take(servers, size);
    this.#gone = null;
    this.#limits = servers.map(([name, { rate, burst, left }]) => [name, new Limit(rate, burst, burst - left)]);
  }

  /** It goes out now, whether it may or not. Returns what takes that back: for what was refused, which costs nothing. */
  count(text) {
    const size = sizeOf(text);
    const counted = this.#limits;
    for (const [name, limit] of counted) limit.count(costOf(name, size));
    return () => {
      if (counted !== this.#limits) return;
      for (const [name, limit] of counted) limit.count(-costOf(name, size));
    };
  }

  /** The milliseconds in which so much is allowed. */
  period(text) {
    return Math.max(0, ...this.#limits.map(([name, { rate }]) => (costOf(name, sizeOf(text)) / rate) * 1000));
  }

  /** A request goes out now: 0. Else the milliseconds until it may, and nothing is taken. */
  take(text) {
    if (this.#gone === null) return this.#limits.length ? take(this.#limits, sizeOf(text)) : 0;
    this.#gone.push(sizeOf(text));
    return 0;
  }
}
