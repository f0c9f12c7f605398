//! Host applications that embed Fast-Flow.
