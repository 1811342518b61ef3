"""Made projects: small DVC and git repositories of stages that sleep, compute and fail, to run whole and to compare byte for byte.

`branches` makes the graph that speed is measured on, `random_graph` the ones that are killed and that fail. A project is written once
(`write_project`) and copied for each run (`copy_project`): a copy knows nothing of what ran in another.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.work import FAILURES, JOURNAL

WORK = Path(__file__).with_name("work.py")
ROOT = Path(__file__).parents[1]
DVC = (sys.executable, "-m", "dvc")
METRICS = 0.2
"""The share of plain stages of a random graph whose output DVC does not cache."""
FLOW = (sys.executable, "-m", "flows.command", "run")


@dataclass(frozen=True)
class Node:
    """A stage to be made.

    Attributes
    ----------
    name : str
        It writes ``out/<name>``.
    needs : tuple of str
        The names of those whose outputs it reads.
    how : str
        ``sleep``, ``child`` or ``compute``.
    amount : float
        Seconds, or rounds of computing.
    fails : int
        How many attempts fail before one goes through.
    retries : int
        As ``meta`` has it.
    kind : str
        ``file``, ``folder``, or ``metric``: a file that DVC does not cache, so that its run-cache does not help.
    shape : str
        ``plain``, ``foreach`` (a stage a number of needs), or ``matrix`` (the node's name ends in ``-left`` or ``-right``, and its twin is
        the same in all else).
    """

    name: str
    needs: tuple[str, ...] = ()
    how: str = "sleep"
    amount: float = 0.0
    fails: int = 0
    retries: int = 0
    kind: str = "file"
    shape: str = "plain"

    @property
    def address(self) -> str:
        """The stage's, as DVC names it."""
        if self.shape == "foreach":
            return f"each{len(self.needs)}@{self.name}"
        return self.name.replace("-", "@", 1) if self.shape == "matrix" else self.name


