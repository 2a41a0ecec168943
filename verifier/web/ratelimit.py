"""One token bucket per client address, in bounded memory."""

import ipaddress
import threading
from collections import OrderedDict
from dataclasses import dataclass

# 10,000 buckets are about 2 MB. Past that the longest-unseen address is forgotten, whose bucket is the fullest.
MAX_ADDRESSES = 10_000
# One subscriber usually holds a whole IPv6 /64 and could otherwise come from 2**64 addresses.
IPV6_PREFIX_BITS = 64


@dataclass(slots=True)
class _Bucket:
    tokens: float
    updated: float


class RateLimiter:
    """Lets each client address spend `burst` tokens at once and earn `per_minute` tokens a minute. Thread-safe."""

    def __init__(self, *, per_minute: int, burst: int, max_addresses: int = MAX_ADDRESSES) -> None:
        self._per_second = per_minute / 60
        self._burst = burst
        self._max_addresses = max_addresses
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def seconds_to_wait(self, address: str, *, cost: int, now: float) -> float:
        """Spend `cost` tokens of `address` and return 0, or return how many seconds until they are there.

        `now` is a monotonic time in seconds. A cost above the burst counts as the burst, so it is never impossible.
        """
        price = min(cost, self._burst)
        with self._lock:
            bucket = self._bucket(_client(address), now)
            bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.updated) * self._per_second)
            bucket.updated = now
            if bucket.tokens < price:
                return (price - bucket.tokens) / self._per_second
            bucket.tokens -= price
            return 0.0

    def _bucket(self, client: str, now: float) -> _Bucket:
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(tokens=self._burst, updated=now)
            if len(self._buckets) > self._max_addresses:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(client)
        return bucket


def _client(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), IPV6_PREFIX_BITS), strict=False))
    return str(parsed)
