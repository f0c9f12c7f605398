//! A server that goes silent or away in the middle of an answer.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use super::listener::Listener;

/// What a [`Proxy`] does to a connection.
///
/// ```
/// use fastflow_core::testing::git::Fault;
///
/// assert_ne!(Fault::CutAfter(10), Fault::None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Ends it once the server has sent so many bytes.
    CutAfter(u64),
    /// Forwards no more once the server has sent so many bytes, and keeps it open.
    StallAfter(u64),
}

/// Stands before a server, and forwards what both say, bytes and nothing else.
///
/// ```no_run
/// use fastflow_core::testing::git::{Fault, HttpServer, Proxy, Repository};
///
/// let repository = Repository::new();
/// let server = HttpServer::start(repository.root());
/// let proxy = Proxy::start(server.address());
/// proxy.set(Fault::CutAfter(20_000));
/// println!("{}", proxy.url_of(&server.url(Repository::NAME)));
/// ```
#[derive(Debug)]
pub struct Proxy {
    listener: Listener,
    server: SocketAddr,
    fault: Arc<Mutex<Fault>>,
}

impl Proxy {
    /// Before this server, with no fault.
    pub fn start(server: SocketAddr) -> Self {
        let fault = Arc::new(Mutex::new(Fault::None));
        let current = Arc::clone(&fault);
        let listener = Listener::start(move |client| {
            let fault = *current.lock().unwrap();
            forward(&client, server, fault);
        });
        Self { listener, server, fault }
    }

    /// What happens to connections from now on.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// An address of the server, through this.
    pub fn url_of(&self, url: &str) -> String {
        url.replace(&self.server.to_string(), &self.address().to_string())
            .replace(&format!(":{}", self.server.port()), &format!(":{}", self.address().port()))
    }
}

fn forward(client: &TcpStream, server: SocketAddr, fault: Fault) {
    let Ok(server) = TcpStream::connect(server) else { return };
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let asking = thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        // A client that is done asking keeps its side open until it has the answer.
        let _ = to_server.shutdown(Shutdown::Both);
    });
    answer(&server, client, fault);
    let end = || [&server, client].map(|stream| stream.shutdown(Shutdown::Both));
    if !matches!(fault, Fault::StallAfter(_)) {
        let _ = end();
    }
    // It ends with the client, so one that waits for more is held until it has had enough.
    let _ = asking.join();
    let _ = end();
}

fn answer(mut server: &TcpStream, mut client: &TcpStream, fault: Fault) {
    let mut left = match fault {
        Fault::None => u64::MAX,
        Fault::CutAfter(bytes) | Fault::StallAfter(bytes) => bytes,
    };
    let mut buffer = [0; 4096];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(buffer.len()).min(buffer.len());
        let Ok(read @ 1..) = server.read(&mut buffer[..most]) else { return };
        if client.write_all(&buffer[..read]).is_err() {
            return;
        }
        left -= read as u64;
    }
}
