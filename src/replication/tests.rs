//! The primary and a standby's directory over the log in memory.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::cluster_clock::ClusterClock;
use super::entry::{Content, Entry};
use super::follower::{FollowError, Follower, Surroundings};
use super::log::{Log, MemberStatus};
use super::logged_disk::LoggedDisk;
use super::member_file::{Directory, MemberFile};
use super::memory::{MemoryCluster, MemoryLog};
use super::primary::Primary;
use super::standby::{Doing, Foreign, Process, Promoted, Standby, Standing};
use crate::disk::device::{Access, Disk};
use crate::disk::files;
use crate::journal::frame_time::FrameTime;
use crate::journal::on_damage::OnDamage;
use crate::journal::record::{Record, RoundRecord};
use crate::journal::recovery;
use crate::journal::replica::Replica;
use crate::store::data_dir;

const MARGIN: Duration = Duration::from_millis(500);
/// More than fits an entry.
const LARGE_BYTES: usize = 100_000;

fn lead(cluster: &Arc<MemoryCluster>, member: &str) -> Arc<Primary> {
    let log: Arc<dyn Log> = Arc::new(cluster.member(member));
    let epoch = log.campaign().unwrap().expect("there is no primary");
    let last = log.bounds().unwrap().map_or(0, |(_, last)| last);
    Arc::new(Primary::new(log, epoch, last, MARGIN))
}

fn round(round: u32) -> [u8; 32] {
    Record::Round(RoundRecord { pool: 1, round }).encode()
}

fn commit(primary: &Primary, rounds: &[u32]) -> io::Result<()> {
    let records: Vec<_> = rounds.iter().map(|number| round(*number)).collect();
    primary.commit(&records, FrameTime { time_nanos: 7, boot_nanos: 1 }, &|| ())
}

fn contents(log: &dyn Log) -> Vec<Content> {
    let entries = log.read(1).unwrap();
    entries.iter().map(|(_, bytes)| Entry::decode(bytes).unwrap().content).collect()
}

#[test]
fn an_append_that_is_not_answered_stands_once_and_in_order() {
    let cluster = Arc::new(MemoryCluster::default());
    let primary = lead(&cluster, "a");
    cluster.answer_not(2);
    for number in 1..4 {
        commit(&primary, &[number]).unwrap();
    }
    assert_eq!(primary.committed(), 3);
    let expected = [1, 2, 3].map(|number| Content::Records(vec![round(number)]));
    assert_eq!(contents(&**primary.log()), expected);
}

#[test]
fn who_is_deposed_or_cut_off_commits_nothing_more() {
    let cluster = Arc::new(MemoryCluster::default());
    let old = lead(&cluster, "a");
    commit(&old, &[1]).unwrap();
    cluster.expire("a");
    let new = lead(&cluster, "b");
    assert!(new.epoch() > old.epoch());
    assert!(commit(&old, &[2]).is_err() && !old.may_answer());
    commit(&new, &[3]).unwrap();
    cluster.cut("b", true);
    assert!(commit(&new, &[4]).is_err() && !new.may_answer(), "by its own clock");
    cluster.cut("b", false);
    assert!(commit(&new, &[5]).is_err(), "it has ended for good");
    let expected = [1, 3].map(|number| Content::Records(vec![round(number)]));
    assert_eq!(contents(&cluster.member("c")), expected);
}

#[test]
fn keys_of_a_later_session_are_none_of_an_earlier_epoch() {
    let cluster = Arc::new(MemoryCluster::default());
    let log = Arc::new(cluster.member("a"));
    let epoch = log.campaign().unwrap().expect("there is no primary");
    let primary = Primary::new(Arc::<MemoryLog>::clone(&log) as _, epoch, 0, MARGIN);
    assert!(primary.may_answer());
    cluster.expire("a");
    log.keep_alive().unwrap();
    assert!(!primary.may_answer() && commit(&primary, &[1]).is_err());
    let next = log.campaign().unwrap().expect("there is none");
    assert!(Primary::new(log, next, 0, MARGIN).may_answer());
}

