//! Proxies as their operators would start them, each with the least config that does the work.

mod agentgateway;
mod envoy;
mod guard;
mod haproxy;
mod mcp_proxy;
mod nginx;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Contestant, Fault, Process, free_address};

/// A proxy that can be started again and again.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// What it is called in tables.
    pub(crate) name: String,
    kind: Kind,
    pub(crate) program: PathBuf,
    variation: Variation,
}

/// How a guard is not the usual one.
#[derive(Clone, Copy, Debug, Default)]
struct Variation {
    /// Where one trace in ten is sent.
    collector: Option<SocketAddr>,
    /// How many nodes there are to choose from, beside the one.
    more_nodes: usize,
}

/// What is known how to start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Nginx,
    HaProxy,
    Envoy,
    AgentGateway,
    McpProxy,
    Guard,
}

/// Where a proxy is put.
struct Place<'a> {
    /// For its files.
    directory: &'a Path,
    address: SocketAddr,
    /// For whatever else it listens on.
    others: [SocketAddr; 3],
    node: SocketAddr,
    variation: Variation,
}

impl Proxy {
    /// The other proxies that may be there, by the names of their programs; the first is the one that ratios are to.
    pub const PEERS: [&str; 5] = ["nginx", "haproxy", "envoy", "agentgateway", "mcp-proxy"];

    /// The guard at `program`, with all six concerns and metrics on.
    pub fn guard(name: &str, program: &Path) -> Self {
        Self { name: name.into(), kind: Kind::Guard, program: program.into(), variation: Variation::default() }
    }

    /// The same guard, which sends the spans of one trace in ten to the `collector` called `name`.
    #[must_use]
    pub fn with_collector(&self, name: &str, collector: SocketAddr) -> Self {
        let variation = Variation { collector: Some(collector), ..self.variation };
        Self { name: format!("{} to {name}", self.name), variation, ..self.clone() }
    }

    /// The same guard with so many nodes, which are all one.
    pub(crate) fn with_nodes(self, nodes: usize) -> Self {
        Self { variation: Variation { more_nodes: nodes.saturating_sub(1), ..self.variation }, ..self }
    }

    /// The peer whose program is called `program`, if it is on the path or where Debian puts servers.
    pub fn installed(program: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let servers = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from);
        let mut places = std::env::split_paths(&path).chain(servers).map(|folder| folder.join(program));
        Self::peer(program, &places.find(|place| place.is_file())?)
    }

    /// The peer at `program`; which one it is, the beginning of `name` tells. `None` if that is none of [`Self::PEERS`].
    pub fn peer(name: &str, program: &Path) -> Option<Self> {
        let kinds = [Kind::Nginx, Kind::HaProxy, Kind::Envoy, Kind::AgentGateway, Kind::McpProxy];
        let found = Self::PEERS.iter().zip(kinds).find(|(peer, _)| name.starts_with(**peer));
        let variation = Variation::default();
        found.map(|(_, kind)| Self { name: name.into(), kind, program: program.into(), variation })
    }

    /// Starts it in front of `node`.
    ///
    /// # Errors
    ///
    /// If it does not start, or is a guard that lets wrong arguments pass.
    pub fn start(&self, node: SocketAddr) -> Result<Contestant, Fault> {
        let contestant = self.launch(node)?;
        if self.kind == Kind::Guard {
            guard::prove_validation(contestant.target.address)?;
        }
        Ok(contestant)
    }

    /// The same without a look at what it does.
    pub(crate) fn launch(&self, node: SocketAddr) -> Result<Contestant, Fault> {
        let (directory, address) = (TempDir::new()?, free_address()?);
        let others = [free_address()?, free_address()?, free_address()?];
        let place = Place { directory: directory.path(), address, others, node, variation: self.variation };
        let file = directory.path().join(self.kind.file());
        fs::write(&file, self.kind.configuration(&place))?;
        let mut command = Command::new(&self.program);
        self.kind.arguments(&mut command, &place, &file);
        let process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()), address)?;
        let contestant = Contestant::new(&self.name, address).of(process).in_directory(directory);
        let renames = self.kind == Kind::McpProxy;
        Ok(if renames { contestant.with_tool(mcp_proxy::TOOL).with_path(mcp_proxy::PATH) } else { contestant })
    }
}

impl Kind {
    /// The name of its config, which some know a format by.
    fn file(self) -> &'static str {
        match self {
            Self::Nginx | Self::HaProxy => "proxy.conf",
            Self::Envoy | Self::AgentGateway | Self::Guard => "proxy.yaml",
            Self::McpProxy => "proxy.toml",
        }
    }

    fn configuration(self, place: &Place<'_>) -> String {
        match self {
            Self::Nginx => nginx::configuration(place),
            Self::HaProxy => haproxy::configuration(place),
            Self::Envoy => envoy::configuration(place),
            Self::AgentGateway => agentgateway::configuration(place),
            Self::McpProxy => mcp_proxy::configuration(place),
            Self::Guard => guard::configuration(place),
        }
    }

    fn arguments(self, command: &mut Command, place: &Place<'_>, file: &Path) {
        match self {
            Self::Nginx => command.arg("-p").arg(place.directory).args(["-e", "stderr", "-c"]).arg(file),
            Self::HaProxy => command.args(["-db", "-q", "-f"]).arg(file),
            Self::Envoy => {
                let threads = cores().to_string();
                command.args(["--disable-hot-restart", "-l", "off", "--concurrency", &threads, "-c"]).arg(file)
            }
            Self::AgentGateway => command.arg("-f").arg(file),
            Self::McpProxy => command.arg("--config").arg(file),
            Self::Guard => command.args(["run", "-c"]).arg(file),
        };
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_the_beginning_of_its_name() {
        let kind = |name: &str| Proxy::peer(name, Path::new("/p")).map(|proxy| proxy.kind);
        assert_eq!(kind("envoy-1.36"), Some(Kind::Envoy));
        assert_eq!(kind("mcp-proxy"), Some(Kind::McpProxy));
        assert_eq!(kind("traefik"), None);
    }
}
