"""The JSON Schema of a sweep file, for editors that complete and check YAML.

It is what pydantic says of the models that read a file. `python -m fmnist_mlp.sweepfile.schema` prints what
`architectures.schema.json` holds.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema

from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS
from fmnist_mlp.sweepfile.entries import ArchitectureEntry, BaselineEntry, Layers, grid_entry
from fmnist_mlp.sweepfile.search_entry import search_entry
from fmnist_mlp.sweepfile.settings import SweepSettings, TrainingKeys

_GridEntry = grid_entry()
_SearchEntry = search_entry()


class SweepFile(SweepSettings):
    """All that a sweep file may hold."""

    model_config = ConfigDict(
        title="A sweep of Keras architectures over Fashion-MNIST",
        json_schema_extra={
            "$schema": "http://json-schema.org/draft-07/schema#",  # the draft that YAML plug-ins of editors know best
            "anyOf": [{"required": [key]} for key in ("architectures", "grid", "search", "baselines")],
            "patternProperties": {
                "^x-": {"description": "Ignored: a place for anchors of your own, as x-mine: &mine {...}."}
            },
        },
    )

    training: TrainingKeys | None = Field(None, description="Settings of every architecture, unless it says otherwise.")
    architectures: list[Layers | ArchitectureEntry] = Field(
        None, min_length=1, description="What to train: lists of layers, or mappings with layers and more."
    )
    baselines: list[Literal[tuple(CLASSIFIERS)] | BaselineEntry] = Field(
        None,
        min_length=1,
        description="Classifiers of scikit-learn to compare with: names, or mappings with arguments.",
    )
    grid: _GridEntry | Annotated[list[_GridEntry], Field(min_length=1)] = Field(
        None, description="What to train in every combination of the values listed; or a list of such grids."
    )
    search: _SearchEntry | None = Field(
        None, description="A space to search: candidates are proposed from it and the best of them compared."
    )


class _ForEditors(GenerateJsonSchema):
    """Without the titles that editors would show in place of the descriptions."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> dict[str, Any]:
        described = super().model_schema(schema)
        return {key: value for key, value in described.items() if key != "title" or schema["cls"] is SweepFile}

    def default_schema(self, schema: Any) -> dict[str, Any]:
        described = super().default_schema(schema)  # "no value" is not a value that an editor should fill in
        return {key: value for key, value in described.items() if key != "default" or value is not None}


def json_schema() -> dict[str, Any]:
    """JSON Schema of a sweep file, for editors; `architectures.schema.json` holds it."""
    return SweepFile.model_json_schema(schema_generator=_ForEditors)


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
