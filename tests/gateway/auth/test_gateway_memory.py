"""What the gateway remembers for a moment: never too long, never too much, never what was changed meanwhile."""

from gateway.auth.memory import Memory
from gateway.shared import Counter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_looked_up_anew_when_it_is_too_old() -> None:
    clock, found = Clock(), iter(range(10))
    memory: Memory[str, int] = Memory(seconds=5, size=10, clock=clock)
    assert [memory.get("a", lambda: next(found)), memory.get("a", lambda: next(found))] == [0, 0]
    clock.now = 5
    assert memory.get("a", lambda: next(found)) == 1


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    memory: Memory[int, int] = Memory(seconds=5, size=3, clock=Clock())
    for number in range(100):
        memory.get(number, lambda: 1)
    assert len(memory._values) == 3


def test_what_was_looked_up_while_everything_was_forgotten_is_not_remembered() -> None:
    changes = Counter()
    memory: Memory[str, str] = Memory(seconds=5, size=3, changes=changes, clock=Clock())

    def find_slowly() -> str:
        changes.add()
        return "as it was before the change"

    assert memory.get("a", find_slowly) == "as it was before the change"
    assert memory.get("a", lambda: "as it is") == "as it is"


def test_a_failure_is_not_remembered() -> None:
    memory: Memory[str, str] = Memory(seconds=5, size=3, clock=Clock())

    def fail() -> str:
        raise OSError

    for _ in range(2):
        try:
            memory.get("a", fail)
        except OSError:
            continue
        raise AssertionError
    assert memory.get("a", lambda: "found") == "found"
