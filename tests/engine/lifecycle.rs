//! Data directories: created, opened again, damaged, held by another.

use std::fs;

use allotd::check::check_directory;
use allotd::domain::settings::{Settings, SettingsChange};
use allotd::engine::operations::import::{ImportError, NumberSource};
use allotd::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use allotd::engine::{DeleteError, Engine, Once, OpenError};

use super::{config, create, open, range};

fn try_open(dir: &std::path::Path) -> Result<std::sync::Arc<Engine>, OpenError> {
    Engine::open(&config(dir))
}

#[test]
fn a_directory_is_held_by_one_engine() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    assert!(matches!(try_open(dir.path()), Err(OpenError::Locked(_))));
    assert!(matches!(check_directory(dir.path()), Err(OpenError::Locked(_))));
    drop(engine);
    open(dir.path());
}

#[test]
fn another_version_or_another_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letters.txt"), "mine").unwrap();
    assert!(matches!(try_open(dir.path()), Err(OpenError::NotADataDirectory(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("LOCK"), "allotd data directory, format 1\n").unwrap();
    assert!(matches!(try_open(dir.path()), Err(OpenError::OtherVersion(_))));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

    let dir = tempfile::tempdir().unwrap();
    create(&open(dir.path()), "p", &[range(1, 9)], &SettingsChange::default());
    let manifest = dir.path().join("pools/p/pool.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("ttl = 300", "ttl = 301")).unwrap();
    let error = try_open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("checksum") && error.contains("pool.toml"), "{error}");
    let (_, settings) = text.split_once('\n').unwrap();
    let settings = settings.replace("format = 5", "format = 6");
    fs::write(&manifest, format!("crc32c = \"{:08x}\"\n{settings}", crc32c::crc32c(settings.as_bytes())))
        .unwrap();
    let error = try_open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("format 6") && error.contains("pool.toml"), "{error}");
}

#[test]
fn a_pool_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool =
        create(&engine, "p", &[range(1, 1_000)], &SettingsChange { ttl: Some(7), ..Default::default() });
    let mut leases = Vec::new();
    let request = LeaseRequest { count: 10, ttl_seconds: None, within: None };
    pool.lease(&mut engine.worker(), &request, &mut leases).unwrap();
    pool.pause().unwrap();
    pool.start_round().unwrap();
    pool.add_numbers(NumberSource::Ranges(&[range(990, 1_010)])).unwrap();
    drop((pool, engine));
    let engine = open(dir.path());
    let pool = engine.pool("p").unwrap();
    assert_eq!((pool.settings().ttl, pool.is_paused(), pool.round(), pool.numbers()), (7, true, 2, 1_010));
    assert_eq!((pool.counts().leased, pool.counts().available), (10, 1_000));
    assert_eq!(pool.lease(&mut engine.worker(), &request, &mut leases), Err(LeaseError::Paused));
}

#[test]
fn a_failed_load_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1, 9)], &SettingsChange::default());
    let again = engine.create_pool(pool.name(), Settings::default(), NumberSource::Ranges(&[range(1, 2)]));
    assert!(matches!(again, Err(ImportError::PoolExists(_))));
    let mut garbage: &[u8] = b"this is no bitmap";
    let roaring = NumberSource::Roaring { input: &mut garbage, progress: &|_| {} };
    assert!(matches!(
        engine.create_pool(&"q".parse().unwrap(), Settings::default(), roaring),
        Err(ImportError::Set(_))
    ));
    assert!(engine.pool("q").is_none());
    assert_eq!(fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path().join("pools")).unwrap().count(), 1);
}

#[test]
fn what_an_addition_that_was_cut_off_leaves_is_no_fault_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    create(&open(dir.path()), "p", &[range(1, 9)], &SettingsChange::default());
    let pool_dir = dir.path().join("pools/p");
    for name in ["0002.numbers", "0002.words", "pool.new"] {
        fs::write(pool_dir.join(name), "half").unwrap();
    }
    assert_eq!(check_directory(dir.path()).unwrap().faults, []);
    let engine = open(dir.path());
    assert_eq!(fs::read_dir(&pool_dir).unwrap().count(), 4, "manifest, numbers, words and sums");
    let added = engine.pool("p").unwrap().add_numbers(NumberSource::Ranges(&[range(1, 20)])).unwrap();
    assert_eq!((added.added, added.existing), (11, 9));
}

