//! What an embedding program learns of the packages of its pipelines, with real environments, indexes and auditors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
#[path = "../host/kit.rs"]
mod kit;
mod record;
mod sbom;
mod shop;
mod unasked;
mod used;
