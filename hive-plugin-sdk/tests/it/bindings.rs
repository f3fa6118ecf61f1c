//! The bindings are committed so that a plugin's build needs no generator. This sees that they are current.

use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::Opts;
use wit_parser::{Resolve, UnresolvedPackageGroup};

const UPDATE: &str = "run the tests of this crate again with UPDATE_BINDINGS=1 in the environment, and commit";

#[test]
fn the_committed_bindings_are_made_from_the_contract() {
    let mut resolve = Resolve::default();
    let group = UnresolvedPackageGroup::parse("hive.wit", hive_plugin_sdk::WIT).unwrap();
    let package = resolve.push_group(group).unwrap();
    let world = resolve.packages[package].worlds["plugin"];

    let options = Opts {
        format: true,
        pub_export_macro: true,
        export_macro_name: Some("export_component".to_owned()),
        default_bindings_module: Some("$crate::bindings".to_owned()),
        runtime_path: Some("crate::bindings_runtime".to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files).unwrap();
    let (_, generated) = files.iter().next().unwrap();

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bindings.rs");
    if std::env::var_os("UPDATE_BINDINGS").is_some() {
        std::fs::write(path, generated).unwrap();
    }
    let committed = std::fs::read(path).unwrap_or_default();
    assert!(
        committed == generated,
        "src/bindings.rs is not what wit/hive.wit makes: {UPDATE}"
    );
}
