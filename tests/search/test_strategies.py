"""Strategies by name: which stages they are made of, what stands for them where a domain is needed, and a stranger's one file."""

from __future__ import annotations

import json
import sys

import pytest
from bundled import mnist
from costly import images
from places import ROOT

import absint
from absint import samples
from absint.analyses.verify import ProofSettings, verify
from absint.engine.domain import DOMAINS, register_domain
from absint.engine.product import Product
from absint.errors import PluginError, UsageError
from absint.registry import load_plugin
from absint.search.names import class_of, domain_of, method_names, strategy_of, walker_of
from absint.search.strategies.alone import Alone
from absint.search.strategy import STRATEGIES, Stage, Strategy, register_strategy
from absint.testing.kit import ContractError, check_strategy, domain_checks
from absint.verdict import Verdict

FILE = ROOT / "tests/plugins/files/thrifty.py"
Box, DeepPoly, Zonotope = DOMAINS.get("box"), DOMAINS.get("deeppoly"), DOMAINS.get("zonotope")
FEW = "deeppoly:intermediate=coarse/few deeppoly:intermediate=parallel/few"
# label, whether slopes of inner nodes are left, and the flags: x exhaustive, 1 one by one, few for few inputs
SCHEDULES = {
    "box": "box",
    "deeppoly:intermediate=box": "deeppoly",
    "lean": "box deeppoly",
    "alpha": "alpha/light alpha",
    "alpha:inner=0": "alpha",
    "refine": "deeppoly refine/1",
    "refine:base=alpha": "alpha/light alpha refine/1",
    "milp": "deeppoly milp/x1",
    "exact": "deeppoly exact/x refine/1 exact/x",
    "exact:nodes=200": "deeppoly exact/x",
    "exact:base=zonotope": "zonotope exact/x refine/1 exact/x",
    "exact:base=refine": "deeppoly refine/1 exact/x refine/1 exact/x",
    "bab": "alpha/light alpha bab/x",
    "auto": f"{FEW} box layers zonotope deeppoly alpha/light alpha alpha layers/x search/x refine/1 search/x",
    "auto:undecided=0": f"{FEW} box layers zonotope deeppoly alpha/light alpha",
    "auto:undecided=0,inputs=0": "box layers zonotope deeppoly alpha/light alpha",
}


def shown(stage):
    flags = "light" * (not stage.inner_slopes) + "x" * stage.exhaustive + "1" * stage.one_by_one + "few" * bool(stage.inputs)
    return f"{stage.label}/{flags}" if flags else stage.label


@pytest.fixture
def thrifty():
    load_plugin(FILE)
    yield STRATEGIES.get("thrifty")
    del STRATEGIES._entries["thrifty"], sys.modules["absint_plugin_thrifty"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_stages_of_a_name(name):
    assert " ".join(map(shown, strategy_of(name).stages())) == SCHEDULES[name]


def test_an_instance_is_what_its_name_is():
    assert strategy_of(DeepPoly()) == Alone(DeepPoly()) == strategy_of("deeppoly")
    exact = class_of("exact")(nodes=3)
    assert domain_of(exact) is strategy_of(exact) is exact
    assert exact == domain_of("exact:nodes=3")


@pytest.mark.parametrize(("name", "walker"), [
    ("box", Box()), ("exact", DeepPoly()), ("exact:base=zonotope", Zonotope()), ("milp:base=exact", DeepPoly()),
    ("auto:max_generators=7", Product(Zonotope(max_generators=7), DeepPoly())),
])
def test_a_domain_stands_for_a_strategy_where_bounds_are_asked_for(name, walker):
    assert walker_of(name) == walker
    graph = mnist()
    image = images(1).region.center.numpy()
    mine = absint.bounds(graph, image, 0.01, domain=domain_of(name))[graph.output.name]
    assert (mine.lower == absint.bounds(graph, image, 0.01, domain=walker)[graph.output.name].lower).all()


def test_every_name_is_listed_once():
    assert {*DOMAINS, *STRATEGIES} == set(method_names())
    assert not set(DOMAINS) & set(STRATEGIES)
    assert set(STRATEGIES) >= {"auto", "exact", "milp", "refine"}


def test_a_name_that_nobody_has_is_answered_with_near_ones_of_both():
    for wrong, near in (("exat", "exact"), ("zonotop", "zonotope")):
        with pytest.raises(UsageError, match=f"no domain '{wrong}'") as caught:
            domain_of(wrong)
        assert (caught.value.code, near in caught.value.hint) == ("E-DOMAIN-UNKNOWN", True)


def test_a_name_is_of_a_domain_or_of_a_strategy(monkeypatch):
    class Mine(Strategy):
        def stages(self):
            return (Stage(Box()),)

    for register, thing, name in ((register_strategy, Mine, "box"), (register_domain, type("Mine", (Box,), {}), "exact")):
        with pytest.raises(PluginError, match=f"'{name}'") as caught:
            register(name)(thing)
        assert caught.value.code == "E-PLUGIN-DUPLICATE"
    monkeypatch.setitem(STRATEGIES._entries, "box", Mine)     # as two packages might, whose entry points nobody compares
    with pytest.raises(PluginError, match="of a domain and of a strategy"):
        domain_of("box")


def test_what_is_no_strategy_is_refused(monkeypatch):
    monkeypatch.setitem(STRATEGIES._entries, "odd", Box)
    with pytest.raises(PluginError, match="no subclass of Strategy") as caught:
        domain_of("odd")
    assert caught.value.code == "E-PLUGIN-CONTRACT"


# ---- a stranger's ----------------------------------------------------------------------------------------------------


def test_a_strangers_strategy_decides_what_its_stages_do(thrifty):
    problem = images(16, "0.035")
    found = verify(problem, ProofSettings(thrifty(programs=60), attack=None))
    plain = verify(problem, ProofSettings("deeppoly", attack=None))
    assert {result.stage for result in found} >= {"deeppoly float32", "thrifty float32"}
    assert all(b.verdict is Verdict.VERIFIED for a, b in zip(plain, found, strict=True) if a.verdict is Verdict.VERIFIED)
    assert [result.reason for result in found] != [result.reason for result in plain]


def test_a_strangers_strategy_by_its_file(cli, thrifty):
    words = ("--index", "0:3", "--eps", "0.02", "--format", "json")
    done = cli("verify", samples.default_network(), *words, "--plugin", str(FILE), "--domain", "thrifty:boxes=9")
    document = json.loads(done.out)
    assert document["header"]["domain"]["options"] == {"programs": 20, "boxes": 9}
    assert "Bunel" in document["header"]["domain"]["source"]
    assert [row["verdict"] for row in document["instances"]] == ["verified"] * 3
    rows = {row["name"]: row for row in json.loads(cli("domains", "--plugin", str(FILE), "--format", "json").out)}
    assert (rows["thrifty"]["kind"], rows["box"]["kind"]) == ("strategy", "domain")
    assert rows["thrifty"]["help"]["programs"]
    assert "thrifty (strategy)" in cli("domains", "--plugin", str(FILE)).out


@pytest.mark.parametrize("check", ["net/relu", "net/residual", "net/sigmoid"])
def test_a_strangers_strategy_refutes_nothing_that_holds(thrifty, check):
    for stage in thrifty().stages():
        dict(domain_checks(stage.beyond))[check](stage.domain)


def test_stages_that_are_none_are_refused_by_the_kit():
    class Empty(Strategy):
        def stages(self):
            return ()

    with pytest.raises(ContractError, match="one Stage or more"):
        check_strategy(Empty(), quiet=True)
