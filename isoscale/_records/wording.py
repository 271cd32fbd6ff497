"""Words that came from outside, as they may be shown."""


def printable(text: str) -> str:
    r"""`text` with every character that a terminal would obey or hide (but the line's end) written as its escape.

    >>> print(printable("lr \x1b[2J is not a column"))
    lr \x1b[2J is not a column
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)
