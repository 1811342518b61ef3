from benchmarks.review import main, measure, wrong_guesses
from labeling.review import Question
from tests.labeling.conftest import run_until, small_app  # noqa: F401


def test_wrong_guesses_are_counted_where_the_label_is_known():
    questions = [Question(str(n), "", "good", 0.5, "unsure" if n else "random") for n in range(4)]
    found = wrong_guesses(questions, {"0": "good", "1": "bad", "2": "good"})
    assert found == {"rows": 3, "wrong": 1, "share": 0.3333, "reasons": {"random": "0 of 1", "unsure": "1 of 2"}}
    assert wrong_guesses([], {})["share"] is None


def test_an_app_is_measured_by_what_its_stages_wrote(small_app, capsys):  # noqa: F811
    run_until(small_app, "audit")
    found = measure(small_app)
    assert found["all"]["rows"] > 0 and found["chosen"]["20"]["rows"] <= 20
    assert main(["nobody"]) == 2 and "not found; run the stage" in capsys.readouterr().err
