"""Import timm where torchvision is not installed: the CPU build of torch has no torchvision beside it here.

timm needs torchvision for image transforms and one frozen norm only; no model of the zoo uses either. The stand-in is
there during the import and gone after it.
"""

import importlib
import importlib.machinery
import importlib.util
import sys
import types

NAMES = (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.datasets",
    "torchvision.models",
    "torchvision.models.feature_extraction",
)


class Names(type):
    """A class that has every attribute: enumerations read at import."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class Stand(types.ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return Names(name, (), {})


def import_timm() -> types.ModuleType:
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module("timm")
    for name in NAMES:
        module = Stand(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    try:
        return importlib.import_module("timm")
    finally:
        for name in NAMES:
            sys.modules.pop(name, None)
