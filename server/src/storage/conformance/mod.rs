//! What every backend of [`RelayStore`] must do, as tests over synthetic summaries and bytes: the
//! storage opens no document, so none of them needs to be real.
//!
//! A backend joins with one line: `manzana_server::relay_store_conformance!(MyBackend);` in a test
//! crate that has `tokio` and `proptest`, where `MyBackend` is a [`Backend`].
// These are tests: they say what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

pub mod answers;
pub mod held;
pub mod intake;
pub mod lists;
pub mod model;
pub mod people;
pub mod recovery;
pub mod retention;
pub mod samples;

use async_trait::async_trait;

use super::{CityFormat, RelayStore};

/// A database of some backend that can be opened again and again.
#[async_trait]
pub trait Backend: Send + Sync + Sized {
    /// The storage under test.
    type Store: RelayStore;
    /// A new, empty database that ends with this value.
    async fn create() -> Self;
    /// Opens it with [`format`] at the first start.
    async fn open(&self) -> Self::Store;
}

/// The format of the city in these tests.
pub fn format() -> CityFormat {
    CityFormat {
        first_folio: 1_455,
        folio_prefix: "SIAC-".to_owned(),
        folio_width: 6,
    }
}

/// Makes one test of each behaviour for this backend.
#[macro_export]
macro_rules! relay_store_conformance {
    ($backend:ty) => {
        $crate::relay_store_conformance!($backend, without_search);
        $crate::relay_store_conformance!(@tests $backend,
            lists: words_are_found_without_accents_and_by_their_beginning,
            lists: folios_are_found_as_people_type_them,
            lists: what_is_typed_is_never_an_operator,
            lists: an_edited_petition_is_found_by_its_new_words_only,
            lists: filters_and_pages_of_the_list,
            lists: what_is_misspelt_is_found_and_the_page_says_what_was_looked_for,
            lists: petitions_of_an_agency_are_listed_and_totals_are_told,
        );
    };
    // For stores in memory, where no operator looks for anything.
    ($backend:ty, without_search) => {
        $crate::relay_store_conformance!(@tests $backend,
            intake: places_and_folios_have_no_gaps,
            intake: a_batch_that_fails_leaves_nothing,
            intake: a_chain_goes_step_by_step,
            intake: what_the_caller_should_never_ask_is_refused,
            intake: a_document_moves_through_scopes,
            intake: an_actor_is_bound_at_its_first_use,
            intake: only_new_petitions_get_folios,
            intake: parts_show_once_a_change_of_their_document_is_accepted,
            intake: reopening_keeps_everything,
            answers: answers_stay_until_they_are_seen,
            answers: fates_tell_accepted_from_dead,
            answers: groups_wait_and_resume,
            held: held_groups_are_listed_until_they_are_decided,
            lists: catalogs_changes_and_times,
            lists: an_agencys_petitions_are_counted_by_group_and_period,
            retention: members_are_the_documents_of_a_scope_in_their_versions,
            retention: places_are_kept_down_to_the_lowest_device_that_lives,
            retention: a_sweep_in_steps_of_any_size_forgets_the_same,
            recovery: an_epoch_is_kept_and_told,
            recovery: folios_wait_until_the_recovery_is_closed,
            recovery: what_a_reader_gave_back_is_known_with_its_folio,
            recovery: proofs_are_kept_as_they_came_first,
            recovery: the_chains_of_a_device_are_told_with_their_ends,
            recovery: what_nobody_brought_is_dead_once_it_is_closed,
            recovery: numbers_of_users_and_answers_are_not_used_again,
            people: a_device_is_one_of_its_tag,
            people: an_invite_is_taken_once_and_in_time,
            people: user_names_are_unique,
            people: an_act_is_remembered_with_its_commit_and_only_if_accepted,
            people: sessions_and_settings,
        );
        ::proptest::proptest! {
            #![proptest_config(::proptest::prelude::ProptestConfig {
                cases: 24, failure_persistence: None, ..Default::default()
            })]
            #[test]
            fn log_fills_and_digests_agree_with_the_naive_model(
                script in ::proptest::collection::vec(::proptest::arbitrary::any::<[u8; 4]>(), 1..48)
            ) {
                ::tokio::runtime::Runtime::new()
                    .expect("a runtime")
                    .block_on($crate::storage::conformance::model::agrees::<$backend>(&script));
            }
        }
    };
    (@tests $backend:ty, $($module:ident: $test:ident,)+) => {$(
        #[::tokio::test]
        async fn $test() {
            $crate::storage::conformance::$module::$test::<$backend>().await;
        }
    )+};
}
