use super::*;
use proptest::prelude::*;

fn at(seconds: u32) -> Timestamp {
    Timestamp::new(seconds)
}

fn floor(generation: u32) -> Floors {
    Floors { generation, attempts: 0 }
}

#[test]
fn a_lease_goes_round() {
    let leased = Word::NEW.lease(at(100), Floors::NONE).unwrap();
    assert_eq!((leased.state(), leased.generation(), leased.due()), (State::Leased, 1, Some(at(100))));
    assert_eq!(leased.lease(at(200), Floors::NONE), Err(LeaseRefusal::NotAvailable));
    assert_eq!(leased.sweep(at(99), ExpiryRule::Available.into()), None);
    let swept = leased.sweep(at(100), ExpiryRule::Available.into()).unwrap();
    assert_eq!((swept.state(), swept.due()), (State::Available, None));
    let again = swept.lease(at(300), Floors::NONE).unwrap();
    assert_eq!((again.state(), again.generation()), (State::Leased, 2));
    let rested = again.return_lease(NextWord::Rest(at(400))).unwrap();
    assert_eq!((rested.state(), rested.due()), (State::Resting, Some(at(400))));
    assert_eq!(rested.renew(at(900)), Err(LeaseOver));
    assert_eq!(rested.return_lease(NextWord::Done(1)), Ok(rested), "returning twice changes nothing");
    assert_eq!(rested.sweep(at(400), ExpiryRule::Done(1).into()).unwrap().state(), State::Available);
}

#[test]
fn a_passed_lease_can_still_be_renewed_and_returned() {
    let swept =
        Word::NEW.lease(at(100), Floors::NONE).unwrap().sweep(at(100), ExpiryRule::Available.into()).unwrap();
    let renewed = swept.renew(at(150)).unwrap();
    assert_eq!((renewed.state(), renewed.generation(), renewed.due()), (State::Leased, 1, Some(at(150))));
    assert!(renewed > swept && swept.renew(at(100)).unwrap() > swept);
    assert_eq!(swept.return_lease(NextWord::Done(3)).unwrap().state(), State::Done);
}

#[test]
fn a_renewal_never_shortens() {
    let leased = Word::NEW.lease(at(100), Floors::NONE).unwrap();
    assert_eq!(leased.renew(at(50)), Ok(leased));
}

#[test]
fn expiry_follows_the_pool() {
    let leased = Word::NEW.lease(at(100), Floors::NONE).unwrap();
    let rests = leased.sweep(at(130), ExpiryRule::Rest(20).into()).unwrap();
    assert_eq!((rests.state(), rests.due()), (State::Resting, Some(at(120))));
    assert_eq!(leased.seen(at(130), ExpiryRule::Rest(20).into()).state(), State::Available);
    assert_eq!(leased.sweep(at(130), ExpiryRule::Done(2).into()).unwrap().state(), State::Done);
    assert_eq!(leased.sweep(at(130), ExpiryRule::Retired.into()).unwrap().state(), State::Retired);
}

#[test]
fn done_comes_back_in_a_later_round_only() {
    let done = Word::NEW.lease(at(100), Floors::NONE).unwrap().return_lease(NextWord::Done(1)).unwrap();
    assert_eq!(done.open_round(1), None);
    assert_eq!(done.open_round(2).unwrap().state(), State::Available);
    assert_eq!(done.sweep(Timestamp::MAX, ExpiryRule::Available.into()), None);
}

#[test]
fn retired_stays_until_reinstated() {
    for word in [Word::NEW, Word::NEW.lease(at(100), Floors::NONE).unwrap()] {
        let retired = word.retire().unwrap();
        assert!(retired > word);
        assert_eq!((retired.state(), retired.retire()), (State::Retired, None));
        assert_eq!(retired.lease(at(1), Floors::NONE), Err(LeaseRefusal::NotAvailable));
        let back = retired.reinstate(Floors::NONE).unwrap();
        assert_eq!((back.state(), back.generation()), (State::Available, word.generation() + 1));
        assert_eq!(back.reinstate(Floors::NONE), None);
    }
}

