"""Keeps a copy of the deals of some portals, and asks a portal what changed when events of it may be missing."""

import json
import os
import time
from datetime import datetime, timedelta
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from forebay import Handlers, Reject, Retry

handlers = Handlers()

#: Portal → its incoming webhook with the right "crm": {"example.bitrix24.com": "https://example.bitrix24.com/rest/1/abc/"}
WEBHOOKS = json.loads(os.environ.get("BITRIX24_WEBHOOKS", "{}"))

#: A change may be older than the call that told of it: Bitrix24 has a queue of its own.
MARGIN = timedelta(minutes=10)

#: A portal answers two calls a second for ever; what is faster is refused after the first fifty.
PAUSE_S = 0.5

#: Until the portal has room again.
LIMITED = {"QUERY_LIMIT_EXCEEDED": 10, "OPERATION_TIME_LIMIT": 60}

#: (portal, ID) → deal. Yours is a database.
deals = {}

#: Marker → the last ID that is done, so that a try which was cut short goes on there.
done = {}


@handlers.on("ONCRMDEALADD", "ONCRMDEALUPDATE")
def deal_changed(event):
    deal_id = event.data["FIELDS"]["ID"]
    deals[event.portal, deal_id] = call(event.portal, "crm.deal.get", {"id": deal_id})["result"]


@handlers.on("ONCRMDEALDELETE")
def deal_deleted(event):
    deals.pop((event.portal, event.data["FIELDS"]["ID"]), None)


@handlers.on("ONFOREBAYGAP", deadline_s=1800, tries=60)
def catch_up(event):
    since = datetime.fromisoformat(event.data["FROM"]) - MARGIN
    while page := changed(event.portal, since, done.get(event.id, "0")):
        for deal in page:
            deals[event.portal, deal["ID"]] = deal
        done[event.id] = page[-1]["ID"]
        time.sleep(PAUSE_S)
    done.pop(event.id, None)


def changed(portal, since, after):
    """The next fifty deals behind that ID that changed since then."""
    # By ID and not by "start": a deal that is deleted meanwhile would move all behind it up by one place, and one of
    # them out of the page. And without an end of the time: what changes now would fall out of the list.
    wanted = {
        "filter": {">=DATE_MODIFY": since.isoformat(timespec="seconds"), ">ID": after},
        "order": {"ID": "ASC"},
        "select": ["*", "UF_*"],
        # Nothing is counted, which is much faster.
        "start": -1,
    }
    return call(portal, "crm.deal.list", wanted)["result"]


def call(portal, method, parameters):
    """What the portal's REST API answers. Its address is ours, and never one out of an event."""
    if portal not in WEBHOOKS:
        raise Reject(f"there is no webhook of {portal} in BITRIX24_WEBHOOKS")
    request = Request(f"{WEBHOOKS[portal]}{method}.json", json.dumps(parameters).encode())
    request.add_header("Content-Type", "application/json")
    try:
        with urlopen(request, timeout=65) as answer:
            return json.load(answer)
    except HTTPError as error:
        with error:
            raise refusal(error) from None
    except (URLError, TimeoutError) as error:
        raise Retry(after_s=60) from error


def refusal(answer):
    """What an error means: its code says so, the HTTP status does not."""
    try:
        code = json.load(answer).get("error", "")
    except ValueError:
        code = ""
    if code in LIMITED:
        return Retry(after_s=LIMITED[code])
    if code in ("", "INTERNAL_SERVER_ERROR"):
        return Retry(after_s=60)
    return Reject(f"the portal refuses: {code}")
