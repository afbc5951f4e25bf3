// A stand-in for the page and the kernel's side of a widget: just what the widgets use of them.

import { readFile } from "node:fs/promises";

export const ID = "c0ffee"; // of a model's output

export class FakeElement {
  children = [];
  attributes = {};
  listeners = {};
  style = {};
  dataset = {};
  className = "";
  hidden = false;
  disabled = false;
  textContent = "";
  parent = null;

  append(child) {
    child.parent = this;
    this.children.push(child);
  }
  remove() {
    this.parent.children = this.parent.children.filter((child) => child !== this);
  }
  get lastElementChild() {
    return this.children.at(-1);
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
  addEventListener(kind, listener) {
    this.listeners[kind] = listener;
  }
  click() {
    if (!this.disabled) this.listeners.click();
  }
  find(className) {
    if (this.className.split(" ").includes(className)) return this;
    for (const child of this.children) {
      const found = child.find(className);
      if (found) return found;
    }
    return null;
  }
}

export class FakeModel {
  sent = [];
  listeners = new Map();
  interrupts = 0;

  constructor(traits, notebook) {
    this.traits = { output_id: ID, live: true, running: true, stopping: false, picture: { "text/html": "half" }, ...traits };
    const kernel = { interrupt: async () => void this.interrupts++ };
    this.widget_manager = { context: { sessionContext: { session: { kernel } }, model: notebook } };
  }
  get(name) {
    return this.traits[name];
  }
  on(event, listener) {
    this.listeners.set(listener, event);
  }
  off(event, listener) {
    this.listeners.delete(listener);
  }
  send(content) {
    this.sent.push(content);
  }
  change(traits) {
    Object.assign(this.traits, traits);
    this.tell("change");
  }
  tell(event) {
    for (const [listener, awaited] of this.listeners) if (awaited === event) listener();
  }
}

/** JupyterLab's model of a notebook with one cell, which a widget's output and a printed line are in. */
export class FakeNotebook {
  constructor(data, metadata = {}) {
    const outputs = [
      { output_type: "display_data", data, metadata },
      { output_type: "stream", text: "hello" },
    ];
    outputs.get = (index) => outputs[index];
    outputs.set = (index, output) => void (outputs[index] = output);
    this.cells = [{}, { outputs }];
  }
  get output() {
    return this.cells[1].outputs[0];
  }
  toJSON() {
    return { metadata: {}, cells: [{ source: "# title" }, { outputs: [...this.cells[1].outputs] }] };
  }
}

globalThis.document = { createElement: () => new FakeElement() };

/** The source of a widget as the kernel sends it: with what all share in front. */
export async function sourceOf(...names) {
  const read = (folder) => readFile(new URL(`${folder}/${folder}.js`, import.meta.url), "utf8");
  const parts = await Promise.all([...new Set(["live", ...names])].map(read));
  return parts.join("\n");
}

/** What a script exports. */
export async function load(source) {
  return import(`data:text/javascript;base64,${Buffer.from(source).toString("base64")}`);
}
