"""Addresses of parts of the page, as ?tab=learn&lesson=3 or ?example=hopper_clip_forged: opened
as they say and kept up to date, so that a reload or a link shows the same place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from explain.server.address import OPENED_JS, address_js
from explain.server.language import PARAMETER
from explain.server.ready import example_named
from explain.server.service import Service
from explain.server.widgets import QUIET
from explain.tabs import glossary
from explain.texts import LANGUAGES

OFF, ON = "For a projector: big type", "Normal type"  # where the link leads to
PROJECTOR = f'<a id="lens-projector" href="?projector=1" data-off="{OFF}" data-on="{ON}">{OFF}</a>'
# The link turns it on and off, and keeps the rest of the address as it is when it is clicked.
PROJECTOR_JS = """() => {
  const link = document.getElementById('lens-projector'), name = 'lens-projector-mode';
  const show = on => {
    document.body.classList.toggle(name, on);
    link.textContent = on ? link.dataset.on : link.dataset.off;
  };
  show(new URL(location).searchParams.get('projector') === '1');
  link.onclick = event => {
    event.preventDefault();
    const on = !document.body.classList.contains(name), address = new URL(location);
    if (on) address.searchParams.set('projector', '1');
    else address.searchParams.delete('projector');
    history.replaceState(history.state, '', address);
    show(on);
  };
}"""

# The page in another language, at the same place.
LANGUAGES_JS = """() => {
  for (const link of document.querySelectorAll('.lens-languages a')) {
    if (document.documentElement.lang.startsWith(link.lang)) link.ariaCurrent = 'true';
    link.onclick = event => {
      event.preventDefault();
      const address = new URL(location), named = new URL(link.href);
      address.searchParams.set('lang', named.searchParams.get('lang'));
      location.assign(address);
    };
  }
}"""


def languages() -> str:
    """A link for each language, called as its readers call it."""
    offered = " ".join(
        f'<a href="?{PARAMETER}={name}" lang="{name}" hreflang="{name}">{own}</a>'
        for name, own in LANGUAGES.items()
    )
    return f'<span class="lens-languages" role="navigation" aria-label="Language">{offered}</span>'


def asked(query: Mapping[str, str], tabs: Sequence[str], lessons: int) -> tuple[str | None, int]:
    """The tab and the lesson (from 1; 0: none) that an address names; what is not there is passed
    over.
    """
    tab, lesson = query.get("tab", ""), query.get("lesson", "")
    number = int(lesson) if lesson.isascii() and lesson.isdecimal() and len(lesson) < 4 else 0
    number = number if 1 <= number <= lessons else 0
    return (tab if tab in tabs else "learn" if number else None), number


def wire(
    page: gr.Blocks,
    service: Service,
    tabs: gr.Tabs,
    by_name: Mapping[str, gr.Tab],
    lessons: Sequence[gr.Accordion],
    file: gr.File,
) -> None:
    """Open what the address names, and have it name what is opened. file: analyses what it gets."""

    def opened(request: gr.Request) -> dict[Any, Any]:
        query = dict(request.query_params)
        tab, lesson = asked(query, list(by_name), len(lessons))
        update: dict[Any, Any] = {tabs: gr.Tabs(selected=tab) if tab else gr.skip()}
        if lesson:
            update[lessons[lesson - 1]] = gr.Accordion(open=True)
        if example := example_named(query.get("example")):
            update[file] = str(service.ready.path(example))
        return update

    opening = page.load(opened, None, [tabs, file, *lessons], queue=False, **QUIET)
    opening.then(None, js=OPENED_JS, **QUIET)
    page.load(None, js=PROJECTOR_JS, **QUIET)
    page.load(None, js=LANGUAGES_JS, **QUIET)
    page.load(None, js=glossary.TIP_JS, **QUIET)
    for name, tab in by_name.items():
        tab.select(None, js=address_js(tab=name, **({} if name == "learn" else {"lesson": None})))
    for number, lesson in enumerate(lessons, 1):
        lesson.expand(None, js=address_js(tab="learn", lesson=str(number)))
        lesson.collapse(None, js=address_js(lesson=None))
