"""``pricecut push``: `dvc push`, of sound objects only."""

import subprocess
import sys
from typing import Annotated

import typer

from flows.root import enter_root
from flows.shell import MEND, tell


def push(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="[TARGET]...", help="As `dvc push` takes them; none: all outputs.")
    ] = None,
) -> None:
    """Push outputs, and what DVC remembers of runs, to DVC's remote, having looked at the bytes of each object.

    `dvc push` sends what stands in its cache, whatever became of it there.
    """
    from flows.repository import Repository

    enter_root()
    for line in Repository().mend_cache():
        tell(line)
    if subprocess.run([sys.executable, "-m", "dvc", "push", "--run-cache", *(targets or [])], check=False).returncode:
        tell("DVC has not pushed everything: what it says stands above; look at `dvc remote list`, then push again")
        raise typer.Exit(MEND)
