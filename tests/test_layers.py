"""The shape of the code: one-way imports, a core install that suffices, small files."""

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "aih_builder"

# A module may import from its own layer and from those before it.
LAYERS = (
    "errors",
    "paths",
    "files",
    "pickles",
    "webpage",
    "parallel",
    "rng",
    "compiled",
    "geometry",
    "imaging",
    "pixels",
    "identity",
    "sample",
    "tables",
    "forearm_region",
    "invariants",
    "config",
    "cluster",
    "hands",
    "drawing",
    "sources",
    "synth",
    "shards",
    "doctor",
    "interop",
    "hdr",
    "viewer",
    "cli",
)

# The import names of `dependencies` in pyproject.toml. All else belongs to an extra.
CORE_LIBRARIES = {
    "OpenGL",
    "cv2",
    "h5py",
    "joblib",
    "numba",
    "numpy",
    "psutil",
    "pydantic",
    "pyrender",
    "rich",
    "scipy",
    "simplejpeg",
    "threadpoolctl",
    "typer",
    "xatlas",
    "yaml",
}

# Networks are classes of torch's, so HDR's modules may load these. No other room may load such a module.
TRAINING_ROOM, TRAINING_LIBRARIES = "hdr", {"torch", "accelerate", "transformers"}

# The viewer's pages are written in gradio; all else reaches them by web/server.py, which looks whether it is there.
PAGES, PAGE_LIBRARIES = f"{PACKAGE}.viewer.web.", {"fastapi", "gradio", "trimesh"}

MAX_LINES = 400


class Import(NamedTuple):
    """One imported name: `from a.b import c` is a.b.c."""

    name: str
    line: int
    on_load: bool  # runs when the module is imported: not in a function, not under TYPE_CHECKING


def imports(node: ast.AST, on_load: bool = True) -> Iterator[Import]:
    """All imports below a node."""
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, on_load) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = (f"{node.module}.{alias.name}" for alias in node.names)
        yield from (Import(name, node.lineno, on_load) for name in names)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
        isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ):
        on_load = False
    for child in ast.iter_child_nodes(node):
        yield from imports(child, on_load)


def module_sources() -> dict[str, str]:
    """Dotted name -> source text, for every module of the package."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): (
            file.read_text(encoding="utf-8")
        )
        for file in files
    }


def layer(name: str) -> str:
    """aih_builder.hands.model -> hands; the package itself -> ''."""
    return name.partition(".")[2].partition(".")[0]


def backward_imports(sources: Mapping[str, str]) -> list[str]:
    """Every import inside the package, lazy ones included, that does not run along LAYERS."""
    found = []
    for module, source in sources.items():
        if module == PACKAGE:
            continue  # it names all layers; other modules take nothing but __version__ from it
        for name, line, _ in imports(ast.parse(source)):
            if name.split(".")[0] != PACKAGE or name == f"{PACKAGE}.__version__":
                continue
            known = layer(name) in LAYERS and layer(module) in LAYERS
            if not known or LAYERS.index(layer(name)) > LAYERS.index(layer(module)):
                found.append(f"{module}:{line} imports {name}")
    return found


def import_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, lazily or not."""
    graph: dict[str, set[str]] = {module: set() for module in sources if module != PACKAGE}
    for module, needs in graph.items():
        for name, _, _ in imports(ast.parse(sources[module])):
            target = name if name in sources else name.rpartition(".")[0]
            if target in graph:
                needs.add(target)
    return graph


def libraries_on_load(source: str) -> set[str]:
    """Top-level names of the third-party libraries that importing this source needs."""
    names = {name.split(".")[0] for name, _, on_load in imports(ast.parse(source)) if on_load}
    return names - sys.stdlib_module_names - {PACKAGE}


SOURCES = module_sources()


@cache
def modules_on_load(source: str) -> set[str]:
    """Modules of the package that importing this source imports."""
    names = {name for name, _, on_load in imports(ast.parse(source)) if on_load}
    return (names | {name.rpartition(".")[0] for name in names}) & SOURCES.keys()


@cache
def needs_training_libraries(module: str) -> bool:
    """Whether importing a module imports torch or its like, itself or through others."""
    if libraries_on_load(SOURCES[module]) & TRAINING_LIBRARIES:
        return True
    return any(needs_training_libraries(needed) for needed in modules_on_load(SOURCES[module]) - {PACKAGE})


def test_imports_run_one_way() -> None:
    assert backward_imports(SOURCES) == []


def test_no_two_modules_import_each_other() -> None:
    list(TopologicalSorter(import_graph(SOURCES)).static_order())  # raises CycleError
    assert "aih_builder.errors" in import_graph(SOURCES)["aih_builder.paths"]


def test_every_module_loads_with_the_core_install_alone() -> None:
    found = {}
    for module, source in SOURCES.items():
        room = TRAINING_LIBRARIES if layer(module) == TRAINING_ROOM else set()
        room = PAGE_LIBRARIES if module.startswith(PAGES) and module != f"{PAGES}server" else room
        found[module] = libraries_on_load(source) - CORE_LIBRARIES - room
    assert {module: names for module, names in found.items() if names} == {}


def test_nothing_but_the_pages_themselves_loads_a_page() -> None:
    pages = {m for m, source in SOURCES.items() if libraries_on_load(source) & {"fastapi", "gradio"}}
    assert f"{PAGES}gallery" in pages
    assert {m for m, source in SOURCES.items() if modules_on_load(source) & pages} - pages == set()


def test_no_other_room_loads_what_loads_the_training_libraries() -> None:
    heavy = {module for module in SOURCES if needs_training_libraries(module)}
    assert "aih_builder.hdr.networks.hasm" in heavy
    loaded = {module: modules_on_load(source) & heavy for module, source in SOURCES.items()}
    assert {m: names for m, names in loaded.items() if names and layer(m) != TRAINING_ROOM} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "from aih_builder.hands.model import HandModel",
        "from aih_builder import hands",
        "import aih_builder.cli.main",
        "from aih_builder import Sample",
        "import aih_builder",
        "def lazily():\n    from aih_builder.shards import reader",
        "if TYPE_CHECKING:\n    from aih_builder.sources.poses import PoseSource",
        "from aih_builder.unheard_of import something",
    ],
)
def test_a_planted_backward_import_is_found(planted: str) -> None:
    assert len(backward_imports({"aih_builder.sample": planted})) == 1


def test_a_forward_import_is_not_reported() -> None:
    source = "from aih_builder import __version__, errors\nfrom aih_builder.hands import arrays"
    assert backward_imports({"aih_builder.hands.model": source}) == []


def test_a_planted_cycle_is_found() -> None:
    planted = {
        "aih_builder.hands.a": "from aih_builder.hands import b",
        "aih_builder.hands.b": "def f():\n    from aih_builder.hands.a import x",
    }
    with pytest.raises(ValueError, match="cycle"):
        list(TopologicalSorter(import_graph(planted)).static_order())


def test_a_planted_heavy_import_counts_only_where_it_runs_on_load() -> None:
    assert libraries_on_load("try:\n    import torch.nn\nexcept ImportError:\n    pass") == {"torch"}
    assert libraries_on_load("def build():\n    from smplx import create") == set()


def test_every_module_has_a_docstring() -> None:
    assert [name for name, source in SOURCES.items() if not ast.get_docstring(ast.parse(source))] == []


def test_no_file_is_longer_than_400_lines() -> None:
    files = [
        file
        for folder in (PACKAGE, "tests", "tools")
        for pattern in ("*.py", "*.sh")
        for file in (ROOT / folder).rglob(pattern)
    ]
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}
