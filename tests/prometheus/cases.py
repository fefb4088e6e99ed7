"""For each alert a world in which it must come, and others in which it must not."""

from .rules import Case

INGEST = 'namespace="events",job="ingest"'
WORKERS = 'namespace="events",job="crm"'
OF_INGEST = {"namespace": "events", "job": "ingest"}
OF_WORKERS = {"namespace": "events", "job": "crm"}


def requests(outcome: str, pod: str = "i-0") -> str:
    return f'forebay_ingest_requests_total{{{INGEST},pod="{pod}",endpoint="/bitrix24",outcome="{outcome}"}}'


def unmarked() -> str:
    return f'forebay_ingest_gaps_unmarked_total{{{INGEST},pod="i-0"}}'


def lost() -> str:
    return f'forebay_ingest_lost_timestamp_seconds{{{INGEST},pod="i-0"}}'


def answers(le: str) -> str:
    return f'forebay_ingest_answer_seconds_bucket{{{INGEST},pod="i-0",le="{le}"}}'


def spool(what: str) -> str:
    return f'forebay_spool_{what}{{{INGEST},pod="i-0"}}'


def of_pod(pod: str, address: str) -> str:
    return f'forebay_spool_records{{{INGEST},pod="{pod}",instance="{address}:9090"}}'


def of_host(instance: str) -> str:
    return f'forebay_spool_records{{{INGEST},instance="{instance}"}}'


def worker(metric: str, more: str = "", pod: str = "w-0") -> str:
    return f'forebay_{metric}{{{WORKERS},pod="{pod}"{more}}}'


def dead(reason: str) -> str:
    return worker("dead_total", f',reason="{reason}"')


def dead_at(reason: str) -> str:
    return worker("dead_timestamp_seconds", f',reason="{reason}"')


def canary(pod: str) -> str:
    return f'forebay_canary_last_success_timestamp_seconds{{namespace="events",job="canary",pod="{pod}"}}'


def queue_findings(state: str) -> str:
    return f'forebay_canary_queue_findings{{namespace="events",job="canary",pod="c-0",state="{state}"}}'


def certificate(whose: str) -> str:
    return worker("certificate_expiry_timestamp_seconds", f',certificate="{whose}"')


def given(values: str, pod: str = "w-0") -> dict[str, str]:
    """When each of four partitions was given to the worker, again and again."""
    return {worker("assigned_timestamp_seconds", f',partition="{number}"', pod): values for number in range(4)}


#: What it says where nothing comes any more.
_NONE_COME = (
    "In the last hour came 0% of the events that came in the same hour a week ago. Bitrix24 may not reach the "
    "ingest, and does not send an event again."
)

#: Of ten minutes each.
_WEEK = 7 * 24 * 6

BUSY = {requests("accepted"): "0+6000x400"}

