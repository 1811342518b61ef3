"""Runs that are killed: SIGKILL to a random process at a random time; what is left, and what the next run makes of it.

    python -m benchmarks.crash [--kills 100] [--seed 1] [--jobs 2] [--own-server 0.2] [--again 0.25]

The last line is one JSON object. Each run is of a fresh copy of a random graph of 8 to 14 stages of 0.1 to 0.6 s
(`benchmarks.projects`); one part of it is killed (`benchmarks.victims`), then `pricecut run` is started until it goes through. A share
of the runs starts a Prefect server of its own; the others have one that stands, which is started again where it was killed. Of a
share, the first resumed run is killed as well.

- ``corrupted``: runs after which dvc.lock does not parse, `dvc status` is not clean, an output is not what an undisturbed run gives, an
  object of the cache is not what its name says, half-written files lie about, or which never went through.
- ``redone_finished_stages``: stages that had ended with 0 before a kill, and were started again with the same inputs. A stage's last
  act is a line in a journal; one whose process still stood in the process table then had not ended, or nobody can have seen that it had:
  ``near_misses`` counts these.
- ``redone_survivors``: stages that outlived a killed part of their run, ended with 0 after the kill, and were started again all the same.
- ``hash_equal``: runs after which every output and dvc.lock, byte for byte, are what a serial `dvc repro` gives.

``by_part`` has the same, for each part that was killed. ``left_running``: processes still there after the last run, by part.
"""

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.projects import (
    DVC,
    FLOW,
    Node,
    copy_project,
    environment,
    outputs,
    random_graph,
    read_journal,
    run,
    write_project,
)
from benchmarks.servers import Server, prefect_server
from benchmarks.victims import Killed, kill, kill_one, living

GRAPHS = 8
PATIENCE = 120.0
"""Seconds until a run is taken to hang."""
RESUMES = 5


@dataclass(frozen=True)
class Made:
    """A project, and what an undisturbed run of it gives.

    Attributes
    ----------
    nodes : list of Node
        Its stages.
    folder : Path
        A copy in which nothing has run.
    outputs : mapping of str to bytes
        Of a serial `dvc repro`.
    lock : bytes
        Its dvc.lock.
    ignored : set of str
        The lines of its out/.gitignore.
    start : float
        Seconds from an undisturbed flow's start to its first stage's.
    span : float
        Seconds from there to its end.
    """

    nodes: list[Node]
    folder: Path
    outputs: Mapping[str, bytes | None]
    lock: bytes
    ignored: set[str]
    start: float = 0.0
    span: float = 0.0


@dataclass
class Found:
    """What a killed run came to."""

    part: str
    again: str | None
    own_server: bool
    moment: float
    resumes: int = 0
    hung: int = 0
    redone: list[str] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)
    near_misses: int = 0
    corrupted: list[str] = field(default_factory=list)
    hash_equal: bool = False
    left: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def make(folder: Path, draw: random.Random, server: Server) -> Made:
    """Make a project by lot, and run it undisturbed: serially for what it gives, by the flow for how long it takes."""
    nodes = random_graph(draw, draw.randint(8, 14), (0.1, 0.6))
    template = write_project(folder / "template", nodes)
    serial = copy_project(template, folder / "serial")
    said = run((*DVC, "repro"), serial, environment())
    if said.returncode:
        raise RuntimeError(said.stdout)
    made = Made(nodes, template, outputs(serial, nodes), (serial / "dvc.lock").read_bytes(), _ignored(serial))
    flow, journal = copy_project(template, folder / "flow"), folder / "journal"
    began = time.time()
    done = run(FLOW, flow, environment(journal, PREFECT_HOME=str(folder / "home"), PREFECT_API_URL=server.url))
    if done.returncode:
        raise RuntimeError(done.stdout)
    first = read_journal(journal)[0]["at"]
    return Made(**{**made.__dict__, "start": first - began, "span": time.time() - first})


