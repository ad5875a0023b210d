/** Types of the Syncline client for browsers (syncline.js). Times in milliseconds unless a field says otherwise. */

export type Unsubscribe = () => void;
export type Metadata = unknown;

/** n retains, "text" inserts, -n deletes; offsets are UTF-16 code units; no trailing retain. */
export type Operation = Array<number | string>;
export type Side = "left" | "right";

export const ot: {
  readonly apply: (text: string, operation: Operation) => string;
  readonly baseLength: (operation: Operation) => number;
  /** CRC-32 of the text as UTF-16LE. */
  readonly checksum: (text: string) => number;
  readonly compose: (first: Operation, second: Operation) => Operation;
  readonly composeAll: (operations: Operation[]) => Operation;
  readonly diff: (before: string, after: string) => Operation;
  readonly endOf: (operation: Operation) => number;
  readonly invert: (operation: Operation, text: string) => Operation;
  readonly keepsPairs: (operation: Operation, text: string) => boolean;
  readonly mapPosition: (position: number, operation: Operation, stick?: Side) => number;
  readonly normalize: (operation: Operation) => Operation;
  readonly split: (operation: Operation, limit: number) => [first: Operation, rest: Operation];
  readonly transform: (operation: Operation, other: Operation, side: Side) => Operation;
  readonly wellFormed: (text: string) => string;
};

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
/** A component of json0 (docs/types.md): a path `p`, and what is done there. */
export type JsonComponent = {
  p: Array<string | number>; oi?: Json; od?: Json; li?: Json; ld?: Json; lm?: number; na?: number; si?: string; sd?: string;
  t?: "text0"; o?: Array<{ p: number; i: string } | { p: number; d: string }>;
};
export type JsonOperation = JsonComponent[];
/** Where a cursor is: keys and indexes from the root, at the end perhaps an offset in a string. */
export type JsonPath = Array<string | number>;

/**
 * What the client must know of a type of documents: the same functions for all (syncline-types.js says more). None changes its
 * arguments. Those that are not needed have a default.
 */
export interface DocumentType<Content, Operation, Position = never> {
  readonly name?: string;
  /** Of a new document. */
  empty(): Content;
  /** As the server sends it, or as an application gives it. Throws. */
  parseContent(value: unknown): Content;
  /** Checked; `trusted`: the server has done that. Throws. */
  parse(operation: unknown, trusted?: boolean): Operation;
  apply(content: Content, operation: Operation): Content;
  /** As it must be made after `other`; both were made on the same content, "left" wins ties. */
  transform(operation: Operation, other: Operation, side: Side): Operation;
  compose(first: Operation, second: Operation): Operation;
  /** What undoes it. Throws when it does not fit `content`. */
  invert(operation: Operation, content: Content): Operation;
  diff(before: Content, after: Content): Operation;
  isIdentity(operation: Operation): boolean;
  /** What the server's `hash` is compared with (docs/protocol.md, "Hash and healing"). */
  hash(content: Content): number;
  /** As JSON values, for applications and for the wire. */
  show?(content: Content): any;
  describe?(operation: Operation): any;
  /** The content after it, and the operation with what is really there. Throws when it does not fit. */
  commit?(content: Content, operation: Operation): [content: Content, operation: Operation];
  /** Whether one's own work may be carried over a `drift` without losing any: else the server tells all operations. */
  drifts?(): boolean;
  /** `diff`, for what others did when only the outcome is known: over it one's own work is carried. */
  drift?(before: Content, after: Content): Operation;
  /** As it waits and is sent: without what the server does not look at. */
  lean?(operation: Operation): Operation;
  /** Both, each as it applies after the other; `own` wins ties. */
  cross?(own: Operation, other: Operation): [own: Operation, other: Operation];
  composeAll?(operations: Operation[]): Operation;
  /** Whether `applied` is what becomes of `planned` when it is done; false: perhaps. */
  isSame?(planned: Operation, applied: Operation): boolean;
  move?(operation: Operation, position: Position, stick?: Side): Position;
  end?(operation: Operation): Position | null;
  within?(content: Content, position: Position): Position;
  checkPosition?(content: Content, position: unknown): void;
  bulk?(operation: Operation): number;
  most?(bytes: number): number;
  split?(operation: Operation, limit: number): Operation[];
  stroke?(operation: Operation): { at: number; text: string; removed: number; where?: string } | null;
}

