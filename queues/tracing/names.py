"""What spans and their attributes are called.

Source: OpenTelemetry's semantic conventions 1.44, "Messaging spans", "Kafka" and "HTTP spans".
"""

SYSTEM = "messaging.system"
OPERATION = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
GROUP = "messaging.consumer.group.name"
MESSAGE_ID = "messaging.message.id"
BATCH = "messaging.batch.message_count"
KAFKA_OFFSET = "messaging.kafka.offset"
ERROR_TYPE = "error.type"

METHOD = "http.request.method"
ROUTE = "http.route"
STATUS = "http.response.status_code"

# What the conventions have no name for.
PORTAL = "forebay.portal"
EVENT = "forebay.event"
HANDLER = "forebay.handler"
ATTEMPT = "forebay.attempt"
OUTCOME = "forebay.outcome"
REPLAYED = "forebay.replayed"
OFFSET = "forebay.offset"
DELAY = "forebay.delay_s"

#: Scheme of queue_url → what the conventions call the system. Those they don't know go by their scheme.
SYSTEMS = {"amqp": "rabbitmq"}
