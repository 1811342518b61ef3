"""Labeling functions: Snorkel's row functions as they are, and declared ones that compile to one Polars plan.

What a data team imports in its ``functions.py`` stands here.
"""

from labeling.functions.batch import BatchFunction
from labeling.functions.declared import DeclaredFunction, column, expression, keyword, regex
from labeling.functions.embedding import NearestFunction, lend, nearest
from labeling.functions.knowledge import KNOWLEDGE_FOLDER, KnowledgeFunction, knowledge
from labeling.functions.llm import LlmFunction, llm
from labeling.functions.loading import FUNCTIONS_FILE, line_of_function, load_functions
from labeling.functions.logic import LogicFunction, implies
from labeling.functions.stated import about, examples_of, labels_of, owner_of
from labeling.functions.vocabulary import ABSTAIN
from labeling.spending import Budget

__all__ = [
    "ABSTAIN",
    "FUNCTIONS_FILE",
    "KNOWLEDGE_FOLDER",
    "BatchFunction",
    "Budget",
    "DeclaredFunction",
    "KnowledgeFunction",
    "LlmFunction",
    "LogicFunction",
    "NearestFunction",
    "about",
    "column",
    "examples_of",
    "expression",
    "implies",
    "keyword",
    "knowledge",
    "labels_of",
    "lend",
    "line_of_function",
    "llm",
    "load_functions",
    "nearest",
    "owner_of",
    "regex",
]
