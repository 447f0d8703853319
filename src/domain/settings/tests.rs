use super::*;

#[test]
fn a_change_keeps_what_it_does_not_name_and_is_refused_whole() {
    let base = Settings::default();
    let long = SettingsChange { ttl: Some(100_000), ..SettingsChange::default() };
    let longer = Settings::of_new_pool(&long).unwrap();
    assert_eq!((longer.ttl, longer.ttl_max, longer.rest), (100_000, 100_000, 0));
    // A limit that somebody may have chosen is not raised in silence.
    let over = SettingsError::TtlOverMax { ttl: 100_000, ttl_max: base.ttl_max };
    assert_eq!(base.changed(&long), Err(over));
    let refused = [
        SettingsChange { ttl: Some(0), ..SettingsChange::default() },
        SettingsChange { ttl_max: Some(1), ..SettingsChange::default() },
        SettingsChange { ttl: Some(MAX_TTL_SECONDS + 1), ..SettingsChange::default() },
        SettingsChange { rest: Some(u32::MAX), ..SettingsChange::default() },
        SettingsChange { on_expiry: Some(NextState::Rest(u32::MAX)), ..SettingsChange::default() },
        SettingsChange { on_expiry: Some("list:optouts".parse().unwrap()), ..SettingsChange::default() },
        SettingsChange { blocked_by: Some(vec!["a".parse().unwrap(); 2]), ..SettingsChange::default() },
        SettingsChange {
            blocked_by: Some((0..17).map(|list| format!("l{list}").parse().unwrap()).collect()),
            ..SettingsChange::default()
        },
        SettingsChange {
            outcomes: Some(BTreeMap::from([(String::new(), NextState::Done)])),
            ..SettingsChange::default()
        },
    ];
    for change in refused {
        assert!(base.changed(&change).is_err(), "{change:?}");
    }
}

#[test]
fn the_calls_word_wins_over_the_outcome_and_the_outcome_over_the_default() {
    let settings = Settings {
        rest: 7,
        outcomes: BTreeMap::from([("answered".to_owned(), NextState::Done)]),
        ..Settings::default()
    };
    assert_eq!(settings.then_for(Some(NextState::Retired), Some("answered")), NextState::Retired);
    assert_eq!(settings.then_for(None, Some("answered")), NextState::Done);
    assert_eq!(settings.then_for(None, Some("unheard of")), NextState::Rest(7));
    assert_eq!(settings.then_for(None, None), NextState::Rest(7));
}
