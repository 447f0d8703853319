use super::*;

fn number(value: u64) -> Number {
    Number::new(value).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "a filter like any other")]
fn ranges(bounds: &[(u64, u64)]) -> Filter {
    Some(
        bounds.iter().map(|(first, last)| NumberRange::new(number(*first), number(*last)).unwrap()).collect(),
    )
}

/// A line whose calls can be told apart by their signals.
#[derive(Default)]
struct Tested {
    line: Line,
    signals: Vec<(Place, Arc<Signal>)>,
}

impl Tested {
    /// A call that joins; the first of its group has searched in vain.
    fn join(&mut self, filter: &Filter) -> Place {
        let signal = Arc::<Signal>::default();
        let (place, is_awake) = self.line.join(filter.clone(), Arc::clone(&signal));
        self.signals.push((place, signal));
        if is_awake {
            self.search(place);
        }
        place
    }

    /// A call searches in vain.
    fn search(&mut self, place: Place) {
        self.line.begin(place);
        assert!(!self.line.rest(place), "nothing came meanwhile");
    }

    fn who(&self, signal: &Arc<Signal>) -> Place {
        self.signals.iter().find(|(_, other)| Arc::ptr_eq(other, signal)).unwrap().0
    }

    fn offer(&mut self, value: u64) -> Option<Place> {
        let signal = self.line.offer(number(value))?;
        Some(self.who(&signal))
    }

    fn leave(&mut self, place: Place) -> (Vec<Number>, Vec<Place>) {
        let left = self.line.leave(place);
        (left.offers, left.signals.iter().map(|signal| self.who(signal)).collect())
    }
}

#[test]
fn a_number_wakes_the_first_idle_call_that_may_choose_it() {
    let mut tested = Tested::default();
    let (tens, all) = (ranges(&[(10, 19)]), None);
    let [first, second, third] = [&tens, &all, &tens].map(|filter| tested.join(filter));
    assert_eq!(tested.offer(20), Some(second));
    assert_eq!(tested.offer(15), Some(first));
    assert_eq!(tested.offer(15), Some(third));
    assert_eq!(tested.offer(15), None, "all are awake");
    assert_eq!(tested.offer(30), None);
    let unfit = ranges(&[(1, 2), (5, 6)]);
    assert_eq!(
        [0, 1, 2, 3, 5, 6, 7].map(|value| has(&unfit, number(value))),
        [false, true, true, false, true, true, false]
    );
}

#[test]
fn what_comes_during_a_search_is_searched_for_again() {
    let mut tested = Tested::default();
    let call = tested.join(&None);
    assert_eq!(tested.offer(7), Some(call));
    tested.line.begin(call);
    assert_eq!(tested.offer(8), None, "it is awake");
    assert!(tested.line.rest(call), "its search may have missed it");
    tested.search(call);
    assert_eq!(tested.offer(9), Some(call), "it is idle again");
}

#[test]
fn who_leaves_hands_its_offers_on() {
    let mut tested = Tested::default();
    let (first, second) = (tested.join(&None), tested.join(&None));
    assert_eq!(tested.offer(7), Some(first));
    assert_eq!(tested.leave(first), (vec![number(7)], vec![]), "its pool looks whether it is available");
    assert_eq!(tested.leave(second), (vec![], vec![]));
    assert_eq!((tested.line.len(), tested.line.has_group(&None)), (0, false));
}

#[test]
fn who_joins_behind_a_search_is_woken_after_it() {
    let mut tested = Tested::default();
    let searching = tested.line.join(None, Arc::default()).0;
    tested.line.begin(searching);
    let behind = tested.join(&None);
    assert!(!tested.line.waiters[&behind].is_awake);
    assert_eq!(tested.leave(searching).1, [behind]);
}

#[test]
fn numbers_that_nobody_knows_wake_one_call_of_each_group_after_another() {
    let mut tested = Tested::default();
    let tens = ranges(&[(10, 19)]);
    let calls = [&None, &None, &tens].map(|filter| tested.join(filter));
    let mut signals = Signals::new();
    tested.line.wake_first(&mut signals);
    let mut woken: Vec<_> = signals.iter().map(|signal| tested.who(signal)).collect();
    woken.sort_unstable();
    assert_eq!(woken, [calls[0], calls[2]]);
    assert_eq!(tested.leave(calls[0]).1, [calls[1]]);
    // One that finds nothing ends that.
    tested.search(calls[1]);
    assert_eq!(tested.leave(calls[1]).1, []);
}

#[test]
fn offers_beyond_the_limit_wake_every_group() {
    let mut tested = Tested::default();
    let (all, tens) = (tested.join(&None), tested.join(&ranges(&[(10, 19)])));
    assert_eq!(tested.offer(10), Some(all));
    assert_eq!(tested.offer(11), Some(tens));
    for value in 12..12 + MAX_OFFERS as u64 {
        assert_eq!(tested.offer(value), None);
    }
    tested.search(tens);
    let (offers, woken) = tested.leave(all);
    assert_eq!((offers.len(), woken), (MAX_OFFERS, vec![tens]));
}

#[test]
fn who_loses_too_often_has_precedence_until_it_leaves() {
    let mut tested = Tested::default();
    let tens = ranges(&[(10, 19)]);
    let call = tested.join(&tens);
    for _ in 0..LOSSES_UNTIL_PRECEDENCE {
        assert!(!tested.line.has_precedence());
        assert_eq!(tested.offer(10), Some(call));
        tested.search(call);
    }
    let within = |bounds: &[(u64, u64)]| tested.line.precedes(ranges(bounds).as_deref());
    assert!(within(&[(10, 19)]) && within(&[(11, 12), (15, 15)]));
    assert!(!within(&[(11, 20)]) && !within(&[(1, 1), (11, 11)]) && !tested.line.precedes(None));
    tested.leave(call);
    assert!(!tested.line.has_precedence());
}