CASES = (
    Case(
        alert="ForebayEventsLost",
        world={requests("refused_full"): "0 0 0 3 3 3 3 3"},
        at="5m",
        says="Some 3 calls of portals were kept neither in the queue nor in the spool within 15 minutes. Bitrix24 does "
        "not send them again.",
        labels=OF_INGEST,
        quiet=(
            {requests("refused_full"): "7x10", requests("accepted"): "0+100x10"},
            {requests("refused_auth"): "0+100x10", requests("spooled"): "0+100x10"},
        ),
    ),
    Case(
        alert="ForebayEventsLost",
        world={unmarked(): "0 0 0 3 3 3 3 3"},
        at="5m",
        says="Some 3 calls of portals were kept neither in the queue nor in the spool within 15 minutes. Bitrix24 does "
        "not send them again.",
        labels=OF_INGEST,
        quiet=({unmarked(): "7x10"},),
    ),
    Case(
        # Of an ingest that had refused calls before anybody looked, and came to the same count after a restart.
        alert="ForebayEventsLost",
        world={requests("refused_full"): "_ 3 _ 3x30", lost(): "_ 50 _ 150x30"},
        at="15m",
        says="Some 3 calls of portals were kept neither in the queue nor in the spool within 15 minutes. Bitrix24 does "
        "not send them again.",
        labels=OF_INGEST,
        quiet=(
            {requests("refused_full"): "_ 3x30", lost(): "_ -50x30"},
            {requests("refused_full"): "_ 3x30", lost(): "_ -50x30", requests("accepted", pod="i-1"): "0+9x30"},
        ),
    ),
    Case(
        alert="ForebayAnswersBudgetBurnsFast",
        world=BUSY | {requests("refused_full"): "0x60 0+120x60"},
        at="110m",
        not_yet="106m",
        says="1.961% of the calls of the last five minutes were refused with 503, and so many in the last hour that at "
        "this pace two days use up what a month allows.",
        labels=OF_INGEST,
        quiet=(
            # A minute of it does not use up two percent of the month; nor does what is over.
            BUSY | {requests("refused_full"): "0x98 0+120x60"},
            BUSY | {requests("refused_full"): "0+600x80 48000+10x60"},
            BUSY | {requests("refused_full"): "0+30x120"},
        ),
    ),
    Case(
        alert="ForebayAnswersBudgetBurnsSlowly",
        world=BUSY | {requests("refused_full"): "0+45x400"},
        at="390m",
        not_yet="15m",
        says="0.7444% of the calls of the last half hour were refused with 503, and so many in the last six hours that "
        "at this pace five days use up what a month allows.",
        labels=OF_INGEST,
        quiet=(
            BUSY | {requests("refused_full"): "0+30x400"},
            BUSY | {requests("refused_full"): "0x340 0+45x60"},
            BUSY | {requests("refused_full"): "0+200x300 60000+3x100"},
        ),
    ),
    Case(
        alert="ForebayAnswersSlow",
        world={answers("1.0"): "0+900x60", answers("2.5"): "0+1000x60", answers("+Inf"): "0+1000x60"},
        at="30m",
        not_yet="10m",
        says="One call in a hundred waits for more than 2.35s. Bitrix24 lowers the priority of portals whose handlers "
        "answer slowly.",
        labels=OF_INGEST,
        quiet=({answers("1.0"): "0+995x60", answers("2.5"): "0+1000x60", answers("+Inf"): "0+1000x60"},),
    ),
    Case(
        alert="ForebayCallsRefused",
        world={requests("accepted"): "0+90x120", requests("refused_auth"): "0x20 10+10x100"},
        at="120m",
        not_yet="40m",
        says="10% of the calls of the last hour were refused with 403. If they are of portals of yours, as with "
        "another token than the one that is listed, their events are lost.",
        labels=OF_INGEST,
        quiet=(
            # A stranger's now and then.
            {requests("accepted"): "0+90x120", requests("refused_auth"): "0x20 1+1x100"},
            # Half of what came, which is next to nothing.
            {requests("accepted"): "0x90 1x30", requests("refused_auth"): "0x100 1x20"},
        ),
    ),
    Case(
        alert="ForebayEventsStayAway",
        every="10m",
        world={requests("accepted"): f"0+1000x{_WEEK} {1000 * _WEEK}x12"},
        at=f"{10 * _WEEK + 100}m",
        not_yet=f"{10 * _WEEK + 70}m",
        says=_NONE_COME,
        labels=OF_INGEST,
        quiet=(
            # A third of them: a holiday.
            {requests("accepted"): f"0+1000x{_WEEK} {1000 * _WEEK}+300x12"},
            # Hours that are as quiet each week.
            {requests("accepted"): f"0+10x{_WEEK} {10 * _WEEK}x12"},
            # It is new: nobody knows what is usual.
            {requests("accepted"): f"_x{_WEEK} 0x12"},
        ),
    ),
    Case(
        alert="ForebayEventsStayAway",
        every="10m",
        # No ingest is there any more, and so nothing that counts.
        world={requests("accepted"): f"0+1000x{_WEEK} stale"},
        at=f"{10 * _WEEK + 100}m",
        not_yet=f"{10 * _WEEK + 70}m",
        says=_NONE_COME,
        labels=OF_INGEST,
        quiet=(
            # One of two has gone, and the other has its calls.
            {
                requests("accepted"): f"0+500x{_WEEK} stale",
                requests("accepted", "i-1"): f"0+500x{_WEEK} {500 * _WEEK}+1000x12",
            },
            # Nobody called it in that hour.
            {requests("accepted"): f"0+10x{_WEEK} stale"},
        ),
    ),
    Case(
        alert="ForebaySpoolGrowing",
        world={spool("records"): "0+600x60", spool("oldest_seconds"): "0+60x60"},
        at="20m",
        not_yet="10m",
        says="The oldest event in the spool of i-0 has waited for 20m 0s, and the spool gets no emptier: the queue "
        "takes nothing, or fewer than come.",
        labels={**OF_INGEST, "pod": "i-0"},
        quiet=(
            # It drains, however old its oldest event is; or the queue is slow, and nothing stays for long.
            {spool("records"): "9000-30x60", spool("oldest_seconds"): "4000x60"},
            {spool("records"): "0+600x60", spool("oldest_seconds"): "20x60"},
            {spool("records"): "0x60", spool("oldest_seconds"): "0x60"},
        ),
    ),
    Case(
        alert="ForebaySpoolGrowing",
        world={spool("records"): "3x60", spool("oldest_seconds"): "0+60x60"},
        at="20m",
        not_yet="10m",
        says="The oldest event in the spool of i-0 has waited for 20m 0s, and the spool gets no emptier: the queue "
        "takes nothing, or fewer than come.",
        labels={**OF_INGEST, "pod": "i-0"},
        quiet=({spool("records"): "3x60", spool("oldest_seconds"): "20x60"},),
    ),
    Case(
        alert="ForebaySpoolNearlyFull",
        world={spool("bytes"): "900x5", spool("max_bytes"): "1000x5"},
        at="2m",
        says="The spool of i-0 has 90% of what it may hold. When it is full, and the queue still takes nothing, calls "
        "are refused and their events are lost.",
        labels={**OF_INGEST, "pod": "i-0"},
        quiet=({spool("bytes"): "790x5", spool("max_bytes"): "1000x5"},),
    ),
    Case(
        alert="ForebaySpoolUnavailable",
        world={spool("unavailable"): "0x5 1x10"},
        at="9m",
        not_yet="7m",
        says="The spool of i-0 takes nothing: its disk is full, broken or read-only, or the spool is full. As soon as "
        "the queue takes nothing either, calls are refused and their events are lost.",
        labels={**OF_INGEST, "pod": "i-0"},
        quiet=({spool("unavailable"): "0x5 1x1 0x10"},),
    ),
    Case(
        alert="ForebaySpoolLeft",
        world={of_pod("i-1", "10.0.0.2"): "500x10 stale", of_pod("i-0", "10.0.0.1"): "0x60"},
        at="40m",
        not_yet="25m",
        says="The spool of i-1 had 500 events when it was last seen, and no ingest has been there since: nobody sends "
        "them to the queue.",
        labels={**OF_INGEST, "pod": "i-1"},
        quiet=(
            # It has come back elsewhere; it went later, when they were sent; it never had any.
            {of_pod("i-1", "10.0.0.2"): "500x10 stale", of_pod("i-1", "10.0.0.3"): "_x13 500x60"},
            {of_pod("i-1", "10.0.0.2"): "500x5 stale", of_pod("i-1", "10.0.0.3"): "_x8 300 0x10 stale"},
            {of_pod("i-1", "10.0.0.2"): "0x10 stale"},
        ),
    ),
    Case(
        alert="ForebaySpoolLeft",
        world={of_host("a:9090"): "7x10 stale", of_host("b:9090"): "0x60"},
        at="40m",
        not_yet="25m",
        says="The spool of a:9090 had 7 events when it was last seen, and no ingest has been there since: nobody sends "
        "them to the queue.",
        labels={**OF_INGEST, "instance": "a:9090"},
        quiet=({of_host("a:9090"): "7x10 _x10 7x60"},),
    ),
    Case(
        alert="ForebayLagging",
        world={worker("actionable_lag_seconds"): "400x20", worker("actionable_lag_seconds", pod="w-1"): "3x20"},
        at="10m",
        not_yet="4m",
        says="The oldest event of a portal that is well has waited for 6m 40s.",
        labels=OF_WORKERS,
        quiet=(
            {worker("actionable_lag_seconds"): "0 0 0 0 0 0 0 900 900 900 900"},
            {worker("actionable_lag_seconds"): "290x20"},
        ),
    ),
    Case(
        alert="ForebayLagNotDraining",
        world={worker("actionable_lag_seconds"): "0+60x60"},
        at="40m",
        not_yet="29m",
        says="The oldest event of a portal that is well has waited for 40m 0s, and for half an hour that has not "
        "become less.",
        labels=OF_WORKERS,
        quiet=(
            # Behind, and catching up; and as far behind as ever, which is not far.
            {worker("actionable_lag_seconds"): "4000-20x60"},
            {worker("actionable_lag_seconds"): "100x60"},
        ),
    ),
    Case(
        alert="ForebayWorkersGone",
        world=given("60x30 stale") | given("60x10 0x20 stale", pod="w-1"),
        at="40m",
        not_yet="34m",
        says="No worker of this job has a partition any more: what comes waits in the queue, and nobody handles it.",
        labels=OF_WORKERS,
        quiet=(
            # One of two; an update during which nobody was there for a while; and where nobody ever was.
            given("60x30 stale") | given("0x30 1860x30", pod="w-1"),
            given("60x30 stale") | given("_x33 1980x30", pod="w-1"),
            {requests("accepted"): "0+100x60"},
        ),
    ),
    Case(
        # Alive, and without a partition.
        alert="ForebayWorkersGone",
        world=given("60x30 0x30"),
        at="40m",
        not_yet="34m",
        says="No worker of this job has a partition any more: what comes waits in the queue, and nobody handles it.",
        labels=OF_WORKERS,
        # It never had one.
        quiet=(given("0x60"),),
    ),
    Case(
        alert="ForebayDeadLetters",
        world={dead("failed"): "0x10 40x60", dead("rejected"): "0x10 5x60"},
        at="60m",
        says="40 events became dead letters within an hour: failed.",
        labels={**OF_WORKERS, "reason": "failed"},
        # The last: somebody has discarded a portal's.
        quiet=({dead("failed"): "500x70"}, {dead("failed"): "0x10 5x60"}, {dead("discarded"): "0x10 130x60"}),
    ),
    Case(
        # Of a worker that had given them up before anybody looked.
        alert="ForebayDeadLetters",
        world={dead("failed"): "_x70 40x60", dead_at("failed"): "_x70 4190x60"},
        at="80m",
        says="40 events became dead letters within an hour: failed.",
        labels={**OF_WORKERS, "reason": "failed"},
        quiet=(
            # One that was there for long before anybody looked; and one that was seen with them, and has one more.
            {dead("failed"): "_x70 40x60", dead_at("failed"): "_x70 60x60"},
            {dead("failed"): "40x70 41x60", dead_at("failed"): "0x70 4190x60"},
            {dead("discarded"): "_x70 40x60", dead_at("discarded"): "_x70 4190x60"},
        ),
    ),
    Case(
        alert="ForebayPortalStuck",
        world={worker("parked_oldest_seconds"): "25200x20"},
        at="10m",
        not_yet="4m",
        says="A portal waits for 7h 0m 0s: its first event fails again and again, or somebody holds it.",
        labels=OF_WORKERS,
        quiet=({worker("parked_oldest_seconds"): "18000x20"},),
    ),
    Case(
        alert="ForebayRebalanceStorm",
        world=given("60+60x60"),
        at="50m",
        not_yet="11m",
        says="Within half an hour each partition was given to a worker 30.0 times or more. Each time its handlers "
        "stop, and some events may come again.",
        labels=OF_WORKERS,
        quiet=(
            # A rolling update; partitions that go without coming; and two workers that both say that they have them.
            given("60x30 1800 1860x30") | given("60x30 0x40", pod="w-1"),
            given("60x5 0x60"),
            given("60x60") | given("120x60", pod="w-1"),
        ),
    ),
    Case(
        alert="ForebayPollAgeHigh",
        world={worker("poll_age_seconds"): "0+60x20", worker("poll_age_seconds", pod="w-1"): "1x20"},
        at="10m",
        not_yet="5m",
        says="w-0 has not asked the queue for records for 10m 0s.",
        labels={**OF_WORKERS, "pod": "w-0"},
        quiet=({worker("poll_age_seconds"): "200x20"},),
    ),
    Case(
        alert="ForebayOffsetReset",
        world={worker("offset_reset_timestamp_seconds"): "0 0 120x60"},
        at="10m",
        says="A group had no place in a partition with events 8m 0s ago, and began with its first: what it had handled "
        "before is handled again.",
        labels=OF_WORKERS,
        quiet=({worker("offset_reset_timestamp_seconds"): "-9000x20"},),
    ),
    Case(
        # Of a worker that was started again, also under another name.
        alert="ForebayOffsetReset",
        world={
            worker("offset_reset_timestamp_seconds"): "0 120x2 0x3 stale",
            worker("offset_reset_timestamp_seconds", pod="w-1"): "_x5 0x60",
        },
        at="10m",
        says="A group had no place in a partition with events 8m 0s ago, and began with its first: what it had handled "
        "before is handled again.",
        labels=OF_WORKERS,
        quiet=({worker("offset_reset_timestamp_seconds"): "-9000x5 stale"},),
    ),
    Case(
        alert="ForebayRetentionRisk",
        world={worker("lag_seconds", ',partition="3"'): "345600x20", worker("lag_seconds", ',partition="4"'): "0x20"},
        at="10m",
        not_yet="4m",
        says="The oldest event that is not finished is 4d 0h 0m 0s old: more than half of the time for which the queue "
        "keeps it.",
        labels=OF_WORKERS,
        quiet=({worker("lag_seconds", ',partition="3"'): "259200x20"},),
    ),
    Case(
        alert="ForebayCanaryMissing",
        world={canary("c-0"): "0+60x5 300x5 stale", canary("c-1"): "_x11 0x30"},
        at="20m",
        not_yet="12m",
        says="For 15m 0s no event of the canary has gone the whole way from the call to the commit.",
        labels={"namespace": "events", "job": "canary"},
        quiet=(
            {canary("c-0"): "0+60x18 1080x10"},
            # It was started anew a minute ago, and those before it had come through.
            {canary("c-0"): "0+60x18 stale", canary("c-1"): "_x19 0x5"},
        ),
    ),
    Case(
        alert="ForebayQueueAtRisk",
        world={queue_findings("fail"): "0x10 2x20"},
        at="27m",
        not_yet="24m",
        says="The canary has found 2 things in the queue that must be mended, twice in a row: settings by which it may "
        "lose events, or rights that are missing. `forebay doctor` says what.",
        labels={"namespace": "events", "job": "canary", "pod": "c-0", "state": "fail"},
        quiet=({queue_findings("warn"): "3x60"}, {queue_findings("fail"): "0x5 2x10 0x20"}),
    ),
    Case(
        alert="ForebayCertificateExpiring",
        world={certificate("client"): "864000x20", certificate("authority"): "8640000x20"},
        at="10m",
        not_yet="4m",
        says="The certificate called client ends in 9d 23h 50m 0s.",
        labels={**OF_WORKERS, "certificate": "client"},
        quiet=({certificate("client"): "2592000x20"},),
    ),
)
