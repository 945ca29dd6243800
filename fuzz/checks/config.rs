//! A text is a config, or has problems that name their places; a config can be shown.

use mcp_guard_sidecar::config::{Config, Flags, PROBLEMS_MAX, json_of_yaml};

/// Reads `data` as a config file.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = json_of_yaml("fuzz.yaml", text);
    match Config::parse("fuzz.yaml", text, &Flags::default()) {
        Ok(config) => {
            assert_eq!(config.upstreams().len(), 1);
            assert!(config.effective().is_object());
        }
        Err(error) => {
            let told = error.to_string();
            assert!(!told.is_empty());
            assert!(told.lines().count() <= PROBLEMS_MAX + 1, "{told}");
        }
    }
}
