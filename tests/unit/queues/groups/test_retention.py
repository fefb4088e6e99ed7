"""For how long deleting goes on."""

from itertools import count

from forebay.queues.groups.retention import has_more


def test_each_step_is_taken_until_it_finds_nothing() -> None:
    left = [3, 0, 2]

    def step(number: int) -> bool:
        left[number] -= 1
        return left[number] >= 0

    assert not has_more([lambda: step(0), lambda: step(1), lambda: step(2)], clock=lambda: 0.0)
    assert left == [-1, -1, -1]


def test_it_ends_after_a_second_whatever_is_left() -> None:
    times, taken = count(), list[int]()

    def step(number: int) -> bool:
        taken.append(number)
        return True

    assert has_more([lambda: step(1), lambda: step(2)], clock=lambda: next(times) * 0.3)
    assert taken == [1] * 4
