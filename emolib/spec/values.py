"""Whether a value is one of those that a field of RunSpec, a reading or a parameter takes."""

import numbers
import types
import typing


def named(parameter: str, text: str, known=()) -> list[str]:
    """The names in a text, parted by commas. Raises ValueError for one that is none of `known`,
    where some are."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if known and (others := [name for name in names if name not in known]):
        raise ValueError(f"{parameter}={text!r}: {others[0]!r} is none of {', '.join(known)}")
    return names


def members(kind) -> tuple:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def checked(name: str, value, kind):
    """value, an int made float where the field is one; ValueError names what is allowed."""
    for member in members(kind):
        if typing.get_origin(member) is typing.Literal:
            if value in typing.get_args(member):
                return value
        elif isinstance(value, bool) and member is not bool:
            continue  # True is no number of epochs
        elif member is float and isinstance(value, numbers.Real):
            return float(value)
        elif member is int and isinstance(value, numbers.Integral):
            return int(value)  # NumPy's integers too
        elif isinstance(value, member):
            return value
    names = [str(a) or "''" for m in members(kind) for a in typing.get_args(m) or [m.__name__]]
    raise ValueError(f"{name}={value!r}: must be one of {', '.join(names)}")
