//! Repositories and servers of git, for tests: the real programs, on the loopback device, each with a port of its own.
//!
//! ```no_run
//! use fastflow_core::testing::git::{HttpServer, Repository};
//!
//! let repository = Repository::new();
//! repository.write("etl/main.py", "print(1)\n");
//! let commit = repository.commit("Add etl");
//! let server = HttpServer::start(repository.root());
//! println!("{} at {}", server.url(Repository::NAME), commit);
//! ```

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test fails by a panic, and an error it does not expect is one"
)]

mod authority;
mod cgi;
mod daemon;
mod http;
mod listener;
mod proxy;
mod repository;
mod ssh;

pub use self::{
    authority::Authority,
    daemon::DaemonServer,
    http::{HttpServer, Received},
    proxy::{Fault, Proxy},
    repository::Repository,
    ssh::SshServer,
};
