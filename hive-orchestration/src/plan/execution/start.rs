//! A node is called.

use hive_core::id::TaskId;
use hive_core::payload::Payload;
use hive_errors::{Error, ErrorKind, Failure};

use super::super::course::Call;
use super::super::node::{Node, OnFailure};
use super::super::reference::{Nowhere, resolved};
use super::super::revision::{Uncalled, VERSION};
use super::run::{Run, remember};
use crate::call::Child;
use crate::context::Address;
use crate::journal::{Entry, Kind, Standing};
use crate::limits;
use crate::queue::cancel;
use crate::queue::submit::Aside;
use crate::queue::wait::{NewWait, Until, Wanted};

/// What came of an attempt to call a node.
pub(super) enum Start {
    Call(Box<NewWait>, Call),
    /// All that could have it are away.
    Away,
    /// It cannot be called, which is on record.
    Failed,
}

impl Run<'_> {
    /// Calls a node under `key`; `last` is the call before, which failed.
    pub(super) async fn start(&mut self, node: &Node, key: &str, last: Option<String>) -> Result<Start, Failure> {
        let _working = self.cx.run.activity.work();
        match self.child(node).await? {
            Ok(mut child) => {
                if let Some(last) = last {
                    let parent = self.cx.run.lease().task;
                    let let_go = Aside::new(move |tx, _, _| cancel::let_go(tx, parent, &last));
                    child.aside = Some(match child.aside {
                        Some(aside) => aside.and(let_go),
                        None => let_go,
                    });
                }
                let id: TaskId = self.cx.run.queue.ids.next();
                let call = Call {
                    mark: id.to_string(),
                    task: Some(id),
                    agent: Some(child.agent.clone()),
                    end: None,
                };
                let wait = NewWait {
                    key: key.to_owned(),
                    what: Wanted::Children {
                        kind: Kind::Children,
                        tasks: vec![child.into_task(id, self.cx.tenant())],
                        parallel: 1,
                    },
                };
                Ok(Start::Call(Box::new(wait), call))
            }
            Err(failure) if failure.kind() == ErrorKind::UnknownAgent && !failure.is_terminal() => Ok(Start::Away),
            Err(failure) => {
                self.cannot_be_called(node, key, failure).await?;
                Ok(Start::Failed)
            }
        }
    }

    /// The child that a node is to be; the inner failure is the node's.
    async fn child(&self, node: &Node) -> Result<Result<Child, Failure>, Failure> {
        let input = match resolved(&node.input, &|id| self.outputs.get(id)) {
            Ok(input) => input,
            Err(Nowhere { from, path }) => {
                return Ok(Err(Failure::terminal(
                    "the output that a node refers to has no such part",
                )
                .with_kind(ErrorKind::InvalidInput)
                .with("from", from)
                .with("path", path)
                .with_hint("give the reference a default, or refer to what is always there")));
            }
        };
        let input = match Payload::encode(&input, limits::PAYLOAD_BYTES) {
            Ok(input) => input,
            Err(error) => return Ok(Err(error.into())),
        };
        let (colleagues, target) = (std::sync::Arc::clone(&self.cx.run.colleagues), node.target.clone());
        // Whoever cannot be found is a finding about the node, and no trouble of the database.
        let found = self.cx.run.ask(move |db| match colleagues.address(db, &target) {
            Err(error) if is_about_the_node(&error) => Ok(Err(error)),
            found => found.map(Ok),
        });
        let Address { agent, versions, aside } = match found.await? {
            Ok(address) => address,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(error) = self.cx.run.colleagues.check(&agent, &input) {
            return Ok(Err(error.into()));
        }
        Ok(Ok(Child {
            agent,
            versions,
            input,
            priority: node.priority,
            key: None,
            record: None,
            aside,
            budget: None,
        }))
    }

    /// Puts it on record that a node cannot be called, because what follows from it must be the same after an interruption. Where the plan
    /// fails with it nothing follows, and who brings the task back wants it tried again.
    async fn cannot_be_called(&mut self, node: &Node, key: &str, failure: Failure) -> Result<(), Failure> {
        let failure = failure.into_terminal();
        if node.on_failure == OnFailure::Fail {
            self.uncalled.insert(node.id.clone(), failure);
            return Ok(());
        }
        let uncalled = Uncalled { v: VERSION, failure };
        remember(self.cx, key.to_owned(), &uncalled).await?;
        let entry = Entry {
            kind: Kind::Plan,
            standing: Standing::Done,
            value: Some(Payload::encode(&uncalled, limits::PAYLOAD_BYTES)?),
        };
        self.cx.run.journal().put(key.to_owned(), entry);
        Ok(())
    }

    /// A timer after which it is asked again for agents that are away; the one that runs, if there is one.
    pub(super) fn ask_later(&self, key: &str) -> Option<NewWait> {
        let standing = self.cx.run.journal().get(key).map(|entry| entry.standing);
        match standing {
            Some(Standing::Pending | Standing::Held) => None,
            // It has fired, and begins anew.
            Some(Standing::Done) | None => Some(NewWait {
                key: key.to_owned(),
                what: Wanted::Timer {
                    until: Until::In(limits::PLAN_ROUTE_WAIT),
                },
            }),
        }
    }
}

fn is_about_the_node(error: &Error) -> bool {
    [
        ErrorKind::UnknownAgent,
        ErrorKind::InvalidInput,
        ErrorKind::LimitReached,
    ]
    .contains(&error.kind())
}
