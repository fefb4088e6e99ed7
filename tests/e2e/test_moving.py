"""From one queue to another as docs/moving.md tells it, while portals go on calling."""

import json
import re
import shlex
import urllib.request
from pathlib import Path

from tests.e2e.site import Site

PAGE = (Path(__file__).parents[2] / "docs" / "moving.md").read_text("utf-8")


def call(site: Site, number: int) -> int:
    body = f"event=ONCRMDEALADD&data[FIELDS][ID]={number}&auth[domain]=example.bitrix24.com".encode()
    with urllib.request.urlopen(site.url, body, timeout=30) as answer:  # noqa: S310 - our own
        return int(answer.status)


def test_calls_that_come_meanwhile_are_kept_and_stand_behind_what_was_moved(site: Site) -> None:
    [meanwhile] = re.findall(r"^ *forebay (--queue-url .+ ingest)$", PAGE, re.M)
    source, target = f"sqlite:///{site.folder}/data/queue.db", f"sqlite:///{site.folder}/new.db"
    site.start("before", "ingest")
    site.wait("the ingest", site.is_ready)
    answers = [call(site, number) for number in (1, 2)]
    site.stop("before")

    site.start("meanwhile", *shlex.split(meanwhile))
    site.wait("the ingest without a queue", site.is_ready)
    answers += [call(site, number) for number in (3, 4)]
    moved = site.run("move", source, target, "--yes")
    answers.append(call(site, 5))
    site.stop("meanwhile")
    site.settings["queue_url"] = target
    site.start("after", "ingest")
    site.wait("the ingest on the new queue", site.is_ready)
    answers.append(call(site, 6))

    tail = site.run("tail", "--from", "earliest", "--count", "6", "--json")
    assert answers == [200] * 6
    assert (moved.returncode, "2 records moved" in moved.stderr) == (0, True), moved.stderr
    assert [json.loads(line)["data"]["FIELDS"]["ID"] for line in tail.stdout.splitlines()] == list("123456")


def test_an_ingest_and_a_worker_that_start_on_the_old_queue_say_so(site: Site) -> None:
    source, target = f"sqlite:///{site.folder}/data/queue.db", f"sqlite:///{site.folder}/new.db"
    site.start("before", "ingest")
    site.wait("the ingest", site.is_ready)
    call(site, 1)
    site.stop("before")
    site.run("move", source, target, "--yes")

    site.start("forgotten", "ingest")
    site.wait("the ingest", site.is_ready)
    site.wait("its readiness tells where to", lambda: target in site.parts().get("moved", ""))
    answer = call(site, 2)
    doctor = site.run("doctor")
    site.start("worker", "process", "forebay.console.example:handlers")
    site.wait("the worker's line", lambda: "is not in use any more" in site.log("worker"))

    assert answer == 200
    assert "is not in use any more" in site.log("forgotten")
    assert (doctor.returncode, "1 events have come since, which nobody handles" in doctor.stdout) == (1, True)
