"""A model behind HTTP: python -m trainers.serve MODEL, then POST /predict."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from trainers.cli import DEVICE, launch
from trainers.config import Device
from trainers.errors import InputError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from trainers.model import Classifier

LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
"""Names under which a server on loopback answers: a page elsewhere whose name is turned to loopback has another one."""

MAX_WAITING = 32
"""Requests that wait for the model, as a multiple of ``max_texts`` texts; more are told to come again."""


@dataclass(frozen=True)
class Limits:
    """What one request may hold.

    Attributes:
        texts: Number of texts.
        num_bytes: Size of the body.
    """

    texts: int = 256
    num_bytes: int = 2**20


def serve(
    model: Path,
    /,
    *,
    host: Annotated[
        str, Parameter(help="Address to listen on; 0.0.0.0 is every network of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = 8000,
    device: Annotated[
        Device | Literal["auto"],
        DEVICE,
        Parameter(help="Where to compute: cpu, cuda, cuda:N or mps; auto takes a GPU if there is one."),
    ] = "auto",
    max_texts: Annotated[int, Parameter(help="Most texts in one request.")] = Limits.texts,
    max_bytes: Annotated[int, Parameter(help="Most bytes in one request.")] = Limits.num_bytes,
) -> int:
    """Answer POST /predict with labels and probabilities, until Ctrl-C; requests that come at once are computed together.

    Args:
        model: Directory of an exported model.
        host: Address.
        port: Port.
        device: Where to compute.
        max_texts: Most texts in one request.
        max_bytes: Most bytes in one request.
    """
    for name, value in (("--max-texts", max_texts), ("--max-bytes", max_bytes)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}; raise it")
    uvicorn = _uvicorn()
    listening = _listen(host, port)
    from trainers.fit import choose_device
    from trainers.model import load

    with listening:
        app = application(
            _of_single_texts(load(model, device=choose_device(device))),
            Limits(texts=max_texts, num_bytes=max_bytes),
            hosts=LOCAL_HOSTS if _is_loopback(host) else ["*"],
        )
        address, bound = listening.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        print(f"serving {model} at http://{shown}:{bound}/predict, until Ctrl-C", flush=True)  # noqa: T201
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        server.run(sockets=[listening])
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    try:
        return launch(serve, name="trainers.serve", argv=argv)
    except KeyboardInterrupt:  # which uvicorn raises again once it has ended
        return 0


def application(
    classifier: Classifier, limits: Limits = Limits(), *, hosts: Sequence[str] = ("*",)
) -> Starlette:
    """Return the web application, ASGI: ``POST /predict``, ``GET /health`` and ``GET /metrics``.

    Args:
        classifier: What predicts.
        limits: Of one request.
        hosts: Names of this server that a request may ask for; ``*`` is any.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    meters = _Meters()
    batches = Batches(lambda texts: answers(classifier, texts), limits, on_batch=meters.batch.observe)

    async def predict(request: Request) -> Response:
        began = time.perf_counter()
        try:
            texts = await _texts(request, limits)
            body: Any = {"predictions": await batches.answer(texts)}
            status = 200
        except _RefusedError as refused:
            body, status = {"error": str(refused)}, refused.status
        meters.seconds.labels(status=status).observe(time.perf_counter() - began)
        return JSONResponse(body, status_code=status, headers={"Retry-After": "1"} if status == 503 else None)

    async def health(_: Request) -> Response:
        from trainers.model import class_names

        return JSONResponse({"status": "ok", "labels": class_names(classifier.model)})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(batches.run())
        yield
        task.cancel()

    return Starlette(
        routes=[
            Route("/predict", predict, methods=["POST"]),
            Route("/health", health),
            Route("/metrics", metrics),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
        lifespan=lifespan,
    )


def _of_single_texts(classifier: Classifier) -> Classifier:
    """Return a classifier of single texts as it is.

    Raises:
        InputError: It reads pairs, which requests do not hold.
    """
    from trainers.model import pair_columns

    pair = pair_columns(classifier.model)
    if pair is not None:
        raise InputError(
            f"a server answers single texts, got a model of pairs ({pair[0]}, {pair[1]}); use trainers.predict"
        )
    return classifier


def answers(classifier: Classifier, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each text its label, the label's probability and those of all; all None where a text is empty once it is clean.

    Of several labels a text: a list of those that it has, the most probable first, and the probability that they are right.
    """
    from trainers.data import is_blank
    from trainers.model import class_names, task

    names, is_several = class_names(classifier.model), task(classifier.model) == "several_labels"
    found = [i for i, plain in enumerate(classifier.plain(texts)) if not is_blank(plain)]
    said = "labels" if is_several else "label"
    answered: list[dict[str, Any]] = [{said: None, "probability": None, "probabilities": None} for _ in texts]
    if is_several:
        for i, prediction in zip(found, classifier.predict([texts[i] for i in found]), strict=True):
            answered[i] = {
                "labels": prediction.labels,
                "probability": prediction.probability,
                "probabilities": prediction.probabilities,
            }
        return answered
    probabilities_NC = classifier.predict_proba([texts[i] for i in found])
    for i, best, row in zip(found, classifier.decide(probabilities_NC), probabilities_NC, strict=True):
        answered[i] = {
            "label": names[best],
            "probability": float(row[best]),
            "probabilities": dict(zip(names, map(float, row), strict=True)),
        }
    return answered


Predict = Callable[[Sequence[str]], list[dict[str, Any]]]


@dataclass
class Batches:
    """Requests that wait for the model: all that came while it computed are its next batch.

    Args:
        predict: Answers texts; called in a thread of its own, never twice at once.
        limits: Of a request; a batch that holds more than one has no more texts either.
        on_batch: Called with the number of texts of each batch.
    """

    predict: Predict
    limits: Limits
    on_batch: Callable[[int], object] = lambda _: None
    _waiting: list[tuple[list[str], asyncio.Future[list[dict[str, Any]]]]] = field(default_factory=list)
    _come: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, texts: list[str]) -> list[dict[str, Any]]:
        """Wait for the answers of one request.

        Raises:
            _RefusedError: Too many wait already.
        """
        waiting = sum(len(others) for others, _ in self._waiting)
        if waiting > MAX_WAITING * self.limits.texts:
            raise _RefusedError(
                503,
                f"at most {MAX_WAITING * self.limits.texts} texts wait for the model, got {waiting}; come again",
            )
        future: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, future))
        self._come.set()
        return await future

    async def run(self) -> None:
        """Answer batch after batch, until cancelled."""
        while True:
            await self._come.wait()
            batch = self._next()
            texts = [text for some, _ in batch for text in some]
            self.on_batch(len(texts))
            try:
                answered = await asyncio.to_thread(self.predict, texts)
            except Exception as error:
                logging.getLogger(__name__).exception("a batch failed")
                for _, future in batch:
                    if not future.done():
                        future.set_exception(_RefusedError(500, f"the model failed: {type(error).__name__}"))
                continue
            for some, future in batch:
                own, answered = answered[: len(some)], answered[len(some) :]
                if not future.done():  # or nobody waits any more
                    future.set_result(own)

    def _next(self) -> list[tuple[list[str], asyncio.Future[list[dict[str, Any]]]]]:
        """Take the oldest requests, as many as one batch holds."""
        count = total = 0
        for texts, _ in self._waiting:
            total += len(texts)
            if count and total > self.limits.texts:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        if not self._waiting:
            self._come.clear()
        return batch


class _RefusedError(Exception):
    """A request that is answered by an error.

    Args:
        status: Of HTTP.
        message: What the body says.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Meters:
    """What ``/metrics`` tells."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Histogram

        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "frostline_request_seconds",
            "Requests to /predict by status, and how long they took.",
            ["status"],
            registry=self.registry,
        )
        self.batch = Histogram(
            "frostline_batch_texts",
            "Texts that were computed together.",
            registry=self.registry,
            buckets=[2**i for i in range(11)],
        )


async def _texts(request: Request, limits: Limits) -> list[str]:
    """Return the texts of a request.

    Raises:
        _RefusedError: It is not what is expected, or too large.
    """
    expected = 'the body must be JSON, {"texts": ["a text", ...]}'
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which no page elsewhere may send without asking first
        raise _RefusedError(415, f"{expected}, with content-type application/json, got {kind!r}")
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limits.num_bytes:
            raise _RefusedError(
                413, f"a request may have {limits.num_bytes:,} bytes, got more; send fewer texts"
            )
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, f"{expected}, got {type(error).__name__}: {error}") from None
    texts = body.get("texts") if isinstance(body, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _RefusedError(422, f"{expected}, got something else")
    if not 1 <= len(texts) <= limits.texts:
        raise _RefusedError(
            413 if texts else 422,
            f"a request must have 1 to {limits.texts} texts, got {len(texts)}; {'send them in parts' if texts else 'add one'}",
        )
    if any(0xD800 <= ord(c) <= 0xDFFF for text in texts for c in text):
        raise _RefusedError(
            422, "a text must hold characters, got half of a surrogate pair; encode it as UTF-8"
        )
    return texts


def _uvicorn() -> Any:
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise InputError(
            f"serving needs packages that are not here, got: {error}; pip install 'frostline[serve]'"
        ) from error
    return uvicorn


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise InputError(
            f"--host and --port must be an address of this machine that nobody listens on, got {host} and {port}: {reason}; "
            "give another --port"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main())
