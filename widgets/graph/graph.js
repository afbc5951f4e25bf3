// The live graph. The kernel sends diagrams that are laid out already (notebook/graph_widget.py: GraphView) and what has
// changed since; this file puts them on the page, and lets a person search and ask, by pointer or keyboard. The window
// on a diagram, in which it is moved and zoomed, is a part of its own (viewport.js).

const STATES = ["waiting", "ready", "running", "finished", "failed"];
const NO_HIT = "no task matches";
const KEYS = "Arrow keys: next task · Enter: open a group · + − 0: zoom · Esc: hide the note";
const HELP =
  "Task graph. Arrow keys go from task to task, Enter opens a group, plus and minus zoom, 0 shows all, " +
  "Shift with arrow keys moves the picture.";

/** Each box's state and done tasks: `states` with `changes` (box, value, box, value, ...) applied. */
function currentStates(count, states, changes) {
  const values = Array.from({ length: count }, (_, box) => states[box] ?? 0);
  for (let index = 0; index + 1 < changes.length; index += 2) {
    if (changes[index] < count) values[changes[index]] = changes[index + 1];
  }
  return values.map((value) => ({ state: STATES[value % STATES.length], done: Math.floor(value / STATES.length) }));
}

/** The numbers of the boxes with a text in their key, as typed or in any case. */
function found(boxes, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  return boxes.flatMap(([key], number) => (key.toLowerCase().includes(wanted) ? [number] : []));
}

/** The box that an arrow key leads to, or -1: left and right along the nearest edge, up and down in the column. */
function neighbour({ boxes, inputs }, from, key) {
  const [x, y] = boxes[from].slice(3, 5);
  const where = (test) => boxes.flatMap((box, number) => (test(box[3], box[4], number) ? [number] : []));
  const orElse = (numbers, test) => (numbers.length ? numbers : where(test));
  const choices = {
    ArrowLeft: () => orElse(inputs[from], (left) => left < x),
    ArrowRight: () => orElse(where((_, __, number) => inputs[number].includes(from)), (left) => left > x),
    ArrowUp: () => where((left, top) => left === x && top < y),
    ArrowDown: () => where((left, top) => left === x && top > y),
  };
  const distance = (number) => Math.hypot(boxes[number][3] - x, boxes[number][4] - y);
  return choices[key]().reduce((best, number) => (best < 0 || distance(number) < distance(best) ? number : best), -1);
}

/** Where a tip of a size stands beside a box, in a window of a size. */
function tipPlace(box, width, height, windowWidth, windowHeight) {
  const below = box.bottom + 4;
  const above = box.top - height - 4;
  return {
    left: Math.max(0, Math.min(box.left, windowWidth - width - 4)),
    top: below + height > windowHeight && above >= 0 ? above : below,
  };
}

function addButton(parent, text, label, onClick) {
  const button = element("button", "taskloom-control taskloom-graph-button", parent);
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
  choices.setAttribute("aria-label", "Which graph");
  const tools = element("span", "taskloom-graph-tools", bar);
  const hits = element("span", "taskloom-graph-hits", tools);
  hits.setAttribute("role", "status");
  const search = element("input", "taskloom-control taskloom-graph-search", tools);
  search.type = "search";
  search.placeholder = "Find a key";
  search.setAttribute("aria-label", "Find tasks by key; Enter goes to the next, Shift and Enter to the one before");
  const failure = element("div", "taskloom-graph-failure", root);
  failure.setAttribute("role", "alert");
  const frame = element("div", "taskloom-viewport taskloom-graph-frame", root);
  frame.tabIndex = -1; // a box in it can be reached instead
  frame.setAttribute("role", "application");
  frame.setAttribute("aria-label", HELP);
  const svg = shape("svg", { width: "100%", height: "100%" }, frame);
  const stage = shape("g", {}, svg);
  const empty = element("div", "taskloom-graph-empty", frame);
  const tip = element("div", "taskloom-graph-tip", root);
  tip.setAttribute("aria-hidden", "true"); // it is said instead
  tip.popover = "manual"; // above the page: a cell with a low graph would cut it off
  tip.hidden = true;
  const said = element("div", "taskloom-graph-said", root);
  said.setAttribute("role", "status");
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
  return { root, caption, choices, tools, hits, search, failure, frame, stage, empty, tip, said, legend, critical, hint };
}

/** Draws a diagram's boxes and edges anew. Gives what changes later. */
function drawDiagram(stage, diagram) {
  stage.replaceChildren();
  const [width, height] = diagram.box;
  shape("path", { class: "taskloom-edges", d: diagram.edges }, stage);
  const chain = shape("path", { class: "taskloom-chain", d: "" }, stage);
  const boxes = diagram.boxes.map(([key, label, color, x, y, total, group], number) => {
    const role = group ? "button" : "img";
    const attributes = { class: "taskloom-node", "data-key": key, "data-state": "", "data-box": number, role, tabindex: -1 };
    const node = shape("g", attributes, stage);
    shape("rect", { class: "taskloom-box", x, y, width, height, rx: 5 }, node);
    const fill = group ? shape("rect", { class: "taskloom-fill", x, y, width: 0, height, rx: 5 }, node) : null;
    shape("rect", { x: x + 4, y: y + 4, width: 4, height: height - 8, rx: 2, fill: color }, node);
    shape("text", { x: x + 14, y: y + height / 2 }, node).textContent = label;
    const place = { class: "taskloom-count", x: x + width - 8, y: y + height / 2 };
    const count = group ? shape("text", place, node) : null;
    return { node, fill, count, key, total, width };
  });
  return { chain, boxes };
}