def branches(stages: int = 40, count: int = 4, how: str = "sleep", amount: float = 1.0) -> list[Node]:
    """Return chains of stages side by side; every second stage of a chain is one of a ``foreach``."""
    nodes = []
    for branch in range(count):
        for step in range(stages // count):
            needs = (f"b{branch}s{step - 1:02d}",) if step else ()
            shape = "foreach" if step % 2 else "plain"
            nodes.append(Node(f"b{branch}s{step:02d}", needs, how, amount, shape=shape))
    return nodes


def random_graph(
    draw: random.Random,
    stages: int,
    seconds: tuple[float, float] = (0.0, 0.0),
    failing: float = 0.0,
) -> list[Node]:
    """Return a graph by lot: up to four needs a stage, some stages without any, pairs by ``matrix``, folders among the outputs.

    Parameters
    ----------
    draw : random.Random
        The lot.
    stages : int
        How many.
    seconds : tuple of float
        The least and the most that a stage takes.
    failing : float
        The share of stages whose first attempts fail; half of these have retries enough.
    """
    nodes: list[Node] = []
    while len(nodes) < stages:
        made = [node.name for node in nodes]
        needs = tuple(sorted(draw.sample(made, k=min(len(made), draw.choice((0, 1, 1, 1, 2, 2, 3, 4))))))
        node = Node(
            f"s{len(nodes):02d}",
            needs,
            draw.choice(("sleep", "sleep", "child")),
            round(draw.uniform(*seconds), 2),
            kind=draw.choice(("file", "file", "folder")),
            shape=draw.choice(("plain", "plain", "foreach", "matrix")),
        )
        if node.shape == "plain" and draw.random() < METRICS:
            node = replace(node, kind="metric")
        if node.shape == "plain" and draw.random() < 2 * failing:  # about half of the stages are plain
            fails = draw.choice((1, 1, 2))
            node = replace(node, fails=fails, retries=draw.choice((0, fails)))
        if node.shape == "matrix":
            nodes.extend(replace(node, name=f"{node.name}-{side}") for side in ("left", "right"))
        else:
            nodes.append(node)
    return nodes[:stages] if nodes[stages - 1].shape != "matrix" else _whole_pairs(nodes[:stages])


def _whole_pairs(nodes: list[Node]) -> list[Node]:
    """Return nodes whose last one is plain where its twin was cut off."""
    last = nodes[-1]
    twin = last.name.endswith("-right")
    return nodes if twin else [*nodes[:-1], replace(last, shape="plain")]


def pipeline(nodes: Sequence[Node]) -> dict[str, Any]:
    """Return dvc.yaml."""
    stages: dict[str, Any] = {}
    for node in nodes:
        needs = [f"out/{need}" for need in node.needs]
        if node.shape == "foreach":
            numbered = {f"need{number}": need for number, need in enumerate(needs)}
            body = _stage(
                "${key}",
                "${item.how}",
                "${item.amount}",
                "0",
                "${item.kind}",
                [f"${{item.{each}}}" for each in numbered],
            )
            group = stages.setdefault(f"each{len(needs)}", {"foreach": {}, "do": body})
            group["foreach"][node.name] = {"how": node.how, "amount": node.amount, "kind": node.kind, **numbered}
        elif node.shape == "matrix":
            name = node.name.partition("-")[0]
            body = _stage(f"{name}-${{item.side}}", node.how, node.amount, node.fails, node.kind, needs)
            stages[name] = {"matrix": {"side": ["left", "right"]}, **body}
        else:
            stages[node.name] = _stage(node.name, node.how, node.amount, node.fails, node.kind, needs)
            if node.retries:
                stages[node.name]["meta"] |= {"retries": node.retries, "retry_delay": 0}
    return {"vars": [{"python": sys.executable}], "stages": stages}


def _stage(name: str, how: str, amount: object, fails: object, kind: str, needs: Sequence[str]) -> dict[str, Any]:
    words = ["${python} -I -S work.py", name, how, amount, fails, kind, "${seed}", *needs]
    return {
        "cmd": " ".join(map(str, words)),
        "deps": ["work.py", *needs],
        "params": ["seed"],
        "outs": [{f"out/{name}": {"cache": False}} if kind == "metric" else f"out/{name}"],
        "meta": {"pool": "cpu"},
    }


def write_project(folder: Path, nodes: Sequence[Node], slots: int = 4) -> Path:
    """Write a project that both `dvc repro` and `pricecut run` bring up to date, and commit it."""
    (folder / "labeling").mkdir(parents=True)
    (folder / "labeling/.gitkeep").touch()
    shutil.copy(WORK, folder / "work.py")
    (folder / "params.yaml").write_text(f"apps: {{}}\npools: {{cpu: {slots}}}\nseed: 1\n", encoding="utf-8")
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline(nodes), sort_keys=False, width=1000), encoding="utf-8")
    (folder / ".gitignore").write_text("/.pricecut\n", encoding="utf-8")
    for command in (
        ("git", "init", "-q"),
        ("git", "config", "user.email", "made@pricecut.invalid"),
        ("git", "config", "user.name", "made"),
        (*DVC, "init", "-q"),
        (*DVC, "config", "core.analytics", "false"),
        ("git", "add", "-A"),
        ("git", "commit", "-q", "-m", "made"),
    ):
        subprocess.run(command, cwd=folder, check=True, env=environment(), stdout=subprocess.DEVNULL)
    return folder


def copy_project(project: Path, folder: Path) -> Path:
    """Copy a project that nothing has run in."""
    shutil.copytree(project, folder, symlinks=True)
    return folder


def environment(journal: Path | None = None, failures: Path | None = None, **more: str) -> dict[str, str]:
    """Return an environment without the caller's settings of Prefect and DVC, in which this project's code is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DVC_", "PRICECUT_"))}
    kept |= {
        "PYTHONPATH": str(ROOT),
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    if journal is not None:
        kept[JOURNAL] = str(journal)
    if failures is not None:
        failures.mkdir(exist_ok=True)
        kept[FAILURES] = str(failures)
    return kept | more


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the lines that stages have written so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def outputs(project: Path, nodes: Iterable[Node]) -> dict[str, bytes | None]:
    """Return the bytes of every output, None for what is missing."""
    found: dict[str, bytes | None] = {}
    for node in nodes:
        out = project / "out" / node.name
        files = sorted(out.iterdir()) if out.is_dir() else [out]
        found |= {path.relative_to(project).as_posix(): path.read_bytes() if path.exists() else None for path in files}
    return found


def run(
    command: Sequence[str], project: Path, env: Mapping[str, str], seconds: float = 900
) -> "subprocess.CompletedProcess[str]":
    """Run a command in a project, and return how it ended and what it said."""
    return subprocess.run(
        command,
        cwd=project,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
    )
