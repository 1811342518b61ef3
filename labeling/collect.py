"""`collect`: the sources of an app become one table of records; rows that cannot be used are set aside, with the reason."""

import json
import logging
from pathlib import Path

import ftfy
import polars as pl

from labeling.app import App, Source, read_app
from labeling.sources import ROW, read_source
from ledger.errors import DataError
from ledger.meter import Usage
from ledger.places import Places
from ledger.stage import run_stage

logger = logging.getLogger(__name__)

NO_TEXT = "no text"
REJECTED_SCHEMA = {"source": pl.String, "row": pl.UInt32, "id": pl.String, "reason": pl.String, "text": pl.String}


def main(places: Places, usage: Usage, sources: str) -> None:
    """Collect every source of the app from the folder ``sources``."""
    app = read_app(places)
    folder = Path(sources)

    tables, rejects, report = [], [], {}
    for name, source in app.sources.items():
        kept, rejected = set_aside(to_records(name, source, app, read_source(name, source, folder)), app)
        tables.append(kept)
        rejects.append(rejected)
        report[name] = counts(source, kept, rejected)
        logger.info(
            "%s: %d rows, %d kept, %d rejected", name, kept.height + rejected.height, kept.height, rejected.height
        )
    records, rejected = pl.concat(tables), pl.concat(rejects)
    if records.height == 0:
        reasons = ", ".join(
            f"{n} × {reason}" for reason, n in rejected.group_by("reason").len().sort("reason").iter_rows()
        )
        raise DataError(
            f"{folder}: no usable row in any source: {reasons}; correct the sources, or their columns in app.yaml"
        )

    places.records.parent.mkdir(parents=True, exist_ok=True)
    places.collect_report.parent.mkdir(parents=True, exist_ok=True)
    records.write_parquet(places.records, metadata={"labels": json.dumps(app.labels)})
    rejected.write_parquet(places.rejected)
    places.collect_report.write_text(
        json.dumps(
            {"title": app.title, "generated": app.generated, "labels": app.labels, "sources": report},
            indent=2,
            ensure_ascii=False,
        )
        + "\n",
        encoding="utf-8",
    )
    usage.figures["rows"] = records.height


def to_records(name: str, source: Source, app: App, table: pl.DataFrame) -> pl.DataFrame:
    """Map a source's columns to the one schema and mend the text's encoding.

    Parameters
    ----------
    name : str
        The source's name.
    source : Source
        Its configuration.
    app : App
        The app: its fields are the schema's last columns.
    table : pl.DataFrame
        The file's columns, as strings, and ROW.

    Returns
    -------
    pl.DataFrame
        ``record`` (``source/id``), ``source``, ``row``, ``id``, ``text``, ``label`` (as written, None if unknown), ``time``, ``author``,
        ``split`` (as published, None if not), and the app's fields; all strings but ``row``.
    """
    columns = source.columns

    def column(ours: str) -> pl.Expr:
        return (pl.col(columns[ours]) if ours in columns else pl.lit(None, dtype=pl.String)).alias(ours)

    text = pl.Series("text", [clean(value) for value in table[columns["text"]].to_list()], dtype=pl.String)
    identity = pl.col(columns["id"]) if "id" in columns else pl.lit(None, dtype=pl.String)
    return (
        table.with_columns(text.alias("__text__"))
        .select(
            pl.lit(name).alias("source"),
            pl.col(ROW).alias("row"),
            identity.fill_null(pl.col(ROW).cast(pl.String)).alias("id"),
            pl.col("__text__").alias("text"),
            column("label").replace(source.label_names),
            column("time"),
            column("author"),
            pl.lit(source.split, dtype=pl.String).alias("split"),
            *(column(field) for field in app.fields),
        )
        .with_columns(unique_record(pl.col("source"), pl.col("id")).alias("record"))
        .select("record", pl.all().exclude("record"))
    )


def clean(text: str | None) -> str | None:
    r"""Mend mojibake and stray control characters (ftfy), keep the words; None where nothing is left.

    Examples
    --------
    >>> clean("cafÃ©  \ufeff")
    'café'
    """
    if text is None:
        return None
    fixed = ftfy.fix_text(text, unescape_html=True, normalization="NFC").replace("\ufeff", "").strip()
    return fixed or None


def unique_record(source: pl.Expr, identity: pl.Expr) -> pl.Expr:
    """Name a record ``source/id``, and ``source/id#2`` where a source uses an id twice."""
    base = source + "/" + identity
    nth = pl.int_range(pl.len()).over(base) + 1
    return pl.when(nth > 1).then(base + "#" + nth.cast(pl.String)).otherwise(base)


def set_aside(records: pl.DataFrame, app: App) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split records into those kept and those rejected, each with one reason.

    Returns
    -------
    kept, rejected : pl.DataFrame
        ``kept`` has the records' columns; ``rejected`` has REJECTED_SCHEMA.
    """
    unknown = pl.col("label").is_not_null() & (pl.col("label") != "") & ~pl.col("label").is_in(app.labels)
    reason = (
        pl.when(pl.col("text").is_null())
        .then(pl.lit(NO_TEXT))
        .when(unknown)
        .then(pl.format("label '{}' is not one of {}", pl.col("label"), pl.lit(", ".join(app.labels))))
        .otherwise(pl.lit(None, dtype=pl.String))
    )
    judged = records.with_columns(reason.alias("reason"), pl.col("label").replace("", None))
    rejected = judged.filter(pl.col("reason").is_not_null())
    kept = judged.filter(pl.col("reason").is_null()).drop("reason")
    return kept, rejected.select(pl.col(name).cast(kind) for name, kind in REJECTED_SCHEMA.items())


def counts(source: Source, kept: pl.DataFrame, rejected: pl.DataFrame) -> dict[str, object]:
    """Count what came of one source: rows, kept, rejected, and each reason."""
    reasons = rejected.group_by("reason").len().sort("reason")
    return {
        "file": source.file,
        "rows": kept.height + rejected.height,
        "kept": kept.height,
        "rejected": rejected.height,
        "reasons": dict(reasons.iter_rows()),
    }


if __name__ == "__main__":
    run_stage("collect", main, "SOURCES")
