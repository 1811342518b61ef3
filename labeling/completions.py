"""Asks an OpenAI-compatible endpoint for completions: kept on disk, paced, sent again within bounds, never beyond a budget."""

import json
import logging
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from labeling.answers import answer_file, read_answer, write_answer
from labeling.endpoint import Endpoint, asked_to_wait, read_completion
from labeling.spending import Pace, Purse
from ledger.errors import FunctionError

logger = logging.getLogger(__name__)
# One line a request is no news, and an address is nobody else's business.
logging.getLogger("httpx").setLevel(logging.WARNING)

PROGRESS_EVERY_S = 10.0
LONGEST_WAIT_S = 120.0
"""A pause that the endpoint asks for beyond this ends the run; what it has answered is kept."""
FIRST_WAIT_S = 0.5
AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
REFUSED = {400, 413, 415, 422}
"""Statuses that speak of one text (too long, filtered), not of the endpoint."""
REFUSALS = 5
"""So many refusals before the first answer, and the fault lies in the request, not in the texts."""
CHARACTERS_A_TOKEN = 3
"""For what is taken from the budget before the endpoint has counted: low, so that rather too much is taken."""


@dataclass
class Answers:
    """What came of asking.

    Attributes
    ----------
    content : dict of str to str
        The answer to each question that has one.
    kept : int
        How many of them stood on disk.
    refused : int
        How many questions the endpoint refused.
    first_refusal : str
        What it said to the first.
    unasked : int
        How many questions the budget was not enough for.
    """

    content: dict[str, str] = field(default_factory=dict)
    kept: int = 0
    refused: int = 0
    first_refusal: str = ""
    unasked: int = 0


def ask(bodies: Mapping[str, Mapping[str, Any]], endpoint: Endpoint, purse: Purse, folder: Path) -> Answers:
    """Ask every question that has no answer on disk.

    Parameters
    ----------
    bodies : mapping of str to mapping
        A question's name (its text) to the body that is sent for it.
    endpoint : Endpoint
        Where.
    purse : Purse
        What is left of the budget.
    folder : Path
        Where answers are kept, one file each, named by a digest of address and body. It holds neither the key nor the texts.

    Returns
    -------
    Answers
        Questions are asked in the order given; those that the budget is not enough for are counted.

    Raises
    ------
    FunctionError
        If the endpoint cannot be reached, refuses the key, or answers what is no completion; what it has answered is on disk.
    """
    found = Answers()
    open_questions = []
    for question, body in bodies.items():
        kept = read_answer(answer_file(folder, endpoint.address, body))
        if kept is None:
            open_questions.append(question)
        else:
            found.content[question] = kept
    found.kept = len(found.content)
    if open_questions and purse.budget.requests > purse.requests:
        _Asking(bodies, endpoint, purse, folder, found, len(open_questions)).run(open_questions)
    else:
        found.unasked = len(open_questions)
    return found


