use hive_core::clock::Timestamp;
use hive_core::db::Cell;
use hive_core::limits::PAYLOAD_BYTES_DEFAULT;
use hive_core::payload::Payload;
use hive_errors::ErrorKind;

use super::{PUT, Place, cells, put};

const ALL: &str = "INSERT INTO thing (id, name, size, weight, body) VALUES (?1, ?2, ?3, ?4, ?5)";
const NOTED: &str = "INSERT INTO thing (id, note, size, weight, body, name) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub(super) async fn every_value_comes_back_as_it_was(place: Place) {
    let db = place.db().await;
    let long = "ä€😀x".repeat(100_000);
    let texts = [
        "",
        " ",
        "plain",
        "it's \"quoted\" and \\slashed\\",
        "?1 $1 :a @b %s -- /* */ ;",
        "line\r\nline\ttab",
        "e\u{301} is not é",
        "\u{feff}\u{200b}\u{10ffff}😀",
        &long,
    ];
    let ints = [
        None,
        Some(0),
        Some(1),
        Some(-1),
        Some(999),
        Some(i64::from(i32::MIN)),
        Some(i64::MIN),
    ];
    let reals = [
        None,
        Some(0.0),
        Some(-1.5),
        Some(0.1),
        Some(f64::MAX),
        Some(f64::MIN),
        Some(f64::MIN_POSITIVE),
        Some(5e-324),
        Some(f64::INFINITY),
        Some(f64::NEG_INFINITY),
    ];
    let bodies = [
        None,
        Some(Vec::new()),
        Some(vec![0]),
        Some((0..=255).collect()),
        Some(b"\\x00 '".to_vec()),
        Some(
            (0..4_000_000_u32)
                .map(|n| n.to_le_bytes()[1] ^ n.to_le_bytes()[0])
                .collect(),
        ),
    ];
    let ids = [
        0,
        1,
        -1,
        i64::MAX,
        i64::MIN,
        i64::from(u32::MAX),
        i64::MAX - 1,
        1 << 53,
        -(1 << 40),
        7,
    ];
    let count = texts.len().max(ints.len()).max(reals.len()).max(bodies.len());
    let rows: Vec<Vec<Cell>> = (0..count)
        .map(|index| {
            vec![
                Cell::Int(ids[index]),
                Cell::of(texts[index % texts.len()]),
                Cell::of(&ints[index % ints.len()]),
                Cell::of(&reals[index % reals.len()]),
                Cell::of(&bodies[index % bodies.len()]),
                Cell::Text(format!("n{index}")),
            ]
        })
        .collect();
    let given = rows.clone();
    db.write(move |tx| {
        for row in &given {
            let params: Vec<&dyn hive_core::db::ToValue> = row.iter().map(|cell| cell as _).collect();
            assert_eq!(tx.execute(NOTED, &params)?, 1);
        }
        Ok(())
    })
    .await
    .unwrap();
    let all = "SELECT id, note, size, weight, body, name FROM thing";
    let mut found = db
        .read(move |db| db.query(all, &[], |row| cells(row, 6)))
        .await
        .unwrap();
    let mut expected = rows.clone();
    let key = |row: &Vec<Cell>| {
        let Cell::Int(id) = row[0] else { panic!("{row:?}") };
        id
    };
    found.sort_by_key(key);
    expected.sort_by_key(key);
    assert!(found == expected, "a value came back as another");
    // Each is found by itself, too: it is bound in a condition as it is in a row.
    for row in rows {
        let (note, name, id) = (row[1].clone(), row[5].clone(), row[0].clone());
        let one = "SELECT id FROM thing WHERE note = ?1 AND name = ?2";
        let ids = db
            .read(move |db| db.query(one, &[&note, &name], |row| cells(row, 1)))
            .await
            .unwrap();
        assert_eq!(ids, [vec![id]]);
    }
}

pub(super) async fn what_cannot_be_stored_is_refused(place: Place) {
    let db = place.db().await;
    let refused = db.write(|tx| tx.execute(ALL, &[&1, &"nan", &0, &f64::NAN, &Cell::Null]));
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let refused = db.write(|tx| tx.execute(PUT, &[&1, &"a\0b"]));
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let refused = db.read(|db| {
        db.query("SELECT id FROM thing WHERE name = ?1", &[&"\0"], |row| {
            row.get::<i64>(0)
        })
    });
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    // In bytes, nothing is special.
    db.write(|tx| tx.execute(ALL, &[&1, &"bytes", &0, &0.0, &vec![0_u8]]))
        .await
        .unwrap();
}

