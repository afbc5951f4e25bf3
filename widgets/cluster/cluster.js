// A cluster. The kernel sends a finished state (notebook/cluster_state.py: ClusterState); this file puts it on the page and
// sends what is asked for.

/** Asks for a size. Where nobody hears it, the view says so. */
function askSize(model, message) {
  if (!ask(model, message)) model.set("error_text", "The kernel is gone or was restarted: run this cell again.");
}

/** Typing is for what has the focus here; the notebook would take keys for commands. */
function keepFromNotebook(event) {
  if (!(event.ctrlKey || event.metaKey || event.altKey)) event.stopPropagation();
}

/** A field for a number; Enter in it does what the button behind it does. */
function createNumber(parent, label, submit) {
  const field = element("input", "taskloom-cluster-number", parent);
  field.type = "number";
  field.min = "0";
  field.setAttribute("aria-label", label);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") submit();
  });
  return field;
}

/** A field's value is only replaced when the kernel has another one, never while somebody types. */
function drawNumber(field, value) {
  if (field.dataset.value === String(value)) return;
  field.dataset.value = String(value);
  field.value = String(value);
}

/** What was typed; null is no number, which the kernel refuses in words. */
function numberIn(field) {
  return field.value.trim() === "" ? null : Number(field.value);
}

function createButton(parent, text, title, act) {
  const button = element("button", "taskloom-control", parent);
  button.type = "button";
  button.textContent = text;
  button.title = title;
  button.addEventListener("click", act);
  return button;
}

function createText(parent, text) {
  element("span", "taskloom-cluster-word", parent).textContent = text;
}

function buildControls(parent, model) {
  const scaling = element("div", "taskloom-cluster-control", parent);
  const scale = () => askSize(model, { type: "scale", n: numberIn(size) });
  createText(scaling, "Workers");
  const size = createNumber(scaling, "Workers", scale);
  createButton(scaling, "Scale", "Have so many workers from now on", scale);
  const adapting = element("div", "taskloom-cluster-control", parent);
  const adapt = () => askSize(model, { type: "adapt", minimum: numberIn(minimum), maximum: numberIn(maximum) });
  createText(adapting, "or from");
  const minimum = createNumber(adapting, "Fewest workers", adapt);
  createText(adapting, "to");
  const maximum = createNumber(adapting, "Most workers", adapt);
  createButton(adapting, "Adapt", "Have as many workers as there is work for", adapt);
  return { size, minimum, maximum };
}

function build(el, model) {
  const root = element("div", "taskloom-live taskloom-cluster taskloom-cluster-live", el);
  root.addEventListener("keydown", keepFromNotebook);
  const line = element("div", "taskloom-cluster-line", root);
  const name = element("span", "taskloom-cluster-name", line);
  const status = element("span", "taskloom-cluster-status", line);
  const note = element("span", "taskloom-cluster-note", line);
  note.setAttribute("role", "status");
  const rows = element("div", "taskloom-cluster-workers", root);
  const more = element("div", "taskloom-cluster-more", root);
  const controls = element("div", "taskloom-cluster-controls", root);
  const fields = buildControls(controls, model);
  const error = element("div", "taskloom-cluster-error", root);
  error.setAttribute("role", "alert");
  return { root, line, name, status, note, rows, more, controls, fields, error };
}

function createWorker(parent) {
  const row = element("div", "taskloom-cluster-worker", parent);
  element("span", "taskloom-cluster-worker-name", row);
  const bar = element("span", "taskloom-cluster-bar", row);
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "1");
  element("span", "taskloom-cluster-fill", bar);
  element("span", "taskloom-cluster-memory", row);
  element("span", "taskloom-cluster-threads", row);
  return row;
}

function drawWorker(row, { name, threads_text, share, memory_text }) {
  const [label, bar, memory, threads] = row.children;
  setText(label, name);
  setText(memory, memory_text);
  setText(threads, threads_text);
  bar.setAttribute("aria-label", `Memory of ${name}`);
  bar.setAttribute("aria-valuenow", String(share));
  bar.setAttribute("aria-valuetext", memory_text);
  bar.dataset.level = share > 0.8 ? "high" : share > 0.6 ? "raised" : "normal";
  bar.children[0].style.width = `${100 * share}%`;
}

function draw(parts, model) {
  const state = model.get("cluster");
  parts.root.dataset.status = state.status;
  parts.root.dataset.adapts = String(state.adapts);
  setText(parts.name, state.name);
  setText(parts.status, state.status_text);
  setText(parts.note, state.size_text);
  setText(parts.more, state.more_text);
  setText(parts.error, model.get("error_text"));
  matchChildren(parts.rows, state.workers, createWorker, drawWorker);
  parts.controls.hidden = state.status !== "running";
  for (const name of ["size", "minimum", "maximum"]) drawNumber(parts.fields[name], state[name]);
}

function render({ model, el }) {
  const parts = build(el, model);
  const removeStop = addStopButton(model, parts.line);
  const removeLoss = noteLoss(model, parts.root);
  const unfollow = follow(model, () => draw(parts, model));
  return () => {
    removeStop();
    removeLoss();
    unfollow();
  };
}

export default { initialize, render };
