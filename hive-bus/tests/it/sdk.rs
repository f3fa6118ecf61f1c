//! The official SDKs of other languages read what Hive writes, and Hive reads what they write. The programs that do so are in
//! `tests/sdk`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hive_bus::catalog::TaskFailed;
use hive_bus::{Event, HttpMessage, NewEvent, Sequence, TypedEvent};
use hive_core::clock::Timestamp;
use hive_core::id::EventId;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sdk {
    Python,
    JavaScript,
}

const SDKS: [Sdk; 2] = [Sdk::Python, Sdk::JavaScript];

const MODES: [&str; 3] = ["binary", "structured", "batch"];

/// Where `.ci/sdks` installs them.
fn folder() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("sdks");
    assert!(
        folder.join(".installed").exists(),
        "the CloudEvents SDKs are not in {}: run `.ci/sdks`",
        folder.display()
    );
    folder
}

impl Sdk {
    /// Runs its program, hands it these messages and takes what it says.
    fn run(self, verb: &str, messages: &[Message]) -> Value {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
        let folder = folder();
        let mut command = match self {
            Self::Python => {
                let mut command = Command::new(folder.join("python/bin/python"));
                command.arg(programs.join("sdk.py"));
                command
            }
            Self::JavaScript => {
                let mut command = Command::new("node");
                command
                    .env("NODE_PATH", folder.join("javascript/node_modules"))
                    .arg(programs.join("sdk.js"));
                command
            }
        };
        let mut program = command
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let messages: Vec<Value> = messages.iter().map(Message::to_json).collect();
        let request = json!({ "messages": messages }).to_string();
        // A program that has not read it says why below.
        let written = program.stdin.take().unwrap().write_all(request.as_bytes());
        let output = program.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} {verb}: {errors}");
        if verb != "make" {
            written.unwrap();
        }
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

struct Message {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    fn to_json(&self) -> Value {
        json!({ "headers": self.headers, "body": BASE64.encode(&self.body) })
    }

    fn from_json(value: &Value) -> Self {
        Self {
            headers: serde_json::from_value(value["headers"].clone()).unwrap(),
            body: BASE64.decode(value["body"].as_str().unwrap()).unwrap(),
        }
    }

    fn read(&self) -> Vec<Event> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let events = NewEvent::from_http(headers, &self.body).unwrap();
        events.into_iter().map(placed).collect()
    }
}

impl From<HttpMessage> for Message {
    fn from(message: HttpMessage) -> Self {
        Self {
            headers: message.headers,
            body: message.body,
        }
    }
}

fn placed(event: NewEvent) -> Event {
    event.at(Sequence::new(7)).unwrap()
}

/// The events in this mode.
fn written(events: &[Event], mode: &str) -> Vec<Message> {
    let each = |write: fn(&Event) -> hive_bus::Result<HttpMessage>| {
        events.iter().map(|event| write(event).unwrap().into()).collect()
    };
    match mode {
        "binary" => each(Event::to_http_binary),
        "structured" => each(Event::to_http_structured),
        _ => vec![Event::batch_to_http(events).unwrap().into()],
    }
}

fn read(answer: &Value, mode: &str) -> Vec<Event> {
    let messages = answer[mode].as_array().unwrap();
    messages
        .iter()
        .flat_map(|message| Message::from_json(message).read())
        .collect()
}

/// What the event says, once it has been through headers, where every attribute is text.
fn as_text(event: &Event) -> Value {
    let mut said = event.to_cloudevent().unwrap();
    for (name, value) in said.as_object_mut().unwrap() {
        if name != "data" && !value.is_string() {
            *value = json!(value.to_string());
        }
    }
    said
}

fn samples() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/events.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Events of Hive's own: with dates of whole milliseconds, as JavaScript has them, and with nothing that looks like an escape,
/// as its SDK puts attributes into headers the way they are.
fn own() -> Vec<Event> {
    let time: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
    let mut events = vec![
        NewEvent::of(&TaskFailed::example()).unwrap(),
        NewEvent::new(
            "order.placed",
            "order.placed.berlin",
            &json!({ "größe": ["\u{0}", "😀", 0.5, -7, true, null, {}], "": 9_007_199_254_740_991_u64 }),
        )
        .unwrap()
        .source("/shop/berlin?a=b")
        .tenant("acme")
        .correlation("Auftrag € 😀 \"4711\" 100%")
        .causation("b, c; d=e")
        .key("\\ \"")
        .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .expires(time)
        .schema_version(7)
        .data_schema("https://example.com/order.json")
        .extension("tracestate", "a=1,b=2")
        .extension("severity", -3),
    ];
    for (number, event) in (1..).zip(&mut events) {
        *event = event.clone().id(EventId::from_bytes([number; 16])).time(time);
    }
    events.into_iter().map(placed).collect()
}

