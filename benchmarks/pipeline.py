"""`pricecut run` beside `dvc repro` and `dask4dvc`: 40 stages in 4 branches, each side on a fresh copy of one project.

    python -m benchmarks.pipeline [--seconds 3] [--busy-seconds 2] [--repeats 7] [--without-dask4dvc]

The last line is one JSON object. A side's time is that of its whole command, start to exit. The flow has 4 slots and a Prefect server that
stands already (``PREFECT_API_URL``); dask4dvc has a Dask cluster that stands already, 4 workers of one thread.

- ``ratio_parallel.idle_per_slot``: stages that sleep; seconds of `dvc repro` over seconds of the flow, divided by 4. 1 is ideal.
- ``ratio_parallel.busy``: stages that compute; the same, not divided. The number of cores is the most it can be.
- ``noop_overhead_s``: everything up to date; the median over the repeats of the flow's seconds, less that of bare `dvc repro`; in turn.
- ``stage_overhead_s``: of the stages that sleep: the seconds from a stage's last act to the first act of the next one of its branch, the
  mean of all 36 such gaps, by the journal that stages write: keeping outputs, Prefect's states, the next one's start, that of its Python.
  ``stage_overhead_with_start_s`` has everything: what the flow took beyond what a branch sleeps, divided by the branch's 10 stages;
  ``dvc_repro_stage_overhead_s`` is what `dvc repro` took beyond what all stages sleep, divided by these 40.
- ``cold``: a project of one stage that takes no time, run with the server that stands (``server_up_s``), and without ``PREFECT_API_URL``,
  which starts a server of its own and ends it: ``server_of_its_own_s`` with a database that stands, ``first_start_s`` with none.
- ``equal``: the flow left the dvc.lock, byte for byte, and the outputs that `dvc repro` left; ``dask4dvc.equal``: the same outputs.
- ``dask4dvc``: its own ratios, by the same `dvc repro`; ``error`` holds what it said, where it failed.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.dask4dvc_peer import CACHE, cluster, make_environment
from benchmarks.projects import (
    DVC,
    FLOW,
    Node,
    branches,
    copy_project,
    environment,
    outputs,
    read_journal,
    run,
    write_project,
)
from benchmarks.servers import prefect_server
from benchmarks.work import JOURNAL

STAGES, BRANCHES, SLOTS = 40, 4, 4


@dataclass(frozen=True)
class Side:
    """One way to bring a project up to date.

    Attributes
    ----------
    command : tuple of str
        It runs in the project.
    env : mapping of str to str
        Its environment.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]

    def seconds(self, project: Path) -> float:
        """Run it and return what it took; a RuntimeError holds what it said, where it failed."""
        began = time.perf_counter()
        done = run(self.command, project, self.env)
        taken = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{' '.join(self.command)} ended with {done.returncode}: {done.stdout[-2000:]}")
        return taken


