//! The statements that programs are made of. Each is one text for both engines.

use hive_core::db::{Cell, Kind, Set};
use proptest::prelude::*;

/// What stands for a parameter: few enough values that they meet each other, and some that are odd.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    Id,
    Name,
    Size,
    Weight,
    Body,
    Note,
    /// How many rows.
    Few,
    N,
}

use Slot::{Body, Few, Id, N, Name, Note, Size, Weight};

impl Slot {
    pub(super) fn strategy(self) -> BoxedStrategy<Cell> {
        fn some<T: Into<Cell> + Clone + std::fmt::Debug + 'static>(values: &'static [T]) -> BoxedStrategy<Cell> {
            prop::sample::select(values).prop_map(Into::into).boxed()
        }
        let null = || Just(Cell::Null);
        match self {
            Id => some(&[1_i64, 2, 3, 4, 5, 6, -1, i64::MAX]),
            Name => prop_oneof![
                20 => some(&["a", "b", "c", "B", "ä", "a b", "", "😀", "it's"]),
                1 => null(),
            ]
            .boxed(),
            // A hundred and more is refused by the table.
            Size => prop_oneof![
                12 => (-3..9_i64).prop_map(Cell::Int),
                2 => null(),
                1 => some(&[99_i64, 100, i64::MAX, i64::MIN]),
            ]
            .boxed(),
            Weight => prop_oneof![
                6 => some(&[0.5, 1.5, -2.25, 0.0, 0.1, 1e300, 5e-324]),
                1 => null(),
                1 => some(&[f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::NAN]),
            ]
            .boxed(),
            Body => prop_oneof![
                4 => prop::collection::vec(any::<u8>(), 0..4).prop_map(Cell::Blob),
                1 => null(),
            ]
            .boxed(),
            Note => prop_oneof![
                8 => some(&["x", "y", "xy", "", "100%", "a_b", "\\", "tab\t"]),
                2 => null(),
                1 => some(&["nul\0"]),
            ]
            .boxed(),
            Few => (0..4_i64).prop_map(Cell::Int).boxed(),
            N => (0..12_i64).prop_map(Cell::Int).boxed(),
        }
    }
}

type Texts = &'static [(&'static str, &'static [Slot])];

pub(super) const WRITES: Texts = &[
    (
        "INSERT INTO item (id, name, size, weight, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[Id, Name, Size, Weight, Body],
    ),
    (
        "INSERT INTO item (id, name, size, weight, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[Id, Name, Size, Weight, Body],
    ),
    (
        "INSERT INTO item (size, name, id) VALUES (?3, ?1, ?2)",
        &[Name, Id, Size],
    ),
    (
        "INSERT INTO item (id, name, size) VALUES (?1, ?2, ?3) RETURNING id, name, size",
        &[Id, Name, Size],
    ),
    (
        "INSERT INTO item (id, name) VALUES (?1, ?2), (?3, ?4)",
        &[Id, Name, Id, Name],
    ),
    (
        "INSERT INTO item (id, name, size) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
        &[Id, Name, Size],
    ),
    (
        "INSERT INTO item (id, name, size) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING",
        &[Id, Name, Size],
    ),
    (
        "INSERT INTO item (id, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        &[Id, Name],
    ),
    (
        "INSERT INTO item (id, name, size) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET size = coalesce(item.size, 0) + excluded.size, name = excluded.name
         RETURNING id, name, size",
        &[Id, Name, Few],
    ),
    (
        "INSERT INTO item (id, name, size) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET size = excluded.size WHERE item.size IS NULL OR item.size < excluded.size",
        &[Id, Name, Size],
    ),
    ("UPDATE item SET size = ?2 WHERE id = ?1", &[Id, Size]),
    ("UPDATE item SET size = size + 1 WHERE size < ?1 RETURNING size", &[Few]),
    (
        "UPDATE item SET size = size * 20 WHERE size BETWEEN -1000 AND 1000",
        &[],
    ),
    (
        "UPDATE item SET weight = weight * 2, body = ?1 WHERE weight > ?2 AND weight < 1e10",
        &[Body, Few],
    ),
    ("UPDATE item SET name = name || ?2 WHERE id = ?1", &[Id, Note]),
    ("UPDATE item SET name = ?2 WHERE id = ?1", &[Id, Name]),
    ("UPDATE item SET id = ?2 WHERE id = ?1", &[Id, Id]),
    (
        "UPDATE item SET size = (SELECT count(*) FROM part WHERE part.item = item.id)",
        &[],
    ),
    (
        "UPDATE item SET size = part.place FROM part WHERE part.item = item.id AND part.place = ?1",
        &[Few],
    ),
    ("DELETE FROM item WHERE id = ?1", &[Id]),
    ("DELETE FROM item WHERE size > ?1", &[Few]),
    (
        "DELETE FROM item WHERE NOT EXISTS (SELECT 1 FROM part WHERE part.item = item.id) AND name < ?1",
        &[Name],
    ),
    (
        "DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY id DESC LIMIT ?1)",
        &[Few],
    ),
    (
        "INSERT INTO part (item, place, note) VALUES (?1, ?2, ?3)",
        &[Id, Few, Note],
    ),
    (
        "INSERT INTO part (item, place, note) SELECT id, ?1, ?2 FROM item",
        &[Few, Note],
    ),
    (
        "INSERT INTO part (item, place) SELECT id, 0 FROM item WHERE true ON CONFLICT (item, place) DO UPDATE SET note = 'again'",
        &[],
    ),
    ("DELETE FROM part WHERE place = ?1 RETURNING item", &[Few]),
    ("DELETE FROM part", &[]),
    (
        "UPDATE part SET note = coalesce(?2, 'none') WHERE item = ?1",
        &[Id, Note],
    ),
    ("INSERT INTO leaf (id, item, note) VALUES (?1, ?2, ?3)", &[Id, Id, Note]),
    (
        "INSERT INTO leaf (id, item) VALUES (?1, NULL) ON CONFLICT (id) DO NOTHING",
        &[Id],
    ),
    ("UPDATE leaf SET item = NULL WHERE id = ?1", &[Id]),
    ("INSERT INTO tally (n) VALUES (?1)", &[N]),
    (
        "INSERT INTO tally (n) VALUES (?1) ON CONFLICT (n) DO NOTHING RETURNING n",
        &[N],
    ),
    ("UPDATE tally SET n = n + 100 WHERE n = ?1 RETURNING n - 100", &[N]),
    ("DELETE FROM tally WHERE n <= ?1", &[N]),
];

