"""The page, one file per tab: `build(service)` lays a tab out inside the current gr.Blocks and
wires it.
"""
