"""What computing requests together is worth: python tests/benchmarks/serving.py MODEL

Starts ``trainers.serve`` on loopback, and asks it for one text a request: by one client, by many at once, and by many at
once with each request computed alone. All three in one run, in turns, so that a machine that changes its speed is noticed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import numpy as np

TEXTS = (
    "A joy from start to finish.",
    "Two hours I want back: the plot is thin, the jokes are old, and nobody on the screen seems to care.",
    "Solid, if a little long.",
)


async def load(address: str, *, clients: int, requests: int) -> tuple[float, list[float]]:
    """Return the seconds of all requests together, and of each."""
    seconds: list[float] = []

    async def ask(client: httpx2.AsyncClient, numbers: range) -> None:
        for i in numbers:
            began = time.perf_counter()
            response = await client.post(address, json={"texts": [TEXTS[i % len(TEXTS)]]})
            response.raise_for_status()
            seconds.append(time.perf_counter() - began)

    async with httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=clients)) as client:
        began = time.perf_counter()
        await asyncio.gather(*(ask(client, range(k, requests, clients)) for k in range(clients)))
        return time.perf_counter() - began, seconds


def serve(model: str, *flags: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "trainers.serve", model, "--port", "0", *flags],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split(" at ")[1].split(",")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--requests", type=int, default=600, help="Of each kind in each turn.")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON of all turns.")
    options = parser.parse_args()
    together, address = serve(options.model)
    alone, address_alone = serve(options.model, "--max-texts", "1")
    kinds = {
        "one client": (address, 1),
        f"{options.clients} clients, together": (address, options.clients),
        f"{options.clients} clients, each alone": (address_alone, options.clients),
    }
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    try:
        for turn in range(options.turns + 1):  # the first one warms up
            for kind, (where, clients) in kinds.items():
                total, seconds = asyncio.run(load(where, clients=clients, requests=options.requests))
                if turn:
                    found[kind].append((options.requests / total, float(np.quantile(seconds, 0.99)) * 1000))
    finally:
        together.kill()
        alone.kill()
    print("| | texts a second | p99, ms |\n| --- | --- | --- |")  # noqa: T201
    for kind, turns in found.items():
        rate, p99 = np.median(turns, axis=0)
        print(f"| {kind} | {rate:.0f} | {p99:.0f} |")  # noqa: T201
    if options.out:
        options.out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
