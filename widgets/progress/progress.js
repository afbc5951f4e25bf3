// The live progress bar. The kernel sends a finished state (views/progress.py: ProgressState); this file only puts it on
// the page.

function createLegendEntry(parent) {
  const entry = element("span", "taskloom-progress-name", parent);
  element("span", "taskloom-progress-dot", entry);
  element("span", "taskloom-progress-label", entry);
  element("span", "taskloom-progress-figures", entry);
  return entry;
}

function build(el) {
  const root = element("div", "taskloom-live taskloom-progress taskloom-progress-live", el);
  const line = element("div", "taskloom-progress-line", root);
  const bar = element("div", "taskloom-progress-bar", line);
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "Tasks done");
  bar.setAttribute("aria-valuemin", "0");
  const count = element("span", "taskloom-progress-count", line);
  const time = element("span", "taskloom-progress-time", line);
  const failure = element("div", "taskloom-progress-failure", root);
  failure.setAttribute("role", "alert");
  const legend = element("div", "taskloom-progress-legend", root);
  const names = element("span", "taskloom-progress-names", legend);
  const note = element("span", "taskloom-progress-note", legend);
  return { root, line, bar, count, time, failure, names, note };
}

function draw(parts, state) {
  parts.root.dataset.status = state.status;
  setText(parts.count, state.count_text);
  setText(parts.time, state.time_text);
  setText(parts.failure, state.failure_text);
  setText(parts.note, [state.engine, state.note_text].filter(Boolean).join(" · "));

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

function render({ model, el }) {
  const parts = build(el);
  const removeStop = addStopButton(model, parts.line);
  const removeLoss = noteLoss(model, parts.root);
  const unfollow = follow(model, () => draw(parts, model.get("progress")));
  return () => {
    removeStop();
    removeLoss();
    unfollow();
  };
}

export default { initialize, render };
