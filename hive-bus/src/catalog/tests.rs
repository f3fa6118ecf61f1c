use std::collections::{BTreeMap, BTreeSet};

use expect_test::{expect, expect_file};

use super::*;
use crate::event::NewEvent;
use crate::topic::Topic;

#[test]
fn every_type_keeps_its_own_rules() {
    // Registering checks them; the built-in registry skips that.
    let mut checked = TopicRegistry::empty();
    macro_rules! register {
        ($($Type:ident),*) => { $(checked.register::<$Type>().unwrap();)* };
    }
    register!(
        TaskSubmitted,
        TaskStarted,
        TaskProgress,
        TaskStepCompleted,
        TaskWaiting,
        TaskAsked,
        TaskAnswered,
        TaskResumed,
        TaskFailed,
        TaskRetrying,
        TaskRecovered,
        TaskSucceeded,
        TaskCancelled,
        TaskDead,
        TaskRedriven,
        ReviewRequested,
        ReviewStarted,
        ReviewCompleted,
        ReviewEscalated,
        WorkflowStarted,
        WorkflowPlanned,
        WorkflowStageStarted,
        WorkflowStageEnded,
        WorkflowSucceeded,
        WorkflowFailed,
        WorkflowCancelled,
        DeploymentRequested,
        DeploymentStarted,
        DeploymentSucceeded,
        DeploymentFailed,
        DeploymentReverted,
        AgentRegistered,
        AgentOnline,
        AgentBusy,
        AgentDraining,
        AgentOffline,
        AgentRouted,
        SystemStarted,
        SystemStopping,
        SystemStopped,
        SystemRecovered,
        SystemDegraded,
        SystemFlagChanged,
        SystemScaled,
        PluginLoaded,
        PluginSwapped,
        PluginUnloaded,
        PluginFailed,
        PluginDenied,
        GatewayListening,
        GatewayConnected,
        GatewayDisconnected,
        GatewayRefused,
        ScheduleDefined,
        ScheduleFired,
        ScheduleMissed,
        SchedulePaused,
        ScheduleResumed,
        ScheduleRemoved,
        MessageSent
    );
    let names =
        |registry: &TopicRegistry| -> Vec<String> { registry.types().map(|known| known.name().into()).collect() };
    assert_eq!(names(&registry()), names(&checked));
    assert_eq!(built_in().len(), checked.len(), "a name stands twice");
}

#[test]
fn families() {
    let mut families: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let registry = registry();
    for known in registry.types() {
        families.entry(known.family()).or_default().push(known.name());
    }
    expect![[r#"
        {
            "agent": [
                "agent.busy",
                "agent.draining",
                "agent.offline",
                "agent.online",
                "agent.registered",
                "agent.routed",
            ],
            "deployment": [
                "deployment.failed",
                "deployment.requested",
                "deployment.reverted",
                "deployment.started",
                "deployment.succeeded",
            ],
            "gateway": [
                "gateway.connected",
                "gateway.disconnected",
                "gateway.listening",
                "gateway.refused",
            ],
            "message": [
                "message.sent",
            ],
            "plugin": [
                "plugin.denied",
                "plugin.failed",
                "plugin.loaded",
                "plugin.swapped",
                "plugin.unloaded",
            ],
            "review": [
                "review.completed",
                "review.escalated",
                "review.requested",
                "review.started",
            ],
            "schedule": [
                "schedule.defined",
                "schedule.fired",
                "schedule.missed",
                "schedule.paused",
                "schedule.removed",
                "schedule.resumed",
            ],
            "system": [
                "system.degraded",
                "system.flag-changed",
                "system.recovered",
                "system.scaled",
                "system.started",
                "system.stopped",
                "system.stopping",
            ],
            "task": [
                "task.answered",
                "task.asked",
                "task.cancelled",
                "task.dead",
                "task.failed",
                "task.progress",
                "task.recovered",
                "task.redriven",
                "task.resumed",
                "task.retrying",
                "task.started",
                "task.step-completed",
                "task.submitted",
                "task.succeeded",
                "task.waiting",
            ],
            "workflow": [
                "workflow.cancelled",
                "workflow.failed",
                "workflow.planned",
                "workflow.stage-ended",
                "workflow.stage-started",
                "workflow.started",
                "workflow.succeeded",
            ],
        }
    "#]]
    .assert_debug_eq(&families);
}

/// Stored events must stay readable: this file only ever gains lines, and optional fields.
#[test]
fn stored_forms() {
    let mut lines = String::new();
    for known in registry().types() {
        let example = known.example().unwrap();
        let data = std::str::from_utf8(example.attributes.data.as_bytes()).unwrap();
        lines += &format!(
            "{} v{} {} {data}\n",
            known.name(),
            known.schema_version(),
            example.topic()
        );
    }
    expect_file!["golden.txt"].assert_eq(&lines);
}

#[test]
fn every_type_and_field_is_described() {
    for known in registry().types() {
        let name = known.name();
        assert!(
            known.about().is_some_and(|about| about.ends_with('.')),
            "{name} says nothing about itself"
        );
        let schema = known.schema();
        let properties = schema.as_value()["properties"].as_object().unwrap();
        let described: BTreeSet<&str> = properties
            .iter()
            .filter(|(_, field)| field.get("description").is_some())
            .map(|(field, _)| field.as_str())
            .collect();
        assert_eq!(described.len(), properties.len(), "{name} describes only {described:?}");
    }
}

#[test]
fn a_name_that_makes_no_topic_is_refused() {
    let strange = TaskSucceeded {
        task: example_task(1),
        agent: "two words".into(),
        attempt: 1,
    };
    assert!(NewEvent::of(&strange).is_err());
    let dotted = TaskSucceeded {
        agent: "acme.reviewer".into(),
        ..strange
    };
    let topic = NewEvent::of(&dotted).unwrap().topic().clone();
    assert_eq!(topic, Topic::new("task.succeeded.acme.reviewer").unwrap());
}

#[test]
fn unknown_fields_of_a_newer_program_are_ignored() {
    let json = r#"{"task":"task_01kdvdna80e008000000000001","agent":"a","attempt":1,"cost":7}"#;
    let data = hive_core::payload::Payload::from_bytes(json).unwrap();
    assert!(data.decode::<TaskSucceeded>().is_ok());
}
