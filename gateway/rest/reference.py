"""The page to read the API by: made on the server from the OpenAPI document, without scripts or foreign parts."""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment

_STYLE = files("gateway.rest").joinpath("reference.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"
)


def reference_page(document: dict[str, Any]) -> bytes:
    """The page, as HTML."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("gateway.rest").joinpath("reference.html").read_text(encoding="utf-8"))
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(
                {"method": method.upper(), "path": path, "operation": operation}
            )
    schemas = document["components"]["schemas"]
    text = template.render(
        info=document["info"],
        groups=groups,
        schemas=dict(sorted(schemas.items())),
        style=_STYLE,
        words=_words,
        reference=_reference,
    )
    return text.encode()


def _words(schema: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_words(one) for one in schema["anyOf"])
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(str(one) for one in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_words(schema.get('items', {}))}"
    bounds = [f"{label} {schema[key]:,}" for key, label in _BOUNDS if key in schema]
    form = [str(schema["format"])] if "format" in schema else []
    return ", ".join([kind, *form, *bounds])


_BOUNDS = (
    ("minimum", "from"),
    ("maximum", "to"),
    ("maxLength", "characters at most"),
    ("maxItems", "items at most"),
)


def _reference(content: dict[str, Any]) -> str:
    """The name of the schema of a body or an answer."""
    for media_type, described in content.items():
        schema = described["schema"]
        return _words(schema) if "$ref" in schema else str(media_type)
    return ""
