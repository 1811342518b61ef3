"""Where every file of an app stands: the names that ``dvc.yaml`` and ``docs/files.md`` give them."""

from dataclasses import dataclass
from pathlib import Path

APPS_FOLDER = Path("labeling/apps")
JOURNAL_FOLDER = Path(".pricecut/meters")
ANSWERS_FOLDER = Path(".pricecut/llm")
"""What language models have answered, on this machine, for all apps; neither git nor DVC sees it."""
EMBEDDING_PARTS_FOLDER = Path(".pricecut/embed")
VOTES_FOLDER = Path(".pricecut/votes")
PUBLISHED_FOLDER = Path(".pricecut/published")
TEACH_FOLDER = Path(".pricecut/teach")
TENSORBOARD_FOLDER = Path(".pricecut/tensorboard")


@dataclass(frozen=True)
class Places:
    """The files of one app, relative to the project's root.

    Parameters
    ----------
    app : str
        The app's name: the folder under ``labeling/apps``.
    root : Path
        The project's root; the working directory of every stage.
    """

    app: str
    root: Path = Path()

    def _data(self, name: str) -> Path:
        return self.root / "data" / self.app / name

    def _models(self, name: str) -> Path:
        return self.root / "models" / self.app / name

    def _reports(self, name: str) -> Path:
        return self.root / "reports" / self.app / name

    @property
    def app_folder(self) -> Path:
        """What a data team owns: ``app.yaml``, ``functions.py``, ``knowledge/``, ``gold.csv`` and ``agreed.yaml``."""
        return self.root / APPS_FOLDER / self.app

    @property
    def gold_answers(self) -> Path:
        """What people said of rows when they reviewed them; committed, read by `fuse`."""
        return self.app_folder / "gold.csv"

    @property
    def agreed(self) -> Path:
        """The accuracy on gold below which no edit may bring a function; committed, read by `vote`."""
        return self.app_folder / "agreed.yaml"

    @property
    def knowledge(self) -> Path:
        """The folder of tables of terms that knowledge functions read; committed, read by `vote` and `evaluate`."""
        return self.app_folder / "knowledge"

    @property
    def records(self) -> Path:
        """`collect`: every record of every source, in one schema."""
        return self._data("records.parquet")

    @property
    def rejected(self) -> Path:
        """`collect`: rows set aside, with the reason."""
        return self._data("rejected.parquet")

    @property
    def corpus(self) -> Path:
        """`fuse`: one row a message, splits ``train`` and ``gold``."""
        return self._data("corpus.parquet")

    @property
    def test(self) -> Path:
        """`fuse`: the test rows and their labels; only `evaluate` may read them."""
        return self._data("test.parquet")

    @property
    def truth(self) -> Path:
        """`fuse`: known labels of train rows, for measuring only; only `evaluate` may read them."""
        return self._data("truth.parquet")

    @property
    def set_aside(self) -> Path:
        """`fuse`: records merged away or held back from training, with the reason."""
        return self._data("set_aside.parquet")

    @property
    def embeddings(self) -> Path:
        """`embed`: what the encoder makes of every row of the corpus; empty where ``embed.encoder`` is ``none``."""
        return self._data("embeddings.parquet")

    @property
    def embedding_parts(self) -> Path:
        """`embed`: what it has encoded so far, on this machine, outside DVC."""
        return self.root / EMBEDDING_PARTS_FOLDER / self.app

    @property
    def votes(self) -> Path:
        """`vote`: the label matrix, a column a labeling function, -1 abstains."""
        return self._data("votes.parquet")

    @property
    def labels(self) -> Path:
        """`label`: probabilities per class for every row of the corpus."""
        return self._data("labels.parquet")

    @property
    def label_model(self) -> Path:
        """`label`: the fitted label model, as JSON."""
        return self._data("label_model.json")

    @property
    def training_set(self) -> Path:
        """`audit`: the contract between labeling and training."""
        return self._data("training_set.parquet")

    @property
    def review_queue(self) -> Path:
        """`audit`: the rows most worth a human's look."""
        return self._data("review_queue.csv")

    @property
    def teacher(self) -> Path:
        """`teach`: the fine-tuned teacher (a folder: safetensors, configuration, tokenizer)."""
        return self._models("teacher")

    @property
    def logits(self) -> Path:
        """`teach`: the teacher's logits for every row of the training set."""
        return self._data("logits.parquet")

    @property
    def teach_report(self) -> Path:
        """`teach`: how the fine-tuning went, an epoch at a time."""
        return self._reports("teach.json")

    @property
    def teach_states(self) -> Path:
        """`teach`: what a killed run goes on from, on this machine, outside DVC; gone once the stage is done."""
        return self.root / TEACH_FOLDER / self.app

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files, a folder a run, on this machine, outside DVC."""
        return self.root / TENSORBOARD_FOLDER / self.app

    @property
    def student(self) -> Path:
        """`distill`: the elastic student (a folder: safetensors, configuration, tokenizer)."""
        return self._models("student")

    @property
    def substitutes(self) -> Path:
        """`substitute`: one folder a model of another kind than a student, each ready to serve, candidates too."""
        return self._models("substitutes")

    @property
    def candidates(self) -> Path:
        """`compress`: one folder a candidate, each ready to serve."""
        return self._models("candidates")

    @property
    def published(self) -> Path:
        """`evaluate`: the candidate that was chosen; what `pricecut predict` loads."""
        return self._models("published")

    @property
    def last_published(self) -> Path:
        """`evaluate`: a copy of the last model that passed the gates, on this machine, outside DVC."""
        return self.root / PUBLISHED_FOLDER / self.app

    @property
    def functions_report(self) -> Path:
        """`label`: the table of labeling functions."""
        return self._reports("functions.json")

    @property
    def collect_report(self) -> Path:
        """`collect`: rows read and rejected, a source at a time."""
        return self._reports("collect.json")

    @property
    def fuse_report(self) -> Path:
        """`fuse`: duplicates merged, conflicts reconciled, reliability of sources, split sizes."""
        return self._reports("fuse.json")

    @property
    def vote_report(self) -> Path:
        """`vote`: what each function did, errors included."""
        return self._reports("votes.json")

    @property
    def audit_report(self) -> Path:
        """`audit`: label issues, outliers, near-duplicates, counts."""
        return self._reports("audit.json")

    @property
    def metrics(self) -> Path:
        """`evaluate`: the scores, bytes and latencies of the chosen model."""
        return self._reports("metrics.json")

    @property
    def candidates_report(self) -> Path:
        """`evaluate`: a row a candidate, with what it scored, weighs and takes."""
        return self._reports("candidates.json")

    @property
    def statement(self) -> Path:
        """`account`: the statement of costs."""
        return self._reports("statement.json")

    @property
    def report(self) -> Path:
        """`report`: one HTML page that works offline."""
        return self._reports("report.html")

    def meter(self, stage: str) -> Path:
        """Where a stage after `audit` leaves what it used, for `account`."""
        return self._reports(f"meters/{stage}.json")

    def journal(self, stage: str) -> Path:
        """Where any stage journals what it used, on this machine, outside DVC."""
        return self.root / JOURNAL_FOLDER / self.app / f"{stage}.json"

    @property
    def vote_cache(self) -> Path:
        """`vote`: what functions voted before, by fingerprint, for all apps on this machine, outside DVC; may be deleted."""
        return self.root / VOTES_FOLDER
