/**
 * How fast requests go out: nine tenths of the server's rate, for clocks; and half of its burst at once, so that what the network, or a busy server,
 * holds up and lets go in a bunch is not refused: up to half a burst late. A part of the Syncline client: import syncline.js. The same as src/client/pace.py.
 */

const SHARE = 0.9;
const AT_ONCE = 0.5;
const AROUND = 5; // bytes: each request is counted with its part of the frame around it

/** A token bucket (src/core/bucket.pyx): `rate` a second flow in, up to `burst`; it begins full. */
class Bucket {
  #at = Date.now();

  constructor(rate, burst) {
    this.all = burst; // the server's
    this.rate = rate * SHARE;
    this.burst = this.left = burst * AT_ONCE;
  }

  /** Takes `cost`: 0; or takes nothing: the milliseconds until it may. What is more than the burst may when half of that is there. */
  take(cost) {
    const now = Date.now();
    if (now > this.#at) this.left = Math.min(this.burst, this.left + ((now - this.#at) / 1000) * this.rate);
    this.#at = now;
    let needed = Math.min(cost, this.burst); // between the two bursts the server's has to be full: it is when this one is
    if (cost > this.all) needed = this.burst / 2;
    if (needed > this.left) return Math.ceil(((needed - this.left) / this.rate) * 1000);
    this.left -= cost;
    return 0;
  }
}

const sizeOf = (text) => new TextEncoder().encode(text).length + AROUND;

/** Of one connection. Until `told` everything may go; it is counted. */
export class Pace {
  #told = false;
  #requests = null;
  #bytes = null;
  #gone = { requests: 0, bytes: 0 };

  told(limits = {}) {
    const made = (name) => {
      const [rate, burst] = [limits[`${name}_per_second`], limits[`${name}_burst`]];
      if (!(rate > 0) || !(burst > 0)) return null;
      const bucket = new Bucket(rate, burst);
      bucket.left = Math.max(0, bucket.left - this.#gone[name]); // what is more was refused, and not counted
      return bucket;
    };
    this.#told = true;
    this.#requests = made("requests");
    this.#bytes = made("bytes");
  }

  /** It goes out now, whether it may or not. */
  count(text) {
    if (this.#requests) this.#requests.left -= 1;
    if (this.#bytes) this.#bytes.left -= sizeOf(text);
  }

  /** A request goes out now: 0. Else the milliseconds until it may, and nothing is taken. */
  take(text) {
    if (!this.#told) {
      this.#gone.requests += 1;
      this.#gone.bytes += sizeOf(text);
      return 0;
    }
    const wait = this.#requests?.take(1) ?? 0;
    if (wait || !this.#bytes) return wait;
    const longer = this.#bytes.take(sizeOf(text));
    if (longer && this.#requests) this.#requests.left += 1;
    return longer;
  }
}
