//! Reviews: something is judged, and the verdict stands where it can be asked for.

use hive_bus::NewEvent;
use hive_bus::catalog::{ReviewCompleted, ReviewEscalated, ReviewRequested, ReviewStarted};
use hive_core::clock::Timestamp;
use hive_core::db::{Cell, Kind, Row, Set, Snapshot, Tx};
use hive_errors::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use hive_bus::catalog::Verdict;

use super::page::{Narrow, OWN, Page, Search, narrows};
use super::{Owner, check_line, check_line_opt, check_text, missing, refused};
use crate::lease::listed;
use crate::task::query::TaskSummary;

const FAMILY: &str = "review";

/// What is to be reviewed.
///
/// ```
/// use hive_orchestration::family::review::Review;
///
/// let review = Review::of("hive/hive", "abc123").base("main").title("a shorter way").requested_by("ada");
/// assert_eq!(review.subject(), "hive/hive@abc123");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Review {
    /// Where it stands: a repository, or whatever has revisions.
    pub repository: String,
    /// What is judged: a commit, a branch, a version.
    pub revision: String,
    /// Against what it is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What it is about, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

impl Review {
    /// A revision of a repository. Each line is at most [`RECORD_LINE_BYTES`](crate::limits::RECORD_LINE_BYTES) long, without control
    /// characters; what does not fit is refused at submission.
    pub fn of(repository: impl Into<String>, revision: impl Into<String>) -> Self {
        Self {
            repository: repository.into(),
            revision: revision.into(),
            base: None,
            title: None,
            requested_by: None,
        }
    }

    /// Against what it is judged.
    #[must_use]
    pub fn base(mut self, base: impl Into<String>) -> Self {
        self.base = Some(base.into());
        self
    }

    /// What it is about, for people.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Who asked for it.
    #[must_use]
    pub fn requested_by(mut self, by: impl Into<String>) -> Self {
        self.requested_by = Some(by.into());
        self
    }

    /// What events call it.
    pub fn subject(&self) -> String {
        format!("{}@{}", self.repository, self.revision)
    }

    pub(super) fn check(&self) -> Result<()> {
        check_line("repository", &self.repository)?;
        check_line("revision", &self.revision)?;
        check_line_opt("base", self.base.as_deref())?;
        check_line_opt("title", self.title.as_deref())?;
        check_line_opt("requested_by", self.requested_by.as_deref())
    }
}

/// How many findings a review has, by how much they matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// To be fixed now, also where it is already in use.
    pub critical: u32,
    /// To be fixed before it goes on.
    pub high: u32,
    /// To be fixed or explained.
    pub medium: u32,
    /// Worth doing when the place is touched anyway.
    pub low: u32,
    /// Worth knowing.
    pub info: u32,
}

impl Findings {
    /// All of them.
    pub fn total(&self) -> u64 {
        [self.critical, self.high, self.medium, self.low, self.info]
            .into_iter()
            .map(u64::from)
            .sum()
    }
}

/// What a review came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Conclusion {
    /// Whether it may go on.
    pub verdict: Verdict,
    /// How good it is, from 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u8>,
    /// How many findings there are.
    #[serde(default)]
    pub findings: Findings,
    /// Why, for people; at most [`RECORD_TEXT_BYTES`](crate::limits::RECORD_TEXT_BYTES).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

impl Conclusion {
    /// A verdict without findings.
    pub fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            score: None,
            findings: Findings::default(),
            summary: None,
        }
    }

    /// How good it is, from 0 to 100.
    #[must_use]
    pub fn score(mut self, score: u8) -> Self {
        self.score = Some(score);
        self
    }

    /// How many findings there are.
    #[must_use]
    pub fn findings(mut self, findings: Findings) -> Self {
        self.findings = findings;
        self
    }

    /// Why, for people.
    #[must_use]
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    fn check(&self) -> Result<()> {
        code(self.verdict)?;
        if let Some(score) = self.score.filter(|score| *score > 100) {
            return Err(
                Error::new(ErrorKind::InvalidInput, "the review's score is out of range")
                    .with("field", "score")
                    .with("value", score)
                    .with("limit", 100),
            );
        }
        check_text("summary", self.summary.as_deref().unwrap_or_default())
    }
}

/// A verdict as the column holds it.
const VERDICTS: [(Verdict, i64); 4] = [
    (Verdict::Approved, 0),
    (Verdict::Rejected, 1),
    (Verdict::ChangesRequested, 2),
    (Verdict::Inconclusive, 3),
];

pub(super) fn code(verdict: Verdict) -> Result<i64> {
    let known = VERDICTS.iter().find(|(known, _)| *known == verdict);
    known
        .map(|(_, code)| *code)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the verdict is not known here").with("field", "verdict"))
}