/** From now on documents of the type `name` can be opened; the server must know it. Declare it in `DocumentTypes`. An object, also of a class. */
export function registerType<Content, Operation, Position>(name: string, type: DocumentType<Content, Operation, Position>): void;

/** Documents of type json. Errors have a `code` of the protocol. */
export const json: DocumentType<Json, JsonOperation, JsonPath> & {
  commit(content: Json, operation: JsonOperation): [content: Json, operation: JsonOperation];
};

/** JSON. In `attributes`, null takes an attribute away. */
export type Attributes = { [name: string]: unknown };
/** An embed is an object with one key, its type. Lengths are UTF-16 code units, an embed is one. */
export type RichOp =
  | { insert: string | { [type: string]: unknown }; attributes?: Attributes }
  | { retain: number; attributes?: Attributes }
  | { delete: number };
/** Quill's Delta, canonical: as `richText.parse` makes it. A document is inserts only. */
export type Delta = readonly RichOp[];

/**
 * Rich text, compatible with quill-delta 5. `parse` makes a canonical copy, and throws TypeError for what the server would not take;
 * `apply`, `compose` and `invert` throw RangeError: past the end, or a surrogate pair would be split.
 */
export const richText: DocumentType<Delta, Delta, number> & {
  /** How much of a document it names. */
  baseLength(operation: Delta): number;
  /** Of a document; of an operation: what it retains, inserts and deletes. */
  length(document: Delta): number;
  mapPosition(position: number, operation: Delta, stick?: Side): number;
  /** The text, an embed as U+FFFC. */
  plain(document: Delta): string;
};

/** Codes of docs/protocol.md, and those of this side. */
export type ErrorCode =
  | "disconnected" | "timeout" | "closed" | "buffer_full" | "not_sent" | "diverged" | "unsettled"
  | "malformed_frame" | "unknown_event" | "invalid_data" | "unauthenticated" | "already_authenticated"
  | "token_invalid" | "token_expired" | "forbidden" | "room_not_found" | "room_exists" | "not_a_member"
  | "password_required" | "password_wrong" | "document_not_found" | "document_exists" | "not_joined" | "client_taken"
  | "document_unavailable" | "document_too_large" | "operation_invalid" | "operation_out_of_range" | "revision_unknown"
  | "sequence_conflict" | "history_trimmed" | "nothing_to_undo" | "nothing_to_redo" | "message_too_large"
  | "limit_exceeded" | "rate_limited" | "unavailable" | "fate_unknown" | "internal"
  | (string & {});

export class SynclineError extends Error {
  constructor(code: ErrorCode, message?: string, detail?: object);
  readonly code: ErrorCode;
  /** The request that failed. */
  readonly event?: string;
  /** Seconds after which it may be tried again, when the server said so. */
  readonly retryAfter?: number;
  /** The close code, when the server ended the connection for good. */
  readonly close?: number;
  /** Of "unsettled": how many operations or messages the server has not acknowledged. */
  readonly count?: number;
  /** Of "unsettled": the edits among them, as the event `reset` has them. */
  readonly unsent?: unknown;
}

export interface LeaveOptions {
  /** That the end waits for what is not acknowledged; default: the client's option. 0: not at all. */
  settle?: number;
}

/** Whether a client should come back by itself after this WebSocket close code. */
export function shouldReconnect(code: number): boolean;

/** TypeError for a name that is none of its events, as for options whose name is not known. */
interface Emitter<Events> {
  on<Name extends keyof Events>(name: Name, callback: (detail: Events[Name]) => unknown): Unsubscribe;
  off<Name extends keyof Events>(name: Name, callback: (detail: Events[Name]) => unknown): void;
}

