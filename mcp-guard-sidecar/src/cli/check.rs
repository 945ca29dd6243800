//! `mcp-guard check`: say whether a guard could run with a config file.

use std::net::ToSocketAddrs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::USAGE;
use super::output::complain;
use crate::config::{Config, Flags, NodeUrl, Process, Target, Upstream, is_secure};
use crate::tls::{ClientTls, ServerTls};
use crate::upstream::dial::authority;

/// Checks `file` and the files of TLS that it names; with `online` also whether nodes have an address, or a program, here.
pub(super) fn run(file: &Path, online: bool) -> ExitCode {
    let config = match Config::load(file, &Flags::default()) {
        Ok(config) => config,
        Err(error) => {
            complain(&error);
            return ExitCode::from(USAGE);
        }
    };
    let mut problems = listener_problems(&config);
    for (index, upstream) in config.upstreams().iter().enumerate() {
        problems.extend(upstream_problems(&format!("upstreams[{index}]"), upstream, online));
    }
    problems.iter().for_each(|problem| complain(&format!("{}: {problem}", file.display())));
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(USAGE) }
}

fn listener_problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, listener) in config.listeners().iter().enumerate() {
        let Some(tls) = &listener.tls else { continue };
        let section = format!("listeners[{index}].tls");
        match ServerTls::load(&section, tls) {
            Err(error) => problems.push(error.to_string()),
            Ok(tls) if tls.has_expired() => problems.push(expired(&section)),
            Ok(_) => {}
        }
    }
    problems
}

fn upstream_problems(key: &str, upstream: &Upstream, online: bool) -> Vec<String> {
    let mut problems = Vec::new();
    match &upstream.target {
        Target::Stdio { command, process } => {
            let program = command.program();
            if online && found(program, process).is_none() {
                problems.push(format!("{key}.command[0]: {program}: is no program that can be run from here"));
            }
            if let Some(folder) = process.directory().filter(|folder| online && !folder.is_dir()) {
                problems.push(format!("{key}.process.directory: {}: is no folder", folder.display()));
            }
        }
        Target::Urls(urls) => {
            for url in urls {
                problems.extend(tls_problem(&format!("{key}.tls"), upstream, url));
                let address = address(url).filter(|_| online);
                if let Some((address, error)) = address.and_then(|it| Some((it.clone(), it.to_socket_addrs().err()?))) {
                    problems.push(format!("{key}: {url}: {address} cannot be resolved: {error}"));
                }
            }
        }
    }
    problems
}

fn tls_problem(section: &str, upstream: &Upstream, url: &NodeUrl) -> Option<String> {
    let (NodeUrl::Http(uri) | NodeUrl::Sse(uri) | NodeUrl::WebSocket(uri)) = url else { return None };
    if !is_secure(uri) {
        return None;
    }
    match ClientTls::load(section, &upstream.tls, uri.host().unwrap_or_default()) {
        Err(error) => Some(error.to_string()),
        Ok(tls) => tls.has_expired().then(|| expired(section)),
    }
}

fn expired(section: &str) -> String {
    format!("{section}.certificate: has expired: no client accepts it")
}

/// `HOST:PORT`, where that is dialled.
fn address(url: &NodeUrl) -> Option<String> {
    match url {
        NodeUrl::Http(uri) | NodeUrl::Sse(uri) | NodeUrl::WebSocket(uri) => Some(authority(uri)),
        NodeUrl::Tcp(authority) => Some(authority.clone()),
        NodeUrl::Unix(_) => None,
    }
}

/// Where the program is that `process` would run.
fn found(program: &str, process: &Process) -> Option<PathBuf> {
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        // A path that is not absolute begins where the child does.
        let path = process.directory().map_or_else(|| PathBuf::from(program), |folder| folder.join(program));
        return Some(path).filter(is_program);
    }
    let path = process.environment().get("PATH").map(|path| path.expose().into()).or_else(|| std::env::var_os("PATH"));
    std::env::split_paths(&path?).map(|folder| folder.join(program)).find(is_program)
}
