"""Numbers, ticks and foreign text as a reader should see them."""

import math
import re

LONGEST = 120
"""Characters of a name that are shown."""


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_two(value: float) -> str:
    """ "2⁻⁵" for 0.03125; one decimal of the exponent where it is no integer: "2^-5.3"."""
    exponent = math.log2(value)
    if abs(exponent - round(exponent)) < 1e-9:
        return "2" + str(round(exponent)).translate(_SUPERSCRIPTS)
    return f"2^{exponent:.1f}".replace("-", "−")


def number(value: float | None, digits: int = 3) -> str:
    """`value` to so many significant digits with a true minus sign; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    magnitude = abs(value)
    if magnitude and (magnitude < 1e-4 or magnitude >= 1e6):
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
        return power if mantissa == "1" else f"{mantissa}·{power}".replace("-", "−")
    decimals = (
        0 if magnitude >= 10 ** (digits - 1) else digits - 1 - (math.floor(math.log10(magnitude)) if magnitude else 0)
    )
    return f"{value:.{max(decimals, 0)}f}".replace("-", "−")


def signed(value: float | None, decimals: int = 2) -> str:
    """`value` with its sign, fixed decimals: "−0.52", "+0.03"; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:+.{decimals}f}".replace("-", "−")
    return text.replace("−", "").replace("+", "") if not float(f"{value:.{decimals}f}") else text


def octave_ticks(low: float, high: float, most: int = 6) -> tuple[tuple[float, str], ...]:
    """Whole powers of two inside [low, high], thinned to at most `most`."""
    first, last = math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / most))
    return tuple((2.0**k, power_of_two(2.0**k)) for k in range(first, last + 1) if (last - k) % step == 0)


def even_ticks(low: float, high: float, most: int = 5) -> tuple[tuple[float, str], ...]:
    """Round numbers inside [low, high], steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * m for m in (1, 2, 5, 10) if scale * m >= rough * 0.8)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple((round(k * step, 12), f"{k * step:.{decimals}f}".replace("-", "−")) for k in range(first, last + 1))


def decade_ticks(low: float, high: float, most: int = 5) -> tuple[tuple[float, str], ...]:
    """Ticks of a logarithmic axis in round decimals: even steps within a decade, else 1-2-5, else decades."""
    if high / low < 6:
        return even_ticks(low, high, most)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [d * 10.0**k for k in range(first, last + 1) for d in digits if low <= d * 10.0**k <= high]
        if len(ticks) <= most:
            break
    step = max(1, math.ceil(len(ticks) / most))
    return tuple((tick, f"{tick:g}" if 1e-4 <= tick < 1e5 else number(tick, 1)) for tick in ticks[::step])


def sentence(text: str) -> str:
    """The text with a capital and a full stop, and with true minus signs before digits."""
    typeset = re.sub(r"(?<!\w)-(?=[\d.])", "−", text.replace("+-", "±"))
    return typeset[:1].upper() + typeset[1:] + ("" if typeset.endswith((".", "!", "?")) or not typeset else ".")


def shown(text: str, longest: int = LONGEST) -> str:
    """Text from outside, fit to be looked at: no control or direction-changing character, no more than fits a line."""
    clean = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[: longest + 1]
    )
    return clean if len(text) <= longest else clean[: longest - 1] + "…"