// Client --------------------------------------------------------------------------------------------------------------

export interface ClientOptions {
  /** Default: the global one. */
  WebSocket?: new (url: string, protocols: string[]) => object;
  /** A JWT, or a function that gives one for each connection and refresh. */
  token?: string | (() => string | Promise<string>);
  /** A guest's name, used without `token`. */
  name?: string;
  /** What `onGuestToken` was given the last time: be the same guest again. */
  guestToken?: string;
  /** Keep it for as long as the guest shall be the same one; null: forget it. */
  onGuestToken?: (token: string | null, guest: boolean) => unknown;
  /** The wait before attempt n is random between 0 and min(backoffMax, backoffBase * 2^n). Default 500. */
  backoffBase?: number;
  /** Default 15,000. */
  backoffMax?: number;
  /** For the token function, and from then until authenticated. Default 10,000. */
  connectTimeout?: number;
  /** Default 15,000. */
  requestTimeout?: number;
  /** Messages in a room's `history` until somebody listens; of more the newest. Default 256. */
  earlyMessages?: number;
  /** That `leave` and `close` wait at most for what is not acknowledged. Default 5,000. */
  settle?: number;
  /** Silence after which a page that is shown asks whether the server is there; a hidden one does after ping_seconds. Default 10,000. */
  heartbeat?: number;
  /** Without an answer to that until `stalled`. Default 3,000. */
  patience?: number;
  /** Requests without an answer; more are refused (buffer_full). Default 1024. */
  maxRequests?: number;
  /** Bytes of one message, the server's limits.message_bytes. Default 1 MiB. */
  maxMessage?: number;
  /** Bytes waiting in the socket; more requests are refused (buffer_full). Default 4 MiB. */
  maxBuffered?: number;
  /** At most one cursor per document in this time. Default 60. */
  cursorInterval?: number;
  /** A document's edits that wait, about in UTF-16 units; over it `edit` throws buffer_full. Default 4,194,304. */
  maxPending?: number;
  /** What a document is told and has not taken in yet, in UTF-16 units; over it it is joined again. Default 33,554,432. */
  maxUnread?: number;
  random?: () => number;
}

export type ClientState = "idle" | "connecting" | "online" | "waiting" | "closed";

export interface ClientStateDetail {
  state: ClientState;
  /** Unix milliseconds of the next attempt, while waiting. */
  retryAt: number | null;
  /** Failures in a row. */
  attempt?: number;
  /** The WebSocket close code, and its reason. */
  code?: number;
  reason?: string;
  error?: SynclineError;
  identity?: Identity;
}

export interface Identity {
  user: string;
  name: string;
  connection: string;
  guest: boolean;
  /** Unix seconds; null: does not expire. */
  expires_at: number | null;
  ping_seconds: number;
  version: string;
  /** Of a guest: by which to be the same one. */
  token?: string;
  /** Of this connection; the client keeps to them. Sizes in bytes. */
  limits?: {
    message_bytes: number; batch_size: number; rooms: number; documents: number; idempotency_seconds: number;
    /** Those of the rates are there where they are limited: of this connection, and of its user over all connections. */
    requests_per_second?: number; requests_burst?: number; bytes_per_second?: number; bytes_burst?: number;
    user_requests_per_second?: number; user_requests_burst?: number; user_bytes_per_second?: number; user_bytes_burst?: number;
    /** What was left of each when it was told; below 0: it was owed. */
    requests_left?: number; bytes_left?: number; user_requests_left?: number; user_bytes_left?: number;
  };
}

export interface ClientEvents {
  state: ClientStateDetail;
  /** Whether the server does not answer, or the browser says that there is no network, while the state is "online". */
  stalled: boolean;
  error: Error;
  /** Of an application's server, for this user, this connection or everyone. */
  event: { room: null; name: string; user: string; data: any };
  /** Every push, after it was handled. */
  push: { event: string; data: any };
}

export type Status = "online" | "away" | "busy";

