"""The votes that an app's functions cast now, whatever the last run of `vote` left: for what an edit is judged by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.corpus import read_corpus
from labeling.functions import FUNCTIONS_FILE, line_of_function, load_functions
from labeling.vote import vote_all
from ledger.errors import FunctionError
from ledger.places import Places


@dataclass(frozen=True)
class Ballot:
    """Votes of functions on the corpus.

    Attributes
    ----------
    labels : tuple of str
        The app's.
    rows : pl.DataFrame
        The corpus: train and gold rows.
    functions : tuple of LabelingFunction
        As they stand in the file.
    matrix : np.ndarray
        int8 of shape (rows, functions).
    """

    labels: tuple[str, ...]
    rows: pl.DataFrame
    functions: tuple[LabelingFunction, ...]
    matrix: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """The functions' names."""
        return tuple(function.name for function in self.functions)

    def column(self, name: str) -> np.ndarray:
        """Return a function's votes, int8 of shape (rows,)."""
        return self.matrix[:, self.names.index(name)]


def cast_votes(places: Places, folder: Path | None = None) -> Ballot:
    """Load the functions of a folder and let them vote on the app's corpus.

    Parameters
    ----------
    places : Places
        The app's files.
    folder : Path or None
        Where ``functions.py`` stands; None for the app's own.

    Raises
    ------
    DataError
        If there is no corpus.
    FunctionError
        If the file does not load, or a function cannot vote; with file and line.
    """
    folder = places.app_folder if folder is None else folder
    labels, rows = read_corpus(places.corpus)
    functions = load_functions(folder, labels)
    path = folder / FUNCTIONS_FILE
    try:
        votes = vote_all(functions, rows, labels)
    except FunctionError as error:
        if error.function is None:
            raise
        raise FunctionError(f"{path}:{line_of_function(path, error.function)}: {error}", error.function) from None
    return Ballot(labels, rows, tuple(functions), np.column_stack([voted.column for voted in votes]))
