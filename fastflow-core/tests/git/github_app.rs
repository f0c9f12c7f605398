//! Tokens of a GitHub App, from a server that looks at the signature.
