"""DVC's graph: which stages there are, which have changed, and how one is run. The only module that knows DVC."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx

from ledger.errors import ConfigurationError, DataError, PricecutError

DEFAULT_POOL = "cpu"
TAIL = 20
"""Lines of a stage that are kept for the message, should it fail."""

Tell = Callable[[str], None]

_running: set[subprocess.Popen[str]] = set()
_stopping = threading.Event()


def label_of(address: str) -> str:
    """Return an address without the pipeline's file: ``vote@customer_service``."""
    return address.rpartition(":")[2]


@dataclass(frozen=True)
class Stage:
    """A stage of the graph.

    Attributes
    ----------
    address : str
        As DVC names it: ``vote@customer_service``, ``benchmarks/dvc.yaml:vote@youtube_spam``.
    pool : str
        The resource pool that its ``meta:`` names.
    needs : tuple of str
        The addresses of the stages whose outputs it reads.
    outputs : tuple of str
        Relative to the project's root.
    """

    address: str
    pool: str
    needs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def label(self) -> str:
        """The address without the pipeline's file: ``vote@customer_service``."""
        return label_of(self.address)


class StageError(PricecutError):
    """A stage's process ended with an error, which it has said itself.

    Parameters
    ----------
    stage : str
        Its label.
    code : int
        What its process exited with: 2 where a person can mend it.
    said : str
        The last that it said.
    """

    def __init__(self, stage: str, code: int, said: str) -> None:
        super().__init__(f"{stage}: {said}" if not said.startswith(stage.partition("@")[0]) else said)
        self.exit_code = code


def read_graph() -> dict[str, Stage]:
    """Read every stage of every ``dvc.yaml`` of the project, a stage always after those that it needs.

    Raises
    ------
    ConfigurationError
        If this is no DVC repository, or a dvc.yaml cannot be read.
    """
    with _repository() as repo:
        graph = repo.index.graph
        root = Path(repo.root_dir)
        stages = {}
        for stage in reversed(list(nx.lexicographical_topological_sort(graph, key=lambda stage: stage.addressing))):
            if not hasattr(stage, "name"):
                continue  # a .dvc file: data that someone added, nothing to run
            stages[stage.addressing] = Stage(
                address=stage.addressing,
                pool=(stage.meta or {}).get("pool", DEFAULT_POOL),
                needs=tuple(sorted(need.addressing for need in graph.successors(stage) if hasattr(need, "name"))),
                outputs=tuple(os.path.relpath(out.fs_path, root) for out in stage.outs),
            )
        return stages


def stages_of(graph: dict[str, Stage], app: str, last: str | None = None) -> dict[str, Stage]:
    """Return an app's stages and all that they need, in order.

    Parameters
    ----------
    graph : dict of str to Stage
        As `read_graph` returns it.
    app : str
        The app.
    last : str or None
        Only up to this stage (``label``); None for all.
    """
    wanted = [a for a, stage in graph.items() if stage.label.partition("@")[2] == app]
    if last is not None:
        wanted = [address for address in wanted if graph[address].label.partition("@")[0] == last]
    needed: set[str] = set()
    frontier = list(wanted)
    while frontier:
        address = frontier.pop()
        if address not in needed:
            needed.add(address)
            frontier.extend(graph[address].needs)
    return {address: stage for address, stage in graph.items() if address in needed}


def producer(graph: dict[str, Stage], path: Path) -> Stage | None:
    """Return the stage that writes a path, or None where it is a source."""
    return next((stage for stage in graph.values() if str(path) in stage.outputs), None)


def changed_stages(addresses: Iterable[str]) -> set[str]:
    """Ask DVC which stages would run: a dependency, a parameter, the command or an output is not as it was left."""
    with _repository() as repo:
        return set(repo.status(targets=list(addresses))) if addresses else set()


def run_stage(address: str, tell: Tell) -> bool:
    """Run one stage by ``dvc repro --single-item``, in a process group of its own, and pass on what it says.

    Parameters
    ----------
    address : str
        As in the graph.
    tell : callable
        Takes each line as it comes.

    Returns
    -------
    bool
        Whether it ran, or its outputs were brought back from DVC's cache; False where nothing had changed.

    Raises
    ------
    StageError
        If the stage failed, with what it said last.
    """
    # DVC's own lock is held by whoever starts or ends a stage at this moment: wait for it rather than fail.
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", address]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    if _stopping.is_set():
        raise StageError(label_of(address), 1, "not started: the run was interrupted")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    said: deque[str] = deque(maxlen=TAIL)
    moved = False
    _running.add(process)
    try:
        if _stopping.is_set():  # between the question above and the start
            _end_group(process)
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.rstrip()
            moved = moved or line.startswith("Running stage") or "is cached - skipping run" in line
            if is_worth_telling(line):
                said.append(line)
                tell(line)
        process.wait()
    finally:
        _running.discard(process)
        _end_group(process)
    if process.returncode:
        raise _failure(address, process.returncode, said)
    return moved


NOISE = re.compile(
    r"^(> |Running stage|Updating lock file|Generating lock file|Use `dvc push`|To track the changes|To enable auto staging|"
    r"git add|Data and pipelines are up to date|Stage '|Verifying (outputs|data)|"
    r"dvc config core.autostage|INFO: Created TensorFlow Lite|"
    # TensorFlow's, written before it can be told to be silent.
    r"WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} \d\d:\d\d:)"
)


def is_worth_telling(line: str) -> bool:
    """Whether a line is news to whoever watches: not DVC's bookkeeping and tips, nor TensorFlow's search for a GPU."""
    return bool(line.strip()) and not NOISE.match(line.strip())


def _failure(address: str, code: int, said: Iterable[str]) -> StageError:
    """Turn what a failed stage said into one message: its own, not DVC's about it."""
    lines = list(said)
    exited = re.search(r"exited with (\d+)", "\n".join(lines))
    own = [line for line in lines if not line.startswith("ERROR: failed to reproduce")]
    label = label_of(address)
    if exited and int(exited[1]) == 2 and own:
        stage = label.partition("@")[0]
        start = next((i for i, line in enumerate(own) if line.startswith(f"{stage} ")), len(own) - 1)
        return StageError(label, 2, "\n".join(own[start:]))
    whole = "\n".join(own[-3:]) or "\n".join(lines)
    if exited is None and (missing := re.search(r"missing data 'source': (.*)", "\n".join(lines))):
        return StageError(label, 2, f"{missing[1]}: not found; bring it there, or correct apps in params.yaml")
    return StageError(label, int(exited[1]) if exited else code, whole)


def end_running() -> None:
    """End every stage that this process has started, and all that these have started; start no further one."""
    _stopping.set()
    for process in list(_running):
        _end_group(process)


def _end_group(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _repository() -> Any:
    from dvc.exceptions import DvcException, NotDvcRepoError  # half a second
    from dvc.repo import Repo

    try:
        return Repo()
    except NotDvcRepoError:
        raise ConfigurationError(
            f"{Path.cwd()}: no DVC repository; run `dvc init` there, or change into your clone"
        ) from None
    except DvcException as error:
        raise DataError(f"dvc.yaml: {error}") from None
