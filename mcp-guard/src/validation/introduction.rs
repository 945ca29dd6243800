//! Who a node says that it is.

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized<'a> {
    #[serde(borrow, default)]
    server_info: Option<&'a RawValue>,
}

/// The `serverInfo` in the result of `initialize`, as its text.
pub(super) fn server_info(result: &str) -> Option<&str> {
    let initialized: Initialized<'_> = serde_json::from_str(result).ok()?;
    initialized.server_info.map(RawValue::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_introduces_itself_by_name_and_version() {
        let info = r#"{"name":"calculator","version":"1.0"}"#;
        assert_eq!(server_info(&format!(r#"{{"capabilities":{{}},"serverInfo":{info}}}"#)), Some(info));
        assert_eq!(server_info(r#"{"capabilities":{}}"#), None);
    }
}
