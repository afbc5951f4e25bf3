// Run with `node --test widgets/`. The page is a stand-in: just what the widget uses of one.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { beforeEach, test } from "node:test";

class FakeElement {
  children = [];
  attributes = {};
  listeners = {};
  style = {};
  dataset = {};
  className = "";
  hidden = false;
  disabled = false;
  textContent = "";
  parent = null;

  append(child) {
    child.parent = this;
    this.children.push(child);
  }
  remove() {
    this.parent.children = this.parent.children.filter((child) => child !== this);
  }
  get lastElementChild() {
    return this.children.at(-1);
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
  addEventListener(kind, listener) {
    this.listeners[kind] = listener;
  }
  click() {
    if (!this.disabled) this.listeners.click();
  }
  find(className) {
    if (this.className.split(" ").includes(className)) return this;
    for (const child of this.children) {
      const found = child.find(className);
      if (found) return found;
    }
    return null;
  }
}

class FakeModel {
  sent = [];
  listeners = new Map();
  interrupts = 0;

  constructor(progress, notebook) {
    this.progress = progress;
    const kernel = { interrupt: async () => void this.interrupts++ };
    this.widget_manager = { context: { sessionContext: { session: { kernel } }, model: notebook } };
  }
  get(name) {
    return name === "output_id" ? ID : this.progress;
  }
  on(event, listener) {
    this.listeners.set(listener, event);
  }
  off(event, listener) {
    this.listeners.delete(listener);
  }
  send(content) {
    this.sent.push(content);
  }
  change(progress) {
    this.progress = { ...this.progress, ...progress };
    for (const listener of this.listeners.keys()) listener();
  }
}

const ID = "c0ffee";
const VIEW = { "application/vnd.jupyter.widget-view+json": { model_id: ID }, "text/plain": "[###...]" };

/** JupyterLab's model of a notebook with one cell, which a widget's output and a printed line are in. */
class FakeNotebook {
  constructor(data, metadata = {}) {
    const outputs = [
      { output_type: "display_data", data, metadata },
      { output_type: "stream", text: "hello" },
    ];
    outputs.get = (index) => outputs[index];
    outputs.set = (index, output) => void (outputs[index] = output);
    this.cells = [{}, { outputs }];
  }
  get output() {
    return this.cells[1].outputs[0];
  }
  toJSON() {
    return { metadata: {}, cells: [{ source: "# title" }, { outputs: [...this.cells[1].outputs] }] };
  }
}

globalThis.document = { createElement: () => new FakeElement() };
const source = await readFile(new URL("progress.js", import.meta.url));
const { default: widget } = await import(`data:text/javascript;base64,${source.toString("base64")}`);

const RUNNING = {
  status: "running",
  engine: "threads",
  total: 10,
  done: 4,
  failed: 0,
  names: [
    { name: "load", color: "#111111", done: 3, total: 6 },
    { name: "clean", color: "#222222", done: 1, total: 4 },
  ],
  exact: true,
  count_text: "4/10",
  time_text: "1.0 s · about 2.0 s left",
  note_text: "2 running",
  failure_text: "",
  stopping: false,
  picture: { "text/html": "half" },
};

let model, el, cleanUp;
beforeEach(() => {
  model = new FakeModel({ ...RUNNING });
  el = new FakeElement();
  cleanUp = widget.render({ model, el });
});

const text = (className) => el.find(className).textContent;

test("shows counts, times and the names with their figures", () => {
  assert.equal(text("taskloom-progress-count"), "4/10");
  assert.equal(text("taskloom-progress-time"), "1.0 s · about 2.0 s left");
  assert.equal(text("taskloom-progress-note"), "threads · 2 running");
  const entries = el.find("taskloom-progress-names").children;
  assert.deepEqual(
    entries.map((entry) => entry.children.map((part) => part.textContent)),
    [
      ["", "load", "3/6"],
      ["", "clean", "1/4"],
    ],
  );
  assert.equal(el.find("taskloom-progress-failure").hidden, true);
});

test("tells assistive technology how far the run is", () => {
  const { attributes } = el.find("taskloom-progress-bar");
  assert.equal(attributes.role, "progressbar");
  assert.equal(attributes["aria-valuenow"], "4");
  assert.equal(attributes["aria-valuemax"], "10");
  assert.match(attributes["aria-valuetext"], /^4 of 10 tasks, 1\.0 s/);
});

test("keeps its elements when the state changes", () => {
  const before = [el.find("taskloom-stop"), ...el.find("taskloom-progress-bar").children];
  const names = [...RUNNING.names].map((name) => ({ ...name, done: name.total }));
  model.change({ done: 10, count_text: "10/10", names });
  assert.equal(text("taskloom-progress-count"), "10/10");
  assert.equal(before[1].style.width, "60%");
  assert.deepEqual([el.find("taskloom-stop"), ...el.find("taskloom-progress-bar").children], before);
});

test("drops the names that are gone and marks estimates", () => {
  model.change({ names: [{ name: "load", color: "#111111", done: 30, total: 60 }], exact: false });
  const entries = el.find("taskloom-progress-names").children;
  assert.equal(entries.length, 1);
  assert.equal(entries[0].children[2].textContent, "~30/60");
});

test("a run without tasks draws an empty bar", () => {
  model.change({ total: 0, done: 0, names: [], count_text: "0/0" });
  assert.deepEqual(
    el.find("taskloom-progress-bar").children.map((segment) => segment.style.width),
    ["0%"],
  );
});

test("writes keys as text", () => {
  const hostile = "<img src=x onerror=alert(1)>";
  model.change({ failed: 1, failure_text: hostile, note_text: hostile });
  assert.equal(text("taskloom-progress-failure"), hostile);
  assert.equal(text("taskloom-progress-note"), `threads · ${hostile}`);
  assert.equal(el.find("taskloom-progress-failure").attributes.role, "alert");
  assert.doesNotMatch(String(source), /innerHTML|insertAdjacentHTML|outerHTML/);
});

test("Stop asks once, says so, and goes when the run is over", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const stop = el.find("taskloom-stop");
  stop.click();
  stop.click();
  assert.deepEqual(model.sent, [{ type: "stop" }]);
  model.change({ stopping: true });
  assert.equal(stop.textContent, "Stopping…");
  context.mock.timers.tick(2000);
  assert.equal(model.interrupts, 0);
  model.change({ status: "cancelled", stopping: false });
  assert.equal(stop.hidden, true);
});

