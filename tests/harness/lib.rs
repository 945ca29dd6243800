//! What the workspace's tests share.

pub mod config_reference;
