//! Runs attempts of Fast-Flow in Podman containers.
//!
//! [`PodmanEngine`] is a Podman engine behind its socket, for Podman 4.3 and newer, with or without root.
//!
//! # What is different from Docker
//!
//! | | Podman |
//! |---|---|
//! | network | each container has one of its own, through slirp4netns or pasta, for containers on a bridge reach each other |
//! | the engine's id | the folder with its storage: Podman has no other |
//! | out of memory | not reported with control groups of version 1; the shim tells |
//! | a killed `conmon` | the container looks as if it ran for ever, and waiting for it does not end; it can be removed |

mod config;
mod connect;
mod convert;
mod credentials;
mod engine;
mod error;
mod executor;
mod libpod;
mod network;
mod pull;

pub use config::{PodmanConfig, PodmanHost};
pub use engine::PodmanEngine;
pub use executor::executor;
