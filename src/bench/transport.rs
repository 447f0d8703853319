//! The socket of a connection, with TLS above it if the server speaks it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustls::ClientConnection;

use crate::client::tls::ClientTls;
use crate::client::{Endpoint, Server};

/// A connected socket.
pub struct Transport {
    socket: OwnedFd,
    tls: Option<Box<ClientConnection>>,
}

impl From<OwnedFd> for Transport {
    fn from(socket: OwnedFd) -> Self {
        Self { socket, tls: None }
    }
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        OwnedFd::from(stream).into()
    }
}

/// Opens a connection to a server.
pub fn connect(server: &Server) -> io::Result<Transport> {
    match &server.endpoint {
        Endpoint::Tcp(authority) => Ok(connect_tcp(authority)?.into()),
        Endpoint::Tls(authority, tls) => connect_tls(authority, tls),
        Endpoint::Unix(path) => Ok(OwnedFd::from(UnixStream::connect(path)?).into()),
    }
}

fn connect_tcp(authority: &str) -> io::Result<OwnedFd> {
    let stream = TcpStream::connect(authority)?;
    stream.set_nodelay(true)?;
    Ok(stream.into())
}

fn connect_tls(authority: &str, tls: &ClientTls) -> io::Result<Transport> {
    let socket = connect_tcp(authority)?;
    let mut tls = tls.unbuffered_by_a_runtime().map_err(io::Error::other)?;
    // What is to be sent is bounded by the requests in flight.
    tls.set_buffer_limit(None);
    while tls.is_handshaking() {
        tls.complete_io(&mut Raw(&socket))?;
    }
    Ok(Transport { socket, tls: Some(Box::new(tls)) })
}

impl Transport {
    /// Sends bytes, or as many as the socket takes: how many. With TLS all of them are taken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.writer().write(bytes),
            None => Raw(&self.socket).write(bytes),
        }
    }

    /// Sends what TLS has not sent yet.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            tls.write_tls(&mut Raw(&self.socket))?;
        }
        Ok(())
    }

    /// Reads once. 0 bytes are the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return Raw(&self.socket).read(buffer) };
        tls.read_tls(&mut Raw(&self.socket))?;
        tls.process_new_packets().map_err(io::Error::other)?;
        // What one read brings is less than the buffer, so that nothing is left for which epoll would not call.
        tls.reader().read(buffer)
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket without TLS.
struct Raw<'a>(&'a OwnedFd);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, buffer)?)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(self.0, bytes) {
                Err(Errno::INTR) => (),
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