fn relayed_is_what_it_was(sdk: Sdk, events: &[Event], from: &str) {
    let answer = sdk.run("relay", &written(events, from));
    for to in MODES {
        let relayed = read(&answer, to);
        assert_eq!(relayed.len(), events.len());
        for (event, relayed) in events.iter().zip(&relayed) {
            assert_eq!(as_text(relayed), as_text(event), "{sdk:?} from {from} to {to}");
            assert_eq!(relayed.id(), event.id());
            if from != "binary" && to != "binary" {
                assert_eq!(relayed, event, "{sdk:?} from {from} to {to}");
            }
        }
    }
}

#[test]
fn what_an_sdk_relays_is_what_it_was() {
    let foreign = samples().into_iter().filter(|sample| sample["binary"] != false);
    let foreign = foreign.map(|sample| {
        let mut event = sample["attributes"].clone();
        event["specversion"] = json!("1.0");
        for (member, data) in [("json", "data"), ("text", "data"), ("base64", "data_base64")] {
            if let Some(found) = sample.get(member) {
                event[data] = found.clone();
            }
        }
        placed(NewEvent::from_cloudevent(&event).unwrap())
    });
    let events: Vec<Event> = own().into_iter().chain(foreign).collect();
    for sdk in SDKS {
        for from in MODES {
            relayed_is_what_it_was(sdk, &events, from);
        }
    }
}

/// A JSON value that is no object is for JavaScript's SDK a string in binary mode, and for Python's one it is in none.
#[test]
fn data_that_is_null_is_relayed() {
    let null = NewEvent::new("a", "a", &())
        .unwrap()
        .id(EventId::from_bytes([1; 16]))
        .time(Timestamp::EPOCH);
    let events = [placed(null)];
    for (sdk, from) in [
        (Sdk::Python, "binary"),
        (Sdk::Python, "structured"),
        (Sdk::Python, "batch"),
        (Sdk::JavaScript, "structured"),
    ] {
        relayed_is_what_it_was(sdk, &events, from);
    }
}

fn is_the_sample(event: &Event, sample: &Value) {
    let attribute = |name: &str| sample["attributes"].get(name).and_then(Value::as_str);
    assert_eq!(event.foreign_id(), attribute("id"));
    assert_eq!(Some(event.source()), attribute("source"));
    assert_eq!(Some(event.event_type()), attribute("type"));
    assert_eq!(event.subject(), attribute("subject"));
    assert_eq!(event.time(), attribute("time").unwrap().parse().unwrap());
    assert_eq!(event.content_type(), attribute("datacontenttype"));
    assert_eq!(event.data_schema(), attribute("dataschema"));
    assert_eq!(event.traceparent(), attribute("traceparent"));
    assert_eq!(event.key(), attribute("partitionkey"));
    assert_eq!(event.topic().as_str(), sample["topic"]);
    for name in ["sequence", "lens", "comexampleothervalue", "drill", "lowest"] {
        let expected = sample["attributes"].get(name);
        let expected = expected.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        assert_eq!(event.extension(name).map(ToString::to_string), expected);
    }
    let content = event.content().unwrap();
    match (sample.get("json"), sample.get("text"), sample.get("base64")) {
        (Some(value), _, _) => assert_eq!(&serde_json::from_slice::<Value>(&content).unwrap(), value),
        (_, Some(text), _) => assert_eq!(std::str::from_utf8(&content).unwrap(), text),
        (_, _, Some(text)) => assert_eq!(&BASE64.encode(content), text),
        (None, None, None) => assert_eq!(content.as_ref(), b""),
    }
}

#[test]
fn what_an_sdk_made_is_read_and_sent_back_as_it_was() {
    let all = samples();
    let in_binary: Vec<Value> = all.iter().filter(|sample| sample["binary"] != false).cloned().collect();
    let mut ids: Vec<Vec<EventId>> = Vec::new();
    for sdk in SDKS {
        let answer = sdk.run("make", &[]);
        for mode in MODES {
            let samples = if mode == "binary" { &in_binary } else { &all };
            let events = read(&answer, mode);
            assert_eq!(events.len(), samples.len());
            for (event, sample) in events.iter().zip(samples) {
                is_the_sample(event, sample);
            }
            // Whatever made it and however it came, it is one event here.
            ids.push(events.iter().take(in_binary.len()).map(Event::id).collect());
            for back in MODES {
                let sent = if back == "binary" {
                    &events[..in_binary.len()]
                } else {
                    &events
                };
                let answer = sdk.run("compare", &written(sent, back));
                assert_eq!(answer, json!({ "differences": [] }), "{sdk:?} from {mode} to {back}");
            }
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}
