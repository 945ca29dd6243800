//! nginx as a plain reverse proxy: the floor for what any proxy costs.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Contestant, Fault, Process, free_address};

/// nginx in front of a node, with keep-alive connections on both sides and no log.
#[derive(Debug)]
pub struct Nginx;

impl Nginx {
    /// Starts it, if it is installed.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(node: SocketAddr) -> Result<Option<Contestant>, Fault> {
        let programs = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/bin/nginx", "/opt/homebrew/bin/nginx"];
        let Some(program) = programs.into_iter().find(|program| Path::new(program).exists()) else {
            return Ok(None);
        };
        let (directory, address) = (TempDir::new()?, free_address()?);
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration(directory.path(), address, node))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(directory.path()).arg("-e").arg("stderr").arg("-c").arg(&file).stdout(Stdio::null());
        let process = Process::start(&mut command, address)?;
        Ok(Some(Contestant::new("nginx", address).of(process).in_directory(directory)))
    }
}

fn configuration(directory: &Path, address: SocketAddr, node: SocketAddr) -> String {
    let temporary = directory.display();
    format!(
        "daemon off;
worker_processes auto;
pid {temporary}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {temporary}/body;
    proxy_temp_path {temporary}/proxy;
    fastcgi_temp_path {temporary}/fastcgi;
    uwsgi_temp_path {temporary}/uwsgi;
    scgi_temp_path {temporary}/scgi;
    upstream node {{ server {node}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://node;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}
