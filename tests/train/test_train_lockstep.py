"""Lockstep: the numbers of the plain loop, whoever shares the stack."""

import pytest

from isoscale._records.run import Run
from isoscale._train import lockstep, prepare, train, train_batch
from isoscale._train.lockstep import pays, room, train_lockstep

BASE = {
    "model": "residual_mlp", "data": "digits", "rule": "depth_mup", "optimizer": "adamw", "width": 16, "depth": 4,
    "base_width": 16, "base_depth": 2, "seed": 0, "lr": 2.0**-6, "steps": 30, "batch_size": 32, "schedule": "cosine",
}  # fmt: skip


def config(**changes: object) -> dict[str, object]:
    return BASE | changes


def outcome(run: Run) -> tuple[object, ...]:
    """Everything of a run but its time."""
    return run.config, run.metrics, run.status, run.diverged_at, run.steps, run.flops, run.curves


FAMILIES = [
    config(),
    config(optimizer="adamw", weight_decay=0.3, eps=1e-3),
    config(optimizer="adam", weight_decay=0.1),
    config(optimizer="adamw_independent", weight_decay=1e-3),
    config(optimizer="sgd", lr=0.125, momentum=0.9, nesterov=True, weight_decay=0.01),
    config(optimizer="sgd", lr=0.125),
    config(model="preln_mlp", warmup=0.2),
    config(data="teacher", batch_size=None, optimizer="sgd"),
    config(model="conv_resnet_bn", width=8, base_width=8, depth=2, steps=4),
    config(model="vit", width=16, depth=2, steps=6),
    config(model="gpt", data="text", context=8, depth=2, steps=6),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family['model']}-{family['optimizer']}")
def test_every_member_is_what_the_plain_loop_makes_of_it(family: dict[str, object]) -> None:
    members = [family | {"seed": seed, "lr": family["lr"] * scale} for seed in (0, 1) for scale in (0.5, 1.0)]
    together = train_lockstep([prepare(member) for member in members])
    for run, member in zip(together, members):
        alone = train(member)
        assert run.status == alone.status == "finished"
        for name, value in alone.metrics.items():
            # Batched kernels round differently; chaos makes 1e-7 a step into more over training.
            assert run.metrics[name] == pytest.approx(value, rel=2e-4, abs=2e-3 if "accuracy" in name else 1e-6), name
        assert run.curves.keys() == alone.curves.keys()
        assert run.curves["train_loss"].step == alone.curves["train_loss"].step


def test_a_wrong_learning_rate_would_be_seen() -> None:
    """Control of the comparison above: one part in a thousand in the rate is more than rounding."""
    run, off = train(config()), train(config(lr=2.0**-6 * 1.001))
    assert abs(run.metrics["train_loss"] / off.metrics["train_loss"] - 1) > 2e-4


@pytest.mark.parametrize("family", FAMILIES[:8], ids=lambda family: f"{family['model']}-{family['optimizer']}")
def test_numbers_do_not_depend_on_who_shares_the_stack(family: dict[str, object]) -> None:
    assert pays(prepare(family))
    members = [family | {"seed": at % 3, "lr": family["lr"] * 2.0 ** -(at % 4)} for at in range(7)]
    together = {run.identity: outcome(run) for run in train_batch(members)}
    for part in (members[:1], members[2:4], members[::-1]):
        for run in train_batch(part):
            assert outcome(run) == together[run.identity]


def test_rules_share_a_stack_and_keep_their_own_rates() -> None:
    members = [config(rule=rule, depth=6, weight_decay=0.1) for rule in ("sp", "mup", "depth_mup", "completep")]
    for run in train_lockstep([prepare(member) for member in members]):
        assert run.metrics["train_loss"] == pytest.approx(train(run.config).metrics["train_loss"], rel=2e-4)


def test_a_diverged_member_leaves_and_disturbs_nobody() -> None:
    calm = [config(optimizer="sgd", lr=2.0**-4, seed=seed, steps=60) for seed in (0, 1)]
    wild = config(optimizer="sgd", lr=1e6, seed=0, steps=60)
    undisturbed = train_batch(calm)
    first, gone, second = train_batch([calm[0], wild, calm[1]])
    assert gone.status == "diverged"
    assert gone.diverged_at == train(wild).diverged_at
    assert gone.steps == gone.diverged_at
    assert gone.metrics["train_loss"] == float("inf")
    assert [outcome(first), outcome(second)] == [outcome(run) for run in undisturbed]


def test_all_members_may_diverge() -> None:
    runs = train_batch([config(optimizer="sgd", lr=1e6, seed=seed) for seed in (0, 1, 2)])
    assert {run.status for run in runs} == {"diverged"}


def test_a_stack_is_split_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [config(seed=seed) for seed in range(5)]
    whole = [outcome(run) for run in train_batch(members)]
    monkeypatch.setattr("isoscale._train.lockstep.MEMORY", 1)
    assert room(prepare(members[0])) == 2
    assert [outcome(run) for run in train_batch(members)] == whole


def test_room_shrinks_with_what_the_backward_pass_keeps() -> None:
    assert room(prepare(config(batch_size=512))) < room(prepare(config(batch_size=32)))


def test_large_networks_train_one_by_one() -> None:
    assert pays(prepare(config()))
    assert pays(prepare(config(model="conv_resnet", width=8, base_width=8, depth=2)))
    assert not pays(prepare(config(width=256, batch_size=256)))


def test_configurations_of_several_shapes_come_back_in_order() -> None:
    members = [config(depth=depth, seed=seed) for seed in (0, 1) for depth in (2, 3)]
    assert [run.config for run in train_batch(members)] == members
    assert train_batch([]) == []


def test_rules_that_mean_the_same_training_train_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = lockstep.train_lockstep
    monkeypatch.setattr(lockstep, "train_lockstep", lambda setups: sizes.append(len(setups)) or original(setups))
    members = [config(rule=rule, depth=depth) for depth in (2, 4) for rule in ("sp", "mup", "depth_mup")]
    runs = train_batch(members)
    assert sizes == [1, 2]  # at the base size all three are one; deeper, mup is sp, which knows no depth
    assert [run.config for run in runs] == members
    assert runs[0].metrics == runs[1].metrics == runs[2].metrics
    assert runs[3].metrics == runs[4].metrics != runs[5].metrics


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"lr": 2.0**-7}, {"weight_decay": 0.1}, {"eps": 1e-3}, {"warmup": 0.1}]
)
def test_what_changes_a_training_changes_its_fingerprint(change: dict[str, object]) -> None:
    assert lockstep.fingerprint(prepare(config())) != lockstep.fingerprint(prepare(config(**change)))
    assert lockstep.fingerprint(prepare(config())) == lockstep.fingerprint(prepare(config()))


def test_members_with_and_without_momentum_share_a_stack() -> None:
    members = [config(optimizer="sgd", lr=0.125, momentum=momentum) for momentum in (0.0, 0.9)]
    for run, member in zip(train_lockstep([prepare(member) for member in members]), members):
        assert run.metrics["train_loss"] == pytest.approx(train(member).metrics["train_loss"], rel=2e-4)
