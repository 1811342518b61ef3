"""What a paid endpoint may be asked for: a budget, of which every request takes its part before it is sent, and a pace."""

import threading
import time
from dataclasses import dataclass, field

from ledger.errors import FunctionError


@dataclass(frozen=True)
class Budget:
    """The most that one function may spend in one run of a stage; the first limit that is reached ends it.

    Parameters
    ----------
    requests : int
        Requests sent, those sent again included.
    tokens : int or None
        Tokens read and written, as the endpoint counts them.
    cost : float or None
        Money, at the two prices.
    input_price, output_price : float
        Money a million tokens read, and written.
    """

    requests: int = 1000
    tokens: int | None = None
    cost: float | None = None
    input_price: float = 0.0
    output_price: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no budget."""
        if (
            self.requests < 0
            or min(self.tokens or 0, self.cost or 0) < 0
            or min(self.input_price, self.output_price) < 0
        ):
            raise FunctionError(f"expected a budget of nothing below 0, got {self}")
        if self.cost is not None and self.input_price == self.output_price == 0:
            raise FunctionError("a budget with a cost needs input_price and output_price, a million tokens")


@dataclass
class Purse:
    """What is left of a budget; several threads take from it.

    Attributes
    ----------
    budget : Budget
        The limits.
    requests, tokens : int
        Spent so far.
    cost : float
        Spent so far.
    """

    budget: Budget
    requests: int = 0
    tokens: int = 0
    cost: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, reads: int, writes: int) -> bool:
        """Take one request with so many tokens, at most; False, and nothing taken, where the budget does not allow it."""
        cost = self._price(reads, writes)
        with self._lock:
            limit = self.budget
            if (
                self.requests + 1 > limit.requests
                or (limit.tokens is not None and self.tokens + reads + writes > limit.tokens)
                or (limit.cost is not None and self.cost + cost > limit.cost + 1e-12)
            ):
                return False
            self.requests, self.tokens, self.cost = self.requests + 1, self.tokens + reads + writes, self.cost + cost
            return True

    def settle(self, taken: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace the tokens that were taken for a request (read, written) by those that it used."""
        with self._lock:
            self.tokens += sum(used) - sum(taken)
            self.cost += self._price(*used) - self._price(*taken)

    def _price(self, reads: int, writes: int) -> float:
        return (reads * self.budget.input_price + writes * self.budget.output_price) / 1e6


class Pace:
    """At most so many requests a minute, a few of them at once (the generic cell rate algorithm, ITU-T I.371).

    Parameters
    ----------
    per_minute : float
        Requests a minute.
    burst : int
        How many may follow each other at once after a pause.
    """

    def __init__(self, per_minute: float, burst: int) -> None:
        self._interval = 60.0 / per_minute
        self._ahead = (burst - 1) * self._interval
        self._due = 0.0
        self._held_until = 0.0
        self._lock = threading.Lock()

    def wait(self, stopped: threading.Event) -> None:
        """Wait for this request's turn, or until the run is stopped."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._due - self._ahead)
            self._due = max(turn, self._due) + self._interval
        while not stopped.is_set() and (rest := max(turn, self._held_until) - time.monotonic()) > 0:
            stopped.wait(rest)

    def hold(self, seconds: float) -> None:
        """Let nobody send for so long: the endpoint asked for it."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)
