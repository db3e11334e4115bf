"""What a search found, in Python and in a notebook."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from search.interrupts import stoppable
from trainers.errors import printable

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from search.report import Summary, TrialRow
    from search.study import Opened
    from trainers.config import Device
    from trainers.fit import ThresholdAim
    from trainers.model import Classifier

MOST_ROWS = 10
"""Of the Pareto front that a notebook shows."""

MOST_BYTES = 100_000
"""Of the picture in a notebook; a larger one is left out, and stands in the report."""

STYLE = (
    "<style>.frostline{color:#1a1a1a;background:#fff;padding:.6em;max-width:60em;overflow-x:auto}"
    # Jupyter has colours of its own for tables, which do not know of dark mode.
    ".frostline table,.frostline tr,.frostline th,.frostline td{color:inherit!important;background:none!important}"
    ".frostline td,.frostline th{padding:.1em .7em;text-align:right}.frostline img{max-width:36em;background:#fff}"
    "@media(prefers-color-scheme:dark){.frostline{color:#e6e6e6;background:#1b1b1b}}</style>"
)


class Result:
    """What a search found; figures are of the moment at which they are asked for.

    Args:
        found: The study.
        options: With which commands find it.
        device: Where ``confirm`` fits, and ``model``.
        workers: Fits under way at once in ``confirm``.
        interrupted: Whether the user ended the search.
    """

    def __init__(
        self,
        found: Opened,
        *,
        options: str,
        device: Device | Literal["auto"] = "auto",
        workers: int | Literal["auto"] = "auto",
        interrupted: bool = False,
    ) -> None:
        self._found = found
        self._options = options
        self._device: Device | Literal["auto"] = device
        self._workers: int | Literal["auto"] = workers
        self.interrupted = interrupted

    @property
    def study(self) -> optuna.Study:
        """Optuna's own."""
        return self._found.study

    @property
    def name(self) -> str:
        """Of the study."""
        return self._found.spec.name

    @property
    def ceiling(self) -> float:
        """Training figure to stay under."""
        return self._found.spec.score.ceiling

    @property
    def folder(self) -> Path:
        """Where report and database are."""
        return self._found.folder

    @property
    def best(self) -> dict[str, Any] | None:
        """The best trial under the ceiling: number, figures and settings; None if there is none."""
        best = self._summary().best
        return _flat(best) if best else None

    @property
    def trials(self) -> pd.DataFrame:
        """All trials, one a row."""
        return _frame(self._summary().trials)

    @property
    def pareto(self) -> pd.DataFrame:
        """Complete trials that no other beats, the best validation first."""
        return _frame(self._summary().pareto)

    def report(self) -> Path:
        """Write report.html, report.json and pareto.png again, and return the page's path."""
        from search.report import write_files

        write_files(self.study, self._found.spec, self.folder, self._options)
        return self.folder / "report.html"

    @stoppable()
    def confirm(self, *, finalists: int = 3, seeds: int = 3) -> pd.DataFrame:
        """Fit the finalists on fresh seeds, test each fit once, and return what was measured, one finalist a row.

        Raises:
            InputError: No trial is feasible, or something that was given cannot be used.
            KeyboardInterrupt: The user interrupted; the same call continues.
        """
        import pandas as pd

        from search.analysis import confirmation_of
        from search.confirm import check_request, confirm_opened

        check_request(finalists=finalists, seeds=seeds, mark="")
        if confirm_opened(
            self._found, finalists=finalists, seeds=seeds, workers=self._workers, device=self._device
        ):
            raise KeyboardInterrupt
        self.report()
        outcome = confirmation_of(self.study)
        rows = []
        for row in outcome.finalists if outcome else ():
            test = row.test
            rows.append(
                {
                    "name": row.name,
                    "trial": row.trial,
                    "winner": outcome is not None and row.name == outcome.winner,
                    "validation_accuracy": row.validation.mean,
                    "validation_spread": row.validation.spread,
                    "fits": len(row.complete_fits),
                    "test_accuracy": test.accuracy if test else None,
                }
            )
        return pd.DataFrame(rows)

    @stoppable()
    def model(
        self,
        *,
        calibration: Literal["temperature"] | None = "temperature",
        threshold: ThresholdAim | None = None,
    ) -> Classifier:
        """Fit the winner again, and return what predicts: the confirmed winner, else the best feasible trial.

        Args:
            calibration: ``temperature`` divides its logits by one that is fitted on validation, if that calls for one.
            threshold: What thresholds are chosen for on validation, as ``--threshold`` of an export; None chooses none.

        Raises:
            InputError: No trial is feasible, encoder or texts have changed, or there can be no threshold.
        """
        from search.export import choose, fit_again

        return fit_again(
            self._found,
            choose(self.study, None),
            device=self._where(),
            threshold=threshold,
            scale=calibration is not None,
        ).classifier()

    @stoppable()
    def export(
        self,
        path: str | Path | None = None,
        *,
        trial: int | None = None,
        onnx: bool = False,
        int8: bool = False,
        docker: bool = False,
        threshold: ThresholdAim | None = None,
        positive: str | None = None,
        push: str | None = None,
        public: bool = False,
        track: str | Sequence[str] = (),
    ) -> Path:
        """Fit the winner again, write winner.toml and model/ into a folder, and return it, as ``search.export`` does.

        Args:
            path: Of the folder; None takes the study's.
            trial: As the command's flag, like all that follow.
            onnx: See there.
            int8: See there.
            docker: See there.
            threshold: See there.
            positive: See there.
            push: See there.
            public: See there.
            track: As ``--track``, one or several.

        Raises:
            InputError: As ``model``, or the folder cannot be written, or something that was given cannot be used.
        """
        from search.export import check_request, export_opened
        from search.trials import model_targets_of

        check_request(onnx=onnx, int8=int8, threshold=threshold, positive=positive, mark="")
        targets = model_targets_of([track] if isinstance(track, str) else track)
        folder = Path(path) if path is not None else self.folder
        export_opened(
            self._found,
            folder,
            trial=trial,
            device=self._where(),
            onnx=onnx,
            int8=int8,
            docker=docker,
            threshold=threshold,
            positive=positive,
            push=push,
            public=public,
            track=targets,
        )
        return folder

    def __repr__(self) -> str:
        return f"Result({printable(self.name)!r}: {printable(self._headline(self._summary()))})"

    def _repr_html_(self) -> str:
        """Return headline, Pareto table and picture for a notebook; whatever came from the user is text."""
        from search.report import write_pareto_picture

        summary = self._summary()
        headline = html.escape(f"{printable(summary.study)}: {printable(self._headline(summary))}")
        table = (
            _frame(summary.pareto)
            .head(MOST_ROWS)
            .dropna(axis=1, how="all")
            .drop(columns="state", errors="ignore")
        )
        # A heading of several words may take several lines.
        shown = table.rename(columns=lambda name: name.removeprefix("setting_").replace("_", " ")).to_html(
            index=False, escape=True, border=0, float_format="{:.4g}".format
        )
        picture = self.folder / "pareto.png"
        write_pareto_picture(summary, picture)
        content = picture.read_bytes()
        image = ""
        if len(content) <= MOST_BYTES:
            said = base64.b64encode(content).decode()
            image = f'<img alt="validation over training accuracy" src="data:image/png;base64,{said}">'
        page = html.escape(printable(self.folder / "report.html"))
        return f'{STYLE}<div class="frostline"><p><b>{headline}</b></p>{shown}{image}<p>The whole report: {page}</p></div>'

    def _summary(self) -> Summary:
        from search.report import summarise

        return summarise(self.study, self._found.spec)

    def _headline(self, summary: Summary) -> str:
        from search.report import verdict
        from search.study import describe_counts

        if not summary.counts.finished:
            return "no trial has finished yet"
        return f"{describe_counts(summary.counts)}. {verdict(summary)}"

    def _where(self) -> Device | Literal["auto"] | None:
        return None if self._device == "auto" else self._device


def _flat(row: TrialRow) -> dict[str, Any]:
    keys = (
        "number",
        "state",
        "feasible",
        "value",
        "validation_accuracy",
        "training_accuracy",
        "training_kind",
    )
    more = ("recipe", "reason", "epochs", "seconds")
    return {
        **{key: getattr(row, key) for key in keys},
        **{f"setting_{key}": value for key, value in row.settings.items()},
        **{key: getattr(row, key) for key in more},
    }


def _frame(rows: list[TrialRow]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([_flat(row) for row in rows])
