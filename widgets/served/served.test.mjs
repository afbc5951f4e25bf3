import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const source = await readFile(new URL("served.js", import.meta.url), "utf8");
const { serverModel } = new Function(`${source}; return { serverModel };`)();

class Socket extends EventTarget {
  sent = [];
  send(text) {
    this.sent.push(text);
  }
  receive(data) {
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }
}

test("a message is told when all its buffers are there", () => {
  const socket = new Socket();
  const model = serverModel(socket);
  const told = [];
  model.on("msg:custom", (content, buffers) => told.push([content.type, buffers.map((buffer) => buffer.byteLength)]));
  socket.receive(JSON.stringify({ type: "document", n_buffers: 2, state: { running: true } }));
  socket.receive(new ArrayBuffer(3));
  assert.deepEqual(told, []);
  socket.receive(new ArrayBuffer(4));
  socket.receive(JSON.stringify({ type: "patch", n_buffers: 0, state: { running: false } }));
  assert.deepEqual(told, [["document", [3, 4]], ["patch", []]]);
});

test("the state is what the server told last", () => {
  const socket = new Socket();
  const model = serverModel(socket);
  let changes = 0;
  const changed = () => changes++;
  model.on("change", changed);
  socket.receive(JSON.stringify({ type: "patch", n_buffers: 0, state: { running: true } }));
  assert.equal(model.get("running"), true);
  model.set({ running: false });
  assert.equal(model.get("running"), false);
  model.off("change", changed);
  model.set({ running: true });
  assert.equal(changes, 2);
});

test("what the page says goes to the server", () => {
  const socket = new Socket();
  serverModel(socket).send({ type: "stop" });
  assert.deepEqual(socket.sent, ['{"type":"stop"}']);
});
