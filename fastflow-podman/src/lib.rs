//! Runs attempts of Fast-Flow in Podman containers.
//!
//! [`PodmanEngine`] is a Podman engine behind its socket, for Podman 4.3 and newer, with or without root.
//!
//! # What is different from Docker
//!
//! | | Podman |
//! |---|---|
//! | network | each container has one of its own, through slirp4netns or pasta, for containers on a bridge reach each other; the name of a network has no meaning |
//! | folders in memory | belong to root, and everybody may write to them |
//! | system calls | its seccomp profile lets programs make user namespaces, in which they are root over nothing but these |
//! | variables | `HOME`, `HOSTNAME`, `TERM` and `container` are set beside those of the image |
//! | out of memory | not reported with control groups of version 1; the shim tells |
//! | a killed `conmon` | the container looks as if it ran for ever, and waiting for it does not end; it can be removed |
//! | the engine's id | the folder with its storage: Podman has no other |
//! | a refused request | Podman answers 500 to everything, so that another question tells what is wrong |
//!
//! As with Docker, a container has the labels of its image beside its own.

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