#[test]
fn a_release_ends_a_lease_or_a_rest_and_its_token() {
    let leased = Word::NEW.lease(at(100), Floors::NONE).unwrap();
    let lapsed = leased.sweep(at(100), ExpiryRule::Available.into()).unwrap();
    let resting = leased.return_lease(NextWord::Rest(at(400))).unwrap();
    for word in [leased, lapsed, resting] {
        let released = word.release(Floors::NONE).unwrap();
        assert!(released > word);
        assert_eq!((released.state(), released.generation(), released.due()), (State::Available, 2, None));
        assert_eq!(released.renew(at(900)), Err(LeaseOver));
        assert_eq!(released.release(Floors::NONE), None, "twice changes nothing");
        assert_eq!(released.lease(at(500), Floors::NONE).unwrap().generation(), 3);
        assert_eq!(word.release(floor(7)).unwrap().generation(), 8);
    }
    let done = leased.return_lease(NextWord::Done(1)).unwrap();
    for word in [Word::NEW, done, leased.retire().unwrap(), leased.moved()] {
        assert_eq!(word.release(Floors::NONE), None);
    }
    let last = Word::build(MAX_GENERATION, 0, Phase::Leased, 100, false);
    let released = last.release(Floors::NONE).unwrap();
    assert_eq!((released.state(), released.renew(at(900))), (State::Retired, Err(LeaseOver)));
}

#[test]
fn attempts_are_counted_from_lease_to_lease_and_anew_above_a_floor() {
    let back = |word: Word| word.return_lease(NextWord::Available).unwrap();
    let mut word = Word::NEW;
    for attempt in 1..20 {
        assert_eq!(word.attempts(0), (attempt - 1).min(MAX_ATTEMPTS));
        word = word.lease(at(100), Floors::NONE).unwrap();
        assert_eq!(word.attempts(0), attempt.min(MAX_ATTEMPTS));
        // Neither the end of a lease nor a late renewal is another attempt.
        let swept = word.sweep(at(100), ExpiryRule::Available.into()).unwrap();
        assert_eq!(swept.renew(at(200)).unwrap().attempts(0), word.attempts(0));
        word = if attempt % 2 == 0 { swept } else { back(word) };
    }
    let anew = Floors { generation: word.generation(), attempts: word.generation() };
    assert_eq!(word.attempts(anew.attempts), 0);
    let leased = word.lease(at(100), anew).unwrap();
    assert_eq!((leased.attempts(anew.attempts), back(leased).attempts(anew.attempts)), (1, 1));
    assert_eq!(back(leased).lease(at(100), anew).unwrap().attempts(anew.attempts), 2);
    assert_eq!(leased.release(anew).unwrap().attempts(anew.attempts), 1, "it was an attempt");
    assert_eq!(
        Word::NEW.lease(at(100), Floors::NONE).unwrap().release(anew).unwrap().attempts(anew.attempts),
        0
    );
    assert_eq!(leased.retire().unwrap().reinstate(anew).unwrap().attempts(anew.attempts), 0);
}

#[test]
fn the_last_attempt_ends_by_its_own_rule() {
    let limit = AttemptLimit { max: 2, floor: 0, then: ExpiryRule::Done(4) };
    let rules = |on_expiry| EndRules { on_expiry, attempts: Some(limit) };
    let first = Word::NEW.lease(at(100), Floors::NONE).unwrap();
    let second = first.return_lease(NextWord::Available).unwrap().lease(at(200), Floors::NONE).unwrap();
    assert!(!first.has_reached(limit) && second.has_reached(limit));
    let available = rules(ExpiryRule::Available);
    assert_eq!(first.sweep(at(100), available).unwrap().state(), State::Available);
    assert_eq!(first.available_at(available), Some(at(100)));
    for on_expiry in [ExpiryRule::Available, ExpiryRule::Rest(9)] {
        let done = second.sweep(at(200), rules(on_expiry)).unwrap();
        assert_eq!((done.done_in_round(), second.available_at(rules(on_expiry))), (Some(4), None));
        assert_eq!(second.seen(at(300), rules(on_expiry)), done);
    }
    assert_eq!(second.sweep(at(200), rules(ExpiryRule::Retired)).unwrap().state(), State::Retired);
    assert!(!available.is_always_available() && EndRules::from(ExpiryRule::Available).is_always_available());
}

#[test]
fn words_without_attempts_keep_what_they_say() {
    let old = |generation: u64, phase: Phase, until: u64, swept: u64| {
        Word::from_bits_without_attempts(generation << 34 | (phase as u64) << 32 | until << 1 | swept)
    };
    assert_eq!(old(0, Phase::Leased, 0, 0), Word::NEW);
    let leased = old(7, Phase::Leased, 100, 0);
    assert_eq!((leased.generation(), leased.state(), leased.due()), (7, State::Leased, Some(at(100))));
    assert_eq!(leased.attempts(0), 0);
    assert_eq!(old(7, Phase::Done, 3, 0).done_in_round(), Some(3));
    assert!(old(7, Phase::Retired, 0, 1).is_moved());
    let spent = old(u64::from(MAX_GENERATION) + 1, Phase::Leased, 100, 0);
    assert_eq!((spent.state(), spent.reinstate(Floors::NONE)), (State::Retired, None));
    assert!(old(u64::from(MAX_GENERATION) + 1, Phase::Retired, 0, 1).is_moved());
}

