"""Mistakes in a spec, as sentences: each with its path, what is wrong, and the nearest word that exists."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from isoscale._sweep.grid import read_grid
from isoscale._sweep.limits import HYPERPARAMETERS, foreign

_ALIASES = {"learning_rate": "lr", "wd": "weight_decay", "epsilon": "eps", "n_steps": "steps"}
_ALIASES |= {"lr_schedule": "schedule", "scheduler": "schedule", "warmup_fraction": "warmup", "betas": "beta1"}

_WORDS = {  # keys of a configuration that are words, and where the spec says them
    "model": "model.name",
    "data": "data.name",
    "activation": "model.activation",
    "schedule": "train.schedule",
    "loss": "train.loss",
    "dtype": "train.dtype",
}


class SpecError(ValueError):
    """A spec that cannot be run; `mistakes` has all of them, each with its path in the file."""

    def __init__(self, where: str, mistakes: Collection[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__("\n  ".join([f"{where} has {count}:", *self.mistakes]))


def sentences(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Every error of a validation, in the order of the file's sections."""
    found = []
    for each in error.errors(include_url=False):
        place = _spell(each["loc"])
        if each["type"] == "extra_forbidden":
            found.append(f"{place}: unknown{_hint(each['loc'], root)}")
        elif each["type"] == "missing":
            found.append(f"{place}: missing")
        else:
            message = each["msg"].removeprefix("Value error, ")
            if each["type"] != "value_error":  # pydantic's words for it, not ours
                message = message[0].lower() + message[1:]
                message += "" if ", not " in message else f", not {_short(each['input'])}"
            found.append(f"{place}: {message}")
    return found


def _spell(place: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{_short(part, 60, bare=True)}" for part in place)
    return "".join(parts).removeprefix(".")


def _short(value: Any, limit: int = 80, bare: bool = False) -> str:
    text = value if bare and isinstance(value, str) and value.isprintable() else ascii(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _hint(place: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """The nearest name in the same section, else the section that has this one, else all names of the section."""
    name, section = str(place[-1]), root
    for part in place[:-1]:
        section = _inner(section, str(part)) or section
    near = get_close_matches(_ALIASES.get(name, name), section.model_fields, 1)
    if near:
        return f"; did you mean {near[0]}?"
    for home, field in root.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None and inner is not section and name in inner.model_fields:
            return f"; it belongs to [{home}.NAME]" if home == "optimizers" else f"; it belongs to [{home}]"
    return f"; there are {', '.join(section.model_fields)}"


def _inner(section: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = section.model_fields.get(name)
    return None if field is None else _model_in(field.annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def cross_check(table: Mapping[str, Any], known: Mapping[str, Collection[str]]) -> list[str]:
    """What the sections cannot see alone: words that do not exist, an optimizer's foreign or missing hyperparameters.

    Reads the raw table, so that these mistakes are told together with those of the sections.
    """
    found = list(_unknown_words(table, known))
    optimizers = table.get("optimizers")
    shared = table.get("hyperparameters")
    shared = shared if isinstance(shared, dict) else {}
    for name, own in optimizers.items() if isinstance(optimizers, dict) else ():
        if not isinstance(own, dict):
            continue
        for key in own:
            if key in HYPERPARAMETERS and foreign(key, name):
                found.append(
                    f"optimizers.{name}.{key}: {name} has none; it goes with {', '.join(HYPERPARAMETERS[key].only)}"
                )
        if "lr" not in own and "lr" not in shared:
            found.append(f"optimizers.{name}.lr: missing, here and in [hyperparameters]: what is to be tuned")
        if (
            name == "sgd"
            and _has({**shared, **own}.get("nesterov"), True)
            and _has({**shared, **own}.get("momentum", 0), 0)
        ):
            found.append(f"optimizers.{name}.nesterov: true needs a momentum above 0")
    for name in HYPERPARAMETERS:
        homeless = isinstance(optimizers, dict) and optimizers and all(foreign(name, key) for key in optimizers)
        if name in shared and homeless:
            found.append(f"hyperparameters.{name}: none of the optimizers has it")
    return found


def _has(grid: Any, value: Any) -> bool:
    try:
        return grid is not None and value in read_grid(grid)
    except ValueError:
        return False


def _unknown_words(table: Mapping[str, Any], known: Mapping[str, Collection[str]]) -> Iterator[str]:
    rules, optimizers = table.get("rules"), table.get("optimizers")
    if known.get("rule") and isinstance(rules, list):
        families = {rule.split("(")[0] for rule in known["rule"]}
        for at, rule in enumerate(rules):
            if (
                isinstance(rule, str)
                and rule not in known["rule"]
                and not ("(" in rule and rule.split("(")[0] in families)
            ):
                yield f"rules[{at}]: no rule {_short(rule)}{_near(rule, known['rule'])}"
    if known.get("optimizer") and isinstance(optimizers, dict):
        for name in optimizers:
            if name not in known["optimizer"]:
                yield f"optimizers.{_short(name, bare=True)}: no such optimizer{_near(name, known['optimizer'])}"
    for key, place in _WORDS.items():
        section, name = place.split(".")
        inner = table.get(section)
        word = inner.get(name) if isinstance(inner, dict) else None
        if not known.get(key) or not isinstance(word, str) or word in known[key]:
            continue
        if key == "data" and _is_path(word):
            continue
        what = "data set or path" if key == "data" else key
        yield f"{place}: no {what} {_short(word)}{_near(word, known[key])}"


def _near(word: str, words: Collection[str]) -> str:
    near = get_close_matches(word, words, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(words)}"


def _is_path(word: str) -> bool:
    try:
        return Path(word).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
