"""A project whose app `toy` runs in a second: two stages, and a source that says how good the model is."""

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from labeling.gold import HEADER

DVC_YAML = """
stages:
  audit:
    foreach: ${apps}
    do:
      cmd: PYTHON stage.py audit ${key}
      deps: [stage.py, "labeling/apps/${key}/gold.csv", "${item.sources}"]
      outs: ["data/${key}/training_set.json", "data/${key}/corpus.parquet", "reports/${key}/audit.json"]
      meta: {pool: cpu}
  evaluate:
    foreach: ${apps}
    do:
      cmd: PYTHON stage.py evaluate ${key}
      deps: [stage.py, "data/${key}/training_set.json"]
      outs:
        - models/${key}/published
        - data/${key}/training_set.parquet
        - reports/${key}/candidates.json
        - reports/${key}/collect.json
        - reports/${key}/functions.json
        - reports/${key}/report.html
        - reports/${key}/statement.json
      metrics: ["reports/${key}/metrics.json"]
      meta: {pool: cpu}
artifacts:
  APP:
    path: models/APP/published
    type: model
"""
PARAMS = """
apps:
  APP:
    sources: data/APP/sources
schedule:
  branch: releases
  git_remote: null
  keep: 0
  prune_remote: false
pools:
  cpu: 2
"""
IGNORED = "/data/**\n!/data/**/\n!/data/**/*.dvc\n/models/\n/reports/\n/.pricecut/\n/ran.log\n/sleeping.pid\n"


@dataclass(frozen=True)
class Toy:
    """The project, and the environment that its commands run in."""

    root: Path
    app: str
    environment: dict[str, str]

    def run(self, *command: str, check: bool = True, timeout: float = 120, **more: str) -> subprocess.CompletedProcess:
        """Run a program of the environment in the project."""
        program = Path(sys.prefix) / "bin" / command[0]
        first = [sys.executable, "-m", "flows.command"] if command[0] == "pricecut" else [str(program)]
        done = subprocess.run(
            [*(first if command[0] == "pricecut" or program.exists() else [command[0]]), *command[1:]],
            cwd=self.root,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{command} exited with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
            )
        return done

    def git(self, *arguments: str, check: bool = True) -> str:
        """Return what git says."""
        return self.run("git", *arguments, check=check).stdout.strip()

    def source(self, **document) -> None:
        """Write the source: `right` of 200 rows; also `passes`, `fails`, `sleep`."""
        folder = self.root / "data" / self.app / "sources"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "source.json").write_text(json.dumps(document))

    def renew(self, *, check: bool = True, **parameters) -> tuple[str, str]:
        """Run the scheduled flow in a process of its own; return its state's name and message."""
        code = (
            "import sys, json\nfrom flows.scheduled import renew\n"
            f"state = renew({self.app!r}, **{parameters!r}, return_state=True)\n"
            "print('STATE', json.dumps([state.name, state.message]))"
        )
        done = self.run("python", "-c", code, check=check)
        line = next(line for line in done.stdout.splitlines() if line.startswith("STATE "))
        name, message = json.loads(line.removeprefix("STATE "))
        (self.root.parent / "renew.log").write_text(done.stdout + done.stderr)
        return name, message

    def start(self) -> str:
        """Have the server start the scheduled flow now; return the flow run's id."""
        said = self.run("prefect", "deployment", "run", f"renew/{self.app}").stdout
        return next(line.split("UUID: ")[1].strip() for line in said.splitlines() if "UUID: " in line)

    def state(self, run: str) -> tuple[str, str]:
        """The name and the message of a flow run's state, as the server says."""
        with urllib.request.urlopen(f"{self.environment['PREFECT_API_URL']}/flow_runs/{run}", timeout=10) as answer:
            state = json.load(answer)["state"]
        return state["name"], state["message"] or ""

    def schedules(self) -> list[dict]:
        """What `pricecut schedule --list` shows."""
        return json.loads(self.run("pricecut", "schedule", "--list", "--json").stdout)

    @property
    def log(self) -> str:
        """What the last `renew` said."""
        return (self.root.parent / "renew.log").read_text()


def make_toy(folder: Path, prefect: dict[str, str], app: str = "toy") -> Toy:
    """Make the project in a new folder, a git repository with one commit."""
    root = folder / "toy"
    (root / "labeling/apps" / app).mkdir(parents=True)
    (root / "flows").mkdir()
    here = Path(__file__).parent
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "DVC_", "GIT_", "PRICECUT_"))
    }
    environment |= {
        "HOME": str(folder / "home"),
        "COLUMNS": "160",
        "PYTHONPATH": str(here.parents[2]),
        "GIT_CONFIG_GLOBAL": "/dev/null",
    } | prefect
    (folder / "home").mkdir(exist_ok=True)
    toy = Toy(root, app, environment)
    for name, text in {
        "dvc.yaml": DVC_YAML.replace("PYTHON", sys.executable).replace("APP", app),
        "params.yaml": PARAMS.replace("APP", app),
        ".gitignore": IGNORED,
        "stage.py": (here / "stage.py").read_text(),
        f"labeling/apps/{app}/gold.csv": ",".join(HEADER) + "\n",
        f"labeling/apps/{app}/app.yaml": "title: Toy\n",
        # What a real clone holds: the file that the deployment's entry point names.
        "flows/scheduled.py": "from flows.scheduled import renew\n",
    }.items():
        (root / name).write_text(text)
    toy.git("init", "-q", "-b", "main")
    toy.git("config", "user.email", "tests@pricecut.invalid")
    toy.git("config", "user.name", "tests")
    toy.run("dvc", "init", "-q")
    toy.run("dvc", "config", "core.analytics", "false")
    toy.run("dvc", "config", "core.check_update", "false")
    toy.git("add", "-A")
    toy.git("commit", "-q", "-m", "a toy")
    return toy
