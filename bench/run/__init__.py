"""The room that measures: workers, rounds, resumption. Calling it, `bench.run("speedup")`, measures a suite.

The room and the function share their name, so the module itself can be called; `bench.api.run` is the function, with
its arguments.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallableRoom(ModuleType):
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Measure a suite and load the results: `bench.api.run`."""
        from importlib import import_module

        # By its name, because the interface stands above this room.
        return import_module("bench.api").run(*arguments, **named)


sys.modules[__name__].__class__ = _CallableRoom
