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
mod budgets;
mod chaos;
mod children;
#[cfg(all(feature = "postgres", unix))]
mod cluster;
mod crowd;
mod decisions;
mod edits;
mod engine;
mod events;
mod families;
mod flow;
mod kill;
mod kit;
mod many;
mod memory;
mod messages;
mod metrics;
#[cfg(feature = "test-util")]
mod month;
mod plans;
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
mod streams;
mod travel;
mod trouble;
mod undo;
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
    children {
        the_first_output_wins_and_stays_the_first,
        a_race_that_nobody_wins_fails_with_the_first_failure,
        failures_may_be_values_and_stand_when_the_task_comes_back,
        what_is_spawned_goes_on_alone_and_is_there_once,
        a_time_is_slept_until_and_not_longer_when_it_has_passed,
    }
    undo {
        what_was_done_is_taken_back_in_reverse,
        cancelling_takes_back_what_was_done_so_far,
        what_cannot_be_taken_back_stops_the_rest_until_it_can,
        nobody_submits_to_the_agent_that_undoes,
    }
    waiting {
        a_person_answers_and_the_question_stands_until_then,
        a_signal_before_its_wait_is_kept_and_each_wait_takes_one,
        a_wait_survives_its_process,
        a_question_says_who_may_answer_and_what,
        an_early_answer_is_taken_by_the_question_that_it_fits,
        whoever_is_needed_sees_what_waits_longest_first,
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
    budgets {
        what_is_used_is_counted_and_the_rest_given_back,
        who_has_no_more_waits_until_it_is_granted,
        a_budget_may_let_its_task_fail,
        children_draw_on_their_caller,
        no_deeper_than_it_may,
        what_a_dead_process_had_reserved_is_spent,
        what_others_give_back_is_used,
        a_model_is_called_within_a_reservation,
        nothing_begins_when_its_time_is_over,
        a_step_that_must_not_run_twice_waits_before_it_begins,
        a_crowd_in_several_processes_spends_no_more_than_there_is,
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
    plans {
        each_node_is_done_once_and_in_order_whatever_happens,
        the_plan_that_was_first_goes_on,
        what_a_failure_does_is_the_nodes_to_say,
        a_plan_that_fails_cancels_what_runs_and_comes_back_whole,
        conditions_decide_what_is_wanted,
        no_more_nodes_run_at_once_than_may,
        a_reference_that_leads_nowhere_is_the_nodes_failure,
        a_plan_that_cannot_be_carried_out_starts_nothing,
        a_failed_node_is_replaced_and_the_revision_is_asked_for_once,
        a_revision_that_cannot_be_is_asked_for_again,
        a_capability_is_given_to_whoever_can_when_the_node_starts,
        a_model_mends_its_plan,
        who_waits_for_a_plan_is_parked,
    }
    memory {
        what_is_written_is_written_once_wherever_the_process_dies,
        no_update_is_lost,
        what_was_read_stays_read,
        what_a_transaction_undoes_was_never_kept,
        tenants_do_not_see_each_other,
        the_memory_of_a_run_is_forgotten_with_it,
        what_has_a_time_to_live_is_gone_after_it,
    }
    messages {
        what_is_sent_and_published_is_so_once,
        a_request_is_answered_once_wherever_processes_die,
        a_reply_wakes_whoever_waits_in_another_process,
        a_request_ends_in_time_or_with_the_refusal,
        each_message_goes_to_one_run,
        an_inbox_is_one_tenants,
        an_empty_inbox_is_empty_again_after_a_crash,
        a_message_that_a_lost_race_would_have_got_is_not_lost,
        who_is_asked_replies_once,
        an_inbox_hears_of_capabilities_and_fills,
    }
    events {
        the_first_event_that_matches_ends_the_wait,
        an_event_from_before_counts_only_since_it_is_asked_for,
        an_event_that_comes_while_nobody_is_there_is_found,
        a_crash_at_any_moment_loses_no_event,
        many_waits_end_with_one_event,
        no_answer_is_missed_however_quick_it_is,
        who_waits_too_long_is_told_and_may_wait_again,
        a_cancelled_wait_is_over,
        a_wait_that_lost_a_race_is_taken_up_again,
        what_is_no_filter_is_the_agents_failure,
        retention_leaves_what_was_not_looked_at,
        filters_beyond_number_are_told_apart,
    }
    streams {
        a_reader_follows_while_the_step_goes_on,
        a_reader_that_comes_late_gets_everything_from_its_cursor_on,
        after_a_crash_the_step_begins_anew_and_readers_are_told,
        after_a_crash_the_step_may_go_on_from_what_was_kept,
        the_output_comes_with_every_piece_on_disk,
        a_step_that_is_tried_again_begins_anew,
        who_hands_out_faster_than_the_disk_writes_waits,
        too_much_is_refused,
        scopes_and_occurrences_are_read_apart,
        pieces_are_forgotten_with_their_task,
    }
    edits {
        each_is_resumed_safely_or_told_beforehand,
    }
    travel {
        a_history_holds_what_a_task_remembers_and_comes_back_from_json,
        a_fork_does_again_what_comes_after_and_nothing_else,
        a_fork_may_have_another_input_or_another_outcome,
        what_is_not_known_is_held_in_the_fork_as_well,
        a_decision_on_a_drift_stands,
        children_that_are_called_anew_take_the_place_of_the_others,
        a_check_looks_at_every_open_run_and_writes_nothing,
    }
    trouble {
        settings_that_panic_end_the_task,
    }
}
