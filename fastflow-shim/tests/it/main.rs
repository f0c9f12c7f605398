//! The shim, seen from outside.
