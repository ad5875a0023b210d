// Compiled, never run: the types of syncline.js say what a program may do with it, and what not.
import { bindTextarea, type TextareaLike, Client, SynclineText, json, ot, richText, Room, SynclineError, shouldReconnect, type Delta, type Operation, type Signal } from "../../src/client/browser/syncline.js";

const client = new Client("wss://example.org/ws", { name: "Ada", onGuestToken: (token) => token?.length });
const release: () => void = client.on("state", ({ state, retryAt }) => {
  if (state === "waiting" && retryAt !== null) retryAt.toFixed();
});

declare const controller: { readonly signal: Signal };
declare const area: TextareaLike;

export async function use(): Promise<void> {
  await client.connect();
  const room: Room = await client.join("team", { history: 20, signal: controller.signal });
  await room.allMembers({ signal: controller.signal });
  // @ts-expect-error a signal, not its controller
  await client.request("ping", {}, { signal: controller });
  room.on("role", ({ role }) => role === "owner" && room.writable);
  room.on("removed", ({ code, message }) => [code.length, message.length, room.joined, room.removed?.code]);
  room.on("message", ({ offset, epoch, name, data, replayed }) => [offset + 1, epoch.length, name.length, data.text, replayed]);
  const { offset }: { offset: number } = await room.send({ text: "hi" });
  offset.toFixed();
  const notes: SynclineText = await client.document("notes").ready;
  notes.on("change", ({ operation, origin }) => (origin === "remote" ? ot.baseLength(operation) : 0));
  const operation: Operation = [1, "x", -2];
  const mended: boolean = notes.edit(operation);
  for (const [id, { anchor, head, name }] of notes.cursors) [id.length, anchor - head, name.length, mended];
  const unbind: () => void = bindTextarea(notes, area);
  unbind();
  const undone: boolean = await notes.undo();
  const { horizon, operations } = await notes.history({ since: 0, limit: 10 });
  await notes.restore(horizon + operations.length + (undone ? notes.canUndo : notes.canRedo));
  notes.on("steps", ({ undo, redo }) => undo + redo);
  const { ranges } = await notes.blame();
  for (const { user, length } of ranges) [user?.length, length.toFixed(), (await notes.textAt(1)).text.length];
  client.setPresence("busy", { mood: "deep work" });
  await client.createRoom("vault", { password: "s3cret", defaultRole: null });
  await client.createDocument("minutes", "# Minutes");
  await client.createDocument("list", "", { type: "json", content: { items: [] }, defaultRole: "reader" });
  await Promise.all([room.grant("bob", "reader"), notes.grant("bob", null)]);
  // @ts-expect-error no role of rooms
  await room.grant("bob", "editor");
  client.on("error", (error) => error instanceof SynclineError && error.code === "forbidden");
  shouldReconnect(4000);
  release();

  const delta: Delta = richText.parse([{ retain: 1, attributes: { bold: true } }, { insert: { image: "x" } }]);
  richText.transform(delta, richText.compose(delta, richText.empty()), "left").map((op) => ("insert" in op ? op.insert : 0));
  const board = client.document("board", { type: "json" });
  board.edit([{ p: ["items", 0], li: "milk" }, { p: ["n"], na: 1 }]);
  board.setContent({ items: [null, true, "x"] });
  board.on("change", ({ operation, origin }) => origin === "reset" || json.apply(board.content, operation ?? []));
  const page = client.document("page", { type: "rich-text" });
  page.edit([{ insert: "x", attributes: { bold: true } }]);
  page.on("change", ({ operation }) => richText.apply(page.content, operation ?? []));
  // @ts-expect-error: an operation of another type
  page.edit([{ p: [], oi: 1 }]);
  // @ts-expect-error moves go to an index
  board.edit([{ p: [0], lm: "first" }]);
  // @ts-expect-error a type that is not here
  client.document("board", { type: "spreadsheet" });

  // @ts-expect-error no such event
  client.on("nonsense", () => {});
  // @ts-expect-error no such status
  client.setPresence("asleep");
  // @ts-expect-error a revision is a number
  notes.restore("yesterday");
  // @ts-expect-error an operation holds numbers and strings
  notes.edit([{ retain: 1 }]);
  // @ts-expect-error made by client.document()
  new SynclineText();
}

/** An application says what it says in a room. */
interface Team {
  message: { text: string };
  events: { typing: boolean; knock: { at: string } };
  metadata: { mood: string } | null;
}

export async function useOwnTypes(): Promise<void> {
  const team: Room<Team> = await client.join<Team>("team");
  team.on("message", ({ data }) => data.text.length);
  // @ts-expect-error no such field
  team.on("message", ({ data }) => data.txt);
  team.on("event", (event) => (event.name === "knock" ? event.data.at.length : Number(event.data)));
  team.on("members", (members) => [...members.values()].map(({ metadata }) => metadata?.mood));
  await team.send({ text: "hi" });
  // @ts-expect-error not what is said there
  await team.send({ txt: "hi" });
  await team.sendEvent("typing", true);
  // @ts-expect-error no such event
  await team.sendEvent("typed", true);
  // @ts-expect-error not its data
  await team.sendEvent("knock", { at: 1 });
  for (const { data } of team.history) data.text.length;
  const lobby = client.room<{ message: string }>("lobby");
  lobby.on("message", ({ data }) => data.length);
  lobby.on("event", ({ name, data }) => [name.length, data.whatever]);
  await lobby.sendEvent("anything", { at: 1 });
}
