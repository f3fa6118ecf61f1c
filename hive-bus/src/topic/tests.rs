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
                correct the value named in the error and call again
            a topic has no wildcards; only a pattern does (wildcard=>, topic=task.>)
                correct the value named in the error and call again
            a topic has no wildcards; only a pattern does (wildcard=*, topic=*)
                correct the value named in the error and call again
            a topic has no wildcards; only a pattern does (wildcard=*, topic=ta*k)
                correct the value named in the error and call again
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
fn the_trie_forgets_branches_that_nobody_needs() {
    let mut trie = PatternTrie::new();
    let empty = format!("{trie:?}");
    let keys: Vec<_> = ["a.b.c", "a.*.c", "a.>", "*", "a.b"]
        .into_iter()
        .map(|text| trie.insert(&Pattern::new(text).unwrap(), text))
        .collect();
    assert_eq!(trie.len(), 5);
    for key in &keys {
        assert!(trie.remove(*key).is_some());
        assert!(trie.remove(*key).is_none());
    }
    assert!(trie.is_empty());
    // Apart from the counter of keys, which is not given back.
    assert_eq!(format!("{trie:?}").replace("next_key: 5", "next_key: 0"), empty);
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
    fn the_trie_finds_what_a_linear_search_finds(
        patterns in proptest::collection::vec((pattern(), any::<bool>()), 0..40),
        topics in proptest::collection::vec(topic(), 1..8),
    ) {
        let mut trie = PatternTrie::new();
        let keys: Vec<_> = patterns.iter().enumerate().map(|(at, (pattern, _))| trie.insert(pattern, at)).collect();
        for ((_, keep), key) in patterns.iter().zip(&keys) {
            if !keep {
                trie.remove(*key);
            }
        }
        for topic in &topics {
            let mut found: Vec<usize> = trie.matches(topic).into_iter().copied().collect();
            found.sort_unstable();
            let expected: Vec<usize> = (0..patterns.len())
                .filter(|&at| patterns[at].1 && fits_text(&patterns[at].0, topic))
                .collect();
            prop_assert_eq!(found, expected);
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
