//! Quantities as people write them in a config file: `250ms`, `4MiB`, `50/s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// A text that is not the quantity it should be.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{text}` is not a {what}: write {allowed}")]
pub struct InvalidQuantity {
    text: String,
    what: &'static str,
    allowed: &'static str,
}

/// A span of time: `250ms`, `30s`, `5m`, `1h`, `7d`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

/// A number of bytes: `512B`, `64KiB`, `4MiB`, `1GiB`, or a bare number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(pub u64);

/// So many in so much time: `50/s`, `600/m`, `1000/h`. The count is 1 to 1,000,000,000.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    const COUNT_MAX: u32 = 1_000_000_000;

    /// The time in which one is earned; at least a nanosecond.
    pub fn interval(self) -> Duration {
        self.per / self.count
    }

    /// How many are earned in [`Rate::per`].
    pub fn count(self) -> u32 {
        self.count
    }

    /// A second, a minute or an hour.
    pub fn per(self) -> Duration {
        self.per
    }
}

impl FromStr for Span {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let bad = || InvalidQuantity {
            text: text.into(),
            what: "duration",
            allowed: "a whole number with ms, s, m, h or d, as in 250ms",
        };
        let (number, unit) = split(text).ok_or_else(bad)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        number.checked_mul(millis).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(bad)
    }
}

impl FromStr for ByteSize {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let bad = || InvalidQuantity {
            text: text.into(),
            what: "size",
            allowed: "a whole number with B, KiB, MiB or GiB, as in 4MiB",
        };
        let (number, unit) = split(text).ok_or_else(bad)?;
        let bytes = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(bad()),
        };
        number.checked_mul(bytes).map(Self).ok_or_else(bad)
    }
}

impl FromStr for Rate {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let bad = || InvalidQuantity {
            text: text.into(),
            what: "rate",
            allowed: "a count from 1 to 1000000000 with /s, /m or /h, as in 50/s",
        };
        let (count, unit) = text.split_once('/').ok_or_else(bad)?;
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(bad()),
        };
        let count: u32 = count.parse().map_err(|_| bad())?;
        if count == 0 || count > Self::COUNT_MAX {
            return Err(bad());
        }
        Ok(Self { count, per })
    }
}

/// Splits `250ms` into 250 and `ms`.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0s"),
            _ if ms.is_multiple_of(86_400_000) => write!(f, "{}d", ms / 86_400_000),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0B"),
            n if n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
            n if n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
            n if n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}B"),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// A quantity is read from, written to and described as text.
macro_rules! as_text {
    ($type:ident, $name:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text::<Self>(std::marker::PhantomData))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern})
            }
        }
    };
}

as_text!(Span, "Duration", "^[0-9]+(ms|s|m|h|d)$");
as_text!(ByteSize, "Size", "^[0-9]+(B|KiB|MiB|GiB)?$");
as_text!(Rate, "Rate", "^[0-9]+/(s|m|h)$");

/// Reads a quantity from a text, or from a bare number as YAML gives it.
struct Text<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = InvalidQuantity>> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity with its unit")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_they_were_read() {
        for text in ["250ms", "30s", "5m", "1h", "7d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["1B", "64KiB", "4MiB", "1GiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["50/s", "600/m", "1000/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_quantity_without_its_unit_is_refused_with_what_is_allowed() {
        let error = "10".parse::<Span>().unwrap_err().to_string();
        assert_eq!(error, "`10` is not a duration: write a whole number with ms, s, m, h or d, as in 250ms");
        assert!("0/s".parse::<Rate>().is_err());
        assert!("-1s".parse::<Span>().is_err());
        assert!("99999999999999999999d".parse::<Span>().is_err());
    }
}
