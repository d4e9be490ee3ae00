"""Commands of `tests/project/test_hints.py` that cannot be parsed; `tests/cli/test_cli_slips.py` has more of their kind."""

from __future__ import annotations

from hint_cases import V
from hint_commands import T, rows

_BOX = "--domain box --attack none"

SLIPS = [*rows(
    "E-USAGE",
    ("see absint {} {}", f"{V} --nonsense", V),
    ("see absint {}", "--nonsense", "domains"),
    ("name the network: absint verify net.onnx; see absint verify --help", "verify", "verify net.onnx", "E-MODEL-MISSING"),
    ("{}; the first before the other: {}", "verify NET CUBE", "verify CUBE --compose NET --data DATA", "E-COMPOSE-RANGE"),
    ("the network of a query: {}", "verify NET QUERY", "query QUERY --network NET"),
    ("a query has its own command: {}", "verify NET --spec QUERY", "query QUERY --network NET"),
    ("did you mean {}?", "NET --data DATA --domain box --attack none", V),
    ("did you mean {}? {}", f"verify NET --dataset DATA {_BOX}", V),
    ("the network has no option before it: {}", f"verify --model NET --data DATA {_BOX}", f"verify NET --data DATA {_BOX}"),
    ("did you mean --format {}?", f"{V} --json", f"{V} --format json"),
    ("a command has no dashes: absint {}", "--domains", "domains"),
    ("{} is an option of absint {}; {}", "errors NET --data DATA --norm l2", f"{V} --norm l2"),
    ("there are {}; {}", "nonsense", "domains"),
    ("one of: {}; {}", "taboo", T),
    ("journals have no option before them: {}", "report --journal KEPT", "report KEPT"),
), *rows(
    "E-DATA-NONE",
    ("give the training inputs with --data FILE (npz, npy, CSV or IDX)", "taboo calibrate TABOO --detector TMP/t.json", T),
), *rows(
    "E-REGION-OVERFLOW",
    ("take a smaller radius or range of inputs: --upper, --eps, --clip LOW,HIGH or --box",
     f"radius NET --data DATA --clip none --upper 1e38 --tolerance 1e37 {_BOX}", f"radius NET --data DATA --clip none --upper 1 {_BOX}")
), *rows(
    "E-REGION-UNDEFINED",
    ("take a region without it: --eps, --clip LOW,HIGH or --box; or keep what is divided by away from 0",
     "verify NORMED --box ZEROBOX --label 0 --domain box --attack none", "verify NORMED --box BOX --label 0 --domain box --attack none"))]
