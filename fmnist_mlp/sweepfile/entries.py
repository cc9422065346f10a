"""What may stand under `architectures`, `baselines` and `grid`, as it is written there.

An entry knows each of its keys and none of what it inherits: `read` makes architectures of entries. A layer, and a
classifier, is written by its name: `Flatten`, `{Dropout: 0.3}`, `{Dense: {units: 64}}`. Pydantic's places of errors
then follow the file: `("layers", 2, "Dropout", "rate")`.
"""

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypeAliasType

from fmnist_mlp.sweepfile import misreadings
from fmnist_mlp.sweepfile.classifiers import CLASSIFIERS, Classifier, LogisticRegression
from fmnist_mlp.sweepfile.layers import LAYERS, MAX_UNITS, Layer
from fmnist_mlp.sweepfile.settings import MAX_LAYERS, Grid, MaxParams, Name, TrainingKeys
from fmnist_mlp.sweepfile.steps import Steps
from fmnist_mlp.sweepfile.wants import (
    AlsoWritten,
    Checked,
    OneOrMany,
    Wants,
    listed_in_words,
    problem,
    read_or_say,
    sentence,
)
from fmnist_mlp.words import quoted

GRID_EXAMPLE = "{depth: [1, 2], units: [32, 64]}"

# ---- by name ----


@dataclass(frozen=True)
class _ByName:
    """Reads `{Name: arguments}`, where the arguments may be none, or one alone that has a shorthand."""

    kind: type[Layer] | type[Classifier]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._arguments, handler(source))

    def _arguments(self, written: dict[str, Any]) -> dict[str, Any]:
        ((name, inner),) = written.items()
        if inner is None or isinstance(inner, dict):
            return inner or {}
        if self.kind.shorthand is None:
            known = ", ".join(self.kind.model_fields) or "none"
            raise sentence(f"{name} takes its arguments by name ({known}), as {self.kind.example}")
        return {self.kind.shorthand: inner}

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reference = handler(schema)
        arguments = handler.resolve_ref_schema(reference)
        forms = [reference]
        if self.kind.shorthand:
            forms.append(arguments["properties"][self.kind.shorthand])
        if not arguments.get("required"):
            forms.append({"type": "null"})
        name, description = self.kind.__name__, f"{self.kind.__doc__} {self.kind.example}"
        return {
            "type": "object",
            "properties": {name: {"description": description, "anyOf": forms}},
            "required": [name],
            "additionalProperties": False,
        }


def _one_of(kinds: Mapping[str, type]) -> Any:
    """The union of all kinds that are written by name, told apart by it."""
    choices = tuple(Annotated[kind, _ByName(kind), Tag(name)] for name, kind in kinds.items())
    return Annotated[functools.reduce(operator.or_, choices), Discriminator(lambda written: next(iter(written)))]


# ---- layers ----


def _layer_by_name(written: Any) -> dict[str, Any]:
    """An integer, a layer's name, or one name with its arguments, as the last of these."""
    if type(written) is int:
        return {"Dense": written}
    by_name = {written: None} if isinstance(written, str) else written
    if not isinstance(by_name, dict) or not by_name:
        raise sentence(
            "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as "
            "{Dropout: 0.3}",
            misreadings.layer_hint,
        )
    if len(by_name) > 1:
        first = next((key for key in by_name if key in LAYERS), "Dense")
        words = f"a layer is one name with its arguments in braces, such as {LAYERS[first].example}"
        got = f"got {len(by_name)} keys ({quoted(', '.join(by_name))[1:-1]})"
        raise sentence(f"{words}, {got}", misreadings.layer_hint, got=False)
    (name,) = by_name
    if name not in LAYERS:
        raise sentence(f"unknown layer {quoted(name)}", misreadings.unknown_layer_hint, got=False)
    return by_name


_LAYER_FORMS = (
    {"type": "integer", "minimum": 1, "maximum": MAX_UNITS, "description": "Units of a Dense."},
    {
        "type": "string",
        "enum": [name for name, kind in LAYERS.items() if not any(f.is_required() for f in kind.model_fields.values())],
    },
)

LayerEntry = TypeAliasType(
    "LayerEntry",
    Annotated[
        _one_of(LAYERS),
        BeforeValidator(_layer_by_name),
        AlsoWritten(
            *_LAYER_FORMS, description="Units of a Dense, the name of a Keras layer, or one with its arguments."
        ),
    ],
)


def _few_layers(written: Any) -> Any:
    if isinstance(written, list) and len(written) > MAX_LAYERS:
        raise sentence(f"at most {MAX_LAYERS} layers are allowed, got {len(written):,}", got=False)
    return tuple(written) if isinstance(written, list) else written


