"""The page's address, kept in step with what is open."""

from __future__ import annotations

import json

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
ADDRESS_JS = """(...values) => {
  if (!window.lensOpened) return;
  const address = new URL(location), [parts, names] = %s;
  names.forEach((name, i) => {  // a file is named without its ending
    parts[name] = values[i] === null ? null : String(values[i]).replace(/\\.(png|jpg|mp4)$/, '');
  });
  for (const [name, value] of Object.entries(parts))
    value === null ? address.searchParams.delete(name) : address.searchParams.set(name, value);
  history.replaceState(history.state, '', address);
}"""


def address_js(*values: str, **parts: str | None) -> str:
    """JavaScript that puts these parts into the page's address; None takes one out. values: names
    of parts that are given the listener's inputs, in their order.
    """
    return ADDRESS_JS % json.dumps([parts, values])
