// Run with `node --test widgets/`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load, sourceOf } from "../fakes.mjs";

const source = await sourceOf("viewport", "graph");
const graph = await load(source + "\nexport { currentStates, found, neighbour, tipPlace };");

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

test("arrow keys follow edges sideways, and go to the next box of a column", () => {
  const at = (x, y) => ["", "", "", x, y];
  const boxes = [at(0, 0), at(0, 34), at(0, 68), at(100, 0), at(100, 34)];
  const diagram = { boxes, inputs: [[], [], [], [2, 1], []] };
  const go = (key) => [0, 1, 2, 3, 4].map((from) => graph.neighbour(diagram, from, `Arrow${key}`));
  assert.deepEqual(go("Down"), [1, 2, -1, 4, -1]);
  assert.deepEqual(go("Up"), [-1, 0, 1, -1, 3]);
  assert.deepEqual(go("Left"), [-1, -1, -1, 1, 1], "along the nearest edge, or to the nearest box");
  assert.deepEqual(go("Right"), [3, 3, 3, -1, -1]);
});

test("search looks for text in keys, in any case, and for nothing finds nothing", () => {
  const boxes = [["('Load', 1)"], ["clean"], ["<img>"]];
  assert.deepEqual(graph.found(boxes, " load "), [0]);
  assert.deepEqual(graph.found(boxes, "<IMG"), [2]);
  assert.deepEqual(graph.found(boxes, "  "), []);
});

test("a tip stands below its box, above where there is no room, and inside the window", () => {
  const at = (left, top) => ({ left, top, bottom: top + 20 });
  assert.deepEqual(graph.tipPlace(at(50, 100), 200, 80, 800, 600), { left: 50, top: 124 });
  assert.deepEqual(graph.tipPlace(at(700, 550), 200, 80, 800, 600), { left: 596, top: 466 });
  assert.deepEqual(graph.tipPlace(at(-30, 40), 200, 700, 800, 600), { left: 0, top: 64 });
});
