use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::*;
use crate::path::RawPath;
use crate::testing::{TestRepo, git};

async fn open(path: &Path) -> Repository {
    Repository::open(path).await.unwrap()
}

#[tokio::test]
async fn a_commit_and_its_files() {
    let repo = TestRepo::with(&[("src/lib.rs", "pub fn f() {}\n"), ("README.md", "# hi\n")]);
    std::os::unix::fs::symlink("README.md", repo.path().join("link")).unwrap();
    let oid = repo.commit(&[], "second line\n\nbody");
    let opened = open(&repo.path()).await;
    let head = opened.head().await.unwrap();
    assert_eq!(
        head,
        Commit {
            oid,
            time: "2024-01-02T03:04:05Z".into(),
            subject: "second line".into()
        }
    );
    assert_eq!(opened.name(), "project");
    let tree = opened.tree(&head.oid).await.unwrap();
    let names: Vec<String> = tree
        .iter()
        .map(|entry| format!("{:?} {} {:?}", entry.kind, entry.path, entry.size))
        .collect();
    assert_eq!(
        names,
        [
            "File README.md Some(5)",
            "Link link Some(9)",
            "File src/lib.rs Some(14)"
        ]
    );
    let oids: Vec<String> = tree
        .iter()
        .map(|entry| entry.oid.clone())
        .chain(["0".repeat(40)])
        .collect();
    let blobs = opened.blobs(&oids).await.unwrap();
    assert_eq!(blobs[0], Blob::Content(b"# hi\n".to_vec()));
    assert_eq!(blobs[2], Blob::Content(b"pub fn f() {}\n".to_vec()));
    assert_eq!(blobs[3], Blob::Missing);
}

#[tokio::test]
async fn contents_of_every_shape_are_read_back() {
    let repo = TestRepo::empty();
    let large = vec![b'x'; usize::try_from(limits::FILE_BYTES_MAX).unwrap() + 1];
    let contents: [&[u8]; 5] = [b"", b"\n", b"no newline", b"\0\xff\n\nblob 3\n", &large];
    for (number, content) in contents.iter().enumerate() {
        repo.write(format!("f{number}"), content);
    }
    repo.commit(&[], "first");
    let opened = open(&repo.path()).await;
    let tree = opened.tree("HEAD").await.unwrap();
    let oids: Vec<String> = tree.iter().map(|entry| entry.oid.clone()).collect();
    let blobs = opened.blobs(&oids).await.unwrap();
    for (blob, content) in blobs.iter().zip(&contents[..4]) {
        assert_eq!(*blob, Blob::Content(content.to_vec()));
    }
    assert_eq!(blobs[4], Blob::TooLarge);
}

#[tokio::test]
async fn names_that_are_not_text() {
    let repo = TestRepo::empty();
    let names: [&[u8]; 3] = [b"caf\xe9.rs", b"new\nline", b"tab\t\"quote\""];
    for name in names {
        repo.write(OsStr::from_bytes(name), "x\n");
    }
    let head = repo.commit(&[], "first");
    let tree = open(&repo.path()).await.tree(&head).await.unwrap();
    let listed: Vec<&[u8]> = tree.iter().map(|entry| entry.path.as_bytes()).collect();
    assert_eq!(listed, names);
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let outside = tempfile::tempdir().unwrap();
    let error = Repository::open(outside.path()).await.unwrap_err();
    assert!(matches!(error, Error::NotARepository { .. }), "{error:?}");
    let error = Repository::open(&outside.path().join("nowhere")).await.unwrap_err();
    assert!(matches!(error, Error::NoDirectory { .. }), "{error:?}");
    std::fs::write(outside.path().join("file"), "").unwrap();
    let error = Repository::open(&outside.path().join("file")).await.unwrap_err();
    assert!(matches!(error, Error::NoDirectory { .. }), "{error:?}");

    let empty = TestRepo::empty();
    let error = open(&empty.path()).await.head().await.unwrap_err();
    assert!(matches!(error, Error::NoCommits { .. }), "{error:?}");

    let repo = TestRepo::with(&[("a", "1\n")]);
    let opened = open(&repo.path()).await;
    for revision in [
        "nope",
        "",
        "-x",
        "--all",
        "HEAD^",
        "HEAD:a",
        "a\nb",
        "0123456789012345678901234567890123456789",
    ] {
        let error = opened.commit(revision).await.unwrap_err();
        assert!(
            matches!(error, Error::UnknownRevision { shallow: false, .. }),
            "{revision}: {error:?}"
        );
    }
}