function recolor(drawn, values) {
  drawn.boxes.forEach(({ node, fill, count, key, total, width }, number) => {
    const { state, done } = values[number];
    const figures = `${done.toLocaleString("en")}/${total.toLocaleString("en")}`;
    const isNew = node.dataset.state !== state;
    if (isNew) node.dataset.state = state;
    if (!count) {
      if (isNew) node.setAttribute("aria-label", `${key}, ${state}`);
    } else if (isNew || count.textContent !== figures) {
      count.textContent = figures;
      fill.setAttribute("width", String(done < total ? (width * done) / total : 0));
      node.setAttribute("aria-label", `${key}, group, ${figures} tasks done, ${state}`);
    }
  });
}

/** What is known of the box that a person points at or has gone to. */
class Tip {
  constructor({ tip, said }) {
    this.tip = tip;
    this.said = said;
    this.hasStates = false;
    this.hide();
    window.addEventListener("scroll", this.place, { capture: true, passive: true });
  }
  close() {
    window.removeEventListener("scroll", this.place, { capture: true });
  }
  hide() {
    this.box = -1;
    this.node = null;
    this.tip.hidden = true;
    if (this.tip.isConnected) this.tip.togglePopover?.(false); // it throws before and after
    this.said.textContent = "";
  }
  /** Points at a box; `aloud` for those who do not see it. */
  point(box, node, aloud) {
    this.box = box;
    this.node = node;
    this.aloud = aloud;
    this.show([node.dataset.key]);
  }
  show(lines) {
    const all = this.hasStates ? [...lines, this.node.dataset.state] : lines;
    matchChildren(this.tip, all, (parent) => element("div", "", parent), setText);
    if (this.aloud && lines.length > 1) this.said.textContent = lines.slice(1).join(", ");
    this.tip.hidden = false;
    if (this.tip.isConnected) this.tip.togglePopover?.(true);
    this.place();
  }
  /** Below the box, or above it where there is no room. */
  place = () => {
    if (!this.node) return;
    const { tip } = this;
    const box = this.node.getBoundingClientRect();
    const { left, top } = tipPlace(box, tip.offsetWidth, tip.offsetHeight, window.innerWidth, window.innerHeight);
    tip.style.left = `${left}px`;
    tip.style.top = `${top}px`;
  };
}

