"""The JSON Schema of a sweep file: the shipped file is what its command prints, and every key is described."""

import json
import subprocess
import sys

import pytest
from sweeping import ROOT

from fmnist_mlp.sweepfile.layers import LAYERS
from fmnist_mlp.sweepfile.schema import json_schema
from fmnist_mlp.sweepfile.search_entry import SearchKeys, SpaceKeys
from fmnist_mlp.sweepfile.settings import SweepSettings, Training


@pytest.mark.slow
def test_the_schema_file_is_what_its_command_prints():
    command = [sys.executable, "-m", "fmnist_mlp.sweepfile.schema"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rewrite = "python -m fmnist_mlp.sweepfile.schema > architectures.schema.json"
    assert (ROOT / "architectures.schema.json").read_text() == printed, f"out of step; rewrite it with: {rewrite}"
    assert json.loads(printed) == json_schema()
    text = (ROOT / "architectures.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=architectures.schema.json\n")


def test_every_key_and_layer_is_described_in_the_schema():
    schema = json_schema()
    definitions = schema["$defs"]
    properties = {name: part.get("properties", {}) for name, part in definitions.items()}
    training, architecture, grid = (properties[name] for name in ("TrainingKeys", "ArchitectureEntry", "Grid"))
    assert set(training) == set(Training.model_fields)
    assert set(architecture) == {"name", "layers", "max_params", *training}
    assert set(grid) == {"depth", "units", "shape", "after_each", "max_params", *training}
    sections = {"training", "architectures", "grid", "search", "baselines"}
    assert set(schema["properties"]) == {*SweepSettings.model_fields, *sections}
    for key, part in [*schema["properties"].items(), *(item for keys in properties.values() for item in keys.items())]:
        reference = part.get("$ref", "").removeprefix("#/$defs/")
        assert part.get("description") or definitions[reference]["description"], key
    layers = [option["properties"] for option in definitions["LayerEntry"]["anyOf"] if "properties" in option]
    assert [next(iter(properties)) for properties in layers] == list(LAYERS)
    assert all(part["description"] for properties in layers for part in properties.values())


def test_the_schema_has_every_key_of_a_search():
    schema = json_schema()
    keys = schema["$defs"]["Search"]["properties"]
    assert set(keys) == {
        *SearchKeys.model_fields,
        *SpaceKeys.model_fields,
        "after_each",
        "max_params",
        *Training.model_fields,
    }
    assert schema["$defs"]["Search"]["required"] == ["trials", "depth", "units"]
    assert {"required": ["search"]} in schema["anyOf"]
    units, epochs, optimizer = keys["units"]["anyOf"], keys["epochs"], keys["optimizer"]["anyOf"]
    assert [form["type"] for form in units] == ["integer", "array", "object"]
    assert units[2]["properties"]["to"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "description": "The largest value.",
    }
    assert (epochs["type"], [form["type"] for form in optimizer]) == ("integer", ["string", "array"])
    assert all(part.get("description") for part in keys.values())
