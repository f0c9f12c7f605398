//! The files an attempt leaves behind, and the order it starts from.
