//! A whole plugin: counts words, remembers the count for each text, and tells who listens.

use hive_plugin_sdk::{Agent, Context, Failure, Schemas, log, memory};
use serde::{Deserialize, Serialize};

/// What to count.
#[derive(Debug, Serialize, Deserialize)]
pub struct Text {
    /// Names the text, to find its count again.
    pub title: String,
    /// The text.
    pub body: String,
}

/// What was counted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How many words the text has.
    pub words: u64,
    /// How many more than the last time, if there was one.
    pub grown_by: Option<i64>,
}

/// Counts words.
#[derive(Debug, Default)]
pub struct WordCount;

impl Agent for WordCount {
    const NAME: &'static str = "word-count";
    const DESCRIPTION: &'static str = "Counts the words of a text and says how much it has grown";
    const CAPABILITIES: &'static [&'static str] = &["text.measure"];
    type Input = Text;
    type Output = Count;

    fn schemas() -> Result<Schemas, Failure> {
        Schemas::parse(
            r#"{"type": "object", "required": ["title", "body"],
                "properties": {"title": {"type": "string"}, "body": {"type": "string"}}}"#,
            r#"{"type": "object", "required": ["words"],
                "properties": {"words": {"type": "integer", "minimum": 0}, "grown_by": {"type": ["integer", "null"]}}}"#,
        )
    }

    async fn run(&self, cx: &Context, text: Text) -> Result<Count, Failure> {
        if text.title.is_empty() {
            return Err(Failure::terminal("the text has no title").with_code("invalid-input"));
        }
        let words = u64::try_from(text.body.split_whitespace().count())?;
        // Remembered as one step: an attempt that fails afterwards must not take its own count for the last one.
        let count = cx
            .step("compare", async || {
                let last: Option<u64> = memory::get(&text.title)?;
                memory::set(&text.title, &words)?;
                let grown_by = last.map(|last| words.cast_signed().saturating_sub(last.cast_signed()));
                Ok::<_, Failure>(Count { words, grown_by })
            })
            .await?;
        log::write(
            log::Level::Info,
            "counted",
            &[("title", &text.title), ("words", &count.words)],
        );
        Ok(count)
    }
}

hive_plugin_sdk::export_plugin!("hive.word-count", WordCount);

#[cfg(test)]
mod tests {
    use hive_plugin_sdk::testing::{TestHost, TestTask};

    use super::*;

    fn text(body: &str) -> Text {
        Text {
            title: "a".to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn it_remembers_the_last_count() {
        let host = TestHost::new();
        let mut plugin = host.load::<ExportedPlugin>("{}").unwrap();
        let first = TestTask::new("word-count", &text("one two")).unwrap();
        assert_eq!(
            plugin.run::<Count>(&first).unwrap(),
            Count {
                words: 2,
                grown_by: None
            }
        );
        assert_eq!(
            plugin.run::<Count>(&first.again()).unwrap(),
            Count {
                words: 2,
                grown_by: None
            }
        );
        let second = TestTask::new("word-count", &text("one")).unwrap().with_id("task_2");
        assert_eq!(
            plugin.run::<Count>(&second).unwrap(),
            Count {
                words: 1,
                grown_by: Some(-1)
            }
        );
        assert_eq!(host.used(), ["log", "memory", "steps"]);
    }

    #[test]
    fn a_text_without_a_title_is_refused_for_good() {
        let mut plugin = TestHost::new().load::<ExportedPlugin>("{}").unwrap();
        let task = TestTask::new(
            "word-count",
            &Text {
                title: String::new(),
                body: String::new(),
            },
        )
        .unwrap();
        assert!(plugin.run::<Count>(&task).unwrap_err().is_terminal());
    }
}