export class Client implements Emitter<ClientEvents> {
  /** `url`: ws:, wss:, http: or https:; default: /ws of the page's server. */
  constructor(url?: string | { toString(): string }, options?: ClientOptions);
  readonly url: string;
  readonly options: ClientOptions;
  readonly state: ClientState;
  readonly online: boolean;
  /** Bytes that one request may have, as far as it is known what the server takes. */
  readonly maxMessage: number;
  /** Online as far as one knows, but the server does not answer, or the browser says that there is no network. */
  readonly stalled: boolean;
  readonly identity: Identity | null;
  readonly retryAt: number | null;
  readonly lastClose: { code: number; reason: string } | null;
  /** Bytes that the network has not taken yet. */
  readonly buffered: number;
  readonly rooms: Map<string, Room<any>>;
  readonly documents: Map<string, SynclineDocument<any>>;
  on<Name extends keyof ClientEvents>(name: Name, callback: (detail: ClientEvents[Name]) => unknown): Unsubscribe;
  off<Name extends keyof ClientEvents>(name: Name, callback: (detail: ClientEvents[Name]) => unknown): void;
  /**
   * Resolves when online, however many attempts it takes; rejects when the server says not to come back, and at once when it can
   * never work (TypeError: no such URL, no WebSocket class).
   */
  connect(): Promise<Client>;
  /** Tries now instead of waiting on; while online, checks that the server is there. */
  reconnect(): void;
  /** A guest's new name; takes effect by connecting anew. */
  rename(name: string): void;
  /** Whether the server has every edit and every message. */
  readonly settled: boolean;
  /**
   * When the server has every edit and message, at the latest after `settle`. Resolves with how many it had not acknowledged;
   * `error` events ("unsettled") of rooms and documents say which. `connect()` meanwhile calls it off.
   */
  close(options?: LeaveOptions): Promise<number>;
  /** Rejects with SynclineError. Requests that were lost with a connection are not sent again. */
  request(event: string, data?: object, options?: Abortable): Promise<any>;
  /** The handle, joined now (without a connection: when there is one) and after each reconnect. */
  /** `Types`: what the application says in it, e.g. `client.room<{ message: { text: string } }>("lobby")`. Nothing checks it at run time. */
  room<Types extends Partial<RoomTypes> = RoomTypes>(name: string, options?: RoomOptions): Room<Types>;
  /** Joins and waits for it; rejects when the server refuses. Given up by all who wait, the join is undone. */
  join<Types extends Partial<RoomTypes> = RoomTypes>(name: string, options?: RoomOptions & Abortable): Promise<Room<Types>>;
  /**
   * The handle, joined now and after each reconnect. `signal`: aborted before the first join, it is left. One that is open already as
   * another type or under another id stays: `ready` of what is returned rejects with invalid_data.
   */
  document(name: string, options?: DocumentOptions & { type?: "text" } & Abortable): SynclineText;
  document<Type extends keyof DocumentTypes>(name: string, options: DocumentOptions & { type: Type } & Abortable): SynclineDocument<Type>;
  /** Whoever creates it is its owner. `defaultRole`: of those without a role of their own; null: they may not join. Default "member". */
  createRoom(name: string, options?: { password?: string; defaultRole?: "member" | "reader" | null }): Promise<void>;
  /** As `createRoom`; the default role is "editor". */
  createDocument(name: string, text?: string, options?: { type?: "text"; defaultRole?: "editor" | "reader" | null }): Promise<void>;
  createDocument<Type extends keyof DocumentTypes>(
    name: string,
    text: "" | undefined,
    options: { type: Type; content?: DocumentTypes[Type]["content"]; defaultRole?: "editor" | "reader" | null },
  ): Promise<void>;
  /** One's own status in all rooms, said again after each reconnect. Throws TypeError when it is none of these. */
  setPresence(status: Status, metadata?: Metadata): void;
}

/** Rejects with the signal's reason when it is aborted; what was asked is dropped, or undone. */
export interface Abortable {
  signal?: Signal;
}

