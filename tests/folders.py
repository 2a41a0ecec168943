"""Servers that all tests of one folder share."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
_SHARED = pytest.StashKey[dict[str | None, Any]]()


def shared_in_folder(request: pytest.FixtureRequest, folder: Path, start: Callable[[], AbstractContextManager[T]]) -> T:
    """What `start` makes for the fixture that asks: made once, and ended after the folder's last test.

    The fixture's scope is "module". Servers of a session's fixture would idle until the end of the run, and that in
    each process that runs tests.
    """
    node = next(node for node in request.node.iter_parents() if isinstance(node, pytest.Dir) and node.path == folder)
    shared = node.stash.setdefault(_SHARED, {})
    if request.fixturename not in shared:
        stack = ExitStack()
        shared[request.fixturename] = stack.enter_context(start())
        stack.callback(shared.pop, request.fixturename)
        node.addfinalizer(stack.close)
    value: T = shared[request.fixturename]
    return value