#[test]
fn deleting_is_refused_while_numbers_are_leased() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let pool = create(&engine, "p", &[range(1, 9)], &SettingsChange::default());
    let mut leases = Vec::new();
    let request = LeaseRequest { count: 3, ttl_seconds: None, within: None };
    let mut worker = engine.worker();
    pool.lease(&mut worker, &request, &mut leases).unwrap();
    assert!(matches!(engine.delete_pool("p", false), Err(DeleteError::InUse(3))));
    pool.lease(&mut worker, &request, &mut leases).unwrap();
    engine.delete_pool("p", true).unwrap();
    assert_eq!(pool.lease(&mut worker, &request, &mut leases), Err(LeaseError::Deleted));
    assert!(matches!(engine.delete_pool("p", true), Err(DeleteError::NotFound(_))));
    assert_eq!(fs::read_dir(dir.path().join("pools")).unwrap().count(), 0);
}

#[test]
fn check_finds_nothing_in_a_sound_directory_and_every_fault_in_a_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    create(&engine, "p", &[range(1, 100), range(1_000_000, 1_200_000)], &SettingsChange::default());
    drop(engine);
    let sound = check_directory(dir.path()).unwrap();
    assert_eq!((sound.pools, sound.numbers, sound.faults), (1, 200_101, vec![]));
    let set = dir.path().join("pools/p/0001.numbers");
    let content = fs::read(&set).unwrap();
    for at in 0..content.len() {
        let mut damaged = content.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&set, damaged).unwrap();
        assert!(!check_directory(dir.path()).unwrap().faults.is_empty(), "byte {at}");
        assert!(try_open(dir.path()).is_err(), "byte {at}");
    }
    fs::write(&set, content).unwrap();
    fs::write(dir.path().join("pools/p/0001.words"), vec![0; 8]).unwrap();
    assert!(try_open(dir.path()).is_err());
    assert_eq!(check_directory(dir.path()).unwrap().faults.len(), 1);
    let mut words = vec![0; 200_101 * 8];
    words[65 * 8] = 0x10;
    fs::write(dir.path().join("pools/p/0001.words"), words).unwrap();
    let faults = check_directory(dir.path()).unwrap().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].to_string().contains("ranks 64 to 127"), "{faults:?}");
    fs::write(dir.path().join("pools/p/stray"), "").unwrap();
    fs::remove_file(dir.path().join("secret")).unwrap();
    assert_eq!(check_directory(dir.path()).unwrap().faults.len(), 3);
    // No other secret is made in silence.
    assert!(matches!(try_open(dir.path()), Err(OpenError::SecretMissing(..))));
    assert!(!dir.path().join("secret").exists());
}

/// A call with the key of nobody in particular.
fn once(body: &[u8]) -> Once<'_> {
    Once { key: b"key", body, share: None }
}

/// Leases without what time alone changes.
fn lasting(leases: &[Lease]) -> Vec<Lease> {
    leases.iter().map(|lease| Lease { expires_in_seconds: 0, ..*lease }).collect()
}

/// Keys live as long as their leases: over restarts with and without a close, and over the files of the
/// journal, which are small here and used again several times.
#[test]
fn a_key_survives_restarts_and_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = open(dir.path());
    let mut pool = create(&engine, "p", &[range(1, 100_000)], &SettingsChange::default());
    let mut worker = engine.worker();
    let (mut first, mut again, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let request = LeaseRequest { count: 50, ttl_seconds: Some(600), within: None };
    pool.lease_once(&mut worker, &once(b"body"), &request, &mut first).unwrap();
    for close in [false, true, false] {
        let before = engine.journal().stats().checkpoints;
        while engine.journal().stats().checkpoints < before + 3 {
            let many = LeaseRequest { count: 5_000, ttl_seconds: Some(1), within: None };
            if pool.lease(&mut worker, &many, &mut others).is_err() {
                engine.clock().skip(2);
            }
        }
        if close {
            engine.close().unwrap();
        }
        drop((pool, worker, engine));
        engine = open(dir.path());
        pool = engine.pool("p").unwrap();
        worker = engine.worker();
        pool.lease_once(&mut worker, &once(b"body"), &request, &mut again).unwrap();
        assert_eq!(lasting(&again), lasting(&first));
        assert_eq!(
            pool.lease_once(&mut worker, &once(b"other"), &request, &mut again),
            Err(LeaseError::KeyMismatch)
        );
    }
}
