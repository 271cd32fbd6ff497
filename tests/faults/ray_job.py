"""The small sweep of faults_job through Ray. python ray_job.py STORE ADDRESS [SLEEP]"""

import dataclasses
import os
import sys

import faults_job

from isoscale._sweep.ray_executor import RayExecutor
from isoscale._sweep.sweep import sweep

# Whoever waited for the lease of a driver that is gone would wait for ten minutes.
PATIENCE = dataclasses.replace(faults_job.PATIENCE, lease=600.0)


class Slowly:
    """`faults_job.train`, a fixed time a unit: workers do not inherit the driver's environment."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, batch):
        os.environ["FAULTS_SLEEP"] = str(self.seconds)
        return faults_job.train(batch)


if __name__ == "__main__":
    train = Slowly(float(sys.argv[3]) if len(sys.argv) > 3 else 0.2)
    with RayExecutor(train, address=sys.argv[2]) as executor:
        sweep(
            train,
            faults_job.configs(),
            store=sys.argv[1],
            batch=4,
            patience=PATIENCE,
            executor=executor,
        )
