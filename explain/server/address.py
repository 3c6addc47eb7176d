"""The page's address, kept in step with what is open."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

# Sets or, with null, removes parts of the address without loading anything. Not before what the
# address names was opened: Gradio "selects" its first tab while the page is being built.
# A deal of cards is dealt as soon as it was named.
OPENED_JS = """() => {
  window.lensOpened = true;
  const query = new URL(location).searchParams;
  if (query.get('deal') === null) return;
  const deal = setInterval(() => {  // the lesson is still being opened
    const button = document.querySelector('#lens-guess-go');
    if (!button || !button.checkVisibility()) return;
    clearInterval(deal);
    button.click();
  }, 200);
}"""
_PUT_JS = """
  const address = new URL(location);
  for (const [name, value] of Object.entries(parts))
    value === null ? address.searchParams.delete(name) : address.searchParams.set(name, value);
  history.replaceState(history.state, '', address);
}"""
ADDRESS_JS = (
    """(...values) => {
  if (!window.lensOpened) return;
  const [parts, names] = %s;
  names.forEach((name, i) => {  // a file is named without its ending
    parts[name] = values[i] === null ? null : String(values[i]).replace(/\\.(png|jpg|mp4)$/, '');
  });"""
    + _PUT_JS
)
# A tab's event may come late, when another one was chosen while the first was being built: the
# address names the one that is seen.
TAB_JS = (
    """async () => {
  if (!window.lensOpened) return;
  await new Promise(done => setTimeout(done));  // the page marks the tab after the click
  const tab = document.querySelector('button[role=tab][aria-selected=true]').dataset.tabId;
  const parts = {...%s[tab], tab};"""
    + _PUT_JS
)


def address_js(*values: str, **parts: str | None) -> str:
    """JavaScript that puts these parts into the page's address; None takes one out. values: names
    of parts that are given the listener's inputs, in their order.
    """
    return ADDRESS_JS % json.dumps([parts, values])


def tab_js(left_out: Mapping[str, Collection[str]]) -> str:
    """JavaScript that puts the chosen tab's name into the page's address. left_out: for each tab,
    the parts of other tabs, which are taken out.
    """
    return TAB_JS % json.dumps({tab: dict.fromkeys(parts) for tab, parts in left_out.items()})
