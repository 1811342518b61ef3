"""`make data`: the link to the public data, and what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.data import NEEDED

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    for name in ("__init__.py", "data.py"):
        (tmp_path / "benchmarks" / name).write_text((ROOT / "benchmarks" / name).read_text())
    return tmp_path


def link(root, data):
    environment = {"PRICECUT_DATA": str(data)} if data else {}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.data"], cwd=root, env=environment, capture_output=True, text=True
    )


def test_the_link_and_what_is_missing(root, tmp_path):
    data = tmp_path / "data"
    for file in NEEDED["youtube_wrench"]:
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).touch()
    done = link(root, data)
    assert done.returncode == 2 and "youtube_spam cannot run" in done.stderr and "Youtube01-Psy.csv" in done.stderr
    assert "youtube_wrench" not in done.stderr
    for file in NEEDED["youtube_spam"]:
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).touch()
    assert link(root, data).returncode == 0
    assert link(root, "benchmarks/public").returncode == 0  # the link itself
    assert (root / "benchmarks/public").resolve() == data


def test_a_folder_in_its_place_is_left_alone(root, tmp_path):
    (root / "benchmarks/public/kept").mkdir(parents=True)
    done = link(root, tmp_path)
    assert (
        done.returncode == 2 and "is a folder, not a link" in done.stderr and (root / "benchmarks/public/kept").is_dir()
    )


@pytest.mark.parametrize("data", [None, "/no/such/folder"])
def test_no_data(root, data):
    done = link(root, data)
    assert done.returncode == 2 and "PRICECUT_DATA" in done.stderr
