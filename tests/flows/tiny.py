"""A small project of three stages that run in a moment, for tests of what happens around them."""

import subprocess
import sys
from pathlib import Path

PIPELINE = """\
stages:
  first:
    cmd: python code/first.py
    deps: [code/first.py, source.csv]
    params: [first]
    outs: [out/first.txt]
  second:
    cmd: python code/second.py
    deps: [code/second.py, out/first.txt]
    params: [second.turned]
    outs: [out/second]
  third:
    cmd: cat out/second/part.txt > out/third.txt
    deps: [out/second]
    outs: [out/third.txt]
  aside:
    cmd: cp source.csv out/aside.csv
    deps: [source.csv]
    outs: [out/aside.csv]
"""

FIRST = """\
import yaml
scale = yaml.safe_load(open("params.yaml"))["first"]["scale"]
rows = sum(1 for _ in open("source.csv"))
open("out/first.txt", "w").write(f"{scale * rows}\\n")
"""

SECOND = """\
import os
os.makedirs("out/second", exist_ok=True)
open("out/second/part.txt", "w").write(open("out/first.txt").read())
open("out/second/other.txt", "w").write("the same\\n")
"""

PARAMETERS = """\
apps: {}
pools: {cpu: 4}
first:
  scale: 2
  seed: 1
second:
  turned: [1, 2]
  unread: 3
"""


def make_project(root: Path) -> Path:
    """Make the project, committed, in which nothing has run."""
    files = {
        "dvc.yaml": PIPELINE,
        "params.yaml": PARAMETERS,
        "code/first.py": FIRST,
        "code/second.py": SECOND,
        "source.csv": "a\nb\n",
        "labeling/.keep": "",
        "out/.gitignore": "/*\n!.gitignore\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    shell(root, "git init -q && git config user.email t@pricecut.invalid && git config user.name t")
    shell(root, "dvc init -q && dvc config core.analytics false && git add -A && git commit -qm begun")
    return root


def shell(root: Path, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in the project, the environment's programs first."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'PATH="{Path(sys.prefix) / "bin"}:$PATH"; {command}'],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if check and done.returncode:
        raise AssertionError(f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done
