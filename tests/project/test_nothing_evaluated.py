"""Nothing that a user's file says is ever run, and every process is started in the places that know how. Read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from places import ROOT

FOLDERS = ("absint", "domains", "frontends")

CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "pickle.load", "pickle.loads", "cloudpickle.loads",
         "np.frompyfunc"}
MODULES = {"pickle", "marshal", "shelve", "yaml", "dill", "joblib", "runpy", "code", "sympy"}
STARTERS = {"subprocess", "multiprocessing", "pty", "concurrent.futures.process"}
STARTING = {"os.fork", "os.execv", "os.execve", "os.posix_spawn", "os.spawnv", "ProcessPoolExecutor", "sys.executable"}
MAY_START = {"absint/runs/worker_process.py", "absint/solvers/isolated_process.py", "absint/solvers/child_interpreter.py"}
# A run and a process that it has started, over a pipe that nobody else holds: options may be live objects.
# The same between a run and the workers that it has started in a cluster of the user's.
PICKLING = {("pickle", "absint/runs/processes.py"), ("pickle", "absint/runs/worker.py"), ("cloudpickle", "absint/runs/parcel.py")}
# Modules imported by a name that is computed: where from it comes, never from a file of the user's.
COMPUTED = {**dict.fromkeys(("absint/__init__.py", "absint/analyses/bounds/__init__.py", "absint/analyses/taboo/__init__.py",
                             "absint/analyses/validate/__init__.py"),
                            "a table of its own"),
            "absint/model/ops/__init__.py": "the modules of the package",
            "absint/cli/doctor.py": "the dependencies that absint declares"}


def breaches(name: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            roots = {part for module in modules for part in (module, module.partition(".")[0])}
            yield from (f"{name}:{node.lineno} imports {m}" for m in sorted(roots & MODULES) if (m, name) not in PICKLING)
            yield from (f"{name}:{node.lineno} starts by {m}" for m in sorted(roots & STARTERS) if name not in MAY_START)
        if isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node) in STARTING and name not in MAY_START:
            yield f"{name}:{node.lineno} {ast.unparse(node)}"
        if isinstance(node, ast.Call):
            yield from _calls(name, node)


def _calls(name: str, node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    given = {k.arg: k.value for k in node.keywords}
    if called in CALLS and (called.partition(".")[0], name) not in PICKLING:
        yield f"{name}:{node.lineno} {called}"
    for option in ("shell", "allow_pickle"):
        if option in given and not (isinstance(given[option], ast.Constant) and given[option].value is False):
            yield f"{name}:{node.lineno} {option}"
    if called in ("np.load", "numpy.load") and "allow_pickle" not in given:
        yield f"{name}:{node.lineno} np.load does not say that it unpickles nothing"
    if called.endswith("import_module") and name not in COMPUTED:
        yield f"{name}:{node.lineno} {called}"
    if called.endswith("Popen") and "env" not in given:
        yield f"{name}:{node.lineno} a child with this process's environment"
    if called in ("re.compile", "re.search", "re.match", "re.fullmatch", "re.sub", "re.split", "re.finditer") and node.args and any(
            isinstance(part, (ast.Name, ast.Attribute)) for part in ast.walk(node.args[0])):
        yield f"{name}:{node.lineno} a pattern that is computed"
    if called.endswith(".format") and not isinstance(node.func.value, ast.Constant):
        yield f"{name}:{node.lineno} a format that is computed"


def test_nothing_of_a_file_is_run():
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 100
    assert [line for path in files for line in breaches(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("line", [
    "eval(text)", "exec(text)", "compile(text, 'f', 'exec')", "import pickle", "from yaml import load", "torch.load(path)", "np.load(path)",
    "np.load(path, allow_pickle=True)", "import subprocess", "from multiprocessing import Pool", "f(shell=True)", "import_module(name)",
    "os.system(text)", "[sys.executable, '-m', 'absint']", "re.compile(text)", "re.search(f'{name}', text)", "text.format(x)",
    "subprocess.Popen(words)", "from concurrent.futures import x; ProcessPoolExecutor()",
])
def test_each_rule_has_been_seen_to_fail(line):
    assert list(breaches("absint/planted.py", line))
