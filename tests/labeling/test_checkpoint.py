from pathlib import Path

import huggingface_hub.constants
import pytest

from labeling.checkpoint import NEEDED, looks_like_path, resolve_checkpoint
from ledger.errors import CheckpointError


def test_minilm_comes_with_the_lock():
    folder = resolve_checkpoint("minilm")
    assert all((folder / name).is_file() for name in NEEDED)


def test_folder(tmp_path: Path):
    for name in NEEDED:
        (tmp_path / name).touch()
    assert resolve_checkpoint(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["/no/such/folder", "./missing", "a/b/c", "models/"])
def test_missing_folder_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"teach\.checkpoint: no folder at '.+'; expected config\.json, .*params\.yaml"
    ):
        resolve_checkpoint(name)


def test_folder_without_checkpoint_says_what_is_missing(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"missing model\.safetensors, tokenizer\.json") as raised:
        resolve_checkpoint(str(tmp_path))
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_hub_name_without_a_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        CheckpointError, match="'nobody/no-such-model' is neither a folder nor a checkpoint that the hub gives"
    ):
        resolve_checkpoint("nobody/no-such-model")


def test_what_looks_like_a_path():
    assert looks_like_path("./here") and looks_like_path("models/") and looks_like_path("a/b/c")
    assert not looks_like_path("google-bert/bert-base-uncased") and not looks_like_path("bert-base-uncased")
