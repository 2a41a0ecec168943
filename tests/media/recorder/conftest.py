from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.camera import Camera
from sandbox.camera.film import Film, Shot
from tests.media.recorder.recording import a_camera


@pytest.fixture
def camera() -> Iterator[Camera]:
    with a_camera() as running:
        yield running


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    return tmp_path / "ring"


@pytest.fixture
def filmed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """When each picture was taken, as it shows: on a busy machine a camera takes none for a while."""
    times: list[int] = []
    shoot = Film.shoot

    def noted(self: Film, at: int, elapsed: int) -> list[Shot]:
        times.append(at // 1000 * 1000)
        return shoot(self, at, elapsed)

    monkeypatch.setattr(Film, "shoot", noted)
    return times
