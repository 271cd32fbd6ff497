"""The one exception of this room: a mistake, told as what - why - the call that mends it."""


class PlanError(ValueError):
    """A plan cannot be made, loaded or applied: the message says what, why the theory cares, and what mends it."""
