//! How everything comes to its end.

use hive_core::db::Tx;

use super::super::ideal::{Entry, Job};
use super::super::op::{End, Op, Pick};
use super::{Fault, World, same, told};

impl World {
    /// Everything that goes on comes to an end, once it is let: nothing is lost.
    pub(in super::super) fn drain(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        for scope in 0..3 {
            self.step(tx, &Op::Resume(scope))?;
        }
        self.step(tx, &Op::Clock(100))?;
        self.step(tx, &Op::Silence(50))?;
        self.step(tx, &Op::Crash(0))?;
        for _ in 0..500 {
            let left = self.ideal.left(self.processes[0].queue.epoch().cast_signed());
            if !left.is_empty() {
                // The bad luck is over.
                for seq in &left {
                    let lucky = tx.execute("UPDATE task SET crashes = 0 WHERE seq = ?1", &[seq]);
                    told("luck", lucky)?;
                    self.ideal.job(*seq).crashes = 0;
                }
                self.step(tx, &Op::Recover(0))?;
            }
            for (name, task) in (0..self.tasks.len()).flat_map(|task| [(0, task), (1, task)]) {
                let wanted = self.task(task).and_then(|(_, row)| row).is_some_and(|seq| {
                    let open = |entry: &Entry| entry.state == 0 && entry.signal == Some(format!("s{name}"));
                    self.ideal.jobs[&seq].is_live() && self.ideal.jobs[&seq].journal.values().any(open)
                });
                if wanted {
                    self.step(tx, &Op::Signal { task, name })?;
                }
            }
            self.claim(tx, 0, 3)?;
            self.compare(tx)?;
            let fresh = Pick { fresh: true, place: 0 };
            while self.leases.iter().any(|(lease, _)| self.holds(*lease)) {
                let ends = vec![(fresh, End::Output)];
                self.step(tx, &Op::Finish { ends, zombies: false })?;
            }
            if self.ideal.jobs.values().all(|job| !job.is_live()) {
                return self.ends(tx);
            }
            self.step(tx, &Op::Clock(1))?;
        }
        let live: Vec<&Job> = self.ideal.jobs.values().filter(|job| job.is_live()).collect();
        Err(format!("these never end: {live:#?}"))
    }

    /// No task has two outputs or two successes.
    fn ends(&self, tx: &Tx<'_>) -> Result<(), Fault> {
        let twice = tx.query(
            "SELECT causation FROM event WHERE type = 'task.succeeded' GROUP BY causation HAVING count(*) > 1",
            &[],
            |row| row.get::<String>(0),
        );
        same("succeeded twice", told("the ends", twice)?, Vec::new())
    }
}
