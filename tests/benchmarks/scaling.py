"""How the time of a fit grows with the reviews and with the trained layers.

python tests/benchmarks/scaling.py --out scaling.json
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from ablation import CONFIG
from rich.console import Console
from rich.table import Table
from side_by_side import environment

from trainers.data.splits import load_splits
from trainers.encoder.loading import load_encoder
from trainers.fit.feature_building import build_features
from trainers.fit.loop import fit

REVIEWS = (400, 800)
LAYERS = (1, 2, 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("scaling.json"))
    options = parser.parse_args()
    encoder = load_encoder(CONFIG.encoder)
    setups = [(n, 2) for n in REVIEWS] + [(REVIEWS[0], layers) for layers in LAYERS if layers != 2]
    seconds = {setup: [] for setup in setups}
    with tempfile.TemporaryDirectory() as folder:
        ready = {}
        for reviews, layers in setups:
            sizes = {"train": reviews, "validation": reviews // 2}
            depth = encoder.num_layers - layers
            config = CONFIG.model_copy(
                update={"data": CONFIG.data.model_copy(update=sizes), "freeze_depth": depth, "ceiling": 1.0}
            )
            splits = load_splits(config.data, encoder.tokenizer)
            features = build_features(
                encoder, splits, config, depths=[depth], directory=Path(folder), disk_bytes=2**34
            )
            ready[reviews, layers] = config, features
        for _ in range(options.rounds):
            for setup, (config, features) in ready.items():
                began = time.perf_counter()
                fit(config, features)
                seconds[setup].append(time.perf_counter() - began)
    rows = Table("reviews", "trained layers", "seconds, median", "relative", title="Time of one fit")
    base = statistics.median(seconds[REVIEWS[0], 2])
    for (reviews, layers), values in seconds.items():
        median = statistics.median(values)
        rows.add_row(str(reviews), str(layers), f"{median:.1f}", f"{median / base:.2f}")
    fits = [{"reviews": n, "layers": layers, "seconds": s} for (n, layers), s in seconds.items()]
    options.out.write_text(json.dumps({**environment(), "fits": fits}, indent=2))
    Console().print(rows)


if __name__ == "__main__":
    main()
