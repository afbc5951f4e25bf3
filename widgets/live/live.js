// What all live views share; it stands in front of each view's own script. A live view is an output of a cell: a widget
// as long as the kernel follows it, and a picture in the saved file. Its model has the traits of LiveWidget
// (notebook/live_output.py): output_id, live, running, stopping, picture. All text goes in as text, never as HTML: keys can be
// anything. Elements are made once and then changed, never rebuilt: a rebuilt button swallows clicks.

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

/** Calls `update` now and whenever the model changes: once a message. Gives the function that ends this. */
function follow(model, update) {
  model.on("change", update);
  update();
  return () => model.off("change", update);
}

/** Interrupts the kernel from the page: for kernels that read no message while a cell is busy. */
function interruptKernel(model) {
  const kernel = model.widget_manager?.context?.sessionContext?.session?.kernel;
  kernel?.interrupt?.().catch(() => {});
}

/** Sends the kernel a message, and says whether it could: after a restart what is on the page is all there is. */
function ask(model, message) {
  try {
    model.send(message);
    return true;
  } catch {
    return false; // the widget's comm has ended
  }
}

/** A button that stops what the view follows, there while it runs. Gives the function that takes its listeners away. */
function addStopButton(model, parent) {
  const stop = element("button", "taskloom-control taskloom-stop", parent);
  stop.type = "button";
  let timer;
  stop.addEventListener("click", () => {
    stop.disabled = true;
    ask(model, { type: "stop" });
    timer = setTimeout(() => {
      if (model.get("running") && !model.get("stopping")) interruptKernel(model);
    }, STOP_TIMEOUT);
  });
  const unfollow = follow(model, () => {
    if (model.get("stopping") || !model.get("running")) clearTimeout(timer); // another run may follow at once
    stop.disabled = Boolean(model.get("stopping"));
    setText(stop, model.get("running") ? (model.get("stopping") ? "Stopping…" : "Stop") : "");
  });
  return () => {
    clearTimeout(timer);
    unfollow();
  };
}

/** Says so in words when the kernel has ended or was restarted: what the view shows is the last it heard. */
function noteLoss(model, root) {
  const note = element("div", "taskloom-lost", root);
  note.setAttribute("role", "status");
  note.hidden = true;
  const lose = () => {
    if (!model.get("live")) return;
    root.dataset.lost = "";
    setText(note, "The kernel ended or was restarted: this is the last it told. Run the cell again for a new view.");
  };
  model.on("comm_live_update", lose);
  return () => model.off("comm_live_update", lose);
}

// A widget shows nothing in a file that is opened again: the kernel is gone, or it is too busy to answer the page. So the file gets a picture in the widget's place, with the widget's id; when the kernel answers
// again, the page finds the picture by that id and puts the widget back, or the picture of the end. This uses what
// JupyterLab and Notebook keep behind their widget manager; in other front ends nothing happens.

const VIEW = "application/vnd.jupyter.widget-view+json";
const PICTURES = Symbol.for("taskloom.pictures");

/** The pictures of live views by widget id, which the notebook saves in place of the widgets. */
function picturesIn(notebook) {
  if (notebook[PICTURES]) return notebook[PICTURES];
  const pictures = (notebook[PICTURES] = new Map());
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

/** Has the notebook save a picture in the place of a live widget, and says whether it will. */
function savePicture(model) {
  const notebook = model.widget_manager?.context?.model;
  const isKnown = typeof notebook?.toJSON === "function" && typeof notebook.cells?.[Symbol.iterator] === "function";
  if (!isKnown) return false;
  const id = model.get("output_id");
  if (model.get("live")) {
    const view = { version_major: 2, version_minor: 0, model_id: id };
    replaceSaved(notebook, id, { [VIEW]: view }, { taskloom: id });
  }
  follow(model, () => {
    if (model.get("live")) {
      picturesIn(notebook).set(id, model.get("picture"));
    } else {
      picturesIn(notebook).delete(id);
      replaceSaved(notebook, id, model.get("picture"), {});
    }
  });
  return true;
}

/** Tells the kernel that it may leave the widget to the page when no run lasts: the file gets a picture all the same. */
function initialize({ model }) {
  if (savePicture(model) && model.get("live")) ask(model, { type: "here" });
}
