"""Questions as Label Studio's tasks, and the annotations of its JSON export read back.

Formats: labelstud.io/guide/tasks (tasks), /guide/predictions (predictions), /guide/task_format (the export).
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from labeling.review import Question
from labeling.review_table import Given
from ledger.errors import DataError

CONTROL, OBJECT = "label", "text"
"""Names of the Choices and the Text tag, in the configuration, the predictions and the annotations."""


def configuration(title: str, labels: Sequence[str]) -> str:
    """Return the labeling configuration of the project, XML: one text, one choice among the labels."""
    choices = "\n".join(f"    <Choice value={quoteattr(label)}/>" for label in labels)
    return (
        f'<View>\n  <Header value={quoteattr(title)}/>\n  <Text name={quoteattr(OBJECT)} value="$text"/>\n'
        f'  <Choices name={quoteattr(CONTROL)} toName={quoteattr(OBJECT)} choice="single" required="true" showInline="true">\n'
        f"{choices}\n  </Choices>\n</View>\n"
    )


def as_tasks(questions: Iterable[Question], model: str) -> list[dict[str, Any]]:
    """Return tasks for Label Studio's import, the label model's guess as a prediction.

    Parameters
    ----------
    questions : iterable of Question
        The rows.
    model : str
        The label model's kind: the predictions' ``model_version``.
    """
    return [
        {
            "data": {"row_id": q.row_id, "text": q.text, "why": q.why},
            "predictions": [
                {
                    "model_version": model,
                    "score": q.confidence,
                    "result": [
                        {
                            "id": "guess",
                            "type": "choices",
                            "from_name": CONTROL,
                            "to_name": OBJECT,
                            "value": {"choices": [q.guess]},
                        }
                    ],
                }
            ],
        }
        for q in questions
    ]


def write_tasks(path: Path, questions: Iterable[Question], model: str) -> None:
    """Write tasks as JSON."""
    path.write_text(json.dumps(as_tasks(questions, model), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_export(path: Path) -> list[Given]:
    """Read the annotations of an export (its format ``JSON``); tasks without one, and skipped ones, are passed over.

    Raises
    ------
    DataError
        If it is no such export; one line a task at fault.
    """
    try:
        tasks = json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: not found; expected Label Studio's export") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON: {error}; expected Label Studio's export in the format JSON") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path}: expected a list of tasks; export from Label Studio in the format JSON")
    given: list[Given] = []
    faults: list[str] = []
    for number, task in enumerate(tasks):
        place = f"{path}: task {task.get('id', number)}"
        data = task.get("data")
        if not isinstance(data, dict) or not isinstance(data.get("row_id"), str):
            what = "its format JSON-MIN; export in the format JSON" if "row_id" in task else "a task of another project"
            faults.append(f"{place}: expected data.row_id, as `pricecut review` wrote it; this is {what}")
            continue
        for annotation in task.get("annotations") or []:
            try:
                given.extend(_read_annotation(place, data, annotation))
            except (KeyError, TypeError, ValueError) as error:
                faults.append(f"{place}: expected one choice of '{CONTROL}' in each annotation: {error}")
    if faults:
        raise DataError("\n".join(faults))
    return given


def _read_annotation(place: str, data: dict[str, Any], annotation: dict[str, Any]) -> Iterable[Given]:
    """Yield the answer of an annotation: none where the annotator skipped the task or chose nothing."""
    if annotation.get("was_cancelled"):
        return
    chosen = [
        result["value"]["choices"]
        for result in annotation["result"]
        if result.get("type") == "choices" and result.get("from_name") == CONTROL
    ]
    if not chosen:
        if annotation["result"]:
            raise ValueError("it has results of other names only")
        return
    if len(chosen) > 1 or len(chosen[0]) != 1:
        raise ValueError(f"got {chosen}")
    person = annotation.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    when = annotation.get("updated_at") or annotation.get("created_at")
    text = data.get("text")
    yield Given(place, data["row_id"], str(chosen[0][0]), text, None if person is None else str(person), when)
