//! What stands at the fronts of the lanes.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use hive_core::clock::Timestamp;
use hive_core::db::{Dialect, Row, Snapshot, ToValue, Tx};
use hive_errors::{Error, ErrorKind, Result};
use semver::{Version, VersionReq};
use serde::Serialize;

use super::{Candidate, Room};
use crate::limits;
use crate::queue::flow::Counted;
use crate::queue::flow::uses::Uses;
use crate::queue::pause::Pauses;
use crate::queue::pick::{Gate, Head, Lane, Turns};
use crate::queue::{TaskRef, task_ref};

/// Ready tasks to choose from.
#[derive(Default)]
pub(super) struct Front {
    pub(super) lanes: Vec<Lane>,
    pub(super) candidates: HashMap<i64, Candidate>,
    /// Whether some lanes are longer than what was looked at.
    pub(super) cut: bool,
    /// The agents that have more lanes than were looked at, and whether their search has come around.
    searched: Vec<(String, bool)>,
    /// Ranges of versions that an agent's own is not in.
    refused: Vec<(String, String)>,
    /// The agent of the last lane, and what counts its tasks.
    last: Option<(String, Rc<[usize]>)>,
}

/// An agent that has room.
struct Open<'a> {
    agent: &'a str,
    gates: Vec<usize>,
    uses: Vec<usize>,
    /// How many of its tasks are looked at.
    most: usize,
    /// Of those, how many that begin.
    beginnings: usize,
    version: Option<&'a Version>,
    /// Ranges of versions that its own is not in, as [`Turns`] has them.
    refused: String,
}

impl Open<'_> {
    /// Whether its version is in the range, or there is none.
    fn admits(&self, versions: &str) -> bool {
        let range = || VersionReq::parse(versions).ok();
        versions.is_empty()
            || self
                .version
                .zip(range())
                .is_some_and(|(version, range)| range.matches(version))
    }
}

/// Whose tasks: a tenant, and what they are about.
type Group = (String, String);

/// Looks at what is ready, and opens the limits that apply to it.
pub(super) fn look(
    tx: &mut Tx<'_>,
    room: &Room,
    pauses: &Pauses,
    uses: &mut Uses<'_>,
    turns: &mut Turns,
) -> Result<Front> {
    let mut front = Front::default();
    let known = room
        .agents
        .iter()
        .filter(|(agent, free)| *free > 0 && !pauses.all && !pauses.agents.contains(agent));
    let known: Vec<&(String, usize)> = known.collect();
    uses.open(tx, known.iter().flat_map(|(agent, _)| Counted::of_agent(agent)))?;
    let mut open = Vec::with_capacity(known.len());
    for (agent, free) in known {
        let of_agent = uses.among(Counted::of_agent(agent));
        let left = uses.room(&of_agent);
        let most = room.total.min(*free).min(left.runs);
        if most > 0 {
            uses.gates.push(Gate::room(*free));
            let mut gates = vec![uses.gates.len() - 1];
            gates.extend(uses.gates_of(&of_agent));
            open.push(Open {
                agent,
                version: room.versions.get(agent),
                refused: turns.refused(agent),
                gates,
                uses: of_agent,
                most,
                beginnings: most.min(left.beginnings),
            });
        }
    }
    if uses.limits().hold_beginnings() {
        for open in &open {
            let resumed = tx.query(RESUMED, &[&open.agent, &(open.most as u64), &open.refused], Ready::read)?;
            front.cut |= resumed.len() == open.most;
            let of_lanes = resumed
                .iter()
                .flat_map(|ready| Counted::of_lane(open.agent, &ready.task.tenant, &ready.key));
            uses.open(tx, of_lanes)?;
            for ready in resumed {
                front.add(open, ready, uses);
            }
        }
    }
    let open: Vec<Open<'_>> = open.into_iter().filter(|open| open.beginnings > 0).collect();
    match tx.dialect() {
        Dialect::Sqlite => one_by_one(tx, &open, &mut front, uses, turns)?,
        Dialect::Postgres => at_once(tx, &open, &mut front, uses, turns)?,
    }
    front.lanes.retain(|lane| !pauses.tenants.contains(&lane.tenant));
    Ok(front)
}

// What is for versions that this process has not is passed over: `replace` finds the range in the list, on either engine.

/// The most urgent of a tenant and key, lane after lane.
const GROUP: &str =
    "SELECT seq, id, root, agent, tenant, attempt, parent, correlation, depth, run_at, flow_key, resumed, priority, versions
     FROM task WHERE state = 1 AND agent = ?1 AND tenant = ?2 AND flow_key = ?3
     AND (versions = '' OR replace(?5, '|' || versions || '|', '') = ?5) ORDER BY priority DESC, seq LIMIT ?4";

