"""Snorkel's LabelModel, fitted by its own training on exact moments that are counted from distinct patterns."""

from typing import Any

import numpy as np
from scipy.sparse import diags

from labeling.label_models.patterns import Patterns


def snorkel_table(patterns: Patterns, balance: np.ndarray, epochs: int, seed: int) -> np.ndarray:
    """Fit Snorkel's LabelModel (Ratner et al. 2019) and return P(vote | class), float64 (functions, classes, classes).

    Snorkel's training sees the rows only through their second moments (its matrix O) and their number; both are the same
    counted from patterns, without a dense one-hot table of all rows.
    """
    import torch
    from snorkel.labeling.model import LabelModel

    hot = patterns.one_hot
    height = int(patterns.counts.sum())
    moments = np.asarray((hot.T @ diags(patterns.counts) @ hot).todense()) / height

    class OnMoments(LabelModel):
        """Snorkel's model, its moments given."""

        def _set_constants(self, votes: np.ndarray) -> None:
            super()._set_constants(votes)
            self.n = height

        def _generate_O(self, votes: np.ndarray, higher_order: bool = False) -> None:  # noqa: N802, ARG002
            # Only the cliques' bookkeeping is wanted of this; one row of votes is enough for it.
            self.n = 1
            self.d = self._get_augmented_label_matrix(votes[:1]).shape[1]
            self.n = height
            self.O = torch.from_numpy(moments).float().to(self.config.device)

    model: Any = OnMoments(cardinality=patterns.classes, verbose=False)
    model.fit(patterns.matrix, class_balance=balance.tolist(), n_epochs=epochs, seed=seed, progress_bar=False)
    # Snorkel's first row is the abstention's probability.
    return model.get_conditional_probs()[:, 1:, :].astype(np.float64)
