"""What a fine-tuned model says of new texts: python -m trainers.predict MODEL "a text" ..."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trainers.cli import DEVICE, launch
from trainers.config import Device
from trainers.errors import InputError, printable


def predict(
    model: Path,
    /,
    *texts: str,
    file: Annotated[
        Path | None,
        Parameter(
            help="Read texts from this file, one a line; - is standard input. [default: none]",
            allow_leading_hyphen=True,  # or "-" would be taken for a flag
        ),
    ] = None,
    device: Annotated[
        Device | Literal["auto"],
        DEVICE,
        Parameter(help="Where to compute: cpu, cuda, cuda:N or mps; auto takes a GPU if there is one."),
    ] = "auto",
) -> int:
    """Print label, probability and text, separated by tabs, a line a text; control characters are escaped.

    Without texts and file, texts are read from standard input.

    Args:
        model: Directory of an exported model.
        texts: The texts.
        file: Where to read texts instead.
        device: Where to compute.
    """
    from trainers.device import choose_device
    from trainers.model import load

    wanted = _texts(texts, file)
    classifier = load(model, device=choose_device(device))
    for text, prediction in zip(wanted, classifier.predict(wanted), strict=True):
        print(printable(prediction.label), f"{prediction.probability:.4f}", printable(text), sep="\t")  # noqa: T201
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(predict, name="trainers.predict", argv=argv)


def _texts(texts: Sequence[str], file: Path | None) -> list[str]:
    if texts and file is not None:
        raise InputError(f"texts and --file exclude each other, got {len(texts)} texts and {file}; give one")
    if texts:
        return list(texts)
    try:
        content = sys.stdin.read() if file in (None, Path("-")) else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file or 'standard input'} must be readable UTF-8 text, got: {error}; mend it"
        ) from error
    lines = [line.strip() for line in content.splitlines()]
    found = [line for line in lines if line]
    if not found:
        raise InputError("no text to classify; give texts, --file, or lines on standard input")
    return found


if __name__ == "__main__":
    sys.exit(main())
