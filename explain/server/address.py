"""The page's address, kept in step with what is open."""

from __future__ import annotations

import json

# Sets or, with null, removes parts of the address without loading anything. Not before what the
# address names was opened: Gradio "selects" its first tab while the page is being built.
OPENED_JS = "() => { window.lensOpened = true; }"
ADDRESS_JS = """() => {
  if (!window.lensOpened) return;
  const address = new URL(location);
  for (const [name, value] of Object.entries(%s))
    value === null ? address.searchParams.delete(name) : address.searchParams.set(name, value);
  history.replaceState(history.state, '', address);
}"""


def address_js(**parts: str | None) -> str:
    """JavaScript that puts these parts into the page's address; None takes one out."""
    return ADDRESS_JS % json.dumps(parts)