const LANE: &str =
    "SELECT seq, id, root, agent, tenant, attempt, parent, correlation, depth, run_at, flow_key, resumed, priority, versions
     FROM task WHERE state = 1 AND agent = ?1 AND tenant = ?2 AND flow_key = ?3 AND priority = ?6
     AND (versions = '' OR replace(?5, '|' || versions || '|', '') = ?5) ORDER BY seq LIMIT ?4";

const RESUMED: &str =
    "SELECT seq, id, root, agent, tenant, attempt, parent, correlation, depth, run_at, flow_key, resumed, priority, versions
     FROM task WHERE state = 1 AND resumed = 1 AND agent = ?1
     AND (versions = '' OR replace(?3, '|' || versions || '|', '') = ?3) ORDER BY seq LIMIT ?2";

fn one_by_one(
    tx: &mut Tx<'_>,
    agents: &[Open<'_>],
    front: &mut Front,
    uses: &mut Uses<'_>,
    turns: &mut Turns,
) -> Result<()> {
    let beginning = Group::default();
    for open in agents {
        let after = turns.place(open.agent);
        let mut found = groups(tx, open.agent, &after, limits::CLAIM_LANES)?;
        let wraps = found.len() < limits::CLAIM_LANES && after != beginning;
        if wraps {
            let rest = groups(tx, open.agent, &beginning, limits::CLAIM_LANES - found.len())?;
            let seen: HashSet<Group> = found.iter().cloned().collect();
            found.extend(rest.into_iter().take_while(|group| !seen.contains(group)));
        }
        front.searched(open.agent, &found, wraps, turns);
        if uses.limits().of_lanes() {
            let counted = found
                .iter()
                .flat_map(|(tenant, key)| Counted::of_lane(open.agent, tenant, key));
            uses.open(tx, counted)?;
        }
        for (tenant, key) in &found {
            let left = uses.room(&uses.among(Counted::of_lane(open.agent, tenant, key)));
            let most = open.beginnings.min(left.runs).min(left.beginnings);
            if most == 0 {
                continue;
            }
            let most_of = most as u64;
            let params: [&dyn ToValue; 5] = [&open.agent, tenant, key, &most_of, &open.refused];
            let mut heads = tx.query(GROUP, &params, Ready::read)?;
            if heads.len() == most {
                front.cut = true;
                // Whoever is less urgent may have waited for so long that it goes first.
                let last = heads.last().map_or(0, |ready| ready.priority);
                for priority in (0..last).rev() {
                    let params: [&dyn ToValue; 6] = [&open.agent, tenant, key, &most_of, &open.refused, &priority];
                    heads.extend(tx.query(LANE, &params, Ready::read)?);
                }
            }
            for ready in heads {
                front.add(open, ready, uses);
            }
        }
    }
    Ok(())
}

/// Whose tasks of an agent are ready, a look into the index for each, from behind `after` on.
fn groups(db: &Snapshot<'_>, agent: &str, after: &Group, limit: usize) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    while groups.len() < limit {
        let (tenant, key) = groups.last().unwrap_or(after);
        let next = db.query_opt(
            "SELECT tenant, flow_key FROM task WHERE state = 1 AND agent = ?1 AND (tenant, flow_key) > (?2, ?3)
             ORDER BY tenant, flow_key LIMIT 1",
            &[&agent, tenant, key],
            |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?)),
        )?;
        let Some(next) = next else { break };
        groups.push(next);
    }
    Ok(groups)
}

/// Where a search begins, as a row of a JSON array.
#[derive(Serialize)]
struct Begin<'a> {
    agent: &'a str,
    tenant: String,
    key: String,
    /// How many lanes, and how many tasks of each.
    lanes: usize,
    most: usize,
    refused: &'a str,
}

impl<'a> Begin<'a> {
    fn new(open: &'a Open<'a>, (tenant, key): Group, lanes: usize) -> Self {
        Self {
            agent: open.agent,
            tenant,
            key,
            lanes,
            most: open.beginnings,
            refused: &open.refused,
        }
    }
}

