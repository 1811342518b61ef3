"""A run that finds nothing to do: short, and seen by the server all the same."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.flows.small import DVC, make

PRICECUT = Path(sys.prefix) / "bin" / "pricecut"


@pytest.fixture
def server():
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body))
            self.send_response(201)
            self.end_headers()
            self.wfile.write(b'{"id": "7d9a3f7e-0000-0000-0000-000000000000"}')

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/api", asked
        http.shutdown()


@pytest.fixture
def project(tmp_path):
    root = make(tmp_path / "p", {"a": {"cmd": "cp in.txt a.txt", "deps": ["in.txt"], "outs": ["a.txt"]}}, in__txt="x")
    subprocess.run([DVC, "repro", "-q"], cwd=root, check=True)
    return root


def run(root, monkeypatch, tmp_path, url=None):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    if url is not None:
        monkeypatch.setenv("PREFECT_API_URL", url)
    code = (
        "import sys; sys.argv = ['pricecut', 'run']\nimport flows.command\n"
        "try: flows.command.main()\nexcept SystemExit as ended: assert not ended.code, ended.code\nprint('prefect' in sys.modules)"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)


def test_no_server_is_started_where_there_is_nothing_to_do(project, tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    done = run(project, monkeypatch, tmp_path)
    assert done.stdout == "False\n" and done.stderr == "nothing new: dvc.yaml\n"


def test_a_server_that_is_up_is_told(project, tmp_path, monkeypatch, server):
    url, asked = server
    done = run(project, monkeypatch, tmp_path, url)
    assert done.stdout == "False\n"
    (flows, flow), (runs, body) = asked
    assert (flows, flow["name"], runs) == ("/api/flows/", "pricecut", "/api/flow_runs/")
    assert body["state"]["type"] == "COMPLETED" and body["state"]["message"] == "nothing new: dvc.yaml"


def test_a_server_that_is_away_is_said_and_no_reason_to_fail(project, tmp_path, monkeypatch):
    done = run(project, monkeypatch, tmp_path, "http://127.0.0.1:9/api")
    assert done.stdout == "False\n" and "the server at http://127.0.0.1:9/api was not told" in done.stderr
