"""Options that describe an array, shared by all commands that build one."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from hwsim.cli.output import distinct_files
from hwsim.config import PRESETS, ArrayConfig, preset
from hwsim.errors import InputError

_NAMES = {"weight_encoding": ("--encoding", "--weight-encoding")}


def _kind_of(annotation: Any) -> Any:
    """Return the type that the command line converts to; the config does the checking."""
    if get_origin(annotation) in (Union, UnionType, Literal):
        kinds = {_kind_of(part) for part in get_args(annotation) if part is not NoneType}
        return kinds.pop()
    return annotation if isinstance(annotation, type) else type(annotation)


def _options() -> list[inspect.Parameter]:
    def option(name: str, kind: Any, *flags: str, help: str | None) -> inspect.Parameter:
        info = typer.Option(*flags, help=help, show_default=False, rich_help_panel="Array")
        return inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, info],
        )

    fields = [
        option(
            name,
            _kind_of(field.annotation),
            *_NAMES.get(name, (f"--{name.replace('_', '-')}",)),
            help=f"{field.description} [default: {field.default}]",
        )
        for name, field in ArrayConfig.model_fields.items()
    ]
    named = f"a named array: {', '.join(PRESETS)}"
    return [
        option("preset_name", str, "--preset", help=named),
        option("config_file", Path, "--config", help="a TOML file with the fields of the array"),
        *fields,
    ]


def array_options(
    command: Callable[..., None] | None = None, *, default: str = next(iter(PRESETS))
) -> Callable[..., Any]:
    """Give a command the options of an array, in place of its parameter `array`.

    It is also told the file that the array is from, if it has a parameter `config_file`.

    An option that is given beats the preset or file; without either it is the preset `default`.
    """
    if command is None:
        return functools.partial(array_options, default=default)
    options = _options()
    parameters = inspect.signature(command).parameters

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        given = {option.name: values.pop(option.name) for option in options}
        name, file = given.pop("preset_name"), given.pop("config_file")
        if name is not None and file is not None:
            raise InputError("--preset and --config cannot both be given")
        if file is None:
            base = preset(default if name is None else name)
        else:
            base = ArrayConfig.from_toml(file)
            # Any of the command's own options may name a file; only here is this one known.
            for value in values.values():
                if isinstance(value, str | Path):
                    distinct_files([str(value)], [str(file)])
        changes = {key: value for key, value in given.items() if value is not None}
        if "config_file" in parameters:
            values["config_file"] = file
        command(**values, array=base.replace(**changes))

    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in parameters.items()
        if name not in ("array", "config_file")
    ]
    signature = inspect.Signature([*own, *options])
    with_options.__signature__ = signature  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return with_options
