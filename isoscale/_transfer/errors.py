"""The mistakes this room refuses; what it cannot tell is a value with a sentence, never an exception."""


class RunsError(ValueError):
    """Runs that no curve can be made of, named with what to do about it."""
