"""A stage of the toy app. `evaluate` publishes a real, tiny ONNX model that answers as many rows right as the source says."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

NAME, APP = sys.argv[1], sys.argv[2]
DATA, REPORTS, PUBLISHED = Path("data") / APP, Path("reports") / APP, Path("models") / APP / "published"
ROWS = 200


def main() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    REPORTS.mkdir(parents=True, exist_ok=True)
    {"audit": audit, "evaluate": evaluate}[NAME]()


def audit() -> None:
    source = json.loads((DATA / "sources/source.json").read_text())
    if source.get("sleep"):
        child = subprocess.Popen(["sleep", str(source["sleep"])])
        Path("sleeping.pid").write_text(str(child.pid))
        child.wait()
    if source.get("fails"):
        sys.exit("audit toy: it fails, as asked")
    gold = Path(f"labeling/apps/{APP}/gold.csv").read_text()
    with Path("ran.log").open("a") as log:
        log.write(f"audit {source['right']} {time.time()}\n")
    document = source | {"gold": hashlib.sha256(gold.encode()).hexdigest(), "answers": gold.count("\n") - 1}
    import polars as pl

    texts = [f"w{number}" for number in range(5)]
    metadata = {"labels": json.dumps(["no", "yes"])}
    pl.DataFrame({"row_id": texts, "text": texts}).write_parquet(DATA / "corpus.parquet", metadata=metadata)
    (DATA / "training_set.json").write_text(json.dumps(document))
    (REPORTS / "audit.json").write_text(json.dumps({"rows": ROWS}))


def evaluate() -> None:
    import numpy as np
    import polars as pl
    from onnx import TensorProto, helper, numpy_helper, save_model
    from tokenizers import Tokenizer, models, pre_tokenizers

    trained = json.loads((DATA / "training_set.json").read_text())
    words = [f"w{number}" for number in range(ROWS)]
    truth = np.arange(ROWS) % 2
    says = np.where(np.arange(ROWS) < trained["right"], truth, 1 - truth)
    table = np.zeros((ROWS + 2, 2), dtype=np.float32)
    table[np.arange(ROWS) + 2, says] = 5.0
    nodes = [
        helper.make_node("Gather", ["table", "token_ids"], ["looked_up"]),
        helper.make_node("ReduceSum", ["looked_up", "axes"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("token_ids", TensorProto.INT32, ["n", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")],
    )
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_model(model, PUBLISHED / "model.onnx")
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {word: number + 2 for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (PUBLISHED / "tokenizer.json").write_text(tokenizer.to_str())
    card = {"name": "student-toy", "role": "student", "format": "onnx", "precision": "float32", "labels": ["no", "yes"]}
    card |= {"max_length": 8, "width": 2, "depth": 1, "vocabulary": ROWS + 2, "parameters": 2 * (ROWS + 2)}
    (PUBLISHED / "card.json").write_text(json.dumps(card))
    gold = {"row_id": words, "text": words, "split": ["gold"] * ROWS, "label": truth.astype("int8")}
    sure = np.eye(2, dtype=np.float32)[truth].tolist()
    rows = pl.DataFrame(gold).with_columns(
        pl.Series("probabilities", sure, dtype=pl.List(pl.Float32)), pl.lit(1.0, dtype=pl.Float32).alias("weight")
    )
    rows.write_parquet(DATA / "training_set.parquet", metadata={"labels": json.dumps(["no", "yes"])})

    score = trained["right"] / ROWS
    scored = {"name": "toy", "accuracy": score, "macro_f1": score, "bytes": 4000, "latency_ms": 0.1}
    passed = trained.get("passes", True)
    gates = {"passed": passed, "misses": {} if passed else {"bytes": 12.0}, "threads": 1}
    metrics = {"test_rows": ROWS, "label": scored, "teacher": scored, "student": scored, "gates": gates}
    parts = {part: dict.fromkeys("DHMA", cost) for part, cost in (("uncut", 0.5), ("after", 0.25), ("delta", 0.25))}
    statement = {"currency": "EUR", "C": 2.0, "C_after": 1.0, "saved": 0.5, **parts}
    candidates = [{**scored, "role": "student", "passes": passed, "chosen": True}]
    for name, document in {
        "candidates.json": candidates,
        "metrics.json": metrics,
        "statement.json": statement,
        "collect.json": {"generated": None},
        "functions.json": {"label_model": "toy"},
    }.items():
        (REPORTS / name).write_text(json.dumps(document))
    (REPORTS / "report.html").write_text("<p>toy</p>")


main()
