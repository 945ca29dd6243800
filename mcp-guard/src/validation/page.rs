//! What a page of `tools/list` says about tools.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::retry::ToolHints;

/// One page of a list of tools, its schemas unread.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) tools: Vec<ListedTool<'a>>,
    /// Asks for the next page; `None` on the last.
    pub(super) next_cursor: Option<Cow<'a, str>>,
}

/// One tool as listed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedTool<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) input_schema: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) output_schema: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

impl<'a> Page<'a> {
    /// The page that `result`, the result of a `tools/list`, is; `None` if it is none.
    ///
    /// A tool that is no object with a `name` is left out: its calls pass unchecked.
    pub(super) fn read(result: &'a str) -> Option<Self> {
        let listed: Listed<'a> = serde_json::from_str(result).ok()?;
        let tools = listed.tools.into_iter().filter_map(|tool| serde_json::from_str(tool.get()).ok()).collect();
        Some(Self { tools, next_cursor: listed.next_cursor })
    }
}

impl ListedTool<'_> {
    /// Its annotations; those that are no booleans count as not given.
    pub(super) fn hints(&self) -> ToolHints {
        let annotations = self.annotations.and_then(|hints| serde_json::from_str::<Annotations>(hints.get()).ok());
        let Annotations { read_only, idempotent } = annotations.unwrap_or_default();
        ToolHints { read_only, idempotent }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "readOnlyHint")]
    read_only: bool,
    #[serde(rename = "idempotentHint")]
    idempotent: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    next_cursor: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_read_and_what_is_no_tool_is_left_out() {
        let page = Page::read(
            r#"{"tools": [7, {"name": "a\u0062", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
                {"name": "c", "annotations": {"idempotentHint": "yes"}}], "nextCursor": "2", "ttlMs": 1}"#,
        )
        .unwrap();
        assert_eq!(page.tools.iter().map(|tool| &*tool.name).collect::<Vec<_>>(), ["ab", "c"]);
        assert_eq!(page.tools[0].input_schema.unwrap().get(), r#"{"type": "object"}"#);
        assert_eq!(page.tools[0].hints(), ToolHints { read_only: true, idempotent: false });
        assert_eq!(page.tools[1].hints(), ToolHints::default());
        assert_eq!(page.next_cursor.as_deref(), Some("2"));
    }

    #[test]
    fn what_is_no_list_of_tools_is_none() {
        for text in ["{}", "[]", r#"{"tools": {}}"#, r#"{"tools": null}"#, "7"] {
            assert!(Page::read(text).is_none(), "{text}");
        }
    }
}
