"""docs/guides/storage.md says what the code does."""

import inspect
import re
from pathlib import Path

import pytest

from media import metrics, settings
from media.records.values import DEFAULT_LOCK_MODE
from media.storage import lifecycle, store

GUIDE = (Path(__file__).parents[2] / "docs/guides/storage.md").read_text(encoding="utf-8")
WORDS = " ".join(GUIDE.split())


def test_the_guide_names_every_setting_of_the_store_and_no_other() -> None:
    stated = set(re.findall(r"INDELIBLE_EVIDENCE_\w+", GUIDE))
    read = set(re.findall(r"INDELIBLE_EVIDENCE_(?:S3_\w+|BUCKET)", inspect.getsource(settings)))
    assert stated - {"INDELIBLE_EVIDENCE_S3_SECRET_KEY_FILE"} == read


@pytest.mark.parametrize(
    "sentence",
    [
        (
            f"Glacier Instant Retrieval after {lifecycle.INSTANT_RETRIEVAL_DAYS} days, "
            f"Deep Archive after {lifecycle.DEEP_ARCHIVE_DAYS}"
        ),
        f"nobody completed within {lifecycle.UNFINISHED_UPLOAD_DAYS} days",
        f"no longer the current version {lifecycle.NONCURRENT_DAYS} days later",
        f"`{DEFAULT_LOCK_MODE}`, the default",
    ],
)
def test_the_guide_states_the_numbers_of_the_code(sentence: str) -> None:
    assert sentence in WORDS


def test_the_guide_states_how_long_a_restored_copy_stays() -> None:
    assert store.RESTORE_DAYS == 7
    assert "until the time that is given, seven days" in WORDS


def test_the_metric_the_guide_names_exists() -> None:
    (named,) = set(re.findall(r"indelible_evidence_\w+", GUIDE))
    assert named in inspect.getsource(metrics)
