"""`errors` as an analysis: what it makes of its options. The mathematics is in `absint.search.error_rates` and `verify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

from absint.analyses.errors.options import ErrorsOptions
from absint.analyses.errors.record import ImageErrors
from absint.contract.analysis import Analysis, Item
from absint.contract.document import Document, Json
from absint.contract.run import Run

if TYPE_CHECKING:
    from absint.analyses.errors.asking import ErrorsTask
    from absint.model.graph import Graph


class Errors(Analysis[ErrorsOptions, ImageErrors]):
    """Errors of a classifier: clean, under attack, and verified by each domain, side by side.

    The verified error is the share of images that a domain does not prove robust, the misclassified ones included: at most so many
    are misclassified anywhere in their balls. The error under attack is a lower bound of that share: each of its images is misclassified
    at a point that is proved to lie in the ball and to be misclassified in exact arithmetic. Where a domain proves what an attack broke,
    the run ends with E-CONTRADICTION. The long attack tries only what no domain proved.
    Without arguments a bundled network is judged on bundled images. --data also takes a folder of training data, whose test part is meant.

    Exit code 0: every image was decided by every domain asked, and by the attack. 1: a limit left some open, or some failed.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error or contradiction, 130 interrupted.
    """

    Options = ErrorsOptions
    Record = ImageErrors
    records: ClassVar[str] = "images"
    positional: ClassVar[tuple[str, ...]] = ("net", "data", "labels", "eps")
    function: ClassVar[str] = "error_rates"

    def check(self, options: ErrorsOptions) -> None:
        """What is wrong whatever the network."""
        from absint.analyses.errors.asking import check_options

        check_options(options)

    def resolved(self, options: ErrorsOptions) -> ErrorsOptions:
        """With a bundled network where none is named."""
        if options.net is not None:
            return options
        from absint import samples

        return replace(options, net=samples.default_network())

    def suits(self, graph: Graph) -> None:
        """Two classes at least."""
        from absint.problem.problem import check_classes

        check_classes(graph)

    def prepare(self, run: Run[ErrorsOptions]) -> ErrorsTask:
        """Radius, domains, attacks and labels."""
        from absint.analyses.errors.asking import asked_of

        return asked_of(run)

    def items(self, run: Run[ErrorsOptions]) -> Sequence[Item]:
        """The images; each has its limit once for every domain, and for the attack."""
        limit = run.timeout * (len(run.problem.domains) + 1)
        return [replace(item, limit=limit if isfinite(limit) else None) for item in super().items(run)]

    def about(self, run: Run[ErrorsOptions]) -> Mapping[str, Json]:
        """The ball, the attack, the domains, and what the numbers mean."""
        from absint.search.names import source_of

        task: ErrorsTask = run.problem
        clip, attack = run.options.clip, task.attack
        return {
            "property": {"text": "y[label] > y[j] for every other class j", "norm": "linf", "eps": task.text, "clip": clip and list(clip)},
            "attack": None if attack is None else {**asdict(attack), "source": "Gowal et al. 2018, arXiv:1810.12715, section 4"},
            "domains": {name: {"source": source_of(one), "searches": name in task.searching} for name, one in task.domains.items()},
            "only_open": task.only_open,
            "assurance": "verified: at most this share is misclassified anywhere in the balls, in exact real arithmetic; under attack: at "
                         "least this share, each at a proved point"}

    def binding(self, run: Run[ErrorsOptions]) -> Mapping[str, Json]:
        """Objects go by their class and fields."""
        return {"domains": {name: repr(one) for name, one in run.problem.domains.items()}}

    def opening(self, run: Run[ErrorsOptions], count: int) -> str:
        """What is judged."""
        task: ErrorsTask = run.problem
        attack = "" if task.attack is None else f", attack of {task.attack.steps} steps from {task.attack.restarts} starts"
        return f"errors on {count} inputs of {run.data_name}: linf eps {task.text}, {', '.join(task.domains)}{attack}"

    def decide(self, items: Sequence[Item], run: Run[ErrorsOptions]) -> Iterator[ImageErrors]:
        """Blocks of images, each told as soon as nothing about it is open."""
        from absint.analyses.errors.deciding import answers

        yield from answers(run, [item.index for item in items])

    def word(self, record: ImageErrors) -> str:
        """The strongest that is known of it."""
        if not record.correct:
            return "misclassified"
        return "proved" if True in record.proved.values() else "attacked" if record.attacked else "open"

    def tone(self, record: ImageErrors) -> str:
        """By that word."""
        return {"proved": "good", "attacked": "bad", "misclassified": "bad"}.get(self.word(record), "open")

    def document(self, records: Sequence[ImageErrors], run: Run[ErrorsOptions]) -> Document:
        """The table of rates."""
        from absint.analyses.errors.summary import summed_up

        return summed_up(records, run)
