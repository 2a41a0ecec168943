"""Documents against their published schemas."""

import json
from importlib.resources import files
from typing import Any

import pytest


def schema(name: str) -> Any:
    return json.loads((files("media.clips") / "schemas" / f"{name}.json").read_text())


def check(name: str, document: object) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema", reason="the schemas are checked with jsonschema")
    jsonschema.Draft202012Validator(schema(name)).validate(document)