/** What is used of an AbortSignal, which is declared where there is a DOM. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason: any;
  throwIfAborted(): void;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** "failed": refused at the first join. "removed": this user was taken out, or is not let in again after a lost connection. */
export type JoinState = "detached" | "joining" | "joined" | "failed" | "removed" | "left";

/** Why: `forbidden`, or what joining again was answered. The handle is over; who is let in again asks for another one. */
export interface Removal {
  code: ErrorCode;
  message: string;
}

// Rooms ---------------------------------------------------------------------------------------------------------------

export interface RoomOptions {
  password?: string;
  /** How many of the last messages to send along at the first join. */
  history?: number;
  /** Recover from here at the first join already. */
  position?: Position;
}

export interface Position {
  offset: number;
  epoch: string;
}

/** What an application says in a room; whatever a room's types leave out is as here. */
export interface RoomTypes {
  /** What `send` takes and `message` brings. */
  message: any;
  /** The data of custom events, by name. */
  events: { [name: string]: any };
  /** What `setPresence` says beside the status. */
  metadata: Metadata;
}
type Told<Types, Key extends keyof RoomTypes> = Types extends { [K in Key]: infer Type } ? Type : RoomTypes[Key];
type EventName<Types> = keyof Told<Types, "events"> & string;

export interface Publication<Data = any> extends Position {
  room: string;
  user: string;
  name: string;
  /** Unix seconds. */
  time: number;
  data: Data;
}

export interface Message<Data = any> extends Publication<Data> {
  /** It comes from the history: sent before this client was there, or while it was away. */
  replayed: boolean;
}

export type RoomRole = "owner" | "moderator" | "member" | "reader";

export interface Member<Meta = Metadata> {
  user: string;
  name: string;
  /** null: a room does not tell it of who is here; `allMembers` does. */
  role: RoomRole | null;
  status: Status | "offline";
  /** Unix seconds. */
  last_seen: number | null;
  metadata: Meta;
}

export interface Occupancy {
  users: number;
  connections: number;
}

export interface RoomEvents<Types extends Partial<RoomTypes> = RoomTypes> {
  message: Message<Told<Types, "message">>;
  /** A custom event. */
  event: { [Name in EventName<Types>]: { room: string; name: Name; user: string; data: Told<Types, "events">[Name] } }[EventName<Types>];
  members: Map<string, Member<Told<Types, "metadata">>>;
  user_joined: { room: string; user: string; name: string };
  user_left: { room: string; user: string; name: string };
  presence: Member<Told<Types, "metadata">> & { room: string };
  /** In large rooms, about each second while it changes. */
  occupancy: Occupancy;
  joined: { role: RoomRole; recovered: boolean | null; members: Member<Told<Types, "metadata">>[]; position: Position };
  /** The server no longer has everything that came after `position`. */
  lost: { position: Position };
  /**
   * The messages were compared with the server's (each `ping_seconds`). Complete: everything up to `position` came once,
   * in order and unaltered. Not: something did not, and is fetched again from `position` on by itself.
   */
  proof: { complete: boolean; position: Position };
  /** What was missed has been handed over as `message` events. */
  caught_up: { position: Position };
  /** Whether every message that was sent is answered. */
  settled: boolean;
  /** One's own role has changed. */
  role: { role: RoomRole };
  removed: Removal;
  state: { state: JoinState };
  error: SynclineError;
}

export interface Proof {
  /** Up to here all messages are proven complete, in order and unaltered; null before the first comparison. */
  readonly proven: Position | null;
  /** Comparisons that agreed, and those that did not. */
  readonly checks: number;
  readonly failures: number;
  /** Messages that came again and were passed over. */
  readonly duplicates: number;
}

