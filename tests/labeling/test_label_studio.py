import json
import xml.etree.ElementTree as ElementTree

import pytest

from labeling.label_studio import configuration, read_export, write_tasks
from labeling.review import Question
from ledger.errors import DataError

QUESTIONS = [
    Question("shop/1", "größer & <b>schöner</b>", "good", 0.5, "unsure"),
    Question("shop/2", "late", "bad", 0.9, "label issue"),
]


def annotated(tasks, *choices):
    """Complete tasks as Label Studio exports them."""
    for number, (task, choice) in enumerate(zip(tasks, choices, strict=True), start=1):
        value = {"choices": [choice]}
        task |= {
            "id": number,
            "annotations": [
                {
                    "id": 100 + number,
                    "completed_by": 7,
                    "result": [
                        {
                            "id": "Dx_aB91ISN",
                            "type": "choices",
                            "from_name": "label",
                            "to_name": "text",
                            "origin": "manual",
                            "value": value,
                        }
                    ],
                    "was_cancelled": False,
                    "ground_truth": False,
                    "created_at": "2026-11-25T08:16:08.728353Z",
                    "updated_at": "2026-11-25T09:16:08.728378Z",
                    "lead_time": 4.288,
                }
            ],
        }
    return tasks


@pytest.fixture
def export(tmp_path):
    write_tasks(tmp_path / "tasks.json", QUESTIONS, "majority")
    tasks = annotated(json.loads((tmp_path / "tasks.json").read_text()), "bad", "good")

    def write(change):
        change(tasks)
        (tmp_path / "export.json").write_text(json.dumps(tasks))
        return tmp_path / "export.json"

    return write


def test_the_configuration_names_what_tasks_and_predictions_name(tmp_path):
    view = ElementTree.fromstring(configuration('Is it "good" & <new>?', ["bad", 'very "good"']))
    choices, text = view.find("Choices"), view.find("Text")
    assert [choice.get("value") for choice in choices] == ["bad", 'very "good"'] and choices.get("choice") == "single"
    write_tasks(tmp_path / "tasks.json", QUESTIONS, "majority")
    (task, _) = json.loads((tmp_path / "tasks.json").read_text())
    (result,) = task["predictions"][0]["result"]
    assert (result["from_name"], result["to_name"]) == (choices.get("name"), choices.get("toName"))
    assert result["to_name"] == text.get("name") and text.get("value") == "$text" and "text" in task["data"]
    assert result["type"] == "choices" and result["value"] == {"choices": ["good"]}
    assert task["predictions"][0]["score"] == 0.5 and task["data"]["row_id"] == "shop/1"


def test_annotations_are_read_with_who_and_when(export):
    found = read_export(export(list))
    assert [(one.row_id, one.label, one.who, one.when) for one in found] == [
        ("shop/1", "bad", "7", "2026-11-25T09:16:08.728378Z"),
        ("shop/2", "good", "7", "2026-11-25T09:16:08.728378Z"),
    ]
    assert found[0].text == QUESTIONS[0].text


def test_a_person_with_an_address(export):
    def change(tasks):
        tasks[0]["annotations"][0]["completed_by"] = {"id": 7, "email": "ann@example.org"}

    assert read_export(export(change))[0].who == "ann@example.org"


def test_skipped_and_open_tasks_are_passed_over(export):
    def change(tasks):
        tasks[0]["annotations"][0]["was_cancelled"] = True
        tasks[1]["annotations"] = []

    assert read_export(export(change)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda tasks: tasks[0]["annotations"][0]["result"][0]["value"]["choices"].append("good"),
            "task 1: expected one choice",
        ),
        (
            lambda tasks: tasks[1]["annotations"][0]["result"][0].update(from_name="topic"),
            "task 2: .*results of other names",
        ),
        (lambda tasks: tasks[0].pop("data"), "task 1: expected data.row_id, .* a task of another project"),
        (lambda tasks: tasks[0].update(data={}, row_id="shop/1"), "JSON-MIN; export in the format JSON"),
    ],
)
def test_what_is_no_export_of_these_tasks(export, change, told):
    with pytest.raises(DataError, match=told):
        read_export(export(change))


@pytest.mark.parametrize("content", ["{}", "[1]", "not json", "\xff"])
def test_what_is_no_export(tmp_path, content):
    (tmp_path / "export.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"export\.json: "):
        read_export(tmp_path / "export.json")
