"""The Kafka in a container is set as the one that runs from jars."""

from tests.kafka.container import properties


def test_a_container_has_the_settings_of_the_cluster_that_fit_it() -> None:
    found = properties("docker.example:40001")

    assert found["group.min.session.timeout.ms"] == "1000"
    assert found["controller.quorum.voters"] == "1@localhost:9093"
    assert found["advertised.listeners"] == "PLAINTEXT://docker.example:40001"
    assert found["listeners"] == "PLAINTEXT://0.0.0.0:40001,CONTROLLER://localhost:9093"
    assert not [name for name in found if "sasl" in name or "authorizer" in name]
    assert not [name for name, value in found.items() if "$" in value]
