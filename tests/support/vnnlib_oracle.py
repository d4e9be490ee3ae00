"""What a VNN-LIB 1.0 text means, decided in rationals by a recursive reader of a few lines; and points to ask it about."""

from __future__ import annotations

import re
from fractions import Fraction
from math import inf, nextafter
from operator import ge, gt, le, lt

import numpy as np

RELATIONS = {"<=": le, "<": lt, ">=": ge, ">": gt, "=": lambda a, b: a == b}


def tree(text):
    """The commands of a text as nested lists."""
    words = re.findall(r"[()]|[^\s()]+", re.sub(r";[^\n]*", "", text))
    stack = [[]]
    for word in words:
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)
    return stack[0]


def value(node, point):
    if isinstance(node, str):
        return point[node] if node in point else Fraction(node)
    head, *rest = node
    values = [value(child, point) for child in rest]
    if head == "+":
        return sum(values)
    if head == "-":
        return -values[0] if len(values) == 1 else values[0] - sum(values[1:])
    product = Fraction(1)
    for v in values:
        product *= v
    return product


def holds(node, point):
    head, *rest = node
    if head == "and":
        return all(holds(child, point) for child in rest)
    if head == "or":
        return any(holds(child, point) for child in rest)
    return RELATIONS[head](value(rest[0], point), value(rest[1], point))


def satisfied(text, x, y):
    """Whether inputs x and outputs y (floats, taken as exact) satisfy every assert."""
    point = {f"X_{k}": Fraction(v) for k, v in enumerate(x)} | {f"Y_{k}": Fraction(v) for k, v in enumerate(y)}
    return all(holds(command[1], point) for command in tree(text) if command[0] == "assert")


def said(query, x, y, *, inward):
    """Whether some cell of the query holds x and, with biases rounded inward or outward, y."""
    for group in query.groups():
        for k, cell in enumerate(group.cell.tolist()):
            spec = query.spec(group.rows[k : k + 1], inward=inward)
            if query.region.contains(cell, np.array(x)) and spec.violated_exactly(0, np.array(y)):
                return True
    return False


def near(text):
    """Floats at and next to every number of a text: where strictness and rounding show."""
    numbers = {float(word) for word in re.findall(r"(?<![\w.])-?\d+\.?\d*(?:e-?\d+)?", text)}
    return sorted({f for n in numbers for f in (nextafter(n, -inf), n, nextafter(n, inf))})


def declared(inputs, outputs):
    return "".join(f"(declare-const {v} Real)\n" for v in (*(f"X_{k}" for k in range(inputs)), *(f"Y_{k}" for k in range(outputs))))


def disagreement(query, text, points):
    """A point where the query says less than an enclosure of the text outward, or more than its inside inward; None if none."""
    for x, y in points:
        truth = satisfied(text, x, y)
        if truth and not said(query, x, y, inward=False):
            return x, y, "the proof's set leaves out a point of the text's"
        if not truth and said(query, x, y, inward=True):
            return x, y, "the witness's set holds a point that is none of the text's"
    return None
