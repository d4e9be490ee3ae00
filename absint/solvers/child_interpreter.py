"""How absint starts Python: from what is installed, never from where the user happens to stand.

A downloaded benchmark may hold a `numpy.py` or a folder `absint`; `python -m` would import it from the working directory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def python_command(*words: str) -> list[str]:
    """The command that runs this interpreter on `words`, with nothing but installed packages and PYTHONPATH to import from."""
    return [sys.executable, "-P", *words]


def python_environment(**more: str) -> Mapping[str, str]:
    """This process's environment, and `more`, for such a command.

    Entries of PYTHONPATH that are empty or relative mean the working directory, too (`PYTHONPATH=$PYTHONPATH:/lib` makes an
    empty one): only absolute ones are passed on. Python that the child starts keeps to the same rule.
    """
    environment = {**os.environ, "PYTHONSAFEPATH": "1", **more}
    kept = [entry for entry in environment.pop("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    return {**environment, "PYTHONPATH": os.pathsep.join(kept)} if kept else environment
