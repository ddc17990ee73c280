"""Names are the field's, each stands for one thing, and no module or class is too large to read at once."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import eximcertd

PACKAGE = Path(eximcertd.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}

# Metaphors of earlier versions, and what stands for each in CONTRIBUTING.md's or the field's words.
REPLACED = {
    "doubt": "warning", "doubts": "warnings", "ears": "watchers", "family": "rotated files", "hands": "manual edits",
    "judge": "validate", "judged": "validated", "rooms": "packages", "seat": "connection", "seats": "connections",
    "stranger": "a caller without a right", "strangers": "unknown fingerprints", "tally": "aggregator",
    "thrown": "revoked", "trail": "registry", "upkeep": "maintenance", "whoever": "a user", "whom": "by",
}  # fmt: skip
LONGEST = 300
MOST_COLLABORATORS = 8


def identifiers(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                found.add(name)
    return found


def test_no_class_name_occurs_twice() -> None:
    where = defaultdict(list)
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(module)
    assert {name: modules for name, modules in where.items() if len(modules) > 1} == {}


@pytest.mark.parametrize("module", TREES)
def test_the_names_in_a_module_are_the_fields(module: str) -> None:
    names = identifiers(TREES[module]) | {Path(module).stem}
    words = {word.lower(): name for name in names for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    assert {words[word]: instead for word, instead in REPLACED.items() if word in words} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_is_read_at_once(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST


@pytest.mark.parametrize("module", TREES)
def test_a_class_is_given_few_collaborators(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            assert len(given) - 1 <= MOST_COLLABORATORS, f"line {node.lineno}"
