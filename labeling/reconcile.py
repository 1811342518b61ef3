"""Settles what sources say differently about one message, by how reliable each source has been."""

import math
from collections import Counter, defaultdict

Claim = tuple[str, str]
"""Who says what: (source, value)."""

PRIOR_AGREEMENTS, PRIOR_CLAIMS = 8.0, 10.0
"""An unknown source starts at 0.8, worth ten claims: few overlaps move it little."""

ROUNDS = 10


def reconcile(claims: list[Claim], reliability: dict[str, float]) -> str | None:
    """Choose the value whose sources speak for it most.

    Each claim weighs the log odds of its source being right, as in Dawid and Skene (1979) with one
    error rate a source. A tie goes to the value that sorts first, so the answer never depends on the order of rows.

    Parameters
    ----------
    claims : list of (source, value)
        What each record says.
    reliability : dict of str to float
        Of each source, between 0 and 1.

    Returns
    -------
    str or None
        The value; None without claims.

    Examples
    --------
    >>> reconcile([("chat", "basic"), ("tickets", "premium")], {"chat": 0.7, "tickets": 0.95})
    'premium'
    """
    weights: dict[str, float] = defaultdict(float)
    for source, value in claims:
        weights[value] += math.log(reliability[source] / (1 - reliability[source]))
    return min(weights, key=lambda value: (-weights[value], value)) if weights else None


def estimate_reliability(disputes: list[list[Claim]], stated: dict[str, float | None]) -> dict[str, float]:
    """Estimate how often each source is right, from the fields of messages that several sources describe.

    Alternates between settling every field and counting how often each source agreed with the settlement, until
    neither changes (truth discovery; Yin et al. 2008, section 3). A stated reliability is kept as stated.

    Parameters
    ----------
    disputes : list of list of (source, value)
        The claims on one field of one message, from two sources at least.
    stated : dict of str to (float or None)
        Every source, with its reliability where the configuration states one.

    Returns
    -------
    dict of str to float
        Of every source, between 0 and 1, rounded to 4 digits.
    """
    prior = PRIOR_AGREEMENTS / PRIOR_CLAIMS
    reliability = {source: value if value is not None else prior for source, value in stated.items()}
    for _ in range(ROUNDS):
        agreed: Counter[str] = Counter()
        claimed: Counter[str] = Counter()
        for claims in disputes:
            settled = reconcile(claims, reliability)
            for source, value in claims:
                claimed[source] += 1
                agreed[source] += value == settled
        updated = {
            source: value
            if value is not None
            # Strictly between 0 and 1, or the log odds have no value.
            else round((agreed[source] + PRIOR_AGREEMENTS) / (claimed[source] + PRIOR_CLAIMS), 4)
            for source, value in stated.items()
        }
        if updated == reliability:
            break
        reliability = updated
    return reliability
