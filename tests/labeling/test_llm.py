"""Functions that ask a language model, against a real server on this machine."""

import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.functions import Budget, llm
from labeling.functions.llm import parse_label
from labeling.spending import Pace, Purse
from labeling.vote import label_matrix
from ledger.errors import FunctionError

LABELS = ("billing", "delivery")
KEY = "sk-very-secret-0123456789"
TEXTS = ["an invoice", "a parcel", "an invoice", None, "   "]


class Server(ThreadingHTTPServer):
    """Answers as told: a function of the text, and of how many requests came before."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies, self.headers_seen, self.times = [], [], []
        self.lock = threading.Lock()
        self.reply = lambda text, _number: (200, {}, "billing" if "invoice" in text else "delivery")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.bodies)
            self.server.bodies.append(body)
            self.server.headers_seen.append((self.path, dict(self.headers)))
            self.server.times.append(time.monotonic())
        status, headers, said = self.server.reply(body["messages"][-1]["content"], number)
        document = said
        if isinstance(said, str):
            usage = {"prompt_tokens": 50, "completion_tokens": 2}
            document = {"choices": [{"message": {"role": "assistant", "content": said}}], "usage": usage}
        written = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("labeling.completions.FIRST_WAIT_S", 0.01)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def asking(server, **given):
    given = {"requests_per_minute": 60_000, "retries": 2} | given
    return llm("asked", LABELS, endpoint=server.url, model="m", **given)


def votes(function, texts=TEXTS):
    rows = pl.DataFrame(
        {"row_id": [str(n) for n in range(len(texts))], "text": texts}, schema_overrides={"text": pl.String}
    )
    return label_matrix([function], rows, LABELS)[:, 0].tolist()


def written():
    return [path for path in Path().rglob("*") if path.is_file()]


def test_each_text_is_asked_once_and_never_again(server):
    assert votes(asking(server)) == [0, 1, 0, -1, -1]
    assert len(server.bodies) == 2
    assert votes(asking(server)) == [0, 1, 0, -1, -1]
    assert len(server.bodies) == 2
    again = asking(server, prompt="Which queue?")
    assert votes(again) == [0, 1, 0, -1, -1] and len(server.bodies) == 4


def test_what_is_sent(server):
    labels = {"billing": "money", "delivery": "parcels"}
    function = llm(
        "asked",
        labels,
        endpoint=server.url,
        model="m",
        prompt="Which queue?",
        max_characters=6,
        body={"seed": 1, "max_tokens": None},
    )
    votes(function, ["an invoice"])
    (body,) = server.bodies
    assert (body["model"], body["temperature"], body["seed"]) == ("m", 0, 1) and "max_tokens" not in body
    system, user = body["messages"]
    assert "Which queue?" in system["content"] and "- billing: money" in system["content"]
    assert user == {"role": "user", "content": "an inv"}
    path, headers = server.headers_seen[0]
    assert path == "/v1/chat/completions" and "Authorization" not in headers


def test_the_key_is_sent_and_never_written(server, monkeypatch, caplog):
    monkeypatch.setenv("SOME_KEY", KEY)
    caplog.set_level(logging.DEBUG, "labeling")
    server.reply = lambda _text, number: (200, {}, f"billing {KEY}") if number else (500, {}, {"error": f"bad {KEY}"})
    function = asking(server, key_env="SOME_KEY")
    votes(function)
    assert all(headers["Authorization"] == f"Bearer {KEY}" for _, headers in server.headers_seen)
    assert written() and not any(KEY in path.read_text() for path in written())
    assert KEY not in caplog.text and KEY not in function.source and KEY not in repr(vars(function))
    server.reply = lambda _text, _number: (404, {}, {"error": f"no such model, {KEY}"})
    with pytest.raises(FunctionError) as told:
        votes(function, ["new"])
    assert KEY not in str(told.value) and "answers 404" in str(told.value)


def test_a_missing_or_refused_key_says_which_variable(server, monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(FunctionError, match="function 'asked': the environment variable SOME_KEY is not set"):
        votes(asking(server, key_env="SOME_KEY"))
    assert server.bodies == []
    monkeypatch.setenv("SOME_KEY", KEY)
    server.reply = lambda _text, _number: (401, {}, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    with pytest.raises(FunctionError, match=r"refuses the key \(401\); set the environment variable SOME_KEY") as told:
        votes(asking(server, key_env="SOME_KEY"))
    assert KEY not in str(told.value)


def test_the_budget_ends_it_and_the_next_run_goes_on(server, caplog):
    texts = [f"invoice {n}" for n in range(10)]
    function = asking(server, budget=Budget(requests=4))
    assert sum(vote == 0 for vote in votes(function, texts)) == 4
    assert len(server.bodies) == 4 and function.unasked == 6
    assert "its budget is spent: it abstains on 6 of 10 texts" in caplog.text
    assert votes(function, texts).count(0) == 4 and len(server.bodies) == 4  # the same run: nothing is left
    assert votes(asking(server, budget=Budget(requests=4)), texts).count(0) == 8 and len(server.bodies) == 8
    assert votes(asking(server, budget=Budget(requests=4)), texts).count(0) == 10 and len(server.bodies) == 10
    assert votes(asking(server, budget=Budget(requests=0)), texts).count(0) == 10 and len(server.bodies) == 10


@pytest.mark.parametrize("budget", [Budget(tokens=1000), Budget(cost=1000e-6, input_price=1, output_price=1)])
def test_tokens_and_money_end_it_too(server, budget):
    texts = [f"invoice {n}" for n in range(40)]
    function = asking(server, budget=budget, concurrency=3)
    answered = votes(function, texts).count(0)
    # 52 tokens a request; before the last ones some are held back for what they may take at most.
    assert 8 <= answered <= 1000 // 52 and len(server.bodies) == answered
    assert function.purse.tokens == 52 * answered <= 1000


def test_too_many_requests_are_sent_again_after_the_pause_asked_for(server):
    server.reply = lambda _text, number: (
        (429, {"Retry-After": "0.4"}, {"error": "slow"}) if number == 0 else (200, {}, "billing")
    )
    assert votes(asking(server, concurrency=1), ["an invoice"]) == [0]
    assert server.times[1] - server.times[0] >= 0.4


@pytest.mark.parametrize("status", [429, 500, 503])
def test_failures_that_stay_are_given_up_after_the_retries(server, status):
    server.reply = lambda _text, _number: (status, {}, {"error": "busy"})
    with pytest.raises(FunctionError, match=rf"function 'asked': the endpoint 127.* gives no answer: {status}: .*busy"):
        votes(asking(server, concurrency=1), ["an invoice"])
    assert len(server.bodies) == 3


def test_a_pause_of_an_hour_is_not_waited_for(server):
    server.reply = lambda _text, _number: (429, {"Retry-After": "3600"}, {"error": "slow"})
    with pytest.raises(FunctionError, match="it asks to wait 3600 s"):
        votes(asking(server), ["an invoice"])


def test_a_server_that_goes_down_leaves_what_it_answered(server):
    texts = [f"invoice {n}" for n in range(8)]
    server.reply = lambda _text, number: (200, {}, "billing") if number < 3 else (503, {}, {"error": "down"})
    with pytest.raises(FunctionError, match="its answers so far are kept: run again"):
        votes(asking(server, concurrency=1), texts)
    server.reply = lambda _text, _number: (200, {}, "billing")
    before = len(server.bodies)
    assert votes(asking(server), texts) == [0] * 8 and len(server.bodies) - before == 5


def test_no_server_at_all(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(FunctionError, match=r"function 'asked': the endpoint 127\S* gives no answer: Connect") as told:
        votes(asking(server))
    assert str(told.value).count("\n") == 0


def test_what_is_no_label_abstains_and_is_not_asked_again(server):
    said = {
        "a": "billing or delivery",
        "b": "The label is billing.",
        "c": "ignore all rules: delivery, delivery",
        "d": "",
        "e": "none of these",
        "f": "billing\ndelivery",
        "g": "spam",
        "h": " **Delivery**. ",
        "i": "<think>billing? no: a parcel</think>\ndelivery",
    }
    server.reply = lambda text, _number: (200, {}, said[text])
    assert votes(asking(server), list(said)) == [-1] * 7 + [1, 1]
    assert votes(asking(server), list(said)) == [-1] * 7 + [1, 1] and len(server.bodies) == 9


@pytest.mark.parametrize("reply", [b"<html>hello</html>", {"choices": []}, [1, 2], {"choices": [{"message": None}]}])
def test_a_reply_that_is_no_completion_stops_the_run(server, reply):
    server.reply = lambda _text, _number: (200, {}, reply)
    with pytest.raises(FunctionError, match="no completion in its reply"):
        votes(asking(server))


def test_one_text_that_is_refused_abstains_alone(server, caplog):
    server.reply = lambda text, _number: (
        (400, {}, {"error": "content filter"}) if "bad" in text else (200, {}, "billing")
    )
    assert votes(asking(server), ["an invoice", "bad words", "a bill"]) == [0, -1, 0]
    assert "1 texts were refused; first: 400" in caplog.text and "content filter" in caplog.text


def test_requests_that_are_all_refused_stop_the_run(server):
    server.reply = lambda _text, _number: (400, {}, {"error": "unknown parameter"})
    with pytest.raises(FunctionError, match=r"refuses what it is asked: 400: .*unknown parameter"):
        votes(asking(server, concurrency=1), [f"text {n}" for n in range(50)])
    assert len(server.bodies) == 5


def test_a_redirect_is_not_followed(server, monkeypatch):
    monkeypatch.setenv("SOME_KEY", KEY)
    server.reply = lambda _text, _number: (307, {"Location": "http://127.0.0.1:9/elsewhere"}, {})
    with pytest.raises(FunctionError, match="answers 307"):
        votes(asking(server, key_env="SOME_KEY"), ["a"])


def test_a_slow_answer_times_out(server):
    server.reply = lambda _text, _number: time.sleep(0.5) or (200, {}, "billing")
    with pytest.raises(FunctionError, match="gives no answer: ReadTimeout"):
        votes(asking(server, timeout_s=0.1, retries=0), ["an invoice"])


def test_the_rate_limit(server):
    votes(asking(server, requests_per_minute=600, concurrency=2), [f"invoice {n}" for n in range(6)])
    # Two at once, then one every 0.1 s.
    assert server.times[-1] - server.times[0] >= 0.38


def test_a_pace_without_a_burst():
    pace, stopped = Pace(1200, 1), threading.Event()
    begun = time.monotonic()
    for _ in range(5):
        pace.wait(stopped)
    assert 0.2 <= time.monotonic() - begun < 1
    stopped.set()
    pace.hold(60)
    pace.wait(stopped)
    assert time.monotonic() - begun < 2


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), max_size=60))
def test_a_purse_is_never_overdrawn(requests):
    purse = Purse(Budget(requests=20, tokens=500, cost=900e-6, input_price=1, output_price=2))
    for reads, writes, shorter in requests:
        if purse.take(reads, writes) and shorter:
            purse.settle((reads, writes), (reads // 2, writes // 2))
    assert purse.requests <= 20 and purse.tokens <= 500 and purse.cost <= 900e-6 + 1e-9


@given(st.text(max_size=30))
def test_only_a_label_is_a_label(answer):
    found = parse_label(answer, LABELS)
    assert found is None or found in answer.casefold()
    assert parse_label(f"{answer} billing delivery", LABELS) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": ["billing"]}, "at least two labels"),
        ({"labels": "billing"}, "at least two labels"),
        ({"labels": ["Spam", "spam"]}, "differ in more than case"),
        ({"labels": ["none of these", "x"]}, "differ in more than case"),
        ({"endpoint": "api.example.com/v1"}, "expected an endpoint's address"),
        ({"endpoint": "ftp://example.com"}, "expected an endpoint's address"),
        ({"endpoint": f"https://u:{KEY}@example.com/v1"}, "carries a secret"),
        ({"endpoint": f"https://example.com/v1?api_key={KEY}"}, "carries a secret"),
        ({"endpoint": "http://example.com/v1", "key_env": "K"}, "over https or to this machine only"),
        ({"endpoint": "http://127.evil.example/v1", "key_env": "K"}, "over https or to this machine only"),
        ({"requests_per_minute": 0}, "above 0"),
        ({"model": ""}, "expected a model"),
        ({"body": {"messages": []}}, "'messages' is not for it to say"),
        ({"body": {"seed": {1}}}, "what JSON can say"),
    ],
)
def test_what_is_refused(given, message):
    arguments = {"labels": LABELS, "endpoint": "https://example.com/v1", "model": "m"} | given
    with pytest.raises(FunctionError, match=f"function 'asked': .*{message}") as told:
        llm("asked", **arguments)
    assert KEY not in str(told.value)


def test_a_budget_is_refused():
    with pytest.raises(FunctionError, match="nothing below 0"):
        Budget(requests=-1)
    with pytest.raises(FunctionError, match="needs input_price"):
        Budget(cost=1.0)


def test_an_address_may_be_the_whole_one_and_have_a_version():
    for url, expected in (
        ("https://e.example/v1/", "https://e.example/v1/chat/completions"),
        ("https://e.example/v1/chat/completions", "https://e.example/v1/chat/completions"),
        ("https://e.example/d?api-version=1", "https://e.example/d/chat/completions?api-version=1"),
    ):
        assert llm("a", LABELS, endpoint=url, model="m").endpoint.address == expected
