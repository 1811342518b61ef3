import numpy as np
import polars as pl
import pytest

from labeling.label_models import read_label_model
from labeling.why import explain_row
from ledger.errors import DataError
from tests.labeling.conftest import run_until


@pytest.mark.parametrize("model", ["dawid_skene", "majority"])
def test_the_total_is_the_log_odds_of_the_label_model(small_app, model):
    path = small_app.root / "params.yaml"
    path.write_text(path.read_text().replace("model: auto", f"model: {model}"))
    run_until(small_app, "label")
    votes = pl.read_parquet(small_app.votes)
    row = votes.filter((pl.col("blame") >= 0) & (pl.col("shouts") >= 0))["row_id"][0]
    why = explain_row(small_app, row)
    assert {vote.function for vote in why.votes} == {"blame", "shouts"} and why.silent == 1
    assert all(0 <= vote.without <= 1 for vote in why.votes)
    if model == "majority":
        assert (why.prior, why.total) == (0.0, 2.0)
        assert why.prior + sum(vote.weight for vote in why.votes) == pytest.approx(why.total)
    else:
        # Votes that err together count less together than apart, so weights need not add up; the total is the model's.
        values = votes.filter(pl.col("row_id") == row).drop("row_id").row(0)
        shares = read_label_model(small_app.label_model).predict(np.array([values], dtype=np.int8))[0]
        assert why.total == pytest.approx(np.log(shares[0] / shares[1]), abs=1e-2)
    assert why.label == "bad" and sum(why.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert why.gold is None or why.split == "gold"


def test_a_record_that_was_merged_leads_to_its_message(small_app):
    rows = (
        small_app.root / "sources/shop.csv"
    ).read_text() + "900,the kettle number 0 from street 0 is great!,good,shop\n"
    (small_app.root / "sources/shop.csv").write_text(rows)
    run_until(small_app, "label")
    message = pl.read_parquet(small_app.corpus).filter(pl.col("records").list.len() > 1).row(0, named=True)
    assert {explain_row(small_app, record).row_id for record in message["records"]} == {message["row_id"]}


def test_a_test_row_is_not_explained(small_app):
    run_until(small_app, "label")
    row = pl.read_parquet(small_app.test)["row_id"][0]
    with pytest.raises(DataError, match=rf"no row '{row}' \(test rows are not in it\)"):
        explain_row(small_app, row)
