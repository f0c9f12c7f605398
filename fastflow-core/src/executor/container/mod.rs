//! Attempts in throw-away containers of any engine that this machine's folders can be mounted in.

mod engine;

pub use self::engine::{
    Access, ContainerEngine, ContainerId, ContainerNetwork, ContainerSignal, ContainerSpec, ContainerState,
    ContainerStatus, ContainerUser, EngineInfo, ImageInfo, Mount, Tmpfs,
};