#[test]
fn a_position_waits_for_the_journal_and_for_files() {
    let cluster = Arc::new(MemoryCluster::default());
    let primary = lead(&cluster, "a");
    commit(&primary, &[1]).unwrap();
    assert_eq!(primary.position(), 0, "the journal does not have it yet");
    primary.is_durable();
    assert_eq!(primary.position(), 1);
    primary.tell_time(5).unwrap();
    assert_eq!(primary.position(), 2, "there is nothing to write");
}

/// How often a standby looks whether it is to stop, before it is.
const LOOKS: u32 = 4;

/// Takes files from the primary in the same process, and stops after some looks.
struct Offers(Arc<Primary>, AtomicU32);

impl Surroundings for Offers {
    fn fetch(&self, sequence: u64, index: usize, to: &File) -> io::Result<()> {
        let file = self.0.offered.file(sequence, index).ok_or(io::ErrorKind::NotFound)?;
        let mut content = vec![0; usize::try_from(file.metadata()?.len()).unwrap()];
        std::os::unix::fs::FileExt::read_exact_at(&*file, &mut content, 0)?;
        std::os::unix::fs::FileExt::write_all_at(to, &content, 0)
    }

    fn recover(&self) -> Result<(), String> {
        Ok(())
    }
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join(name)).unwrap()
}

/// Follows the log on a thread until `until` entries are applied, as another member of the cluster.
fn follow(cluster: &Arc<MemoryCluster>, primary: &Arc<Primary>, dir: &Path, until: u64) -> MemberFile {
    let log = cluster.member("b");
    let offers = Offers(Arc::clone(primary), AtomicU32::new(LOOKS));
    let clock = Arc::<ClusterClock>::default();
    let mut follower =
        Follower::new(files::real(), dir, 0, &offers, Arc::clone(&clock), MemberFile::new("x", "b"));
    while follower.file.position < until {
        for (sequence, entry) in log.read(follower.file.position + 1).unwrap() {
            follower.apply(sequence, &entry, true).unwrap();
        }
        let FollowError::Gone(_) = follower.apply(until + 9, &[], true).unwrap_err() else {
            panic!("a hole")
        };
        let (url, version) = (String::new(), String::new());
        let position = follower.file.position;
        log.publish(&MemberStatus { url, position, epoch: 1, able: true, version }).unwrap();
        log.wait(log.view().version, Duration::from_millis(1));
    }
    follower.save().unwrap();
    assert!(clock.now_nanos() > 0);
    follower.file
}

#[test]
fn a_standby_has_the_files_and_the_records_of_its_primary() {
    let cluster = Arc::new(MemoryCluster::default());
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [own.path(), other.path()] {
        for part in ["pools", "lists", "staging/new", "staging/gone"] {
            std::fs::create_dir_all(dir.join(part)).unwrap();
        }
        std::fs::create_dir_all(data_dir::journal_dir(dir)).unwrap();
    }
    let primary = lead(&cluster, "a");
    // A standby that is there has to have each file before it counts.
    let (url, version) = (String::new(), String::new());
    let here = MemberStatus { url, position: 0, epoch: 1, able: true, version };
    cluster.member("b").publish(&here).unwrap();
    let disk = LoggedDisk::new(
        files::real(),
        own.path().to_owned(),
        Arc::clone(&primary),
        Arc::<ClusterClock>::default(),
    );
    let large: Vec<u8> = (0..LARGE_BYTES).map(|at| (at % 251) as u8).collect();
    let file = std::thread::scope(|scope| {
        let standby = scope.spawn(|| follow(&cluster, &primary, other.path(), 8));
        for name in ["new", "gone"] {
            let staged = own.path().join("staging").join(name);
            std::fs::write(staged.join("0001.numbers"), &large).unwrap();
            std::fs::write(staged.join("0001.words"), b"small").unwrap();
            disk.rename(&staged, &own.path().join("pools").join(name)).unwrap();
        }
        disk.rename(&own.path().join("pools/gone"), &own.path().join("pools/.gone")).unwrap();
        files::replace_file(&disk, &own.path().join("pools/new/pool.toml"), b"one").unwrap();
        files::replace_file(&disk, &own.path().join("pools/new/pool.toml"), b"two").unwrap();
        // What a checkpoint makes is each member's own.
        files::replace_file(&disk, &own.path().join("pools/new/0001.sums"), b"own").unwrap();
        let growing = disk.open(&own.path().join("pools/new/0001.words"), Access::Buffered).unwrap();
        disk.add_at(&growing, b"LL", 3).unwrap();
        commit(&primary, &[1, 2]).unwrap();
        commit(&primary, &[3]).unwrap();
        standby.join().unwrap()
    });
    assert_eq!((file.position, file.files), (8, 5));
    for dir in [own.path(), other.path()] {
        assert_eq!(read(dir, "pools/new/0001.numbers"), large);
        assert_eq!(read(dir, "pools/new/0001.words"), b"smaLL");
        assert_eq!(read(dir, "pools/new/pool.toml"), b"two");
        assert!(!dir.join("pools/gone").exists());
    }
    assert!(!other.path().join("pools/new/0001.sums").exists());
    let mut found = Vec::new();
    let journal = data_dir::journal_dir(other.path());
    recovery::read(&journal, OnDamage::Refuse, &mut |_, record| found.push(record.encode())).unwrap();
    assert_eq!(found, [1, 2, 3].map(round));
}

