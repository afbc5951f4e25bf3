// Run with `node --test widgets/`.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { FakeElement, FakeModel, load, sourceOf } from "../fakes.mjs";

const source = await sourceOf("cluster");
const { default: widget } = await load(source);

const HOSTILE = "<img src=x onerror=alert(1)>";
const worker = (number, share = 0.25) => ({
  name: `worker-${number}`,
  threads_text: "1/2 busy",
  share,
  memory_text: "1.0 GiB of 4.0 GiB",
});
const STATE = {
  name: HOSTILE,
  status: "running",
  status_text: "2 workers · 2 of 4 threads busy",
  size_text: "",
  workers: [worker(0), worker(1, 0.9)],
  more_text: "",
  size: 2,
  minimum: 0,
  maximum: 4,
  adapts: false,
};

let model, el;
beforeEach(() => {
  model = new FakeModel({ cluster: STATE, error_text: "", running: false });
  el = new FakeElement();
  widget.render({ model, el });
});

const rows = () => el.find("taskloom-cluster-workers").children;
const controls = () => el.find("taskloom-cluster-controls").children;
const change = (state, traits = {}) => model.change({ cluster: { ...STATE, ...state }, ...traits });
const scaling = () => {
  const [, field, button] = controls()[0].children;
  return { field, button };
};

test("shows the cluster and its workers, names as text", () => {
  assert.equal(el.find("taskloom-cluster-name").textContent, HOSTILE);
  assert.equal(el.find("taskloom-cluster-status").textContent, "2 workers · 2 of 4 threads busy");
  assert.equal(rows().length, 2);
  assert.equal(rows()[0].find("taskloom-cluster-worker-name").textContent, "worker-0");
  assert.equal(rows()[0].find("taskloom-cluster-memory").textContent, "1.0 GiB of 4.0 GiB");
  assert.equal(rows()[0].find("taskloom-cluster-fill").style.width, "25%");
  assert.doesNotMatch(source, /innerHTML|insertAdjacentHTML|outerHTML/);
});

test("memory that is nearly full is told by colour and as a number", () => {
  assert.deepEqual(
    rows().map((row) => row.find("taskloom-cluster-bar").dataset.level),
    ["normal", "high"],
  );
  assert.equal(rows()[1].find("taskloom-cluster-bar").attributes["aria-valuenow"], "0.9");
});

test("workers come and go, and rows are kept", () => {
  const [first] = rows();
  change({ workers: [worker(0), worker(1), worker(2)], size_text: "1 worker leaving", more_text: "and 5 more" });
  assert.equal(rows().length, 3);
  assert.equal(rows()[0], first);
  assert.equal(el.find("taskloom-cluster-note").textContent, "1 worker leaving");
  assert.equal(el.find("taskloom-cluster-more").textContent, "and 5 more");
  change({ workers: [] });
  assert.equal(rows().length, 0);
});

test("scales by click and by Enter", () => {
  const { field, button } = scaling();
  assert.equal(field.value, "2");
  field.value = "3";
  button.click();
  field.value = "4";
  field.listeners.keydown({ key: "Enter" });
  field.listeners.keydown({ key: "1" });
  field.value = "";
  button.click();
  assert.deepEqual(model.sent, [
    { type: "scale", n: 3 },
    { type: "scale", n: 4 },
    { type: "scale", n: null },
  ]);
});

test("adapts between two numbers", () => {
  const [, minimum, , maximum, button] = controls()[1].children;
  minimum.value = "1";
  maximum.value = "8";
  button.click();
  assert.deepEqual(model.sent, [{ type: "adapt", minimum: 1, maximum: 8 }]);
  change({ adapts: true, minimum: 1, maximum: 8, size_text: "adapts between 1 and 8" });
  assert.equal(el.find("taskloom-cluster").dataset.adapts, "true");
});

test("what is being typed stays until the kernel has another value", () => {
  const { field } = scaling();
  field.value = "77";
  change({ workers: [worker(0)] });
  assert.equal(field.value, "77");
  change({ size: 5 });
  assert.equal(field.value, "5");
});

test("an error is said", () => {
  assert.equal(el.find("taskloom-cluster-error").hidden, true);
  change({}, { error_text: "it takes a whole number" });
  assert.equal(el.find("taskloom-cluster-error").textContent, "it takes a whole number");
});

test("there is a Stop button while something runs", () => {
  const stop = el.find("taskloom-stop");
  assert.equal(stop.hidden, true);
  change({}, { running: true });
  assert.equal(stop.hidden, false);
  stop.click();
  assert.deepEqual(model.sent, [{ type: "stop" }]);
  change({}, { running: false });
});

test("a closed cluster has no controls", () => {
  change({ status: "closed", status_text: "closed", workers: [] });
  assert.equal(el.find("taskloom-cluster-controls").hidden, true);
});

test("a lost kernel is told", () => {
  model.send = () => {
    throw new Error("the comm has ended");
  };
  model.set = (name, value) => model.change({ [name]: value });
  scaling().button.click();
  assert.match(el.find("taskloom-cluster-error").textContent, /run this cell again/);
});

test("keys do not reach the notebook, but commands do", () => {
  let stopped = 0;
  const press = (event) => el.find("taskloom-cluster").listeners.keydown({ stopPropagation: () => stopped++, ...event });
  press({ key: "a" });
  press({ key: "s", ctrlKey: true });
  assert.equal(stopped, 1);
});

test("tells the kernel that a page is there", () => {
  model = new FakeModel({ cluster: STATE }, { toJSON: () => ({ cells: [] }), cells: [] });
  widget.initialize({ model });
  assert.deepEqual(model.sent, [{ type: "here" }]);
});
