//! A load in any protocol: connections over threads, a warm-up, a measured time.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::cpu;
use super::error::LoadError;
use super::protocol::Protocol;
use super::schedule::Schedule;
use super::tally::{Tally, nanoseconds};
use super::transport::Transport;
use super::worker::Worker;

/// The settings of a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Threads that serve the connections.
    pub threads: usize,
    /// Connections, at least one per thread.
    pub connections: usize,
    /// Most requests under way on a connection.
    pub depth: usize,
    /// Requests per second in an open loop; `None` for a closed one.
    pub rate_per_second: Option<f64>,
    /// How long the load runs before the measured time.
    pub warm_up: Duration,
    /// The measured time.
    pub time: Duration,
    /// Answers are also counted per interval of this length.
    pub interval: Duration,
    /// How long the last answers are waited for.
    pub patience: Duration,
}

/// What a load measured.
#[derive(Debug)]
pub struct Measured {
    /// Counts and latencies.
    pub tally: Tally,
    /// The measured time.
    pub time: Duration,
    /// The server's processor time in it.
    pub server_cpu: Option<Duration>,
    /// This process' processor time in it.
    pub own_cpu: Duration,
}

/// Processor times at one moment.
struct CpuMark {
    at: Instant,
    server: Option<Duration>,
    own: Duration,
}

impl CpuMark {
    fn now(probe: Option<&dyn Fn() -> io::Result<Duration>>) -> Self {
        // If the server has ended, its connections report that.
        let server = probe.and_then(|probe| probe().ok());
        Self { at: Instant::now(), server, own: cpu::of_this_process() }
    }
}

/// Runs a load. `open` gives each connection, by its place, and its protocol; `probe` gives the server's
/// processor time so far.
pub fn run<C: Into<Transport>, T: Protocol + Send>(
    load: &Load,
    open: impl Fn(usize) -> io::Result<(C, T)>,
    probe: Option<&dyn Fn() -> io::Result<Duration>>,
) -> Result<Measured, LoadError> {
    let mut by_thread: Vec<Vec<Connection<T>>> = (0..load.threads).map(|_| Vec::new()).collect();
    for index in 0..load.connections {
        let connection = open(index).and_then(|(socket, talk)| Connection::new(socket.into(), talk));
        let connection = connection.map_err(|error| LoadError::Open {
            index: index + 1,
            connections: load.connections,
            error,
        })?;
        by_thread[index % load.threads].push(connection);
    }
    let stop = AtomicBool::new(false);
    let tally = Tally::new(load.warm_up, load.time, load.interval);
    let end = nanoseconds(load.warm_up + load.time);
    let workers = by_thread.into_iter().enumerate().map(|(thread, connections)| {
        let schedule = load.rate_per_second.map(|rate| Schedule::new(rate, thread, load.threads, end));
        Worker::new(connections, (load.depth, load.patience), schedule, tally.clone(), &stop)
    });
    let workers = workers.collect::<io::Result<Vec<_>>>()?;
    let (results, ended) = mpsc::channel();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for worker in workers {
            let results = results.clone();
            scope.spawn(move || {
                // The receiver is gone if it has seen another thread's error.
                let _ = results.send(worker.run(start));
            });
        }
        drop(results);
        let measured = watch(load, start, &ended, probe, tally.clone());
        stop.store(true, Ordering::Relaxed);
        measured
    })
}

