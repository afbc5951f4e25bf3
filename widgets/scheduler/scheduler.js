// The scheduler selector. The kernel sends a finished state (notebook/selector.py: SelectorState) and keeps it; this file
// puts it on the page and sends what was chosen.

/** Asks for a choice. Where nobody hears it, the form says so and shows what it showed before. */
function choose(model, message) {
  if (!ask(model, message)) model.set("error_text", "The kernel is gone or was restarted: run this cell again.");
}

function createEngine(parent, model, group) {
  const row = element("label", "taskloom-scheduler-engine", parent);
  const radio = element("input", "taskloom-scheduler-radio", row);
  radio.type = "radio";
  radio.name = group;
  radio.addEventListener("change", () => choose(model, { type: "choose", engine: radio.value }));
  element("span", "taskloom-scheduler-name", row);
  const about = element("span", "taskloom-scheduler-about", row);
  element("span", "taskloom-scheduler-summary", about);
  element("span", "taskloom-scheduler-cost", about);
  return row;
}

function drawEngine(row, { name, summary, cost, reason }, chosen) {
  const [radio, label, about] = row.children;
  radio.value = name;
  radio.checked = name === chosen;
  radio.disabled = Boolean(reason);
  radio.setAttribute("aria-label", name);
  radio.setAttribute("aria-description", reason ? `Not available: ${reason}` : `${summary} ${cost}`);
  row.dataset.engine = name;
  row.dataset.available = String(!reason);
  setText(label, name);
  setText(about.children[0], reason ? `Not available: ${reason}` : summary);
  setText(about.children[1], reason ? "" : cost);
}

/** A setting's control; its value is only replaced when the kernel has another one, never while somebody types. */
function createSetting(parent, model, { choices }) {
  const row = element("label", "taskloom-scheduler-setting", parent);
  element("span", "taskloom-scheduler-label", row);
  const control = element(choices.length ? "select" : "input", "taskloom-scheduler-control", row);
  for (const choice of choices) {
    const option = element("option", "", control);
    option.value = choice;
    option.textContent = choice;
  }
  control.addEventListener("change", () => choose(model, { type: "set", name: row.dataset.name, value: control.value }));
  element("span", "taskloom-scheduler-source", row);
  return row;
}

function drawSetting(row, { name, label, value, automatic, source, summary }) {
  const [text, control, origin] = row.children;
  row.dataset.name = name;
  row.title = summary;
  setText(text, label);
  control.setAttribute("aria-label", label);
  setText(origin, `from ${source}`);
  control.placeholder = automatic;
  if (control.dataset.value !== value) {
    control.dataset.value = value;
    control.value = value;
  }
}

/** Controls are kept as long as the settings are the same ones. */
function drawSettings(parts, model, settings) {
  const names = settings.map(({ name }) => name).join(" ");
  if (parts.settings.dataset.names !== names) {
    parts.settings.dataset.names = names;
    matchChildren(parts.settings, [], null, null);
  }
  matchChildren(
    parts.settings,
    settings.map((setting) => ({ setting })),
    (parent) => createSetting(parent, model, settings[parent.children.length]),
    (row, { setting }) => drawSetting(row, setting),
  );
}

function createAdvice(parent) {
  const row = element("tr", "", parent);
  for (let column = 0; column < 3; column++) element("td", "", row);
  return row;
}

/** Arrow keys and Enter are for what has the focus here; the notebook would go to another cell. */
function keepFromNotebook(event) {
  if (!(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)) event.stopPropagation();
}

function build(el, model) {
  const root = element("div", "taskloom-live taskloom-scheduler", el);
  root.addEventListener("keydown", keepFromNotebook);
  const line = element("div", "taskloom-scheduler-line", root);
  element("span", "taskloom-scheduler-title", line).textContent = "Scheduler";
  const force = element("span", "taskloom-scheduler-force", line);
  force.setAttribute("role", "status");
  const source = element("span", "taskloom-scheduler-source", line);
  const undo = element("button", "taskloom-control taskloom-scheduler-undo", line);
  undo.type = "button";
  undo.textContent = "Undo";
  undo.title = "Take back what was chosen last";
  undo.addEventListener("click", () => choose(model, { type: "undo" }));
  const engines = element("div", "taskloom-scheduler-engines", root);
  engines.setAttribute("role", "radiogroup");
  engines.setAttribute("aria-label", "Scheduler");
  const settings = element("div", "taskloom-scheduler-settings", root);
  const error = element("div", "taskloom-scheduler-error", root);
  error.setAttribute("role", "alert");
  const details = element("details", "taskloom-scheduler-advice", root);
  element("summary", "", details).textContent = "Which one for which work?";
  const advice = element("tbody", "", element("table", "taskloom-scheduler-table", details));
  return { root, force, source, undo, engines, settings, error, advice };
}

function draw(parts, model, group) {
  const state = model.get("selector");
  setText(parts.force, state.force_text);
  setText(parts.source, `from ${state.source_text}`);
  setText(parts.error, model.get("error_text"));
  parts.undo.disabled = !state.can_undo;
  matchChildren(
    parts.engines,
    state.engines,
    (parent) => createEngine(parent, model, group),
    (row, engine) => drawEngine(row, engine, state.chosen),
  );
  drawSettings(parts, model, state.settings);
  matchChildren(parts.advice, state.advice, createAdvice, (row, { work, engine, why }) => {
    [work, engine, why].forEach((text, column) => setText(row.children[column], text));
  });
}

let groups = 0; // radio buttons of one name exclude each other, in the whole page

function render({ model, el }) {
  const group = `taskloom-scheduler-${model.get("output_id")}-${groups++}`;
  const parts = build(el, model);
  const unfollow = follow(model, () => draw(parts, model, group));
  const removeLoss = noteLoss(model, parts.root);
  return () => {
    unfollow();
    removeLoss();
  };
}

export default {
  initialize({ model }) {
    savePicture(model);
    if (model.get("live")) ask(model, { type: "here" }); // controls are of use on any page
  },
  render,
};
