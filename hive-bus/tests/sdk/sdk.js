// CloudEvents as the JavaScript SDK understands them. What it does and how it is spoken to is said in sdk.py.
"use strict";

const fs = require("fs");
const path = require("path");
const { isDeepStrictEqual } = require("util");
const { CloudEvent, HTTP } = require("cloudevents");

const BATCH = "application/cloudevents-batch+json";
const SAMPLES = JSON.parse(fs.readFileSync(path.join(__dirname, "events.json"), "utf-8"));

function sample({ attributes, json, text, base64 }) {
    const data = base64 === undefined ? (json ?? text) : Buffer.from(base64, "base64");
    return new CloudEvent({ ...attributes, data });
}

function bytes(body) {
    if (body === undefined || body === null) return Buffer.alloc(0);
    // Bytes may stand in an array of larger numbers.
    return typeof body === "string" ? Buffer.from(body, "utf-8") : Buffer.from(body);
}

function write({ headers, body }) {
    const pairs = Object.entries(headers).map(([name, value]) => [name, String(value)]);
    return { headers: pairs, body: bytes(body).toString("base64") };
}

function modes(events, inBinary) {
    // The SDK reads batches and does not write them.
    const batch = { headers: { "content-type": BATCH }, body: JSON.stringify(events) };
    return {
        binary: inBinary.map((event) => write(HTTP.binary(event))),
        structured: events.map((event) => write(HTTP.structured(event))),
        batch: [write(batch)],
    };
}

function read({ headers, body }) {
    // The SDK takes the values of headers as they are, so undoing the escapes of the binding is left to its caller; and it
    // takes bodies as web frameworks hand them over: bytes as bytes, anything else as a string.
    const decoded = headers.map(([name, value]) => [name, name.startsWith("ce-") ? decodeURIComponent(value) : value]);
    const message = { headers: Object.fromEntries(decoded), body: Buffer.from(body, "base64") };
    const type = message.headers["content-type"] ?? "";
    if (type.startsWith("text/") || type.includes("json")) message.body = message.body.toString("utf-8");
    // Nothing was sent.
    if (message.body.length === 0) message.body = undefined;
    return HTTP.toEvent(message);
}

// What two events that say the same have in common: in headers, every attribute is text.
function plain(event) {
    const { data, data_base64, ...attributes } = event.toJSON();
    // What Hive adds, and where it stands there.
    delete attributes.hivesequence;
    const texts = Object.entries(attributes).filter(([, value]) => value !== undefined);
    const content = data_base64 ?? data;
    return [Object.fromEntries(texts.map(([name, value]) => [name, String(value)]).sort()), content];
}

function compare(events) {
    const samples = new Map(SAMPLES.map((described) => [described.attributes.id, plain(sample(described))]));
    return events
        .map(plain)
        .map((seen) => [samples.get(seen[0].id), seen])
        .filter(([wanted, seen]) => !isDeepStrictEqual(wanted, seen))
        .map(([wanted, seen]) => `${JSON.stringify(wanted)} != ${JSON.stringify(seen)}`);
}

function main(verb) {
    if (verb === "make") {
        const inBinary = SAMPLES.filter(({ binary }) => binary !== false);
        return modes(SAMPLES.map(sample), inBinary.map(sample));
    }
    const events = JSON.parse(fs.readFileSync(0, "utf-8")).messages.flatMap(read);
    return verb === "relay" ? modes(events, events) : { differences: compare(events) };
}

process.stdout.write(JSON.stringify(main(process.argv[2])));
