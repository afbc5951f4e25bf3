// Run with `node --test widgets/`.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { FakeElement, FakeModel, load, sourceOf } from "../fakes.mjs";

const source = await sourceOf("scheduler");
const { default: widget } = await load(source);

const HOSTILE = "<img src=x onerror=alert(1)>";
const WORKERS = {
  name: "num_workers",
  label: "Workers",
  value: "",
  automatic: "2, one per core",
  choices: [],
  source: "the default",
  summary: "How many",
};
const START = { ...WORKERS, name: "multiprocessing.context", value: "spawn", choices: ["spawn", "fork"] };
const STATE = {
  engines: [
    { name: "sync", summary: "One at a time.", cost: "1 µs.", reason: "" },
    { name: "threads", summary: "Several.", cost: "2 µs.", reason: "" },
    { name: "processes", summary: "Apart.", cost: "50 µs.", reason: HOSTILE },
  ],
  chosen: "threads",
  force_text: "threads · workers 2",
  source_text: "%scheduler",
  settings: [WORKERS],
  advice: [{ work: "NumPy", engine: "threads", why: "no lock" }],
  can_undo: false,
};

let model, el;
beforeEach(() => {
  model = new FakeModel({ selector: STATE, error_text: "" });
  el = new FakeElement();
  widget.render({ model, el });
});

const rows = () => el.find("taskloom-scheduler-engines").children;
const change = (state, error_text = "") => model.change({ selector: { ...STATE, ...state }, error_text });

test("shows what is in force, who said so and what each engine is for", () => {
  assert.equal(el.find("taskloom-scheduler-force").textContent, "threads · workers 2");
  assert.equal(el.find("taskloom-scheduler-source").textContent, "from %scheduler");
  assert.deepEqual(
    rows().map((row) => row.children[0].checked),
    [false, true, false],
  );
  assert.equal(rows()[0].find("taskloom-scheduler-summary").textContent, "One at a time.");
});

test("an engine that cannot be used is greyed and says why, as text", () => {
  const [radio] = rows()[2].children;
  assert.equal(radio.disabled, true);
  assert.equal(rows()[2].dataset.available, "false");
  assert.equal(rows()[2].find("taskloom-scheduler-summary").textContent, `Not available: ${HOSTILE}`);
  assert.doesNotMatch(source, /innerHTML|insertAdjacentHTML|outerHTML/);
});

test("sends what is chosen, set and taken back", () => {
  rows()[0].children[0].listeners.change();
  const control = el.find("taskloom-scheduler-control");
  control.value = "4";
  control.listeners.change();
  change({ can_undo: true });
  el.find("taskloom-scheduler-undo").click();
  assert.deepEqual(model.sent, [
    { type: "choose", engine: "sync" },
    { type: "set", name: "num_workers", value: "4" },
    { type: "undo" },
  ]);
});

test("nothing to undo", () => {
  el.find("taskloom-scheduler-undo").click();
  assert.deepEqual(model.sent, []);
});

test("what is being typed stays until the kernel has another value", () => {
  const control = el.find("taskloom-scheduler-control");
  control.value = "many";
  change({}, "num_workers must be a whole number");
  assert.equal(el.find("taskloom-scheduler-error").textContent, "num_workers must be a whole number");
  assert.equal(control.value, "many");
  change({ settings: [{ ...WORKERS, value: "3" }] });
  assert.equal(el.find("taskloom-scheduler-control"), control);
  assert.equal(control.value, "3");
  assert.equal(el.find("taskloom-scheduler-error").hidden, true);
});

test("another engine has other settings", () => {
  change({ settings: [START] });
  const control = el.find("taskloom-scheduler-control");
  assert.deepEqual(
    control.children.map((option) => option.value),
    ["spawn", "fork"],
  );
  assert.equal(control.value, "spawn");
  change({ settings: [] });
  assert.equal(el.find("taskloom-scheduler-control"), null);
});

test("rows are kept, so that focus is too", () => {
  const before = [...rows()];
  change({ chosen: "sync" });
  assert.deepEqual([...rows()], before);
  assert.equal(before[0].children[0].checked, true);
});

test("tells the kernel that a page is there", () => {
  widget.initialize({ model });
  assert.deepEqual(model.sent, [{ type: "here" }]);
});
