"""The JSON Schema of a sweep file, for editors that complete and check YAML."""

from typing import Any

from pydantic import (
    BaseModel,
)

from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS
from fmnist_mlp.sweepfile.layers import LAYERS, MAX_UNITS
from fmnist_mlp.sweepfile.settings import MAX_LAYERS, NAME_SCHEMA, Grid, SweepSettings, Training


def json_schema() -> dict[str, Any]:
    """JSON Schema of a sweep file, for editors; `architectures.schema.json` holds it."""
    training = _object_schema(Training)
    training_keys = {key: {"$ref": f"#/properties/training/properties/{key}"} for key in training["properties"]}
    architecture = {
        "type": "object",
        "description": "A named architecture; any key of training may stand here too and then holds for it alone.",
        "properties": {
            "name": {**NAME_SCHEMA, "description": "Name in tables and TensorBoard; without it made from the layers."},
            "layers": {"$ref": "#/$defs/layers"},
            "max_params": {"$ref": "#/properties/max_params"},
            **training_keys,
        },
        "required": ["layers"],
        "additionalProperties": False,
    }
    settings = _object_schema(SweepSettings)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",  # the draft that YAML plug-ins of editors know best
        "title": "A sweep of Keras architectures over Fashion-MNIST",
        "type": "object",
        "properties": {
            **settings["properties"],
            "training": {**training, "description": "Settings of every architecture, unless it says otherwise."},
            "architectures": {
                "type": "array",
                "description": "What to train: lists of layers, or mappings with layers and more.",
                "minItems": 1,
                "items": {"anyOf": [{"$ref": "#/$defs/layers"}, {"$ref": "#/$defs/architecture"}]},
            },
            "baselines": {
                "type": "array",
                "description": "Classifiers of scikit-learn to compare with: names, or mappings with arguments.",
                "minItems": 1,
                "items": {"anyOf": [{"type": "string", "enum": [*CLASSIFIERS]}, {"$ref": "#/$defs/baseline"}]},
            },
            "grid": {
                "description": "What to train in every combination of the values listed; or a list of such grids.",
                "anyOf": [
                    {"$ref": "#/$defs/grid"},
                    {"type": "array", "items": {"$ref": "#/$defs/grid"}, "minItems": 1},
                ],
            },
        },
        "anyOf": [{"required": [key]} for key in ("architectures", "grid", "baselines")],
        "patternProperties": {
            "^x-": {"description": "Ignored: a place for anchors of your own, as x-mine: &mine {...}."}
        },
        "additionalProperties": False,
        "$defs": {
            "architecture": architecture,
            "baseline": _baseline_schema(training_keys),
            "grid": _grid_schema(training_keys),
            "layers": {
                "type": "array",
                "description": "Hidden layers, first to last; Flatten and the output layer are added automatically.",
                "items": {"$ref": "#/$defs/layer"},
                "maxItems": MAX_LAYERS,
            },
            "layer": _layer_schema(),
        },
    }


def _object_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Pydantic's schema of a model, without the titles that editors would show in place of the descriptions."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def cleaned(part: Any) -> Any:
        if isinstance(part, list):
            return [cleaned(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return cleaned(definitions[part["$ref"].rsplit("/", 1)[1]])
        kept = {key: cleaned(value) for key, value in part.items() if key != "title" or not isinstance(value, str)}
        if kept.get("default", 0) is None:
            del kept["default"]  # "no value" is not a value that an editor should fill in
        return kept

    return cleaned(schema)


def _baseline_schema(training_keys: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly one classifier's name, and perhaps a name of its own and preprocessing."""
    classifiers = {}
    for name, classifier in CLASSIFIERS.items():
        schema = {key: value for key, value in _object_schema(classifier).items() if key != "description"}
        description = f"{classifier.__doc__} {classifier.example}"
        classifiers[name] = {"description": description, "anyOf": [schema, {"type": "null"}]}
    return {
        "type": "object",
        "description": "A classifier with its arguments, by scikit-learn's names.",
        "properties": {
            "name": {
                **NAME_SCHEMA,
                "description": "Name in tables and TensorBoard; without it made from the arguments.",
            },
            "preprocess": training_keys["preprocess"],
            **classifiers,
        },
        "oneOf": [{"required": [name]} for name in classifiers],
        "additionalProperties": False,
    }


def _grid_schema(training_keys: dict[str, Any]) -> dict[str, Any]:
    """An object whose keys, but for two, take one value or a list of them."""
    described = {key: info.description for model in (Grid, Training) for key, info in model.model_fields.items()}
    own_keys = {
        key: {word: value for word, value in schema.items() if word not in ("description", "default")}
        for key, schema in _object_schema(Grid)["properties"].items()
    }
    return {
        "type": "object",
        "description": "Stacks of Dense layers; any key of training may stand here too, with one value or a list.",
        "properties": {
            **{
                key: {
                    "description": described[key],
                    "anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}],
                }
                for key, schema in (own_keys | training_keys).items()
            },
            "after_each": {
                "description": "A layer, or a list of layers, put after each Dense.",
                "anyOf": [{"$ref": "#/$defs/layer"}, {"$ref": "#/$defs/layers"}],
            },
            "max_params": {"$ref": "#/properties/max_params"},
        },
        "required": ["depth", "units"],
        "additionalProperties": False,
    }


def _layer_schema() -> dict[str, Any]:
    """An integer, the name of a layer that needs no arguments, or an object with exactly one layer's name."""
    with_arguments = []
    for name, layer in LAYERS.items():
        schema = _object_schema(layer)
        options = [{key: value for key, value in schema.items() if key != "description"}]
        if layer.shorthand:
            options.append(schema["properties"][layer.shorthand])
        if not schema.get("required"):
            options.append({"type": "null"})
        with_arguments.append(
            {
                "type": "object",
                "properties": {name: {"description": f"{layer.__doc__} {layer.example}", "anyOf": options}},
                "required": [name],
                "additionalProperties": False,
            }
        )
    bare = [name for name, layer in LAYERS.items() if not _object_schema(layer).get("required")]
    return {
        "description": "Units of a Dense, the name of a Keras layer, or one name with its arguments.",
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MAX_UNITS, "description": "Units of a Dense."},
            {"type": "string", "enum": bare},
            *with_arguments,
        ],
    }
