"""A profile with changed fields, read from texts, and the name of the changed profile.

The record of a changed profile must never be merged with that of the profile itself, so its name
holds the changes: equal changes go on with the same record, others start another one.

Source: Section 6; chapter 7, *MNIST*.
"""

import hashlib
import types
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from igrlib._checks import one_of
from igrlib.experiments.arm import Arm
from igrlib.experiments.networks import NETWORKS
from igrlib.experiments.optimizers import OPTIMIZERS
from igrlib.experiments.paths import PathArm

__all__ = ["changed"]

_LONGEST = 80  # characters of a name that holds all changes; it names a folder

_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_PARTS: dict[str, tuple[str, dict[str, type[Any]]]] = {
    "model": ("network", NETWORKS),
    "optimizer": ("optimizer", OPTIMIZERS),
}
"""What a setting chooses by its name, the field of an arm that holds it, and its kinds."""

_FIXED = {"name", "network", "optimizer", "thresholds"}
"""No settings: arms differ by their names, and thresholds are fixed before anything runs."""


def _fields(kind: Any) -> set[str]:
    return {f.name for f in fields(kind)}


_OF_PARTS: dict[str, Any] = {
    name: hint
    for _, kinds in _PARTS.values()
    for kind in kinds.values()
    for name, hint in get_type_hints(kind).items()
    if name in _fields(kind)
}
"""The fields of networks and optimizers and their types: one name, one type."""


def changed(
    profile: str, arms: Sequence[Arm | PathArm], settings: Iterable[str]
) -> tuple[str, tuple[Arm | PathArm, ...]]:
    """The name and arms of `profile` with `settings`, texts `field=value`, made in every arm.

    Write tuples as 1,2,3 and the batch size of the whole split as none. A field that only one kind
    of arm, network or optimizer has changes in the arms with that kind. Without a change the name
    stays the profile's. Raises `ValueError` with the field, the value and the values allowed,
    also if no arm has such a network or optimizer.
    """
    hints = {
        name: hint
        for kind in dict.fromkeys(map(type, arms))
        for name, hint in get_type_hints(kind).items()
        if name in _fields(kind) - _FIXED
    }
    in_use = {part: of for part, of in _PARTS.items() if any(hasattr(a, of[0]) for a in arms)}
    hints |= _OF_PARTS | {name: Literal[tuple(kinds)] for name, (_, kinds) in in_use.items()}
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals:
            raise ValueError(f"a setting must be field=value, got {setting!r}")
        one_of("the field of a setting", name, hints)
        if name in values:
            raise ValueError(f"{name} is set twice, got {setting!r} the second time")
        values[name] = _parsed(name, hints[name], text)
    new = tuple(_with(arm, values) for arm in arms)
    for part, (field, kinds) in _PARTS.items():
        had = [getattr(arm, field) for arm in new if hasattr(arm, field)]
        for name in sorted(values.keys() & _OF_PARTS.keys()):
            owners = [kind for kind, of in kinds.items() if name in _fields(of)]
            if owners and not any(hasattr(one, name) for one in had):
                raise ValueError(
                    f"{name} is a field of {part} {' and '.join(owners)} alone, and every arm of "
                    f"{profile} has {f'{part} {had[0].kind}' if had else f'no {part}'}: it would "
                    "change nothing, leave it out"
                )
    if new == tuple(arms):
        return profile, new
    parts = [f"{name}={_written(values[name])}" for name in sorted(values)]
    label = "+".join([profile, *parts])
    if len(label) > _LONGEST:
        label = f"{profile}+{hashlib.sha256(label.encode()).hexdigest()[:12]}"
    return label, new


def _with(arm: Arm | PathArm, values: dict[str, Any]) -> Arm | PathArm:
    """`arm` with the `values` of fields that it, its network or its optimizer has."""
    parts = {}
    for name, (field, kinds) in _PARTS.items():
        if not hasattr(arm, field):
            continue
        old: Any = getattr(arm, field)
        kind = kinds[values.get(name, old.kind)]
        new = old if isinstance(old, kind) else kind()
        parts[field] = replace(new, **{k: v for k, v in values.items() if k in _fields(kind)})
    own = {k: v for k, v in values.items() if k in _fields(type(arm)) - _PARTS.keys()}
    return replace(arm, **parts, **own)


def _parsed(name: str, hint: Any, text: str) -> Any:
    """`text` as the type that a field is annotated with."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple:
        parts = [part.strip() for part in text.split(",")] if text else []
        return tuple(_parsed(name, inner[0], part) for part in parts)
    if origin is Literal:
        return one_of(name, text, inner)
    if origin in (types.UnionType, Union):
        if text.lower() == "none":
            return None
        return _parsed(name, next(kind for kind in inner if kind is not type(None)), text)
    if hint is bool:  # bool("False") is True.
        if text.lower() not in _SWITCH:
            raise ValueError(f"{name} must be true or false, got {text!r}")
        return _SWITCH[text.lower()]
    try:
        return hint(text)
    except ValueError:
        wanted = {int: "an integer", float: "a number"}.get(hint, hint.__name__)
        raise ValueError(f"{name} must be {wanted}, got {text!r}") from None


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_written, value))
    return "none" if value is None else str(value)
