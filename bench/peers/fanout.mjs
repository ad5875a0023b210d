// A peer's server for bench/fanout.py: `node fanout.mjs ws | uws | socketio [PORT]`. Prints the port, and stops when its
// input ends.
//
// The bare ones speak two small protocols (src/load/dialects.py): on "/" the first message names the room, is answered by
// "joined", and each later one is published to the room as it is; on "/envelope" those later ones are Syncline's
// requests, and what is published is Syncline's envelope around their data, so that frames are as long as Syncline's.

const SYSTEM = process.argv[2];
const PORT = Number(process.argv[3] ?? 0);

const EPOCH = "a1b2c3d4";
const offsets = new Map();

function envelope(room, text) {
  const { data } = JSON.parse(text).data;
  const offset = (offsets.get(room) ?? 0) + 1;
  offsets.set(room, offset);
  return JSON.stringify({
    event: "message:received",
    data: { room, offset, epoch: EPOCH, user: "load-0", name: "load-0", time: Date.now() / 1000, data },
  });
}

const servers = {
  async ws() {
    const { WebSocketServer } = await import("ws");
    const rooms = new Map();
    const server = new WebSocketServer({ port: PORT, host: "127.0.0.1", perMessageDeflate: false, backlog: 2048 });
    server.on("connection", (socket, request) => {
      const wrapped = request.url === "/envelope";
      let room = null;
      let name = "";
      socket.on("error", () => {});
      socket.on("message", (data, binary) => {
        if (room === null) {
          name = data.toString();
          room = rooms.get(name);
          if (room === undefined) rooms.set(name, (room = new Set()));
          room.add(socket);
          socket.send("joined");
          return;
        }
        const message = wrapped ? Buffer.from(envelope(name, data.toString())) : data;
        for (const member of room) member.send(message, { binary });
      });
      socket.on("close", () => room?.delete(socket));
    });
    await new Promise((resolve) => server.on("listening", resolve));
    return server.address().port;
  },

  async uws() {
    const { default: uWS } = await import("uwebsockets");
    const app = uWS.App();
    const rooms = new WeakMap();
    const behaviour = (wrapped) => ({
      compression: uWS.DISABLED,
      maxBackpressure: 64 * 1024 * 1024,
      idleTimeout: 120,
      message(socket, message, binary) {
        const room = rooms.get(socket);
        if (room === undefined) {
          const name = Buffer.from(message).toString();
          rooms.set(socket, name);
          socket.subscribe(name);
          socket.send("joined");
          return;
        }
        app.publish(room, wrapped ? envelope(room, Buffer.from(message).toString()) : message, binary);
      },
    });
    app.ws("/envelope", behaviour(true));
    app.ws("/*", behaviour(false));
    return new Promise((resolve) =>
      app.listen("127.0.0.1", PORT, (token) => resolve(uWS.us_socket_local_port(token))),
    );
  },

  async socketio() {
    const { Server } = await import("socket.io");
    const { createServer } = await import("node:http");
    const http = createServer();
    const recovery = process.argv[4] === "recovery" ? { connectionStateRecovery: { skipMiddlewares: true } } : {};
    const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false, ...recovery });
    io.on("connection", (socket) => {
      socket.on("join", (room) => {
        socket.data.room = room;
        socket.join(room);
        socket.emit("joined");
      });
      socket.on("message", (data) => io.to(socket.data.room).emit("message", data));
    });
    await new Promise((resolve) => http.listen({ port: PORT, host: "127.0.0.1", backlog: 2048 }, resolve));
    return http.address().port;
  },
};

console.log(await servers[SYSTEM]());
process.stdin.on("end", () => process.exit(0)).resume();
