"""What a client of librdkafka tells about itself every so often, and nobody can ask it."""

import re

from confluent_kafka import KafkaError

#: Before it is `Assigned`, no record of an idempotent producer is sent.
_STATE = re.compile(r'"idemp_state": ?"(\w+)"')
WARM = "Assigned"

#: A broker that it has from the cluster or from `bootstrap.servers`. A group's coordinator stands there once more.
_BROKER = re.compile(r'"source": ?"(?!logical|internal)')

#: A group's coordinator, as a member's client has it, and how far the member is with its joining.
_GROUP = re.compile(r'"cgrp": ?\{ ?"state": ?"([\w-]+)", ?"stateage": ?\d+, ?"join_state": ?"([\w-]+)"')
_REACHED, _JOINED = "up", "steady"

#: A client that begins anew at its bootstrap servers has no broker for a moment.
_IN_A_ROW = 2


class Statistics:
    """Those of one client.

    A cluster whose only brokers are fenced, as after a hang, says for a moment that it has none. A client that asks
    just then lets go of all that it knows, and now and then it forgets to begin anew: it never asks anybody again,
    whatever waits for it (librdkafka's issue 5301, open). Only another client finds the cluster then.
    """

    def __init__(self) -> None:
        #: Of an idempotent producer.
        self.state = "Init"
        #: Of a group's member: whether it reaches the coordinator, and whether it has surely joined.
        self.has_coordinator = self.has_joined = False
        self._without_brokers = 0

    def read(self, statistics: str) -> None:
        """For the client's `stats_cb`."""
        found = _STATE.search(statistics)
        self.state = found[1] if found else self.state
        group = _GROUP.search(statistics)
        self.has_coordinator = group is not None and group[1] == _REACHED
        self.has_joined = self.has_coordinator and group is not None and group[2] == _JOINED
        self._without_brokers = 0 if _BROKER.search(statistics) else self._without_brokers + 1

    @property
    def stranding(self) -> KafkaError | None:
        """Why the client can't go on; None while it can."""
        if self._without_brokers < _IN_A_ROW:
            return None
        return KafkaError(KafkaError._ALL_BROKERS_DOWN, "the client has forgotten every broker")
