"""Questions to a dataset's columns, as a line of text: `occlusion_rate[right] > 0.5 and pose_family == "clasp"`.

A small part of Python's expressions, read by Python's own parser and computed with numpy over all samples at once:
names of columns, numbers, texts, `right` and `left`, comparisons, `in`, `and or not`, + - * / %, [...] for one hand,
joint or axis, and the functions below. Nothing else of Python can be reached.
"""

import ast
import difflib
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.sample import SIDES, Array
from aih_builder.viewer.columns import Texts

MOST_CHARACTERS = 2000
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "any": np.any, "all": np.all, "min": np.min, "max": np.max, "sum": np.sum, "mean": np.mean, "abs": np.abs,
}  # fmt: skip
_CONSTANTS = {"right": 0, "left": 1, "true": True, "false": False, "True": True, "False": False}
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: np.true_divide, ast.Mod: np.mod,
}  # fmt: skip


def selected(text: str, columns: Callable[[str], Any], names: Iterable[str], count: int) -> Array:
    """Which of `count` samples a question holds for, bool (count,).

    `columns` gives the column of a name. Raises ConfigError where the text cannot be read, names what is not there,
    or has no single answer for each sample.
    """
    answer = evaluated(text, columns, names)
    if isinstance(answer, bool | np.bool_):
        return np.full(count, bool(answer))
    if not isinstance(answer, np.ndarray) or answer.dtype != bool:
        raise ConfigError(f"query {text!r}: gives {_kind(answer)}, expected yes or no. Compare it with something.")
    if answer.shape != (count,):
        raise ConfigError(
            f"query {text!r}: gives {answer.shape[1:]} answers for each sample, expected one. Say which hand, as in "
            "occlusion_rate[right], or use any(...) or all(...)."
        )
    return answer


def names_in(text: str) -> set[str]:
    """The names that a question uses; none where it cannot be read."""
    try:
        return {node.id for node in ast.walk(ast.parse(text.strip(), mode="eval")) if isinstance(node, ast.Name)}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()


def evaluated(text: str, columns: Callable[[str], Any], names: Iterable[str]) -> Any:
    """The value of an expression: an array over the samples, Texts, or a constant. Raises ConfigError."""
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"query: {len(text)} characters, expected at most {MOST_CHARACTERS}.")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        with np.errstate(all="ignore"):
            return _Reading(text, columns, list(names)).value(tree.body)
    except SyntaxError as error:
        place = f" at {text.strip()[(error.offset or 1) - 1 :][:20]!r}" if error.offset else ""
        raise ConfigError(f"query {text!r}: cannot be read{place}. Write, for example, {EXAMPLE}") from error
    except (RecursionError, MemoryError, OverflowError) as error:
        raise ConfigError(f"query {text[:80]!r}: too deeply nested, or its numbers are too large.") from error
    except (TypeError, ValueError, IndexError) as error:
        raise ConfigError(f"query {text!r}: {error}. Write, for example, {EXAMPLE}") from error


EXAMPLE = 'any(occlusion_rate > 0.5) and engine == "render"'


