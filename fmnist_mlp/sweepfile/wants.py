"""What each key of a sweep file takes, in words, and the one error that says so where its value is something else.

`Checked` is the base of all models of a sweep file: a value that a field does not take becomes one error of type
`wants`, with the words for it, whatever pydantic finds inside the value. `explain` makes a message of it. Validators
raise what they know better than a type does by the functions below.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError

from fmnist_mlp.words import harmless, quoted


@dataclass(frozen=True)
class Wants:
    """What a field takes, in words, where its type and bounds do not say it well enough for an error message.

    `hint` makes the end of the message from the node that stands there: what should have been written.
    """

    words: str
    choices: tuple[str, ...] = ()
    hint: Callable[[Any], str] | None = None


def problem(words: str, position: int | None = None, got: bool = False) -> PydanticCustomError:
    """An error that is said after the name of the key: `must differ from each other`.

    Args:
        position: of the item of a list that it is about, for its line.
        got: whether the message ends with what stands there.
    """
    return PydanticCustomError("problem", "{words}", {"words": words, "position": position, "got": got})


def sentence(words: str, hint: Callable[[Any], str] | None = None, got: bool = True) -> PydanticCustomError:
    """An error that is a sentence of its own: `a layer is a whole number`."""
    return PydanticCustomError("sentence", "{words}", {"words": words, "hint": hint, "got": got})


def _is_in_words(details: dict[str, Any]) -> bool:
    """Whether it is one of the errors above, or one on a key, which `explain` puts into words."""
    is_key = details["type"] == "extra_forbidden" or (
        details["type"] == "missing" and isinstance(details["loc"][-1], str)
    )
    return is_key or details["type"] in ("wants", "problem", "sentence")


class Checked(BaseModel):
    """A frozen model that takes no other keys, turns no text into numbers, and says what it wants."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _say_what_is_wanted(cls, value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        return read_or_say(cls.model_fields[info.field_name], value, read)


def read_or_say(field: FieldInfo, value: Any, read: Callable[[Any], Any]) -> Any:
    """What `read` makes of a value; where it refuses, one error with what the field wants."""
    try:
        return read(value)
    except ValidationError as error:
        if any(map(_is_in_words, error.errors(include_url=False, include_context=False, include_input=False))):
            raise
        wants = wanted(field, value)
        context = {"words": wants.words, "choices": wants.choices, "hint": wants.hint}
        raise PydanticCustomError("wants", "must be {words}", context) from None


def wanted(field: FieldInfo, value: Any = "?") -> Wants:
    """What a field takes; of a number where it wants one, nothing but the bounds need to be said."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    for part in (*field.metadata, *(get_args(annotation) if get_origin(annotation) is Annotated else ())):
        if isinstance(part, Wants):
            return part
    if get_origin(annotation) is Literal:
        return Wants(listed_in_words(get_args(annotation)), get_args(annotation))
    if annotation is bool:
        return Wants("true or false")
    if model := model_of(field):
        fields = sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())  # required first
        example = f"{fields[0][0]}: {'true' if fields[0][1].annotation is bool else 5}"
        return Wants(f"a mapping such as {{{example}}}")
    kinds = int if annotation is int else int | float
    is_number = isinstance(value, kinds) and not isinstance(value, bool) and abs(value) < float("inf")
    what = "" if is_number else "a whole number " if annotation is int else "a number "
    return Wants(what + _bounds(field.metadata))


def _bounds(metadata: Sequence[Any]) -> str:
    """`at least 0 and below 1`, `from 1 to 256`, `above 0`."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = {name: getattr(part, name) for part in metadata for name in words if hasattr(part, name)}
    if "ge" in limits and "le" in limits:
        return f"from {limits['ge']:,} to {limits['le']:,}"
    return " and ".join(f"{words[name]} {limits[name]:,}" for name in words if name in limits)


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model that a field holds, or may hold; None where it holds none."""
    for part in (field.annotation, *get_args(field.annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def listed_in_words(names: Sequence[str], word: str = "or") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def in_message(value: Any) -> str:
    """A value as a person would have written it, in one short line."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict) and value and all(isinstance(v, str | int | float | None) for v in value.values()):
        value = f"{{{', '.join(f'{key}: {in_message(inner)}' for key, inner in value.items())}}}"
    elif isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = {None: "nothing", True: "true", False: "false"}[value] if isinstance(value, bool | None) else str(value)
    return harmless(text if len(text) <= 60 else f"{text[:57]}...")


class AlsoWritten:
    """Other forms of a value, for the JSON Schema: those that a validator turns into the type that is annotated."""

    def __init__(self, *forms: dict[str, Any], takes_null: bool = True, description: str = ""):
        self._forms, self._takes_null = forms, takes_null
        self._description = {"description": description} if description else {}

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        forms = schema.get("anyOf") or schema.get("oneOf") or [schema]
        forms = [form for form in forms if self._takes_null or form != {"type": "null"}]
        return {**self._description, "anyOf": [*self._forms, *forms]}


@dataclass(frozen=True)
class OneOrMany:
    """For the JSON Schema: one value may stand for a list of one, and where an empty list may, null for that."""

    least: int = 1

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = handler(core_schema)
        return {
            "anyOf": [many["items"], many | {"minItems": 1}] if self.least else [many["items"], many, {"type": "null"}]
        }
