//! A daemon that speaks TLS, with its log, and clients of it.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::certificates::{Authority, Pair};
use crate::support::daemon::{Daemon, allotd};
use crate::support::logged::Logged;
use crate::support::{Answer, PATIENCE_SECONDS, ranges_csv, try_read_answer};

/// A daemon with one listener, which speaks TLS.
pub(crate) struct TlsDaemon {
    pub(crate) logged: Logged,
    pub(crate) authority: Authority,
    /// The certificate in its files.
    pub(crate) pair: Pair,
}

/// A connection by TLS.
pub(crate) type Secure = BufReader<StreamOwned<ClientConnection, TcpStream>>;

impl TlsDaemon {
    /// With these flags besides the certificate, which may be made with the authority.
    pub(crate) fn start(flags: impl FnOnce(&Authority) -> Vec<String>) -> Self {
        let authority = Authority::new();
        let pair = authority.server("server");
        let mut command = allotd();
        command.args(["serve", "--listen", "127.0.0.1:0,tls", "--durability", "none", "--tls-certificate"]);
        command.arg(&pair.certificate).arg("--tls-key").arg(&pair.key).args(flags(&authority));
        let directory = tempfile::tempdir().unwrap();
        command.arg("--data").arg(directory.path().join("data")).env_remove("ALLOTD_LOG_LEVEL");
        command.stderr(std::fs::File::create(directory.path().join("log")).unwrap());
        let daemon = Daemon::spawn(command).unwrap();
        Self { logged: Logged { daemon, directory }, authority, pair }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.logged.daemon.address.port())
    }

    /// A command against it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = allotd();
        command.args(args).env("ALLOTD_SERVER", self.url()).env("ALLOTD_CA", self.authority.ca());
        command
    }

    /// A command that shows this certificate.
    pub(crate) fn command_as(&self, pair: &Pair, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.env("ALLOTD_CLIENT_CERTIFICATE", &pair.certificate).env("ALLOTD_CLIENT_KEY", &pair.key);
        command.output().unwrap()
    }

    /// A command that must succeed; its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes the pool `ru`.
    pub(crate) fn make_pool(&self, numbers: &str) {
        let file = self.logged.path("numbers.csv");
        std::fs::write(&file, ranges_csv(numbers)).unwrap();
        self.ok(&["pool", "create", "ru", file.to_str().unwrap()]);
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.logged.daemon.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(PATIENCE_SECONDS))).unwrap();
        stream
    }

    /// A connection whose handshake is complete, or what went wrong.
    pub(crate) fn connect(&self, config: &Arc<ClientConfig>) -> io::Result<Secure> {
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut tcp = self.tcp();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(BufReader::new(StreamOwned::new(tls, tcp)))
    }

    /// Sends SIGHUP and waits for this event, the `count`th of its name.
    pub(crate) fn reload(&self, event: &str, count: usize) -> serde_json::Value {
        self.logged.daemon.signal(rustix::process::Signal::HUP);
        self.logged.wait_for(event, count).pop().unwrap()
    }
}

/// A request without a body.
pub(crate) fn call(connection: &mut Secure, method: &str, path: &str) -> io::Result<Answer> {
    write!(connection.get_mut(), "{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    try_read_answer(connection, false)
}

/// The certificate that a connection was shown.
pub(crate) fn shown(connection: &Secure) -> Vec<u8> {
    connection.get_ref().conn.peer_certificates().unwrap()[0].to_vec()
}

/// The certificate in a file.
pub(crate) fn in_file(path: &Path) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_file(path).unwrap().to_vec()
}
