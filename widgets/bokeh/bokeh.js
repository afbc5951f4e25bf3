// A Bokeh document that the kernel changes and the page only shows. The page says once that it is ready; it gets BokehJS
// from the kernel, if it has none, then the document, and from then on patches. What people do here, such as zooming,
// stays here: nothing goes back.

const LIBRARY = Symbol.for("taskloom.bokehjs"); // one copy for all views of a page

/** Runs BokehJS as it came from the kernel, and gives its namespace. */
function loadBokeh(buffer) {
  window[LIBRARY] ??= new Promise((resolve, reject) => {
    const address = URL.createObjectURL(new Blob([buffer], { type: "text/javascript" }));
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => {
      URL.revokeObjectURL(address);
      resolve(window.Bokeh);
    };
    script.onerror = () => reject(new Error("BokehJS could not be run"));
    document.head.append(script);
  });
  return window[LIBRARY];
}

/** Gives all figures the colours of the page. */
function applyTheme(bokehDocument, el) {
  const style = getComputedStyle(el);
  const read = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  const ink = read("--jp-ui-font-color1", style.color);
  const muted = read("--jp-ui-font-color2", style.color);
  const models = new Set();
  for (const root of bokehDocument.all_roots) {
    for (const model of root.references()) models.add(model);
  }
  for (const model of models) {
    if (model.type === "Title") model.text_color = ink;
    else if (model.type === "Legend") model.label_text_color = ink;
    else if (/Axis$/.test(model.type)) {
      model.major_label_text_color = ink;
      model.axis_label_text_color = muted;
    } else if (model.type === "Text") model.text_color = { value: ink };
  }
}

/** Calls `apply` when the notebook changes its theme. Gives the function that ends this. */
function followTheme(apply) {
  const observer = new MutationObserver(() => requestAnimationFrame(apply));
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
  return () => observer.disconnect();
}

/** Bokeh's own way to read a patch: the message's buffers by their ids. */
function readBuffers(ids, buffers) {
  return new Map(ids.map((id, index) => [id, buffers[index].buffer ?? buffers[index]]));
}

/** Shows the document in `el`; gives what applies patches and what takes it away. */
async function showDocument(Bokeh, content, el) {
  const bokehDocument = Bokeh.require("document").Document.from_json(JSON.parse(content.document));
  await Bokeh.require("embed").add_document_standalone(bokehDocument, el, [], false);
  applyTheme(bokehDocument, el);
  const unfollow = followTheme(() => applyTheme(bokehDocument, el));
  return {
    patch: (patch, buffers) => bokehDocument.apply_json_patch(JSON.parse(patch), buffers),
    reset: () => {
      for (const root of bokehDocument.all_roots) {
        for (const part of root.references()) if (part.type === "Figure") part.reset.emit();
      }
    },
    remove: () => {
      unfollow();
      bokehDocument.clear();
    },
  };
}

function render({ model, el }) {
  const root = element("div", "taskloom-live taskloom-dashboard taskloom-dashboard-live", el);
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Dashboard of runs");
  const line = element("div", "taskloom-bokeh-line", root);
  const note = element("span", "taskloom-bokeh-headline", line);
  const page = element("div", "taskloom-bokeh-page", root);
  const removeStop = addStopButton(model, line);
  const removeLoss = noteLoss(model, root);
  setText(note, "Loading…");

  let shown; // a promise of the document
  let run; // the number of the run that is shown
  let gone = false;
  let queue = Promise.resolve(); // messages are handled in the order in which they came
  /** Before the first run the words stand alone: there is nothing to draw. */
  const tell = (content) => {
    run = content.run;
    setText(note, content.headline);
    page.hidden = run === null;
  };
  const handle = async (content, buffers) => {
    if (gone) return;
    if (content.type === "document" && !shown) {
      const Bokeh = content.library ? await loadBokeh(buffers[0]) : await window[LIBRARY];
      if (!Bokeh || gone) return;
      shown = await showDocument(Bokeh, content, page);
      tell(content);
    } else if (content.type === "patch" && shown) {
      shown.patch(content.patch, readBuffers(content.buffers, buffers));
      const isNew = content.run !== run;
      tell(content);
      if (isNew) shown.reset(); // zoomed into the run before, it would show nothing of this one
    }
  };
  const receive = (content, buffers) => {
    queue = queue.then(() => handle(content, buffers)).catch((error) => {
      setText(note, `This view could not be drawn: ${error.message}`);
    });
  };
  model.on("msg:custom", receive);
  ask(model, { type: "ready", library: !window[LIBRARY] });
  return () => {
    gone = true;
    model.off("msg:custom", receive);
    removeStop();
    removeLoss();
    shown?.remove();
  };
}

export default { initialize, render };
