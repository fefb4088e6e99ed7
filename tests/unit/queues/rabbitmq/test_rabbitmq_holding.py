"""What may be acknowledged to an intake, and when."""

from forebay.queues.rabbitmq.holding import Holding


def test_nothing_is_ripe_before_it_was_confirmed_and_held() -> None:
    holding = Holding(60.0)
    holding.skipped(1)
    for delivery in (2, 3, 4):
        holding.forwarded(delivery, publication=delivery + 10)
    holding.confirmed(12, is_multiple=False)

    assert holding.ripe(0.0) == 0
    holding.confirmed(14, is_multiple=False)
    assert [holding.ripe(now) for now in (30.0, 59.9, 60.0, 200.0)] == [0, 0, 2, 0]


def test_all_up_to_one_that_is_under_way_ripens() -> None:
    holding = Holding(10.0)
    for delivery in range(1, 8):
        holding.forwarded(delivery, publication=delivery)
        holding.ripe(float(delivery))
    holding.confirmed(5, is_multiple=True)
    holding.ripe(8.0)
    holding.confirmed(7, is_multiple=True)
    holding.ripe(9.0)

    assert len(holding) == 0
    assert [holding.ripe(now) for now in (17.9, 18.0, 19.0)] == [0, 5, 7]
