"""What may stand under `search`: the keys of a search, those of a grid and of training, each with a value, a list of
values or a range.

`search` makes the space that candidates are proposed from; here is how it is written, and what a wrong value is told.
"""

import functools
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from fmnist_mlp.sweepfile.entries import after_each_field, axis
from fmnist_mlp.sweepfile.layers import MAX_UNITS
from fmnist_mlp.sweepfile.settings import MAX_LAYERS, MaxParams, TrainingKeys
from fmnist_mlp.sweepfile.wants import AlsoWritten, Checked, Wants, problem, sentence

SEARCH_EXAMPLE = "{trials: 100, depth: [1, 2], units: {from: 32, to: 512, log: true}}"

RANGE_KEYS = ("from", "to", "log")

MAX_CANDIDATES = 10_000

_MOST_VALUES = 100  # of a key; settings that do not go together are looked for in each two of them

# Every candidate is compared with others after the same epochs, on the same images, at the same cost.
_ONE_VALUE = ("epochs", "validation_split", "threads")


class StopEarly(Checked):
    """Successive halving: candidates of a round are compared after some epochs, and only the best go on."""

    rungs: int = Field(3, ge=2, le=10, description="How often candidates are compared; the last time is after epochs.")
    keep: float = Field(0.33, gt=0, lt=1, description="Share of the candidates that goes on to the next rung.")


def _read_stop_early(value: Any) -> Any:
    """`true` stands for what is done where nothing is said, `false` for no stopping."""
    if isinstance(value, bool):
        return StopEarly() if value else None
    if value is None:
        raise ValueError("not what stop_early takes")
    return value


class SearchKeys(Checked):
    """The keys of a search that are none of a grid or of training."""

    trials: int = Field(ge=1, le=MAX_CANDIDATES, description="How many candidates are proposed.")
    sampler: Literal["random", "tpe"] = Field(
        "tpe", description="Who proposes them: tpe learns from those before, random does not."
    )
    seed: int = Field(0, ge=0, le=10_000, description="Of the search: another one proposes other candidates.")
    stop_early: Annotated[
        StopEarly | None,
        BeforeValidator(_read_stop_early),
        Wants("true, false or a mapping such as {rungs: 3, keep: 0.33}"),
        AlsoWritten({"type": "boolean"}, takes_null=False),
    ] = Field(
        StopEarly(),
        description="Successive halving: candidates are compared after some epochs and only the best go on; false is "
        "none.",
    )
    finalists: int = Field(
        5, ge=1, description="How many of the best candidates are trained with the seeds of the sweep and compared."
    )


class SpaceKeys(Checked):
    """The keys of a search that make the layers, in the order in which they are proposed."""

    depth: int = Field(ge=1, le=MAX_LAYERS, description="Number of Dense layers.")
    shape: Literal["constant", "funnel", "free"] = Field(
        "free",
        description="constant: every Dense has the same units; funnel: each has half the units of the one before, "
        "rounded down, and 1 at least; free: each has units of its own.",
    )
    units: int = Field(ge=1, le=MAX_UNITS, description="Units of each Dense, or of the first one; shape says which.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Rate of a Dropout after each Dense; 0 is none.")


# ---- values, lists and ranges ----


def takes_a_range(field: FieldInfo) -> bool:
    return _number(field) is not None


def _number(field: FieldInfo) -> type | None:
    """int or float, where a field takes such numbers."""
    return next((kind for kind in (field.annotation, *get_args(field.annotation)) if kind in (int, float)), None)


@functools.cache
def _range_of(key: str, number: type, *bounds: Any) -> type[Checked]:
    end = Annotated[(number, *bounds)]
    return create_model(
        f"RangeOf{key.title()}",
        __base__=Checked,
        __validators__={"rises": model_validator(mode="after")(_rises)},
        **{"from": (end, ...), "to": (end, ...), "log": (bool, False)},
    )


def _rises(range_: Any) -> Any:
    low, high = getattr(range_, "from"), range_.to
    if low >= high:
        instead = f"for one value write {low:g}" if low == high else f"write {{from: {high:g}, to: {low:g}}}"
        raise problem(f"must have 'from' below 'to', got from: {low:g} and to: {high:g}; {instead}")
    if range_.log and low <= 0:
        raise problem(f"must have 'from' above 0 where log is true, got from: {low:g}; leave log out, or raise it")
    return range_


@dataclass(frozen=True)
class _ValuesOrRange:
    """Reads a range beside what a grid takes, a value or a list of values."""

    key: str
    field: FieldInfo

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._read, handler(source))

    def _read(self, written: Any, read: ValidatorFunctionWrapHandler) -> Any:
        is_range = isinstance(written, dict) and (takes_a_range(self.field) or {"from", "to"} & {*written})
        if self.key in _ONE_VALUE and (is_range or (isinstance(written, list) and len(written) > 1)):
            raise problem(
                "must be one value: candidates are compared after the same epochs, on images split alike, at the same "
                "cost"
            )
        if is_range and not takes_a_range(self.field):
            raise problem("takes no range, for its values are no numbers: list them in brackets")
        if is_range:
            return _range_of(self.key, _number(self.field), *self.field.metadata).model_validate(written)
        if isinstance(written, list) and len(written) > _MOST_VALUES:
            raise problem(f"must list at most {_MOST_VALUES} values, got {len(written):,}")
        return tuple(dict.fromkeys(read(written)))  # a value listed twice would be proposed twice as often

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        value, listed, *_ = handler(schema)["anyOf"]
        if self.key in _ONE_VALUE:
            return value
        forms = [value, listed | {"maxItems": _MOST_VALUES}]
        if takes_a_range(self.field):
            number = next(form for form in value.get("anyOf", [value]) if form.get("type") in ("integer", "number"))
            number = {key: part for key, part in number.items() if key not in ("description", "default")}
            ends = {end: number | {"description": f"The {which} value."} for end, which in _ENDS.items()}
            log = {"type": "boolean", "description": "Whether proportions count, not differences."}
            forms.append(
                {
                    "type": "object",
                    "properties": ends | {"log": log},
                    "required": [*ends],
                    "additionalProperties": False,
                }
            )
        return {"anyOf": forms}


_ENDS = {"from": "smallest", "to": "largest"}


@functools.cache  # only a file with a search needs it
def search_entry() -> type[Checked]:
    """The model of a search: tuples of values for lists, models with `from`, `to` and `log` for ranges."""
    axes = {}
    for model in (SpaceKeys, TrainingKeys):
        for key, field in model.model_fields.items():
            values, default = axis(model, key)
            axes[key] = (Annotated[values, _ValuesOrRange(key, field)], default)
    return create_model(
        "Search",
        __base__=SearchKeys,
        __doc__="A space that candidates are proposed from; any key of training may stand here too, with a value, a "
        "list of values or a range.",
        __validators__={"is_a_mapping": model_validator(mode="before")(_is_a_search)},
        **axes,
        after_each=after_each_field(),
        max_params=(MaxParams, None),
    )


def _is_a_search(cls: type[Self], written: Any) -> Any:
    if not isinstance(written, dict) or not written:
        raise sentence(f"search must be a mapping such as {SEARCH_EXAMPLE}")
    return written
