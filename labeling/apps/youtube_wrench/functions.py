"""The ten published votes of WRENCH's YouTube set (Zhang et al. 2021), each a column, as they are."""

from labeling.functions import column

FUNCTIONS = [column(f"published_{j}", f"vote_{j}", {"0": "HAM", "1": "SPAM"}) for j in range(10)]
