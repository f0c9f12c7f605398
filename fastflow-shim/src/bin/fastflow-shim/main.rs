//! The first process of every attempt.

fn main() {}
