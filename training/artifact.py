"""What a servable model's folder holds, and its card."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ledger.errors import CheckpointError

MODEL_FILES = {
    "litert": "model.tflite",
    "onnx": "model.onnx",
    "bag": "model.safetensors",
    "convolution": "model.safetensors",
    "cascade": "cascade.json",
}
CASCADE_PARTS = ("first", "second")
"""The folders in a cascade's folder."""
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "card.json"


class SliceScore(BaseModel):
    """How good the answers are on a part of the test rows: ``by`` label, length or source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str
    name: str
    rows: int
    accuracy: float


class Publication(BaseModel):
    """What the card of a published model says beyond a candidate's.

    Attributes
    ----------
    training_set_sha256 : str
        Of the training set's file.
    chosen_on : str
        The sample by which it was chosen.
    passed : bool
        Whether it passes every gate of ``params.yaml``.
    scores : dict of str to float
        As measured on the test rows.
    limits : list of str
        What the model does not do, in sentences.
    misses : dict of str to float
        For each gate it fails, by how much.
    retained, retained_interval : float, list of float, or None
        The share of the teacher's macro-F1 that it keeps on the sample that it was chosen by, and the 95 % interval.
    temperature : float
        Divides the logits before a confidence is told (`training.confidence.tempered`), fitted on that sample.
    unsure_below : float
        The confidence, so tempered, under which the model says "unsure"; 0: never.
    answered : dict of str to float
        ``coverage`` and ``accuracy`` at that threshold, on that sample and (``test_``) on the test rows.
    slices : list of SliceScore
        On the test rows.
    robustness : dict of str to float
        Accuracy on the test rows with typos, in capitals, in small letters.
    made : list of str
        How it was made, in sentences.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    training_set_sha256: str
    chosen_on: str
    passed: bool
    scores: dict[str, float]
    limits: list[str]
    misses: dict[str, float] = {}
    retained: float | None = None
    retained_interval: list[float] | None = None
    temperature: float = 1.0
    unsure_below: float = 0.0
    answered: dict[str, float] = {}
    slices: list[SliceScore] = []
    robustness: dict[str, float] = {}
    made: list[str] = []


class Card(BaseModel):
    """What a candidate is; all that serving needs to know besides its files.

    Attributes
    ----------
    name : str
        The folder's name among the candidates.
    role : str
        ``teacher`` for the uncut way, ``student`` for what may be published.
    format, precision : str
        The runtime, and the numbers its weights are in. ``bag`` is a table served by NumPy, ``convolution``
        one with filters behind, ``cascade`` two models in turn.
    labels : list of str
        The names of the classes; the position is the label.
    max_length : int
        Tokens to which a text is cut.
    width, depth, vocabulary, parameters : int
        The network's size. A bag or convolution has its table's rows for a vocabulary, its vectors' width, and depth 1
        if it has a head, else 0.
    put_back : dict of str to str, or None
        Layers that have another precision than the model's, because the accuracy budget asked for it.
    kernel_bits : int or None
        Of the dense layers' weights in int8: 7 where sums must not overflow on a CPU without VNNI.
    published : Publication or None
        Set once it was chosen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    role: Literal["teacher", "student"]
    format: Literal["litert", "onnx", "bag", "convolution", "cascade"]
    precision: Literal["float32", "int8", "int8_static", "int4"]
    labels: list[str]
    max_length: int
    width: int
    depth: int
    vocabulary: int
    parameters: int
    put_back: dict[str, str] | None = None
    kernel_bits: int | None = None
    published: Publication | None = None


def write_card(card: Card, folder: Path) -> None:
    """Write ``card.json``; the same card gives the same bytes."""
    (folder / CARD_FILE).write_text(card.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8")


def read_card(folder: Path) -> Card:
    """Read a folder's card.

    Raises
    ------
    CheckpointError
        If there is no folder, or its card cannot be read.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        app = folder.parent.name
        raise CheckpointError(f"{folder}: no model there; run the pipeline first (pricecut run {app}, or dvc repro)")
    try:
        return Card.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{path}: not a model's card ({reason}); run the stage 'compress' again") from None


def served_bytes(folder: Path, card: Card) -> int:
    """Return what has to be sent to serve the model: its file and its tokenizer, in bytes; a cascade's is that of both its parts too."""
    own = [folder / name for name in (MODEL_FILES[card.format], TOKENIZER_FILE)]
    parts = [folder / part for part in CASCADE_PARTS] if card.format == "cascade" else []
    return sum(path.stat().st_size for path in own if path.is_file()) + sum(
        served_bytes(part, read_card(part)) for part in parts
    )
