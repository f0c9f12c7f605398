//! The way to the engine: one connection for each request.

use std::io;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};

use crate::{config::PodmanHost, error::Failure, libpod::Reply};

/// A connection that has not been used.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// Moves the bytes of one connection. Dropping it closes the connection, which is how a request is given up.
#[derive(Debug)]
pub(crate) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects to the engine. A connection for each request: one that the engine has closed meanwhile is no failed call.
pub(crate) async fn open(host: &PodmanHost) -> Result<Connection, Failure> {
    match host {
        PodmanHost::Unix(path) => over(UnixStream::connect(path).await).await,
        PodmanHost::Tcp { host, port } => over(TcpStream::connect(format!("{host}:{port}")).await).await,
    }
}

async fn over<S>(stream: io::Result<S>) -> Result<Connection, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = TokioIo::new(stream.map_err(Failure::of_connection)?);
    let (sender, connection) = http1::handshake(stream).await.map_err(Failure::of_connection)?;
    // Its failures arrive at the request as well.
    let driver = Driver(tokio::spawn(async { drop(connection.await) }));
    Ok(Connection { sender, driver })
}

impl Connection {
    /// Sends the request, and waits for the head of its answer.
    pub(crate) async fn send(mut self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let response = self.sender.send_request(request).await.map_err(Failure::of_connection)?;
        Ok(Reply { response, connection: self.driver })
    }
}
