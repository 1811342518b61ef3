"""How far a share that was counted on few rows may be off."""

import math

Z_95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""


def wilson_interval(right: int, votes: int, z: float = Z_95) -> tuple[float, float] | None:
    """Return the score interval of a share, None without votes.

    Wilson (1927); of the simple intervals the one that Brown, Cai and DasGupta (2001, section 5) recommend for few rows.

    Parameters
    ----------
    right : int
        How many of the votes are right.
    votes : int
        How many there are.
    z : float
        Quantile of the standard normal; 1.96 gives 95 %.

    Returns
    -------
    tuple of float or None
        Lower and upper end, from 0 to 1, rounded to 4 digits.

    Examples
    --------
    >>> wilson_interval(9, 10)
    (0.5958, 0.9821)
    """
    if votes == 0:
        return None
    share = right / votes
    middle = share + z * z / (2 * votes)
    half = z * math.sqrt(share * (1 - share) / votes + z * z / (4 * votes * votes))
    scale = 1 + z * z / votes
    return round(max(0.0, (middle - half) / scale), 4), round(min(1.0, (middle + half) / scale), 4)
