"""Beyond the votes: what the texts say of the rows that no function covers, and of those that votes get wrong.

`refine_without_gold` lets votes and a text classifier correct each other; `refine_with_gold` weighs both by a small gold
sample; `refine` decides whether the texts are heard.
"""

from labeling.refine.decide import Refined, refine
from labeling.refine.with_gold import Pooled, refine_with_gold
from labeling.refine.without_gold import refine_without_gold

__all__ = ["Pooled", "Refined", "refine", "refine_with_gold", "refine_without_gold"]