#[test]
fn a_floor_of_generations_is_passed_by_the_next_lease() {
    let old = Word::NEW.lease(at(10), Floors::NONE).unwrap().return_lease(NextWord::Available).unwrap();
    assert_eq!(old.lease(at(20), floor(7)).unwrap().generation(), 8);
    assert_eq!(old.lease(at(20), floor(MAX_GENERATION)), Err(LeaseRefusal::GenerationsSpent));
    assert_eq!(old.retire().unwrap().reinstate(floor(7)).unwrap().generation(), 8);
}

#[test]
fn a_worn_out_number_is_never_leased() {
    let worn = Word::build(MAX_GENERATION, 0, Phase::Returned, 0, true);
    assert_eq!(worn.lease(at(1), Floors::NONE), Err(LeaseRefusal::GenerationsSpent));
    assert_eq!(worn.retire().unwrap().reinstate(Floors::NONE), None);
}

proptest! {
    #[test]
    fn of_two_words_without_attempts_the_larger_stays_so(a: u64, b: u64, near in 0_u64..1 << 36) {
        let word = Word::from_bits_without_attempts;
        for (a, b) in [(a, b), (a, a ^ near)] {
            // A word that has moved does not change any more.
            if !word(a).is_moved() && !word(b).is_moved() {
                prop_assert_eq!(word(a).max(word(b)), word(a.max(b)));
            }
        }
    }

    #[test]
    fn a_moved_word_is_the_largest_of_its_generation_and_never_changes(
        bits: u64, seconds in 0..=Timestamp::MAX.seconds(), round in 0..=MAX_ROUND
    ) {
        let word = Word::from_bits(bits);
        let moved = word.moved();
        let retired = Word::build(word.generation(), MAX_ATTEMPTS, Phase::Retired, 0, false);
        prop_assert!(moved.is_moved() && moved.generation() == word.generation() && moved > retired);
        prop_assert_eq!(word.retire().unwrap_or(word).is_moved(), word.is_moved());
        prop_assert!(moved.lease(at(seconds), Floors::NONE).is_err() && moved.renew(at(seconds)).is_err());
        prop_assert!(moved.retire().is_none() && moved.reinstate(Floors::NONE).is_none() && moved.release(Floors::NONE).is_none());
        prop_assert!(moved.open_round(round).is_none());
        prop_assert!(moved.sweep(at(seconds), ExpiryRule::Available.into()).is_none());
        prop_assert_eq!(moved.return_lease(NextWord::Retired).unwrap_or(moved), moved);
    }

    #[test]
    fn every_change_grows_the_word(
        bits: u64, seconds in 0..=Timestamp::MAX.seconds(), round in 0..=MAX_ROUND, rest: u32, max in 1..=MAX_ATTEMPTS,
        floors in (0..=MAX_GENERATION, 0..=MAX_GENERATION)
    ) {
        let word = Word::from_bits(bits);
        let floors = Floors { generation: floors.0.max(floors.1), attempts: floors.1 };
        let end = [NextWord::Available, NextWord::Rest(at(seconds)), NextWord::Done(round), NextWord::Retired];
        let expiry = [ExpiryRule::Available, ExpiryRule::Rest(rest), ExpiryRule::Done(round), ExpiryRule::Retired];
        let mut changes = vec![word.retire(), word.open_round(round)];
        for floors in [floors, Floors::NONE] {
            changes.extend([word.lease(at(seconds), floors).ok(), word.reinstate(floors), word.release(floors)]);
        }
        for then in expiry {
            changes.push(word.sweep(at(seconds), then.into()));
            let limit = AttemptLimit { max, floor: floors.attempts, then };
            let rules = expiry.map(|on_expiry| EndRules { on_expiry, attempts: Some(limit) });
            changes.extend(rules.map(|rules| word.sweep(at(seconds), rules)));
        }
        for next in changes.into_iter().flatten() {
            prop_assert!(next > word, "{word:?} -> {next:?}");
        }
        for next in end.iter().filter_map(|e| word.return_lease(*e).ok()).chain(word.renew(at(seconds)).ok()) {
            prop_assert!(next >= word, "{word:?} -> {next:?}");
        }
    }
}