function render({ model, el }) {
  const parts = build(el);
  const { root, frame, stage, search } = parts;
  const viewport = new Viewport(frame, stage);
  const tip = new Tip(parts);
  let selected = 0;
  let diagram = null;
  let drawn = null;
  let current = 0; // the box that Tab leads to
  let hits = [];
  let hit = -1; // which of the hits the view has gone to
  let finding = false; // the kernel looks into groups

  const toKernel = (message) => ask(model, { diagram: selected, ...message });
  const boxOf = (target) => {
    const node = target.closest?.(".taskloom-node");
    return node ? Number(node.dataset.box) : -1;
  };
  const place = (number) => {
    const [x, y] = diagram.boxes[number].slice(3, 5);
    return { x, y, width: diagram.box[0], height: diagram.box[1] };
  };
  const showHint = (byKeyboard) => {
    const groups = diagram?.boxes.some((box) => box[6]);
    setText(parts.hint, byKeyboard ? KEYS : groups ? "Click a group to open it" : "");
  };
  const open = (number) => {
    const group = diagram.boxes[number]?.[6];
    if (group) toKernel({ type: "open", group });
  };
  const setCurrent = (number) => {
    drawn.boxes[current]?.node.setAttribute("tabindex", "-1");
    current = number;
    drawn.boxes[current]?.node.setAttribute("tabindex", "0");
  };
  const focusOn = (number) => {
    drawn.boxes[number]?.node.focus({ preventScroll: true });
  };
  const point = (number, aloud) => {
    if (number < 0) return tip.hide();
    if (number === tip.box) return;
    tip.point(number, drawn.boxes[number].node, aloud);
    toKernel({ type: "tip", box: number });
  };

  const addChoice = (text, what, type) => addButton(parts.tools, text, `${text}: ${what}`, () => toKernel({ type }));
  const collapse = addChoice("Collapse", "one box for each group of tasks", "collapse");
  const expand = addChoice("Expand", "one box for each task", "expand");
  addButton(parts.tools, "−", "Zoom out", () => viewport.zoomOut());
  addButton(parts.tools, "+", "Zoom in", () => viewport.zoomIn());
  addButton(parts.tools, "Fit", "Show the whole graph", () => viewport.fit());
  const removeStop = addStopButton(model, parts.tools);
  const removeLoss = noteLoss(model, parts.root);

  const markHits = () => {
    const wanted = Boolean(search.value.trim());
    hits = wanted ? found(diagram.boxes, search.value) : [];
    hit = -1;
    root.classList.toggle("taskloom-searching", hits.length > 0);
    const isHit = new Set(hits);
    drawn.boxes.forEach(({ node }, number) => node.classList.toggle("taskloom-found", isHit.has(number)));
    const closed = diagram.boxes.some((box) => box[6]);
    parts.hits.textContent = !wanted ? "" : hits.length ? `${hits.length} found` : closed ? "Enter looks into groups" : NO_HIT;
  };
  const goToHit = (step) => {
    hit = (hit < 0 && step < 0 ? hits.length - 1 : hit + step + hits.length) % hits.length;
    parts.hits.textContent = `${hit + 1} of ${hits.length}`;
    setCurrent(hits[hit]);
    viewport.goTo(place(hits[hit]));
    point(hits[hit], true);
  };
  search.addEventListener("input", () => diagram && markHits());
  search.addEventListener("blur", () => tip.hide());
  const searchKeys = takeKeys(search, ({ key, shiftKey }) => {
    if (key === "Escape") tip.hide();
    if (key !== "Enter") return false;
    if (!diagram || !search.value.trim()) return true;
    if (hits.length) {
      goToHit(shiftKey ? -1 : 1);
    } else {
      finding = diagram.boxes.some((box) => box[6]) && toKernel({ type: "find", text: search.value.trim() });
      parts.hits.textContent = finding ? "looking…" : NO_HIT;
    }
    return true;
  });

  viewport.onPress = (target) => open(boxOf(target));
  viewport.onDrag = () => tip.hide();
  frame.addEventListener("pointermove", ({ target }) => !viewport.dragging && point(boxOf(target), false));
  frame.addEventListener("pointerleave", () => tip.hide());

  frame.addEventListener("focusin", (event) => {
    const number = boxOf(event.target);
    if (number < 0) return;
    setCurrent(number);
    if (!event.target.matches(":focus-visible")) return; // gone to by pointer: it is in sight
    viewport.reveal(place(number));
    point(number, true);
    showHint(true);
  });
  frame.addEventListener("focusout", () => {
    tip.hide();
    showHint(false);
  });
  const frameKeys = takeKeys(frame, (event) => {
    const { key, shiftKey, target } = event;
    if (!diagram?.boxes.length) return false;
    if (key === "Enter" || key === " ") open(boxOf(target));
    else if (key === "Escape") tip.hide();
    else if (key.startsWith("Arrow") && !shiftKey) focusOn(boxOf(target) < 0 ? current : neighbour(diagram, current, key));
    else return viewport.takeKey(key);
    return true;
  });

  const receive = (message) => {
    if (message.diagram !== selected) return;
    if (message.type === "tip" && message.box === tip.box) tip.show(message.lines);
    if (message.type === "found" && finding) {
      finding = false;
      parts.hits.textContent = message.note;
    }
  };
  model.on("msg:custom", receive);

  /** Puts another diagram in the place of the one that is shown. Who was on a box goes to the first one that is new:
      the first of the group that was opened. */
  const change = (next) => {
    const hadFocus = frame.contains(document.activeElement) || [collapse, expand].includes(document.activeElement);
    const before = new Set(diagram?.boxes.map(([key]) => key));
    const key = diagram?.boxes[current]?.[0];
    diagram = next;
    tip.hide();
    drawn = drawDiagram(stage, diagram);
    const fresh = diagram.boxes.flatMap(([key, , , x, y], number) => (before.has(key) ? [] : [{ number, x, y }]));
    const [first] = fresh.sort((one, other) => one.x - other.x || one.y - other.y);
    current = first ? first.number : Math.max(0, diagram.boxes.findIndex((box) => box[0] === key));
    setCurrent(current);
    collapse.hidden = !diagram.can_collapse;
    expand.hidden = !diagram.can_expand;
    showHint(false);
    setText(parts.empty, diagram.boxes.length ? "" : "The graph is empty: there is no task in it.");
    viewport.fit(diagram.size);
    markHits();
    if (hadFocus) focusOn(current);
    if (finding && hits.length) {
      finding = false;
      goToHit(1);
    }
  };

  const update = () => {
    const diagrams = model.get("diagrams");
    const hasRun = Boolean(model.get("caption"));
    tip.hasStates = hasRun;
    const { tasks = 0, unit = "tasks" } = diagrams[selected] ?? {};
    setText(parts.caption, model.get("caption") || `${tasks.toLocaleString("en")} ${unit} · not run`);
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
    if (shown && shown !== diagram) change(shown);
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
  return () => {
    removeStop();
    removeLoss();
    unfollow();
    searchKeys();
    frameKeys();
    viewport.close();
    tip.hide();
    tip.close();
    model.off("msg:custom", receive);
  };
}

export default { initialize, render };
