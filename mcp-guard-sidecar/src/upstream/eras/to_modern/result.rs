//! What an answer of 2026-07-28 is to a legacy client.

use bytes::Bytes;

use crate::upstream::eras::object::Object;

/// What legacy results do not have.
const NEW: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

/// The same answer, as legacy nodes give it.
pub(super) fn answer(mut message: Object<'_>) -> Bytes {
    if let Some(result) = message.take("result") {
        let older = Object::read(&result).map(|mut members| {
            for name in NEW {
                members.take(name);
            }
            members.to_string()
        });
        message.set("result", older.map_or(result, Into::into));
    }
    message.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_loses_what_is_new_and_an_error_stays() {
        let told = |text: &str| String::from_utf8(answer(Object::read(text).unwrap()).to_vec()).unwrap();
        let result = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","tools":[{"ttlMs":1}],"ttlMs":0,"cacheScope":"public"}}"#;
        assert_eq!(told(result), r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"ttlMs":1}]}}"#);
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"m"}}"#;
        assert_eq!(told(error), error);
    }
}
