//! How a transaction begins.

/// What runs when a commit is on disk.
pub(in crate::db) type Hook = Box<dyn FnOnce() + Send>;

/// How a transaction sees others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum Isolation {
    /// As if transactions ran one after another; one that could not have is run again.
    Serializable,
    /// One snapshot for all statements.
    RepeatableRead,
    /// A snapshot for each statement.
    ReadCommitted,
}

/// How a transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) struct Begin {
    pub(in crate::db) isolation: Isolation,
    pub(in crate::db) writes: bool,
    /// Acknowledged before it is on disk.
    pub(in crate::db) relaxed: bool,
    /// Statements have as long as the deadline allows, as migrations need.
    pub(in crate::db) unhurried: bool,
}

impl Begin {
    pub(in crate::db) const fn write() -> Self {
        Self {
            isolation: Isolation::Serializable,
            writes: true,
            relaxed: false,
            unhurried: false,
        }
    }

    pub(in crate::db) const fn read() -> Self {
        Self {
            isolation: Isolation::RepeatableRead,
            writes: false,
            relaxed: false,
            unhurried: false,
        }
    }

    pub(super) fn sql(self) -> String {
        let isolation = match self.isolation {
            Isolation::Serializable => "SERIALIZABLE",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::ReadCommitted => "READ COMMITTED",
        };
        let access = if self.writes { "WRITE" } else { "ONLY" };
        let mut sql = format!("BEGIN ISOLATION LEVEL {isolation} READ {access}");
        if self.relaxed {
            sql.push_str("; SET LOCAL synchronous_commit = off");
        }
        if self.unhurried {
            sql.push_str("; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0");
        }
        sql
    }
}
