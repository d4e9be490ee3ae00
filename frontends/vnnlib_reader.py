"""VNN-LIB 1.0: one pass over the text with a stack of open parentheses, so that depth and size of a file cost no recursion.

Constraints are brought into disjunctive normal form while their parentheses close. Nearly every constraint of a real file
is `(<= X_0 0.5)` or `(>= Y_1 Y_0)`: the tokeniser takes such a one in a single match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from absint.errors import InputError
from absint.frontends.vnnlib_atoms import (
    RELATION,
    Bound,
    Formula,
    LinearTerm,
    OutputRow,
    QueryText,
    check_size,
    comparison,
    conjunction,
    disjunction,
)
from absint.frontends.vnnlib_numbers import ExactNumber, decimal, looks_like_number

_TOKEN = re.compile(
    r"(?>\s+|;[^\n]*)*+(?:"
    r"\((?P<op><=|>=|<|>|=)\s+(?P<left>[^\s();\"|]+)\s+(?P<right>[^\s();\"|]+)\s*\)"
    r"|(?P<open>\()|(?P<close>\))|(?P<word>[^\s();\"|]+|\"(?:[^\"]|\"\")*\"|\|[^|]*\|)|(?P<open_string>[\"|])|(?P<end>\Z))"
)
_NAME = re.compile(r"([XY])_(\d{1,9})", re.ASCII)
_RELATIONS = ("<=", ">=", "<", ">", "=")
_ARITHMETIC = ("+", "-", "*", "/")
_DEFINED = {"define-fun": 3, "define-const": 2}     # words before the value: its name, (), its sort
_COMMANDS = ("assert", "declare-const", "declare-fun", *_DEFINED)
_READ = "and, or, <=, >=, <, >, =, +, -, *, /, let, and define-fun without arguments"
_IGNORED = ("vnnlib-version", "set-logic", "set-info", "set-option", "check-sat", "get-model", "exit")
_LAST = ("check-sat", "exit")      # what follows is no part of the query
_BITS = 1 << 14  # of an exact numerator or denominator
_MIRROR = {"<=": ">=", ">=": "<=", "<": ">", ">": "<", "=": "="}

_LET = "a let is written (let ((name value) ...) constraint)"

Value = LinearTerm | Formula | str


@dataclass
class _Frame:
    """An open parenthesis: its first word, where it stands, and what has been read inside."""

    at: int
    head: str = ""
    values: list[Value] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    names: dict[str, Value] | None = None       # of a let, once its bindings are read

    def add(self, value: Value, at: int) -> None:
        self.values.append(value)
        self.places.append(at)


@dataclass(frozen=True)
class Parsed:
    """A whole file. inputs, outputs: how many are declared.  asserts: their formulas, in order.  false: where a constraint
    between constants can never hold.
    """

    inputs: int
    outputs: int
    asserts: list[Formula]
    false: list[int]


def parse(source: QueryText) -> Parsed:
    """Read a whole text. Raises InputError E-VNNLIB-..., UnsupportedError E-VNNLIB-RELATION, -COEFFICIENT, -OPERATOR."""
    return _Parser(source).run()


class Names:
    """What let and define-fun name, the innermost of each name last."""

    def __init__(self, source: QueryText) -> None:
        self._source = source
        self._held: dict[str, list[Value]] = {}
        self._copied = 0

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def open(self, names: Mapping[str, Value]) -> None:
        """From here on these are known."""
        for name, value in names.items():
            self._held.setdefault(name, []).append(value)

    def close(self, names: Mapping[str, Value]) -> None:
        """From here on these are not."""
        for name in names:
            self._held[name].pop()
            if not self._held[name]:
                del self._held[name]

    def value(self, name: str, at: int) -> Value:
        """What it stands for; of a formula a copy, since connectives use their parts up. Raises InputError E-VNNLIB-SIZE."""
        value = self._held[name][-1]
        if not isinstance(value, list):
            return value
        self._copied += len(value) + sum(map(len, value))
        check_size(1, self._copied, self._source, at)     # a name that stands for twice another doubles with every line
        return [list(branch) for branch in value]


class _Parser:
    def __init__(self, source: QueryText) -> None:
        assert source.text is not None
        self.source, self.text = source, source.text
        self.codes: dict[str, int] = {}
        self.named = Names(source)
        self.stack: list[_Frame] = []
        self.asserts: list[Formula] = []
        self.false: list[int] = []
        self.over = False

    def run(self) -> Parsed:
        for match in _TOKEN.finditer(self.text):
            if match["op"] is not None:
                self._top(match.start("op")).add(self._atom(match), match.start("op"))
            elif match["open"] is not None:
                self.stack.append(_Frame(match.start("open")))
            elif match["close"] is not None:
                self._close(match.start("close"))
            elif match["word"] is not None:
                self._word(match["word"], match.start("word"))
            elif match["open_string"] is not None:
                raise self.source.fail(match.start("open_string"), "E-VNNLIB-SYNTAX", "a quotation that is never closed")
        if self.stack:
            raise self.source.fail(self.stack[-1].at, "E-VNNLIB-PARENTHESIS", f"{len(self.stack)} parentheses are never closed",
                                   "the last one that stays open is the one named")
        return Parsed(self._count("X"), self._count("Y"), self.asserts, self.false)

    def _count(self, letter: str) -> int:
        """How many inputs or outputs: their numbers have no gap."""
        numbers = {int(name[2:]) for name in self.codes if name[0] == letter}
        if numbers and max(numbers) + 1 != len(numbers):
            missing = next(k for k in range(len(numbers)) if k not in numbers)
            raise InputError("E-VNNLIB-COUNT", f"{letter}_{max(numbers)} is declared, {letter}_{missing} is not", where=self.source.path,
                             hint="declare every one up to the last, also what no constraint names")
        return len(numbers)

    def _top(self, at: int) -> _Frame:
        if not self.stack:
            raise self.source.fail(at, "E-VNNLIB-SYNTAX", "a command such as (assert ...) is expected here")
        frame = self.stack[-1]
        if not frame.head:
            raise self.source.fail(at, "E-VNNLIB-SYNTAX", "an operator is expected after '('")
        return frame

    def _word(self, word: str, at: int) -> None:
        if self.stack and not self.stack[-1].head:
            self.stack[-1].head = word
            if len(self.stack) > 2 and not self.stack[-2].head and self.stack[-3].head == "define-fun":
                raise self.source.refuse(at, "E-VNNLIB-OPERATOR", "a function with arguments is not read", "write it out where it is used")
            return
        frame = self._top(at)
        known = frame.head in ("declare-const", "declare-fun", *_IGNORED) or len(frame.values) < _DEFINED.get(frame.head, 0)
        if frame.head == "let" and frame.names is None:
            raise self.source.fail(at, "E-VNNLIB-SYNTAX", _LET)
        frame.add(word if known else self._value(word, at), at)

    # ---- values ----------------------------------------------------------------------------------------------------

    def _value(self, word: str, at: int) -> Value:
        if word in ("true", "false"):
            return [[]] if word == "true" else []
        if word in self.named:
            return self.named.value(word, at)
        found = self._operand(word, at)
        return LinearTerm({}, found.value) if isinstance(found, ExactNumber) else LinearTerm({found: Fraction(1)}, Fraction(0))

    def _operand(self, word: str, at: int) -> ExactNumber | int:
        """A number, or the code of a variable."""
        code = self.codes.get(word)
        if code is not None:
            return code
        number = decimal(word)
        if number is not None:
            return number
        if looks_like_number(word):
            raise self.source.fail(at, "E-VNNLIB-NUMBER", f"'{_short(word)}' is no number that float64 can enclose")
        raise self.source.fail(at, "E-VNNLIB-UNDECLARED", f"'{_short(word)}' is not declared", "declare X_i and Y_j before they are used")

    def _atom(self, match: re.Match[str]) -> Formula:
        """A constraint between two words."""
        operator, at = match["op"], match.start("op") - 1
        if match["left"] in self.named or match["right"] in self.named:
            return self._compared(operator, self._value(match["left"], at), self._value(match["right"], at), at)
        left, right = self._operand(match["left"], match.start("left")), self._operand(match["right"], match.start("right"))
        if isinstance(left, ExactNumber) and isinstance(right, int):
            operator, left, right = _MIRROR[operator], right, left
        if isinstance(left, ExactNumber) or operator == "=" or left == right:
            return self._compared(operator, self._value(match["left"], at), self._value(match["right"], at), at)
        upper, strict = operator in ("<=", "<"), operator in ("<", ">")
        if isinstance(right, ExactNumber):
            if left >= 0:
                return [[Bound(left, upper, right, strict, at)]]
            low, high = (-right.ceil, -right.floor) if upper else (right.floor, right.ceil)
            return [[OutputRow((-1 - left,), (1.0 if upper else -1.0,), low + 0.0, high + 0.0, strict)]]
        if left >= 0 or right >= 0:
            return self._compared(operator, self._value(match["left"], at), self._value(match["right"], at), at)
        return [[OutputRow((-1 - left, -1 - right), (1.0, -1.0) if upper else (-1.0, 1.0), 0.0, 0.0, strict)]]

    def _compared(self, operator: str, left: Value, right: Value, at: int) -> Formula:
        if not isinstance(left, LinearTerm) or not isinstance(right, LinearTerm):
            raise self.source.fail(at, "E-VNNLIB-SYNTAX", f"'{operator}' compares two numbers or variables")
        found = comparison(operator, left, right, self.source, at)
        if not found:
            self.false.append(at)
        return found

    # ---- closing a parenthesis ---------------------------------------------------------------------------------------

    def _close(self, at: int) -> None:
        if not self.stack:
            raise self.source.fail(at, "E-VNNLIB-PARENTHESIS", "a closing parenthesis too many")
        frame = self.stack.pop()
        if not self.stack:
            self._command(frame)
        elif frame.head in _COMMANDS:
            raise self.source.fail(frame.at, "E-VNNLIB-PARENTHESIS", f"'({frame.head}' inside another command",
                                   "is the one before it closed?")
        elif not frame.head and self.stack[-1].head in ("declare-fun", "define-fun", *_IGNORED) and not frame.values:
            self.stack[-1].add("()", frame.at)
        elif self._binding(frame):
            pass
        else:
            value = "" if self.stack[-1].head in _IGNORED else self._reduced(frame)
            self._top(frame.at).add(value, frame.at)

    def _binding(self, frame: _Frame) -> bool:
        """Whether the frame was `(name value)` of a let, or all of its bindings: parallel, so known after the last one alone."""
        parent, around = self.stack[-1], self.stack[-2] if len(self.stack) > 1 else None
        if not parent.head and around is not None and around.head == "let" and around.names is None:
            if len(frame.values) != 1:
                raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", _LET)
            self._check_name(frame.head, frame.at)
            parent.names = {**(parent.names or {}), frame.head: frame.values[0]}
            return True
        if frame.head or parent.head != "let" or parent.names is not None or not frame.names:
            return False
        parent.names = frame.names
        self.named.open(frame.names)
        return True

    def _check_name(self, name: str, at: int) -> None:
        if not name or name in self.codes or name in ("true", "false") or looks_like_number(name) or _NAME.fullmatch(name):
            raise self.source.fail(at, "E-VNNLIB-NAME", f"'{_short(name)}' cannot name a value", "choose another name, such as margin")

    def _reduced(self, frame: _Frame) -> Value:
        if frame.head == "let":
            if frame.names is None or len(frame.values) != 1:
                raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", _LET)
            self.named.close(frame.names)
            return frame.values[0]
        if frame.head in ("and", "or"):
            return self._connective(frame)
        if frame.head in _RELATIONS:
            if len(frame.values) != 2:
                raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", f"'{frame.head}' takes 2 arguments, not {len(frame.values)}")
            return self._compared(frame.head, frame.values[0], frame.values[1], frame.at)
        if frame.head in _ARITHMETIC:
            return self._arithmetic(frame)
        if not frame.head:
            raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", "empty parentheses")
        raise self.source.refuse(frame.at, "E-VNNLIB-OPERATOR", f"'{_short(frame.head)}' is no operator absint reads",
                                 f"these are read: {_READ}")

    def _connective(self, frame: _Frame) -> Formula:
        parts: list[Formula] = []
        for value, at in zip(frame.values, frame.places, strict=True):
            if not isinstance(value, list):
                raise self.source.fail(at, "E-VNNLIB-SYNTAX", f"'{frame.head}' takes constraints, not numbers or variables")
            parts.append(value)
        return conjunction(parts, self.source, frame.at) if frame.head == "and" else disjunction(parts)

    def _arithmetic(self, frame: _Frame) -> LinearTerm:
        values = [value for value in frame.values if isinstance(value, LinearTerm)]
        if not values or len(values) != len(frame.values):
            raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", f"'{frame.head}' takes numbers and variables")
        if frame.head == "-" and len(values) == 1:
            return scaled(values[0], Fraction(-1))
        if frame.head in ("+", "-"):
            return self._bounded(summed(values, Fraction(1 if frame.head == "+" else -1)), frame.at)
        result = values[0]
        for value in values[1:]:
            if value.terms and (result.terms or frame.head == "/"):
                raise self.source.refuse(frame.at, "E-VNNLIB-RELATION", f"'{frame.head}' of two variables is not linear", RELATION)
            if frame.head == "/" and not value.constant:
                raise self.source.fail(frame.at, "E-VNNLIB-NUMBER", "a division by zero")
            factor = value.constant if frame.head == "*" else 1 / (value.constant or Fraction(1))
            result = scaled(value, result.constant) if value.terms else scaled(result, factor)
        return self._bounded(result, frame.at)

    def _bounded(self, value: LinearTerm, at: int) -> LinearTerm:
        """The value, unless nested products or sums made its exact numbers grow without end."""
        for number in (value.constant, *value.terms.values()):
            if number.numerator.bit_length() > _BITS or number.denominator.bit_length() > _BITS:
                raise self.source.fail(at, "E-VNNLIB-NUMBER", "the exact value of this term is too long")
        return value

    def _command(self, frame: _Frame) -> None:
        if self.over and frame.head in _COMMANDS:
            raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", f"'({frame.head}' after (check-sat) or (exit)",
                                   "one query a file: what follows these would not belong to it")
        self.over = self.over or frame.head in _LAST
        if frame.head == "assert":
            if len(frame.values) != 1 or not isinstance(frame.values[0], list):
                raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", "(assert ...) takes one constraint")
            self.asserts.append(frame.values[0])
        elif frame.head in ("declare-const", "declare-fun"):
            self._declare(frame)
        elif frame.head in _DEFINED:
            self._define(frame)
        elif frame.head not in _IGNORED:
            raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", f"'({_short(frame.head)}' is no command of VNN-LIB 1.0",
                                   "declare-const, define-fun or assert")

    def _declare(self, frame: _Frame) -> None:
        words = [value for value in frame.values if isinstance(value, str) and value != "()"]
        if len(words) != 2 or len(frame.values) != (2 if frame.head == "declare-const" else 3):
            raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", f"not a declaration: ({frame.head} X_0 Real) is one")
        name, sort = words
        match = _NAME.fullmatch(name)
        if match is None:
            raise self.source.fail(frame.places[0], "E-VNNLIB-NAME", f"'{_short(name)}' is neither an input X_i nor an output Y_j")
        if sort != "Real":
            raise self.source.refuse(frame.places[-1], "E-VNNLIB-SORT", f"'{_short(sort)}' is not handled, only Real")
        plain = f"{match[1]}_{int(match[2])}"
        if name != plain:
            raise self.source.fail(frame.places[0], "E-VNNLIB-NAME", f"'{_short(name)}' has leading zeros", f"write {plain}")
        if name in self.codes:
            raise self.source.fail(frame.places[0], "E-VNNLIB-DUPLICATE", f"'{name}' is declared twice")
        self.codes[name] = int(match[2]) if match[1] == "X" else -1 - int(match[2])


    def _define(self, frame: _Frame) -> None:
        """`(define-fun name () Real value)`, or Bool: from here on the name stands for the value."""
        words, value = frame.values[:-1], frame.values[-1] if frame.values else ""
        well = len(words) == _DEFINED[frame.head] and all(isinstance(word, str) for word in words)
        well = well and all(word == "()" for word in words[1:-1])
        sorts = {"Real": LinearTerm, "Bool": list}
        if not well or words[-1] not in sorts or not isinstance(value, sorts[str(words[-1])]):
            raise self.source.fail(frame.at, "E-VNNLIB-SYNTAX", "not a definition: (define-fun margin () Real (- Y_0 Y_1)) is one")
        name = str(words[0])
        self._check_name(name, frame.places[0])
        if name in self.named:
            raise self.source.fail(frame.places[0], "E-VNNLIB-DUPLICATE", f"'{_short(name)}' is defined twice")
        self.named.open({name: value})


def summed(values: list[LinearTerm], sign: Fraction) -> LinearTerm:
    """The first value plus `sign` times each of the others."""
    terms, constant = dict(values[0].terms), values[0].constant
    for value in values[1:]:
        constant += sign * value.constant
        for code, factor in value.terms.items():
            terms[code] = terms.get(code, Fraction(0)) + sign * factor
    return LinearTerm(terms, constant)


def scaled(value: LinearTerm, factor: Fraction) -> LinearTerm:
    """`factor` times the value."""
    return LinearTerm({code: factor * term for code, term in value.terms.items()}, factor * value.constant)


def _short(word: str) -> str:
    return word if len(word) <= 40 else word[:37] + "..."