def kill_and_resume(
    folder: Path, made: Made, server: Server | None, homes: Path, draw: random.Random, again: float
) -> Found | None:
    """Run a copy of a project, kill a part of the run, and run it until it goes through; None where it ended before the kill.

    Parameters
    ----------
    folder : Path
        For this run.
    made : Made
        The project.
    server : Server or None
        The one that stands; None for one of the run's own.
    homes : Path
        A ``PREFECT_HOME`` with a database, to be copied.
    draw : random.Random
        The lot.
    again : float
        How probable it is that the first resumed run is killed too.
    """
    project, journal, home = copy_project(made.folder, folder / "project"), folder / "journal", folder / "home"
    shutil.copytree(homes, home)
    env = environment(journal, PREFECT_HOME=str(home))
    if server is not None:
        env["PREFECT_API_URL"] = server.url
    kills: list[Killed] = []
    killed, moment, hung = _run_and_kill(project, env, made, server, draw, folder / "killed.log")
    if killed is None:
        return None
    kills.append(killed)
    found = Found(killed.part, None, server is None, round(moment, 2), hung=hung)
    if draw.random() < again:
        killed, _, hung = _run_and_kill(project, env, made, server, draw, folder / "killed-again.log")
        found.hung += hung
        if killed is not None:
            kills.append(killed)
            found.again = killed.part
    while found.resumes < RESUMES:
        found.resumes += 1
        try:
            done = run(FLOW, project, env, PATIENCE)
        except subprocess.TimeoutExpired as late:
            found.hung += 1
            kill(living(folder))
            found.failures.append(f"hung: {(late.stdout or b'')[-1500:]!r}")
            continue
        if done.returncode == 0:
            break
        found.failures.append(done.stdout[-1500:])
    else:
        found.corrupted.append("it never went through")
    _inspect(found, project, env, made)
    _count_redone(found, journal, kills)
    found.left = dict(Counter(living(folder).values()))
    kill(living(folder))
    return found


def _run_and_kill(
    project: Path, env: Mapping[str, str], made: Made, server: Server | None, draw: random.Random, log: Path
) -> tuple[Killed | None, float, int]:
    """Start the flow, kill a part of it at a random moment, and wait until what is left of the flow's process has ended.

    Three times in four the moment lies in the time from the first stage's start on; else in all of the run, the start of Python included.
    """
    lines = len(read_journal(Path(env["PRICECUT_MADE_JOURNAL"])))
    working = draw.random() < 0.75
    delay = draw.uniform(0, 0.95 * made.span if working else made.start + made.span)
    with log.open("wb") as stream:
        began = time.monotonic()
        process = subprocess.Popen(
            FLOW, cwd=project, env=env, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, start_new_session=True
        )
    while working and process.poll() is None and len(read_journal(Path(env["PRICECUT_MADE_JOURNAL"]))) == lines:
        time.sleep(0.005)
    time.sleep(delay)
    killed = (
        kill_one(draw, project.parent, process.pid, None if server is None else server.process.pid)
        if process.poll() is None
        else None
    )
    moment = time.monotonic() - began
    if server is not None and killed is not None and server.process.pid in killed.pids:
        server.process.wait()
        server.ensure()
        server.wait()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        kill(living(project.parent))
        process.wait()
        return killed, moment, 1
    return killed, moment, 0


def _inspect(found: Found, project: Path, env: Mapping[str, str], made: Made) -> None:
    """Compare what is left with what an undisturbed run gives."""
    lock = project / "dvc.lock"
    text = lock.read_bytes() if lock.exists() else b""
    try:
        if not isinstance(yaml.safe_load(text), dict):
            found.corrupted.append("dvc.lock is empty")
    except yaml.YAMLError as error:
        found.corrupted.append(f"dvc.lock: {error}")
    status = run((*DVC, "status"), project, env).stdout
    if "up to date" not in status:
        found.corrupted.append(f"dvc status: {status[-500:]}")
    given = outputs(project, made.nodes)
    wrong = [path for path in {*given, *made.outputs} if given.get(path) != made.outputs.get(path)]
    if wrong:
        found.corrupted.append(f"not as undisturbed: {', '.join(sorted(wrong))}")
    for path in (project / ".dvc/cache/files/md5").glob("??/*"):
        if path.suffix != ".dir" and hashlib.md5(path.read_bytes()).hexdigest() != path.parent.name + path.name:
            found.corrupted.append(f"cache: {path.parent.name}/{path.name} is not what its name says")
    if _ignored(project) != made.ignored:
        found.corrupted.append("out/.gitignore does not name what it should")
    litter = [path.name for path in project.glob(".dvc.lock.*.tmp")]
    if litter:
        found.corrupted.append(f"left behind: {', '.join(litter)}")
    found.hash_equal = not wrong and text == made.lock


