//! Lines that may be topics and patterns: what is valid, and what matches, compared with rules written as simply as can be.
#![no_main]

use hive_bus::{Pattern, PatternTrie, Patterns, Topic, limits};
use libfuzzer_sys::fuzz_target;

fn is_valid(text: &str, is_topic: bool) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    let literal = |token: &str| {
        !token.is_empty()
            && token
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_:@/+=~%#".contains(c))
    };
    let last = tokens.len() - 1;
    let fits =
        |(at, token): (usize, &&str)| literal(token) || (!is_topic && (*token == "*" || (*token == ">" && at == last)));
    text.len() <= limits::TOPIC_BYTES_MAX
        && tokens.len() <= limits::TOPIC_TOKENS_MAX
        && tokens.iter().enumerate().all(fits)
}

fn matches(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([], []) => true,
        ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, topic @ ..]) => matches(pattern, topic),
        ([wanted, pattern @ ..], [token, topic @ ..]) => wanted == token && matches(pattern, topic),
        _ => false,
    }
}

fuzz_target!(|text: &str| {
    let (mut topics, mut patterns) = (Vec::new(), Vec::new());
    for line in text.split('\n') {
        let topic = Topic::new(line.to_owned());
        assert_eq!(topic.is_ok(), is_valid(line, true), "{line:?}");
        topics.extend(topic);
        let pattern = Pattern::new(line.to_owned());
        assert_eq!(pattern.is_ok(), is_valid(line, false), "{line:?}");
        patterns.extend(pattern);
    }
    let mut trie = PatternTrie::new();
    let mut keys: Vec<_> = patterns
        .iter()
        .enumerate()
        .map(|(at, pattern)| trie.insert(pattern, at))
        .collect();
    let any = Patterns::new(patterns.iter().map(|pattern| pattern.as_str().to_owned()));
    assert_eq!(any.is_ok(), (1..=limits::PATTERNS_MAX).contains(&patterns.len()));
    for topic in &topics {
        let tokens: Vec<&str> = topic.as_str().split('.').collect();
        let fits = |pattern: &Pattern| {
            pattern.as_str() == "*" || matches(&pattern.as_str().split('.').collect::<Vec<_>>(), &tokens)
        };
        let expected: Vec<usize> = (0..patterns.len()).filter(|at| fits(&patterns[*at])).collect();
        for (at, pattern) in patterns.iter().enumerate() {
            assert_eq!(pattern.matches(topic), expected.contains(&at), "{pattern} {topic}");
        }
        let mut found: Vec<usize> = trie.matches(topic).into_iter().copied().collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{topic}");
        if let Ok(any) = &any {
            assert_eq!(any.matches(topic), !expected.is_empty(), "{any} {topic}");
        }
    }
    // Taken out in another order than put in, they leave nothing.
    keys.reverse();
    for key in keys {
        assert!(trie.remove(key).is_some());
    }
    assert!(trie.is_empty() && topics.iter().all(|topic| trie.matches(topic).is_empty()));
});
