//! What the journal and the database say of a plan's nodes.

use hive_errors::{Error, ErrorKind, Failure};

use super::super::course::{Call, Calls, Course, course};
use super::super::revision::Uncalled;
use super::run::Run;
use crate::context::Recall;
use crate::journal::{Kind, Standing as Entered};
use crate::queue::read;
use crate::task::End;

impl Run<'_> {
    /// What was called for each node since it is what it is now.
    pub(super) async fn calls(&mut self) -> Result<Calls, Failure> {
        let mut calls = Calls::new();
        let mut unknown = false;
        let mut keys = Vec::new();
        for node in &self.plan.nodes {
            let first = self.before(&node.id) + 1;
            for number in first.. {
                let key = self.call_key(&node.id, number);
                let entry = self.cx.run.journal().get(&key).cloned();
                let Some(entry) = entry else { break };
                if entry.standing != Entered::Pending && entry.kind == Kind::Children {
                    unknown |= self.ends.get(&key).is_none_or(|known| known.end.is_none());
                }
                keys.push((node.id.clone(), key, number, entry));
            }
        }
        if unknown {
            let _working = self.cx.run.activity.work();
            let (parent, prefix) = (self.cx.run.lease().task, format!("{}/", self.key));
            let called = self.cx.run.ask(move |db| read::called(db, parent, &prefix)).await?;
            for one in called {
                let call = Call {
                    mark: format!("{}/{}", one.id, one.attempt),
                    task: Some(one.id),
                    agent: Some(one.agent),
                    end: one.end,
                };
                self.ends.insert(one.call, call);
            }
        }
        for (id, key, number, entry) in keys {
            let mark = format!("{id}~{number}");
            let unresolved = |known: Option<&Call>| Call {
                mark: mark.clone(),
                task: known.and_then(|known| known.task),
                agent: known.and_then(|known| known.agent.clone()),
                end: None,
            };
            let known = self.ends.get(&key);
            let call = match (entry.kind, entry.standing, known) {
                (Kind::Plan, _, _) => {
                    let failure = match self.cx.recall::<Uncalled>(&key, Kind::Plan).await {
                        Recall::Done(uncalled) => uncalled.failure,
                        Recall::New | Recall::Begun | Recall::Over => continue,
                    };
                    Call {
                        end: Some(Err(failure)),
                        ..unresolved(None)
                    }
                }
                (_, Entered::Done, Some(known)) if known.end.is_some() => known.clone(),
                // It was called again since, and this call is no more.
                (_, Entered::Done, None) => Call {
                    end: Some(Err(Failure::retryable("the node was called again"))),
                    ..unresolved(None)
                },
                (_, Entered::Done, Some(_)) => {
                    return Err(
                        Error::new(ErrorKind::Internal, "a node's call was resolved before its task ended")
                            .with("node", id)
                            .into(),
                    );
                }
                (_, Entered::Pending | Entered::Held, known) => unresolved(known),
            };
            calls.entry(id).or_default().push(call);
        }
        for (id, failure) in &self.uncalled {
            let number = self.before(id) + 1;
            calls.entry(id.clone()).or_default().push(Call {
                mark: format!("{id}~{number}!"),
                task: None,
                agent: None,
                end: Some(Err(failure.clone())),
            });
        }
        Ok(calls)
    }

    /// Where the nodes stand, with the outputs that it takes to say so.
    pub(super) async fn course(&mut self, calls: &Calls) -> Result<Course, Failure> {
        loop {
            let course = course(&self.plan, &self.graph, &self.order, calls, &self.outputs);
            if course.wants.is_empty() {
                return Ok(course);
            }
            self.fetch(&course.wants, calls).await?;
        }
    }

    /// Brings the outputs of nodes that have succeeded.
    pub(super) async fn fetch<'i>(
        &mut self,
        ids: impl IntoIterator<Item = &'i String>,
        calls: &Calls,
    ) -> Result<(), Failure> {
        let is_missing = |id: &&String| !self.outputs.contains_key(*id);
        let key = |id: &String| {
            let number = self.before(id) + u32::try_from(calls.get(id).map_or(0, Vec::len)).unwrap_or(u32::MAX);
            (id.clone(), self.call_key(id, number))
        };
        let keys: Vec<(String, String)> = ids.into_iter().filter(is_missing).map(key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let _working = self.cx.run.activity.work();
        let parent = self.cx.run.lease().task;
        let found = self.cx.run.ask(move |db| {
            let mut found = Vec::with_capacity(keys.len());
            for (id, key) in &keys {
                let end = read::children(db, parent, key)?.pop().and_then(|(_, end)| end);
                let Some(End::Output(output)) = end else {
                    return Err(Error::new(ErrorKind::Internal, "a node that succeeded has no output").with("node", id));
                };
                found.push((id.clone(), output.decode()?));
            }
            Ok(found)
        });
        self.outputs.extend(found.await?);
        Ok(())
    }
}
