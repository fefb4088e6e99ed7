"""The schema registry, by Confluent's REST API: it gives schemas ids, by which Kafka tools find them."""