/// The same with one statement, because each is a journey, and a second where a search comes around.
fn at_once(
    tx: &mut Tx<'_>,
    agents: &[Open<'_>],
    front: &mut Front,
    uses: &mut Uses<'_>,
    turns: &mut Turns,
) -> Result<()> {
    let beginning = Group::default();
    let begins = agents
        .iter()
        .map(|open| Begin::new(open, turns.place(open.agent), limits::CLAIM_LANES));
    let mut ready = heads(tx, &begins.collect::<Vec<_>>())?;
    let mut found: HashMap<&str, Vec<Group>> = agents
        .iter()
        .map(|open| (open.agent, groups_of(&ready, open.agent)))
        .collect();
    let around: Vec<Begin<'_>> = agents
        .iter()
        .filter(|open| turns.place(open.agent) != beginning)
        .filter_map(|open| {
            let left = limits::CLAIM_LANES.saturating_sub(found.get(open.agent)?.len());
            (left > 0).then(|| Begin::new(open, beginning.clone(), left))
        })
        .collect();
    let mut rest = heads(tx, &around)?;
    for Begin { agent, .. } in &around {
        let groups = found.entry(agent).or_default();
        let seen: HashSet<Group> = groups.iter().cloned().collect();
        groups.extend(
            groups_of(&rest, agent)
                .into_iter()
                .filter(|group| !seen.contains(group)),
        );
        rest.retain(|ready| ready.task.agent != *agent || !seen.contains(&ready.group()));
    }
    ready.append(&mut rest);
    for open in agents {
        let wraps = around.iter().any(|begin| begin.agent == open.agent);
        front.searched(
            open.agent,
            found.get(open.agent).map_or(&[], Vec::as_slice),
            wraps,
            turns,
        );
    }
    if uses.limits().of_lanes() {
        let counted = found.iter().flat_map(|(agent, groups)| {
            groups
                .iter()
                .flat_map(|(tenant, key)| Counted::of_lane(agent, tenant, key))
        });
        uses.open(tx, counted)?;
    }
    let places: HashMap<&str, &Open<'_>> = agents.iter().map(|open| (open.agent, open)).collect();
    let mut counts: HashMap<(String, Group, i64), usize> = HashMap::new();
    for ready in ready {
        let Some(open) = places.get(ready.task.agent.as_str()) else {
            continue;
        };
        let lane = (ready.task.agent.clone(), ready.group(), ready.priority);
        let count = counts.entry(lane).or_default();
        *count += 1;
        front.cut |= *count == open.beginnings;
        front.add(open, ready, uses);
    }
    Ok(())
}

/// The groups of an agent in the order in which their tasks stand here.
fn groups_of(ready: &[Ready], agent: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for ready in ready.iter().filter(|ready| ready.task.agent == agent) {
        let (tenant, key) = (&ready.task.tenant, &ready.key);
        if groups.last().is_none_or(|last| (&last.0, &last.1) != (tenant, key)) {
            groups.push(ready.group());
        }
    }
    groups
}

fn heads(tx: &Tx<'_>, begins: &[Begin<'_>]) -> Result<Vec<Ready>> {
    if begins.is_empty() {
        return Ok(Vec::new());
    }
    let begins = serde_json::to_string(begins)
        .map_err(|e| Error::new(ErrorKind::Internal, "a search has no JSON form").with_source(e))?;
    tx.query(
        "WITH RECURSIVE given AS (
             SELECT * FROM json_to_recordset(CAST(?1 AS JSON))
             AS given (agent TEXT, tenant TEXT, key TEXT, lanes BIGINT, most BIGINT, refused TEXT)),
         lane (agent, tenant, flow_key, nth, lanes, most, refused) AS (
             SELECT given.agent, first.tenant, first.flow_key, 1, given.lanes, given.most, given.refused
             FROM given CROSS JOIN LATERAL (
                 SELECT tenant, flow_key FROM task WHERE state = 1 AND task.agent = given.agent
                 AND (task.tenant, task.flow_key) > (given.tenant, given.key)
                 ORDER BY task.tenant, task.flow_key LIMIT 1) AS first
             UNION ALL
             SELECT lane.agent, next.tenant, next.flow_key, nth + 1, lane.lanes, lane.most, lane.refused
             FROM lane CROSS JOIN LATERAL (
                 SELECT tenant, flow_key FROM task WHERE state = 1 AND task.agent = lane.agent
                 AND (task.tenant, task.flow_key) > (lane.tenant, lane.flow_key)
                 ORDER BY task.tenant, task.flow_key LIMIT 1) AS next
             WHERE nth < lane.lanes)
         SELECT head.seq, head.id, head.root, head.agent, head.tenant, head.attempt, head.parent, head.correlation, head.depth,
                head.run_at, head.flow_key, head.resumed, head.priority, head.versions
         FROM lane CROSS JOIN (VALUES (0), (1), (2), (3)) AS level (priority)
         CROSS JOIN LATERAL (
             SELECT * FROM task WHERE state = 1 AND agent = lane.agent AND tenant = lane.tenant AND flow_key = lane.flow_key
             AND priority = level.priority
             AND (versions = '' OR replace(lane.refused, '|' || versions || '|', '') = lane.refused)
             ORDER BY seq LIMIT lane.most) AS head
         ORDER BY head.agent, head.tenant, head.flow_key, head.priority, head.seq",
        &[&begins],
        Ready::read,
    )
}