pub(super) const QUERIES: Texts = &[
    ("SELECT id, name, size, weight, body FROM item ORDER BY id", &[]),
    ("SELECT id, name FROM item ORDER BY name DESC, id", &[]),
    ("SELECT id, name, size, weight, body FROM item WHERE id = ?1", &[Id]),
    ("SELECT id FROM item WHERE name = ?1", &[Name]),
    (
        "SELECT name FROM item WHERE name >= ?1 ORDER BY name LIMIT ?2",
        &[Name, Few],
    ),
    (
        "SELECT id, size FROM item WHERE size BETWEEN ?1 AND ?2 ORDER BY size, id",
        &[Few, Size],
    ),
    (
        "SELECT size FROM item ORDER BY size DESC NULLS LAST, id LIMIT 3 OFFSET ?1",
        &[Few],
    ),
    ("SELECT id FROM item WHERE weight > ?1 ORDER BY weight, id", &[Weight]),
    ("SELECT id FROM item WHERE body = ?1 ORDER BY id", &[Body]),
    ("SELECT id FROM item WHERE body > ?1 ORDER BY body, id", &[Body]),
    (
        "SELECT id FROM item WHERE size IS NOT DISTINCT FROM ?1 ORDER BY id",
        &[Size],
    ),
    (
        "SELECT count(*), count(size), min(size), max(size), min(name), max(name) FROM item",
        &[],
    ),
    (
        "SELECT CAST(coalesce(sum(size), 0) AS INTEGER) FROM item WHERE size BETWEEN -1000 AND 1000",
        &[],
    ),
    (
        "SELECT size, count(*) FROM item GROUP BY size HAVING count(*) >= ?1 ORDER BY size NULLS FIRST",
        &[Few],
    ),
    ("SELECT DISTINCT size FROM item ORDER BY size NULLS FIRST", &[]),
    (
        "SELECT item.name, part.place, part.note FROM item JOIN part ON part.item = item.id ORDER BY item.id, part.place",
        &[],
    ),
    (
        "SELECT item.id, leaf.id FROM item LEFT JOIN leaf ON leaf.item = item.id ORDER BY item.id, leaf.id NULLS FIRST",
        &[],
    ),
    (
        "SELECT id, (SELECT max(place) FROM part WHERE part.item = item.id) FROM item ORDER BY id",
        &[],
    ),
    (
        "SELECT id FROM item WHERE EXISTS (SELECT 1 FROM part WHERE part.item = item.id AND part.note = ?1) ORDER BY id",
        &[Note],
    ),
    (
        "SELECT id FROM item WHERE id IN (?1, ?2, ?3) ORDER BY id",
        &[Id, Id, Id],
    ),
    (
        "SELECT id FROM item WHERE id IN (SELECT item FROM leaf) UNION SELECT item FROM part ORDER BY id",
        &[],
    ),
    ("SELECT item, place, note FROM part ORDER BY item, place", &[]),
    ("SELECT id, item, note FROM leaf ORDER BY id", &[]),
    ("SELECT id FROM leaf WHERE note LIKE ?1 ESCAPE '!' ORDER BY id", &[Note]),
    ("SELECT n FROM tally ORDER BY n", &[]),
    (
        "SELECT id, CASE WHEN size > 3 THEN 'big' WHEN size IS NULL THEN 'none' ELSE 'small' END FROM item ORDER BY id",
        &[],
    ),
    (
        "SELECT size / 2, size % 2, -size, abs(size) FROM item WHERE size BETWEEN -1000 AND 1000 ORDER BY id",
        &[],
    ),
    (
        "SELECT length(name), upper(note), lower(note), length(body), trim(note) FROM item JOIN leaf ON leaf.item = item.id WHERE name < 'z' ORDER BY leaf.id",
        &[],
    ),
    (
        "SELECT substr(name, 1, 1), replace(name, 'a', 'b'), name || '!' || name, coalesce(weight, 0.5) FROM item ORDER BY id",
        &[],
    ),
    (
        "SELECT nullif(size, ?1), coalesce(size, ?1) FROM item ORDER BY id",
        &[Few],
    ),
    (
        "SELECT id, row_number() OVER (ORDER BY size DESC NULLS LAST, id) FROM item ORDER BY id",
        &[],
    ),
    (
        "WITH big AS (SELECT id, size FROM item WHERE size > ?1) SELECT count(*), min(id) FROM big",
        &[Few],
    ),
    (
        "WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 4) SELECT n FROM up ORDER BY n",
        &[],
    ),
    (
        "SELECT id FROM item WHERE (size, id) > (?1, ?2) ORDER BY size, id",
        &[Few, Id],
    ),
    ("SELECT 'text', 7, 2.5, NULL", &[]),
    ("SELECT CAST(?1 AS INTEGER), CAST(?2 AS TEXT)", &[Size, Note]),
];

