// A peer's server, in memory, on a free port: `node servers.mjs sharedb | y-websocket | hocuspocus`. Prints the port, and
// stops when its input ends.

import { Duplex } from "node:stream";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const TEXT = "0123456789".repeat(100);

function listen(server) {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

const servers = {
  async sharedb() {
    const { default: ShareDB } = await import("sharedb");
    const { type } = await import("ot-text-unicode");
    ShareDB.types.register(type);
    const backend = new ShareDB();
    const doc = backend.connect().get("c", "bench");
    await new Promise((resolve, reject) => doc.create(TEXT, type.uri, (error) => (error ? reject(error) : resolve())));
    const http = createServer();
    new WebSocketServer({ server: http, perMessageDeflate: false }).on("connection", (socket) => {
      const stream = new Duplex({
        objectMode: true,
        read() {},
        write(message, _, done) {
          socket.send(JSON.stringify(message));
          done();
        },
      });
      socket.on("message", (data) => stream.push(JSON.parse(data.toString())));
      socket.on("close", () => stream.destroy());
      backend.listen(stream);
    });
    return listen(http);
  },

  async "y-websocket"() {
    const { setupWSConnection } = await import("@y/websocket-server/utils");
    const http = createServer();
    new WebSocketServer({ server: http, perMessageDeflate: false }).on("connection", setupWSConnection);
    return listen(http);
  },

  async hocuspocus() {
    const { Server } = await import("@hocuspocus/server");
    const server = new Server({ port: 0, address: "127.0.0.1", quiet: true, stopOnSignals: false });
    await server.listen();
    return server.address.port;
  },
};

const port = await servers[process.argv[2]]();
console.log(port);
process.stdin.on("end", () => process.exit(0)).resume();
