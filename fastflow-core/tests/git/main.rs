//! The git source and what it talks to: real servers, real programs.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, and an error it does not expect is one")]

mod servers;
