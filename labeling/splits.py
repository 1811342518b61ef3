"""Gives every message one split - train, gold or test - so that no test text, nor a near-duplicate of one, is learned from."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

TRAIN, GOLD, TEST = "train", "gold", "test"
STRICTEST_FIRST = (TEST, GOLD, TRAIN)


def published_splits(texts: Sequence[str], published: Mapping[str, Sequence[str]]) -> list[str | None]:
    """Match records to splits that were published as lists of texts.

    A text that stands in several splits goes to each as often as it was published there, the test first.

    Parameters
    ----------
    texts : sequence of str
        The records' texts, cleaned.
    published : mapping of split to sequence of str
        The texts of each split, cleaned the same way.

    Returns
    -------
    list of (str or None)
        A split a record; None where the text is in none.
    """
    left = {split: Counter(published.get(split, ())) for split in STRICTEST_FIRST}
    splits: list[str | None] = []
    for text in texts:
        split = next((name for name in STRICTEST_FIRST if left[name][text] > 0), None)
        if split is not None:
            left[split][text] -= 1
        splits.append(split)
    return splits


def shared_splits(row_ids: Sequence[str], labeled: Sequence[bool], gold: float, test: float, seed: int) -> list[str]:
    """Split messages by shares, each by hashes of its own name, so that the order and number of the others does not matter.

    One hash says whether a message is drawn at all, a second, independent one whether it is gold or test if so. Of the
    others only the share of labeled messages matters: as it changes, messages near the threshold of the first hash come in from train
    or go back to it, but none ever changes between gold and test.

    Only a labeled message can be gold or test. The shares are of all messages; where fewer are labeled than
    the shares ask for, the labeled ones are divided between gold and test in the same proportion.

    Parameters
    ----------
    row_ids : sequence of str
        The messages' names.
    labeled : sequence of bool
        Whether the truth of each is known.
    gold, test : float
        Shares, each between 0 and 1.
    seed : int
        Changes the draw.

    Returns
    -------
    list of str
        A split a message.
    """
    known = sum(labeled)
    if known == 0:
        return [TRAIN] * len(row_ids)
    scale = min(len(row_ids) / known, 1 / (gold + test)) if gold + test > 0 else 0.0
    splits = []
    for row_id, is_labeled in zip(row_ids, labeled, strict=True):
        if not is_labeled or _uniform(f"{seed}:{row_id}") >= (gold + test) * scale:
            splits.append(TRAIN)
        elif _uniform(f"{seed}:role:{row_id}") * (gold + test) < test:
            splits.append(TEST)
        else:
            splits.append(GOLD)
    return splits


def strictest(splits: Sequence[str]) -> str:
    """Return the strictest of some splits: test before gold before train."""
    return next(split for split in STRICTEST_FIRST if split in splits)


def _uniform(name: str) -> float:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
