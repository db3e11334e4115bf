"""What a fine-tuned model says of new texts: python -m trainers.predict MODEL "a text" ..."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from trainers.cli import DEVICE, launch
from trainers.config import FILE_SUFFIXES, Device
from trainers.data import SHOWN_AS, check_text, decode
from trainers.errors import CONTROL, InputError, printable

LINES_SHOWN = 5

if TYPE_CHECKING:
    from trainers.data import Answer, Finding, Rows, Text
    from trainers.model import Classifier


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
    column: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="Read texts from this column of --file (.csv, .tsv, .jsonl, .parquet), and write its rows back with "
            "their predictions; of pairs, give it twice. [default: one text a line; of pairs, the columns that the "
            "model was trained on]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Parameter(
            help="With --column: write to this file, of one of these kinds. [default: standard output]"
        ),
    ] = None,
    abstain_below: Annotated[
        float | None,
        Parameter(
            help="Give no label where its probability is below this; the probability is written all the same. [default: always "
            "give one]"
        ),
    ] = None,
    device: Annotated[
        Device | Literal["auto"],
        DEVICE,
        Parameter(help="Where to compute: cpu, cuda, cuda:N or mps; auto takes a GPU if there is one."),
    ] = "auto",
) -> int:
    """Print label, probability and text, separated by tabs, a line a text; control characters are escaped.

    Without texts and file, texts are read from standard input, one a line. A line without a text gives one without a
    label, so that line N answers line N. With --column, rows are written as they are, with the columns prediction and
    probability.

    Of several labels a text all are printed, and their probabilities, with ; between them.

    A model of pairs takes two arguments for each, or lines with a tab between the two texts.

    Args:
        model: Directory of an exported model.
        texts: The texts.
        file: Where to read texts instead.
        column: Of a table in that file.
        out: Where to write its rows.
        abstain_below: Probability below which no label is given.
        device: Where to compute.
    """
    if abstain_below is not None and not 0 <= abstain_below <= 1:
        raise InputError(
            f"--abstain-below must be a probability from 0 to 1, got {abstain_below:g}; change it"
        )
    pair = _pair_of(model)
    if pair is not None and not column and file is not None and file.suffix.lower() in FILE_SUFFIXES:
        column = [*pair]
    _check_table(column, texts, file=file, out=out)
    rows = _rows(column, pair, file=file, out=out) if column and file is not None else None
    wanted = rows.texts if rows else _in_form(_texts(texts, file), pair, are_lines=not texts)

    from trainers.fit import choose_device
    from trainers.model import load

    answers = _answers(load(model, device=choose_device(device)), wanted, abstain_below=abstain_below or 0.0)
    if rows is None:
        _print(wanted, answers)
    else:
        _write(rows, answers, out)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    return launch(predict, name="trainers.predict", argv=argv)


def _check_table(
    column: list[str] | None, texts: Sequence[str], *, file: Path | None, out: Path | None
) -> None:
    if not column and out is not None:
        raise InputError(f"--out needs --column, got --out {out} alone; add it, or use > {out}")
    if column and (texts or file in (None, Path("-"))):
        raise InputError(
            f"--column needs --file, the table that has it, got --column {' --column '.join(column)}; give both"
        )


def _rows(column: Sequence[str], pair: tuple[str, str] | None, *, file: Path, out: Path | None) -> Rows:
    from trainers.data import check_out, read_rows

    if out is not None:
        check_out(out, file)
    rows = read_rows(file, _columns(column, pair))
    _tell(rows.findings)
    return rows


def _write(rows: Rows, answers: Sequence[Answer], out: Path | None) -> None:
    from trainers.data import write_rows

    content = write_rows(rows, answers, out)
    if sys.stdout.isatty():  # which would obey control characters of a text
        content = "".join(map(_shown, content.splitlines(keepends=True)))
    print(content, end="")  # noqa: T201


def _print(texts: Sequence[Text], answers: Sequence[Answer]) -> None:
    from trainers.data import in_a_cell, sides

    for text, (label, probability) in zip(texts, answers, strict=True):
        several = (
            probability if isinstance(probability, tuple) else () if probability is None else (probability,)
        )
        known = ";".join(f"{part:.4f}" for part in several)
        print(printable(in_a_cell(label) or ""), known, *map(printable, sides(text)), sep="\t")  # noqa: T201


def _pair_of(model: Path) -> tuple[str, str] | None:
    """Return the columns that a model of pairs was trained on, loading nothing; None if it is none, or cannot be read."""
    try:
        first, second = json.loads((model / "config.json").read_text(encoding="utf-8"))["pair"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(first), str(second)


def _columns(column: Sequence[str], pair: tuple[str, str] | None) -> str | tuple[str, str]:
    if len(column) != (1 if pair is None else 2):
        form = "single texts: give one" if pair is None else f"pairs ({', '.join(pair)}): give two"
        raise InputError(f"this model reads {form} --column, got {len(column)}")
    return column[0] if pair is None else (column[0], column[1])


def _in_form(texts: list[str], pair: tuple[str, str] | None, *, are_lines: bool) -> list[Text]:
    """Return texts as the model reads them: two arguments are a pair, or a line with a tab in it."""
    if pair is None:
        return [*texts]
    reads = f"this model reads pairs ({', '.join(pair)})"
    if not are_lines:
        if len(texts) % 2:
            raise InputError(
                f"{reads}: two texts after one another, got {len(texts)} in all; give both of each"
            )
        return list(zip(texts[::2], texts[1::2], strict=True))
    pairs: list[Text] = []
    wrong = []
    for number, line in enumerate(texts, 1):
        first, tab, second = line.partition("\t")
        if line.strip() and (not tab or "\t" in second):
            wrong.append(number)
        pairs.append((first, second))
    if wrong:
        shown = ", ".join(map(str, wrong[:LINES_SHOWN])) + (" ..." if len(wrong) > LINES_SHOWN else "")
        raise InputError(
            f"{reads}, hence two texts with one tab between them a line, got another number of tabs in {len(wrong)} of "
            f"{len(texts)} lines ({shown}); fix these, or give a table with --file"
        )
    return pairs


def _texts(texts: Sequence[str], file: Path | None) -> list[str]:
    if texts and file is not None:
        raise InputError(f"texts and --file exclude each other, got {len(texts)} texts and {file}; give one")
    if texts:
        # Where the locale names ASCII only, what was typed arrives as escaped bytes.
        return [os.fsencode(text).decode("utf-8", "replace") for text in texts]
    if file is None or file == Path("-"):
        path, content = Path("standard input"), sys.stdin.buffer.read()
    else:
        path = file
        if path.suffix.lower() == ".parquet":
            raise InputError(f"{path} holds columns, not lines; name the one of the texts with --column")
        check_text(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{path} cannot be read: {error.strerror}; check path and permissions"
            ) from error
        if path.suffix.lower() in FILE_SUFFIXES:
            _say(f"note: {path} is read as one text a line; --column NAME reads a column of it")
    text, findings = decode(content, path)
    _tell(findings)
    # At line feeds alone: splitlines() would split at a form feed or U+2028 within a text, too.
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if not any(line.strip() for line in lines):
        raise InputError("no text to classify; give texts, --file, or lines on standard input")
    return lines


def _answers(classifier: Classifier, texts: Sequence[Text], *, abstain_below: float) -> list[Answer]:
    """Return label and probability of each text; those that are empty once they are clean have none, nor have pairs of one.

    An answer that is less probable than ``abstain_below`` has its probability alone.
    """
    from trainers.data import is_blank

    found = [i for i, plain in enumerate(classifier.plain(texts)) if not is_blank(plain)]
    answers: list[Answer] = [(None, None)] * len(texts)
    for i, prediction in zip(found, classifier.predict([texts[i] for i in found]), strict=True):
        is_sure = prediction.probability >= abstain_below
        if prediction.labels is not None and prediction.probabilities is not None:
            known = tuple(round(prediction.probabilities[name], 4) for name in prediction.labels)
            answers[i] = (prediction.labels, known) if is_sure else (None, None)
            continue
        answers[i] = prediction.label if is_sure else None, round(prediction.probability, 4)
    return answers


def _tell(findings: Iterable[Finding]) -> None:
    """Say on standard error what was fixed while reading."""
    for finding in findings:
        if finding.severity in {"warning", "mended"}:
            _say(f"{SHOWN_AS[finding.severity]}: {finding}")


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr)  # noqa: T201


def _shown(line: str) -> str:
    return CONTROL.sub(lambda found: found[0] if found[0] in "\t\n" else repr(found[0])[1:-1], line)


if __name__ == "__main__":
    sys.exit(main())