test("Stop interrupts a kernel that does not answer", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  el.find("taskloom-stop").click();
  context.mock.timers.tick(2000);
  assert.equal(model.interrupts, 1);
});

test("Stop survives a page without the means to interrupt", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  delete model.widget_manager;
  el.find("taskloom-stop").click();
  context.mock.timers.tick(2000);
  assert.equal(model.interrupts, 0);
});

test("a removed view listens and interrupts no more", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  el.find("taskloom-stop").click();
  cleanUp();
  context.mock.timers.tick(2000);
  assert.equal(model.interrupts, 0);
  assert.equal(model.listeners.size, 0);
});

test("a file saved in mid-run has a picture in the widget's place", () => {
  const notebook = new FakeNotebook(VIEW);
  const model = new FakeModel({ ...RUNNING }, notebook);
  widget.initialize({ model });
  widget.initialize({ model: new FakeModel({ ...RUNNING }, notebook) }); // a second bar
  model.change({ picture: { "text/html": "more" } });
  const [title, { outputs }] = notebook.toJSON().cells;
  assert.deepEqual(title, { source: "# title" });
  assert.deepEqual(outputs[0].data, { "text/html": "more" });
  assert.deepEqual(outputs[1], { output_type: "stream", text: "hello" });
  assert.equal(notebook.output.data, VIEW, "the page keeps its widget");

  model.change({ status: "finished" });
  assert.equal(notebook.toJSON().cells[1].outputs[0].data, VIEW, "from now on the kernel replaces the output");
});

test("a page that was reloaded in mid-run gets its widget back, then the picture of the end", () => {
  const notebook = new FakeNotebook({ "text/html": "half" }, { taskloom: ID });
  const model = new FakeModel({ ...RUNNING }, notebook);
  widget.initialize({ model });
  assert.equal(notebook.output.data["application/vnd.jupyter.widget-view+json"].model_id, ID);
  assert.deepEqual(notebook.toJSON().cells[1].outputs[0].data, { "text/html": "half" });
  model.change({ status: "finished", picture: { "text/html": "all" } });
  assert.deepEqual(notebook.output, { output_type: "display_data", data: { "text/html": "all" }, metadata: {} });
  assert.deepEqual(notebook.cells[1].outputs[1], { output_type: "stream", text: "hello" });
});

test("a page that was reloaded and heard of no end before it gets the picture of the end", () => {
  const notebook = new FakeNotebook({ "text/html": "half" }, { taskloom: ID });
  widget.initialize({ model: new FakeModel({ ...RUNNING, status: "failed", picture: { "text/html": "all" } }, notebook) });
  assert.deepEqual(notebook.output.data, { "text/html": "all" });
});

test("a front end that keeps its notebook elsewhere is left alone", () => {
  for (const manager of [undefined, {}, { context: { model: {} } }]) {
    const model = new FakeModel({ ...RUNNING });
    model.widget_manager = manager;
    widget.initialize({ model });
    assert.equal(model.listeners.size, 0);
  }
});