#[tokio::test]
async fn bare_and_nested_and_shallow() {
    let repo = TestRepo::with(&[("a", "1\n"), ("src/deep/b", "2\n")]);
    repo.commit(&[("a", "2\n")], "second");
    let home = tempfile::tempdir().unwrap();
    let url = format!("file://{}", repo.path().display());
    git(home.path(), &["clone", "-q", "--bare", &url, "bare.git"]);
    git(home.path(), &["clone", "-q", "--depth=1", &url, "shallow"]);

    let bare = open(&home.path().join("bare.git")).await;
    assert_eq!((bare.name(), bare.uncommitted().await.unwrap()), ("bare", 0));
    assert_eq!(bare.tree(&bare.head().await.unwrap().oid).await.unwrap().len(), 2);

    let nested = open(&repo.path().join("src/deep")).await;
    assert_eq!((nested.name(), nested.scope()), ("project", &RawPath::from("src/deep")));
    assert_eq!(nested.tree("HEAD").await.unwrap().len(), 2);

    let shallow = open(&home.path().join("shallow")).await;
    assert!(shallow.is_shallow());
    let error = shallow.commit("HEAD~1").await.unwrap_err();
    assert!(
        matches!(error, Error::UnknownRevision { shallow: true, .. }),
        "{error:?}"
    );
    assert!(error.hint().contains("--unshallow"));
}

#[tokio::test]
async fn a_repository_cannot_make_git_run_its_programs() {
    let repo = TestRepo::with(&[("a.txt", "one\n"), (".gitattributes", "* filter=evil diff=evil\n")]);
    let base = open(&repo.path()).await.head().await.unwrap();
    repo.commit(&[("a.txt", "two\n")], "second");
    let trap = repo.path().join("trapped");
    let program = format!("touch {} && cat #", trap.display());
    for key in [
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "diff.evil.textconv",
        "diff.evil.command",
        "diff.external",
        "core.fsmonitor",
        "core.pager",
        "gpg.program",
    ] {
        repo.git(&["config", key, &program]);
    }
    repo.git(&["config", "log.showSignature", "true"]);
    // The work tree differs and has newer times, so a porcelain command would filter it.
    repo.write("a.txt", "three\n");
    let opened = open(&repo.path()).await;
    let head = opened.head().await.unwrap();
    let diff = opened.diff(&base, &head).await.unwrap();
    let tree = opened.tree(&head.oid).await.unwrap();
    let oids: Vec<String> = tree.iter().map(|entry| entry.oid.clone()).collect();
    opened.blobs(&oids).await.unwrap();
    opened.merge_base(&base, &head).await.unwrap();
    assert_eq!(opened.uncommitted().await.unwrap(), 1);
    assert!(String::from_utf8_lossy(&diff).contains("+two"), "the diff is git's own");
    assert!(!trap.exists(), "a program of the repository ran");
}

#[tokio::test]
async fn uncommitted_changes_are_counted() {
    let repo = TestRepo::with(&[("a", "1\n"), ("b", "1\n"), ("sub/c", "1\n"), ("d", "1\n")]);
    let opened = open(&repo.path()).await;
    assert_eq!(opened.uncommitted().await.unwrap(), 0);
    // Touched and not changed; changed to the same length; staged; deleted; untracked.
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1);
    std::fs::File::options()
        .write(true)
        .open(repo.path().join("a"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    assert_eq!(opened.uncommitted().await.unwrap(), 0);
    repo.write("b", "2\n");
    std::fs::File::options()
        .write(true)
        .open(repo.path().join("b"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    repo.write("sub/c", "2\n");
    repo.git(&["add", "sub/c"]);
    std::fs::remove_file(repo.path().join("d")).unwrap();
    repo.write("new", "1\n");
    assert_eq!(opened.uncommitted().await.unwrap(), 3);
}

#[tokio::test]
async fn unrelated_histories_have_no_merge_base() {
    let repo = TestRepo::with(&[("a", "1\n")]);
    let opened = open(&repo.path()).await;
    let first = opened.head().await.unwrap();
    repo.git(&["checkout", "-q", "--orphan", "other"]);
    repo.commit(&[("b", "1\n")], "other");
    let other = opened.head().await.unwrap();
    let error = opened.merge_base(&first, &other).await.unwrap_err();
    assert!(matches!(error, Error::NoMergeBase { .. }), "{error:?}");
    assert!(!opened.diff(&first, &other).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_commit_made_by_hand_is_no_trap() {
    let repo = TestRepo::with(&[("a", "1\n")]);
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    repo.write(
        "commit",
        format!(
            "tree {}author A <a> 99999999999999999 +0000\ncommitter A <a> 99999999999999999 +0000\n\n\x1b[31mred\n",
            tree
        ),
    );
    let oid = repo.git(&["hash-object", "-t", "commit", "-w", "--literally", "commit"]);
    let commit = open(&repo.path()).await.commit(oid.trim()).await.unwrap();
    assert_eq!((commit.time.as_str(), commit.subject.as_str()), ("unknown", "[31mred"));
}