pub(super) async fn types_of_the_house_come_back(place: Place) {
    let db = place.db().await;
    let at: Timestamp = "2026-01-02T03:04:05.000006Z".parse().unwrap();
    let payload = Payload::encode(&[("a", 1)], PAYLOAD_BYTES_DEFAULT).unwrap();
    let given = payload.clone();
    db.write(move |tx| {
        tx.execute(ALL, &[&at, &"time", &Cell::Null, &Cell::Null, &given])?;
        tx.execute(ALL, &[&u64::MAX, &"u64", &true, &Cell::Null, &[1_u8; 3]])?;
        tx.execute(
            ALL,
            &[&2_u8, &String::from("two"), &false, &Some(0.5), &None::<Vec<u8>>],
        )
    })
    .await
    .unwrap();
    let one = "SELECT id, size, weight, body FROM thing WHERE name = ?1";
    db.read(move |db| {
        let (found, none) = db.query_one(one, &[&"time"], |row| {
            assert_eq!(row.get::<Payload>(3)?.as_bytes(), payload.as_bytes());
            Ok((row.get::<Timestamp>(0)?, row.get::<Option<bool>>(1)?))
        })?;
        assert_eq!((found, none), (at, None));
        db.query_one(one, &[&"u64"], |row| {
            assert_eq!((row.get::<u64>(0)?, row.get::<i64>(0)?), (u64::MAX, -1));
            assert!(row.get::<bool>(1)?);
            assert_eq!((row.blob(3)?, row.get::<Option<f64>>(2)?), (&[1_u8; 3][..], None));
            Ok(())
        })?;
        db.query_one(one, &[&"two"], |row| {
            assert_eq!(
                (
                    row.get::<u8>(0)?,
                    row.get::<u16>(0)?,
                    row.get::<u32>(0)?,
                    row.get::<i32>(0)?
                ),
                (2, 2, 2, 2)
            );
            assert_eq!((row.get::<bool>(1)?, row.get::<f64>(2)?), (false, 0.5));
            Ok(())
        })
    })
    .await
    .unwrap();
}

pub(super) async fn text_sorts_by_its_bytes(place: Place) {
    let db = place.db().await;
    let names = [
        "", " ", "-", "A", "Z", "_", "a", "a ", "a-b", "aB", "ab", "b", "Ä", "ä", "ß", "z\u{301}", "\u{ffff}", "😀",
    ];
    for (id, name) in (0..).zip(names) {
        put(&db, id * 7 % 19, name).await.unwrap();
    }
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    let found = db
        .read(|db| db.query("SELECT name FROM thing ORDER BY name", &[], |row| row.get::<String>(0)))
        .await
        .unwrap();
    assert_eq!(found, sorted);
    let after = "SELECT name FROM thing WHERE name > ?1 ORDER BY name DESC LIMIT 3";
    let found = db
        .read(move |db| db.query(after, &[&"a"], |row| row.get::<String>(0)))
        .await
        .unwrap();
    assert_eq!(found, ["😀", "\u{ffff}", "ä"]);
    let (least, most) = db
        .read(|db| {
            db.query_one("SELECT min(name), max(name) FROM thing", &[], |row| {
                Ok((row.get::<String>(0)?, row.get::<String>(1)?))
            })
        })
        .await
        .unwrap();
    assert_eq!((least.as_str(), most.as_str()), ("", "😀"));
}

pub(super) async fn a_column_of_another_type_is_told(place: Place) {
    let db = place.db().await;
    put(&db, 300, "x").await.unwrap();
    let wrong = db.read(|db| {
        db.query_one("SELECT name, id, size FROM thing", &[], |row| {
            let kinds = [
                row.get::<i64>(0).unwrap_err(),
                row.get::<u8>(1).unwrap_err(),
                row.get::<bool>(1).unwrap_err(),
                row.get::<String>(2).unwrap_err(),
                row.blob(0).unwrap_err(),
                row.text(1).unwrap_err(),
            ];
            assert!(row.get::<i64>(3).is_err(), "a column that is not there");
            Ok(kinds.map(|error| {
                let found = error.field("found").unwrap().to_owned();
                (error.kind(), error.field("column").unwrap().to_owned(), found)
            }))
        })
    });
    let expected = [
        ("0", "text"),
        ("1", "integer"),
        ("1", "integer"),
        ("2", "null"),
        ("0", "text"),
        ("1", "integer"),
    ];
    let expected = expected.map(|(column, found)| (ErrorKind::Corrupt, column.to_owned(), found.to_owned()));
    assert_eq!(wrong.await.unwrap(), expected);
}

pub(super) async fn what_does_not_fit_its_column_is_refused(place: Place) {
    let db = place.db().await;
    for sql in [
        "INSERT INTO thing (id, name, size) VALUES (1, 'a', 9223372036854775807 * 2)",
        "INSERT INTO thing (id, name, size) VALUES (1, 'a', 'many')",
    ] {
        let error = db.write(move |tx| tx.execute(sql, &[])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}: {error:?}");
    }
    assert_eq!(super::things(&db).await, 0);
}