export class Room<Types extends Partial<RoomTypes> = RoomTypes> implements Emitter<RoomEvents<Types>> {
  private constructor();
  readonly client: Client;
  readonly name: string;
  readonly state: JoinState;
  readonly ready: Promise<Room<Types>>;
  readonly position: Position | null;
  /**
   * What the first join brought (`history` of the options), and what has come until somebody listens for `message`: oldest first; at
   * most what the join brought and `earlyMessages` more: then the oldest is dropped, whichever it is. Who listens before it is joined, on
   * the handle of `client.room`, hears what the join brought as events, too.
   */
  readonly history: readonly Message<Told<Types, "message">>[];
  /** How many of it were dropped. */
  readonly historyDropped: number;
  readonly role: RoomRole | null;
  readonly joined: boolean;
  /** Whether this user may send here. */
  readonly writable: boolean;
  /** Why this user is not in it any more. */
  readonly removed: SynclineError | null;
  /** What this client gets when it does not keep up: everything later, the newest per key, what it keeps up with. */
  readonly roomClass: "history" | "latest" | "volatile";
  /** How many are here; in a large room only this is kept up to date. */
  readonly occupancy: Occupancy;
  /** Who is here; in a room too large for that, some of those who were here at the join. */
  readonly members: Map<string, Member<Told<Types, "metadata">>>;
  readonly proof: Proof;
  /** Whether every message that was sent is answered. */
  readonly settled: boolean;
  on<Name extends keyof RoomEvents>(name: Name, callback: (detail: RoomEvents<Types>[Name]) => unknown): Unsubscribe;
  off<Name extends keyof RoomEvents>(name: Name, callback: (detail: RoomEvents<Types>[Name]) => unknown): void;
  /**
   * Resolves when it is stored and sent to everybody here. Unless `retry` is false it waits for the room, and is sent
   * again after a lost connection, published once. `echo: false`: not to this client itself. Aborted, it is not sent (again).
   */
  send(
    data: Told<Types, "message">,
    options?: { key?: string; echo?: boolean; retry?: boolean } & Abortable,
  ): Promise<{ room: string; duplicate?: boolean } & Position>;
  /** At most once, without history; with `to` only to those in the room. Rejects with TypeError when the options are others. */
  sendEvent<Name extends EventName<Types>>(
    name: Name,
    data?: Told<Types, "events">[Name],
    options?: { to?: { users?: string[]; connections?: string[] } },
  ): Promise<unknown>;
  /** Every stored member, also those who are not here. */
  allMembers(options?: Abortable): Promise<Member<Told<Types, "metadata">>[]>;
  /** Sets a member's role; null removes the user from the room. */
  grant(user: string, role: RoomRole | null): Promise<void>;
  /**
   * When every message is answered, at the latest after `settle`; resolves with how many were not. `resign`: rejects when that fails
   * (forbidden: of the owner), and nothing has changed.
   */
  leave(options?: LeaveOptions & { resign?: boolean }): Promise<number>;
}

// Documents -----------------------------------------------------------------------------------------------------------

export interface DocumentOptions {
  /**
   * This client's id in the document; default: random. With the `id` of an earlier handle of the same user its steps
   * can be undone; two handles at a time must not have the same.
   */
  client?: string;
}

export type DocumentRole = "owner" | "editor" | "reader";

export interface Collaborator {
  client: string;
  user: string;
  name: string;
  role: DocumentRole;
}

/** What the content, the operations and the positions of cursors of a type are. */
export interface DocumentTypes {
  text: { type: DocumentType<string, Operation, number>; content: string; operation: Operation; position: number };
  "rich-text": { type: typeof richText; content: Delta; operation: Delta; position: number };
  json: { type: typeof json; content: Json; operation: JsonOperation; position: JsonPath };
}

export interface Range<Position = number> {
  anchor: Position;
  head: Position;
}

export interface Cursor<Position = number> extends Collaborator, Range<Position> {}

export type Origin =
  | "local" | "remote" | "undo" | "redo" | "restore" | "refused" | "rebased" | "healed" | "reset";

export interface HistoryEntry<Name extends keyof DocumentTypes = "text"> {
  revision: number;
  client: string;
  user: string;
  /** Unix seconds. */
  time: number;
  kind?: "undo" | "redo" | "restore";
  operation: DocumentTypes[Name]["operation"];
}

