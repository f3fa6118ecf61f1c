//! Records of tasks change in the transaction of what changes them.

use hive_core::clock::Timestamp;
use hive_core::db::Tx;
use hive_core::payload::Payload;
use hive_errors::{Failure, Result};

use super::{Queue, TaskRef, emit};
use crate::family::{self, Owner, Verb};
use crate::journal::{self, Kind, Record};
use crate::lease::{Lease, guard};
use crate::limits;
use crate::task::TaskState;

impl From<&TaskRef> for Owner {
    fn from(task: &TaskRef) -> Self {
        Self {
            seq: task.seq,
            id: task.id,
            root: task.root,
            agent: task.agent.clone(),
            tenant: task.tenant.clone(),
            correlation: task.correlation.clone(),
        }
    }
}

/// Something that a run says of its own record: what is said, where the journal keeps that, and when.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) lease: Lease,
    pub(crate) verb: Verb,
    pub(crate) key: String,
    pub(crate) at: Timestamp,
}

/// Writes down what a run says of its own record, on the lease's strength, once.
pub(crate) fn say(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, said: &Said) -> Result<()> {
    guard(tx, said.lease)?;
    // Whether the commit took place is not known to who comes again after the loss of a connection.
    if journal::is_done(tx, said.lease.task, &said.key)? {
        return Ok(());
    }
    let events = said.verb.apply(tx, &Owner::from(task))?;
    let record = Record {
        lease: said.lease,
        at: said.at,
        key: said.key.clone(),
        kind: Kind::Record,
        type_name: std::any::type_name::<()>(),
        value: Payload::encode(&(), limits::PAYLOAD_BYTES)?,
        also: None,
    };
    journal::record(tx, &record)?;
    emit::all(tx, queue, events)
}

/// Tells of a record that is open when its task ends without an output.
pub(super) fn left(tx: &mut Tx<'_>, queue: &Queue, task: &TaskRef, state: TaskState, failure: &Failure) -> Result<()> {
    let events = family::left(tx, &Owner::from(task), state, failure)?;
    emit::all(tx, queue, events)
}
