//! A bare hyper server: the least that an HTTP answer costs. A bench runs it as a process of its own, by
//! starting itself with [`FLAG`] and the body to return.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, server::conn::http1};
use hyper_util::rt::TokioIo;

/// Makes the process the bare server with this body.
pub(crate) const FLAG: &str = "--bare-server";

/// Returns `body` to every request, on one thread, with the settings of allotd's connections.
pub(crate) fn serve(body: &Bytes) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on http://{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let body = body.clone();
            let service = service_fn(move |_| {
                let mut response = Response::new(Full::new(body.clone()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let serving = http1::Builder::new()
                .pipeline_flush(true)
                .max_buf_size(64 << 10)
                .header_read_timeout(None::<Duration>)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
}
