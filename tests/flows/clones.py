"""A small project, its clones on two more machines, and the DVC remote between them."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.dask_cluster import ROOT

DAG = """\
stages:
  split:
    cmd: python work.py 0 out/split.txt data.csv
    deps: [work.py, data.csv]
    outs: [out/split.txt]
  left:
    cmd: python work.py ${seconds} out/left out/split.txt
    deps: [work.py, out/split.txt]
    params: [word]
    outs: [out/left]
  right:
    cmd: python work.py ${seconds} out/right out/split.txt
    deps: [work.py, out/split.txt]
    outs: [out/right]
  join:
    cmd: python work.py 0 out/join.txt out/left out/right
    deps: [work.py, out/left, out/right]
    outs: [out/join.txt]
"""
WORK = """\
import os, pathlib, sys, time
seconds, out, *reads = sys.argv[1:]
out = pathlib.Path(out)
print(f"{out} begins in {pathlib.Path.cwd().name}, beside {os.environ.get('PRICECUT_DASK_ADDRESS')} "
      f"({os.environ.get('PRICECUT_DASK_PARTITION_ROWS')} rows)", flush=True)
pathlib.Path(".pricecut", out.name + ".pid").write_text(str(os.getpid()))
with open(".pricecut/ran", "a") as ran:
    ran.write(out.name + "\\n")
time.sleep(float(seconds))
word = pathlib.Path("params.yaml").read_text().split("word: ")[1].split()[0]
if word == "wrong":
    print(f"{out.stem}: no word")
    sys.exit(2)
files = [file for name in reads for file in (sorted(pathlib.Path(name).glob("*")) or [pathlib.Path(name)])]
text = "".join(file.read_text() for file in files)
out.parent.mkdir(exist_ok=True)
if out.suffix:
    out.write_text(text + out.name)
else:
    out.mkdir()
    for number in range(3):
        (out / f"{number}.txt").write_text(f"{number} {text} {word}")
"""


@dataclass(frozen=True)
class Clones:
    """A coordinator's clone and those of two workers."""

    base: Path
    environment: dict[str, str]

    @property
    def root(self) -> Path:
        return self.base / "coordinator"

    def run(self, *words: object, cwd: Path | None = None, code: int = 0, **extra: str) -> str:
        command = [sys.executable, "-m", *map(str, words)] if words[0] != "git" else [*map(str, words)]
        done = subprocess.run(
            command, cwd=cwd or self.root, env=self.environment | extra, capture_output=True, text=True, timeout=170
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def workers(self) -> list[tuple[Path, dict[str, str]]]:
        return [(self.base, self.environment | {"PRICECUT_HOME": str(self.base / f"clone-{n}")}) for n in (1, 2)]

    def ran(self) -> list[str]:
        """Return what ran in the workers' clones, in their order."""
        files = [self.base / f"clone-{number}" / ".pricecut" / "ran" for number in (1, 2)]
        return [line for file in files if file.exists() for line in file.read_text().split()]

    def wait_for(self, path: str) -> Path:
        """Return the clone in which a file appears."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for number in (1, 2):
                if (self.base / f"clone-{number}" / path).exists():
                    return self.base / f"clone-{number}"
            time.sleep(0.05)
        raise AssertionError(f"{path} did not appear")


def make_clones(tmp_path: Path) -> Clones:
    """Make a repository with a remote, and clone it thrice."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DVC_", "PRICECUT_"))
    }
    environment |= {
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    made = Clones(tmp_path, environment)
    (made.root / "labeling").mkdir(parents=True)
    for name, text in {
        "dvc.yaml": DAG,
        "work.py": WORK,
        "params.yaml": "apps: {}\npools: {cpu: 4}\nseconds: 0\nword: hello\n",
        "data.csv": "a,b\n1,2\n",
        "labeling/.gitkeep": "",
        ".gitignore": "/out\n/.pricecut\n",
    }.items():
        (made.root / name).write_text(text)
    made.run("git", "init", "-q")
    for key, value in {"user.email": "tests@pricecut.invalid", "user.name": "tests"}.items():
        made.run("git", "config", key, value)
    made.run("dvc", "init", "-q")
    made.run("dvc", "remote", "add", "-q", "-d", "shared", tmp_path / "remote")
    made.run("dvc", "add", "-q", "data.csv")
    commit(made)
    for name in ("clone-1", "clone-2", "serial"):
        made.run("git", "clone", "-q", made.root, tmp_path / name)
        (tmp_path / name / ".pricecut").mkdir()
    return made


def commit(made: Clones) -> None:
    made.run("git", "add", "-A")
    made.run("git", "commit", "-q", "-m", "a state")


def pull(made: Clones) -> None:
    """Bring the other clones to the coordinator's commit; their own dvc.lock gives way."""
    for name in ("clone-1", "clone-2", "serial"):
        made.run("git", "fetch", "-q", cwd=made.base / name)
        made.run("git", "reset", "-q", "--hard", "FETCH_HEAD", cwd=made.base / name)


def seconds(made: Clones, number: float) -> None:
    path = made.root / "params.yaml"
    path.write_text(path.read_text().replace("seconds: 0", f"seconds: {number}"))
    commit(made)
    pull(made)


def is_as_serial(made: Clones) -> bool:
    """Whether dvc.lock is what a serial `dvc repro` writes, and DVC finds nothing to do."""
    serial = made.base / "serial"
    shutil.copy(made.root / "data.csv", serial)
    made.run("dvc", "repro", "-q", cwd=serial)
    status = made.run("dvc", "status")
    return "up to date" in status and (serial / "dvc.lock").read_bytes() == (made.root / "dvc.lock").read_bytes()