Layers = TypeAliasType(
    "Layers",
    Annotated[
        tuple[LayerEntry, ...],
        Field(max_length=MAX_LAYERS),
        BeforeValidator(_few_layers),
        Field(description="Hidden layers, first to last; Flatten and the output layer are added automatically."),
    ],
)

# ---- architectures ----


class ArchitectureEntry(TrainingKeys):
    """A named architecture; any key of training may stand here too and then holds for it alone."""

    name: Name | None = Field(None, description="Name in tables and TensorBoard; without it made from the layers.")
    layers: Annotated[Layers, Wants("a list, such as [64, 32]", hint=misreadings.layers_hint)]
    max_params: MaxParams = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_list_or_has_layers(cls, written: Any) -> Any:
        if isinstance(written, list):
            return {"layers": written}
        if not isinstance(written, dict):
            words = "an architecture is a list of layers, such as [64, 32], or a mapping with layers"
            raise sentence(words, misreadings.architecture_hint)
        if len(written) == 1 and (name := next(iter(written))) in LAYERS:
            raise sentence(f"an architecture is a list of layers; write - [{{{name}: ...}}], in brackets", got=False)
        return written


# ---- baselines ----


def _one_classifier(written: dict[str, Any]) -> dict[str, Any]:
    if len(written) != 1:
        got = f"{len(written)}: {listed_in_words([*written], 'and')}" if written else "none"
        raise sentence(f"a baseline is one classifier, such as {LogisticRegression.example}, got {got}", got=False)
    return written


class BaselineEntry(Checked):
    """A classifier with its arguments, by scikit-learn's names."""

    model_config = ConfigDict(defer_build=True)  # few files have baselines

    name: Name | None = Field(None, description="Name in tables and TensorBoard; without it made from the arguments.")
    classifier: Annotated[_one_of(CLASSIFIERS), BeforeValidator(_one_classifier)]
    preprocess: Steps = Field((), description=TrainingKeys.model_fields["preprocess"].description)

    @model_validator(mode="before")
    @classmethod
    def _classifier_among_the_keys(cls, written: Any) -> Any:
        written = {written: None} if isinstance(written, str) else written
        if not isinstance(written, dict) or not written:
            raise sentence(
                "a baseline is the name of a classifier, such as LogisticRegression, or one name with its arguments "
                f"such as {LogisticRegression.example}"
            )
        others = {key: value for key, value in written.items() if key not in CLASSIFIERS}
        return others | {"classifier": {key: value for key, value in written.items() if key in CLASSIFIERS}}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        entry = handler.resolve_ref_schema(handler(schema))
        for form in entry["properties"].pop("classifier")["oneOf"]:
            entry["properties"] |= form["properties"]
        del entry["required"]
        return entry | {"oneOf": [{"required": [name]} for name in CLASSIFIERS]}


# ---- grids ----


def _listed(written: Any) -> Any:
    if written == []:
        raise problem("must list at least one value, got []")
    return tuple(written) if isinstance(written, list) else (written,)


def axis(model: type[BaseModel], key: str) -> tuple[Any, Any]:
    """The field of a grid for a key of `Grid` or `Training`, which takes one value or a list of them.

    Returns:
        Its annotation and its `Field`, as `create_model` takes them.
    """
    field = model.model_fields[key]
    say = WrapValidator(lambda value, read: read_or_say(field, value, read))
    value = Annotated[(field.annotation, *field.metadata, say)]
    values = Annotated[tuple[value, ...], BeforeValidator(_listed), OneOrMany()]
    return values, Field(... if field.is_required() else None, description=field.description)


@functools.cache  # only a file with a grid needs it
def grid_entry() -> type[Checked]:
    """The model of a grid: each key of `Grid` and of `Training` takes one value or a list of them."""
    axes = {key: axis(model, key) for model in (Grid, TrainingKeys) for key in model.model_fields}
    return create_model(
        "Grid",
        __base__=Checked,
        __doc__="Stacks of Dense layers; any key of training may stand here too, with one value or a list.",
        __validators__={"is_a_mapping": model_validator(mode="before")(_is_a_grid)},
        **axes,
        after_each=after_each_field(),
        max_params=(MaxParams, None),
    )


def after_each_field() -> tuple[Any, Any]:
    """The field for the layers after each Dense, as `create_model` takes it."""
    layers = Annotated[tuple[LayerEntry, ...], BeforeValidator(_after_each), OneOrMany(least=0)]
    return layers, Field((), description="A layer, or a list of layers, put after each Dense.")


def _after_each(written: Any) -> Any:
    if written is None:
        return ()
    return tuple(written) if isinstance(written, list) else (written,)


def _is_a_grid(cls: type, written: Any) -> Any:
    if not isinstance(written, dict) or not written:
        raise sentence(f"grid must be a mapping such as {GRID_EXAMPLE}")
    return written
