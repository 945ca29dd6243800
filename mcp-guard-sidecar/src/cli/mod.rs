//! The command line: one file a command.

mod exec_node;

pub use exec_node::ExecNode;
