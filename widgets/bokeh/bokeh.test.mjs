import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeElement, FakeModel, load, sourceOf } from "../fakes.mjs";

const source = await sourceOf("bokeh");
const { default: widget } = await load(source);
const { applyTheme, readBuffers } = new Function(
  `${source.replace("export default", "")}; return { applyTheme, readBuffers };`,
)();
const LIBRARY = Symbol.for("taskloom.bokehjs");

globalThis.window = globalThis;
globalThis.MutationObserver = class {
  observe() {}
  disconnect() {}
};
globalThis.getComputedStyle = () => ({ color: "black", getPropertyValue: (name) => (name.endsWith("1") ? " white " : "") });
globalThis.document.body = new FakeElement();

/** BokehJS, as far as it is used: a document that remembers what was done to it. */
function fakeBokeh() {
  const done = [];
  const figure = { type: "Figure", reset: { emit: () => done.push("reset") } };
  const root = { references: () => [figure] };
  const made = {
    all_roots: [root],
    apply_json_patch: (patch) => done.push(patch),
    clear: () => done.push("clear"),
  };
  const modules = {
    document: { Document: { from_json: (json) => (done.push(json), made) } },
    embed: { add_document_standalone: async () => {} },
  };
  return { done, require: (name) => modules[name] };
}

class PageModel extends FakeModel {
  receive(content, buffers = []) {
    for (const [listener, event] of this.listeners) if (event === "msg:custom") listener(content, buffers);
    return new Promise((resolve) => setTimeout(resolve, 0)); // messages are handled one after another
  }
}

function show() {
  const bokeh = fakeBokeh();
  globalThis[LIBRARY] = Promise.resolve(bokeh);
  const model = new PageModel({});
  const el = new FakeElement();
  const remove = widget.render({ model, el });
  return { bokeh, model, el, remove };
}

const whole = (run) => ({ type: "document", library: false, document: '"whole"', headline: `run ${run}`, run });
const patch = (run, text) => ({ type: "patch", patch: `"${text}"`, buffers: [], headline: `run ${run}`, run });

test("asks for the document once, without BokehJS where the page has it", () => {
  const { model } = show();
  assert.deepEqual(model.sent, [{ type: "ready", library: false }]);
});

test("shows the document, then patches in their order; those before it are in it already", async () => {
  const { bokeh, model, el } = show();
  await model.receive(patch(1, "early"));
  await model.receive(whole(1));
  await model.receive(patch(1, "first"));
  await model.receive(patch(1, "second"));
  assert.deepEqual(bokeh.done, ["whole", "first", "second"]);
  assert.equal(el.find("taskloom-bokeh-headline").textContent, "run 1");
});

test("a second document, which another page asked for, is not shown", async () => {
  const { bokeh, model } = show();
  await model.receive(whole(1));
  await model.receive(whole(1));
  assert.deepEqual(bokeh.done, ["whole"]);
});

test("before the first run there are words and no figures", async () => {
  const { model, el } = show();
  await model.receive(whole(null));
  assert.equal(el.find("taskloom-bokeh-page").hidden, true);
  await model.receive(patch(1, "first"));
  assert.equal(el.find("taskloom-bokeh-page").hidden, false);
});

test("another run is shown whole, whatever part of the one before was looked at", async () => {
  const { bokeh, model } = show();
  await model.receive(whole(1));
  await model.receive(patch(1, "same"));
  await model.receive(patch(2, "other"));
  assert.deepEqual(bokeh.done, ["whole", "same", "other", "reset"]);
});

test("what cannot be drawn is said", async () => {
  const { model, el } = show();
  await model.receive(whole(1));
  await model.receive({ ...patch(1, ""), patch: "no JSON" });
  assert.match(el.find("taskloom-bokeh-headline").textContent, /^This view could not be drawn: /);
});

test("a view that is taken away listens no more and clears its document", async () => {
  const { bokeh, model, remove } = show();
  await model.receive(whole(1));
  remove();
  assert.equal(model.listeners.size, 0);
  assert.deepEqual(bokeh.done, ["whole", "clear"]);
});

test("figures get the colours of the page", () => {
  const models = [{ type: "Title" }, { type: "LinearAxis" }, { type: "Legend" }, { type: "Text" }, { type: "Quad" }];
  applyTheme({ all_roots: [{ references: () => models }] }, {});
  const [title, axis, legend, text, other] = models;
  assert.equal(title.text_color, "white");
  assert.deepEqual([axis.major_label_text_color, axis.axis_label_text_color], ["white", "black"]);
  assert.equal(legend.label_text_color, "white");
  assert.deepEqual(text.text_color, { value: "white" });
  assert.deepEqual(Object.keys(other), ["type"]);
});

test("buffers are found by their ids, whether they come as views or bare", () => {
  const bare = new ArrayBuffer(2);
  const found = readBuffers(["a", "b"], [new DataView(new ArrayBuffer(4)), bare]);
  assert.equal(found.get("a").byteLength, 4);
  assert.equal(found.get("b"), bare);
});
