"""Event files, written and read with TensorBoard's protocol buffers and without TensorFlow (0.1 s to import)."""

import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import google_crc32c
import numpy as np

from fmnist_mlp.files import write_whole
from fmnist_mlp.report.page import png_size

EVENTS = "events.out.tfevents.*"

# The runs below that of the sweep, named as Keras names a trial's, and how the history calls what is theirs.
CURVE_RUNS = {"train": "", "validation": "val_"}

CURVES = ("loss", "accuracy")


def curve_tag(name: str) -> str:
    """The tag of a curve, `epoch_loss` as Keras has it, by its name in the history.

    Keras's `epoch_learning_rate` would stand before the loss, and Scalars and Time Series open two groups of tags only.
    """
    return name if name == "learning_rate" else f"epoch_{name.removeprefix('val_')}"


def write_run(folder: Path, kind: str, events: Iterable[tuple[int, list | bytes]]) -> None:
    """Write an event file into the draft of a record."""
    name, content = event_file(kind, events)
    write_whole(folder / name, content, flush=False)


def event_file(kind: str, events: Iterable[tuple[int, list | bytes]]) -> tuple[str, bytes]:
    """Name and content of an event file.

    Args:
        kind: ends the name.
        events: pairs of a step and its summary values, or a serialized graph.
    """
    return file_name(kind), file_version() + b"".join(serialized(step, values) for step, values in events)


def file_name(kind: str) -> str:
    """A name with the moment in it, so it comes after earlier ones: a TensorBoard that runs reads on in that file."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{EVENTS.removesuffix('*')}{seconds:010d}.{socket.gethostname()}.{nanoseconds:09d}.{kind}"


def file_version() -> bytes:
    """How every event file begins."""
    from tensorboard.compat.proto import event_pb2

    return _as_record(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))


def serialized(step: int, values: list | bytes) -> bytes:
    """An event of this moment: summary values, or a serialized graph."""
    from tensorboard.compat.proto import event_pb2, summary_pb2

    event = event_pb2.Event(wall_time=time.time(), step=step)
    if isinstance(values, bytes):
        event.graph_def = values
    else:
        event.summary.CopyFrom(summary_pb2.Summary(value=values))
    return _as_record(event)


def _as_record(event) -> bytes:
    """Length and content, each followed by its checksum (TFRecord: tensorflow.org/tutorials/load_data/tfrecord).

    TensorBoard's own writer sums up in Python, which takes a tenth of the seconds of a short trial.
    """
    content = event.SerializeToString()
    length = len(content).to_bytes(8, "little")
    return b"".join([length, _masked_sum(length), content, _masked_sum(content)])


def _masked_sum(content: bytes) -> bytes:
    sum_ = google_crc32c.value(content)
    return ((((sum_ >> 15) | (sum_ << 17)) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def hparams_value(tag: str, **content):
    """A summary value of the HParams plugin: an experiment, a session's start or end."""
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    kind = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**content))
    return summary_pb2.Summary.Value(tag=tag, metadata=kind, tensor=metadata.NULL_TENSOR)


def scalar_value(tag: str, value: float):
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    # A plain summary value of TensorBoard's scalars plugin: a float tensor of no dimensions.
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[value])
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars")
    kind = summary_pb2.SummaryMetadata(plugin_data=plugin, data_class=summary_pb2.DATA_CLASS_SCALAR)
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=kind)


def tensor_value(tag: str, content: np.ndarray | bytes | list[bytes], kind):
    """A summary value of numbers or strings.

    Args:
        kind: what the `create_summary_metadata` of a plugin gives.
    """
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.util.tensor_util import make_tensor_proto

    kind.data_class = kind.data_class or summary_pb2.DATA_CLASS_TENSOR
    return summary_pb2.Summary.Value(tag=tag, tensor=make_tensor_proto(content), metadata=kind)


def histogram_value(tag: str, numbers: np.ndarray):
    """Numbers of any shape in 30 buckets; those that are not finite have none."""
    from tensorboard.plugins.histogram.summary_v2 import histogram_pb

    numbers = np.asarray(numbers)
    return histogram_pb(tag, numbers[np.isfinite(numbers)]).value[0]


def text_value(tag: str, markdown: str):
    from tensorboard.plugins.text import metadata

    return tensor_value(tag, markdown.encode(errors="replace"), metadata.create_summary_metadata(tag, ""))


def image_value(tag: str, png: bytes, description: str):
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.image import metadata

    kind = metadata.create_summary_metadata(tag, description)
    kind.data_class = summary_pb2.DATA_CLASS_BLOB_SEQUENCE
    # TensorBoard's layout of one image: width and height in words, then the file.
    return tensor_value(tag, [*(b"%d" % length for length in png_size(png)), png], kind)


def is_whole(path: Path) -> bool:
    """Whether an event file holds something and ends where a record ends."""
    content = path.read_bytes()
    return [end for _, end in _records(content)][-1:] == [len(content)]


def epochs_in(folder: Path) -> set[int]:
    """The epochs whose loss is in the event files of a folder."""
    events = (event for path in folder.glob(EVENTS) for event in events_in(path.read_bytes()))
    return {event.step for event in events for value in event.summary.value if value.tag == "epoch_loss"}


def events_in(content: bytes) -> Iterator:
    """The events of a file, as TensorBoard's protocol buffers."""
    from tensorboard.compat.proto import event_pb2

    return (event_pb2.Event.FromString(record) for record, _ in _records(content))


def _records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Each record of a file with where it ends (TFRecord: 12 + length + 4 bytes each); the last may be cut off."""
    end = 0
    while end + 16 <= len(content):
        length = int.from_bytes(content[end : end + 8], "little")
        start, end = end + 12, end + 12 + length + 4
        yield content[start : start + length], end


def read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
