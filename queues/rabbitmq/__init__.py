"""RabbitMQ: a stream of its own for each partition, and for what each group agrees on."""
