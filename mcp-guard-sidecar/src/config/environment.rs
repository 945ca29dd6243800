//! References to the environment in the values of a config.

use std::borrow::Cow;

/// `text` with the values of the variables that it names; what is wrong, if one is not there.
///
/// | written           | is                                                     |
/// |-------------------|--------------------------------------------------------|
/// | `${NAME}`         | the variable's value; without one, the config is wrong |
/// | `${NAME:-text}`   | the variable's value, or `text` if it has none         |
/// | `$${`             | `${`                                                   |
///
/// A value that is not quoted means what it would mean were it written out: `${PORT}` can be a number.
pub(super) fn expand<'a>(text: &'a str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Cow<'a, str>, String> {
    // Nearly always.
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.extend([before, "${"]);
            rest = behind;
            continue;
        }
        let reference = behind.split_once('}').map(|(reference, rest)| (reference.split_once(":-"), reference, rest));
        let Some((default, reference, behind)) = reference else { return Err(MALFORMED.into()) };
        let (name, default) = default.map_or((reference, None), |(name, default)| (name, Some(default)));
        if !is_name(name) {
            return Err(MALFORMED.into());
        }
        let value = variable(name).or_else(|| default.map(str::to_owned)).ok_or_else(|| {
            format!(
                "the environment has no {name}: set it, or write ${{{name}:-VALUE}} for a value that holds without it"
            )
        })?;
        expanded.extend([before, &value]);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(Cow::Owned(expanded))
}

/// Whether `text` is one reference by a name alone, in which nothing secret can stand.
pub(super) fn is_bare_reference(text: &str) -> bool {
    text.strip_prefix("${").and_then(|text| text.strip_suffix('}')).is_some_and(is_name)
}

const MALFORMED: &str = "`${` begins a reference to the environment, as in ${NAME} or ${NAME:-VALUE}: write $${ for the characters themselves";

fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    starts && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::super::yaml::read_with;
    use super::*;

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "PORT" => "8080",
            "EMPTY" => "",
            "TRICK" => "${PORT}",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn references_are_replaced_once() {
        let table = [
            ("plain $HOME {x}", "plain $HOME {x}"),
            ("127.0.0.1:${PORT}", "127.0.0.1:8080"),
            ("${PORT}${PORT}", "80808080"),
            ("a${EMPTY}b", "ab"),
            ("${MISSING:-7}", "7"),
            ("${MISSING:-}", ""),
            ("${PORT:-7}", "8080"),
            ("${TRICK}", "${PORT}"),
            ("$${PORT}", "${PORT}"),
            ("echo $${A} ${PORT}", "echo ${A} 8080"),
        ];
        for (written, meant) in table {
            assert_eq!(expand(written, &variable).as_deref(), Ok(meant), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        assert!(expand("${MISSING}", &variable).unwrap_err().starts_with("the environment has no MISSING: "));
        for written in ["${", "${}", "${PORT", "${1}", "${A-B}", "${ PORT }"] {
            assert_eq!(expand(written, &variable).unwrap_err(), MALFORMED, "{written}");
        }
    }

    #[test]
    fn a_value_means_what_it_would_mean_written_out_and_a_fault_has_its_place() {
        let (tree, problems) = read_with("a: ${PORT}\nb: \"${PORT}\"\nc: ${MISSING}\n", &variable).unwrap();
        assert_eq!(tree.value(), serde_json::json!({"a": 8080, "b": "8080"}));
        let [problem] = <[_; 1]>::try_from(problems).unwrap();
        assert_eq!(
            (problem.path.to_string(), problem.place),
            ("c".into(), super::super::Place::Text { line: 3, column: 4 })
        );
    }
}
