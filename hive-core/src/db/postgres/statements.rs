//! Prepared statements of one connection, by their text; the one not used for longest makes room.

use std::collections::HashMap;

use tokio_postgres::Statement;

pub(super) struct Statements {
    kept: HashMap<Box<str>, Kept>,
    most: usize,
    uses: u64,
}

struct Kept {
    statement: Statement,
    used: u64,
}

impl Statements {
    pub(super) fn new(most: usize) -> Self {
        Self {
            kept: HashMap::new(),
            most,
            uses: 0,
        }
    }

    pub(super) fn get(&mut self, sql: &str) -> Option<Statement> {
        self.uses += 1;
        let kept = self.kept.get_mut(sql)?;
        kept.used = self.uses;
        Some(kept.statement.clone())
    }

    pub(super) fn put(&mut self, sql: &str, statement: Statement) {
        if self.kept.len() >= self.most && !self.kept.contains_key(sql) {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            if let Some(oldest) = oldest.map(|(sql, _)| sql.clone()) {
                // Dropped, it is closed at the server as well.
                self.kept.remove(&oldest);
            }
        }
        let used = self.uses;
        self.kept.insert(sql.into(), Kept { statement, used });
    }

    /// After the schema has changed, nothing that was prepared before can be relied upon.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }

    #[cfg(feature = "test-util")]
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}
