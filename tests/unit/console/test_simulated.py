from collections import Counter
from random import Random
from urllib.parse import parse_qsl

from forebay.console.traffic.simulated import SEQUENCE_PATH, Bodies
from forebay.schemas.tree import Node, nest


def bodies(seed: int, portals: int = 3) -> Bodies:
    return Bodies(portals, "the-token", Random(seed))


def tree(pairs: list[tuple[str, str]]) -> dict[str, Node]:
    paths, values = zip(*pairs, strict=True)
    return nest(paths, values)


def test_a_body_says_what_a_portal_says() -> None:
    made = bodies(1)
    portal = made.portals[0]

    pairs = parse_qsl(made.body(portal, 7, 1_772_366_400.5).decode(), keep_blank_values=True, strict_parsing=True)

    assert dict(pairs)["ts"] == "1772366400"
    assert dict(pairs)[SEQUENCE_PATH] == "7"
    auth = tree(pairs)["auth"]
    assert isinstance(auth, dict)
    assert auth["domain"] == portal.domain
    assert auth["member_id"] == portal.member_id
    assert auth["application_token"] == "the-token"
    assert auth["access_token"]


def test_events_are_of_many_kinds_with_their_shapes() -> None:
    made = bodies(1)
    bodies_sent = (made.body(made.portals[0], number, 0).decode() for number in range(2000))
    trees = [tree(parse_qsl(body, True)) for body in bodies_sent]

    names = Counter(tree["event"] for tree in trees)

    assert len(names) == 11
    assert names["ONCRMDEALUPDATE"] > names["ONUSERADD"] > 0
    texts = str([tree["data"] for tree in trees if tree["event"] == "ONIMBOTMESSAGEADD"])
    assert "Счёт № 1024" in texts
    assert "{" not in texts.replace("{'", "").replace('{"', "")


def test_the_same_seed_gives_the_same_bodies() -> None:
    one, same, other = bodies(1), bodies(1), bodies(2)

    assert one.portals == same.portals
    assert one.portals != other.portals
    assert [one.body(one.portals[0], n, 0) for n in range(50)] == [same.body(same.portals[0], n, 0) for n in range(50)]


def test_every_third_portal_is_a_webhook_without_oauth_tokens() -> None:
    portals = bodies(1, portals=6).portals

    assert ["access_token" in portal.auth for portal in portals] == [True, True, False, True, True, False]
