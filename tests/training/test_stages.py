"""The stages on a tiny app: what they write, that they repeat themselves, that no label leaks, how they fail."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from labeling.training_set import TrainingSet, read_training_set, write_training_set
from ledger.errors import CheckpointError, ConfigurationError, DataError
from ledger.meter import Usage
from ledger.places import Places
from tests.training.conftest import LABELS, Tree, make_tree, tiny_training_set, write_label_side
from training import compress, distill, evaluate, substitute, teach
from training.artifact import read_card
from training.elastic_classifier import build
from training.fine_tune import cross_entropy
from training.inference import predict_logits
from training.latency import Speed
from training.model_files import read_model
from training.runtime import load
from training.tokenization import encode


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def copy(trained: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """The trained tree, to change at will."""
    shutil.copytree(trained.root, tmp_path / "tree", symlinks=True)
    monkeypatch.chdir(tmp_path / "tree")
    return trained.places


def test_teach_writes_its_logits_for_every_row(trained: Tree):
    model = read_model(trained.root / trained.places.teacher, "teach")
    logits = pl.read_parquet(trained.root / trained.places.logits)
    rows = tiny_training_set().rows
    assert logits["row_id"].equals(rows["row_id"]) and logits.schema["logits"] == pl.List(pl.Float32)
    found = predict_logits(build(model.shape, model.weights), encode(model.tokenizer, rows["text"].to_list()))
    np.testing.assert_allclose(found, np.array(logits["logits"].to_list()), rtol=1e-3, atol=1e-4)
    assert (found[80:].argmax(1) == rows["label"].to_numpy()[80:]).mean() >= 0.8  # gold; 20 rows
    assert {path.name for path in (trained.root / trained.places.teacher).iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }


def test_meters_carry_what_account_needs(trained: Tree):
    meter = json.loads((trained.root / trained.places.meter("teach")).read_text())
    assert set(meter["earlier"]) == {"collect", "fuse", "embed", "vote", "label", "audit"}
    figures = meter["figures"]
    assert figures["steps"] == 6 * 9 and figures["full_step_s"] > 0
    assert figures["uncut_cpu_s_extrapolated"] == pytest.approx(figures["steps"] * figures["full_step_s"], abs=0.01)
    for stage in ("teach", "distill", "substitute", "compress"):
        meter = json.loads((trained.root / trained.places.meter(stage)).read_text())
        assert meter["cpu_s"] > 0 and meter["peak_rss_bytes"] > 0


@pytest.mark.slow
def test_the_same_commit_gives_the_same_bytes(copy: Places):
    watched = [copy.teacher, copy.student, copy.substitutes, copy.candidates]
    before = {str(folder): digests(folder) for folder in watched} | {"logits": copy.logits.read_bytes()}
    for stage in (teach, distill, substitute, compress):
        stage.main(copy, Usage(stage.__name__.split(".")[-1]))
    assert {str(folder): digests(folder) for folder in watched} | {"logits": copy.logits.read_bytes()} == before


def test_gold_labels_are_never_learned_and_row_weights_are(copy: Places, monkeypatch: pytest.MonkeyPatch):
    """Gold labels may choose the epoch, so there is only one here."""
    Tree(Path(), copy).parameters(teach={"epochs": 1}, distill={"epochs": 1, "shares": [1.0], "depths": [2]})
    monkeypatch.setattr(teach, "time_full_steps", lambda *_: 1.0)  # says what a step costs, learns nothing

    def learned(rows: pl.DataFrame, stages: tuple = (teach, distill)) -> dict[str, str]:
        write_training_set(TrainingSet(LABELS, rows), copy.training_set)
        for stage in stages:
            stage.main(copy, Usage(stage.__name__))
        return {
            f"{folder.name}/{name}": digest
            for folder in (copy.teacher, copy.student)
            for name, digest in digests(folder).items()
        }

    rows, gold = read_training_set(copy.training_set).rows, pl.col("split") == "gold"
    turned = rows.with_columns(
        label=pl.when(gold).then(1 - pl.col("label")).otherwise(pl.col("label")),
        probabilities=pl.when(gold).then(pl.col("probabilities").list.reverse()).otherwise(pl.col("probabilities")),
    )
    before = learned(rows)
    assert learned(turned) == before
    weighted = rows.with_columns(weight=pl.when(pl.col("row_id") == "row-3").then(0.2).otherwise(pl.col("weight")))
    assert learned(weighted, (teach,))["teacher/model.safetensors"] != before["teacher/model.safetensors"]


def test_the_best_epoch_is_kept(copy: Places):
    """With gold labels turned round, learning only makes it worse: the first epoch is the best."""
    truth = tiny_training_set().rows["label"].to_numpy()[80:]

    def loss() -> float:
        return cross_entropy(np.array(pl.read_parquet(copy.logits)["logits"].to_list())[80:], truth)

    learned = loss()
    turned = pl.when(pl.col("split") == "gold").then(1 - pl.col("label")).otherwise(pl.col("label"))
    write_training_set(TrainingSet(LABELS, tiny_training_set().rows.with_columns(label=turned)), copy.training_set)
    teach.main(copy, Usage("teach"))
    assert loss() > 1.2 * learned
    assert json.loads(copy.teach_report.read_text())["kept"]["epoch"] == 1


SIZES = ["w32-d1-h2-f32", "w32-d1-h4-f64", "w32-d2-h2-f32", "w32-d2-h4-f64"]


def test_students_vocabulary_and_slices(trained: Tree):
    teacher = read_model(trained.root / trained.places.teacher, "teach")
    student = read_model(trained.root / trained.places.student, "distill")
    assert student.shape.vocabulary == student.tokenizer.get_vocab_size() <= teacher.shape.vocabulary
    assert list(map(str, student.sizes)) == SIZES


def test_candidates(trained: Tree):
    folder = trained.root / trained.places.candidates
    names = {path.name for path in folder.iterdir() if read_card(path).format != "cascade"}
    int8 = {f"student-{size}-{f}-int8" for size in SIZES for f in ("litert", "onnx")}
    float32 = {f"{network}-{f}-float32" for network in (f"student-{SIZES[-1]}", "teacher") for f in ("litert", "onnx")}
    assert names == int8 | float32
    student = read_model(trained.root / trained.places.student, "distill")
    texts = tiny_training_set().rows["text"].to_list()
    model = build(student.shape, student.weights)
    for size in (student.sizes[0], student.sizes[-1]):
        expected = predict_logits(model, encode(student.tokenizer, texts), size).argmax(1)
        for form in ("litert", "onnx"):
            served = load(folder / f"student-{size}-{form}-int8").predict(texts).argmax(1)
            assert (served == expected).mean() > 0.9


def test_evaluate(copy: Places):
    write_label_side(Path(), copy)
    evaluate.main(copy, Usage("evaluate"))
    metrics = json.loads(copy.metrics.read_text())
    assert {"accuracy", "coverage", "accuracy_all", "macro_f1", "train_accuracy"} <= set(metrics["label"])
    for role in ("teacher", "student"):
        assert {"name", "accuracy", "macro_f1", "bytes", "latency_ms", "accuracy_interval", "ece"} <= set(metrics[role])
    assert metrics["test_rows"] == 30 and metrics["gates"]["passed"] is True
    assert set(metrics["student"]["robustness"]) == {"typos", "upper_case", "lower_case"}
    rows = json.loads(copy.candidates_report.read_text())
    assert [row["name"] for row in rows if row["chosen"]] == [metrics["student"]["name"]]
    assert not any(row["passes"] for row in rows if row["role"] == "teacher")
    chosen = next(row for row in rows if row["chosen"])
    assert chosen["bytes"] == sum(
        path.stat().st_size
        for path in copy.published.rglob("*")
        if path.is_file() and path.name not in ("card.json", "thresholds.json", "README.md")
    )
    assert chosen["front"] and chosen["serving_bytes"] > 10_000_000 and chosen["latency_p95_ms"] >= chosen["latency_ms"]
    low, high = chosen["retained_interval"]
    assert low <= chosen["retained_macro_f1"] + 1e-3 and chosen["retained_macro_f1"] <= high + 1e-3
    for path in (path for path in copy.published.rglob("*") if path.is_file()):
        assert path.suffix not in {".pkl", ".pickle", ".pt", ".bin", ".joblib"}, path
        opens = path.read_bytes()[:2]  # a pickle opens with PROTO and its number; safetensors with a length, any bytes
        assert path.suffix == ".safetensors" or not (opens[:1] == b"\x80" and opens[1] <= 5), path

    card = read_card(copy.published)
    assert card.published is not None and card.published.passed
    assert {part.by for part in card.published.slices} == {"label", "length"}
    assert card.name in (copy.published / "README.md").read_text()
    assert card.published.training_set_sha256 == hashlib.sha256(copy.training_set.read_bytes()).hexdigest()
    source = next(folder for folder in (copy.candidates, copy.substitutes) if (folder / card.name).is_dir())
    published, candidate = load(copy.published), load(source / card.name)
    np.testing.assert_array_equal(published.predict(["win money"]), candidate.predict(["win money"]))


def by_size(classifiers: dict, *_: object) -> dict[str, Speed]:
    return {name: Speed(float(it.card.parameters), 1.0, 1.0, None) for name, it in classifiers.items()}


def test_test_labels_do_not_reach_the_choice(copy: Places, monkeypatch: pytest.MonkeyPatch):
    write_label_side(Path(), copy)
    monkeypatch.setattr(evaluate, "speeds", by_size)  # no clock
    published = []
    for _ in range(2):
        evaluate.main(copy, Usage("evaluate"))
        published.append(read_card(copy.published).name)
        test = pl.read_parquet(copy.test).with_columns(label=(1 - pl.col("label")).cast(pl.Int8))
        test.write_parquet(copy.test, metadata={"labels": json.dumps(LABELS)})
    assert published[0] == published[1]
    metrics = json.loads(copy.metrics.read_text())
    assert metrics["student"]["accuracy"] < 0.5  # the flipped test labels were read, after the choice


def test_gates_that_none_passes(copy: Places):
    write_label_side(Path(), copy)
    Tree(Path(), copy).parameters(evaluate={"gates": {"retained_macro_f1": 0.5, "bytes": 1, "latency_ms": 1000.0}})
    evaluate.main(copy, Usage("evaluate"))
    gates = json.loads(copy.metrics.read_text())["gates"]
    assert gates["passed"] is False and gates["misses"]["bytes"] > 1000
    card = read_card(copy.published)
    assert card.published.passed is False and card.published.misses["bytes"] > 1000
    assert gates["kept_last_published"] is False and not copy.last_published.exists()


def test_where_none_passes_the_last_published_model_is_kept(copy: Places):
    write_label_side(Path(), copy)
    evaluate.main(copy, Usage("evaluate"))
    before = digests(copy.published)
    Tree(Path(), copy).parameters(evaluate={"gates": {"retained_macro_f1": 0.5, "bytes": 1, "latency_ms": 1000.0}})
    shutil.rmtree(copy.published)  # as DVC does before a stage runs
    evaluate.main(copy, Usage("evaluate"))
    assert digests(copy.published) == before
    metrics = json.loads(copy.metrics.read_text())
    assert metrics["gates"]["kept_last_published"] is True and metrics["gates"]["misses"]["bytes"] > 1000
    assert metrics["student"]["name"] == read_card(copy.published).name

    changed = next((copy.last_published / "model").glob("model.*"))
    changed.write_bytes(changed.read_bytes() + b"x")
    evaluate.main(copy, Usage("evaluate"))
    assert json.loads(copy.metrics.read_text())["gates"]["kept_last_published"] is False


def test_without_gold_the_choice_says_so(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    tree = make_tree(tmp_path, checkpoint, tiny_training_set(gold=False))
    tree.parameters(
        teach={"epochs": 1}, distill={"epochs": 1, "shares": [1.0], "depths": [2]}, compress={"formats": ["onnx"]}
    )
    for stage in (teach, distill, compress):
        stage.main(tree.places, Usage(stage.__name__.split(".")[-1]))
    write_label_side(tmp_path, tree.places)
    evaluate.main(tree.places, Usage("evaluate"))
    assert "no gold sample" in json.loads(tree.places.metrics.read_text())["gates"]["chosen_on"]


def test_one_class_is_refused(tree: Tree):
    training_set = tiny_training_set()
    write_training_set(TrainingSet(LABELS, training_set.rows.filter(pl.col("label") != 1)), tree.places.training_set)
    with pytest.raises(DataError, match=r"expected train rows of at least two labels, got \d+ rows of \['ham'\]"):
        teach.main(tree.places, Usage("teach"))


def test_no_checkpoint_at_the_path(tree: Tree):
    tree.parameters(teach={"checkpoint": "./nowhere"})
    with pytest.raises(CheckpointError, match=r"no folder at '\./nowhere'"):
        teach.main(tree.places, Usage("teach"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"layers": [0]}, r"layers=\[0\] must name 2 layers of the teacher"),
        ({"shares": [0.5]}, r"shares=\[0.5\] must be above 0, the largest 1"),
        ({"widths": [8, 12]}, r"widths=\[8, 12\] must be at least 1, the largest 32"),
        ({"depths": [1, 3]}, r"depths=\[1, 3\] must be at least 1, the largest 2"),
    ],
)
def test_sizes_that_do_not_fit(tree: Tree, section: dict, message: str):
    tree.parameters(distill=section)
    with pytest.raises(ConfigurationError, match=message):
        distill.main(tree.places, Usage("distill"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"heads": 5}, r"a slice of w32-d2-h5-f64 must be within w32-d2-h4-f64"),
        ({"origin": "fresh", "heads": 5}, r"width=32 must be a multiple of heads=5"),
        ({"layers": [0, 2]}, r"layers=\[0, 2\] must be among the teacher's 0 to 1"),
    ],
)
def test_students_that_the_teacher_does_not_hold(copy: Places, section: dict, message: str):
    Tree(Path(), copy).parameters(distill=section)
    with pytest.raises(ConfigurationError, match=message):
        distill.main(copy, Usage("distill"))


def test_each_stage_names_the_one_before_it(tree: Tree):
    for stage, before in ((distill, "teach"), (compress, "teach"), (evaluate, "compress")):
        with pytest.raises((CheckpointError, DataError), match=f"run the stage '{before}' first"):
            stage.main(tree.places, Usage("x"))


def test_logits_of_another_training_set(copy: Places):
    pl.read_parquet(copy.logits).head(10).write_parquet(copy.logits)
    with pytest.raises(DataError, match=r"no logits for row 'row-10' and 89 more; run the stage 'teach' again"):
        distill.main(copy, Usage("distill"))


def test_unreadable_weights(copy: Places):
    (copy.student / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="unreadable"):
        compress.main(copy, Usage("compress"))