/// Takes the times at both ends of the measured time, and adds up what the threads counted.
fn watch(
    load: &Load,
    start: Instant,
    ended: &mpsc::Receiver<Result<Tally, LoadError>>,
    probe: Option<&dyn Fn() -> io::Result<Duration>>,
    mut sum: Tally,
) -> Result<Measured, LoadError> {
    let mut mark_after = |time: Duration| {
        while let Ok(result) = ended.recv_timeout(time.saturating_sub(start.elapsed())) {
            sum.merge(&result?);
        }
        std::thread::sleep(time.saturating_sub(start.elapsed()));
        Ok::<_, LoadError>(CpuMark::now(probe))
    };
    let before = mark_after(load.warm_up)?;
    let after = mark_after(load.warm_up + load.time)?;
    for result in ended {
        sum.merge(&result?);
    }
    if sum.answers_of_run() == 0 {
        return Err(LoadError::Silence(load.warm_up + load.time));
    }
    Ok(Measured {
        tally: sum,
        time: after.at - before.at,
        server_cpu: after.server.zip(before.server).map(|(after, before)| after.saturating_sub(before)),
        own_cpu: after.own.saturating_sub(before.own),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;

    use super::*;
    use crate::bench::callers::{Call, Caller};
    use crate::bench::connection::connect;
    use crate::client::Server;

    const REQUEST: &[u8] = b"ask!";
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    const SECOND: u64 = 1_000_000_000;

    /// What the small server does after a count of answers on a connection.
    #[derive(Clone, Copy)]
    enum After {
        Stall(u32, Duration),
        Close(u32),
        Silence(u32),
    }

    /// Answers each request of each connection; it ends with its last connection.
    fn small_server(connections: usize, after: After) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                let mut stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || {
                    let mut request = [0; REQUEST.len()];
                    let mut answers = 0;
                    while stream.read_exact(&mut request).is_ok() {
                        match after {
                            After::Stall(count, time) if answers == count => std::thread::sleep(time),
                            After::Close(count) if answers == count => return,
                            After::Silence(count) if answers >= count => continue,
                            _ => (),
                        }
                        answers += 1;
                        if stream.write_all(ANSWER).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn put_load(after: After, load: &Load) -> Result<Measured, LoadError> {
        let server = Server::tcp(small_server(load.connections, after));
        let requests: Arc<[Vec<u8>]> = Arc::from([REQUEST.to_vec()]);
        let open =
            |index| Ok((connect(&server)?, Caller::rotating(Arc::clone(&requests), index, Call::Lookup, 1)));
        run(load, open, None)
    }

    fn two_seconds(rate_per_second: Option<f64>) -> Load {
        Load {
            threads: 1,
            connections: 1,
            depth: 1,
            rate_per_second,
            warm_up: Duration::ZERO,
            time: Duration::from_secs(2),
            interval: Duration::from_secs(1),
            patience: Duration::from_millis(200),
        }
    }

    /// The reason for an open loop: in a closed one the stall is one slow request of many.
    #[test]
    fn a_stall_shows_in_an_open_loop_and_hides_in_a_closed_one() {
        let stall = After::Stall(300, Duration::from_secs(1));
        let open = put_load(stall, &two_seconds(Some(1_000.0))).unwrap().tally;
        assert_eq!(open.latencies(), 2_000, "every request that was due counts");
        let [p25, p90, p99] = [0.25, 0.9, 0.99].map(|quantile| open.quantile_nanoseconds(quantile));
        assert!(p99 > SECOND * 9 / 10 && p90 > SECOND / 2, "p90 {p90}, p99 {p99}");
        assert!(p25 < SECOND / 2, "{p25}");
        let closed = put_load(stall, &two_seconds(None)).unwrap().tally;
        let p99 = closed.quantile_nanoseconds(0.99);
        assert!(p99 < SECOND / 2 && closed.quantile_nanoseconds(1.0) > SECOND * 9 / 10, "p99 {p99}");
    }

    #[test]
    fn what_a_slow_server_leaves_unsent_and_unanswered_counts() {
        let load = Load { time: Duration::from_millis(500), ..two_seconds(Some(1_000.0)) };
        let silent = put_load(After::Silence(100), &load).unwrap().tally;
        assert_eq!((silent.answers(), silent.unanswered, silent.unsent), (100, 1, 399));
        assert_eq!(silent.latencies(), 500);
        assert!(silent.quantile_nanoseconds(0.5) > SECOND / 10);
        let nothing = put_load(After::Silence(0), &load);
        assert!(matches!(nothing, Err(LoadError::Silence(_))), "{nothing:?}");
    }

    #[test]
    fn many_threads_and_pipelines_lose_nothing() {
        let load = Load { threads: 2, connections: 5, depth: 8, ..two_seconds(None) };
        let load = Load { time: Duration::from_millis(300), ..load };
        let measured = put_load(After::Stall(u32::MAX, Duration::ZERO), &load).unwrap();
        let tally = measured.tally;
        assert_eq!((tally.unanswered, tally.unsent), (0, 0));
        assert!(tally.answers() > 100 && tally.answers_of_run() >= tally.answers());
        // Requests that were made while the time ended are answered, but their time is not measured.
        assert!((0..=5 * 8).contains(&(tally.answers_of_run() - tally.latencies())));
        assert_eq!(tally.by_interval, [tally.answers()]);
    }

    #[test]
    fn a_server_that_goes_away_ends_the_load() {
        let started = Instant::now();
        let gone = put_load(After::Close(7), &Load { threads: 2, connections: 2, ..two_seconds(None) });
        let Err(error @ LoadError::Gone { answers: 7, .. }) = gone else { panic!("{gone:?}") };
        assert!(error.to_string().starts_with("the server went away after 7 answers"));
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}
