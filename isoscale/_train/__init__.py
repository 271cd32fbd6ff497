"""Training: reference networks, data, and one deterministic loop that turns a configuration into a run."""

from isoscale._train.data import DataError, Dataset, load
from isoscale._train.lockstep import train_batch
from isoscale._train.loop import train, training
from isoscale._train.models import MODELS
from isoscale._train.settings import ConfigError, vocabulary
from isoscale._train.setup import Setup, prepare

__all__ = [
    "MODELS",
    "ConfigError",
    "DataError",
    "Dataset",
    "Setup",
    "load",
    "prepare",
    "train",
    "train_batch",
    "training",
    "vocabulary",
]
