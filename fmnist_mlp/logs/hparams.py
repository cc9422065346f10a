"""The HParams tab: a row an architecture, its columns the settings of this sweep, what differs first.

Hides how TensorBoard has it: the list of columns stands in every session, all columns in every row.
"""

from collections.abc import Sequence

from fmnist_mlp.logs.events import hparams_value, scalar_value
from fmnist_mlp.results.record import Record
from fmnist_mlp.sweepfile.in_words import value_in_words
from fmnist_mlp.sweepfile.layers import Dense
from fmnist_mlp.sweepfile.sweep import OF_A_BASELINE, Architecture, Baseline
from fmnist_mlp.sweepfile.trials import Trial

# TensorBoard's table shows the metrics behind the columns, in this order.
_METRICS = ("test_accuracy", "test_loss", "val_accuracy", "val_loss")

# Shown of every sweep; any other setting only where it differs.
_ALWAYS = ("architecture", "params", "depth", "widths", "optimizer", "learning_rate", "batch_size", "epochs", "dataset")

# TensorBoard shows a number with five digits (109386 as 1.0939e+5), so whole numbers are text; it is as wide as this,
# so that it sorts as the numbers do. The page shows no space at the beginning.
_WIDTH = 13


class HParams:
    """Columns and sessions of some architectures; one object for all, as each session has the columns of all."""

    def __init__(self, architectures: Sequence[Architecture | Baseline]):
        settings = {architecture.name: _settings(architecture) for architecture in architectures}
        networks = [settings[item.name] for item in architectures if not isinstance(item, Baseline)]
        names = dict.fromkeys(name for of_one in settings.values() for name in of_one)
        # A column of numbers must have one in every row.
        numbers = {name for name in names if networks and all(isinstance(of_one[name], float) for of_one in networks)}
        rows = {
            architecture: {name: of_one.get(name, 0.0 if name in numbers else "none") for name in names}
            for architecture, of_one in settings.items()
        }
        rows = {key: {n: v if n in numbers else _text(v) for n, v in row.items()} for key, row in rows.items()}
        differing = {name for name in names if len({s[name] for s in settings.values() if name in s}) > 1}
        self._rows = {key: {n: row[n] for n in names if n in differing or n in _ALWAYS} for key, row in rows.items()}
        self._differing = differing | {"architecture", "params"}

    def key(self, architecture: str) -> list:
        """What decides the columns and this architecture's row: JSON values."""
        return [sorted(self._differing), self._rows[architecture]]

    def session(self, group: str, trial: Trial, records: Sequence[Record]) -> list:
        """Events of a run: its HParams session and the final figures, means over these records.

        The session's name is the run's, so it links to its curves; those of one group, the repeats of an architecture,
        make one row, with their means. So no hyperparameter may differ between them. No value is ever None: TensorBoard
        drops such rows (tensorboard issue 4770).

        Args:
            group: the name of the row.
            trial: one of the architecture's.
            records: of its trials; figures are means over those that are done.
        """
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        row = self._rows[trial.architecture.name]
        row = row | {"architecture": shown_name(trial), "dataset": records[0].dataset}
        row["params"] = _text(records[0].params or 0)
        started = min(float(record.measured.get("started_at_seconds", 0.0)) for record in records)
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=started, group_name=group)
        for name, value in row.items():
            setattr(start.hparams[name], "string_value" if isinstance(value, str) else "number_value", value)
        end = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_FAILURE if all(r.is_failed for r in records) else api_pb2.STATUS_SUCCESS,
            end_time_secs=started + sum(float(record.measured.get("train_seconds") or 0.0) for record in records),
        )
        values = [
            hparams_value(metadata.EXPERIMENT_TAG, experiment=self._experiment(row)),
            hparams_value(metadata.SESSION_START_INFO_TAG, session_start_info=start),
            hparams_value(metadata.SESSION_END_INFO_TAG, session_end_info=end),
        ]
        for name in _METRICS:
            figures = [figure for record in records if (figure := _figure(record, name)) is not None]
            values += [scalar_value(name, sum(figures) / len(figures))] if figures else []
        return [(0, values)]

    def _experiment(self, row: dict[str, str | float]):
        """The columns of the table; in every session the same, since TensorBoard takes the first it finds."""
        from tensorboard.plugins.hparams import api_pb2

        def column(name, value):
            kind = api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64
            return api_pb2.HParamInfo(name=name, type=kind, differs=name in self._differing)

        return api_pb2.Experiment(
            hparam_infos=[column(name, value) for name, value in row.items()],
            metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(group="", tag=tag)) for tag in _METRICS],
        )


def shown_name(trial: Trial) -> str:
    """Refits make a row of their own: they have no validation, and were trained on more images."""
    return f"{trial.architecture.name}{' (refit)' if trial.is_refit else ''}"


def _settings(architecture: Architecture | Baseline) -> dict[str, str | int | float]:
    """The row of an architecture as far as the sweep file decides it; a baseline lacks what only networks have."""
    training = architecture.training.model_dump(mode="json")
    training["preprocess"] = ", ".join(step.short_name() for step in architecture.training.preprocess) or "none"
    if isinstance(architecture, Baseline):
        training = {name: training[name] for name in OF_A_BASELINE}
    widths = [layer.units for layer in getattr(architecture, "layers", ()) if isinstance(layer, Dense)]
    stack = {"architecture": architecture.name, "depth": len(widths), "widths": "-".join(map(str, widths)) or "none"}
    numbers = {name: value for name, value in training.items() if isinstance(value, int | float)}
    return stack | {name: numbers.get(name, value_in_words(value)) for name, value in training.items()}


def _figure(record: Record, name: str) -> float | None:
    """Of a candidate of a search as its last epoch has it; of test images there is none."""
    return record.history[name][-1] if record.is_unscored and name in record.history else record.metrics.get(name)


def _text(value: str | float) -> str:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:{_WIDTH},}" if is_whole else value_in_words(value)
