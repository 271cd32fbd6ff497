"""Colours, in one place: tones are named in the charts and become colours only in the page.

The ramp of sizes runs through perceptually even steps of falling lightness (rising in the dark), so that it can be read
in greyscale and by colour-blind eyes; outcomes differ by shape and word as well as by hue.
"""

from typing import Final

RAMP_STEPS: Final = 9
OUTCOMES: Final = {"transfers": "transfers", "drifts": "drifts", "cannot tell": "unclear"}

LIGHT: Final[dict[str, str]] = {
    "page": "#fbfbf9", "card": "#ffffff", "ink": "#1c1e22", "muted": "#5a606b", "line": "#dcdee2", "grid": "#eceded",
    "band": "#e3ecf4", "zero": "#98a2b0", "code": "#f2f2ef",
    "transfers": "#1f5fa8", "drifts": "#b8430e", "unclear": "#62656d",
    "transfers-soft": "#e4eef8", "drifts-soft": "#fbe9df", "unclear-soft": "#ededee",
}  # fmt: skip
DARK: Final[dict[str, str]] = {
    "page": "#131519", "card": "#1a1d22", "ink": "#e9eaec", "muted": "#a3a9b4", "line": "#343941", "grid": "#262a30",
    "band": "#20303f", "zero": "#66707e", "code": "#20242a",
    "transfers": "#7fb8f2", "drifts": "#ff9f68", "unclear": "#abb0b9",
    "transfers-soft": "#1b2f45", "drifts-soft": "#432617", "unclear-soft": "#2b2f36",
}  # fmt: skip
# Plasma, cut to the part with enough contrast on either ground; small first, large last.
_LIGHT_RAMP: Final = ("#e56a5d", "#d6556d", "#c5407e", "#b22b8f", "#9a169f", "#8004a8", "#6400a7", "#46039f", "#260591")
_DARK_RAMP: Final = ("#b6308b", "#c8437b", "#d7566c", "#e56a5d", "#f07f4f", "#f89540", "#fdae32", "#fdc827", "#f7e425")


def themes() -> dict[str, dict[str, str]]:
    """Tone to colour, for the light and for the dark ground."""
    ramps = {"light": _LIGHT_RAMP, "dark": _DARK_RAMP}
    return {
        name: {**base, **{f"size-{i}": colour for i, colour in enumerate(ramps[name])}}
        for name, base in (("light", LIGHT), ("dark", DARK))
    }


def size_tone(rank: int, count: int) -> str:
    """The tone of the `rank`-th of `count` sizes, smallest first; a single size takes the far end."""
    return f"size-{RAMP_STEPS - 1 if count < 2 else round(rank * (RAMP_STEPS - 1) / (count - 1))}"


def outcome_tone(outcome: str) -> str:
    """The tone of a verdict."""
    return OUTCOMES.get(outcome, "unclear")


def variables() -> str:
    """The tones as CSS custom properties, light and dark, and the classes with which static drawings use them."""
    light, dark = (";".join(f"--{k}:{v}" for k, v in theme.items()) for theme in (themes()["light"], themes()["dark"]))
    classes = "".join(f".t-{k}{{--t:var(--{k})}}" for k in LIGHT if "-" not in k) + "".join(
        f".t-size-{i}{{--t:var(--size-{i})}}" for i in range(RAMP_STEPS)
    )
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}{classes}"
