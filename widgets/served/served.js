// The dashboard in a browser tab of its own. It stands behind the script of the dashboard in a cell, and gives that a
// model whose messages come through a WebSocket: each a text, and behind it as many buffers as the text says.

/** A widget's model without a kernel: what the server tells is its state. */
function serverModel(socket) {
  const listeners = { change: new Set(), "msg:custom": new Set() };
  const state = {};
  let content;
  let buffers = [];
  const tell = (event, ...values) => listeners[event].forEach((listener) => listener(...values));
  const deliver = () => {
    Object.assign(state, content.state);
    tell("change");
    tell("msg:custom", content, buffers);
  };
  socket.binaryType = "arraybuffer";
  socket.addEventListener("message", ({ data }) => {
    if (typeof data === "string") {
      content = JSON.parse(data);
      buffers = [];
    } else {
      buffers.push(new DataView(data));
    }
    if (buffers.length === content.n_buffers) deliver();
  });
  return {
    get: (name) => state[name],
    on: (event, listener) => listeners[event]?.add(listener),
    off: (event, listener) => listeners[event]?.delete(listener),
    send: (message) => socket.send(JSON.stringify(message)),
    /** What the page knows by itself. */
    set: (changes) => {
      Object.assign(state, changes);
      tell("change");
    },
  };
}

/** Shows the dashboard of the server that this page came from. */
function serve() {
  const address = new URL(`ws${location.search}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  const model = serverModel(socket);
  const note = element("p", "taskloom-served-note", document.body);
  note.setAttribute("role", "status");
  setText(note, "Connecting…");
  socket.addEventListener("open", () => {
    setText(note, "");
    render({ model, el: document.body });
  });
  socket.addEventListener("close", () => {
    model.set({ running: false });
    setText(note, "The kernel has ended, or it has closed this dashboard: what stands here is the last it told. "
      + "Reload the page to try again, or run %dashboard --serve for a new link.");
  });
}
