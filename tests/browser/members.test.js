// Who is in a room: one shape, whoever tells of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, only, rest, until } from "./driving.mjs";
import { ReferenceServer, seeded } from "./reference.mjs";

test("members, notices and presence", async () => {
  const server = new ReferenceServer(seeded(12));
  const client = connect(server);
  client.setPresence("busy", { mood: "deep" });
  const room = client.room("team");
  await until(server, () => room.state === "joined");
  await rest(server);
  assert.deepEqual(server.log.filter(({ event }) => event === "presence:update").map(({ data }) => data), [
    { room: "team", status: "busy", metadata: { mood: "deep" } },
  ]);
  const connection = only(server);
  server.push(connection, "room:user_joined", { room: "team", user: "bob", name: "Bob" });
  await rest(server);
  assert.deepEqual(room.members.get("bob"), { user: "bob", name: "Bob", role: null, status: "online", last_seen: null, metadata: null });
  const told = [];
  room.on("presence", (detail) => told.push(detail));
  server.push(connection, "presence:update", { room: "team", user: "bob", name: "Bobby", status: "away", last_seen: 1, metadata: 7 });
  await rest(server);
  assert.deepEqual(room.members.get("bob"), { user: "bob", name: "Bobby", role: null, status: "away", last_seen: 1, metadata: 7 });
  assert.deepEqual(told, [{ room: "team", ...room.members.get("bob") }]);
  server.push(connection, "room:user_left", { room: "team", user: "bob", name: "Bobby" });
  await rest(server);
  assert.equal(room.members.size, 0);
  server.push(connection, "room:occupancy", { room: "team", users: 4711, connections: 5012 });
  await rest(server);
  assert.deepEqual(room.occupancy, { users: 4711, connections: 5012 });
  const eve = { user: "eve", name: "Eve", status: "online", last_seen: 1, metadata: null };
  server.push(connection, "room:occupancy", { room: "team", users: 1, connections: 2, members: [eve] });
  await rest(server);
  assert.deepEqual([...room.members.values()], [{ ...eve, role: null }]);
  assert.deepEqual(Object.keys(room.members.get("eve")), Object.keys(told[0]).slice(1), "one shape, whoever told of it");
  assert.deepEqual(room.occupancy, { users: 1, connections: 2 });
  server.cut(connection);
  await until(server, () => room.state === "joined");
  await rest(server);
  assert.equal(server.log.filter(({ event }) => event === "presence:update").length, 2, "said again on the new connection");
  client.close();
});
