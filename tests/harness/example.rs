//! A program of the folder `examples` as a real process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A running example, ended with SIGKILL when it is dropped.
#[derive(Debug)]
pub struct Example {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Example {
    /// Runs the binary `program` on a free port and waits until it says which.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn run(program: &str) -> Self {
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the example starts");
        let mut said = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut said).expect("its address");
        let address = said.trim().strip_prefix("http://").and_then(|url| url.strip_suffix("/mcp"));
        let address = address.and_then(|address| address.parse().ok()).expect("a URL");
        Self { process, address }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