export interface History<Name extends keyof DocumentTypes = "text"> {
  /** The newest there is. */
  revision: number;
  /** The oldest whose content can be had. */
  horizon: number;
  /** Oldest first. */
  operations: HistoryEntry<Name>[];
}

export interface Author {
  revision: number;
  /** Who made it so; null: nobody is known. */
  user: string | null;
  client: string | null;
  /** Unix seconds. */
  time: number | null;
}

export interface Version<Name extends keyof DocumentTypes> extends Author {
  content: DocumentTypes[Name]["content"];
}

export interface TextVersion extends Author {
  text: string;
}

export interface Blame {
  revision: number;
  horizon: number;
  /** They follow each other in the text of `revision`; `user` null: older than the horizon. */
  ranges: { length: number; revision: number; user: string | null; client: string | null; time: number | null }[];
}

/** Edits that were not acknowledged: what the user saw, what it was made on, how. */
export interface LostWork<Name extends keyof DocumentTypes = "text"> {
  content: DocumentTypes[Name]["content"];
  base: DocumentTypes[Name]["content"];
  operations: DocumentTypes[Name]["operation"][];
}

export interface DocumentEvents<Name extends keyof DocumentTypes = "text"> {
  /** `content` changed by `operation`. `clients`: who made it; empty when nobody in particular did. */
  change: { operation: DocumentTypes[Name]["operation"]; origin: Origin; clients: string[] };
  cursors: Map<string, Cursor<DocumentTypes[Name]["position"]>>;
  collaborators: Map<string, Collaborator>;
  /** Whether the server has every edit. */
  settled: boolean;
  /**
   * The server refused an operation, or it could not be sent; it was taken back. So was what had been done within it since, which is
   * told after it. `content` is what the user saw until then, where more had been done since; null: nothing had.
   */
  refused: {
    code: ErrorCode;
    message: string;
    operation: DocumentTypes[Name]["operation"];
    content: DocumentTypes[Name]["content"] | null;
  };
  /** What there is to undo and redo, about. */
  steps: { undo: number; redo: number };
  /**
   * This client was away for longer than the history reaches back: its edits are kept, but where they belong was found
   * out by comparing contents. `before`: what the user saw, `after`: sees now; `operation`: what the server does not have yet.
   */
  rebased: {
    before: DocumentTypes[Name]["content"];
    after: DocumentTypes[Name]["content"];
    operation: DocumentTypes[Name]["operation"];
  };
  /** The document is another one now; what was not acknowledged could not be carried over. */
  reset: { reason: string; unsent: LostWork<Name> };
  /** One's own role has changed. */
  role: { role: DocumentRole };
  removed: Removal;
  state: { state: JoinState };
  error: SynclineError;
}

