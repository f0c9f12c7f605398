//! Runs attempts of Fast-Flow in Podman containers.
