"""Names that the two sides of the queue share: streams, headers, and the prefix of the metrics."""

METRICS_PREFIX = "forebay"

#: The metric that every process has whose settings name certificates: its name, and what it says.
CERTIFICATE_EXPIRY = (
    f"{METRICS_PREFIX}_certificate_expiry_timestamp_seconds",
    "When a certificate ends that is needed for the queue, or that callers see",
)

#: The name of the event by which a portal's handlers learn that events of it may be missing.
GAP = "ONFOREBAYGAP"

#: The name of the event by which a portal's handlers learn that it has another domain.
RENAMED = "ONPORTALRENAMED"

#: An event's `source` where no portal sent it: a portal may send an event of any name.
BY_FOREBAY = "forebay"

#: The name and the portal of the events that `forebay canary` sends. Nobody's domain ends like this (RFC 2606).
CANARY = "ONFOREBAYCANARY"
CANARY_DOMAIN = "canary.forebay.invalid"
CANARY_MEMBER = "forebay-canary"

#: Its keys. Whatever comes under them is finished without a handler, were it one for `*`.
CANARY_KEYS = frozenset((CANARY_DOMAIN, CANARY_MEMBER))


def parked(topic: str) -> str:
    """The stream where the records of parked portals wait."""
    return f"{topic}.parked"


def dead(topic: str) -> str:
    """The stream of records that were given up, with the whole reason."""
    return f"{topic}.dead"


def audit(topic: str) -> str:
    """The stream of what operators did with parked portals, dead letters and quarantined calls; workers follow it."""
    return f"{topic}.audit"


def quarantine(topic: str) -> str:
    """The stream of calls that are authentic but could not be read as an event."""
    return f"{topic}.quarantine"


def portals(topic: str) -> str:
    """Where the facts about portals stand: the last one of each key stays for ever, in one partition."""
    return f"{topic}.portals"


def streams(topic: str) -> tuple[str, ...]:
    """Every stream of records that Forebay makes for a topic; all have the same number of partitions."""
    return (topic, parked(topic), dead(topic), quarantine(topic), audit(topic))


def name_of(ce_type: str) -> str:
    """The event's name in a `ce_type`; empty where there is none."""
    return ce_type.removeprefix(CE_TYPE_PREFIX).partition(".")[2]


def value_subject(topic: str) -> str:
    """Under which subject a schema registry has the schema of a topic's values: Kafka tools look there by default."""
    return f"{topic}-value"


# Headers of a record (INTERFACE: CloudEvents 1.0, Kafka binding, binary mode; and ours).
CONTENT_TYPE = "content-type"
CE_SPECVERSION = "ce_specversion"
CE_ID = "ce_id"
CE_SOURCE = "ce_source"
CE_TYPE = "ce_type"
#: What that starts with; the kind follows, and behind a dot the name.
CE_TYPE_PREFIX = "com.bitrix24."
CE_TIME = "ce_time"
CE_SUBJECT = "ce_subject"
MEMBER_ID = "forebay_member_id"
ENDPOINT = "forebay_endpoint"
#: The keyed hash of the token that the call came with: where the portal is not verified, and in quarantine.
PIN = "forebay_pin"
TRACEPARENT = "traceparent"

# Headers of what stands in the parked stream: whose it is (a group, and which of its owners in turn), and what it is.
PARKED_GROUP = "forebay_parked_group"
PARKED_GENERATION = "forebay_parked_generation"
PARKED_KIND = "forebay_parked_kind"
#: Of a spilled record: where it stood in the topic, the portal's spilled record before it, its own time, how many are
#: finished with it, and how often what the topic has had come again before.
PARKED_OFFSET = "forebay_parked_offset"
PARKED_AFTER = "forebay_parked_after"
PARKED_TIMESTAMP = "forebay_parked_timestamp"
PARKED_FOLDED = "forebay_parked_folded"
PARKED_LAP = "forebay_parked_lap"

# Headers that a dead letter has beside those of the record it was.
DEAD_TOPIC = "forebay_dead_topic"
DEAD_PARTITION = "forebay_dead_partition"
DEAD_OFFSET = "forebay_dead_offset"
DEAD_GROUP = "forebay_dead_group"
DEAD_HANDLER = "forebay_dead_handler"
DEAD_ATTEMPTS = "forebay_dead_attempts"
DEAD_ERROR = "forebay_dead_error"
DEAD_ERROR_CLASS = "forebay_dead_error_class"
DEAD_TRACEBACK = "forebay_dead_traceback"
DEAD_AT = "forebay_dead_at"

# Headers of a quarantined call; its value is the body as it came.
QUARANTINE_ID = "forebay_quarantine_id"
QUARANTINE_REASON = "forebay_quarantine_reason"
QUARANTINE_DETAIL = "forebay_quarantine_detail"
QUARANTINE_PATH = "forebay_quarantine_path"
QUARANTINE_QUERY = "forebay_quarantine_query"
QUARANTINE_AT = "forebay_quarantine_at"
#: Only where it is known: an event's code, as `event.name` has it.
QUARANTINE_NAME = "forebay_quarantine_name"
#: Only where the body is sealed: with which key, and the nonce; the associated data is the quarantine id.
QUARANTINE_KEY_ID = "forebay_quarantine_key_id"
QUARANTINE_NONCE = "forebay_quarantine_nonce"
