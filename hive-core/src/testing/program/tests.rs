use super::{Program, usual};

const NOWHERE: Program = Program {
    name: "no-such-server",
    package: "no-such-package",
};

#[test]
fn a_missing_program_is_named_with_its_package() {
    let error = NOWHERE.find(None).unwrap_err();
    assert_eq!(error.code(), "config");
    assert_eq!(error.field("program"), Some("no-such-server"));
    assert!(error.field("searched").unwrap().contains("/usr/sbin"), "{error}");
    assert!(error.hint().contains("`no-such-package`"), "{}", error.hint());
    assert!(error.hint().contains(".ci/test"), "{}", error.hint());
}

#[test]
fn the_path_comes_first_and_then_the_newest_version() {
    let versions = tempfile::tempdir().unwrap();
    for version in ["9", "15", "17", "notes"] {
        std::fs::create_dir_all(versions.path().join(version).join("bin")).unwrap();
    }
    let path = std::env::join_paths(["/a", "/b"]).unwrap();
    let found: Vec<String> = usual(Some(&path), versions.path())
        .iter()
        .map(|folder| {
            folder
                .strip_prefix(versions.path())
                .unwrap_or(folder)
                .display()
                .to_string()
        })
        .collect();
    let expected = ["/a", "/b", "17/bin", "15/bin", "9/bin", "/usr/local/sbin", "/usr/sbin"];
    assert_eq!(found, expected);
}

#[test]
fn links_are_followed_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let (real, links) = (folder.path().join("real"), folder.path().join("links"));
    std::fs::create_dir_all(&real).unwrap();
    std::fs::create_dir_all(&links).unwrap();
    std::fs::write(real.join(NOWHERE.name), "").unwrap();
    std::os::unix::fs::symlink(real.join(NOWHERE.name), links.join(NOWHERE.name)).unwrap();
    assert_eq!(NOWHERE.find(Some(&links)).unwrap(), links.join(NOWHERE.name));
    let expected = real.canonicalize().unwrap().join(NOWHERE.name);
    assert_eq!(NOWHERE.find_real(Some(&links)).unwrap(), expected);
}
