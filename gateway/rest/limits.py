"""What keeps hostile requests small: bodies, nesting, names, and how often somebody asks."""

import json
import math
import re
from typing import Any, NoReturn

from gateway.auth.values import GatewayCaller
from gateway.problems import Code, Problem
from gateway.ratelimit import RateLimiter, Spent
from gateway.shared import Table

# An event's payload may have 32 levels; what is around it has three.
MAX_DEPTH = 40

# From here on not every whole number is a double.
MAX_WHOLE = 2**53

# A text that does not end reaches to the end of the body, and nothing is tried twice: otherwise a body of quotes and
# backslashes would keep every thread waiting for hours.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def read_json(body: bytes, max_bytes: int) -> Any:
    """The value that a body holds. Raises Problem (TOO_LARGE, INVALID_REQUEST).

    What different parsers would read differently is refused: names that come twice, numbers that are none or that
    Python cannot hold, text that is not UTF-8.
    """
    if len(body) > max_bytes:
        raise Problem(Code.TOO_LARGE, f"The body has more than {max_bytes:,} bytes.")
    if _too_deep(body):
        raise _unreadable(f"It is nested deeper than {MAX_DEPTH} levels.")
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise _unreadable("It is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise _unreadable(f"See line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise _unreadable("It is nested too deeply.") from None
    except ValueError as error:
        raise _unreadable(str(error)) from None


class CallerLimits:
    """How often each caller may ask: so much in the long run, and so much at once."""

    def __init__(self, *, per_second: float, burst: int, table: Table) -> None:
        self._limiter = RateLimiter(per_second=per_second, burst=burst, table=table)
        self._policy = f'"caller";q={burst};w={max(1, math.ceil(burst / per_second))}'

    def spend(self, caller: GatewayCaller) -> dict[str, str]:
        """The headers that tell a caller where it stands (draft-ietf-httpapi-ratelimit-headers).

        Raises Problem (RATE_LIMITED) with the same headers when it has asked too often.
        """
        spent = self._limiter.spend(f"{caller.organisation_id}\0{caller.subject}")
        headers = self._headers(spent)
        if spent.wait_seconds > 0:
            headers["Retry-After"] = str(max(1, math.ceil(spent.wait_seconds)))
            raise Problem(Code.RATE_LIMITED, "Too many requests. Wait a moment.", headers=headers)
        return headers

    def _headers(self, spent: Spent) -> dict[str, str]:
        return {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"caller";r={int(spent.left)};t={math.ceil(spent.full_in_seconds)}',
        }


def _too_deep(body: bytes) -> bool:
    """Before any parser sees it. Most bodies have fewer brackets than levels are allowed."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    depth = 0
    for byte in _STRINGS.sub(b"", body):
        if byte in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif byte in b"}]":
            depth -= 1
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("A name comes twice in one object.")
    return members


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON.")


def _number(text: str) -> float:
    """A number with a point or an exponent. 2.0 is the whole number 2, in JSON Schema and in RFC 8785 alike."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("A number is too large.")
    return int(number) if number.is_integer() and abs(number) < MAX_WHOLE else number


def _unreadable(why: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, f"The body is not JSON that can be accepted. {why}")


# Made once: `json.loads` would make one for each body.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_number)
