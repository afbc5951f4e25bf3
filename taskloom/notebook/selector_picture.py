"""A selector without its widget: as text for terminals, and as HTML that stays in a saved notebook."""

from __future__ import annotations

from html import escape

from taskloom.notebook.selector import EngineChoice, SelectorState

HINT = "%scheduler NAME num_workers=4 changes it, %scheduler undo takes it back, %scheduler? says which is for what."
_NOTE = "A call's own scheduler= comes before it."


def selector_text(state: SelectorState) -> str:
    """Draw a selector as lines of text."""
    width = max(len(engine["name"]) for engine in state["engines"])
    lines = [in_force_text(state), ""]
    lines += [f"  {_mark(engine, state)} {engine['name']:{width}}  {_sentence(engine)}" for engine in state["engines"]]
    if state["settings"]:
        lines.append("")
    lines += [
        f"  {field['label']}: {field['value'] or field['automatic']}, from {field['source']}"
        for field in state["settings"]
    ]
    return "\n".join([*lines, "", HINT])


def in_force_text(state: SelectorState) -> str:
    """Say in one line what is in force, and who said so."""
    return f"Scheduler: {state['force_text']} (from {state['source_text']}). {_NOTE}"


def selector_html(state: SelectorState) -> str:
    """Draw a selector as HTML that needs neither script nor style sheet, and is safe whatever was chosen."""
    rows = "".join(
        f"<div style='{_ROW}{_FADED if engine['reason'] else ''}'>"
        f"<span style='{_MARK}'>{_mark(engine, state)}</span><b style='{_NAME}'>{escape(engine['name'])}</b> "
        f"<span style='{_MUTED}{_REST}'>{escape(_sentence(engine))}</span></div>"
        for engine in state["engines"]
    )
    return (
        f"<div class='taskloom-scheduler' style='{_ROOT}'><div><b>Scheduler</b> {escape(state['force_text'])} "
        f"<span style='{_MUTED}'>from {escape(state['source_text'])}</span></div>{rows}"
        f"<div style='{_MUTED}font-size:12px;'>As it was when this was saved: run %scheduler to choose.</div></div>"
    )


_ROOT = "font-size:13px;line-height:20px;padding:2px 0;"
_ROW = "padding:1px 0;display:flex;"
_MARK = "display:inline-block;flex:0 0 18px;"
_NAME = "display:inline-block;flex:0 0 84px;"
_REST = "flex:1 1 0;min-width:0;"
_MUTED = "opacity:0.7;"
_FADED = "opacity:0.55;"


def _mark(engine: EngineChoice, state: SelectorState) -> str:
    return "●" if engine["name"] == state["chosen"] else "×" if engine["reason"] else "○"


def _sentence(engine: EngineChoice) -> str:
    if engine["reason"]:
        return f"Not available: {engine['reason']}"
    return f"{engine['summary']} {engine['cost']}".strip()
