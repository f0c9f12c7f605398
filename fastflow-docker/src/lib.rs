//! Runs attempts of Fast-Flow in Docker containers.
