// The live progress bar. The kernel sends a finished state (views/progress.py: ProgressState, and `stopping`); this
// file only puts it on the page. Elements are made once and then changed, never rebuilt: a rebuilt button swallows
// clicks, and a rebuilt bar flickers. All text goes in as text, never as HTML: keys can be anything.

const STOP_TIMEOUT = 1000; // milliseconds

function element(tag, className, parent) {
  const node = document.createElement(tag);
  node.className = className;
  parent.append(node);
  return node;
}

/** An element without text is not shown. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = !text;
}

/** Makes `parent` hold one child for each item, keeping those that are there. */
function matchChildren(parent, items, create, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, index) => update(parent.children[index] ?? create(parent), item));
}

function createLegendEntry(parent) {
  const entry = element("span", "taskloom-progress-name", parent);
  element("span", "taskloom-progress-dot", entry);
  element("span", "taskloom-progress-label", entry);
  element("span", "taskloom-progress-figures", entry);
  return entry;
}

function build(el) {
  const root = element("div", "taskloom-progress taskloom-progress-live", el);
  const line = element("div", "taskloom-progress-line", root);
  const bar = element("div", "taskloom-progress-bar", line);
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "Tasks done");
  bar.setAttribute("aria-valuemin", "0");
  const count = element("span", "taskloom-progress-count", line);
  const time = element("span", "taskloom-progress-time", line);
  const stop = element("button", "taskloom-stop", line);
  stop.type = "button";
  const failure = element("div", "taskloom-progress-failure", root);
  failure.setAttribute("role", "alert");
  const legend = element("div", "taskloom-progress-legend", root);
  const names = element("span", "taskloom-progress-names", legend);
  const note = element("span", "taskloom-progress-note", legend);
  return { root, bar, count, time, stop, failure, names, note };
}

function draw(parts, state) {
  const running = state.status === "running";
  parts.root.dataset.status = state.status;
  setText(parts.count, state.count_text);
  setText(parts.time, state.time_text);
  setText(parts.failure, state.failure_text);
  setText(parts.note, [state.engine, state.note_text].filter(Boolean).join(" · "));
  parts.stop.disabled = Boolean(state.stopping);
  setText(parts.stop, running ? (state.stopping ? "Stopping…" : "Stop") : "");

  parts.bar.setAttribute("aria-valuemax", String(state.total));
  parts.bar.setAttribute("aria-valuenow", String(state.done));
  parts.bar.setAttribute("aria-valuetext", `${state.done} of ${state.total} tasks, ${state.time_text}`);
  const failed = { color: "var(--taskloom-failed)", done: state.failed };
  matchChildren(
    parts.bar,
    [...state.names, failed],
    (parent) => element("span", "taskloom-progress-segment", parent),
    (segment, { color, done }) => {
      segment.style.background = color;
      segment.style.width = `${(100 * done) / (state.total || 1)}%`;
    },
  );
  matchChildren(parts.names, state.names, createLegendEntry, (entry, { name, color, done, total }) => {
    const [dot, label, figures] = entry.children;
    dot.style.background = color;
    setText(label, name);
    setText(figures, `${state.exact ? "" : "~"}${done}/${total}`);
  });
}

/** Interrupts the kernel from the page: for kernels that read no message while a cell is busy. */
function interruptKernel(model) {
  const kernel = model.widget_manager?.context?.sessionContext?.session?.kernel;
  kernel?.interrupt?.().catch(() => {});
}

// A widget shows nothing in a file that is saved in mid-run and opened again: the kernel is gone, or it is too busy to
// answer the page. So the file gets a picture in the widget's place, with the widget's id; when the kernel answers
// again, the page finds the picture by that id and puts the widget back, or a picture of the run's end. This uses what
// JupyterLab and Notebook keep behind their widget manager; in other front ends nothing happens.

const VIEW = "application/vnd.jupyter.widget-view+json";
const UNFINISHED = Symbol.for("taskloom.unfinished");

/** The pictures of unfinished runs by widget id, which the notebook saves in place of the widgets. */
function unfinished(notebook) {
  if (notebook[UNFINISHED]) return notebook[UNFINISHED];
  const pictures = (notebook[UNFINISHED] = new Map());
  const toJSON = notebook.toJSON;
  const saved = (output) => {
    const id = output.data?.[VIEW]?.model_id;
    return pictures.has(id) ? { ...output, data: pictures.get(id), metadata: { taskloom: id } } : output;
  };
  notebook.toJSON = function () {
    const content = toJSON.call(this);
    const cells = content.cells.map((cell) => (cell.outputs ? { ...cell, outputs: cell.outputs.map(saved) } : cell));
    return { ...content, cells };
  };
  return pictures;
}

/** Replaces the output that was saved in mid-run, if this notebook was opened from such a file. */
function replaceSaved(notebook, id, data, metadata) {
  for (const { outputs } of notebook.cells) {
    for (let index = 0; index < (outputs?.length ?? 0); index++) {
      if (outputs.get(index).metadata?.taskloom !== id) continue;
      outputs.set(index, { output_type: "display_data", data, metadata });
    }
  }
}

function initialize({ model }) {
  const notebook = model.widget_manager?.context?.model;
  const isKnown = typeof notebook?.toJSON === "function" && typeof notebook.cells?.[Symbol.iterator] === "function";
  if (!isKnown) return;
  const id = model.get("output_id");
  const update = () => {
    const { status, picture } = model.get("progress");
    if (status === "running") {
      unfinished(notebook).set(id, picture);
    } else {
      unfinished(notebook).delete(id);
      replaceSaved(notebook, id, picture, {});
    }
  };
  if (model.get("progress").status === "running") {
    const view = { version_major: 2, version_minor: 0, model_id: id };
    replaceSaved(notebook, id, { [VIEW]: view }, { taskloom: id });
  }
  model.on("change:progress", update);
  update();
}

function render({ model, el }) {
  const parts = build(el);
  const update = () => draw(parts, model.get("progress"));
  let timer;
  parts.stop.addEventListener("click", () => {
    parts.stop.disabled = true;
    model.send({ type: "stop" });
    timer = setTimeout(() => {
      const { status, stopping } = model.get("progress");
      if (status === "running" && !stopping) interruptKernel(model);
    }, STOP_TIMEOUT);
  });
  model.on("change:progress", update);
  update();
  return () => {
    clearTimeout(timer);
    model.off("change:progress", update);
  };
}

export default { initialize, render };
