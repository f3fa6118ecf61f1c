use super::*;
use crate::lines::LineSet;
use crate::testing::TestRepo;

fn shown(listing: &Listing) -> Vec<String> {
    let line = |entry: &Entry| {
        let change = entry
            .change
            .as_ref()
            .map(|change| (change.added.ranges().to_vec(), change.removed));
        format!("{:?} {} {:?}", entry.kind, entry.path, change)
    };
    listing.entries.iter().map(line).collect()
}

async fn load_all(source: &Source, listing: &Listing) -> Vec<Loaded> {
    let contents: Vec<Content> = listing.entries.iter().map(|entry| entry.content.clone()).collect();
    source.load(&contents).await.unwrap()
}

fn whole(text: &str) -> Loaded {
    Loaded::Whole(text.as_bytes().to_vec())
}

#[tokio::test]
async fn a_tree_is_read_from_its_commit() {
    let repo = TestRepo::with(&[("b", "2\n"), ("sub/a", "1\n")]);
    repo.write("b", "not committed\n");
    let resolved = Source::tree(&repo.path()).await.unwrap();
    assert_eq!(
        resolved.notes,
        ["uncommitted changes are not reviewed (1 tracked files differ from HEAD)"]
    );
    let listing = resolved.source.list().await.unwrap();
    assert_eq!(shown(&listing), ["File b None", "File sub/a None"]);
    assert_eq!(load_all(&resolved.source, &listing).await, [whole("2\n"), whole("1\n")]);

    let scoped = Source::tree(&repo.path().join("sub")).await.unwrap();
    assert_eq!(shown(&scoped.source.list().await.unwrap()), ["File sub/a None"]);
    assert_ne!(scoped.source.fingerprint(), resolved.source.fingerprint());
}

#[tokio::test]
async fn a_range_names_the_changed_lines() {
    let repo = TestRepo::with(&[("edit", "1\n2\n3\n"), ("gone", "x\n"), ("move", "a\nb\nc\nd\ne\n")]);
    std::fs::remove_file(repo.path().join("gone")).unwrap();
    std::fs::remove_file(repo.path().join("move")).unwrap();
    repo.commit(
        &[
            ("edit", "1\ntwo\n3\n4\n"),
            ("moved", "a\nb\nc\nd\ne\nf\n"),
            ("new", "n\n"),
        ],
        "second",
    );
    let resolved = Source::range(&repo.path(), "HEAD~1..").await.unwrap();
    let listing = resolved.source.list().await.unwrap();
    assert_eq!(
        shown(&listing),
        [
            "File edit Some(([(2, 2), (4, 4)], 1))",
            "Deleted gone Some(([], 0))",
            "File moved Some(([(6, 6)], 0))",
            "File new Some(([(1, 1)], 0))",
        ]
    );
    let loaded = load_all(&resolved.source, &listing).await;
    assert_eq!(loaded[0], whole("1\ntwo\n3\n4\n"));
    assert_eq!(loaded[1], Loaded::Missing);
    assert_eq!(loaded[3], whole("n\n"));
    assert!(listing.exists(&RawPath::from("moved")) && !listing.exists(&RawPath::from("gone")));
}

#[tokio::test]
async fn three_dots_compare_with_where_two_branches_parted() {
    let repo = TestRepo::with(&[("a", "1\n")]);
    repo.git(&["checkout", "-q", "-b", "feature"]);
    repo.commit(&[("b", "1\n")], "feature");
    repo.git(&["checkout", "-q", "main"]);
    repo.commit(&[("c", "other\n")], "main goes on");
    let parted = Source::range(&repo.path(), "main...feature")
        .await
        .unwrap()
        .source
        .list()
        .await
        .unwrap();
    assert_eq!(shown(&parted), ["File b Some(([(1, 1)], 0))"]);
    let direct = Source::range(&repo.path(), "main..feature")
        .await
        .unwrap()
        .source
        .list()
        .await
        .unwrap();
    assert_eq!(
        shown(&direct),
        ["File b Some(([(1, 1)], 0))", "Deleted c Some(([], 0))"]
    );
    for bad in ["", "..", "...", "main"] {
        let error = Source::range(&repo.path(), bad).await.unwrap_err();
        assert!(matches!(error, Error::BadRange { .. }), "{bad}: {error:?}");
    }
}

#[tokio::test]
async fn a_diff_is_completed_from_the_repository_it_was_made_in() {
    let repo = TestRepo::with(&[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")]);
    repo.write("a", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n");
    repo.write("b", "new\n");
    repo.git(&["add", "-N", "b"]);
    let text = repo.git(&["diff"]);
    let keep = tempfile::tempdir().unwrap();

    let inside = Source::diff(&repo.path(), "-", text.as_bytes(), |_| keep.path().to_owned())
        .await
        .unwrap();
    let listing = inside.source.list().await.unwrap();
    assert_eq!(
        shown(&listing),
        ["File a Some(([(5, 5)], 1))", "File b Some(([(1, 1)], 0))"]
    );
    let loaded = load_all(&inside.source, &listing).await;
    assert_eq!(loaded, [whole("1\n2\n3\n4\nfive\n6\n7\n8\n9\n"), whole("new\n")]);

    let outside = Source::diff(keep.path(), "-", text.as_bytes(), |_| keep.path().to_owned())
        .await
        .unwrap();
    assert_eq!(outside.notes.len(), 1);
    let listing = outside.source.list().await.unwrap();
    let loaded = load_all(&outside.source, &listing).await;
    let piece = Piece {
        first_line: 2,
        bytes: b"2\n3\n4\nfive\n6\n7\n8\n".to_vec(),
    };
    assert_eq!(loaded, [Loaded::Pieces(vec![piece]), whole("new\n")]);
    assert_ne!(inside.source.fingerprint(), outside.source.fingerprint());
}

#[tokio::test]
async fn text_that_is_no_diff_is_refused() {
    let keep = tempfile::tempdir().unwrap();
    let error = Source::diff(keep.path(), "x.diff", b"hello\n", |_| keep.path().to_owned())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::EmptyDiff { .. }), "{error:?}");
    let error = Source::diff(keep.path(), "x.diff", b"--- a\n+++ b\n@@ -1 +1 @@\n", |_| {
        keep.path().to_owned()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, Error::BadDiff { .. }), "{error:?}");
    assert_eq!(
        std::fs::read_dir(keep.path()).unwrap().count(),
        0,
        "nothing is kept of a refused diff"
    );
}

#[test]
fn a_source_is_stored_and_read_back() {
    let source = Source::Diff {
        repository: Some(RawPath::new(&b"/caf\xe9"[..])),
        file: "f".into(),
        digest: "d".into(),
    };
    let text = serde_json::to_string(&source).unwrap();
    assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), source);
    let lines: LineSet = serde_json::from_str("[[1,2],[5,5]]").unwrap();
    assert_eq!(lines.len(), 3);
}
