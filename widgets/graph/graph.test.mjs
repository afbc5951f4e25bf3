// Run with `node --test widgets/`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load, sourceOf } from "../fakes.mjs";

const source = await sourceOf("graph");
const graph = await load(source + "\nexport { currentStates, zoomed, fitted, found };");

test("a box's value is five times its done tasks, plus its state", () => {
  assert.deepEqual(graph.currentStates(3, [0, 1, 5 * 7 + 2], []), [
    { state: "waiting", done: 0 },
    { state: "ready", done: 0 },
    { state: "running", done: 7 },
  ]);
});

test("changes alter the last whole, whose own stays for the next changes", () => {
  const states = [0, 0];
  assert.deepEqual(graph.currentStates(2, states, [1, 8])[1], { state: "finished", done: 1 });
  assert.deepEqual(states, [0, 0]);
});

test("boxes of which nothing is known are waiting, and changes of others are no matter", () => {
  assert.deepEqual(graph.currentStates(1, [], [7, 3]), [{ state: "waiting", done: 0 }]);
});

test("zooming keeps the point under the pointer, within limits", () => {
  const view = graph.zoomed({ scale: 1, x: 10, y: 20 }, 2, 110, 120);
  assert.deepEqual(view, { scale: 2, x: -90, y: -80 });
  assert.equal(graph.zoomed(view, 1000, 0, 0).scale, 3);
  assert.equal(graph.zoomed(view, 1e-9, 0, 0).scale, 0.05);
});

test("a drawing fits its window, and a small one stays small, in the middle", () => {
  assert.deepEqual(graph.fitted([2000, 400], 1000, 300), { scale: 0.5, x: 0, y: 50 });
  assert.deepEqual(graph.fitted([200, 100], 1000, 300), { scale: 1, x: 400, y: 100 });
});

test("search looks for text in keys, in any case, and for nothing finds nothing", () => {
  const boxes = [["('Load', 1)"], ["clean"], ["<img>"]];
  assert.deepEqual(graph.found(boxes, " load "), [0]);
  assert.deepEqual(graph.found(boxes, "<IMG"), [2]);
  assert.deepEqual(graph.found(boxes, "  "), []);
});