/** A document of any type: `client.document(name, { type: "json" })`, say. */
export class SynclineDocument<Name extends keyof DocumentTypes = "text"> implements Emitter<DocumentEvents<Name>> {
  protected constructor();
  readonly client: Client;
  readonly name: string;
  readonly type: DocumentTypes[Name]["type"];
  /** This client's id in the document. */
  readonly id: string;
  readonly state: JoinState;
  /** Resolves with the first content. */
  readonly ready: Promise<this>;
  /** As it is here, with one's own edits that the server does not have yet. Frozen at any depth: it stays as it is when the document changes. */
  readonly content: DocumentTypes[Name]["content"];
  /** The server's, as far as it is known here. */
  readonly revision: number;
  readonly generation: string | null;
  readonly role: DocumentRole | null;
  readonly joined: boolean;
  /** Why this user is not in it any more. */
  readonly removed: SynclineError | null;
  readonly writable: boolean;
  readonly settled: boolean;
  /**
   * How many steps of this client's there are, about; 0: none that is known of. What was done since the server's last answer to a join,
   * undo or redo counts as one step, and as one more while some of it waits: there may be more, or fewer. Others may have left nothing
   * of some.
   */
  readonly canUndo: number;
  readonly canRedo: number;
  /** The others. */
  readonly collaborators: Map<string, Collaborator>;
  /** The others' cursors in `content`. */
  readonly cursors: Map<string, Cursor<DocumentTypes[Name]["position"]>>;
  on<Event extends keyof DocumentEvents<Name>>(name: Event, callback: (detail: DocumentEvents<Name>[Event]) => unknown): Unsubscribe;
  off<Event extends keyof DocumentEvents<Name>>(name: Event, callback: (detail: DocumentEvents<Name>[Event]) => unknown): void;
  /**
   * Does an edit here at once and sends it. Throws an error with a `code`, and changes nothing, when it does not fit; of a text
   * RangeError, TypeError, SynclineError, and true is returned when half characters that it puts in were replaced (one U+FFFD each: the length
   * stays) and `text` is not what the operation says.
   */
  edit(operation: DocumentTypes[Name]["operation"]): Name extends "text" ? boolean : void;
  /** Edits by the difference to `value`. */
  setContent(value: DocumentTypes[Name]["content"]): void;
  /**
   * Takes back this client's last step, whatever others did since. False: there is none. Rejects when it is refused, and when it is not
   * answered within `requestTimeout`: not_sent (it never will be done) or timeout (it may be yet); so do the next three.
   */
  undo(): Promise<boolean>;
  redo(): Promise<boolean>;
  /** Makes the content what it was at `revision`. Rejects with history_trimmed, revision_unknown, forbidden, ... */
  restore(revision: number): Promise<boolean>;
  /** Gives a document without content its first one; false: it has one, which stays. Rejects when it is refused. */
  initialize(content: DocumentTypes[Name]["content"]): Promise<boolean>;
  /** Up to `limit` (100; 1,000 at most) operations after revision `since`. */
  history(options?: { since?: number; limit?: number } & Abortable): Promise<History<Name>>;
  contentAt(revision: number, options?: Abortable): Promise<Version<Name>>;
  /** One's own cursor or selection in `content`; null hides it. Throws for what is no position there. */
  setCursor(anchor: DocumentTypes[Name]["position"] | null, head?: DocumentTypes[Name]["position"]): void;
  /** Sets a user's role; null removes it. Owner only. */
  grant(user: string, role: DocumentRole | null): Promise<void>;
  /**
   * When the server has every edit, at the latest after `settle`. Resolves with how many operations it had not acknowledged; the
   * `error` event ("unsettled") has them. Opened again meanwhile it is not left.
   */
  leave(options?: LeaveOptions): Promise<number>;
}

export class SynclineText extends SynclineDocument<"text"> {
  private constructor();
  /** As `content`. */
  readonly text: string;
  /** As `edit`. TypeError, RangeError: position and length are integers from 0 on, within `text`. So for `delete`, `replace`. */
  insert(position: number, text: string): boolean;
  delete(position: number, length: number): boolean;
  replace(position: number, length: number, text: string): boolean;
  /** Edits by the difference to `text`. */
  setText(text: string): boolean;
  /** As `contentAt`. */
  textAt(revision: number, options?: Abortable): Promise<TextVersion>;
  /** Who wrote what is there, of the server's text or a part of it. */
  blame(range?: { start?: number; end?: number } & Abortable): Promise<Blame>;
}

/** What `bindTextarea` needs of an HTMLTextAreaElement. */
export interface TextareaLike {
  value: string;
  readOnly: boolean;
  selectionStart: number;
  selectionEnd: number;
  scrollTop: number;
  scrollLeft: number;
  readonly ownerDocument: object;
  setRangeText(replacement: string, start: number, end: number, mode: "preserve"): void;
  setSelectionRange(start: number, end: number): void;
  addEventListener(type: string, listener: (event: any) => void): void;
  removeEventListener(type: string, listener: (event: any) => void): void;
}

/**
 * Binds a textarea to a shared text, both ways, until the function that this returns is called. What others do moves neither
 * caret nor selection nor scrolling, and waits while an input method composes; the keys of undo and redo take back one's own steps.
 */
export function bindTextarea(document: SynclineText, textarea: TextareaLike): Unsubscribe;