class _Reading:
    """Computes one expression."""

    def __init__(self, text: str, columns: Callable[[str], Any], names: list[str]) -> None:
        self.text, self.columns, self.names = text, columns, names

    def value(self, node: ast.AST) -> Any:
        """The value of a node."""
        for kind, method in self._KINDS.items():
            if isinstance(node, kind):
                return method(self, node)
        raise self._refusal(f"{type(node).__name__} cannot be used")

    def _constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, bool | float | str) or (isinstance(node.value, int) and abs(node.value) < 2**63):
            return node.value
        raise self._refusal(f"{node.value!r} cannot be used")

    def _name(self, node: ast.Name) -> Any:
        if node.id in _CONSTANTS:
            return _CONSTANTS[node.id]
        if node.id in self.names:
            return self.columns(node.id)
        near = difflib.get_close_matches(node.id, [*self.names, *FUNCTIONS], 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(self.names)}."
        raise self._refusal(f"{node.id!r} is no field; {hint}")

    def _logic(self, node: ast.BoolOp) -> Any:
        values = [self._truth(value) for value in node.values]
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        answer = values[0]
        for value in values[1:]:
            answer = combine(answer, value)
        return answer

    def _unary(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return np.logical_not(self._truth(node.operand))
        value = self._number(node.operand)
        if isinstance(node.op, ast.USub):
            return -_signed(value)
        if isinstance(node.op, ast.UAdd):
            return value
        raise self._refusal("~ cannot be used, write not")

    def _compare(self, node: ast.Compare) -> Any:
        answer: Any = True
        left = self.value(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self._list(right_node) if isinstance(op, ast.In | ast.NotIn) else self.value(right_node)
            found = (
                self._contained(left, right) if isinstance(op, ast.In | ast.NotIn) else self._relation(op, left, right)
            )
            answer = np.logical_and(answer, np.logical_not(found) if isinstance(op, ast.NotIn) else found)
            left = right
        return answer

    def _relation(self, op: ast.cmpop, left: Any, right: Any) -> Any:
        relation = _COMPARISONS.get(type(op))
        if relation is None:
            raise self._refusal(f"{type(op).__name__} cannot be used")
        texts = [isinstance(side, Texts | str) for side in (left, right)]
        if any(texts) != all(texts):
            raise self._refusal(f"{_kind(left)} cannot be compared with {_kind(right)}")
        if isinstance(left, Texts) and isinstance(right, str):
            return left.holds(lambda word: relation(word, right))
        if isinstance(right, Texts) and isinstance(left, str):
            return right.holds(lambda word: relation(left, word))
        if all(texts):
            return relation(*(side.values() if isinstance(side, Texts) else side for side in (left, right)))
        return relation(_exact(left), _exact(right))

    def _contained(self, left: Any, right: Any) -> Any:
        """`"clap" in pose_family` is a part of the text; `split in ["val", "test"]` is one of several."""
        if isinstance(right, Texts) and isinstance(left, str):
            return right.holds(lambda word: left in word)
        if isinstance(right, list):
            answer: Any = False
            for item in right:
                answer = np.logical_or(answer, self._relation(ast.Eq(), left, item))
            return answer
        raise self._refusal('write "part" in pose_family, or split in ["val", "test"]')

    def _list(self, node: ast.AST) -> Any:
        return [self.value(item) for item in node.elts] if isinstance(node, ast.List | ast.Tuple) else self.value(node)

    def _arithmetic(self, node: ast.BinOp) -> Any:
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            raise self._refusal(f"{type(node.op).__name__} cannot be used")
        left, right = self._number(node.left), self._number(node.right)
        return operation(_signed(left), _signed(right))

    def _part(self, node: ast.Subscript) -> Any:
        whole = self._number(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        places = [self.value(part) for part in parts]
        if not isinstance(whole, np.ndarray) or any(not isinstance(place, int) for place in places):
            raise self._refusal(f"[...] takes whole numbers or {' and '.join(SIDES)}, after a field")
        if len(places) >= whole.ndim or any(not 0 <= p < n for p, n in zip(places, whole.shape[1:], strict=False)):
            raise self._refusal(f"[{', '.join(map(str, places))}] is outside the field's shape {whole.shape[1:]}")
        return whole[(slice(None), *places)]

    def _call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else "?"
        if name not in FUNCTIONS or len(node.args) != 1 or node.keywords:
            raise self._refusal(f"there are the functions {', '.join(FUNCTIONS)}, of one value each")
        value = self._truth(node.args[0]) if name in ("any", "all") else self._number(node.args[0])
        if name == "abs":
            return np.abs(_signed(value))
        if not isinstance(value, np.ndarray) or value.ndim < 2:
            raise self._refusal(f"{name}(...) takes a field of several numbers, such as occlusion_rate")
        return FUNCTIONS[name](_signed(value) if name in ("sum", "mean") else value, axis=tuple(range(1, value.ndim)))

    def _truth(self, node: ast.AST) -> Any:
        value = self.value(node)
        if isinstance(value, bool | np.bool_) or (isinstance(value, np.ndarray) and value.dtype == bool):
            return value
        raise self._refusal(f"{ast.unparse(node)} is {_kind(value)}, expected yes or no")

    def _number(self, node: ast.AST) -> Any:
        value = self.value(node)
        if isinstance(value, Texts | str | list):
            raise self._refusal(f"{ast.unparse(node)} is {_kind(value)}, expected numbers")
        return value

    def _refusal(self, why: str) -> ConfigError:
        return ConfigError(f"query {self.text!r}: {why}. Write, for example, {EXAMPLE}")

    _KINDS: Mapping[type, Callable[..., Any]] = {
        ast.Constant: _constant, ast.Name: _name, ast.BoolOp: _logic, ast.UnaryOp: _unary, ast.Compare: _compare,
        ast.BinOp: _arithmetic, ast.Subscript: _part, ast.Call: _call,
    }  # fmt: skip


def _signed(value: Any) -> Any:
    """Numbers that minus and sums do not wrap around."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "bui":
        return value.astype(np.int64)
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float16 else value


def _exact(value: Any) -> Any:
    """A number as float32 columns hold it is compared as such: 0.1 means the float32 next to it."""
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float16 else value


def _kind(value: Any) -> str:
    if isinstance(value, Texts | str):
        return "text"
    dtype = value.dtype if isinstance(value, np.ndarray) else np.asarray(value).dtype
    return "yes or no" if dtype.kind == "b" else "numbers" if isinstance(value, np.ndarray) else "a number"