/// A ready task as it was found.
struct Ready {
    task: TaskRef,
    depth: u32,
    since: Timestamp,
    key: String,
    resumed: bool,
    priority: i64,
    versions: String,
}

impl Ready {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            task: task_ref(row)?,
            depth: row.get(8)?,
            since: row.get(9)?,
            key: row.get(10)?,
            resumed: row.get::<i64>(11)? == 1,
            priority: row.get(12)?,
            versions: row.get(13)?,
        })
    }

    fn group(&self) -> Group {
        (self.task.tenant.clone(), self.key.clone())
    }
}

impl Front {
    /// Takes a task in, once; those of one lane come one after another.
    fn add(&mut self, open: &Open<'_>, ready: Ready, uses: &Uses<'_>) {
        let (seq, agent, tenant) = (ready.task.seq, &ready.task.agent, &ready.task.tenant);
        if self.candidates.contains_key(&seq) {
            return;
        }
        if !open.admits(&ready.versions) {
            self.refused.push((agent.clone(), ready.versions));
            return;
        }
        let head = Head {
            seq,
            since: ready.since,
            resumed: ready.resumed,
        };
        let of_lane = match self.lanes.last_mut().zip(self.last.as_ref()) {
            Some((lane, (last, of_lane)))
                if last == agent
                    && lane.tenant == *tenant
                    && lane.key == ready.key
                    && lane.priority == ready.priority =>
            {
                lane.heads.push_back(head);
                Rc::clone(of_lane)
            }
            _ => {
                let of_group = uses.among(Counted::of_lane(agent, tenant, &ready.key));
                let gates = open.gates.iter().copied().chain(uses.gates_of(&of_group)).collect();
                self.lanes.push(Lane {
                    gates,
                    tenant: tenant.clone(),
                    key: ready.key.clone(),
                    priority: ready.priority,
                    weights: uses.limits().weights(agent, tenant, &ready.key),
                    heads: [head].into(),
                });
                let of_lane: Rc<[usize]> = open.uses.iter().copied().chain(of_group).collect();
                self.last = Some((agent.clone(), Rc::clone(&of_lane)));
                of_lane
            }
        };
        self.candidates.insert(
            seq,
            Candidate {
                task: ready.task,
                depth: ready.depth,
                since: ready.since,
                resumed: ready.resumed,
                uses: of_lane,
            },
        );
    }

    /// Notes where an agent's search goes on, if it has more lanes than are looked at together.
    fn searched(&mut self, agent: &str, groups: &[Group], wraps: bool, turns: &mut Turns) {
        match groups.last() {
            Some(last) if groups.len() >= limits::CLAIM_LANES => {
                turns.places.entry(agent.to_owned()).or_default().after = last.clone();
                self.searched.push((agent.to_owned(), wraps));
            }
            _ => drop(turns.places.remove(agent)),
        }
    }

    /// Whether to go on at once, because there are lanes that were not looked at and may hold what can be taken.
    pub(super) fn goes_on(&self, chosen: &[i64], turns: &mut Turns) -> bool {
        // What stood before others is passed over the next time.
        let mut goes_on = false;
        for (agent, versions) in &self.refused {
            goes_on |= turns.refuse(agent, versions);
        }
        for (agent, wraps) in &self.searched {
            let Some(place) = turns.places.get_mut(agent) else {
                continue;
            };
            let fruitful = chosen.iter().any(|seq| {
                let candidate = self.candidates.get(seq);
                candidate.is_some_and(|candidate| candidate.task.agent == *agent)
            });
            place.rounds = match (fruitful, wraps) {
                (true, _) => 0,
                (false, true) => place.rounds + 1,
                (false, false) => place.rounds,
            };
            // The first time around it may have begun amid the lanes.
            if place.rounds < 2 {
                goes_on = true;
            } else {
                place.rounds = 0;
            }
        }
        goes_on
    }
}
