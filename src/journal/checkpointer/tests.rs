use std::sync::mpsc;

use super::*;
use crate::journal::durability::Durability;

#[test]
fn changes_are_refused_until_the_disk_has_space_or_a_while_has_passed() {
    let mut state = State::default();
    state.no_room_for.spare = true;
    assert!(!state.refuses(false), "nothing had to be refused yet");
    assert!(state.refuses(true));
    // A checkpoint gave a file back, and the disk has no more space than before.
    state.spares.push(PathBuf::from("spare"));
    assert!(state.refuses(false) && state.wants_spare(), "it is tried whether there is space");
    state.refuses_until = Some(Instant::now());
    assert!(!state.refuses(false), "the file is tried");
    assert!(state.refuses(true));
    state.no_room_for.spare = false;
    assert!(!state.refuses(false) && !state.wants_spare());
}

/// A checkpoint that is under way began before the last changes, even when another is already requested.
#[test]
fn the_last_checkpoint_is_one_that_begins_after_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(Files::new(files::real(), dir.path(), 64 << 10, Vec::new()).unwrap());
    let journal = Arc::new(Journal::new(1, Durability::None));
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let checkpoint: Checkpoint = Box::new(move |_| {
        begun.send(()).unwrap();
        released.recv().unwrap();
        Ok(())
    });
    let (files, journal) = (&files, &journal);
    std::thread::scope(|scope| {
        // Dropped here if this fails, so that the threads end.
        let release = release;
        let thread = scope.spawn(move || files.run(journal, &checkpoint, &|| 0));
        files.lock().checkpoint_asked = true;
        files.changed.notify_all();
        begins.recv().unwrap();
        files.lock().checkpoint_asked = true;
        let waiter = scope.spawn(|| files.checkpoint_and_wait(journal));
        // The waiter sets this under the same lock under which it decides what to wait for.
        while !files.hurry.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        release.send(()).unwrap();
        begins.recv().unwrap();
        let pause = Duration::from_millis(3 * ROOM_RETRY_MS);
        std::thread::sleep(pause);
        assert!(!waiter.is_finished(), "the checkpoint that it asked for has not ended");
        release.send(()).unwrap();
        waiter.join().unwrap().unwrap();
        files.stop();
        thread.join().unwrap();
    });
}
