"""Imports point one way: a folder stands on the floors under it, no file on a circle.

The floors are those of CONTRIBUTING.md. Everything is read from the source with `ast`,
so imports inside functions count as well.
"""

import ast
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FLOORS = (
    "mlgcn_jax.data",
    "mlgcn_jax.devices",
    "mlgcn_jax.graph",
    "mlgcn_jax.models",
    "mlgcn_jax.learning",
    "mlgcn_jax.schema",
    "mlgcn_jax.runs",
    "mlgcn_jax.evaluation",
    "mlgcn_jax.doctor",
    "mlgcn_jax.training",
    "mlgcn_jax.planning",
    "mlgcn_jax.serving",
    "mlgcn_jax.benchmarks",
    "mlgcn_jax.commands",
    "mlgcn_jax.cli",
)
# Beside the floors: these stand on one of them, and one imports them.
BESIDE = {"tfds_pixiv", "mlgcn_jax.fake_pixiv", "mlgcn_jax.crawl"}
UNDER_THOSE = "mlgcn_jax.data"
OVER_THOSE = "mlgcn_jax.commands"
# Rooms of a floor, and what of their floor they may import.
ROOMS = {
    "mlgcn_jax.data.layouts": (
        "mlgcn_jax.data.folder_contents",
        "mlgcn_jax.data.images",
    ),
    "mlgcn_jax.learning.losses": (),
    "mlgcn_jax.crawl.client": (),
    "mlgcn_jax.crawl.records": ("mlgcn_jax.crawl.client",),
}
NOT_AT_RUN_TIME = {"torch", "torchvision", "tensorflow", "onnxruntime"}
WITH_TORCH = {
    "mlgcn_jax.models.weight_files",  # .pth files alone, and not before there is one
    "mlgcn_jax.benchmarks.torch_model",  # these run in processes of their own
    "mlgcn_jax.benchmarks.torch_tasks",
    "mlgcn_jax.benchmarks.torch_whole_run",
    "mlgcn_jax.benchmarks.onnx_tasks",
}


def modules_under(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Dotted name -> file, of both packages."""
    names = {}
    for package in ("mlgcn_jax", "tfds_pixiv"):
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            names[".".join(part for part in parts if part != "__init__")] = path
    return names


def imports_of(name: str, path: pathlib.Path, modules: set[str]) -> set[str]:
    """Dotted names that a file imports: our modules, and top-level names of others."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative: climb from the package
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, *filter(None, [base])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in modules else base)
    return {target for target in found if target != name}


def is_in(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}.")


def floor_of(name: str) -> int | None:
    return next((n for n, folder in enumerate(FLOORS) if is_in(name, folder)), None)


def folder_of(name: str) -> str:
    """The package of two parts, or the one beside `mlgcn_jax`."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "mlgcn_jax" else parts[0]


def find_faults(root: pathlib.Path) -> list[str]:
    """What is wrong with the imports below a root, a line each."""
    modules = modules_under(root)
    imports = {n: imports_of(n, p, set(modules)) for n, p in modules.items()}
    faults = []
    for name, targets in imports.items():
        for target in sorted(targets):
            if target.split(".")[0] in NOT_AT_RUN_TIME and name not in WITH_TORCH:
                faults.append(f"{name} imports {target}")
            room = next((r for r in ROOMS if is_in(name, r)), None)
            if room is not None and folder_of(target) == folder_of(name):
                if not any(is_in(target, under) for under in (room, *ROOMS[room])):
                    faults.append(f"{name} imports {target}, which is not under it")
            if target not in modules or folder_of(target) == folder_of(name):
                continue
            if folder_of(name) in BESIDE:
                allowed = folder_of(target) == UNDER_THOSE
            elif folder_of(target) in BESIDE:
                allowed = folder_of(name) == OVER_THOSE
            elif "." not in target:  # the package itself holds only its version
                allowed = True
            else:
                above, below = floor_of(name), floor_of(target)
                allowed = above is not None and below is not None and below < above
            if not allowed:
                faults.append(f"{name} imports {target}, which is not under it")
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        faults.append(f"circle: {' -> '.join(error.args[1])}")
    return faults


def test_imports_point_one_way():
    assert find_faults(ROOT) == []


def test_every_folder_has_a_floor():
    folders = {folder_of(name) for name in modules_under(ROOT) if "." in name}
    assert folders - BESIDE == set(FLOORS)


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        ("mlgcn_jax/data/a.py", "from mlgcn_jax.graph import g", "not under it"),
        ("mlgcn_jax/data/a.py", "def f():\n  import mlgcn_jax.graph.g", "not under it"),
        ("mlgcn_jax/data/a.py", "from ..graph import g", "not under it"),
        ("mlgcn_jax/data/a.py", "from . import b", "circle"),
        ("mlgcn_jax/data/layouts/l.py", "import mlgcn_jax.data.b", "not under it"),
        ("mlgcn_jax/crawl/client/a.py", "import mlgcn_jax.crawl.c", "not under it"),
        ("mlgcn_jax/graph/g.py", "import tfds_pixiv.build", "not under it"),
        ("tfds_pixiv/build.py", "from mlgcn_jax.graph import g", "not under it"),
        ("mlgcn_jax/fake_pixiv/f.py", "import tfds_pixiv.build", "not under it"),
        ("mlgcn_jax/crawl/c.py", "import mlgcn_jax.fake_pixiv.f", "not under it"),
        ("mlgcn_jax/crawl/c.py", "from mlgcn_jax.graph import g", "not under it"),
        ("mlgcn_jax/data/a.py", "from mlgcn_jax.fake_pixiv import f", "not under it"),
        ("mlgcn_jax/graph/g.py", "import torch.nn", "imports torch"),
        ("mlgcn_jax/benchmarks/worker.py", "import torch", "imports torch"),
        ("mlgcn_jax/new/n.py", "from mlgcn_jax.data import b", "not under it"),
    ],
)
def test_a_broken_rule_is_found(tmp_path, file, source, fault):
    house = {
        "mlgcn_jax/data/a.py": "",
        "mlgcn_jax/data/b.py": "from mlgcn_jax.data import a",
        "mlgcn_jax/graph/g.py": "from mlgcn_jax.data import b",
        "tfds_pixiv/build.py": "from mlgcn_jax.data import a",
        "mlgcn_jax/fake_pixiv/f.py": "from mlgcn_jax.data import a",
        "mlgcn_jax/crawl/c.py": "from mlgcn_jax.data import a",
    }
    for name, text in house.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert find_faults(tmp_path) == []
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(source)
    assert any(fault in line for line in find_faults(tmp_path))
