//! A real Podman engine, seen through the port.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conmon;
mod hardening;
mod lab;
mod lifecycle;
mod network;
mod outage;
mod pull;
mod relay;
