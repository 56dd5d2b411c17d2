# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorBoard event files: folder, number of points, and the first step."""

from __future__ import annotations

import sys

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.scalar import metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

KINDS = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "i32": np.int32, "i64": np.int64, "bool": np.bool_}


def main(folder: str, points: int, first: int) -> None:
    writer = EventFileWriter(folder)

    def add(step: int, *values: Summary.Value) -> None:
        writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=Summary(value=values)))

    # As torch.utils.tensorboard writes them.
    settings = plugin_data_pb2.SessionStartInfo()
    settings.hparams["lr"].number_value = 0.25
    settings.hparams["name"].string_value = "adam"
    settings.hparams["big"].bool_value = True
    content = plugin_data_pb2.HParamsPluginData(session_start_info=settings, version=0).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    add(first, Summary.Value(tag="_hparams_/session_start_info", metadata=SummaryMetadata(plugin_data=plugin)))
    for step in range(first, first + points):
        add(step, Summary.Value(tag="train/loss", simple_value=step / 8))
    for number in range(20):
        step = first + number * 10
        for name, kind in KINDS.items():
            about = metadata.create_summary_metadata(name, "") if number == 0 else None
            tensor = tensor_util.make_tensor_proto(kind(number))
            add(step, Summary.Value(tag=f"tensor/{name}", tensor=tensor, metadata=about))
    about = text_metadata.create_summary_metadata("said", "")
    add(first, Summary.Value(tag="said", tensor=tensor_util.make_tensor_proto("hello"), metadata=about))
    add(first, Summary.Value(tag="vector", tensor=tensor_util.make_tensor_proto(np.arange(3.0))))
    add(first, Summary.Value(tag="two", simple_value=1.0), Summary.Value(tag="one", simple_value=2.0))
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
