// The live graph. The kernel sends diagrams that are laid out already (notebook/graph_widget.py: GraphView) and what has
// changed since; this file puts them on the page, and lets a person move, zoom, search and ask.

const STATES = ["waiting", "ready", "running", "finished", "failed"];
const SVG = "http" + ":" + "//www.w3.org/2000/svg";
const ZOOM = { least: 0.05, most: 3, step: 1.25 };
const TALLEST = 460; // pixels of the window on the graph

/** Each box's state and done tasks: `states` with `changes` (box, value, box, value, ...) applied. */
function currentStates(count, states, changes) {
  const values = Array.from({ length: count }, (_, box) => states[box] ?? 0);
  for (let index = 0; index + 1 < changes.length; index += 2) {
    if (changes[index] < count) values[changes[index]] = changes[index + 1];
  }
  return values.map((value) => ({ state: STATES[value % STATES.length], done: Math.floor(value / STATES.length) }));
}

/** The view after zooming by `factor` around a point of the window, which stays where it is. */
function zoomed(view, factor, x, y) {
  const scale = Math.min(ZOOM.most, Math.max(ZOOM.least, view.scale * factor));
  const ratio = scale / view.scale;
  return { scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio };
}

/** The view in which a drawing fills a window as wide as this; small drawings keep their size. */
function fitted([width, height], windowWidth, windowHeight) {
  const scale = Math.min(1, Math.max(ZOOM.least, Math.min(windowWidth / width, windowHeight / height)));
  return { scale, x: Math.max(0, (windowWidth - width * scale) / 2), y: Math.max(0, (windowHeight - height * scale) / 2) };
}

/** The numbers of the boxes with a text in their key, as typed or in any case. */
function found(boxes, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  return boxes.flatMap(([key], number) => (key.toLowerCase().includes(wanted) ? [number] : []));
}

function shape(tag, attributes, parent) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

function addButton(parent, text, label, onClick) {
  const button = element("button", "taskloom-graph-button", parent);
  button.type = "button";
  button.title = label;
  button.setAttribute("aria-label", label);
  setText(button, text);
  button.addEventListener("click", onClick);
  return button;
}

function build(el) {
  const root = element("div", "taskloom-live taskloom-graph taskloom-graph-live", el);
  const bar = element("div", "taskloom-graph-bar", root);
  const caption = element("span", "taskloom-graph-caption", bar);
  const choices = element("span", "taskloom-graph-choices", bar);
  choices.setAttribute("role", "group");
  const tools = element("span", "taskloom-graph-tools", bar);
  const search = element("input", "taskloom-graph-search", tools);
  search.type = "search";
  search.placeholder = "Find a key";
  search.setAttribute("aria-label", "Find a task by its key");
  const failure = element("div", "taskloom-graph-failure", root);
  failure.setAttribute("role", "alert");
  const frame = element("div", "taskloom-graph-frame", root);
  frame.tabIndex = 0;
  frame.setAttribute("aria-label", "Task graph: arrow keys move, plus and minus zoom, 0 shows all");
  frame.setAttribute("role", "application");
  const svg = shape("svg", { width: "100%", height: "100%" }, frame);
  const stage = shape("g", {}, svg);
  const tip = element("div", "taskloom-graph-tip", root);
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  const legend = element("div", "taskloom-graph-legend", root);
  for (const state of STATES) {
    const entry = element("span", "taskloom-graph-state", legend);
    element("span", "taskloom-graph-swatch", entry).dataset.state = state;
    setText(element("span", "", entry), state);
  }
  const critical = element("span", "taskloom-graph-state", legend);
  element("span", "taskloom-graph-swatch", critical).dataset.state = "critical";
  setText(element("span", "", critical), "longest chain");
  const hint = element("span", "taskloom-graph-hint", legend);
  return { root, caption, choices, tools, search, failure, frame, stage, tip, legend, critical, hint };
}