pub(super) fn verdict(code: i64) -> Result<Verdict> {
    let known = VERDICTS.iter().find(|(_, known)| *known == code);
    known
        .map(|(verdict, _)| *verdict)
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a review has an unknown verdict").with("verdict", code))
}

/// A review and what has come of it, with its task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReviewRecord {
    /// The task that carries it out. Its agent is the reviewer, and it was asked for when the task was submitted.
    pub task: TaskSummary,
    /// What is reviewed.
    pub review: Review,
    /// When the reviewer said that it began.
    pub started_at: Option<Timestamp>,
    /// What a person was asked for, if the reviewer could not decide.
    pub escalated: Option<Escalated>,
    /// What it came to.
    pub concluded: Option<Concluded>,
    /// When the record changed for the last time.
    pub changed_at: Timestamp,
}

/// A reviewer could not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Escalated {
    /// Why, for people.
    pub reason: String,
    /// When it was said, for the last time.
    pub at: Timestamp,
}

/// A review came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Concluded {
    /// What it came to.
    pub conclusion: Conclusion,
    /// When.
    pub at: Timestamp,
}

/// Asks for reviews, the newest first: all of them unless narrowed. Every condition that is given must hold. See
/// [`Hive::reviews`](crate::Hive::reviews).
#[derive(Clone, Debug, Default)]
pub struct ReviewQuery {
    narrow: Narrow,
    repository: Option<String>,
    revision: Option<String>,
    verdicts: Vec<Verdict>,
    open: Option<bool>,
}

narrows!(ReviewQuery);

impl ReviewQuery {
    /// Every review.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of this repository. Queries that name one go by an index.
    #[must_use]
    pub fn repository(mut self, repository: impl Into<String>) -> Self {
        self.repository = Some(repository.into());
        self
    }

    /// Of this revision.
    #[must_use]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = Some(revision.into());
        self
    }

    /// That came to this verdict; given several times, to one of these.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdicts.push(verdict);
        self
    }

    /// That have come to a verdict, or (`false`) to none.
    #[must_use]
    pub fn concluded(mut self, concluded: bool) -> Self {
        self.open = Some(!concluded);
        self
    }

    fn search(&self) -> Result<Search<'_>> {
        let mut equal: Vec<(_, &dyn hive_core::db::ToValue)> = Vec::new();
        if let Some(revision) = &self.revision {
            equal.push(("revision", revision));
        }
        let mut also = Vec::new();
        if !self.verdicts.is_empty() {
            let codes = self.verdicts.iter().map(|verdict| code(*verdict));
            also.push(format!("r.verdict IN ({})", listed(codes.collect::<Result<Vec<_>>>()?)));
        }
        match self.open {
            None => {}
            Some(true) => also.push("r.concluded_at IS NULL".to_owned()),
            Some(false) => also.push("r.concluded_at IS NOT NULL".to_owned()),
        }
        Ok(Search {
            table: "task_review",
            columns: "r.repository, r.revision, r.base, r.title, r.requested_by, r.changed_at, r.started_at, r.escalated_at, \
                      r.reason, r.concluded_at, r.verdict, r.score, r.critical, r.high, r.medium, r.low, r.info, r.summary",
            key: self.repository.as_ref().map(|value| ("repository", value as _)),
            equal,
            also,
        })
    }

    #[cfg(test)]
    pub(super) fn explain(&self, db: &Snapshot<'_>) -> Vec<String> {
        self.search().unwrap().explain(db, &self.narrow)
    }
}

/// One page of the reviews that are asked for.
pub(crate) fn list(db: &Snapshot<'_>, query: &ReviewQuery) -> Result<Page<ReviewRecord>> {
    Ok(query.search()?.page(db, &query.narrow, read)?.plain())
}

fn read(row: &Row<'_>, task: TaskSummary) -> Result<ReviewRecord> {
    let escalated = match row.get::<Option<Timestamp>>(OWN + 7)? {
        Some(at) => Some(Escalated {
            reason: row.get(OWN + 8)?,
            at,
        }),
        None => None,
    };
    let concluded = match row.get::<Option<Timestamp>>(OWN + 9)? {
        Some(at) => Some(Concluded {
            conclusion: Conclusion {
                verdict: verdict(row.get(OWN + 10)?)?,
                score: row.get::<Option<u32>>(OWN + 11)?.map(score).transpose()?,
                findings: Findings {
                    critical: row.get(OWN + 12)?,
                    high: row.get(OWN + 13)?,
                    medium: row.get(OWN + 14)?,
                    low: row.get(OWN + 15)?,
                    info: row.get(OWN + 16)?,
                },
                summary: row.get(OWN + 17)?,
            },
            at,
        }),
        None => None,
    };
    Ok(ReviewRecord {
        task,
        review: Review {
            repository: row.get(OWN)?,
            revision: row.get(OWN + 1)?,
            base: row.get(OWN + 2)?,
            title: row.get(OWN + 3)?,
            requested_by: row.get(OWN + 4)?,
        },
        changed_at: row.get(OWN + 5)?,
        started_at: row.get(OWN + 6)?,
        escalated,
        concluded,
    })
}