impl Process for Offers {
    fn fill(&self, _: &str) -> Result<MemberFile, Box<dyn std::error::Error + Send + Sync>> {
        Err("it is not to be filled".into())
    }

    fn stops(&self) -> bool {
        self.1.fetch_sub(1, Ordering::Relaxed) == 0
    }

    fn show(&self, _: Doing) {}
}

/// Runs the member "b" with a directory that has `data`.
fn run_b(
    cluster: &Arc<MemoryCluster>,
    primary: &Arc<Primary>,
    data: &str,
    file: MemberFile,
) -> Result<Option<Promoted>, Foreign> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join(data)).unwrap();
    let standing = Standing {
        url: "b".to_owned(),
        data_dir: dir.path().to_owned(),
        disk: files::real(),
        journal_file_bytes: 0,
        ttl: Duration::from_millis(10),
        clock: Arc::default(),
        log: Arc::new(cluster.member("b")),
    };
    let process = Offers(Arc::clone(primary), AtomicU32::new(LOOKS));
    let ended = Standby::new(&standing, &process, file).run();
    assert!(dir.path().join(data).exists());
    ended
}

#[test]
fn data_of_no_cluster_is_not_discarded_for_another_founders() {
    let cluster = Arc::new(MemoryCluster::default());
    let primary = lead(&cluster, "a");
    primary.tell_time(1).unwrap();
    let file = MemberFile { directory: Directory::Founds, ..MemberFile::new("x", "b") };
    // While the founder is there, and when it is gone.
    assert_eq!(run_b(&cluster, &primary, "pools/ru", file.clone()).unwrap_err(), Foreign);
    cluster.expire("a");
    assert_eq!(run_b(&cluster, &primary, "lists/optouts", file).unwrap_err(), Foreign);
}

#[test]
fn a_member_that_the_log_does_not_lead_on_from_is_not_primary() {
    for directory in [Directory::Follows, Directory::Leads] {
        let cluster = Arc::new(MemoryCluster::default());
        let primary = lead(&cluster, "a");
        let log = primary.log();
        assert!((0..4).all(|time| primary.tell_time(time).is_ok()));
        let file = MemberFile { directory, position: 2, epoch: 1, ..MemberFile::new("x", "b") };
        // All are trimmed, and the member is to be filled anew.
        log.claim(4).unwrap();
        log.trim(5).unwrap();
        cluster.expire("a");
        assert!(run_b(&cluster, &primary, "pools/ru", file.clone()).unwrap().is_none());
        // There is a gap.
        let cluster_of_gap = Arc::new(MemoryCluster::default());
        let primary = lead(&cluster_of_gap, "a");
        assert!((0..4).all(|time| primary.tell_time(time).is_ok()));
        primary.log().trim(4).unwrap();
        cluster_of_gap.member("b").claim(2).unwrap();
        cluster_of_gap.expire("a");
        assert!(run_b(&cluster_of_gap, &primary, "pools/ru", file).unwrap().is_none());
    }
}
