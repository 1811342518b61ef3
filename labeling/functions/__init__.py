"""Labeling functions: Snorkel's row functions as they are, declared ones that compile to one Polars plan, and others.

What a data team imports in its ``functions.py`` stands here.
"""

from labeling.functions.batch import BatchFunction
from labeling.functions.declared import DeclaredFunction, column, expression, keyword, regex
from labeling.functions.embedding import NearestFunction, nearest
from labeling.functions.knowledge import KNOWLEDGE_FOLDER, KnowledgeFunction, knowledge
from labeling.functions.loading import FUNCTIONS_FILE, line_of_function, load_functions
from labeling.functions.logic import LogicFunction, implies
from labeling.functions.vocabulary import ABSTAIN

__all__ = [
    "ABSTAIN",
    "FUNCTIONS_FILE",
    "KNOWLEDGE_FOLDER",
    "BatchFunction",
    "DeclaredFunction",
    "KnowledgeFunction",
    "LogicFunction",
    "NearestFunction",
    "column",
    "expression",
    "implies",
    "keyword",
    "knowledge",
    "line_of_function",
    "load_functions",
    "nearest",
    "regex",
]
