"""The lock brings all that the project asks for, and the environment is what the lock says."""

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def pins():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): Version(next(iter(r.specifier)).version) for r in requirements}


def asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]


def test_every_requirement_is_pinned_within_its_range():
    locked = pins()
    wrong = [
        str(r) for r in asked_for() if not r.specifier.contains(locked.get(canonicalize_name(r.name), Version("0")))
    ]
    assert wrong == []


def test_the_environment_is_the_locks():
    # A local part, as in 2.13.0+cpu, names a build of the same version.
    different = {
        name: importlib.metadata.version(name)
        for name, pinned in pins().items()
        if Version(importlib.metadata.version(name)).public != pinned.public
    }
    assert different == {}
