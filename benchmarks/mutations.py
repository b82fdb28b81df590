"""Finds the places of a Python source where one small change makes a mutant; used by mutants.py."""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
# Functions whose opposite takes the same arguments.
OPPOSITES = {"min": "max", "minimum": "maximum", "any": "all", "ceil": "floor", "argmin": "argmax"}
OPPOSITES |= {opposite: name for name, opposite in OPPOSITES.items()}
LONG_TABLE = 8  # numbers; of a longer literal table only the first and the last are changed


@dataclass(frozen=True)
class Mutation:
    """One change of a source: the bytes from `start` to `end` become `after`."""

    line: int
    operator: str
    start: int
    end: int
    before: str
    after: str

    def apply(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def find_mutations(source: bytes) -> list[Mutation]:
    """Return every mutation of a source, in the order of the source; not all of them compile."""
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    return sorted(finder.found, key=lambda found: found.start)


def compiles(source: bytes) -> bool:
    """Tell whether a changed source is still Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # `x is not 0`: a mutant like others
        try:
            compile(source, "mutant", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
    return True


class _Finder(ast.NodeVisitor):
    """Collects the mutations; annotations, decorators, docstrings, f-strings and imports for types are left alone."""

    def __init__(self, source: bytes) -> None:
        self.found: list[Mutation] = []
        self._source = source
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Look at defaults and body only."""
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self._visit_default(default)
        for statement in node.body:
            self.visit(statement)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Look at the body; a field's value is a default."""
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and statement.value is not None:
                self._visit_default(statement.value)
            else:
                self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Look at the value only."""
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Python before 3.12 does not know where the parts of an f-string are."""

    def visit_If(self, node: ast.If) -> None:
        """Negate the test."""
        if ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
            return
        self._negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        """Negate the test."""
        self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """Negate the test."""
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """Negate the conditions."""
        for condition in node.ifs:
            self._negate(condition)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Change each operator."""
        for i, operator in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[i] = COMPARISONS[type(operator)]()
            self._add("comparison", node, changed)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """Exchange `and` and `or`."""
        changed = copy.deepcopy(node)
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._add("negation", node, changed)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """Drop the operator."""
        self._add("negation", node, node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Change the operator."""
        if type(node.op) in ARITHMETIC:
            changed = copy.deepcopy(node)
            changed.op = ARITHMETIC[type(node.op)]()
            self._add("arithmetic", node, changed)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Call the opposite function."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in OPPOSITES:
            changed = copy.deepcopy(node.func)
            if isinstance(changed, ast.Attribute):
                changed.attr = OPPOSITES[name]
            elif isinstance(changed, ast.Name):
                changed.id = OPPOSITES[name]
            self._add("opposite", node.func, changed)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Add one, subtract one, or invert a truth value."""
        self._visit_constant(node, "constant")

    def visit_List(self, node: ast.List | ast.Tuple | ast.Set) -> None:
        """Of a long table of numbers, look at its ends."""
        if len(node.elts) > LONG_TABLE and all(isinstance(element, ast.Constant) for element in node.elts):
            self.visit(node.elts[0])
            self.visit(node.elts[-1])
        else:
            self.generic_visit(node)

    visit_Tuple = visit_Set = visit_List

    def visit_Expr(self, node: ast.Expr) -> None:
        """Drop a statement that is a call; leave docstrings alone."""
        if isinstance(node.value, ast.Constant):
            return
        self._drop(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Drop it, or change its operator."""
        if type(node.op) in ARITHMETIC:
            changed = copy.deepcopy(node)
            changed.op = ARITHMETIC[type(node.op)]()
            self._add("arithmetic", node, changed)
        self._drop(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Drop it where it sets a part of something; without a name, everything would fail."""
        if all(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets):
            self._drop(node)
        else:
            self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        """Return None."""
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self._add("dropped", node, ast.Return(None))
            self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Drop it; what it says is a matter of the tests of messages."""
        self._add("dropped", node, ast.Pass())

    def visit_Break(self, node: ast.Break) -> None:
        """Go on."""
        self._add("dropped", node, ast.Pass())

    def visit_Continue(self, node: ast.Continue) -> None:
        """Go on."""
        self._add("dropped", node, ast.Pass())

    def _drop(self, node: ast.stmt) -> None:
        self._add("dropped", node, ast.Pass())
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        if not isinstance(test, (ast.Compare, ast.UnaryOp)):  # these are negated by their own operators
            self._add("negation", test, ast.UnaryOp(ast.Not(), test))

    def _visit_default(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant):
            self._visit_constant(node, "default")
            if isinstance(node.value, str):
                self._add("default", node, ast.Constant(f"{node.value}x"))
        else:
            self.visit(node)

    def _visit_constant(self, node: ast.Constant, operator: str) -> None:
        for value in _neighbours(node.value):
            self._add(operator, node, ast.Constant(value))

    def _add(self, operator: str, node: ast.expr | ast.stmt, changed: ast.AST) -> None:
        start = self._line_starts[node.lineno - 1] + node.col_offset
        end = self._line_starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[operator]
        after = ast.unparse(changed)
        if isinstance(node, ast.expr) and not isinstance(changed, (ast.Name, ast.Attribute)):
            after = f"({after})"
        before = self._source[start:end].decode()
        self.found.append(Mutation(node.lineno, operator, start, end, before, after))


def _neighbours(value: object) -> Iterator[bool | int | float]:
    """Give what a constant is changed to."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield value + 1
        yield value - 1
