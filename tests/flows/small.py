"""Small real projects of git and DVC: a few stages that write what they are told."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

DVC = Path(sys.prefix) / "bin" / "dvc"


def make(root: Path, stages: dict, pools: dict | None = None, **files: str) -> Path:
    """Make a project in a folder: a git repository, DVC's, and a dvc.yaml of the stages given."""
    (root / "labeling").mkdir(parents=True, exist_ok=True)
    (root / "labeling" / ".gitkeep").touch()
    (root / "params.yaml").write_text(yaml.safe_dump({"apps": {}, "pools": pools or {"cpu": 4}}))
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    for command in (
        ["git", "init", "-q"],
        ["git", "config", "user.email", "tests@pricecut.invalid"],
        ["git", "config", "user.name", "tests"],
        [str(DVC), "init", "-q"],
        [str(DVC), "config", "core.analytics", "false"],
        ["git", "add", "-A"],
        ["git", "commit", "-q", "-m", "a project"],
    ):
        subprocess.run(command, cwd=root, check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})
    return root


def copying(source: str, target: str, first: str = "true", **more) -> dict:
    """Return a stage that notes its start and end in starts.log, does something first, and copies a file."""
    note = f"echo {target} >> $NOTES"
    return {
        "cmd": f"{note}; {first} && cp {source} {target} && echo wrote {target}",
        "deps": [source],
        "outs": [target],
        **more,
    }


def status(root: Path) -> str:
    """Return what `dvc status` says."""
    return subprocess.run([DVC, "status"], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
