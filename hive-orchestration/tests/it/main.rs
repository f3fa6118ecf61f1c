//! Hives on real databases, seen from outside.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod agents;
#[cfg(all(feature = "process", unix))]
mod autoscale;
mod bad_input;
mod chaos;
#[cfg(all(feature = "postgres", unix))]
mod cluster;
mod crowd;
mod decisions;
mod engine;
mod families;
mod flow;
mod kill;
mod kit;
mod many;
mod metrics;
#[cfg(feature = "test-util")]
mod month;
#[cfg(all(feature = "process", unix))]
mod process;
mod program;
mod promptness;
mod quickstart;
mod races;
mod recovery;
mod schedules;
mod shutdown;
#[cfg(feature = "test-util")]
mod simulated;
mod slots;
mod trouble;
mod waiting;

/// Each case on each engine.
macro_rules! cases {
    ($($module:ident { $($case:ident),* $(,)? })*) => {
        mod sqlite {$(
            mod $module {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(crate::kit::Home::new()).await;
                }
            )*}
        )*}

        #[cfg(feature = "postgres")]
        mod postgres {$(
            mod $module {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(crate::kit::Home::postgres()).await;
                }
            )*}
        )*}
    };
}

cases! {
    engine {
        a_step_is_remembered_across_attempts,
        attempts_that_are_used_up_end_in_the_dead_letters,
        a_terminal_failure_is_not_retried,
        a_panic_is_a_failure_of_the_attempt_and_of_nothing_else,
        children_run_even_when_their_parent_has_the_only_worker,
        an_empty_map_is_an_empty_answer,
        the_first_child_that_fails_ends_the_map_and_its_siblings,
        cancelling_reaches_descendants_and_drops_running_futures,
        one_key_is_one_task,
        urgent_tasks_go_first,
        a_rolled_back_submit_never_runs,
        step_retries_and_timeouts_stay_within_the_attempt,
        an_at_most_once_step_that_failed_cleanly_may_run_again,
        a_transition_and_its_event_are_one,
    }
    waiting {
        a_person_answers_and_the_question_stands_until_then,
        a_signal_before_its_wait_is_kept_and_each_wait_takes_one,
        a_wait_survives_its_process,
        whichever_comes_first_wins_and_the_loser_is_cancelled_with_its_parent,
        a_branch_that_works_while_another_waits_is_not_cut_short,
        an_interrupted_at_most_once_step_waits_for_a_decision,
        a_record_that_no_longer_fits_is_held_not_retried,
        an_outcome_that_nobody_wants_any_more_does_not_keep_the_worker,
        the_same_name_in_two_scopes_is_two_steps,
        a_step_may_become_one_that_must_not_run_twice,
        names_that_are_none_are_the_agents_failure,
    }
    recovery {
        what_was_done_is_not_done_again,
        a_zombie_writes_nothing,
        a_task_that_takes_the_process_down_again_and_again_is_buried,
    }
    races {
        a_signal_goes_to_the_wait_that_somebody_looks_at,
        a_signal_that_comes_after_the_race_was_lost_is_not_lost,
        timers_fire_while_every_worker_is_busy,
        a_step_that_must_not_run_twice_is_not_tried_again_after_its_time_limit,
        the_items_of_a_map_may_not_change_under_way,
        an_agent_that_calls_itself_without_an_end_is_told_so,
    }
    decisions {
        why_a_step_is_held_stands_until_the_decision,
        a_signal_of_the_wrong_type_may_be_sent_again,
        a_decision_survives_the_process_that_took_it,
        signals_that_nobody_reads_do_not_pile_up,
    }
    shutdown {
        attempts_that_end_in_time_may_end,
        attempts_that_do_not_are_handed_back_unharmed,
        no_run_is_missed,
        no_run_outlives_its_cancellation,
        after_the_end_everything_says_so,
        a_hive_that_is_dropped_drains_by_itself,
        subscriptions_end_with_the_hive,
    }
    crowd {
        two_thousand_tasks_wait_without_workers_and_without_memory,
        a_thousand_children_in_one_map,
        whoever_comes_back_from_a_wait_needs_a_worker_again,
    }
    flow {
        no_more_run_at_once_than_may,
        whoever_waits_makes_room,
        no_more_begin_than_the_rate_says,
        tenants_and_keys_share_by_weight,
        a_limit_holds_through_restarts,
    }
    many {
        a_batch_is_submitted_whole_or_not_at_all,
        one_task_has_a_key_until_it_ends_or_begins,
        what_is_paused_does_not_start,
        tasks_are_listed_and_cancelled_by_what_is_asked,
        what_is_dead_comes_back_and_goes_on_where_it_stood,
        a_deadline_ends_whatever_goes_on,
    }
    agents {
        a_task_goes_to_whoever_can_do_it_and_the_reasons_stand_beside_it,
        when_nobody_can_have_a_task_nothing_is_written,
        an_idempotency_key_holds_whoever_is_chosen,
        a_hundred_at_once_with_one_key_are_one_task,
        what_is_submitted_between_two_heartbeats_is_shared_out,
        a_routed_task_of_a_transaction_that_is_rolled_back_never_was,
        an_agent_of_another_time_is_remembered,
        what_agents_do_is_counted,
        routers_of_ones_own_and_chains,
        a_task_whose_agent_stays_away_goes_to_another,
    }
    slots {
        more_and_fewer_while_runs_are_under_way,
        fewer_slots_hold_for_what_begins_afterwards,
        an_agent_with_a_limit_leaves_room_for_others,
        the_limit_of_an_agent_holds_for_those_that_come_back,
        others_are_told_how_many_runs_there_may_be,
        a_limit_that_is_none_is_refused,
        slots_follow_the_load,
        slots_are_not_added_for_what_may_not_start,
        who_comes_back_from_a_wait_wakes_the_hive,
        what_blocks_is_a_step_on_a_thread_of_its_own,
        no_more_threads_block_than_may,
        a_cancelled_run_does_not_wait_for_its_thread,
        a_blocked_thread_of_the_runtime_stops_nobody_else,
    }
    families {
        a_record_comes_with_its_task_or_not_at_all,
        children_have_records_of_their_own,
        what_is_said_stands_once_whatever_happens,
        a_run_that_lost_its_lease_says_nothing,
        what_does_not_fit_is_refused_and_changes_nothing,
        a_workflow_tells_how_far_it_has_come,
        what_is_in_place_is_what_deployments_say,
        records_are_forgotten_with_their_tasks_and_what_is_in_place_is_not,
        reviews_are_found_as_they_are_asked_for,
    }
    trouble {
        settings_that_panic_end_the_task,
    }
}
