use hive_core::testing::{folder, memory_folder};

#[test]
fn folders_are_empty_apart_and_gone_when_dropped() {
    for make in [folder, memory_folder] {
        let (left, right) = (make(), make());
        assert_ne!(left.path(), right.path());
        assert_eq!(std::fs::read_dir(left.path()).unwrap().count(), 0);
        std::fs::write(left.path().join("file"), "x").unwrap();
        let path = left.path().to_owned();
        drop(left);
        assert!(!path.exists());
        assert!(right.path().exists());
    }
}
