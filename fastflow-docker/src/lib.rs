//! Runs attempts of Fast-Flow in Docker containers.
//!
//! [`DockerEngine`] is a [`ContainerEngine`](fastflow_core::executor::container::ContainerEngine) over the API of
//! Docker 20.10 or newer, on a socket of this machine, or over TCP with TLS.
//!
//! ```no_run
//! use std::sync::Arc;
//! use fastflow_core::{SystemClock, executor::container::ContainerEngine};
//! use fastflow_docker::{DockerConfig, DockerEngine};
//!
//! # async fn example() -> fastflow_core::Result<()> {
//! let engine = DockerEngine::new(DockerConfig::default(), Arc::new(SystemClock::new()))?;
//! let info = engine.info().await?;
//! println!("Docker {}, {}", info.version, if info.rootless { "rootless" } else { "as root" });
//! # Ok(())
//! # }
//! ```
//!
//! # Who may talk to an engine
//!
//! Whoever can talk to a Docker engine that runs as root is root on its machine. The engine's address is therefore a
//! configuration of the host and never of a pipeline, what a container may be is fixed (see
//! [`ContainerSpec`](fastflow_core::executor::container::ContainerSpec)), and TCP without TLS stays on this machine.

mod config;
mod connect;
mod convert;
mod credentials;
mod engine;
mod error;
mod executor;
mod filter;
mod network;
mod pull;

pub use self::{
    config::{DockerConfig, DockerHost},
    engine::DockerEngine,
    executor::executor,
};
