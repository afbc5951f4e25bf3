// Run with `node --test widgets/`.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { FakeElement, FakeModel, load, sourceOf } from "../fakes.mjs";

const source = await sourceOf("progress");
const { default: widget } = await load(source);

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
};

let model, el;
beforeEach(() => {
  model = new FakeModel({ progress: RUNNING });
  el = new FakeElement();
  widget.render({ model, el });
});

const change = (progress) => model.change({ progress: { ...RUNNING, ...progress } });
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
  const before = [...el.find("taskloom-progress-bar").children];
  const names = [...RUNNING.names].map((name) => ({ ...name, done: name.total }));
  change({ done: 10, count_text: "10/10", names });
  assert.equal(text("taskloom-progress-count"), "10/10");
  assert.equal(before[0].style.width, "60%");
  assert.deepEqual([...el.find("taskloom-progress-bar").children], before);
});

test("drops the names that are gone and marks estimates", () => {
  change({ names: [{ name: "load", color: "#111111", done: 30, total: 60 }], exact: false });
  const entries = el.find("taskloom-progress-names").children;
  assert.equal(entries.length, 1);
  assert.equal(entries[0].children[2].textContent, "~30/60");
});

test("a run without tasks draws an empty bar", () => {
  change({ total: 0, done: 0, names: [], count_text: "0/0" });
  assert.deepEqual(
    el.find("taskloom-progress-bar").children.map((segment) => segment.style.width),
    ["0%"],
  );
});

test("writes keys as text", () => {
  const hostile = "<img src=x onerror=alert(1)>";
  change({ failed: 1, failure_text: hostile, note_text: hostile });
  assert.equal(text("taskloom-progress-failure"), hostile);
  assert.equal(text("taskloom-progress-note"), `threads · ${hostile}`);
  assert.equal(el.find("taskloom-progress-failure").attributes.role, "alert");
  assert.doesNotMatch(source, /innerHTML|insertAdjacentHTML|outerHTML/);
});