def _count_redone(found: Found, journal: Path, kills: list[Killed]) -> None:
    """Find the stages that were started again after they had ended with 0."""
    ended: dict[tuple[str, str], dict[str, Any]] = {}
    for line in read_journal(journal):
        key = line["stage"], line["inputs"]
        if line["event"] == "end":
            ended[key] = line
        elif key in ended:
            end = ended.pop(key)
            if any(end["at"] < killed.at and end["pid"] in killed.pids | killed.table for killed in kills):
                found.near_misses += 1
                continue
            before = [k for k in kills if end["at"] < k.at < line["at"]]
            said = [f"{line['stage']}: {1000 * (k.at - end['at']):.0f} ms before {k.part}" for k in before or kills]
            (found.redone if before else found.survivors).append(said[0])


def _ignored(project: Path) -> set[str]:
    path = project / "out/.gitignore"
    return set(path.read_text(encoding="utf-8").split()) if path.exists() else set()


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Kill so many runs."""
    homes, guard, results = folder / "homes", threading.Lock(), list[Found]()
    began = time.monotonic()
    with prefect_server(homes) as server:
        draw = random.Random(arguments.seed)
        projects = [make(folder / f"graph{number}", draw, server) for number in range(min(GRAPHS, arguments.kills))]
    tell(f"{len(projects)} graphs made and run undisturbed")

    def job(number: int) -> None:
        home = folder / f"server{number}"
        shutil.copytree(homes, home)
        with prefect_server(home) as server:
            for count in range(number, arguments.kills, arguments.jobs):
                _until_killed(count, server)

    def _until_killed(count: int, server: Server) -> None:
        draw = random.Random(f"{arguments.seed}/{count}")
        made, own = projects[count % len(projects)], draw.random() < arguments.own_server
        for attempt in range(100):
            place = folder / f"run{count}-{attempt}"
            place.mkdir()
            found = kill_and_resume(place, made, None if own else server, homes, draw, arguments.again)
            if found is not None:
                break
            shutil.rmtree(place)
        assert found is not None
        with guard:
            results.append(found)
            tell(f"{len(results)}/{arguments.kills} #{count} {json.dumps(asdict(found))}")
        if arguments.keep and (
            found.corrupted or found.redone or found.survivors or found.hung or not found.hash_equal
        ):
            shutil.copytree(place, arguments.keep / place.name, symlinks=True)
        shutil.rmtree(place, ignore_errors=True)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(job, range(arguments.jobs)))
    return summary(results) | {
        "graphs": len(projects),
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - began),
    }


def summary(results: list[Found]) -> dict[str, Any]:
    """Add up what was found."""

    def add_up(chosen: list[Found]) -> dict[str, Any]:
        return {
            "kills": len(chosen),
            "corrupted": sum(bool(found.corrupted) for found in chosen),
            "redone_finished_stages": sum(len(found.redone) for found in chosen),
            "redone_survivors": sum(len(found.survivors) for found in chosen),
            "hash_equal": sum(found.hash_equal for found in chosen),
            "near_misses": sum(found.near_misses for found in chosen),
            "resumed_more_than_once": sum(found.resumes > 1 for found in chosen),
            "hung": sum(found.hung for found in chosen),
        }

    parts = sorted({found.part for found in results})
    left: Counter[str] = Counter()
    for found in results:
        left.update(found.left)
    return add_up(results) | {
        "by_part": {part: add_up([found for found in results if found.part == part]) for part in parts},
        "own_server": sum(found.own_server for found in results),
        "killed_again": dict(Counter(found.again for found in results if found.again)),
        "left_running": dict(left),
        "what": [what for found in results for what in found.corrupted],
    }


def tell(line: str) -> None:
    """Say what is going on."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description="Runs that are killed, and what the next run makes of it.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of the graphs and the lots; the moments are the machine's")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, each with a server of its own")
    parser.add_argument(
        "--own-server", type=float, default=0.2, help="share of runs that start a Prefect server of their own"
    )
    parser.add_argument("--again", type=float, default=0.25, help="share of runs whose first resumed run is killed too")
    parser.add_argument("--keep", type=Path, help="a folder where runs in which something was found are kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
