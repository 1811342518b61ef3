from pathlib import Path

import pytest

from ledger.errors import ConfigurationError
from ledger.parameters import Parameters, line_of, read_parameters


class Section(Parameters):
    width: int
    sizes: list[int]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "params.yaml"


def test_a_section_is_read(path: Path):
    path.write_text("distill:\n  width: 3\n  sizes: [1, 2]\n")
    assert read_parameters("distill", Section, path) == Section(width=3, sizes=[1, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distill:\n  width: 3\n  sizes: []\n  with: 4\n", r"params\.yaml:4: distill\.with: unknown key"),
        ("distill:\n  width: 3\n", r"params\.yaml:1: distill\.sizes: missing key"),
        ("distill:\n  width: wide\n  sizes: []\n", r"params\.yaml:2: distill\.width: .*integer.*, got 'wide'"),
        ("distill:\n  width: 3\n  sizes:\n  - 1\n  - x\n", r"params\.yaml:5: distill\.sizes\.1: .*got 'x'"),
        ("teach: {}\n", r"expected a section 'distill:'"),
        ("distill: [\n", r"params\.yaml:\d: not valid YAML"),
        (
            "distill:\n  width: 3\n  width: 4\n  sizes: []\n",
            r"params\.yaml:3: not valid YAML: the key 'width' stands twice",
        ),
        ("distill: \x07\n", r"params\.yaml: not valid YAML"),
        ("- a\n", r"params\.yaml:1: expected a YAML mapping"),
    ],
)
def test_faults_name_file_line_and_key(path: Path, text: str, message: str):
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_parameters("distill", Section, path)


def test_a_missing_file(path: Path):
    with pytest.raises(ConfigurationError, match="not found"):
        read_parameters("distill", Section, path)


def test_lines_of_keys(path: Path):
    path.write_text("a:\n  b: 1\n\n  c:\n  - x\n  - y\n")
    assert [line_of(path, keys) for keys in (("a",), ("a", "c"), ("a", "c", "1"), ("a", "none"))] == [1, 4, 6, 1]
