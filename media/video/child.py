"""The child process that looks at footage: libav parses hostile bytes here, and nothing else runs here.

It reads one line of JSON, limits itself before it loads libav, and answers in lines of JSON: progress, results, or an
error. When its parent goes away, so does it.
"""

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from media.errors import MediaError, Reason
from media.video.composite_values import CompositeSettings, ParticipantFile
from media.video.placing import Placement
from media.video.recording_values import EncodingSettings
from media.video.values import Limits, Progress, Segment, VideoSettings, Window
from media.video.wire import from_json, to_json

_REPORT_SECONDS: Final = 1.0
_SPARE_CPU_SECONDS: Final = 10


def main() -> None:
    """Do the one task that comes in."""
    request = json.loads(sys.stdin.buffer.readline())
    limits = from_json(Limits, request["limits"])
    _limit_this_process(limits)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tasks: dict[str, Callable[[Any, Limits], None]] = {
        "probe": _probe,
        "write": _write,
        "burn_in": _burn_in,
        "separate": _separate,
        "keep_sound": _keep_sound,
        "compose": _compose,
    }
    tasks[request["task"]](request, limits)


def _probe(request: Any, limits: Limits) -> None:
    from media.video.probe import probe  # noqa: PLC0415 - libav is loaded within the limits

    for path in request["paths"]:
        _answer(partial(probe, Path(path), limits=limits))


def _write(request: Any, limits: Limits) -> None:
    from media.video.artefacts import write_artefacts  # noqa: PLC0415 - libav is loaded within the limits

    task = partial(
        write_artefacts,
        from_json(tuple[Segment, ...], request["segments"]),
        from_json(Window, request["window"]),
        Path(request["directory"]),
        settings=from_json(VideoSettings, request["settings"]),
        limits=limits,
        progress=_reporter(),
    )
    _answer(task)


def _burn_in(request: Any, limits: Limits) -> None:
    from media.video.burn_in import burn_in  # noqa: PLC0415 - libav is loaded within the limits
    from media.video.strokes.document import parse_annotations  # noqa: PLC0415 - a thing only this task needs
    from media.video.strokes.timeline import StrokeTimeline  # noqa: PLC0415 - as above

    def task() -> Any:
        annotations, placing = request["annotations"], request["placing"]
        return burn_in(
            Path(request["source"]),
            Path(request["target"]),
            strokes=None if annotations is None else StrokeTimeline(parse_annotations(annotations.encode())),
            placing=placing if isinstance(placing, int) else from_json(tuple[Placement, ...], placing),
            offset_us=request["offset_us"],
            may_copy=request["may_copy"],
            settings=from_json(EncodingSettings, request["settings"]),
            limits=limits,
            progress=_reporter(),
        )

    _answer(task)


def _separate(request: Any, limits: Limits) -> None:
    from media.video.remux import separate  # noqa: PLC0415 - libav is loaded within the limits

    _answer(partial(separate, Path(request["source"]), Path(request["directory"]), limits=limits))


def _keep_sound(request: Any, limits: Limits) -> None:
    from media.video.sound_alone import keep_sound  # noqa: PLC0415 - libav is loaded within the limits

    settings = from_json(EncodingSettings, request["settings"])
    _answer(partial(keep_sound, Path(request["source"]), Path(request["target"]), settings=settings, limits=limits))


def _compose(request: Any, limits: Limits) -> None:
    from media.video.composite import compose  # noqa: PLC0415 - libav is loaded within the limits
    from media.video.strokes.document import parse_annotations  # noqa: PLC0415 - a thing only this task needs
    from media.video.strokes.painter import StrokePainter  # noqa: PLC0415 - libav is loaded within the limits
    from media.video.strokes.timeline import StrokeTimeline  # noqa: PLC0415 - as parse_annotations

    def task() -> Any:
        painter = None
        if request["annotations"] is not None:
            document = parse_annotations(request["annotations"].encode())
            painter = StrokePainter(StrokeTimeline(document), offset_us=-document.started_at_us)
        return compose(
            from_json(tuple[ParticipantFile, ...], request["files"]),
            Path(request["target"]),
            placing=from_json(tuple[Placement, ...], request["placing"]),
            painter=painter,
            settings=from_json(CompositeSettings, request["settings"]),
            limits=limits,
            progress=_reporter(),
        )

    _answer(task)


def _answer(task: Callable[[], Any]) -> None:
    try:
        _say({"done": to_json(task())})
    except MediaError as error:
        _say({"error": {"reason": error.reason.value, "message": error.message, "metadata": error.metadata}})
    except MemoryError:
        _refuse(Reason.TOO_LARGE, "the footage needs more memory than is allowed")
    except OSError as error:
        _refuse(Reason.INTERNAL, f"the disk refuses to work: {error.strerror}")


def _refuse(reason: Reason, message: str) -> None:
    _say({"error": {"reason": reason.value, "message": message, "metadata": {}}})


def _reporter() -> Callable[[Progress], None]:
    said = -_REPORT_SECONDS
    step = ""

    def report(progress: Progress) -> None:
        nonlocal said, step
        if progress.step != step or time.monotonic() - said >= _REPORT_SECONDS:
            said, step = time.monotonic(), progress.step
            _say({"progress": to_json(progress)})

    return report


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(document)}\n")
    sys.stdout.flush()


def _limit_this_process(limits: Limits) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, limits.address_space_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.output_bytes),
        (resource.RLIMIT_CORE, 0),  # a core would hold footage
    ):
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # At the hard limit of processor time the kernel kills without telling why (setrlimit(2)).
        spare = _SPARE_CPU_SECONDS if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
        resource.setrlimit(kind, (allowed, allowed + spare))


def _end_with_parent() -> None:
    # The parent keeps its end of the pipe open and writes no more: the end of the pipe is the end of the parent.
    # Not through sys.stdin, whose lock this thread would still hold when the interpreter shuts down.
    while os.read(0, 1 << 16):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
