"""Logs as TensorBoard itself reads them: its event reader, and the answers of its HTTP interface."""

import io
import json

import numpy as np
from PIL import Image


def summaries(folder):
    """TensorBoard's own reader: step, value, kind and array of all in the event files of one folder."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                yield (
                    event.step,
                    value.tag,
                    value.metadata.plugin_data.plugin_name,
                    tensor_util.make_ndarray(value.tensor),
                )


def read(folder):
    """Tag to [(step, value), ...]; of what is no scalar there are none."""
    found = {}
    for step, tag, kind, array in summaries(folder):
        found.setdefault(tag, []).extend([(step, array.item())] if kind == "scalars" else [])
    return found


def tagged(folder):
    """Tag to the histograms of an event file's run: rows of left end, right end, count."""
    found = {}
    for _, tag, kind, array in summaries(folder):
        if kind == "histograms":
            found.setdefault(tag, []).append(array)
    return found


def write_events(path, *texts):
    """An event file with one whole record a text."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for text in texts:
            writer.write(text.encode())
    return path.read_bytes()


def ask_tensorboard(path, query=None, *, logs, raw=False, **parameters):
    """TensorBoard's web application over a logs folder, all loaded, without a server or a port to wait for."""
    from tensorboard.backend import application
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.custom_scalar import custom_scalars_plugin
    from tensorboard.plugins.graph import graphs_plugin
    from tensorboard.plugins.hparams import hparams_plugin
    from tensorboard.plugins.image import images_plugin
    from tensorboard.plugins.pr_curve import pr_curves_plugin
    from tensorboard.plugins.projector import projector_plugin
    from tensorboard.plugins.scalar import scalars_plugin
    from tensorboard.plugins.text import text_plugin
    from werkzeug.test import Client

    plugin_classes = (
        scalars_plugin.ScalarsPlugin,
        hparams_plugin.HParamsPlugin,
        custom_scalars_plugin.CustomScalarsPlugin,
        graphs_plugin.GraphsPlugin,
        images_plugin.ImagesPlugin,
        pr_curves_plugin.PrCurvesPlugin,
        projector_plugin.ProjectorPlugin,
        text_plugin.TextPlugin,
    )

    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(logs))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(logs))
    plugins = {}
    context = base_plugin.TBContext(
        data_provider=provider, logdir=str(logs), multiplexer=multiplexer, plugin_name_to_instance=plugins
    )
    plugins |= {one.plugin_name: one(context) for one in plugin_classes}
    client = Client(application.TensorBoardWSGI(list(plugins.values()), data_provider=provider))
    url = f"/data/plugin/{path}"
    answer = client.get(url, query_string=parameters) if query is None else client.post(url, json=query)
    assert answer.status_code == 200, answer.text
    return answer.data if raw else json.loads(answer.text)


def sessions(ask, **options):
    query = {"startIndex": 0, "sliceSize": 1000, "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE"]}
    return {group["name"]: group for group in ask("hparams/session_groups", query, **options)["sessionGroups"]}


def figures_of_group(group):
    return {m["name"]["tag"]: m["value"] for m in group["metricValues"] if not m["name"]["group"]}


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))