/// What is refused: by the engine, or by the house.
pub(super) const WRONG: Texts = &[
    ("SELECT nothing FROM item", &[]),
    ("SELECT * FROM nowhere", &[]),
    ("SELEC 1", &[]),
    ("SELECT id FROM item WHERE", &[]),
    ("SELECT nofunction(id) FROM item", &[]),
    ("SELECT id FROM item WHERE id = ?1", &[]),
    ("SELECT id FROM item WHERE id = ?1", &[Id, Id]),
    ("COMMIT", &[]),
    ("ROLLBACK", &[]),
    ("BEGIN", &[]),
    ("SAVEPOINT mine", &[]),
    // In a read these write, and in a closure they are what they are.
    ("INSERT INTO tally (n) VALUES (?1) RETURNING n", &[N]),
    ("UPDATE leaf SET note = ?1 RETURNING note", &[Note]),
    ("DELETE FROM leaf WHERE id = ?1", &[Id]),
];

static ITEMS: Set = Set::insert(
    "item",
    &[
        ("id", Kind::Int),
        ("name", Kind::Text),
        ("size", Kind::Int),
        ("weight", Kind::Real),
        ("body", Kind::Blob),
    ],
);
static PARTS: Set = Set::insert(
    "part",
    &[("item", Kind::Int), ("place", Kind::Int), ("note", Kind::Text)],
)
.on_conflict("(item, place) DO NOTHING");
static LEAVES: Set = Set::insert("leaf", &[("id", Kind::Int), ("note", Kind::Text)]);
static TALLIES: Set = Set::insert("tally", &[("n", Kind::Int)])
    .on_conflict("DO NOTHING")
    .returning("n", "id");

/// Each with what its columns are filled with; the last does not fit.
pub(super) const SETS: &[(&Set, &[Slot])] = &[
    (&ITEMS, &[Id, Name, Size, Weight, Body]),
    (&PARTS, &[Id, Few, Note]),
    (&LEAVES, &[Id, Note]),
    (&TALLIES, &[N]),
    (&LEAVES, &[Note, Id]),
];

/// Which of them tells keys.
pub(super) const TELLING: usize = 3;
