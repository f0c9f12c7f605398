//! Conformance suites: one for each trait that others implement.

pub mod store;
