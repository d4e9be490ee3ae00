"""let and define-fun in VNN-LIB 1.0: the query that a name abbreviates is the query written out."""

from __future__ import annotations

import pytest

from absint.errors import AbsintError
from absint.frontends import vnnlib_reader
from absint.frontends.vnnlib import VnnlibFrontEnd

HEAD = "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "Y_0", "Y_1"))
BOX = "(assert (and (>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1)))\n"


@pytest.fixture
def read(tmp_path):
    def run(text):
        file = tmp_path / "q.vnnlib"
        file.write_text(HEAD + BOX + text)
        return VnnlibFrontEnd().read(file)

    return run


def _said(query):
    return [array.tolist() for array in vars(query.rows).values()], query.region.lower.tolist(), query.region.upper.tolist()


@pytest.mark.parametrize(("short", "long"), [
    ("(assert (let ((d (- Y_0 Y_1))) (>= d 50)))", "(assert (>= (- Y_0 Y_1) 50))"),
    ("(assert (let ((d Y_0) (e 2)) (<= (* e d) 1)))", "(assert (<= (* 2 Y_0) 1))"),
    ("(assert (let ((d Y_0)) (let ((d (+ d Y_1)) (e d)) (>= d e))))", "(assert (>= (+ Y_0 Y_1) Y_0))"),      # parallel, and shadowed
    ("(assert (and (let ((d Y_0)) (>= d 1)) (let ((d Y_1)) (>= d 2))))", "(assert (and (>= Y_0 1) (>= Y_1 2)))"),
    ("(assert (let ((p (<= Y_0 1)) (q (<= X_0 0.5))) (or (and p q) (and p (>= Y_1 3)))))",
     "(assert (or (and (<= Y_0 1) (<= X_0 0.5)) (and (<= Y_0 1) (>= Y_1 3))))"),
    ("(assert (>= (let ((d Y_0)) (+ d 1)) Y_1))", "(assert (>= (+ Y_0 1) Y_1))"),
    ("(define-fun margin () Real (- Y_0 Y_1))(define-fun low () Bool (<= margin 0))(assert low)(assert (>= margin -1))",
     "(assert (<= (- Y_0 Y_1) 0))(assert (>= (- Y_0 Y_1) -1))"),
    ("(define-const half Real 0.5)(assert (or (<= Y_0 half) (>= Y_1 half)))", "(assert (or (<= Y_0 0.5) (>= Y_1 0.5)))"),
    ("(define-fun p () Bool (or (<= Y_0 1) (<= Y_1 1)))(assert (and p (or p (>= Y_0 5))))",
     "(assert (and (or (<= Y_0 1) (<= Y_1 1)) (or (or (<= Y_0 1) (<= Y_1 1)) (>= Y_0 5))))"),
])
def test_a_name_is_what_it_stands_for(read, short, long):
    assert _said(read(short)) == _said(read(long))


@pytest.mark.parametrize(("text", "code"), [
    ("(assert (let d (>= d 50)))", "SYNTAX"),
    ("(assert (let ((d)) (>= d 50)))", "SYNTAX"),
    ("(assert (let ((d Y_0 Y_1)) (>= d 50)))", "SYNTAX"),
    ("(assert (let ((d Y_0))))", "SYNTAX"),
    ("(assert (let () (>= Y_0 50)))", "SYNTAX"),
    ("(assert (let ((d Y_0)) (>= d 1) (>= d 2)))", "SYNTAX"),
    ("(assert (let ((d Y_0) (e d)) (>= e 50)))", "UNDECLARED"),                       # bindings are parallel
    ("(assert (and (let ((d Y_0)) (>= d 50)) (<= d 60)))", "UNDECLARED"),            # and gone behind it
    ("(assert (let ((Y_0 5)) (>= Y_0 4)))", "NAME"),
    ("(assert (let ((1 Y_0)) (>= 1 4)))", "NAME"),
    ("(assert (let ((d (* Y_0 Y_1))) (>= d 50)))", "RELATION"),
    ("(assert (let ((d (>= Y_0 1))) (>= d 50)))", "SYNTAX"),
    ("(define-fun f ((x Real)) Real (+ x 1))(assert (>= (f Y_0) 1))", "OPERATOR"),
    ("(define-fun d () Int Y_0)(assert (>= d 1))", "SYNTAX"),
    ("(define-fun d () Bool Y_0)(assert d)", "SYNTAX"),
    ("(define-fun d () Real Y_0)(define-fun d () Real Y_1)(assert (>= d 1))", "DUPLICATE"),
    ("(define-fun d Real Y_0)(assert (>= d 1))", "SYNTAX"),
    ("(define-fun)(assert (>= Y_0 1))", "SYNTAX"),
    ("(assert (>= d 1))(define-fun d () Real Y_0)", "UNDECLARED"),
    ("(assert (mod Y_0 2))", "OPERATOR"),
])
def test_what_is_no_name_is_refused(read, text, code):
    with pytest.raises(AbsintError) as caught:
        read(text)
    assert caught.value.code == f"E-VNNLIB-{code}"


def test_names_that_double_with_every_line_stop(read):
    lines = ["(define-fun a0 () Bool (or (<= Y_0 1) (<= Y_1 1)))"]
    lines += [f"(define-fun a{k + 1} () Bool (or a{k} a{k}))" for k in range(40)]
    with pytest.raises(AbsintError) as caught:
        read("".join(lines) + "(assert a40)")
    assert caught.value.code == "E-VNNLIB-SIZE"


@pytest.mark.parametrize(("place", "wrong", "text", "right"), [
    ("value", lambda self, name, at: self._held[name][-1],       # not copied: a connective uses up what another one reads
     "(define-fun p () Bool (or (<= Y_0 1) (<= Y_1 1)))(assert (and p (or p (>= Y_0 5))))",
     "(assert (and (or (<= Y_0 1) (<= Y_1 1)) (or (or (<= Y_0 1) (<= Y_1 1)) (>= Y_0 5))))"),
    ("open", lambda self, names: self._held.update({name: [value] for name, value in names.items() if name not in self._held}),  # outermost
     "(assert (let ((d Y_0)) (let ((d Y_1)) (>= d 1))))", "(assert (>= Y_1 1))"),
])
def test_names_that_are_kept_wrongly_are_noticed(read, monkeypatch, place, wrong, text, right):
    monkeypatch.setattr(vnnlib_reader.Names, place, wrong)
    monkeypatch.setattr(vnnlib_reader.Names, "close", lambda self, names: None)
    assert _said(read(text)) != _said(read(right))
