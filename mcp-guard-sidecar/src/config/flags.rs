//! What the command line says about a config; it wins over the file.

use std::net::SocketAddr;

use serde_json::Value;

use super::key_path::KeyPath;
use super::node::{Content, Node};
use super::problem::Place;

/// What `mcp-guard run` may say beside, or without, a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Flags {
    /// `--listen`: the address of the first listener.
    pub listen: Option<SocketAddr>,
    /// `--upstream`: the URL of the node, in place of the first upstream's URL or command.
    pub upstream: Option<String>,
    /// `--admin`: the address of the admin endpoints.
    pub admin: Option<SocketAddr>,
    /// The words after `--`: the command of a stdio node, in place of the first upstream's URL or command.
    pub command: Vec<String>,
}

impl Flags {
    /// Writes them over a tree.
    pub(super) fn apply(&self, tree: &mut Node) {
        let root = KeyPath::root();
        let upstream = root.key("upstreams").index(0);
        if let Some(address) = self.listen {
            tree.set(&root.key("listeners").index(0).key("address"), text(&address), Place::Flag("--listen"));
        }
        if let Some(address) = self.admin {
            tree.set(&root.key("admin").key("address"), text(&address), Place::Flag("--admin"));
        }
        if let Some(url) = &self.upstream {
            tree.remove(&upstream.key("command"));
            tree.remove(&upstream.key("process"));
            tree.remove(&upstream.key("urls"));
            tree.set(&upstream.key("url"), text(url), Place::Flag("--upstream"));
        }
        if !self.command.is_empty() {
            tree.remove(&upstream.key("url"));
            tree.remove(&upstream.key("urls"));
            self.set_command(tree, &upstream.key("command"));
        }
    }

    fn set_command(&self, tree: &mut Node, path: &KeyPath) {
        let place = Place::Flag("--");
        tree.set(path, Content::List(Vec::new()), place);
        for (index, word) in self.command.iter().enumerate() {
            tree.set(&path.index(index), text(word), place);
        }
    }
}

fn text(value: &impl ToString) -> Content {
    Content::Scalar(Value::String(value.to_string()))
}