class _Asking:
    """The state that the threads of one call share."""

    def __init__(
        self,
        bodies: Mapping[str, Mapping[str, Any]],
        endpoint: Endpoint,
        purse: Purse,
        folder: Path,
        found: Answers,
        count: int,
    ) -> None:
        self.bodies, self.endpoint, self.purse = bodies, endpoint, purse
        self.folder, self.found, self.count = folder, found, count
        self.pace = Pace(endpoint.requests_per_minute, endpoint.concurrency)
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.failure: FunctionError | None = None
        self.answered = 0
        self.told = time.monotonic()
        self.key = endpoint.key()

    def run(self, questions: list[str]) -> None:
        endpoint = self.endpoint
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        # A proxy has no business between this machine and itself.
        with (
            httpx.Client(headers=headers, timeout=endpoint.timeout_s, trust_env=not endpoint.is_local) as client,
            ThreadPoolExecutor(endpoint.concurrency) as pool,
        ):
            try:
                for _ in pool.map(lambda question: self.ask_one(client, question), questions):
                    pass
            finally:
                self.stopped.set()
        if self.failure is not None:
            raise self.failure

    def ask_one(self, client: httpx.Client, question: str) -> None:
        if self.stopped.is_set():
            with self.lock:
                self.found.unasked += 1
            return
        try:
            content = self.completion(client, self.bodies[question])
        except _OutOfBudgetError:
            with self.lock:
                self.found.unasked += 1
            self.stopped.set()
            return
        except _RefusalError as refusal:
            with self.lock:
                self.found.refused += 1
                self.found.first_refusal = self.found.first_refusal or str(refusal)
            if self.found.refused >= REFUSALS and not self.answered:
                self.fail(f"refuses what it is asked: {refusal}")
            return
        except FunctionError as error:
            with self.lock:
                self.failure = self.failure or error
            self.stopped.set()
            return
        content = self.hidden(content)
        write_answer(content, answer_file(self.folder, self.endpoint.address, self.bodies[question]))
        with self.lock:
            self.found.content[question] = content
            self.answered += 1
            if time.monotonic() - self.told > PROGRESS_EVERY_S:
                self.told = time.monotonic()
                logger.info("%d of %d texts answered, %d tokens used", self.answered, self.count, self.purse.tokens)

    def completion(self, client: httpx.Client, body: Mapping[str, Any]) -> str:
        """Send one request, again where that may help, and return the answer's text."""
        written = json.dumps(body, ensure_ascii=False).encode()
        taken = (len(written) // CHARACTERS_A_TOKEN, _most_written(body))
        reason = ""
        for attempt in range(self.endpoint.retries + 1):
            self.pace.wait(self.stopped)
            if self.stopped.is_set() or not self.purse.take(*taken):
                raise _OutOfBudgetError
            used: tuple[int, int] | None = (0, 0)
            try:
                reply = client.post(
                    self.endpoint.address, content=written, headers={"Content-Type": "application/json"}
                )
                used, content = read_completion(reply)
                if content is not None:
                    return content
                reason, wait = self.judge(reply), asked_to_wait(reply)
            except httpx.HTTPError as error:
                reason, wait = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, None
                # What was waited for may have been worked on, and is paid.
                used = None if isinstance(error, httpx.ReadTimeout) else (0, 0)
            finally:
                if used is not None:
                    self.purse.settle(taken, used)
            if attempt == self.endpoint.retries:
                break
            pause = FIRST_WAIT_S * 2**attempt * random.uniform(0.75, 1.25) if wait is None else wait
            if pause > LONGEST_WAIT_S:
                reason += f" (it asks to wait {pause:.0f} s)"
                break
            if wait is not None:
                self.pace.hold(wait)
            self.stopped.wait(pause)
        raise FunctionError(
            f"the endpoint {self.endpoint.host} gives no answer: {self.hidden(reason)}; its answers so far are kept: run again when it does"
        )

    def judge(self, reply: httpx.Response) -> str:
        """Say what is wrong with a reply; raise where sending it again cannot help."""
        status = reply.status_code
        if status in (401, 403):
            named = self.endpoint.key_env
            how = f"set the environment variable {named}" if named else "name a variable that holds one in key_env"
            raise FunctionError(f"the endpoint {self.endpoint.host} refuses the key ({status}); {how}")
        said = " ".join(self.hidden(reply.text).split())[:200]
        if status in REFUSED:
            raise _RefusalError(f"{status}: {said}")
        if status in AGAIN:
            return f"{status}: {said}"
        if status != 200:
            raise FunctionError(
                f"the endpoint {self.endpoint.host} answers {status} ({said}); expected an OpenAI-compatible {self.endpoint.address}"
            )
        return f"no completion in its reply ({said})"

    def hidden(self, text: str) -> str:
        """Return a text that others wrote without the key in it."""
        return text.replace(self.key, "***") if self.key else text

    def fail(self, what: str) -> None:
        with self.lock:
            self.failure = self.failure or FunctionError(f"the endpoint {self.endpoint.host} {what}")
        self.stopped.set()


class _OutOfBudgetError(Exception):
    pass


class _RefusalError(Exception):
    pass


def _most_written(body: Mapping[str, Any]) -> int:
    return int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)
