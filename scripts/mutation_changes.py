"""The changes of a package's code that a test could detect; a part of scripts/mutation."""

from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.operators.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Iterator

SAME: Final = re.compile(
    r"ReplaceComparisonOperator_(Is_Eq|IsNot_NotEq|Eq_Is|NotEq_IsNot)|ReplaceBinaryOperator_BitOr_(Add|BitXor)"
)
"""Operators whose result is the same for None and enumerations, or for flags without a common bit."""


class RemoveCall(Operator):  # type: ignore[misc]
    """Replaces a statement that is only a call with ``pass``: cosmic-ray has no operator that removes anything."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """See Operator."""
        if node.type == "simple_stmt":
            call = node.children[0]
            call = call.children[-1] if call.type == "atom_expr" and call.children[0] == "await" else call
            last = call.children[-1] if call.type == "atom_expr" else None
            if last is not None and last.type == "trailer" and last.children[0] == "(":
                yield node.start_pos, call.end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002 - cosmic-ray's signature
        """See Operator."""
        statement = get_ast("pass\n").children[0]
        statement.get_first_leaf().prefix = node.get_first_leaf().prefix
        return statement

    @classmethod
    def examples(cls) -> tuple[()]:
        """See Operator."""
        return ()


plugins.OPERATOR_PROVIDERS["eximcertd"] = {"RemoveCall": RemoveCall}


@dataclass(frozen=True, order=True, slots=True)
class Change:
    """One possible change. lines: first and last line of the statement (or its header) that it is in."""

    module: str
    start: tuple[int, int]
    operator: str
    occurrence: int
    lines: tuple[int, int] = field(compare=False)

    @property
    def place(self) -> tuple[object, ...]:
        """The place and kind: of the changes that replace one operator by another, one is drawn."""
        return self.module, self.start, self.operator.partition("_")[0]


def without_effect(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return start and end of each part of a module whose change no test could detect: annotations, dataclass(...)."""
    spans = []
    for node in ast.walk(tree):
        parts: list[ast.expr | ast.stmt | None] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg]
            parts = [node.returns, *(argument.annotation for argument in arguments if argument is not None)]
        elif isinstance(node, ast.ClassDef):
            parts = list(node.decorator_list)
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            parts = [node]
        spans += [_span(part) for part in parts if part is not None]
    return spans


def _span(node: ast.expr | ast.stmt) -> tuple[tuple[int, int], tuple[int, int]]:
    start = (node.lineno, node.col_offset - 1)  # a decorator begins before its expression
    return start, (node.end_lineno or node.lineno, node.end_col_offset or 0)


def _statements(tree: ast.Module) -> dict[int, tuple[int, int]]:
    """Return line -> first and last line of the innermost statement, or of its header."""
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(tree):  # outer statements first
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
            last = node.body[-1].end_lineno if isinstance(node, ast.match_case) else node.end_lineno
            body = getattr(node, "body", None)
            header = max(first, body[0].lineno - 1) if body else last or first
            for line in range(first, (last or first) + 1):
                found[line] = (first, header) if line <= header else found.get(line, (line, line))
    return found


def changes(package: str) -> Iterator[Change]:
    """Yield every change of a package that could be detected."""
    for path in sorted(Path("eximcertd", package).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        spans = without_effect(ast.parse(source))
        statements, lines = _statements(ast.parse(source)), source.split("\n")
        tree = get_ast(source)
        for name in plugins.operator_names():
            kind = plugins.get_operator(name)
            if kind.arguments() or SAME.search(name):
                continue
            operator = kind()
            positions = (where for node in ast_nodes(tree) for where in operator.mutation_positions(node))
            for occurrence, (start, end) in enumerate(positions):
                if "BinaryOperator" in name and not lines[end[0] - 1].startswith(" ", end[1]):
                    continue  # the asterisk of *arguments, or of keyword-only ones
                if not any(first <= start < last for first, last in spans):
                    yield Change(str(path), start, name, occurrence, statements.get(start[0], (start[0], start[0])))


def sample(package: str, most: int, seed: int) -> tuple[list[Change], int]:
    """Return a sample of the changes, one for each place and kind, and the number of places to draw from."""
    chance = random.Random(seed)  # noqa: S311 - one seed draws one sample
    places: dict[tuple[object, ...], list[Change]] = defaultdict(list)
    for change in sorted(changes(package)):
        places[change.place].append(change)
    drawn = chance.sample(sorted(places.values()), min(most or len(places), len(places)))
    return sorted(chance.choice(variants) for variants in drawn), len(places)
