"""Exports: finished runs into the tools people look at runs with. From the store, never inside the training loop."""

from isoscale._export.export import TARGETS, Exported, export

__all__ = ["TARGETS", "Exported", "export"]