def tell(line: str) -> None:
    """Say what is going on."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def rounds_for(seconds: float) -> int:
    """Return how many rounds of computing take about so long on one core of this machine."""
    tried = 200_000
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        hashlib.pbkdf2_hmac("sha256", b"x", b"made", tried)
        taken.append(time.perf_counter() - began)
    return int(tried * seconds / min(taken))


def left(project: Path, nodes: Sequence[Node]) -> dict[str, Any]:
    """Return what a side left: the outputs, and dvc.lock."""
    return {"outputs": outputs(project, nodes), "lock": (project / "dvc.lock").read_bytes()}


def side_by_side(folder: Path, name: str, nodes: Sequence[Node], serial: Side, flow: Side) -> dict[str, Any]:
    """Run `dvc repro` and the flow, each on its own copy of a project of these stages."""
    template = write_project(folder / name, nodes, SLOTS)
    copies = {side: copy_project(template, folder / f"{name}-{side}") for side in ("dvc", "flow")}
    serial_s = serial.seconds(copies["dvc"])
    tell(f"{name}: dvc repro {serial_s:.1f} s")
    journal = folder / f"{name}-journal"
    flow_s = Side(flow.command, {**flow.env, JOURNAL: str(journal)}).seconds(copies["flow"])
    tell(f"{name}: pricecut run {flow_s:.1f} s")
    expected = left(copies["dvc"], nodes)
    status = run((*DVC, "status"), copies["flow"], serial.env).stdout
    return {
        "dvc_repro_s": serial_s,
        "flow_s": flow_s,
        "gaps": gaps(journal, nodes),
        "equal": left(copies["flow"], nodes) == expected and "up to date" in status,
        "expected": expected,
        "template": template,
        "project": copies["flow"],
    }


def gaps(journal: Path, nodes: Sequence[Node]) -> list[float]:
    """Return the seconds between the last act of a stage and the first of the next one of its branch."""
    at = {(line["stage"], line["event"]): line["at"] for line in read_journal(journal)}
    return [at[node.name, "start"] - at[need, "end"] for node in nodes for need in node.needs]


def peer(folder: Path, name: str, nodes: Sequence[Node], measured: Mapping[str, Any], programs: Path) -> dict[str, Any]:
    """Run dask4dvc on a copy of the same project."""
    project = copy_project(measured["template"], folder / f"{name}-dask4dvc")
    env = environment(PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
    env.pop("PYTHONPATH")
    with cluster(programs, SLOTS, env, project) as address:
        try:
            taken = Side((str(programs / "dask4dvc"), "repro", "--address", address), env).seconds(project)
            found = outputs(project, nodes)
            if any(content is None for content in found.values()):  # it exits with 0 where its stages have failed
                raise RuntimeError("it ended with 0, and outputs are missing")
        except RuntimeError as error:
            tell(f"{name}: dask4dvc failed: {error}")
            return {"error": str(error)}
    tell(f"{name}: dask4dvc {taken:.1f} s")
    return {"seconds": taken, "equal": found == measured["expected"]["outputs"]}


def without_work(project: Path, serial: Side, flow: Side, repeats: int) -> dict[str, list[float]]:
    """Run both sides where nothing has changed, one after the other, several times."""
    taken: dict[str, list[float]] = {"dvc_repro": [], "flow": []}
    for _ in range(repeats):
        taken["dvc_repro"].append(serial.seconds(project))
        taken["flow"].append(flow.seconds(project))
    tell(f"no-op: {taken}")
    return taken


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run everything."""
    serial = Side((*DVC, "repro"), environment())
    sleeping = branches(STAGES, BRANCHES, "sleep", arguments.seconds)
    computing = branches(STAGES, BRANCHES, "compute", rounds_for(arguments.busy_seconds))
    load = os.getloadavg()[0]
    with prefect_server(folder / "server") as server:
        flow = Side(FLOW, environment(PREFECT_HOME=str(folder / "client"), PREFECT_API_URL=server.url))
        idle = side_by_side(folder, "idle", sleeping, serial, flow)
        busy = side_by_side(folder, "busy", computing, serial, flow)
        one = write_project(folder / "one", branches(1, 1, amount=0.0), SLOTS)
        cold = {"server_up_s": round(flow.seconds(copy_project(one, folder / "server_up_s")), 2)}
        quiet = without_work(idle["project"], serial, flow, arguments.repeats)
    for name in ("first_start_s", "server_of_its_own_s"):  # the second finds the database of the first
        cold[name] = round(
            Side(FLOW, environment(PREFECT_HOME=str(folder / "cold"))).seconds(copy_project(one, folder / name)), 2
        )
        tell(f"{name}: {cold[name]}")

    noop, bare = (statistics.median(quiet[side]) for side in ("flow", "dvc_repro"))
    steps = STAGES // BRANCHES
    beyond = idle["flow_s"] - steps * arguments.seconds
    result = {
        "ratio_parallel": {
            "idle_per_slot": round(idle["dvc_repro_s"] / idle["flow_s"] / SLOTS, 3),
            "busy": round(busy["dvc_repro_s"] / busy["flow_s"], 3),
        },
        "noop_overhead_s": round(noop - bare, 2),
        "stage_overhead_s": round(statistics.mean(idle["gaps"]), 3),
        "stage_overhead_median_s": round(statistics.median(idle["gaps"]), 3),
        "stage_overhead_with_start_s": round(beyond / steps, 3),
        "dvc_repro_stage_overhead_s": round(idle["dvc_repro_s"] / STAGES - arguments.seconds, 3),
        "equal": idle["equal"] and busy["equal"],
        "cold": cold,
        "seconds": {
            "idle": {side: round(idle[f"{side}_s"], 2) for side in ("dvc_repro", "flow")},
            "busy": {side: round(busy[f"{side}_s"], 2) for side in ("dvc_repro", "flow")},
            "noop": {side: [round(value, 2) for value in values] for side, values in quiet.items()},
        },
        "stages": STAGES,
        "branches": BRANCHES,
        "slots": SLOTS,
        "stage_seconds": {"idle": arguments.seconds, "busy": arguments.busy_seconds},
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(load, 2),
        "python": platform.python_version(),
    }
    if not arguments.without_dask4dvc:
        programs = make_environment(arguments.dask4dvc_venv)
        theirs = {
            "idle": peer(folder, "idle", sleeping, idle, programs),
            "busy": peer(folder, "busy", computing, busy, programs),
        }
        for name, divisor, ours in (("idle", SLOTS, idle), ("busy", 1, busy)):
            if "seconds" in theirs[name]:
                theirs[name]["ratio"] = round(ours["dvc_repro_s"] / theirs[name]["seconds"] / divisor, 3)
                theirs[name]["seconds"] = round(theirs[name]["seconds"], 2)
        result["dask4dvc"] = theirs
    return result


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description="`pricecut run` beside `dvc repro` and dask4dvc.")
    parser.add_argument("--seconds", type=float, default=3.0, help="that a stage sleeps")
    parser.add_argument("--busy-seconds", type=float, default=2.0, help="that a stage computes, about, alone on a core")
    parser.add_argument("--repeats", type=int, default=7, help="of runs with nothing to do")
    parser.add_argument("--without-dask4dvc", action="store_true", help="do not make its environment, nor run it")
    parser.add_argument(
        "--dask4dvc-venv", type=Path, default=CACHE, help=f"where its environment stands (default: {CACHE})"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