/** Draws a diagram's boxes and edges anew. Gives what changes later. */
function drawDiagram(stage, diagram) {
  stage.replaceChildren();
  const [width, height] = diagram.box;
  shape("path", { class: "taskloom-edges", d: diagram.edges }, stage);
  const chain = shape("path", { class: "taskloom-chain", d: "" }, stage);
  const boxes = diagram.boxes.map(([key, label, color, x, y, total, group], number) => {
    const node = shape("g", { class: "taskloom-node", "data-key": key, "data-state": "waiting" }, stage);
    node.dataset.box = String(number);
    shape("rect", { class: "taskloom-box", x, y, width, height, rx: 5 }, node);
    const fill = group ? shape("rect", { class: "taskloom-fill", x, y, width: 0, height, rx: 5 }, node) : null;
    shape("rect", { x: x + 4, y: y + 4, width: 4, height: height - 8, rx: 2, fill: color }, node);
    shape("text", { x: x + 14, y: y + height / 2 }, node).textContent = label;
    const count = group
      ? shape("text", { class: "taskloom-count", x: x + width - 8, y: y + height / 2 }, node)
      : null;
    if (group) {
      node.setAttribute("tabindex", "0");
      node.setAttribute("role", "button");
      node.setAttribute("aria-label", `${label}: ${total} tasks, open`);
    }
    return { node, fill, count, total, width };
  });
  return { chain, boxes };
}

function recolor(drawn, values) {
  drawn.boxes.forEach(({ node, fill, count, total, width }, number) => {
    const { state, done } = values[number];
    if (node.dataset.state !== state) node.dataset.state = state;
    if (!count) return;
    const text = `${done.toLocaleString("en")}/${total.toLocaleString("en")}`;
    if (count.textContent === text) return;
    count.textContent = text;
    fill.setAttribute("width", String(done < total ? (width * done) / total : 0));
  });
}

