"""The sizes of a check, from a list of widths or depths, or from lists for keys of the user's own."""

from collections.abc import Mapping, Sequence
from typing import Any

from isoscale._check.errors import CheckError
from isoscale._check.lines import FEWEST


def grid(
    name: str, values: Sequence[int] | Mapping[str, Sequence[Any]], base: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The changes of the base size, smallest first: `[64, 128]` for the key "width", or a dict of lists of any keys.

    Raises CheckError for unknown keys, lists of different lengths, fewer than three sizes or repeated ones.
    """
    given = values if isinstance(values, Mapping) else {name.removesuffix("s"): values}
    lists = {key: list(each) for key, each in given.items()}
    if not any(lists.values()):
        return []
    unknown = [key for key in lists if key not in base]
    if unknown:
        key = next(iter(base), "d_model")
        mend = f"{name}=dict({key}=[...]); on the command line --{name} {key}=64,128,256"
        raise CheckError(
            f"{name} changes {', '.join(map(repr, unknown))}, which the base size {dict(base)} does not have: name the "
            f"builder's own key (such as {key!r}): {mend}"
        )
    if len({len(each) for each in lists.values()}) != 1:
        lengths = ", ".join(f"{key}: {len(each)}" for key, each in lists.items())
        raise CheckError(f"{name} has lists of different lengths ({lengths}): each size needs a value of every key")
    rows = [dict(zip(lists, row)) for row in zip(*lists.values())]
    if len(rows) < FEWEST:
        raise CheckError(f"{name} has {len(rows)} sizes: an exponent with an interval needs {FEWEST}, better 4")
    if any(one == other for i, one in enumerate(rows) for other in rows[:i]):
        raise CheckError(f"{name}={given!r} names a size twice: give each once, smallest first")
    return rows
