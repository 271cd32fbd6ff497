"""The mistake of a check's caller, or of a model that can not be measured."""


class CheckError(ValueError):
    """The check can not run; the message says what is wrong and what mends it."""
