//! The contract is the one thing that cannot be changed once a plugin is out, so its names stand here a second time.

use expect_test::expect;
use wit_parser::{Resolve, UnresolvedPackageGroup, WorldItem, WorldKey};

fn contract() -> (Resolve, wit_parser::PackageId) {
    let mut resolve = Resolve::default();
    let group = UnresolvedPackageGroup::parse("hive.wit", hive_plugin_sdk::WIT).unwrap();
    let package = resolve.push_group(group).unwrap();
    (resolve, package)
}

/// One line for each function of an interface: its name, parameters and result.
fn functions(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> String {
    let mut text = resolve.name_world_key(key);
    let WorldItem::Interface { id, .. } = item else {
        panic!("{text} is not an interface")
    };
    for function in resolve.interfaces[*id].functions.values() {
        let parameters: Vec<String> = function.params.iter().map(|param| param.name.to_string()).collect();
        text += &format!("\n  {}({})", function.name, parameters.join(", "));
    }
    text
}

#[test]
fn the_world_imports_and_exports_exactly_this() {
    let (resolve, package) = contract();
    assert_eq!(resolve.packages[package].name.to_string(), hive_plugin_sdk::CONTRACT);
    let world = &resolve.worlds[resolve.packages[package].worlds["plugin"]];
    let list = |items: Vec<String>| items.join("\n");
    expect![[r#"
        hive:plugin/log@0.1.0
          write(level, message, fields)
          progress(done, total, note)
        hive:plugin/clock@0.1.0
          now-micros()
        hive:plugin/random@0.1.0
          next()
          bytes(length)
        hive:plugin/types@0.1.0
        hive:plugin/events@0.1.0
          publish(topic, data, options)
        hive:plugin/memory@0.1.0
          get(key)
          set(key, value)
          replace(key, expected, new)
          delete(key)
          list(prefix, after, limit)
        hive:plugin/steps@0.1.0
          begin(name, options)
          finish(id, outcome)
        hive:plugin/tasks@0.1.0
          call(name, agent, input, options)
          start(name, agent, input, options)
          join(id)
        hive:plugin/model@0.1.0
          ask(request)
        hive:plugin/http@0.1.0
          fetch(request, body)"#]]
    .assert_eq(&list(
        world
            .imports
            .iter()
            .map(|(key, item)| functions(&resolve, key, item))
            .collect(),
    ));
    expect![[r#"
        hive:plugin/lifecycle@0.1.0
          describe()
          initialize(config)
          handle-task(task)
          cleanup()"#]]
    .assert_eq(&list(
        world
            .exports
            .iter()
            .map(|(key, item)| functions(&resolve, key, item))
            .collect(),
    ));
}

/// A case or a member that is added breaks every plugin that exists, so there are no enums, variants or flags to tempt.
#[test]
fn types_that_would_grow_are_json() {
    use wit_parser::TypeDefKind;
    let (resolve, _) = contract();
    for (_, definition) in &resolve.types {
        let grows = matches!(
            definition.kind,
            TypeDefKind::Enum(_) | TypeDefKind::Variant(_) | TypeDefKind::Flags(_)
        );
        assert!(!grows, "{:?}", definition.name);
    }
}

/// The members of the records, which are frozen with the package's version.
#[test]
fn records_have_exactly_these_members() {
    let (resolve, _) = contract();
    let mut text = String::new();
    for (_, definition) in &resolve.types {
        if let (wit_parser::TypeDefKind::Record(record), Some(name)) = (&definition.kind, &definition.name) {
            let members: Vec<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
            text += &format!("{name}: {}\n", members.join(", "));
        }
    }
    expect![[r#"
        task: id, agent, attempt, input, context
        failure: code, message, retryable, retry-after-ms, details
        step: id, remembered
        response: head, body
    "#]]
    .assert_eq(&text);
}
