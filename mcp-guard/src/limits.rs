//! Bounds that no operator may raise, each with its reason.

/// The longest id of a request, in bytes of JSON. SDKs use numbers and UUIDs; an id is kept for each call in flight.
pub const ID_BYTES_MAX: usize = 256;

/// The longest method name in bytes. The longest of MCP has 34; a name is kept for each call in flight.
pub const METHOD_BYTES_MAX: usize = 128;

/// The longest tool name, prompt name or URI in bytes that is looked at. 2025-11-25 bounds tool names to 128; URIs are longer.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// The longest session id in bytes. Servers use UUIDs or JWTs; 8 KiB is what a header may hold anyway.
pub const SESSION_BYTES_MAX: usize = 1024;

/// The deepest nesting of JSON that may be configured: a little below the 128 levels of serde_json, so that what is refused is
/// always refused as too deep, and what is let in can be read.
pub const JSON_DEPTH_MAX: u32 = 120;

/// The most bytes of all header fields of a request together, names and values. Clients send some 500; with a JWT and cookies
/// some KiB.
pub const HEADERS_BYTES_MAX: usize = 64 * 1024;

/// The most bytes of one header field, name and value: twice what other servers commonly take.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The most header fields of a request: a little below the 100 that hyper reads without allocating.
pub const HEADERS_MAX: usize = 96;
