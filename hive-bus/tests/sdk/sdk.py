"""CloudEvents as the Python SDK understands them.

    python sdk.py make      writes the events of events.json in every mode
    python sdk.py relay     reads messages, and writes the events in them in every mode
    python sdk.py compare   reads messages, and writes how the events in them differ from those of events.json

What is read is {"messages": [...]}, what is written {"binary": [...], "structured": [...], "batch": [...]} or
{"differences": [...]}. A message is {"headers": [[name, value], ...], "body": Base64}.
"""

import base64
import json
import pathlib
import sys

from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from dateutil.parser import isoparse

FORMAT = JSONFormat()
BATCH = "application/cloudevents-batch+json"
SAMPLES = json.loads((pathlib.Path(__file__).parent / "events.json").read_text("utf-8"))


def sample(described):
    attributes = dict(described["attributes"], specversion="1.0")
    attributes["time"] = isoparse(attributes["time"])
    data = described.get("json", described.get("text"))
    if "base64" in described:
        data = base64.b64decode(described["base64"])
    return CloudEvent(attributes, data)


def write(message):
    return {"headers": list(message.headers.items()), "body": base64.b64encode(message.body).decode()}


def modes(events, in_binary):
    # The SDK knows no batches; its format writes what is in them.
    batch = b"[" + b",".join(FORMAT.write(event) for event in events) + b"]"
    return {
        "binary": [write(http.to_binary_event(event)) for event in in_binary],
        "structured": [write(http.to_structured_event(event)) for event in events],
        "batch": [write(http.HTTPMessage({"content-type": BATCH}, batch))],
    }


def read(message):
    headers, body = dict(message["headers"]), base64.b64decode(message["body"])
    if headers.get("content-type") == BATCH:
        return [FORMAT.read(None, json.dumps(event)) for event in json.loads(body)]
    return [http.from_http_event(http.HTTPMessage(headers, body))]


def plain(event):
    """What two events that say the same have in common: in headers, every attribute is text."""
    attributes = {name: str(value) for name, value in event.get_attributes().items()}
    # What Hive adds, and where it stands there.
    attributes.pop("hivesequence", None)
    attributes["time"] = event.get_time().timestamp()
    return attributes, event.get_data()


def compare(events):
    samples = {described["attributes"]["id"]: plain(sample(described)) for described in SAMPLES}
    found = [plain(event) for event in events]
    pairs = [(samples.get(attributes["id"]), (attributes, data)) for attributes, data in found]
    return [f"{wanted} != {seen}" for wanted, seen in pairs if wanted != seen]


def main(verb):
    if verb == "make":
        in_binary = [sample(described) for described in SAMPLES if described.get("binary", True)]
        return modes([sample(described) for described in SAMPLES], in_binary)
    events = [event for message in json.load(sys.stdin)["messages"] for event in read(message)]
    return modes(events, events) if verb == "relay" else {"differences": compare(events)}


json.dump(main(sys.argv[1]), sys.stdout)
