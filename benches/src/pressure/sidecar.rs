//! A guard as a process, what it says of itself, and what Linux says of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Fault, Process, free_address};

/// A guard in front of one node. It ends when this is dropped.
#[derive(Debug)]
pub struct Sidecar {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    // Dropped after the process that uses it.
    _directory: TempDir,
}

impl Sidecar {
    /// Starts the guard at `program` in front of `node`, with `guard` as that section of its config, and `upstream` as
    /// further keys of its upstream.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(program: &Path, node: SocketAddr, guard: &str, upstream: &str) -> Result<Self, Fault> {
        let (address, admin, directory) = (free_address()?, free_address()?, TempDir::new()?);
        let file = directory.path().join("guard.yaml");
        let config = format!(
            "version: 1\nlisteners: [{{address: \"{address}\", path: /mcp}}]\nadmin: {{address: \"{admin}\"}}\n\
             upstreams: [{{url: \"http://{node}/mcp\", connections: 4096{upstream}}}]\n\
             guard:\n{guard}telemetry: {{logs: {{level: error}}}}\n"
        );
        fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.arg("run").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::start(&mut command, address)?;
        Ok(Self { process, address, admin, _directory: directory })
    }

    /// Where clients are served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its own figures by name, those with labels added up.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn figures(&self) -> Result<BTreeMap<String, f64>, Fault> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(figures(&text))
    }

    /// What it holds, in KiB: resident, and resident with each shared page counted in part.
    pub(crate) fn memory_kib(&self) -> (u64, u64) {
        let memory = self.process.memory();
        (memory.rss_kib, memory.pss_kib)
    }
}

fn figures(text: &str) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (Some(name), Ok(value)) = (series.split('{').next(), value.parse::<f64>()) else { continue };
        *figures.entry(name.to_owned()).or_insert(0.0) += value;
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_name_are_added_up() {
        let found = figures("# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3\nb 0.5\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 5.0), ("b".to_owned(), 0.5)]);
    }
}
