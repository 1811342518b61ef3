"""Labeling functions: Snorkel's row functions as they are, and declared ones that compile to one Polars plan.

What a data team imports in its ``functions.py`` stands here.
"""

from labeling.functions.declared import DeclaredFunction, column, expression, keyword, regex
from labeling.functions.loading import FUNCTIONS_FILE, line_of_function, load_functions
from labeling.functions.stated import about, examples_of, labels_of, owner_of
from labeling.functions.vocabulary import ABSTAIN

__all__ = [
    "ABSTAIN",
    "FUNCTIONS_FILE",
    "DeclaredFunction",
    "about",
    "column",
    "examples_of",
    "expression",
    "keyword",
    "labels_of",
    "line_of_function",
    "load_functions",
    "owner_of",
    "regex",
]
