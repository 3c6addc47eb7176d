"""Arrows point down: app -> explain.tabs -> explain.server -> explain -> detector.

Training is never imported by inference.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A module may import modules of its own rank's room and of lower ranks only. Longest prefix counts.
RANK = {
    "detector": 0,
    "detector.training": 1,
    "detector.benchmark": 2,
    "detector.benchmark.speed": 3,  # times the explanations, too
    "detector.benchmark.__main__": 4,
    "detector.training.ship": 3,  # calibrates by measuring
    "explain": 2,
    "explain.lab": 3,
    "explain.benchmark": 3,
    "explain.__main__": 3,
    "explain.server": 4,
    "explain.tabs": 5,
    "app": 6,
}
# Third-party packages with one door each.
DOORS = {
    "gradio": {"app", "explain.server", "explain.tabs"},
    "facenet_pytorch": {"detector.faces", "detector.nets"},
    "av": {"detector.media", "detector.degrade", "detector.benchmark.speed"},
}


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in [ROOT / "app.py", *ROOT.glob("detector/**/*.py"), *ROOT.glob("explain/**/*.py")]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name: str) -> str | None:
    return max((r for r in RANK if name == r or name.startswith(r + ".")), key=len, default=None)


def test_arrows_point_down() -> None:
    upward = []
    for name, tree in modules().items():
        here = room(name)
        assert here is not None, name
        for used in imports(tree):
            there = room(used)
            if there is not None and there != here and RANK[there] >= RANK[here]:
                upward.append(f"{name} imports {used}")
    assert upward == []


def test_a_forbidden_arrow_would_be_seen() -> None:
    assert RANK[room("explain.tabs.analyse")] > RANK[room("detector.pipeline")]
    assert room("detector.training.forge") == "detector.training"
    assert "detector.training.forge" in imports(ast.parse("from detector.training import forge"))


def test_third_party_doors() -> None:
    strays = []
    for name, tree in modules().items():
        for package, doors in DOORS.items():
            used = any(i == package or i.startswith(package + ".") for i in imports(tree))
            if used and not any(name == d or name.startswith(d + ".") for d in doors):
                strays.append(f"{name} imports {package}")
    assert strays == []
