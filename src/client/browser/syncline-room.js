/** Rooms of the Syncline client for browsers. Import syncline.js. */

import { checkOptions, Joined, randomId, SHARED_EVENTS, SynclineError, unlessAborted } from "./syncline-base.js";
import { payloadOfPush, payloadsOfJoined, Proof } from "./syncline-proof.js";

/** Whoever tells of a member, and however much of it: all of it. */
const memberOf = ({ user, name = "", role = null, status = "online", last_seen = null, metadata = null }) => ({
  user, name, role, status, last_seen, metadata,
});
const byUser = (members) => new Map(members.map((told) => [told.user, memberOf(told)]));

/**
 * A room: messages in order without gap or duplicate, over reconnects too.
 *
 * Events: `message`, `event`, `members`, `user_joined`, `user_left`, `presence`, `occupancy`, `joined`, `lost` (the server no
 * longer has
 * everything that was missed), `caught_up` (what was missed has been handed over), `proof` (all messages were compared
 * with the server's: `complete` or not, and what was not is fetched again), `role` (one's own has changed), `removed` (this user was
 * taken out, or is not let in again), `settled`, `state`, `error`.
 */
export class Room extends Joined {
  static _events = [
    ...SHARED_EVENTS, "message", "event", "members", "user_joined", "user_left", "presence", "occupancy", "joined", "lost", "proof",
    "caught_up",
  ];
  #options;
  #unsent = new Set(); // messages that wait for the room
  #places = 0; // given out to messages, in order
  #sending = 0; // messages without an answer
  #said = null; // presence as this connection has told it
  #repairing = false; // joins from the last proven position
  #early = true; // nobody has listened yet
  #brought = 0; // messages, by the first join

  /** @internal */
  constructor(client, name, options) {
    super(client, name, "room");
    this.#options = options;
    this.position = options.position ?? null;
    /**
     * What the first join brought, which `message` events tell, too, to who listens by then; and what has come until somebody listened.
     * Oldest first; at most what the join brought and `earlyMessages` more: then the oldest is dropped, whichever it is.
     */
    this.history = [];
    /** How many that were. */
    this.historyDropped = 0;
    /** What this client gets when it does not keep up: "history" (all, later), "latest" (per key) or "volatile". */
    this.roomClass = "history";
    /** Who is here: user -> {user, name, role, status, last_seen, metadata}; `role` is null, `allMembers` tells it. */
    this.members = new Map();
    /** How many: in a large room only this is kept up to date, and `members` are some of those who were here at the join. */
    this.occupancy = { users: 0, connections: 0 };
    /** What is proven of its messages: `proven` (a position), and how often that was found wrong (`failures`). */
    this.proof = new Proof();
  }

  get _mark() {
    return this.position && `${this.position.epoch} ${this.position.offset}`;
  }

  _join(resolve, reject) {
    const { password, history } = this.#options;
    const data = { room: this.name, digest: this.proof.state() };
    if (password !== undefined) data.password = password;
    if (history) data.history = history;
    if (this.position) data.recover = this.#repairing ? this.proof.floor : this.position;
    this.client._ask("room:join", data, resolve, reject);
  }

  _joinedWith(result, source) {
    const { role, class: roomClass = "history", position, recovered, publications, members, occupancy, digest } = result;
    const before = this.position;
    const repairing = this.#repairing;
    this.#repairing = false;
    if (repairing && !recovered) return this._attach(); // what is proven lies too far back: from where it is
    const payloads = digest ? payloadsOfJoined(source.text, source.at) : [];
    this.proof.joined(digest, position, publications, payloads, recovered === true && !repairing);
    // What two repairs did not mend is not asked about every second.
    if (before && this.proof.row < 2) this.client._heartbeat.soon();
    const first = this.role === null;
    this._roleIs(role);
    this.roomClass = roomClass;
    this.members = byUser(members);
    this.occupancy = occupancy ?? { users: members.length, connections: members.length };
    this.#said = null;
    if (before && recovered === false) this.position = before.epoch === position.epoch ? before : null;
    this._emit("joined", { role, recovered, members: [...this.members.values()], position });
    this._emit("members", this.members);
    if (before && recovered === false) this._emit("lost", { position: before });
    for (const publication of publications) {
      if (this.state !== "joined") return undefined; // left, or closed, by who was told
      this.#publication(publication, true, first);
    }
    if (this.state !== "joined") return undefined;
    this.position = position;
    this._emit("caught_up", { position });
    this._tellPresence();
    this.#settle();
    return undefined;
  }

