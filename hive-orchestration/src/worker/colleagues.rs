//! What runs may ask of the process that they run in: who is there, and who gets what is for no agent by name.

use std::collections::{BTreeMap, BTreeSet};

use hive_core::db::{Dialect, Snapshot};
use hive_core::payload::Payload;
use hive_errors::{ErrorKind, Result};

use super::Shop;
use crate::context::{Address, Colleague, Colleagues};
use crate::queue::submit::Aside;
use crate::registry::{self, Declaration};
use crate::router::{self, Directory, Request, Route, Routed, Target};

/// What was asked for, and who was chosen.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) request: Request,
    pub(crate) route: Route,
}

/// Decides by a picture of who is there that is not old, and takes a new one before it says that there is nobody.
pub(crate) fn decide_in(shop: &Shop, db: &Snapshot<'_>, request: &Request) -> Result<Decided> {
    let is_new = shop.directory.is_stale();
    if is_new {
        shop.directory.hang(Directory::look(db)?);
    }
    match by_the_picture(shop, request) {
        Err(error) if error.kind() == ErrorKind::UnknownAgent && !is_new => {
            shop.directory.hang(Directory::look(db)?);
            by_the_picture(shop, request)
        }
        decided => decided,
    }
}

pub(crate) fn by_the_picture(shop: &Shop, request: &Request) -> Result<Decided> {
    let chance = shop.directory.chance(&request.target, shop.queue.rng.next_u64());
    let route = router::decide(&*shop.router, request, chance, &shop.directory.candidates())?;
    Ok(Decided {
        request: request.clone(),
        route,
    })
}

/// The agents of this process, and those of others that are there.
pub(crate) fn known(shop: &Shop, db: &Snapshot<'_>) -> Result<Vec<Colleague>> {
    let own = |one: &Declaration| Colleague {
        name: one.name().to_owned(),
        version: one.version().clone(),
        capabilities: one.capabilities().iter().map(ToString::to_string).collect(),
        input: one.input().clone(),
        output: one.output().clone(),
    };
    let mut found: BTreeMap<_, Colleague> = BTreeMap::new();
    // One process owns a SQLite file: there are no others.
    if db.dialect() == Dialect::Postgres {
        for listing in registry::discover(db, &registry::Query::new())? {
            let key = (listing.agent.clone(), listing.version.clone());
            let capabilities: BTreeSet<String> = listing.capabilities.iter().map(ToString::to_string).collect();
            if let Some(known) = found.get_mut(&key) {
                known.capabilities.extend(capabilities);
            } else if let Some((input, output)) = registry::shapes(db, &listing.agent, &listing.version)? {
                let colleague = Colleague {
                    name: listing.agent,
                    version: listing.version,
                    capabilities,
                    input,
                    output,
                };
                found.insert(key, colleague);
            }
        }
    }
    for one in shop.registry.declarations() {
        found.insert((one.name().to_owned(), one.version().clone()), own(one));
    }
    Ok(found.into_values().collect())
}

impl Colleagues for Shop {
    fn known(&self, db: &Snapshot<'_>) -> Result<Vec<Colleague>> {
        known(self, db)
    }

    fn address(&self, db: &Snapshot<'_>, target: &str) -> Result<Address> {
        let target: Target = target.parse()?;
        if let Target::Agent(agent) = target {
            return Ok(Address {
                agent,
                versions: String::new(),
                aside: None,
            });
        }
        let Decided { request, route } = decide_in(self, db, &Request::new(target))?;
        // Until the task is on disk, too, what is given out next should know of it.
        self.directory.given(&route.agent);
        Ok(Address {
            agent: route.agent.clone(),
            versions: route.target.versions(),
            aside: Some(Aside::new(move |tx, queue, task| {
                let routed = Routed {
                    seq: task.seq,
                    id: task.id,
                    tenant: &task.tenant,
                    correlation: task.correlation.as_deref(),
                    idempotency: None,
                };
                router::record(tx, &queue.bus, routed, &request, &route)
            })),
        })
    }

    fn check(&self, agent: &str, input: &Payload) -> Result<()> {
        self.registry.get(agent).map_or(Ok(()), |agent| agent.check(input))
    }
}
