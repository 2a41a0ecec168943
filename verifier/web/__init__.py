"""The verify page: shows a bundle's verification in a browser, to readers who install nothing."""

from verifier.web.server import run
from verifier.web.settings import WebSettings

__all__ = ["WebSettings", "run"]