  /** @internal The server's answer about this room: where it is now. */
  _compared(answer) {
    if (!answer) return this._renew(); // the server does not know that this client is in it
    if (answer.behind) return undefined; // it is told to join again when it has caught up
    if (this.proof.compare(answer)) return this._emit("proof", { complete: true, position: this.proof.proven });
    this.#repairing = true;
    this._emit("proof", { complete: false, position: this.proof.floor });
    return this._attach();
  }

  #publication(publication, replayed, first = false) {
    const { offset, epoch } = publication;
    if (this.position?.epoch === epoch && offset <= this.position.offset) return;
    this.position = { offset, epoch };
    const message = { ...publication, replayed };
    if (this.#early || first) this.#keep(message, first);
    this._emit("message", message);
  }

  /** Who walks through it meanwhile sees what comes, too; but for what is beyond the bound: that is another list. */
  #keep(message, first) {
    if (first) this.#brought += 1;
    const most = this.#brought + this.client.options.earlyMessages;
    if (this.history.length < most) this.history.push(message);
    else {
      this.historyDropped += this.history.length + 1 - most;
      this.history = [...this.history, message].slice(this.history.length + 1 - most);
    }
  }

  on(name, callback) {
    const release = super.on(name, callback);
    if (name === "message") this.#early = false;
    return release;
  }

  _push(event, data, source) {
    if (this.state !== "joined") return;
    if (event === "message:received") {
      // Positions have no gaps: one that is missing means that something went wrong on the way. In other classes a
      // slow reader is not given all.
      const { offset, epoch } = this.position;
      const hole = data.offset > offset + 1 && this.roomClass === "history";
      if (data.epoch !== epoch || hole) this._renew();
      else if (data.offset <= offset) this.proof.duplicates += 1;
      else {
        if (this.proof.fold(data.offset, payloadOfPush(source.text, source.at))) this.client._heartbeat.ask([this]);
        this.#publication(data, false);
      }
    } else if (event === "message:sent") {
      // One's own that is not sent back, in its place in the order.
      const { offset, epoch, hash } = data;
      if (epoch !== this.position.epoch || offset > this.position.offset + 1) this._renew();
      else if (offset > this.position.offset) {
        this.proof.foldHash(offset, hash);
        this.position = { offset, epoch };
      }
    } else if (event === "room:behind") this._renew(); // what was not sent is in the history
    else if (event === "room:role") this._roleIs(data.role);
    else if (event === "room:removed") this._takenOut();
    else if (event === "event:custom") this._emit("event", data);
    else if (event === "room:user_joined") {
      const { user, name } = data;
      this.#member({ user, name }); // as one who has left and come, of which a slow reader is told the second only
      this._emit("user_joined", data);
    } else if (event === "room:user_left") {
      this.members.delete(data.user);
      this.occupancy = { ...this.occupancy, users: this.members.size };
      this._emit("user_left", data);
      this._emit("members", this.members);
    } else if (event === "room:occupancy") {
      const { users, connections, members } = data;
      this.occupancy = { users, connections };
      if (members) {
        this.members = byUser(members);
        this._emit("members", this.members);
      }
      this._emit("occupancy", this.occupancy);
    } else if (event === "presence:update") {
      const member = this.#member({ name: this.members.get(data.user)?.name, ...data });
      this._emit("presence", { room: this.name, ...member });
    }
  }

  #member(told) {
    const member = memberOf(told);
    this.members.set(member.user, member);
    this.occupancy = { ...this.occupancy, users: this.members.size };
    this._emit("members", this.members);
    return member;
  }

  /**
   * Resolves with {room, offset, epoch} when it is stored and sent. `key`: in a room of the class latest, what this is
   * the newest of; by default oneself. `echo: false`: not to this client itself (but it may come with what is recovered
   * after a lost connection). Unless `retry: false`, it waits for the room to be joined, up to `requestTimeout`, and what
   * was lost with a connection is sent again on the next one: published once, in the order of `send`, also of those in
   * callbacks. After the server's `rooms.idempotency_seconds` it is not sent again, but rejects with `fate_unknown`.
   * `signal` (an AbortSignal): once that is aborted it is not sent (again), and holds up nobody.
   */
  send(data, given = {}) {
    try {
      checkOptions(given, ["key", "echo", "retry", "signal"]);
    } catch (error) {
      return Promise.reject(error);
    }
    const { key, echo = true, retry = true, signal } = given;
    const message = { room: this.name, data, ...(key !== undefined && { key }), ...(!echo && { echo }) };
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this._error) return Promise.reject(this._error);
    if (retry) message.idempotency_key = randomId();
    else if (!this.client.online) return Promise.reject(this.client._offline());
    this.#places += 1;
    const item = { message, retry, signal, place: this.#places };
    const answer = new Promise((resolve, reject) => this.#submit(Object.assign(item, { resolve, reject })));
    return this.#counted(unlessAborted(answer, signal, () => this.#drop(item)));
  }

  #counted(answer) {
    const over = () => {
      this.#sending -= 1;
      this._tellSettled();
    };
    this.#sending += 1;
    this._tellSettled();
    answer.then(over, over);
    return answer;
  }

  /** Whether every message that was sent is answered. */
  get settled() {
    return this.#sending === 0;
  }

  get _unsettled() {
    return this.#sending;
  }

  #drop(item) {
    clearTimeout(item.timer);
    this.#unsent.delete(item);
    this.client._forget(item.id);
  }

  #submit(item) {
    if (this.state !== "joined" || this.#unsent.size) return this.#wait(item);
    const { idempotency_seconds } = this.client.identity?.limits ?? {};
    item.first ??= Date.now(); // the server's seconds go on while this machine sleeps, which other clocks may not count
    if (Date.now() - item.first >= idempotency_seconds * 1000) {
      return item.reject(new SynclineError("fate_unknown", "too late to send it again: it might be published twice"));
    }
    const refused = (error) => (error.code === "disconnected" && item.retry ? this.#wait(item) : item.reject(this._reason(error)));
    item.id = this.client._ask("message:send", item.message, item.resolve, refused, true);
    return undefined;
  }

  #wait(item) {
    if (item.signal?.aborted) return;
    const { maxRequests, requestTimeout } = this.client.options;
    if (this.client.state === "closed" || this._over) {
      item.reject(this._error ?? this.client._error);
    } else if (this.#unsent.size >= maxRequests) {
      item.reject(new SynclineError("buffer_full", "too many messages wait for the connection"));
    } else {
      const code = item.first === undefined ? "not_sent" : "timeout"; // what was lost with a connection may have been published
      const late = () => this.#unsent.delete(item) && item.reject(new SynclineError(code, "the room was not joined in time"));
      item.timer = setTimeout(late, requestTimeout);
      this.#unsent.add(item);
    }
  }

  /** What waited: sent now, in the order of `send`, or rejected. What was under way comes back later than what was sent meanwhile. */
  #settle(error) {
    const unsent = [...this.#unsent].sort((one, other) => one.place - other.place);
    this.#unsent.clear();
    for (const item of unsent) {
      clearTimeout(item.timer);
      if (error) item.reject(error);
      else this.#submit(item);
    }
  }

  _giveUp(error) {
    this.#settle(error);
  }

  /** At most once, without history. `to`: { users, connections }, ids of those in the room that get it; else all. */
  async sendEvent(name, data = null, given = {}) {
    const { to } = checkOptions(given, ["to"]);
    if (to !== undefined) checkOptions(to, ["users", "connections"]);
    return this._request("event:custom", { name, data, to });
  }

  /** Whether this user may send here. */
  get writable() {
    return this.role !== null && this.role !== "reader" && !(this._error ?? this.client._error);
  }

  _tellPresence() {
    const wanted = this.client._presence;
    if (this.state !== "joined" || !wanted || this.#said === wanted) return;
    this.#said = wanted;
    this.client._ask("presence:update", { room: this.name, ...wanted }, () => {}, (error) => {
      if (error.code !== "disconnected") this._emit("error", error);
    });
  }

  /** Every stored member, also those who are not here. */
  async allMembers(given = {}) {
    const { signal } = checkOptions(given, ["signal"]);
    return (await this._request("room:members", {}, { signal })).members.map(memberOf);
  }
}
