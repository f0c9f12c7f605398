//! The engine against a real Docker, and against what an engine can become: frozen, gone, shut, or torn off.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod hardening;
mod kit;
mod lifecycle;
mod network;
mod pull;
mod stand_in;
mod timeouts;
mod tls;
mod version;
