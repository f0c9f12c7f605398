//! Conformance suites: one for each trait that others implement.

pub mod executor;
pub mod store;
