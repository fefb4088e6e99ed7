"""What to do about an error of librdkafka."""

from confluent_kafka import KafkaError

_NO_CONNECTION = (
    "check that Kafka runs, the addresses in queue_url, and that security.protocol in the setting kafka fits the port"
)

_OUR_CERTIFICATE = (
    "the brokers want a certificate that they know: set ssl.certificate.location and ssl.key.location in the setting "
    "kafka"
)

#: Also for a name that another kind of group has, the brokers say that there is none.
_OTHER_KIND = (
    "a group of another kind has this name (kafka-groups --list; share, Streams or Connect): set group to another one"
)

_CLASSIC_MEMBERS = (
    "its members use the classic protocol, and must all have stopped before the first one joins by KIP-848 (leave out "
    "group.protocol in the setting kafka, and who comes goes by theirs); or a group of another kind has this name "
    "(kafka-groups --list; share, Streams or Connect)"
)

_OTHER_PROTOCOL = (
    "other programs are members of it (kafka-consumer-groups --describe --members --state): end them, or set group to "
    "another one"
)

_FULL_GROUP = (
    "look who else is in it (kafka-consumer-groups --describe --members), or raise group.consumer.max.size of the "
    "brokers, group.max.size with the classic protocol"
)

_OUR_NAME = "another member runs under the same group_instance_id, or did a moment ago: give each its own"

_OTHER_TIME = (
    "look at the clocks, and set message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic as "
    "`forebay doctor` says"
)

_QUOTA = (
    "raise consumer_byte_rate (workers), producer_byte_rate (ingest) or request_percentage of our user or client.id "
    "(kafka-configs --describe --entity-type users, and --entity-type clients)"
)

#: Brokers since 2.8 let an idempotent producer begin that may write any topic.
_NOTHING_TO_WRITE = "our user may write no topic: give it Write (kafka-acls), as `forebay doctor` says"

_FEW_BROKERS = (
    "see that all brokers are there; or, where there are to be no more, make the topics yourself, with fewer copies "
    "(kafka-topics --create)"
)

#: Code → what to do about it. Where a code isn't listed, librdkafka's own text has to do.
_REMEDIES = {
    KafkaError._AUTHENTICATION: "check sasl.mechanism, sasl.username and sasl.password in the setting kafka",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check sasl.username and sasl.password in the setting kafka",
    KafkaError._SSL: "check ssl.ca.location, and the host names in queue_url, against the brokers' certificate",
    KafkaError._RESOLVE: "check the host names in queue_url, and those that the brokers advertise",
    KafkaError._TRANSPORT: _NO_CONNECTION,
    KafkaError._ALL_BROKERS_DOWN: _NO_CONNECTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give our user Read, Write and Describe on the topic (kafka-acls)",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give our user Read on the group (kafka-acls)",
    KafkaError.GROUP_ID_NOT_FOUND: _OTHER_KIND,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: _OTHER_PROTOCOL,
    KafkaError.GROUP_MAX_SIZE_REACHED: _FULL_GROUP,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: _NOTHING_TO_WRITE,
    KafkaError.MSG_SIZE_TOO_LARGE: "raise max.message.bytes of the topic, or lower max_body_bytes",
    KafkaError.INVALID_TIMESTAMP: _OTHER_TIME,
    # So librdkafka says it of each record, whatever the brokers had against it; ours have a key, and are whole.
    KafkaError.INVALID_RECORD: _OTHER_TIME,
    KafkaError.INVALID_REPLICATION_FACTOR: _FEW_BROKERS,
    KafkaError.NOT_ENOUGH_REPLICAS: "too few brokers have the partition (min.insync.replicas): look after the others",
    KafkaError.FENCED_INSTANCE_ID: _OUR_NAME,
    KafkaError.UNRELEASED_INSTANCE_ID: _OUR_NAME,
    KafkaError.UNSUPPORTED_ASSIGNOR: "leave group.remote.assignor out of the setting kafka, or name one they have",
    KafkaError.THROTTLING_QUOTA_EXCEEDED: _QUOTA,
    KafkaError.UNSUPPORTED_VERSION: "this broker is too old",
}

#: A connection that went during the login comes as one that failed by it.
_HUNG_UP = "handshake failed: Local: Broker transport failure"

#: What librdkafka says → what to do, where the code alone says too little.
_REMEDIES_BY_TEXT = (
    ("Unsupported SASL mechanism", "set sasl.mechanism in the setting kafka to one that the brokers support"),
    (
        "SASL OAUTHBEARER mechanism handshake failed: Broker: Request not valid in current SASL state",
        "the token has expired, and no other came in its place (look at sasl.oauthbearer.token.endpoint.url), or this "
        "port wants no login",
    ),
    (
        "not valid in current SASL state",
        "this port wants no login: set security.protocol in the setting kafka to PLAINTEXT or SSL, or use another port",
    ),
    (
        "Failed to acquire SASL OAUTHBEARER token",
        "check sasl.oauthbearer.token.endpoint.url, .client.id, .client.secret and .scope in the setting kafka",
    ),
    (_HUNG_UP, _NO_CONNECTION),
    ("invalid_token", "the brokers don't take the token, or it has expired; check audience, issuer, scope and clocks"),
    (
        "PLAINTEXT broker listener",
        "this port speaks no TLS: set security.protocol in the setting kafka to PLAINTEXT or SASL_PLAINTEXT, or use "
        "another port",
    ),
    (
        "wrong version number",
        "what answers there speaks no TLS: check the address and its port, and security.protocol in the setting kafka",
    ),
    (
        "Invalid response size",
        "what answers there is no Kafka: check the address and its port in queue_url, and advertised.listeners of the "
        "brokers",
    ),
    ("ConsumerGroupHeartbeat fatal error: Broker: The group id does not exist", _CLASSIC_MEMBERS),
    ("alert bad certificate", _OUR_CERTIFICATE),
    ("alert certificate required", _OUR_CERTIFICATE),
    (
        "alert certificate",
        "the brokers don't take our certificate (ssl.certificate.location): have one made by an authority they know",
    ),
    (
        "No provider for SASL mechanism",
        "set sasl.mechanism in the setting kafka: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    ),
)


def remedy(error: KafkaError) -> str:
    """What to do; empty where nobody knows."""
    return _remedy_by_text(error) or next((todo for code, todo in _REMEDIES.items() if says(error, code)), "")


def says(error: KafkaError, code: int) -> bool:
    """Whether it is this error. What is fatal comes under a code of its own, and names the reason in its text only."""
    return error.code() == code or (error.code() == KafkaError._FATAL and KafkaError(code).str() in error.str())


def is_definite(error: KafkaError) -> bool:
    """Whether it tells the reason, so that trying again is of no use until somebody has done something."""
    if _HUNG_UP in error.str():
        return False
    return error.code() == KafkaError._AUTHENTICATION or bool(_remedy_by_text(error))


def _remedy_by_text(error: KafkaError) -> str:
    return next((todo for text, todo in _REMEDIES_BY_TEXT if text in error.str()), "")
