use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::*;
use crate::limits::PAYLOAD_BYTES_DEFAULT as MAX;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Verdict {
    reasons: Vec<Reason>,
    approved: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Reason {
    text: String,
    weight: u8,
}

#[test]
fn canonical_text() {
    let check = |from: &str, expected: &str| {
        let payload = Payload::from_bytes(from).unwrap();
        assert_eq!(std::str::from_utf8(payload.as_bytes()).unwrap(), expected, "{from}");
        assert_eq!(
            Payload::from_bytes(payload.as_bytes()).unwrap(),
            payload,
            "not stable: {from}"
        );
    };
    check(" null ", "null");
    check("-12.50e3", "-12.50e3");
    check("\r\n[ 1 ,\t[ ] , { } ]\n", "[1,[],{}]");
    check(
        r#"{"b":1,"a":{"d":[{"z":0,"y":0}],"c":null}}"#,
        r#"{"a":{"c":null,"d":[{"y":0,"z":0}]},"b":1}"#,
    );
    check(r#"{"a":1,"a b":2,"A":3,"":4}"#, r#"{"":4,"A":3,"a":1,"a b":2}"#);
    check(
        r#"{"\u0062":"\/","a":"\u00e9\n\"{[,:"}"#,
        r#"{"a":"é\n\"{[,:","b":"/"}"#,
    );
    check(
        "340282366920938463463374607431768211455",
        "340282366920938463463374607431768211455",
    );
}

#[test]
fn struct_fields_and_map_keys_are_sorted() {
    let verdict = Verdict {
        reasons: vec![Reason {
            text: "ok".into(),
            weight: 1,
        }],
        approved: true,
    };
    let payload = Payload::encode(&verdict, MAX).unwrap();
    assert_eq!(
        payload.as_bytes(),
        br#"{"approved":true,"reasons":[{"text":"ok","weight":1}]}"#
    );
    assert_eq!(payload.decode::<Verdict>().unwrap(), verdict);
}

#[test]
fn text_that_is_not_json_is_refused_with_its_place() {
    let check = |text: &[u8], field: &str, value: &str| {
        let error = Payload::from_bytes(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
        assert_eq!(error.field(field), Some(value), "{text:?}: {error}");
    };
    check(b"", "line", "1");
    check(b"{\n\"a\": }", "line", "2");
    check(b"[1,]", "column", "4");
    check(b"1 2", "column", "3");
    check(b"NaN", "column", "1");
    check(b"\"\xff\"", "offset", "1");
    check(br#"{"a":1,"b":2,"a":3}"#, "key", "a");
    check(br#"{"a":1,"\u0061":3}"#, "key", "a");
    check(br#"["\ud800"]"#, "offset", "1");
}

#[test]
fn the_size_limit_holds_exactly_and_names_the_size() {
    let text = "x".repeat(100);
    assert_eq!(Payload::encode(&text, 102).unwrap().size(), 102);
    for error in [
        Payload::encode(&text, 101).unwrap_err(),
        Payload::parse(format!("{text:?}").as_bytes(), 101).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
        assert_eq!((error.field("size"), error.field("limit")), (Some("102"), Some("101")));
    }
}

#[test]
fn a_huge_value_is_not_held_in_memory() {
    let mut writer = Bounded {
        bytes: Vec::new(),
        size: 0,
        max: 10,
    };
    for _ in 0..1_000 {
        io::Write::write_all(&mut writer, &[b'x'; 100]).unwrap();
        assert!(writer.bytes.capacity() <= 128, "{}", writer.bytes.capacity());
    }
    assert_eq!(writer.size, 100_000);
}

#[test]
fn the_depth_limit_holds_in_both_directions() {
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let deepest = Payload::encode(&nested(PAYLOAD_DEPTH_MAX), MAX).unwrap();
    assert_eq!(deepest.decode::<Value>().unwrap(), nested(PAYLOAD_DEPTH_MAX));
    assert_eq!(Payload::from_bytes(deepest.as_bytes()).unwrap(), deepest);

    let too_deep = [
        Payload::encode(&nested(PAYLOAD_DEPTH_MAX + 1), MAX).unwrap_err(),
        Payload::from_bytes("[".repeat(100_000) + &"]".repeat(100_000)).unwrap_err(),
        Payload::from_bytes("{\"a\":".repeat(101) + "1" + &"}".repeat(101)).unwrap_err(),
    ];
    for error in too_deep {
        assert_eq!(
            (error.kind(), error.field("limit")),
            (ErrorKind::InvalidInput, Some("100")),
            "{error}"
        );
    }
}

/// Its serialisation never ends by itself.
struct Endless;

impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq([Endless])
    }
}

#[test]
fn a_value_that_contains_itself_is_an_error_and_not_an_overflow() {
    assert_eq!(
        Payload::encode(&Endless, MAX).unwrap_err().message(),
        "the payload nests too deep"
    );
}

#[test]
fn a_value_without_json_form_is_an_error() {
    let error = Payload::encode(&HashMap::from([((1, 2), 3)]), MAX).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::InvalidInput, "the value has no JSON form")
    );
    assert!(error.field("type").unwrap().contains("HashMap"));
}

#[test]
fn a_misfit_names_its_path() {
    let check = |json: Value, path: &str| {
        let error = Payload::encode(&json, MAX).unwrap().decode::<Verdict>().unwrap_err();
        assert_eq!(
            (error.kind(), error.field("path")),
            (ErrorKind::InvalidInput, Some(path)),
            "{json}"
        );
        assert!(error.field("type").unwrap().ends_with("Verdict"));
        assert!(std::error::Error::source(&error).is_some());
    };
    check(
        json!({"approved": true, "reasons": [{"text": "a", "weight": 1}, {"text": "b", "weight": 256}]}),
        "reasons[1].weight",
    );
    check(json!({"approved": "yes", "reasons": []}), "approved");
    check(json!({"reasons": []}), ".");
    check(json!(3), ".");
}

#[test]
fn damage_in_the_database_is_noticed_when_decoding() {
    for damaged in ["", "{\"approved\":tr", "true true"] {
        let error = Payload::from_stored(damaged.as_bytes()).decode::<bool>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{damaged}");
    }
}

#[test]
fn numbers_beyond_64_bits_survive() {
    let payload = Payload::encode(&u128::MAX, MAX).unwrap();
    assert_eq!(payload.decode::<u128>().unwrap(), u128::MAX);
    assert_eq!(
        Payload::from_bytes(payload.as_bytes())
            .unwrap()
            .decode::<u128>()
            .unwrap(),
        u128::MAX
    );
}

#[test]
fn debug_does_not_show_the_content() {
    let debug = format!("{:?}", Payload::encode("hunter2", MAX).unwrap());
    assert_eq!(
        debug,
        format!(
            "Payload {{ size: 9, fingerprint: {:016x} }}",
            fingerprint(b"\"hunter2\"")
        )
    );
}

#[test]
fn a_payload_embeds_as_json_and_not_as_a_string() {
    let envelope = BTreeMap::from([(
        "data",
        Payload::encode(
            &Reason {
                text: "a".into(),
                weight: 2,
            },
            MAX,
        )
        .unwrap(),
    )]);
    let json = serde_json::to_string(&envelope).unwrap();
    assert_eq!(json, r#"{"data":{"text":"a","weight":2}}"#);
    let back: BTreeMap<String, Payload> = serde_json::from_str(r#"{"data": {"weight": 2, "text": "a"}}"#).unwrap();
    assert_eq!(back["data"], envelope["data"]);
    assert!(serde_json::from_str::<BTreeMap<String, Payload>>(r#"{"data":{"a":1,"a":2}}"#).is_err());
}

#[test]
fn fingerprints_are_pinned() {
    // Reference values of FNV-1a, from its authors' test vectors; stored fingerprints depend on them.
    assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_round_trips_and_is_stable(value in json_value()) {
        let payload = Payload::encode(&value, MAX).unwrap();
        prop_assert_eq!(payload.decode::<Value>().unwrap(), value.clone());
        prop_assert_eq!(&Payload::from_bytes(payload.as_bytes()).unwrap(), &payload);
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        prop_assert_eq!(&Payload::from_bytes(pretty).unwrap(), &payload);
    }

    #[test]
    fn floats_come_back_as_they_were(wide: f64, narrow: f32) {
        let payload = Payload::encode(&(wide, narrow), MAX).unwrap();
        prop_assert_eq!(payload.decode::<(f64, f32)>().unwrap(), (wide, narrow));
    }

    #[test]
    fn the_order_of_a_map_does_not_matter(map: HashMap<String, u8>) {
        let sorted: BTreeMap<_, _> = map.clone().into_iter().collect();
        prop_assert_eq!(Payload::encode(&map, MAX).unwrap(), Payload::encode(&sorted, MAX).unwrap());
    }

    #[test]
    fn any_bytes_give_a_payload_or_an_error(bytes in prop::collection::vec(prop::sample::select(br#"{}[]",:\u0159e.- nultrefas"#.to_vec()), 0..24)) {
        if let Ok(payload) = Payload::from_bytes(&bytes) {
            prop_assert!(serde_json::from_slice::<IgnoredAny>(payload.as_bytes()).is_ok());
        }
        let _ = canonical::rewrite(&bytes);
    }
}

mod documented {
    use super::*;

    /// What a reviewer decides, said at length.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[schemars(title = "A verdict")]
    pub(super) struct Verdict {
        /// Whether it may be merged.
        #[schemars(example = true)]
        pub(super) approved: bool,
        pub(super) reasons: Vec<Reason>,
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Titled {
    title: String,
    description: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Untitled {
    description: String,
}

#[test]
fn a_schema_s_fingerprint_is_that_of_its_shape() {
    let plain = Schema::of::<Verdict>();
    let documented = Schema::of::<documented::Verdict>();
    assert_ne!(plain, documented);
    // The fields stand in another order besides.
    assert_eq!(plain.fingerprint(), documented.fingerprint());
    assert_ne!(
        Schema::of::<Titled>().fingerprint(),
        Schema::of::<Untitled>().fingerprint(),
        "a property was taken for an annotation"
    );
    assert_ne!(
        Schema::of::<Vec<u8>>().fingerprint(),
        Schema::of::<Vec<u16>>().fingerprint()
    );
    let constant = |text: &str| {
        Schema::from_value(json!({"const": {"title": text}}))
            .unwrap()
            .fingerprint()
    };
    assert_ne!(constant("a"), constant("b"));
}

#[test]
fn only_objects_and_booleans_are_schemas() {
    assert!(Schema::from_value(json!(true)).is_ok());
    assert_eq!(
        Schema::from_value(json!("string")).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let schema = Schema::of::<Verdict>();
    assert_eq!(
        serde_json::from_str::<Schema>(&serde_json::to_string(&schema).unwrap()).unwrap(),
        schema
    );
}
