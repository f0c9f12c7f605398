//! The encodings against what Python makes of the same values.
