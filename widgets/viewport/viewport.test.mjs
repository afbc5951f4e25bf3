// Run with `node --test widgets/`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load, sourceOf } from "../fakes.mjs";

const viewport = await load((await sourceOf("viewport")) + "\nexport { zoomed, fitted, revealed, heightFor };");

test("zooming keeps the point under the pointer, within limits", () => {
  const view = viewport.zoomed({ scale: 1, x: 10, y: 20 }, 2, 110, 120);
  assert.deepEqual(view, { scale: 2, x: -90, y: -80 });
  assert.equal(viewport.zoomed(view, 1000, 0, 0).scale, 3);
  assert.equal(viewport.zoomed(view, 1e-9, 0, 0).scale, 0.05);
  assert.equal(viewport.zoomed({ scale: 0.01, x: 0, y: 0 }, 0.5, 0, 0).scale, 0.01, "no smaller than a large drawing as a whole");
});

test("a drawing fits its window, and a small one stays small, in the middle", () => {
  assert.deepEqual(viewport.fitted([2000, 400], 1000, 300), { scale: 0.5, x: 0, y: 50 });
  assert.deepEqual(viewport.fitted([200, 100], 1000, 300), { scale: 1, x: 400, y: 100 });
});

test("a box is brought into the window, and the view stays where it is there already", () => {
  const box = { x: 500, y: 10, width: 50, height: 24 };
  assert.deepEqual(viewport.revealed({ scale: 1, x: 0, y: 0 }, box, 300, 200), { scale: 1, x: -262, y: 2 });
  assert.deepEqual(viewport.revealed({ scale: 1, x: -262, y: 2 }, box, 300, 200), { scale: 1, x: -262, y: 2 });
});

test("a window is as high as its drawing needs, and gives a large one room to move in", () => {
  assert.equal(viewport.heightFor([900, 300], 900), 300);
  assert.equal(viewport.heightFor([200, 20], 900), 60);
  assert.equal(viewport.heightFor([900, 9000], 900), 460);
  assert.equal(viewport.heightFor([5000, 500], 900), 240);
});
