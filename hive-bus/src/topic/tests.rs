use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn errors(texts: &[&str], check: impl Fn(String) -> Option<Error>, expected: Expect) {
    let mut seen = String::new();
    for text in texts {
        let error = check((*text).to_owned()).unwrap_or_else(|| panic!("{text:?} was accepted"));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        seen += &format!("{error}\n    {}\n", error.hint());
    }
    expected.assert_eq(&seen);
}

#[test]
fn a_topic_is_refused_with_its_reason() {
    errors(
        &[
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "task failed",
            "task.é",
            "task.\u{0}",
            "task.*",
            "task.>",
            "*",
            "ta*k",
        ],
        |text| Topic::new(text).err(),
        expect![[r#"
            the topic is empty
                write tokens between dots, such as task.failed.reviewer
            the topic has an empty token (topic=., token=1)
                write one dot between tokens, and none at the ends
            the topic has an empty token (topic=a., token=2)
                write one dot between tokens, and none at the ends
            the topic has an empty token (topic=.a, token=1)
                write one dot between tokens, and none at the ends
            the topic has an empty token (topic=a..b, token=2)
                write one dot between tokens, and none at the ends
            the topic has a character that is not allowed (topic="task failed", character=" ")
                tokens are made of ASCII letters, digits and - _ : @ / + = ~ % #
            the topic has a character that is not allowed (topic=task.é, character=é)
                tokens are made of ASCII letters, digits and - _ : @ / + = ~ % #
            the topic has a character that is not allowed (topic=task.\0, character=\0)
                tokens are made of ASCII letters, digits and - _ : @ / + = ~ % #
            a topic has no wildcards; only a pattern does (wildcard=*, topic=task.*)
                name the one topic that the event is about; wildcards are for those who listen
            a topic has no wildcards; only a pattern does (wildcard=>, topic=task.>)
                name the one topic that the event is about; wildcards are for those who listen
            a topic has no wildcards; only a pattern does (wildcard=*, topic=*)
                name the one topic that the event is about; wildcards are for those who listen
            a topic has no wildcards; only a pattern does (wildcard=*, topic=ta*k)
                name the one topic that the event is about; wildcards are for those who listen
        "#]],
    );
}

#[test]
fn a_pattern_is_refused_with_its_reason() {
    errors(
        &["", "a..b", "task.fail*", "**", "task.>.reviewer", ">.a", ">>", "a b"],
        |text| Pattern::new(text).err(),
        expect![[r#"
            the pattern is empty
                write tokens between dots, such as task.failed.reviewer
            the pattern has an empty token (pattern=a..b, token=2)
                write one dot between tokens, and none at the ends
            a wildcard stands for a whole token (token=fail*, pattern=task.fail*)
                write `*` for one token or a last `>` for the rest; there is no prefix match
            a wildcard stands for a whole token (token=**, pattern=**)
                write `*` for one token or a last `>` for the rest; there is no prefix match
            `>` may only be the last token of a pattern (pattern=task.>.reviewer)
                use `*` for one token in the middle
            `>` may only be the last token of a pattern (pattern=>.a)
                use `*` for one token in the middle
            a wildcard stands for a whole token (token=>>, pattern=>>)
                write `*` for one token or a last `>` for the rest; there is no prefix match
            the pattern has a character that is not allowed (pattern="a b", character=" ")
                tokens are made of ASCII letters, digits and - _ : @ / + = ~ % #
        "#]],
    );
}

#[test]
fn length_is_bounded() {
    let longest = "a".repeat(limits::TOPIC_BYTES_MAX);
    assert!(Topic::new(longest.clone()).is_ok() && Pattern::new(longest.clone()).is_ok());
    let error = Topic::new(longest + "a").unwrap_err();
    expect!["the topic is too long (bytes=256, limit=255)"].assert_eq(&error.to_string());

    let most = vec!["a"; limits::TOPIC_TOKENS_MAX].join(".");
    assert!(Topic::new(most.clone()).is_ok() && Pattern::new(most.clone()).is_ok());
    let error = Topic::new(most + ".a").unwrap_err();
    expect!["the topic has too many tokens (tokens=17, limit=16)"].assert_eq(&error.to_string());
}

#[test]
fn a_star_alone_means_everything() {
    for all in ["*", ">"] {
        let all = Pattern::new(all).unwrap();
        assert!(all.is_all());
        assert!(all.matches(&Topic::new("a").unwrap()) && all.matches(&Topic::new("a.b.c").unwrap()));
    }
    let one_token_below = Pattern::new("a.*").unwrap();
    assert!(!one_token_below.matches(&Topic::new("a.b.c").unwrap()));
}

#[test]
fn text_round_trips_through_serde_and_is_checked() {
    let pattern: Pattern = serde_json::from_str(r#""task.*.reviewer""#).unwrap();
    assert_eq!(serde_json::to_string(&pattern).unwrap(), r#""task.*.reviewer""#);
    assert!(serde_json::from_str::<Topic>(r#""task.*""#).is_err());
}

#[test]
fn what_strangers_send_is_refused_with_what_and_where() {
    let texts = [
        "a".repeat(limits::TOPIC_BYTES_MAX + 1),
        "a.".repeat(1 << 20),
        "\u{0}".repeat(1 << 20),
        vec!["a"; limits::TOPIC_TOKENS_MAX + 1].join("."),
        "task.zoë".into(),
        "task.\u{202e}deliaf".into(),
        "task\0".into(),
        "task\r\nfailed".into(),
        "task.\u{1b}[2J".into(),
        "task.*".into(),
        "task.>".into(),
        "task.>.a".into(),
        "ta>k".into(),
        "..".into(),
        "task..failed".into(),
        "task.failed.".into(),
        "task,failed".into(),
        " ".into(),
    ];
    let mut seen = String::new();
    for text in texts {
        let error = Topic::new(text.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let shown = error.to_string();
        assert!(
            shown.len() < 200 && !shown.chars().any(char::is_control),
            "{} bytes are shown as {shown:?}",
            text.len()
        );
        seen += &format!("{shown}\n");
    }
    expect![[r#"
        the topic is too long (bytes=256, limit=255)
        the topic is too long (bytes=2097152, limit=255)
        the topic is too long (bytes=1048576, limit=255)
        the topic has too many tokens (tokens=17, limit=16)
        the topic has a character that is not allowed (topic=task.zoë, character=ë)
        the topic has a character that is not allowed (topic=task.\u{202e}deliaf, character=\u{202e})
        the topic has a character that is not allowed (topic=task\0, character=\0)
        the topic has a character that is not allowed (topic=task\r\nfailed, character=\r)
        the topic has a character that is not allowed (topic=task.\u{1b}[2J, character=\u{1b})
        a topic has no wildcards; only a pattern does (wildcard=*, topic=task.*)
        a topic has no wildcards; only a pattern does (wildcard=>, topic=task.>)
        a topic has no wildcards; only a pattern does (wildcard=>, topic=task.>.a)
        a topic has no wildcards; only a pattern does (wildcard=>, topic=ta>k)
        the topic has an empty token (topic=.., token=1)
        the topic has an empty token (topic=task..failed, token=2)
        the topic has an empty token (topic=task.failed., token=3)
        the topic has a character that is not allowed (topic="task,failed", character=",")
        the topic has a character that is not allowed (topic=" ", character=" ")
    "#]]
    .assert_eq(&seen);
}

#[test]
fn what_people_type_is_normalised() {
    let mut seen = String::new();
    for text in [
        "  task.failed\n",
        "task..failed",
        ".task.failed...",
        "Task.failed",
        "task/failed",
        "task.failed.>",
        ".*.",
        "task. failed",
        "...",
        " \t ",
    ] {
        let shown = |result: Result<String>| result.unwrap_or_else(|e| format!("{e}"));
        let topic = shown(Topic::normalise(text).map(|topic| topic.to_string()));
        let pattern = shown(Pattern::normalise(text).map(|pattern| pattern.to_string()));
        seen += &format!("{text:?}\n    {topic}\n");
        if pattern != topic {
            seen += &format!("    {pattern}\n");
        }
    }
    expect![[r#"
        "  task.failed\n"
            task.failed
        "task..failed"
            task.failed
        ".task.failed..."
            task.failed
        "Task.failed"
            Task.failed
        "task/failed"
            task/failed
        "task.failed.>"
            a topic has no wildcards; only a pattern does (wildcard=>, topic=task.failed.>)
            task.failed.>
        ".*."
            a topic has no wildcards; only a pattern does (wildcard=*, topic=*)
            *
        "task. failed"
            the topic has a character that is not allowed (topic="task. failed", character=" ")
            the pattern has a character that is not allowed (pattern="task. failed", character=" ")
        "..."
            the topic is empty
            the pattern is empty
        " \t "
            the topic is empty
            the pattern is empty
    "#]]
    .assert_eq(&seen);
}

fn patterns_of(texts: &[&str]) -> Result<Patterns> {
    Patterns::new(texts.iter().map(|text| (*text).to_owned()))
}

#[test]
fn patterns_have_one_form() {
    let mut seen = String::new();
    for texts in [
        &["b", "a", "b"][..],
        &["task.failed.reviewer", "task.failed.>", "task.*.reviewer"],
        &["a.b", ">", "*", "a.>"],
        &[">"],
        &["a.*", "a.>", "a.*.*", "a"],
        &["*.b", "a.*"],
    ] {
        let patterns = patterns_of(texts).unwrap();
        assert_eq!(patterns.iter().len(), patterns.to_string().split(',').count());
        let text = serde_json::to_string(&patterns).unwrap();
        assert_eq!(serde_json::from_str::<Patterns>(&text).unwrap(), patterns);
        seen += &format!("{texts:?} {text}\n");
    }
    expect![[r#"
        ["b", "a", "b"] ["a","b"]
        ["task.failed.reviewer", "task.failed.>", "task.*.reviewer"] ["task.*.reviewer","task.failed.>"]
        ["a.b", ">", "*", "a.>"] ["*"]
        [">"] ["*"]
        ["a.*", "a.>", "a.*.*", "a"] ["a","a.>"]
        ["*.b", "a.*"] ["*.b","a.*"]
    "#]]
    .assert_eq(&seen);
    assert_eq!(Patterns::from(Pattern::new(">").unwrap()), patterns_of(&["*"]).unwrap());
}

#[test]
fn patterns_are_refused_with_their_reason() {
    let many = vec!["a"; limits::PATTERNS_MAX + 1];
    assert!(patterns_of(&many[1..]).is_ok());
    let endless = || Patterns::new(std::iter::repeat("a"));
    let json = |texts: &[&str]| {
        let json = serde_json::to_string(texts).unwrap();
        serde_json::from_str::<Patterns>(&json).unwrap_err().to_string()
    };
    let seen = [
        patterns_of(&[]).unwrap_err().to_string(),
        patterns_of(&["a", "b..c"]).unwrap_err().to_string(),
        patterns_of(&many).unwrap_err().to_string(),
        endless().unwrap_err().to_string(),
        "".parse::<Patterns>().unwrap_err().to_string(),
        "a, ,b".parse::<Patterns>().unwrap_err().to_string(),
        json(&[]),
        json(&["a", "ta*k"]),
        json(&many),
        serde_json::from_str::<Patterns>("\"a\"").unwrap_err().to_string(),
    ];
    expect![[r#"
        [
            "there is no pattern",
            "the pattern has an empty token (pattern=b..c, token=2, position=2)",
            "there are too many patterns (limit=16)",
            "there are too many patterns (limit=16)",
            "the pattern is empty (position=1)",
            "the pattern is empty (position=2)",
            "there is no pattern at line 1 column 2",
            "a wildcard stands for a whole token (token=ta*k, pattern=ta*k, position=2) at line 1 column 12",
            "there are too many patterns (limit=16) at line 1 column 69",
            "invalid type: string \"a\", expected a list of 1 to 16 patterns at line 1 column 3",
        ]
    "#]]
    .assert_debug_eq(&seen);
}

#[test]
fn the_trie_forgets_branches_that_nobody_needs() {
    let mut trie = PatternTrie::new();
    let empty = format!("{trie:?}");
    let keys: Vec<_> = ["a.b.c", "a.*.c", "a.>", "*", "a.b"]
        .into_iter()
        .map(|text| trie.insert(&Pattern::new(text).unwrap(), text))
        .collect();
    expect!["PatternTrie { values: 5, nodes: 6, tokens: 3, .. }"].assert_eq(&format!("{trie:?}"));
    for key in &keys {
        assert!(trie.remove(*key).is_some());
        assert!(trie.remove(*key).is_none());
    }
    assert!(trie.is_empty());
    assert_eq!(format!("{trie:?}"), empty);
    // Its place is used again, and its key is not.
    trie.insert(&Pattern::ALL, "later");
    assert_eq!((trie.remove(keys[4]), trie.len()), (None, 1));
}

#[test]
fn what_is_published_leaves_nothing_in_the_trie() {
    let mut trie = PatternTrie::new();
    trie.insert(&Pattern::new("a.*.c").unwrap(), ());
    let before = format!("{trie:?}");
    for number in 0..1_000 {
        assert!(
            trie.matches(&Topic::new(format!("a.stranger-{number}.c-{number}")).unwrap())
                .is_empty()
        );
    }
    assert_eq!(format!("{trie:?}"), before);
}

/// Every way of putting `*` into a topic, the worst that patterns can do.
#[test]
fn patterns_that_differ_only_in_their_wildcards_are_all_found() {
    let token = |at: u32| char::from(b'a' + u8::try_from(at).unwrap());
    let tokens = 12;
    let mut trie = PatternTrie::new();
    for stars in 0..1_u32 << tokens {
        let text: Vec<String> = (0..tokens)
            .map(|at| if stars >> at & 1 == 1 { '*' } else { token(at) }.to_string())
            .collect();
        trie.insert(&Pattern::new(text.join(".")).unwrap(), stars);
    }
    let topic: Vec<String> = (0..tokens).map(|at| token(at).to_string()).collect();
    let topic = Topic::new(topic.join(".")).unwrap();
    let mut found: Vec<u32> = trie.matches(&topic).into_iter().copied().collect();
    found.sort_unstable();
    assert_eq!(found, (0..1 << tokens).collect::<Vec<u32>>());
}

/// The definition, token by token.
fn fits(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([">"], rest) => !rest.is_empty(),
        (["*", pattern @ ..], [_, topic @ ..]) => fits(pattern, topic),
        ([wanted, pattern @ ..], [token, topic @ ..]) => wanted == token && fits(pattern, topic),
        (pattern, topic) => pattern.is_empty() && topic.is_empty(),
    }
}

fn fits_text(pattern: &Pattern, topic: &Topic) -> bool {
    pattern.as_str() == "*"
        || fits(
            &pattern.tokens().collect::<Vec<_>>(),
            &topic.tokens().collect::<Vec<_>>(),
        )
}

// Few different tokens, so that matches are common; `ab` and `a-` to catch comparisons of text instead of tokens.
fn topic() -> impl Strategy<Value = Topic> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("ab"), Just("a-")], 1..6)
        .prop_map(|tokens| Topic::new(tokens.join(".")).unwrap())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let token = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("ab"), 1 => Just("a-"), 3 => Just("*")];
    (proptest::collection::vec(token, 0..5), any::<bool>()).prop_map(|(mut tokens, rest)| {
        if rest || tokens.is_empty() {
            tokens.push(">");
        }
        Pattern::new(tokens.join(".")).unwrap()
    })
}

fn topics() -> impl Strategy<Value = Vec<Topic>> {
    proptest::collection::vec(topic(), 1..8)
}

/// Topics that `pattern` matches: a strange token for each wildcard, and more of them behind for a `>`.
fn samples(pattern: &Pattern) -> Vec<Topic> {
    let pattern = if pattern.is_all() { ">" } else { pattern.as_str() };
    let plain = pattern.replace('*', "strange");
    (1..8)
        .map(|count| plain.replace('>', &vec!["strange"; count].join(".")))
        .map(|text| Topic::new(text).unwrap())
        .collect()
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Pattern),
    Remove(proptest::sample::Index),
    Match(Topic),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => pattern().prop_map(Step::Insert),
        2 => any::<proptest::sample::Index>().prop_map(Step::Remove),
        3 => topic().prop_map(Step::Match),
    ]
}

proptest! {
    #[test]
    fn matching_agrees_with_the_definition(pattern in pattern(), topic in topic()) {
        prop_assert_eq!(pattern.matches(&topic), fits_text(&pattern, &topic));
    }

    #[test]
    fn every_match_begins_with_the_literal_prefix(pattern in pattern(), topic in topic()) {
        if pattern.matches(&topic) {
            prop_assert!(topic.as_str().starts_with(pattern.literal_prefix()));
            prop_assert!(!pattern.is_literal() || topic.as_str() == pattern.as_str());
        }
    }

    #[test]
    fn the_trie_does_what_a_list_does(steps in proptest::collection::vec(step(), 0..120)) {
        let mut trie = PatternTrie::new();
        let mut list: Vec<(PatternKey, Pattern, usize)> = Vec::new();
        let mut gone = Vec::new();
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(pattern) => list.push((trie.insert(&pattern, at), pattern, at)),
                Step::Remove(_) if list.is_empty() => {}
                Step::Remove(index) => {
                    let (key, _, value) = list.swap_remove(index.index(list.len()));
                    prop_assert_eq!(trie.remove(key), Some(value));
                    gone.push(key);
                }
                Step::Match(topic) => {
                    let mut found: Vec<usize> = trie.matches(&topic).into_iter().copied().collect();
                    found.sort_unstable();
                    let mut expected: Vec<usize> = list
                        .iter()
                        .filter(|(_, pattern, _)| fits_text(pattern, &topic))
                        .map(|(_, _, value)| *value)
                        .collect();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected);
                }
            }
            prop_assert_eq!((trie.len(), trie.is_empty()), (list.len(), list.is_empty()));
        }
        for key in gone {
            prop_assert_eq!(trie.remove(key), None);
        }
        for (key, _, value) in list {
            prop_assert_eq!(trie.remove(key), Some(value));
        }
        prop_assert_eq!(format!("{trie:?}"), format!("{:?}", PatternTrie::<()>::new()));
    }

    #[test]
    fn a_pattern_covers_what_matches_no_other_topics(one in pattern(), other in pattern(), topics in topics()) {
        let counterexample = topics
            .iter()
            .chain(&samples(&other))
            .any(|topic| fits_text(&other, topic) && !fits_text(&one, topic));
        if one.covers(&other) {
            prop_assert!(!counterexample);
        } else {
            prop_assert!(counterexample, "{} covers {} and does not know", one, other);
        }
    }

    #[test]
    fn patterns_match_what_one_of_them_matches(
        list in proptest::collection::vec(pattern(), 1..=limits::PATTERNS_MAX),
        topics in topics(),
    ) {
        let patterns = Patterns::new(list.iter().cloned()).unwrap();
        for topic in &topics {
            let expected = list.iter().any(|pattern| fits_text(pattern, topic));
            prop_assert_eq!(patterns.matches(topic), expected, "{} {}", patterns, topic);
        }
        prop_assert_eq!(&patterns.to_string().parse::<Patterns>().unwrap(), &patterns);
        let backwards = Patterns::new(list.iter().rev().cloned()).unwrap();
        prop_assert_eq!(backwards, patterns);
    }

    #[test]
    fn what_is_normal_stays_as_it_is(text in "[a*>. ]{0,12}") {
        let (exact, normal) = (Pattern::new(text.clone()), Pattern::normalise(&text));
        if let Ok(exact) = exact {
            prop_assert_eq!(&normal.unwrap(), &exact);
        } else if let Ok(normal) = normal {
            prop_assert_eq!(&Pattern::normalise(normal.as_str()).unwrap(), &normal);
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let topic = Topic::new(text.clone());
        let pattern = Pattern::new(text.clone());
        // Whatever is a topic is a pattern that matches itself.
        if let Ok(topic) = topic {
            prop_assert!(pattern.unwrap().matches(&topic));
        }
    }
}
