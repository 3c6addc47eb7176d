"""Addresses of parts of the page, as ?tab=learn&lesson=6&deal=17, ?example=hopper_clip_forged or
?tab=compression&face=astronaut_swapped&kind=Blur: opened as they say and kept up to date, so that a
reload or a link shows the same place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from explain.server.address import OPENED_JS, address_js, tab_js
from explain.server.language import PARAMETER
from explain.server.ready import example_named
from explain.server.service import Service
from explain.server.widgets import QUIET
from explain.tabs import glossary, learn
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


@dataclass(frozen=True, eq=False)
class Places:
    """What an address can name."""

    tabs: gr.Tabs
    by_name: Mapping[str, gr.Tab]
    file: gr.File  # analyses what it gets
    lessons: learn.Shown
    labs: Mapping[str, Mapping[str, gr.Dropdown | gr.Radio]]  # tab -> its named settings


def asked(query: Mapping[str, str], tabs: Sequence[str], lessons: int) -> tuple[str | None, int]:
    """The tab and the lesson (from 1; 0: none) that an address names; what is not there is passed
    over.
    """
    tab = query.get("tab", "")
    number = _number(query.get("lesson", ""))
    number = number if 1 <= number <= lessons else 0
    return (tab if tab in tabs else "learn" if number else None), number


def _number(text: str) -> int:
    """What an address names by number, at most six digits; 0 where it names none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0


def setting(name: str, value: str, choices: Sequence[str]) -> str | None:
    """The choice of a lab's setting that an address names, a face by its file's stem."""
    if name == "face":
        example = example_named(value)
        value = "" if example is None else example.name
    return value if value in choices else None


def wire(page: gr.Blocks, service: Service, places: Places) -> None:
    """Open what the address names, and have it name what is opened."""
    folds = places.lessons.folds

    def opened(request: gr.Request) -> dict[Any, Any]:
        query = dict(request.query_params)
        tab, lesson = asked(query, list(places.by_name), len(folds))
        update: dict[Any, Any] = {places.tabs: gr.Tabs(selected=tab) if tab else gr.skip()}
        if lesson:
            update[folds[lesson - 1]] = gr.Accordion(open=True)
        if deal := _number(query.get("deal", "")):
            update[places.lessons.deal] = deal
        if example := example_named(query.get("example")):
            update[places.file] = str(service.ready.path(example))
        for name, lab in places.labs.get(tab or "", {}).items():
            if found := setting(name, query.get(name, ""), _choices(lab)):
                update[lab] = found
        return update

    settings = [lab for own in places.labs.values() for lab in own.values()]
    outputs = [places.tabs, places.file, *folds, places.lessons.deal, *settings]
    opening = page.load(opened, None, outputs, queue=False, **QUIET)
    opening.then(None, js=OPENED_JS, **QUIET)
    page.load(None, js=PROJECTOR_JS, **QUIET)
    page.load(None, js=LANGUAGES_JS, **QUIET)
    page.load(None, js=glossary.TIP_JS, **QUIET)
    _name_what_is_opened(places)


def _choices(lab: gr.Dropdown | gr.Radio) -> list[str]:
    return [str(value) for _, value in lab.choices]


def _name_what_is_opened(places: Places) -> None:
    """Tabs, lessons, labs' settings and deals go into the address as somebody chooses them."""
    parts = {name for own in places.labs.values() for name in own} | {"lesson", "deal"}
    own = {tab: set(lab) for tab, lab in places.labs.items()} | {"learn": {"lesson", "deal"}}
    chosen = tab_js({tab: parts - own.get(tab, set()) for tab in places.by_name})
    for tab in places.by_name.values():
        tab.select(None, js=chosen)
    for settings in places.labs.values():
        for name, lab in settings.items():
            lab.input(None, lab, js=address_js(name))
    for number, lesson in enumerate(places.lessons.folds, 1):
        lesson.expand(None, js=address_js(tab="learn", lesson=str(number)))
        lesson.collapse(None, js=address_js(lesson=None, deal=None))