fn score(score: u32) -> Result<u8> {
    u8::try_from(score)
        .map_err(|_| Error::new(ErrorKind::Corrupt, "a review has an impossible score").with("score", score))
}

static REVIEWS: Set = Set::insert(
    "task_review",
    &[
        ("task", Kind::Int),
        ("repository", Kind::Text),
        ("revision", Kind::Text),
        ("base", Kind::Text),
        ("title", Kind::Text),
        ("requested_by", Kind::Text),
        ("changed_at", Kind::Int),
    ],
);

pub(super) fn attach(tx: &mut Tx<'_>, reviews: &[(&Owner, &Review)], now: Timestamp) -> Result<Vec<NewEvent>> {
    let row = |(owner, review): &(&Owner, &Review)| {
        [
            Cell::Int(owner.seq),
            Cell::of(&review.repository),
            Cell::of(&review.revision),
            Cell::of(&review.base),
            Cell::of(&review.title),
            Cell::of(&review.requested_by),
            Cell::of(&now),
        ]
    };
    tx.insert_all(&REVIEWS, &reviews.iter().map(row).collect::<Vec<_>>())?;
    let requested = |(owner, review): &(&Owner, &Review)| {
        owner.event(&ReviewRequested {
            task: owner.id,
            reviewer: owner.agent.clone(),
            subject: review.subject(),
            by: review.requested_by.clone(),
        })
    };
    reviews.iter().map(requested).collect()
}

/// What a reviewer says of its review.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Start,
    Escalate(String),
    Conclude(Conclusion),
}

impl Verb {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Escalate(_) => "escalate",
            Self::Conclude(_) => "conclude",
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Start => Ok(()),
            Self::Escalate(reason) => check_text("reason", reason),
            Self::Conclude(conclusion) => conclusion.check(),
        }
    }

    pub(super) fn apply(&self, tx: &mut Tx<'_>, owner: &Owner, now: Timestamp) -> Result<Vec<NewEvent>> {
        let known = tx.query_opt(
            "SELECT repository, revision, started_at, concluded_at FROM task_review WHERE task = ?1",
            &[&owner.seq],
            |row| {
                let review = Review::of(row.get::<String>(0)?, row.get::<String>(1)?);
                let (started, concluded) = (row.get::<Option<Timestamp>>(2)?, row.get::<Option<Timestamp>>(3)?);
                Ok((review.subject(), started.is_some(), concluded.is_some()))
            },
        )?;
        let (subject, is_started, is_concluded) = known.ok_or_else(|| missing(FAMILY))?;
        if is_concluded {
            return Err(refused(FAMILY, self.name(), "concluded"));
        }
        let (task, reviewer) = (owner.id, owner.agent.clone());
        let event = match self {
            Self::Start if is_started => return Err(refused(FAMILY, self.name(), "started")),
            Self::Start => {
                tx.execute(
                    "UPDATE task_review SET started_at = ?2, changed_at = ?2 WHERE task = ?1",
                    &[&owner.seq, &now],
                )?;
                owner.event(&ReviewStarted {
                    task,
                    reviewer,
                    subject,
                })?
            }
            Self::Escalate(reason) => {
                tx.execute(
                    "UPDATE task_review SET escalated_at = ?2, changed_at = ?2, reason = ?3 WHERE task = ?1",
                    &[&owner.seq, &now, reason],
                )?;
                owner.event(&ReviewEscalated {
                    task,
                    reviewer,
                    subject,
                    reason: reason.clone(),
                })?
            }
            Self::Conclude(conclusion) => {
                let Findings {
                    critical,
                    high,
                    medium,
                    low,
                    info,
                } = conclusion.findings;
                tx.execute(
                    "UPDATE task_review SET concluded_at = ?2, changed_at = ?2, verdict = ?3, score = ?4, critical = ?5,
                            high = ?6, medium = ?7, low = ?8, info = ?9, summary = ?10
                     WHERE task = ?1",
                    &[
                        &owner.seq,
                        &now,
                        &code(conclusion.verdict)?,
                        &conclusion.score.map(u32::from),
                        &critical,
                        &high,
                        &medium,
                        &low,
                        &info,
                        &conclusion.summary,
                    ],
                )?;
                owner.event(&ReviewCompleted {
                    task,
                    reviewer,
                    subject,
                    verdict: conclusion.verdict,
                    findings: u32::try_from(conclusion.findings.total()).unwrap_or(u32::MAX),
                })?
            }
        };
        Ok(vec![event])
    }
}
