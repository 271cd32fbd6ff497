"""A plan in words and in columns."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from isoscale._plan.errors import PlanError
from isoscale._plan.settings import Setting

_ROLE_WORDS = {
    "input": "its fan-in is fixed and its fan-out grows with width (embeddings, first layers, biases, gains)",
    "hidden": "its fan-in and its fan-out both grow with width",
    "output": "its fan-in grows with width and its fan-out is fixed (readouts)",
    "scalar": "neither its fan-in nor its fan-out grows with width",
}
_COMPARED = ("shape", "role", "stream", "tail", "readout", "multiplier", "hooked", "rms", "lr", "eps", "decay")


def printable(text: str) -> str:
    """`text` with what a terminal would obey written as its escape: modules may be called anything."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def row(setting: Setting) -> dict[str, Any]:
    """One row of the table: what is printed, as values."""
    return {
        "name": setting.name,
        "shape": setting.shape,
        "role": setting.role,
        "place": place(setting),
        "fan_in": setting.fan_in,
        "fan_out": setting.fan_out,
        "depth": setting.depth,
        "multiplier": setting.multiplier,
        "hooked": setting.hooked,
        "base_rms": setting.base_rms,
        "std": setting.std,
        "init": "own" if setting.own_init else setting.init,
        "lr": setting.lr,
        "eps": setting.eps,
        "decay": setting.decay,
    }


def place(setting: Setting) -> str:
    """Where the parameter acts: `tail of <stream>`, `in <stream>`, `readout`, or outside branches (empty)."""
    inside = "" if setting.stream is None else f"{'tail of' if setting.tail else 'in'} {setting.stream or 'stream'}"
    return " ".join(part for part in (inside, "readout" if setting.readout else "") if part)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Aligned columns, one line per row; names to the left, numbers to the right."""
    if not rows:
        return "(no parameters)"
    names = list(rows[0])
    cells = [[_cell(each[name]) for name in names] for each in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    left = [isinstance(rows[0][name], str) for name in names]

    def line(parts: Sequence[str]) -> str:
        aligned = (part.ljust(w) if is_left else part.rjust(w) for part, w, is_left in zip(parts, widths, left))
        return "  ".join(aligned).rstrip()

    return printable("\n".join([line(names), *(line(parts) for parts in cells)]))


def explain(settings: Sequence[Setting], name: str, optimizer: str, rule: str) -> str:
    """What the parameter is and why it gets what it gets, in plain words."""
    by_name = {setting.name: setting for setting in settings}
    if name not in by_name:
        close = difflib.get_close_matches(name, list(by_name), 3)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see print(plan) for all names."
        raise PlanError(f"the plan has no parameter {name!r}: {hint}")
    s = by_name[name]
    lines = [
        f"{s.name}, shape {_cell(s.shape)}, role {s.role}: {_ROLE_WORDS[s.role]}.",
        f"Why this role: {s.evidence or 'given by hand'}.",
        f"Growth, target over base: fan-in {_cell(s.fan_in)}, fan-out {_cell(s.fan_out)}, depth {_cell(s.depth)}.",
        *_where(s),
        f"Rule {rule} under {optimizer}: {s.reason}.",
        *_settings(s, optimizer),
        f"Source: {s.source}.",
    ]
    return printable("\n".join(lines))


def diff(ours: Sequence[Setting], theirs: Sequence[Setting], heads: tuple[Mapping[str, Any], Mapping[str, Any]]) -> str:
    """Every line that differs, `ours -> theirs`; empty where nothing does."""
    lines = [
        f"{key}: {heads[0].get(key)} -> {heads[1].get(key)}"
        for key in heads[0].keys() | heads[1].keys()
        if heads[0].get(key) != heads[1].get(key)
    ]
    lines.sort()
    left, right = ({s.name: s for s in settings} for settings in (ours, theirs))
    lines += [f"- {name} {_cell(left[name].shape)}" for name in left if name not in right]
    lines += [f"+ {name} {_cell(right[name].shape)}" for name in right if name not in left]
    for name in left:
        if name in right:
            changes = [
                f"{what} {_cell(getattr(left[name], what))} -> {_cell(getattr(right[name], what))}"
                for what in _COMPARED
                if getattr(left[name], what) != getattr(right[name], what)
            ]
            if changes:
                lines.append(f"{name}: {', '.join(changes)}")
    return printable("\n".join(lines))


def _where(s: Setting) -> list[str]:
    lines = []
    if s.stream is not None:
        lines.append(f"It acts inside a residual branch of stream {s.stream!r}, whose depth grew by {_cell(s.depth)}.")
    if s.tail:
        lines.append("It is at the homogeneous end of its branch: multiplying it multiplies the branch.")
    if s.readout:
        lines.append("It carries the readout: multiplying it multiplies the output.")
    if s.existing != 1.0:
        lines.append(f"The model's code already multiplies it by {_cell(s.existing)} (target over base): divided out.")
    return lines


def _settings(s: Setting, optimizer: str) -> list[str]:
    powers = s.exponents
    lines = [f"Forward multiplier {_cell(s.multiplier)} = {powers['multiplier']}, folded into the numbers below."]
    if s.multiplier == 1.0:
        lines = []
    if s.hooked != 1.0:
        lines.append(f"Forward multiplier {_cell(s.hooked)} is applied by a forward hook (mode='explicit').")
    if s.own_init:
        lines.append("Init: the builder's own; this rule changes nothing.")
    elif s.init == "random":
        parts = f"{_cell(s.base_rms)} (measured in the base model) x {_cell(s.std)} ({powers['std']})"
        lines.append(f"Init: rms {_cell(s.rms)} = {parts}.")
    else:
        lines.append(f"Init: {s.init} {_cell(s.base_mean)} in the base model, x {_cell(s.std)}.")
    lines.append(f"Learning rate x {_cell(s.lr)} ({powers['lr']}).")
    lines.append(f"Weight decay x {_cell(s.decay)} ({powers['decay']}), eps x {_cell(s.eps)} ({powers['eps']}).")
    return lines


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "()"
    return str(value)
