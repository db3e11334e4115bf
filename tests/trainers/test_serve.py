"""The server: what it answers, what it refuses, what it computes together."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from starlette.testclient import TestClient

from trainers.model.classifier import load
from trainers.serve import LOCAL_HOSTS, MAX_WAITING, Batches, Limits, _is_loopback, application, main

TEXTS = ["the film was good", "a dull story"]


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model


@pytest.fixture(scope="module")
def classifier(model):
    return load(model)


@pytest.fixture
def client(classifier):
    with TestClient(application(classifier, Limits(texts=3, num_bytes=300))) as client:
        yield client


def test_answers_are_those_of_the_classifier(client, classifier):
    answered = client.post("/predict", json={"texts": TEXTS}).json()["predictions"]
    for answer, prediction, row in zip(
        answered, classifier.predict(TEXTS), classifier.predict_proba(TEXTS), strict=True
    ):
        assert answer["label"] == prediction.label
        assert answer["probability"] == pytest.approx(prediction.probability, abs=1e-6)
        assert answer["probabilities"] == pytest.approx(
            dict(zip(("negative", "positive"), row, strict=True)), abs=1e-6
        )


def test_a_text_without_words_has_no_label(client):
    answered = client.post("/predict", json={"texts": ["<br/>", "good"]}).json()["predictions"]
    assert answered[0] == {"label": None, "probability": None, "probabilities": None}
    assert answered[1]["label"] in {"negative", "positive"}


EXPECTED = 'the body must be JSON, {"texts": ["a text", ...]}'


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"texts":', 400, f"{EXPECTED}, got JSONDecodeError: Expecting value: line 1 column 10 (char 9)"),
        (b'"\xff"', 400, f"{EXPECTED}, got UnicodeDecodeError: "),
        (b"[" * 250, 400, f"{EXPECTED}, got "),
        (b"[]", 422, f"{EXPECTED}, got something else"),
        (b'{"texts": "good"}', 422, f"{EXPECTED}, got something else"),
        (b'{"texts": [1]}', 422, f"{EXPECTED}, got something else"),
        (b'{"texts": []}', 422, "a request must have 1 to 3 texts, got 0; add one"),
        (b'{"texts": ["a","b","c","d"]}', 413, "a request must have 1 to 3 texts, got 4; send them in parts"),
        (
            b'{"texts": ["' + b"a" * 300 + b'"]}',
            413,
            "a request may have 300 bytes, got more; send fewer texts",
        ),
        (b'{"texts": ["\\ud800"]}', 422, "a text must hold characters, got half of a surrogate pair"),
    ],
)
def test_a_request_that_cannot_be_answered_is_told_why(client, body, status, message):
    response = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert response.json()["error"].startswith(message)


def test_a_page_elsewhere_cannot_ask_without_asking_first(client):
    response = client.post("/predict", content=b'{"texts": ["good"]}', headers={"content-type": "text/plain"})
    assert response.status_code == 415
    assert response.json()["error"] == f"{EXPECTED}, with content-type application/json, got 'text/plain'"


def test_a_local_server_answers_to_local_names_only(classifier):
    with TestClient(application(classifier, hosts=LOCAL_HOSTS), base_url="http://localhost:8000") as client:
        assert client.get("/health").json() == {"status": "ok", "labels": ["negative", "positive"]}
        assert client.get("/health", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.1", False)],
)
def test_loopback_is_known(host, local):
    assert _is_loopback(host) is local


def test_metrics_count_requests_and_texts(client):
    client.post("/predict", json={"texts": TEXTS})
    client.post("/predict", json={"texts": []})
    told = client.get("/metrics").text
    assert 'frostline_request_seconds_count{status="200"} 1.0' in told
    assert 'frostline_request_seconds_count{status="422"} 1.0' in told
    assert "frostline_batch_texts_sum 2.0" in told


def test_requests_that_come_at_once_are_computed_together_and_answered_apart():
    batches = []

    def predict(texts):
        batches.append(list(texts))
        return [{"label": text} for text in texts]

    async def ask():
        waiting = Batches(predict, Limits(texts=4))
        answers = [asyncio.create_task(waiting.answer(list(texts))) for texts in ("ab", "c", "de", "f")]
        await asyncio.sleep(0)
        task = asyncio.create_task(waiting.run())
        found = await asyncio.gather(*answers)
        task.cancel()
        return ["".join(a["label"] for a in answer) for answer in found]

    assert asyncio.run(ask()) == ["ab", "c", "de", "f"]
    assert batches == [["a", "b", "c"], ["d", "e", "f"]]


def test_a_batch_that_fails_is_told_and_the_next_is_answered():
    def predict(texts):
        if "bad" in texts:
            raise ValueError("secret")
        return [{"label": text} for text in texts]

    async def ask():
        waiting = Batches(predict, Limits(texts=1))
        task = asyncio.create_task(waiting.run())
        found = await asyncio.gather(
            waiting.answer(["bad"]), waiting.answer(["good"]), return_exceptions=True
        )
        task.cancel()
        return found

    failed, answered = asyncio.run(ask())
    assert (failed.status, str(failed)) == (500, "the model failed: ValueError")
    assert answered == [{"label": "good"}]


def test_a_request_is_turned_away_where_too_many_wait():
    async def ask():
        waiting = Batches(list, Limits(texts=1))
        tasks = [asyncio.create_task(waiting.answer(["a"])) for _ in range(MAX_WAITING + 1)]
        await asyncio.sleep(0)
        found = (await asyncio.gather(waiting.answer(["b"]), return_exceptions=True))[0]
        for task in tasks:
            task.cancel()
        return found

    refused = asyncio.run(ask())
    assert (refused.status, str(refused)) == (
        503,
        f"at most {MAX_WAITING} texts wait for the model, got {MAX_WAITING + 1}; come again",
    )


def test_a_port_that_is_taken_is_named(model, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main([str(model), "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"error: --host and --port must be an address of this machine that nobody listens on, got 127.0.0.1 and {port}: "
        "Address already in use; give another --port\n"
    )


def test_limits_below_one_are_refused(model, capsys):
    assert main([str(model), "--max-texts", "0"]) == 2
    assert capsys.readouterr().err == "error: --max-texts must be at least 1, got 0; raise it\n"


def test_packages_that_are_not_here_are_named(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main([str(model)]) == 2
    assert capsys.readouterr().err.endswith("pip install 'frostline[serve]'\n")


@pytest.mark.slow
def test_a_server_answers_over_http_until_it_is_told_to_end(model):
    command = [sys.executable, "-m", "trainers.serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().split(" at ")[1].split(",")[0]
            request = urllib.request.Request(
                address, json.dumps({"texts": TEXTS}).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                assert len(json.load(response)["predictions"]) == len(TEXTS)
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=30)[0] == ""
        finally:
            process.kill()