function render({ model, el }) {
  const parts = build(el);
  const { frame, stage, tip, search } = parts;
  let selected = 0;
  let diagram = null;
  let drawn = null;
  let view = { scale: 1, x: 0, y: 0 };
  let fits = true; // until a person moves the view
  let hovered = -1;

  const move = (next, byHand = true) => {
    view = next;
    if (byHand) fits = false;
    stage.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
  };
  const fit = () => {
    fits = true;
    const width = frame.clientWidth;
    if (!diagram || !width) return;
    const scale = Math.min(1, width / diagram.size[0]);
    frame.style.height = `${Math.round(Math.min(TALLEST, Math.max(60, diagram.size[1] * scale)))}px`;
    move(fitted(diagram.size, width, frame.clientHeight), false);
  };
  const zoomBy = (factor, x = frame.clientWidth / 2, y = frame.clientHeight / 2) => move(zoomed(view, factor, x, y));
  const collapse = addButton(parts.tools, "Collapse", "Collapse the opened groups", () =>
    ask(model, { type: "collapse", diagram: selected }),
  );
  addButton(parts.tools, "−", "Zoom out", () => zoomBy(1 / ZOOM.step));
  addButton(parts.tools, "+", "Zoom in", () => zoomBy(ZOOM.step));
  addButton(parts.tools, "Fit", "Show the whole graph", fit);
  const removeStop = addStopButton(model, parts.tools);
  const removeLoss = noteLoss(model, parts.root);

  const markFound = () => {
    const hits = new Set(diagram ? found(diagram.boxes, search.value) : []);
    parts.root.classList.toggle("taskloom-searching", Boolean(search.value.trim()));
    drawn?.boxes.forEach(({ node }, number) => node.classList.toggle("taskloom-found", hits.has(number)));
    return [...hits];
  };
  const goTo = (number) => {
    const [, , , x, y] = diagram.boxes[number];
    const scale = Math.max(view.scale, 0.8);
    const [width, height] = diagram.box;
    move({
      scale,
      x: frame.clientWidth / 2 - (x + width / 2) * scale,
      y: frame.clientHeight / 2 - (y + height / 2) * scale,
    });
  };
  let nextHit = 0;
  search.addEventListener("input", () => {
    nextHit = 0;
    markFound();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const hits = markFound();
    if (hits.length) goTo(hits[nextHit++ % hits.length]);
    else if (search.value.trim()) ask(model, { type: "find", diagram: selected, text: search.value.trim() });
  });

  const open = (node) => {
    const group = node && diagram.boxes[Number(node.dataset.box)][6];
    if (group) ask(model, { type: "open", diagram: selected, group });
  };
  const boxAt = (event) => event.target.closest?.(".taskloom-node");
  let press = null;
  frame.addEventListener("pointerdown", (event) => {
    if (event.button === 0) press = { x: event.clientX, y: event.clientY, view, node: boxAt(event), moved: false };
  });
  const drag = (event) => {
    if (!press) return;
    const [dx, dy] = [event.clientX - press.x, event.clientY - press.y];
    if (!press.moved && Math.hypot(dx, dy) < 4) return;
    press.moved = true;
    move({ ...press.view, x: press.view.x + dx, y: press.view.y + dy });
  };
  const release = () => {
    if (press && !press.moved) open(press.node);
    press = null;
  };
  window.addEventListener("pointermove", drag);
  window.addEventListener("pointerup", release);
  frame.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      const { left, top } = frame.getBoundingClientRect();
      zoomBy(Math.exp(-event.deltaY / 300), event.clientX - left, event.clientY - top);
    },
    { passive: false },
  );
  const steps = { ArrowLeft: [50, 0], ArrowRight: [-50, 0], ArrowUp: [0, 50], ArrowDown: [0, -50] };
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (steps[event.key]) move({ ...view, x: view.x + steps[event.key][0], y: view.y + steps[event.key][1] });
    else if (event.key === "+" || event.key === "=") zoomBy(ZOOM.step);
    else if (event.key === "-") zoomBy(1 / ZOOM.step);
    else if (event.key === "0") fit();
    else if (event.key === "Enter") open(boxAt(event));
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has other plans with these keys
  });

  const showTip = (lines) => {
    tip.hidden = hovered < 0;
    if (tip.hidden) return;
    matchChildren(tip, lines, (parent) => element("div", "", parent), setText);
    const box = drawn.boxes[hovered].node.getBoundingClientRect();
    const { left, top, width } = parts.root.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(box.left - left, width - tip.offsetWidth - 4))}px`;
    const below = box.bottom - top + 4;
    const above = box.top - top - tip.offsetHeight - 4;
    tip.style.top = `${below + tip.offsetHeight > parts.root.clientHeight && above >= 0 ? above : below}px`;
  };
  const hover = (event) => {
    const node = boxAt(event);
    const number = node ? Number(node.dataset.box) : -1;
    if (number === hovered) return;
    hovered = number;
    if (node) ask(model, { type: "tip", diagram: selected, box: number });
    showTip(node ? [diagram.boxes[number][0], node.dataset.state] : []);
  };
  frame.addEventListener("pointerover", hover);
  frame.addEventListener("pointerleave", hover);
  const receive = (message) => {
    if (message.type !== "tip" || message.diagram !== selected || message.box !== hovered) return;
    showTip([...message.lines, drawn.boxes[hovered].node.dataset.state]);
  };
  model.on("msg:custom", receive);

  const update = () => {
    const diagrams = model.get("diagrams");
    const hasRun = Boolean(model.get("caption"));
    const tasks = (diagrams[selected]?.tasks ?? 0).toLocaleString("en");
    setText(parts.caption, model.get("caption") || `${tasks} tasks · not run`);
    for (const entry of parts.legend.children) if (entry !== parts.hint) entry.hidden = !hasRun;
    setText(parts.failure, model.get("failure"));
    parts.choices.hidden = diagrams.length < 2;
    matchChildren(
      parts.choices,
      diagrams,
      (parent) => {
        const number = parent.children.length;
        return addButton(parent, "", "", () => {
          selected = number;
          update();
        });
      },
      (button, { title, tasks }) => {
        setText(button, `${title} (${tasks.toLocaleString("en")})`);
        button.title = title;
        button.setAttribute("aria-label", title);
        button.setAttribute("aria-pressed", String(diagrams[selected].title === title));
      },
    );
    const shown = diagrams[selected];
    if (shown && shown !== diagram) {
      diagram = shown;
      hovered = -1;
      tip.hidden = true;
      drawn = drawDiagram(stage, diagram);
      collapse.hidden = !diagram.opened;
      setText(parts.hint, diagram.tasks ? (diagram.boxes.some((box) => box[6]) ? "Click a group to open it" : "") : "No tasks");
      fit();
      markFound();
    }
    if (!diagram) return;
    const follows = selected === 0;
    recolor(drawn, currentStates(diagram.boxes.length, follows ? model.get("states") : [], follows ? model.get("changes") : []));
    const { boxes = [], path = "" } = follows ? model.get("critical") : {};
    drawn.chain.setAttribute("d", path);
    const critical = new Set(boxes);
    parts.critical.hidden = !critical.size;
    drawn.boxes.forEach(({ node }, number) => node.classList.toggle("taskloom-critical", critical.has(number)));
  };
  const unfollow = follow(model, update);
  const resized = new ResizeObserver(() => fits && fit());
  resized.observe(frame);
  return () => {
    removeStop();
    removeLoss();
    unfollow();
    resized.disconnect();
    model.off("msg:custom", receive);
    window.removeEventListener("pointermove", drag);
    window.removeEventListener("pointerup", release);
  };
}

export default { initialize, render };
