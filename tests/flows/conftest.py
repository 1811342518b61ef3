"""A whole project in a folder of its own: what git would clone, a repository of DVC's, parameters for a small sample."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

SMALL = {
    "generate": {"messages": 240},
    "label": {"epochs": 50},
    "audit": {"min_confidence": 0.5},
    "teach": {"epochs": 1, "trainable_layers": 1, "max_length": 32},
    "distill": {
        "epochs": 3,
        "augment": 0,
        "heads": 4,
        "feedforward": 256,
        "depth": 1,
        "depths": [1],
        "shares": [1.0],
        "loss": {"logits": 1.0, "labels": 0.0, "hidden": 0.0, "relations": 0.0},
    },
    "compress": {"formats": ["onnx"], "precisions": ["float32", "int8"]},  # LiteRT is written in tests/training
    "evaluate": {
        "gates": {"retained_macro_f1": 0.2, "bytes": 50_000_000, "latency_ms": 1000.0},
        "latency_requests": 20,
    },
}


@dataclass(frozen=True)
class Project:
    """A clone to run commands in."""

    root: Path
    home: Path

    def run(self, *command: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, as a user in the clone does."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DVC_"))}
        environment |= {"HOME": str(self.home), "SHELL": "/bin/sh", "COLUMNS": "160"}
        program = Path(sys.prefix) / "bin" / command[0]
        done = subprocess.run(
            [program if program.exists() else command[0], *command[1:]],
            cwd=self.root,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=550,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{command} exited with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
        return done

    def parameters(self, **sections: dict) -> None:
        """Turn some parameters, leaving all others as they are."""
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, turned in sections.items():
            document[name] |= turned
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def clone(folder: Path) -> Project:
    """Copy what git tracks or would track, and make a repository of it."""
    root, home = folder / "clone", folder / "home"
    home.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not re.match(r"tests/|dvc\.lock|benchmarks/dvc\.lock", name):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    (root / ".venv").symlink_to(sys.prefix)
    project = Project(root, home)
    for command in (
        ["git", "init", "-q"],
        ["git", "config", "user.email", "tests@pricecut.invalid"],
        ["git", "config", "user.name", "tests"],
        ["git", "add", "-A"],
        ["git", "commit", "-q", "-m", "a clone"],
    ):
        project.run(*command)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh clone, in which nothing has run."""
    return clone(tmp_path)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in which `pricecut run` went through, on a small sample. Tests may read it, not change it."""
    project = clone(tmp_path_factory.mktemp("demo"))
    project.parameters(**SMALL)
    done = project.run("pricecut", "run", "customer_service")
    (project.root / "run.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "the run's lock")
    return project
