"""The quick coordinate check of a user's model, made once: its outcome is a decision in the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isoscale._check import Check, coord_check
from isoscale._records.decision import Decision
from isoscale._records.run import digest
from isoscale._records.store import Store
from isoscale._tune.job import Job, Loss, cross_entropy, first_tensor, loaded
from isoscale._tune.narrate import Narrator
from isoscale._tune.sizes import Keys

FACTORS = (1, 2, 4)  # sizes an axis, over the base
EXAMPLES = 32
STEPS, SEEDS, MOST_SEEDS = 6, 3, 9


def recorded_check(
    job: Job, keys: Keys, base: Mapping[str, Any], store: Store, config: Mapping[str, Any], narrator: Narrator,
    *, skip: bool,
) -> dict[str, str]:  # fmt: skip
    """{"outcome", "headline", "sentence"} of the check: PASS, FAIL, CANNOT TELL or SKIPPED."""
    if skip:
        said = "the coordinate check was skipped"
        return {"outcome": "SKIPPED", "headline": said, "sentence": said}
    identity = digest({"check": dict(config), "base": dict(base), "keys": [keys.width, keys.depth], "steps": STEPS})
    known = store.decisions(identity)
    if known:
        narrator.note(f"{known[0].reason} (done before)")
        return dict(known[0].content)
    found = check(job, keys, base)
    outcome = "PASS" if found.outcome == "SHOWN" else found.outcome
    content = {"outcome": outcome, "headline": headline(found), "sentence": str(found)}
    store.decide(identity, 0, Decision(outcome, content["headline"], content))
    narrator.note(content["headline"])
    return content


def headline(found: Check) -> str:
    """The check in one line: how many quantities are as the rule wants them, and which are not."""
    judged = [line for line in found.lines if line.declared is not None and line.outcome != "SHOWN"]
    odd = [line for kind in ("FAIL", "CANNOT TELL") for line in judged if line.outcome == kind]
    if not odd:
        return f"PASS: {len(judged)} quantities keep their size as width and depth grow ({found.seconds:.0f} s)"
    shown = ", ".join(f"{line.quantity.label} ({line.axis}, {line.outcome})" for line in odd[:2])
    more = f" and {len(odd) - 2} more" if len(odd) > 2 else ""
    return f"{found.outcome}: {len(judged) - len(odd)} of {len(judged)} quantities as the rule wants, not {shown}{more}"


def check(job: Job, keys: Keys, base: Mapping[str, Any]) -> Check:
    """Three sizes an axis that grows, on one batch of the user's data and with the user's loss."""
    data = loaded(job)
    x, y = data.x_train[:EXAMPLES], data.y_train[:EXAMPLES]
    grids = [{key: [base[key] * factor for factor in FACTORS] for key in names} for names in (keys.width, keys.depth)]
    loss = None if job.loss is None else _OfFirst(job.loss)
    if loss is None and job.channel != -1:
        loss = _OfFirst(_channels_second)
    return coord_check(
        job.build, base, widths=grids[0], depths=grids[1], inputs=(x,), targets=y, loss=loss, rule=job.rule,
        optimizer=job.optimizer, steps=STEPS, seeds=SEEDS, most_seeds=MOST_SEEDS,
    )  # fmt: skip


@dataclass(frozen=True)
class _OfFirst:
    """A loss of the tensor that the loop will train on."""

    loss: Loss

    def __call__(self, output: Any, y: Any) -> Any:
        return self.loss(first_tensor(output), y)


def _channels_second(output: Any, y: Any) -> Any:
    return cross_entropy(output.movedim(1, -1), y)
