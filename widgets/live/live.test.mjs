// Run with `node --test widgets/`.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { FakeElement, FakeModel, FakeNotebook, ID, load, sourceOf } from "../fakes.mjs";

const live = await load((await sourceOf("live")) + "\nexport { initialize, addStopButton, noteLoss };");

const VIEW = { "application/vnd.jupyter.widget-view+json": { model_id: ID }, "text/plain": "[###...]" };

let model, el, cleanUp;
beforeEach(() => {
  model = new FakeModel({});
  el = new FakeElement();
  cleanUp = live.addStopButton(model, el);
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
  model.change({ running: false, stopping: false });
  assert.equal(stop.hidden, true);
});

test("Stop interrupts a kernel that does not answer", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  el.find("taskloom-stop").click();
  context.mock.timers.tick(2000);
  assert.equal(model.interrupts, 1);
});

test("Stop does not interrupt a run that begins soon after the stopped one", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  el.find("taskloom-stop").click();
  model.change({ stopping: true });
  model.change({ running: false, stopping: false });
  model.change({ running: true });
  context.mock.timers.tick(2000);
  assert.equal(model.interrupts, 0);
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
  const model = new FakeModel({}, notebook);
  live.initialize({ model });
  live.initialize({ model: new FakeModel({}, notebook) }); // a second bar
  model.change({ picture: { "text/html": "more" } });
  const [title, { outputs }] = notebook.toJSON().cells;
  assert.deepEqual(title, { source: "# title" });
  assert.deepEqual(outputs[0].data, { "text/html": "more" });
  assert.deepEqual(outputs[1], { output_type: "stream", text: "hello" });
  assert.equal(notebook.output.data, VIEW, "the page keeps its widget");

  model.change({ running: false, picture: { "text/html": "all" } });
  assert.deepEqual(notebook.toJSON().cells[1].outputs[0].data, { "text/html": "all" }, "live, though nothing runs");
  model.change({ live: false });
  assert.equal(notebook.toJSON().cells[1].outputs[0].data, VIEW, "from now on the kernel replaces the output");
});

test("a page that was reloaded in mid-run gets its widget back, then the picture of the end", () => {
  const notebook = new FakeNotebook({ "text/html": "half" }, { taskloom: ID });
  const model = new FakeModel({}, notebook);
  live.initialize({ model });
  assert.equal(notebook.output.data["application/vnd.jupyter.widget-view+json"].model_id, ID);
  assert.deepEqual(notebook.toJSON().cells[1].outputs[0].data, { "text/html": "half" });
  model.change({ live: false, picture: { "text/html": "all" } });
  assert.deepEqual(notebook.output, { output_type: "display_data", data: { "text/html": "all" }, metadata: {} });
  assert.deepEqual(notebook.cells[1].outputs[1], { output_type: "stream", text: "hello" });
});

test("a page that was reloaded and heard of no end before it gets the picture of the end", () => {
  const notebook = new FakeNotebook({ "text/html": "half" }, { taskloom: ID });
  live.initialize({ model: new FakeModel({ live: false, picture: { "text/html": "all" } }, notebook) });
  assert.deepEqual(notebook.output.data, { "text/html": "all" });
});

test("a front end that keeps its notebook elsewhere is left alone", () => {
  for (const manager of [undefined, {}, { context: { model: {} } }]) {
    const model = new FakeModel({});
    model.widget_manager = manager;
    live.initialize({ model });
    assert.equal(model.listeners.size, 0);
    assert.deepEqual(model.sent, []);
  }
});

test("a page that saves a picture for the widget says that it is there", () => {
  const model = new FakeModel({}, new FakeNotebook(VIEW));
  live.initialize({ model });
  assert.deepEqual(model.sent, [{ type: "here" }]);
});

test("a view whose kernel is gone says so, and has nothing to stop", () => {
  const removeNote = live.noteLoss(model, el);
  const note = el.find("taskloom-lost");
  assert.equal(note.hidden, true);
  model.tell("comm_live_update");
  assert.match(note.textContent, /kernel ended or was restarted/);
  assert.equal(note.hidden, false);
  assert.equal(el.dataset.lost, "");
  removeNote();
  cleanUp();
  assert.equal(model.listeners.size, 0);
});

test("a picture's kernel may go", () => {
  live.noteLoss(model, el);
  model.change({ live: false });
  model.tell("comm_live_update");
  assert.equal(el.find("taskloom-lost").hidden, true);
});
