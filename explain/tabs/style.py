"""How the page looks: Gradio's calm base theme in system fonts, and a little CSS that follows its light and dark sides."""

from __future__ import annotations

import gradio as gr

_SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # nothing is fetched from elsewhere


def theme() -> gr.themes.Base:
    return gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", font=_SYSTEM, font_mono=("ui-monospace", "Consolas", "monospace")
    )


CSS = """
.gradio-container { max-width: 1280px !important; }
.lens-lead p { font-size: 1.05rem; margin: 0; }
.lens-note, .lens-alert { margin: 0; padding: .6rem .9rem; border-radius: 8px; background: var(--block-background-fill);
  border: 1px solid var(--border-color-primary); }
.lens-alert { border-left: 6px solid #b3540b; font-size: 1.05rem; }
.lens-card { padding: 1rem 1.2rem; border-radius: 10px; background: var(--block-background-fill);
  border: 1px solid var(--border-color-primary); border-left: 8px solid var(--lens, #64748b); }
.lens-forged { --lens: #c2570c; } .lens-authentic { --lens: #5e3c99; } .lens-uncertain { --lens: #64748b; }
.lens-card h2 { display: flex; align-items: center; gap: .6rem; margin: 0 0 .3rem; font-size: 1.7rem; }
.lens-sign { width: 2.2rem; height: 2.2rem; fill: none; stroke: var(--lens, #64748b); stroke-width: 2; stroke-linecap: round;
  stroke-linejoin: round; flex: none; }
.dark .lens-authentic { --lens: #b39ddb; } .dark .lens-forged { --lens: #fb923c; } .dark .lens-uncertain { --lens: #94a3b8; }
.lens-reason { font-size: 1.1rem; margin: .2rem 0 .6rem; }
.lens-small { font-size: .9rem; color: var(--body-text-color-subdued); margin: .4rem 0 0; }
.lens-small b { color: var(--body-text-color); }
.lens-score { margin: 0 0 .35rem; }
.lens-scale { position: relative; display: flex; height: 18px; border: 1px solid var(--body-text-color-subdued);
  border-radius: 4px; }
.lens-scale i { display: block; height: 100%; }
.lens-scale b { position: absolute; top: -5px; height: 26px; width: 4px; margin-left: -2px; background: var(--body-text-color);
  outline: 2px solid var(--block-background-fill); }
.lens-zone-authentic { background: #5e3c9955; }
.lens-zone-unsure, .lens-band { background: radial-gradient(#64748b 1px, transparent 1.5px) 0 0/6px 6px; }
.lens-zone-forged, .lens-interval { background: repeating-linear-gradient(45deg, #e0821499 0 4px, #e0821433 4px 9px); }
.lens-ends { display: flex; justify-content: space-between; gap: .5rem; font-size: .8rem; color: var(--body-text-color-subdued); }
#lens-player video { width: 100%; max-height: 420px; border-radius: 8px; background: #000; }
.lens-timeline { padding: .5rem .6rem .3rem 1.3rem; border-radius: 8px; border: 1px solid var(--border-color-primary);
  background: var(--block-background-fill); cursor: pointer; }
.lens-timeline:focus-visible { outline: 3px solid var(--color-accent); }
.lens-plot { position: relative; height: 150px; border-bottom: 1px solid var(--body-text-color-subdued); }
.lens-similarity { height: 38px; margin-top: 4px; }
.lens-plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.lens-plot polyline { stroke: var(--body-text-color); stroke-width: 2px; }
.lens-similarity polyline { stroke: var(--body-text-color-subdued); stroke-width: 1.5px; }
.lens-y { position: absolute; left: -1rem; font-size: .75rem; line-height: 1; color: var(--body-text-color-subdued); }
.lens-band { position: absolute; left: 0; right: 0; opacity: .8; }
.lens-band span, .lens-interval span { font-size: .75rem; padding: 0 .3rem; color: var(--body-text-color);
  background: var(--block-background-fill); border-radius: 3px; }
.lens-band span { position: absolute; right: 0; bottom: 0; }
.lens-interval { position: absolute; top: 0; bottom: 0; border: solid #c2570c; border-width: 0 2px; overflow: visible;
  text-align: center; }
.lens-interval span { position: absolute; bottom: 2px; left: 50%; transform: translateX(-50%); white-space: nowrap; z-index: 2; }
.lens-dot { position: absolute; width: 8px; height: 8px; margin: 0 0 -4px -4px; border-radius: 50%; background: #6d4bc4;
  border: 1px solid var(--block-background-fill); }
.lens-chosen { position: absolute; top: -4px; bottom: -46px; width: 12px; margin-left: -6px; border: 2px solid var(--color-accent);
  border-radius: 6px; pointer-events: none; z-index: 3; }
.lens-head { position: absolute; top: 0; bottom: -42px; width: 2px; margin-left: -1px; background: #e11d48; left: 0;
  pointer-events: none; z-index: 3; }
.lens-table { overflow-x: auto; } .lens-table table { border-collapse: collapse; width: 100%; }
.lens-table th, .lens-table td { text-align: left; vertical-align: top; padding: .25rem .6rem; font-weight: normal;
  border-bottom: 1px solid var(--border-color-primary); overflow-wrap: anywhere; }
.lens-table thead th, .lens-table th[scope=row] { font-weight: 600; }
@media (max-width: 640px) { .lens-card h2 { font-size: 1.4rem; } .lens-plot { height: 120px; }
  .lens-similarity { height: 38px; } .lens-ends span { font-size: .72rem; } }
"""
