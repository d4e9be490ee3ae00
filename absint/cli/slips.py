"""A command line that cannot be parsed, as one message that says what was probably meant: the nearest word, or the whole command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any

from absint.contract.analysis import ANALYSES, analysis_of
from absint.contract.options import options_of
from absint.errors import AbsintError, UsageError

_MODELS = (".onnx", ".onnx.gz", ".nnet", ".pt2", ".pth", ".pt", ".h5", ".keras")
_QUERIES = (".vnnlib", ".vnnlib.gz", ".smt2")
_DATA = (".npz", ".npy", ".csv", ".csv.gz", ".png", ".jpg", ".jpeg", ".parquet", ".mat")
_FIRST_OF = {_MODELS: "verify", _QUERIES: "query", (".jsonl",): "report", (".toml",): "sweep"}      # a file in place of a command
# What other tools call it -> what it is called here.
_CALLED: Mapping[str, str] = {
    **dict.fromkeys(("epsilon", "epsilons", "radii", "eps-linf", "perturbation", "radius", "delta", "e"), "--eps"),
    **dict.fromkeys(("dataset", "images", "inputs", "input", "samples", "test-data", "d"), "--data"),
    **dict.fromkeys(("method", "bound-method", "abstraction", "algorithm", "verifier"), "--domain"),
    **dict.fromkeys(("output-file", "result", "results", "results-file", "save-output", "report", "o"), "--out"),
    **dict.fromkeys(("p", "lp", "p-norm", "metric", "ball"), "--norm"),
    **dict.fromkeys(("time-limit", "timelimit", "limit", "t"), "--timeout"),
    **dict.fromkeys(("batch-size", "batchsize"), "--batch"),
    **dict.fromkeys(("num-samples", "count", "n", "num"), "--sample"),
    **dict.fromkeys(("indices", "instance", "instances", "start"), "--index"),
    **dict.fromkeys(("range", "bounds", "input-range", "data-range"), "--clip"),
    **dict.fromkeys(("precision", "float"), "--dtype"), **dict.fromkeys(("targets", "target-class"), "--target"),
    **dict.fromkeys(("generator", "prefix"), "--compose"), **dict.fromkeys(("q", "silent"), "--quiet"),
}
_NETWORK = ("model", "net", "network", "netname", "onnx", "onnx-path", "m")
_PROPERTY = ("spec", "property", "prop", "vnnlib", "vnnlib-path", "query")
_JOURNAL = ("journal", "journals", "log", "input", "inputs", "file")
_NEAR = 0.85     # so like a word of the command that one of other commands is not meant
_OF_JOURNALS = ("report", "merge")
_FORMATS = ("json", "jsonl", "csv", "html", "markdown", "junit", "sarif")


def slip_of(error: Any, words: Sequence[str], commands: Collection[str]) -> UsageError:
    """What to say of an error of the parser. words: of the command line, without 'absint'.  commands: first words of all commands."""
    text = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    command = _named(words, commands) if context is None else " ".join(context.command_path.split()[1:])
    name, help_ = f"absint {command}".rstrip(), _help_hint(command)
    if getattr(error, "option_name", None) is not None and text.startswith("No such option"):
        return UsageError("E-USAGE", f"{name} has no such option", where=error.option_name,
                          hint=_option_hint(error.option_name, words, command, (set(_words_of(context)), commands)))
    if text.startswith("No such command"):
        return _command(words, command, context, commands)
    if text.startswith("Got unexpected extra argument"):
        extra = [word for word in words if word in text.partition("(s) ")[2].strip("()").split()]
        return UsageError("E-USAGE", f"{name} takes no more arguments", where=" ".join(dict.fromkeys(extra)) or None,
                          hint=_extra_hint(words, command, set(_words_of(context))) or help_)
    bare = re.match(r"Option '(--?[\w-]+)' requires an argument", text)
    if bare is not None:
        return UsageError("E-USAGE", f"{name}: this option takes a value", where=bare[1], hint=_value_hint(bare[1], words, command))
    if not text or text == "Missing command":
        known = ", ".join(getattr(context.command, "commands", {})) if context is not None else ""
        return UsageError("E-USAGE", "which command?", where=name, hint=f"one of: {known}; {help_}" if known else help_)
    return UsageError("E-USAGE", text, hint=help_)


def _named(words: Sequence[str], commands: Collection[str]) -> str:
    """The command that is meant, with the second word of one in a group; '' where there is none."""
    first = next((word for word in words if word in commands), "")
    return next((f"{first} {word}" for word in words if f"{first}.{word}" in ANALYSES), first)


def _help_hint(command: str, word: str = "--help") -> str:
    return f"see absint {command} {word}" if command else f"see absint {word}"


def _words_of(context: Any) -> Iterator[str]:
    """The options of a command."""
    for one in context.command.params if context is not None else ():
        if one.param_type_name == "option":
            yield from (*one.opts, *one.secondary_opts)


# ---- options --------------------------------------------------------------------------------------------------------------------


def _option_hint(name: str, words: Sequence[str], command: str, there: tuple[set[str], Collection[str]]) -> str:
    """there: the options of the command, and all commands."""
    (known, commands), plain = there, name.lstrip("-").replace("_", "-").lower()
    value, rest = _taken(words, name)
    if plain in _PROPERTY and command in ("", "verify", "query") and value:
        return f"a query has its own command: {_query_line(value, rest)}"
    query = next((word for word in rest if word.lower().endswith(_QUERIES)), "")
    if plain in _NETWORK and query and command in ("", "verify", "query"):
        return f"the network of a query: {_query_line(query, [*rest, value or 'net.onnx'])}"
    if plain in _NETWORK:
        return f"the network has no option before it: {_network_line(value, rest, command)}"
    if plain in _JOURNAL and command in _OF_JOURNALS:
        behind = rest[len(command.split()) :]
        return f"journals have no option before them: {shlex.join(['absint', command, value or 'run.jsonl', *behind])}"
    if plain in _FORMATS and "--format" in known:
        return f"did you mean --format {plain}?"
    meant = _CALLED.get(plain, f"--{plain}")
    if meant in known:
        return f"did you mean {meant}? {shlex.join(['absint', *(_renamed(word, name, meant) for word in words)])}"
    if plain in commands and not command:
        return f"a command has no dashes: absint {plain}"
    near = get_close_matches(f"--{plain}", sorted(known), 2, 0.7)
    others = [other.replace(".", " ") for other in _having(meant)]
    nearer = near and (f"--{plain}".startswith(near[0]) or SequenceMatcher(None, f"--{plain}", near[0]).ratio() > _NEAR)
    if others and not nearer:
        return f"{meant} is an option of absint {', '.join(others)}; {_help_hint(command, '--help-all')}"
    return f"did you mean {' or '.join(near)}? {_help_hint(command, '--help-all')}" if near else _help_hint(command)


def misplaced_hint(name: str, words: Sequence[str]) -> str:
    """What to do about an option that an analysis does not have. name: of the analysis, to which another command may have passed it on."""
    value, rest = _taken(words, "--network")
    if words[0] == "verify" and value and not any(word.lower().endswith(_QUERIES) for word in words):
        return f"the network has no option before it: {_network_line(value, rest, 'verify')}"
    return f"see absint {name.replace('.', ' ')} --help-all"


def _value_hint(option: str, words: Sequence[str], command: str) -> str:
    """What to do about an option without its value, which may stand before it."""
    pack = next((word for word in words if word.lower().endswith(".zip")), "")
    if option == "--check" and pack:
        return f"did you mean {shlex.join(['absint', *command.split(), option, pack])}?"
    return f"put it behind: {option} VALUE; see absint {command} --help-all"


def _taken(words: Sequence[str], name: str) -> tuple[str, list[str]]:
    """The value after an option, and the words without both."""
    for place, word in enumerate(words):
        if word.startswith(f"{name}="):
            return word.partition("=")[2], [*words[:place], *words[place + 1 :]]
        if word == name:
            has = place + 1 < len(words) and not words[place + 1].startswith("-")
            return words[place + 1] if has else "", [*words[:place], *words[place + 1 + has :]]
    return "", list(words)


def _renamed(word: str, name: str, meant: str) -> str:
    return meant if word == name else f"{meant}={word.partition('=')[2]}" if word.startswith(f"{name}=") else word


def _having(option: str) -> Iterator[str]:
    for name in ANALYSES.names():
        try:
            options = options_of(analysis_of(name).Options)
        except AbsintError:     # a broken plug-in
            continue
        if option in {one.word for one in options if one.words.command}:
            yield name


def _network_line(value: str, rest: Sequence[str], command: str) -> str:
    first = (command or "verify").split()
    behind = rest[len(first) :] if command else rest
    there = any(word.endswith(_MODELS) for word in behind)
    return shlex.join(["absint", *first, *([] if there else [value or "net.onnx"]), *behind])


def _query_line(query: str, rest: Sequence[str]) -> str:
    stated = [word.partition("=")[2] for word in rest if word.startswith("--network=")]
    net = next((word for word in (*stated, *rest) if word.endswith(_MODELS)), "net.onnx")
    network = ["--network", net]
    timeout = [word for place, word in enumerate(rest) if word.startswith("--timeout") or (place and rest[place - 1] == "--timeout")]
    return shlex.join(["absint", "query", query, *network, *timeout])


# ---- commands and what stands behind them ---------------------------------------------------------------------------------------


def _command(words: Sequence[str], command: str, context: Any, commands: Collection[str]) -> UsageError:
    behind = list(words[len(command.split()) :]) if command else list(words)
    word = next((one for one in behind if not one.startswith("-")), "")
    known = sorted(getattr(context.command, "commands", {})) if command else sorted(commands)
    return UsageError("E-USAGE", "no such command", where=f"absint {command} {word}".replace("  ", " "),
                      hint=_command_hint(word, behind, command, known))


def _command_hint(word: str, words: Sequence[str], command: str, known: Sequence[str]) -> str:
    if not command:
        meant = next((other for endings, other in _FIRST_OF.items() if word.lower().endswith(endings)), "")
        if meant:
            return f"did you mean {shlex.join(['absint', meant, *words])}?"
        if word in ("help", "version"):
            return f"did you mean {shlex.join(['absint', *(one for one in words if one != word), f'--{word}'])}?"
    near = get_close_matches(word, known, 2, 0.6)
    if not command:
        near += [name.replace(".", " ") for name in ANALYSES.names() if name.partition(".")[2] == word]
    before = f"{command} " if command else ""
    if near:
        return f"did you mean {' or '.join(f'absint {before}{one}' for one in near)}?"
    return f"there are {', '.join(known)}; {_help_hint(command)}"


def _extra_hint(words: Sequence[str], command: str, known: set[str]) -> str:
    """What more files than a command takes may be for; '' where nothing is known of it."""
    nets = [word for word in words if word.lower().endswith(_MODELS)]
    query = next((word for word in words if word.lower().endswith(_QUERIES)), "")
    if query and nets and command in ("verify", "query"):
        return f"the network of a query: {_query_line(query, words)}"
    if len(nets) > 1:
        one = f"absint {command} {shlex.quote(nets[-1])} --compose {shlex.quote(nets[0])}" if "--compose" in known else ""
        eps = _taken(words, "--eps")[0] or "0.01"
        several = f"side by side: {shlex.join(['absint', 'sweep', *dict.fromkeys(nets), '--eps', eps])}" if command == "verify" else \
            "one network a run: repeat the command for the others"
        return several + (f"; the first before the other: {one}" if one else "")
    data = next((word for word in words if word.lower().endswith(_DATA)), "")
    if data and "--data" in known and "--data" not in words:
        return f"did you mean {shlex.join(['absint', *(word for word in words if word != data), '--data', data])}?"
    return ""
