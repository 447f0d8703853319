//! A mapped file that cannot be read any more: the real daemon ends with one line and an exit code.

use std::fs::{self, File, OpenOptions};

use crate::support::daemon::{Daemon, allotd};

#[test]
fn a_failing_medium_ends_the_daemon_with_a_line() {
    for (name, durability) in [("0001.words", "none"), ("0001.words", "sync"), ("0001.numbers", "sync")] {
        let directory = tempfile::tempdir().unwrap();
        let (data, said) = (directory.path().join("data"), directory.path().join("stderr"));
        let mut command = allotd();
        command.args(["serve", "--listen", "127.0.0.1:0", "--durability", durability, "--data"]).arg(&data);
        command.stderr(File::create(&said).unwrap());
        // Without the warning that there are no tokens.
        command.env("ALLOTD_LOG_LEVEL", "error");
        let daemon = Daemon::spawn(command).unwrap();
        let mut client = daemon.client();
        let created = client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n100,199\n").unwrap();
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(client.call("GET", "/v1/pools/ru/numbers/150").unwrap().status, 200);

        // A page that a file does not have is what a bad sector is: memory that cannot be read.
        let file = OpenOptions::new().write(true).open(data.join("pools/ru").join(name)).unwrap();
        file.set_len(0).unwrap();
        let answer = client.call("GET", "/v1/pools/ru/numbers/150");
        assert!(answer.is_err(), "{name}: {answer:?}");
        assert_eq!(daemon.wait(), Some(1), "{name} {durability}");
        let said = fs::read_to_string(&said).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        let line: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(line["event"], "bus_error");
        let message = line["message"].as_str().unwrap();
        assert!(message.starts_with("the disk failed under a mapped file"), "{said}");
    }
}
