//! What `--recover-damaged` gives up is named: in a file, on a list, in the log. By the real binary.

use std::fs;
use std::os::unix::fs::FileExt as _;

use crate::support::daemon::{Daemon, allotd};
use crate::support::logged::Logged;

/// Numbers of a sector, which share a checksum.
const SECTOR_NUMBERS: u64 = 64;
const WORD_BYTES: u64 = 8;

#[test]
fn numbers_whose_state_is_lost_are_in_a_file_and_on_a_list() {
    let logged = Logged::start_with(&["--recover-damaged"], |_, directory| {
        let data = directory.join("data");
        let daemon = Daemon::start(&data);
        let mut client = daemon.client();
        // The lease is of the first number: one of the third sector would be known from the journal.
        let created =
            client.send("PUT", "/v1/pools/ru?order=lowest", "text/plain", b"100000-100999\n").unwrap();
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
        assert_eq!(daemon.stop(), Some(0));
        // The third sector.
        let words = fs::OpenOptions::new().write(true).open(data.join("pools/ru/0001.words")).unwrap();
        words.write_all_at(&[0x55; 8], 2 * SECTOR_NUMBERS * WORD_BYTES + 3 * WORD_BYTES).unwrap();
        let refused =
            allotd().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    });
    let first = 100_000 + 2 * SECTOR_NUMBERS;
    let expected = format!("first,last\n{first},{}\n", first + SECTOR_NUMBERS - 1);
    let mut files: Vec<_> =
        fs::read_dir(logged.path("data/given-up")).unwrap().map(|file| file.unwrap().path()).collect();
    let file = files.pop().unwrap();
    assert!(files.is_empty() && file.file_name().unwrap().to_str().unwrap().starts_with("ru-"), "{file:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    let told = logged.wait_for("given_up", 1).remove(0);
    assert_eq!(told["list"], "given-up-ru");
    assert!(logged.named("recovered")[0]["message"].as_str().unwrap().contains(file.to_str().unwrap()));
    let mut client = logged.daemon.client();
    let list = client.call("GET", "/v1/lists/given-up-ru").unwrap().json();
    assert_eq!(list["numbers"], SECTOR_NUMBERS);
    assert_eq!(client.call("GET", "/v1/pools/ru").unwrap().json()["retired"], SECTOR_NUMBERS);
    // As the documents say.
    let reinstated = logged.daemon.ok(&["pool", "reinstate", "ru", file.to_str().unwrap()]);
    assert!(reinstated.contains("reinstated  64"), "{reinstated}");
    assert!(logged.daemon.ok(&["list", "delete", "given-up-ru"]).contains("given-up-ru"));
    let data = logged.path("data");
    let Logged { daemon, directory } = logged;
    assert_eq!(daemon.stop(), Some(0));
    let checked = allotd().arg("check").arg(data).output().unwrap();
    drop(directory);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}
