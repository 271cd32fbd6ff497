"""What a user can get wrong, as one kind of exception."""


class TuneError(ValueError):
    """A mistake in what was handed to `tune`: what, why it matters, and what mends it."""
