// A window on a drawing in SVG, in which a person moves and zooms it by pointer, wheel and keys.

const SVG = "http" + ":" + "//www.w3.org/2000/svg";
const ZOOM = { least: 0.05, most: 3, step: 1.25, readable: 0.8 };
const HEIGHT = { least: 60, ofLarge: 240, most: 460 }; // pixels; a drawing that is shown at half its size or less is large
const STEPS = { ArrowLeft: [50, 0], ArrowRight: [-50, 0], ArrowUp: [0, 50], ArrowDown: [0, -50] };

function shape(tag, attributes, parent) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

/** The view after zooming by `factor` around a point of the window, which stays where it is. */
function zoomed(view, factor, x, y) {
  const least = Math.min(ZOOM.least, view.scale); // a large drawing as a whole may be smaller
  const scale = Math.min(ZOOM.most, Math.max(least, view.scale * factor));
  const ratio = scale / view.scale;
  return { scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio };
}

/** The height of a window of this width for a drawing. */
function heightFor([width, height], windowWidth) {
  const scale = Math.min(1, windowWidth / width);
  const least = scale > 0.5 ? HEIGHT.least : HEIGHT.ofLarge;
  return Math.round(Math.min(HEIGHT.most, Math.max(least, height * scale)));
}

/** The view in which a whole drawing fills the window; small drawings keep their size. */
function fitted([width, height], windowWidth, windowHeight) {
  const scale = Math.min(1, windowWidth / width, windowHeight / height);
  return { scale, x: Math.max(0, (windowWidth - width * scale) / 2), y: Math.max(0, (windowHeight - height * scale) / 2) };
}

/** The view moved as little as it takes to have a box, with some room around it, inside the window. */
function revealed(view, { x, y, width, height }, windowWidth, windowHeight) {
  const shift = (start, length, room) => Math.max(0, 12 - start) || Math.min(0, room - 12 - start - length);
  const { scale } = view;
  return {
    scale,
    x: view.x + shift(view.x + x * scale, width * scale, windowWidth),
    y: view.y + shift(view.y + y * scale, height * scale, windowHeight),
  };
}

/** Calls `handle` for keys pressed inside a node, and keeps those that it takes from the page. At the window, because
    JupyterLab looks for its shortcuts at the document, before a key arrives. Gives the function that ends this. */
function takeKeys(node, handle) {
  const listen = (event) => {
    if (!node.contains(event.target) || event.ctrlKey || event.metaKey || event.altKey || !handle(event)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  window.addEventListener("keydown", listen, true);
  return () => window.removeEventListener("keydown", listen, true);
}

class Viewport {
  onPress = () => {}; // called with the element that was pressed, when it was not dragged
  onDrag = () => {};
  dragging = false;
  size = [1, 1];
  view = { scale: 1, x: 0, y: 0 };
  fits = true; // until a person moves the view

  constructor(frame, stage) {
    this.frame = frame;
    this.stage = stage;
    this.press = null;
    frame.addEventListener("pointerdown", (event) => {
      if (event.button === 0) this.press = { x: event.clientX, y: event.clientY, view: this.view, target: event.target };
    });
    window.addEventListener("pointermove", this.drag);
    window.addEventListener("pointerup", this.release);
    frame.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
        event.preventDefault();
        const { left, top } = frame.getBoundingClientRect();
        this.zoom(Math.exp(-event.deltaY / 300), event.clientX - left, event.clientY - top);
      },
      { passive: false },
    );
    this.resized = new ResizeObserver(() => this.fits && this.fit());
    this.resized.observe(frame);
  }
  close() {
    this.resized.disconnect();
    window.removeEventListener("pointermove", this.drag);
    window.removeEventListener("pointerup", this.release);
  }
  drag = (event) => {
    if (!this.press) return;
    const way = [event.clientX - this.press.x, event.clientY - this.press.y];
    if (!this.dragging && Math.hypot(...way) < 4) return;
    this.dragging = true;
    this.onDrag();
    this.moveBy(way, this.press.view);
  };
  release = () => {
    if (this.press && !this.dragging) this.onPress(this.press.target);
    this.press = null;
    this.dragging = false;
  };
  /** Does what a key stands for, and says whether it stands for anything. */
  takeKey(key) {
    if (key in STEPS) this.moveBy(STEPS[key]);
    else if (key === "+" || key === "=") this.zoomIn();
    else if (key === "-") this.zoomOut();
    else if (key === "0") this.fit();
    else return false;
    return true;
  }
  get middle() {
    return [this.frame.clientWidth / 2, this.frame.clientHeight / 2];
  }
  set(view) {
    this.view = view;
    this.stage.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
  }
  moveTo(view) {
    this.fits = false;
    this.set(view);
  }
  moveBy([dx, dy], from = this.view) {
    this.moveTo({ ...from, x: from.x + dx, y: from.y + dy });
  }
  zoom(factor, x = this.middle[0], y = this.middle[1]) {
    this.moveTo(zoomed(this.view, factor, x, y));
  }
  zoomIn() {
    this.zoom(ZOOM.step);
  }
  zoomOut() {
    this.zoom(1 / ZOOM.step);
  }
  /** Shows a drawing of this size whole. */
  fit(size = this.size) {
    this.size = size;
    this.fits = true;
    const width = this.frame.clientWidth;
    if (!width) return;
    this.frame.style.height = `${heightFor(size, width)}px`;
    this.set(fitted(size, width, this.frame.clientHeight));
  }
  /** Brings a box into the window. */
  reveal(box) {
    const next = revealed(this.view, box, this.frame.clientWidth, this.frame.clientHeight);
    if (next.x !== this.view.x || next.y !== this.view.y) this.moveTo(next);
  }
  /** Brings a box to the middle of the window, large enough to read. */
  goTo({ x, y, width, height }) {
    const scale = Math.max(this.view.scale, ZOOM.readable);
    const [middle, level] = this.middle;
    this.moveTo({ scale, x: middle - (x + width / 2) * scale, y: level - (y + height / 2) * scale });
  }
}
