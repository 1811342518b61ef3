"""Says now and then how far a training run is, how fast it goes, and when it will be done."""

import logging
import time

EVERY_S = 10.0


class Progress:
    """The progress of one run.

    Parameters
    ----------
    logger : logging.Logger
        What it says it to.
    epochs, rows : int
        Of the run; rows of an epoch.
    behind : int
        Epochs that a run before this one has done.
    what : str
        Leads each line.
    """

    def __init__(self, logger: logging.Logger, epochs: int, rows: int, behind: int = 0, what: str = "epoch") -> None:
        self.logger, self.epochs, self.all, self.what = logger, epochs, rows, what
        self.seen, self.in_epoch, self.left = 0, 0, rows * (epochs - behind)
        self.started = self.said = time.perf_counter()

    def rows(self, epoch: int, count: int) -> None:
        """Count rows that were learned from; said every ten seconds."""
        self.seen += count
        self.in_epoch += count
        if time.perf_counter() - self.said >= EVERY_S:
            where = f"{self.what} {epoch}/{self.epochs}"
            self.logger.info("%s  %d of %d rows  %s", where, self.in_epoch, self.all, self._speed())

    def epoch(self, epoch: int, scores: dict[str, float | None]) -> None:
        """Say how an epoch, counted from 1, has ended; scores that are None are left out."""
        self.in_epoch = 0
        said = "  ".join(f"{name} {value:.4f}" for name, value in scores.items() if value is not None)
        self.logger.info("%s %d/%d  %s  %s", self.what, epoch, self.epochs, said, self._speed())

    def _speed(self) -> str:
        self.said = time.perf_counter()
        speed = self.seen / max(self.said - self.started, 1e-9)
        return f"{speed:.0f} rows/s  {(self.left - self.seen) / max(speed, 1e-9):.0f} s left"
