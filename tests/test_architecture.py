"""Arrows point down, without an exception: app -> explain.cli -> explain.page -> explain.tabs ->
explain.server -> explain -> detector, and inside detector release -> benchmark -> training ->
forgery -> the core. Nothing goes in a circle. A name with an underscore stays in its module, and
functions and files stay short.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# room -> the rooms right below it; a module may import modules of its own room and of every room
# that is reached from there. A module belongs to the room with the longest name that fits.
BELOW: dict[str, tuple[str, ...]] = {
    "app": ("explain.cli",),
    "explain.cli": ("explain.page",),
    "explain.page": ("explain.tabs",),
    "explain.tabs": ("explain.server",),
    "explain.server": ("explain.lab",),
    "explain.lab": ("explain",),
    "explain": ("detector.forgery",),
    "detector.release": ("detector.benchmark",),
    "detector.benchmark": ("detector.training",),
    "detector.training": ("detector.forgery",),
    "detector.forgery": ("detector",),
    "detector": (),
}
# Third-party packages with one door each.
DOORS = {
    "gradio": {"explain.page", "explain.server", "explain.tabs"},
    "facenet_pytorch": {"detector.nets"},
    "av": {"detector.media", "detector.decoding", "detector.degrade", "explain.speed"},
}
MAX_FUNCTION_LINES = 50
MAX_FILE_LINES = 450
# Names with an underscore that other people's packages leave no way around.
THEIRS = {"_exit", "_is_mkldnn_bf16_supported"}


def sources() -> list[Path]:
    """Every Python file of the repository, tests included."""
    folders = ("detector", "explain", "docs", "tests")
    return [ROOT / "app.py", *(path for name in folders for path in ROOT.glob(f"{name}/**/*.py"))]


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


def arrows(found: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Module -> the modules among `found` that it imports, at its top or inside a function."""
    graph = {}
    for name, tree in found.items():
        used = {i for i in imports(tree) if i in found and i != name}
        # `from package import module` needs the module; what is in the package's own file is its
        # own business
        graph[name] = {u for u in used if not any(other.startswith(u + ".") for other in used)}
    return graph


def room(name: str) -> str | None:
    return max((r for r in BELOW if name == r or name.startswith(r + ".")), key=len, default=None)


def reached(here: str) -> set[str]:
    """A room and all the rooms below it."""
    return {here}.union(*(reached(below) for below in BELOW[here]))


def upward(found: dict[str, ast.Module]) -> list[str]:
    strays = []
    for name, tree in found.items():
        here = room(name)
        assert here is not None, name
        strays += [
            f"{name} imports {used}"
            for used in sorted(imports(tree))
            if (there := room(used)) is not None and there not in reached(here)
        ]
    return strays


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The names along a circle of the graph, none where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        return list(err.args[1])
    return []


def test_arrows_point_down() -> None:
    assert upward(modules()) == []


def test_rooms_do_not_stand_in_a_circle() -> None:
    between: dict[str, set[str]] = {name: set() for name in BELOW}
    for name, used in arrows(modules()).items():
        between[room(name) or name] |= {room(u) or u for u in used} - {room(name)}
    assert circle(between) == []


def test_modules_do_not_stand_in_a_circle() -> None:
    assert circle(arrows(modules())) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("detector.pipeline", "from detector.training import train"),
        ("detector.training.shipped.train", "from detector.benchmark.accuracy import DEGRADATIONS"),
        ("detector.training.shipped.train", "from detector.release import ship"),
        ("detector.forgery.pairs", "import detector.training.shipped.stream"),
        ("explain.cam", "from detector.training.shipped.train import train"),
        ("explain.speed.stages", "from detector.benchmark import accuracy"),
        ("explain.server.service", "from explain.tabs import cards"),
        ("explain.tabs.analyse", "def late():\n    import app"),
    ],
)
def test_a_forbidden_arrow_is_seen(module: str, line: str) -> None:
    assert upward({module: ast.parse(line)}) != []


def test_a_circle_is_seen() -> None:
    lines = {
        "detector.a": "from detector import b",
        "detector.b": "def late():\n    from detector.c import x",
        "detector.c": "import detector.a",
    }
    graph = arrows({name: ast.parse(line) for name, line in lines.items()})
    assert set(circle(graph)) == set(lines)
    assert circle(graph | {"detector.c": set()}) == []


def test_third_party_doors() -> None:
    strays = []
    for name, tree in modules().items():
        for package, doors in DOORS.items():
            used = any(i == package or i.startswith(package + ".") for i in imports(tree))
            if used and not any(name == d or name.startswith(d + ".") for d in doors):
                strays.append(f"{name} imports {package}")
    assert strays == []


def long_functions(tree: ast.Module) -> list[str]:
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]


def test_functions_and_files_are_short() -> None:
    strays = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > MAX_FILE_LINES:
            strays.append(path.name)
        strays += [f"{path.name}: {name}" for name in long_functions(ast.parse(text))]
    assert strays == []


def test_a_long_function_is_seen() -> None:
    body = "    pass\n" * 49
    assert long_functions(ast.parse(f"def fifty():\n{body}")) == []
    assert long_functions(ast.parse(f"def longer():\n{body}    pass\n")) == ["longer"]


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def borrowed(tree: ast.Module) -> set[str]:
    """The private names that a module uses and does not define itself."""
    used: set[str] = set()
    own: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute):
            of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            (own if of_self else used).add(node.attr)
    return {name for name in used - own if private(name)} - THEIRS


def test_private_names_stay_in_their_module() -> None:
    assert {name: strays for name, tree in modules().items() if (strays := borrowed(tree))} == {}


@pytest.mark.parametrize(
    "line", ["from detector.faces import _crop", "detector._judge_together(tracks)"]
)
def test_a_borrowed_private_name_is_seen(line: str) -> None:
    assert borrowed(ast.parse(line)) != set()
    assert borrowed(ast.parse("class A:\n    def _b(self):\n        return self._b()")) == set()
