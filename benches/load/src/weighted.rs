//! A choice among few things by weight.

use std::str::FromStr;

/// Things to choose from, each with a weight.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Weighted<T> {
    /// Each with the sum of the weights up to and with its own.
    entries: Vec<(T, u32)>,
}

impl<T> Weighted<T> {
    /// At most so many entries.
    pub const ENTRIES_MAX: usize = 64;
    /// The largest weight of an entry.
    pub const WEIGHT_MAX: u32 = 1_000_000;

    /// `None` unless there are 1 to [`ENTRIES_MAX`](Self::ENTRIES_MAX) entries with weights of 1 to
    /// [`WEIGHT_MAX`](Self::WEIGHT_MAX).
    pub fn new(entries: impl IntoIterator<Item = (T, u32)>) -> Option<Self> {
        let mut sum = 0;
        let mut kept = Vec::new();
        for (entry, weight) in entries {
            if !(1..=Self::WEIGHT_MAX).contains(&weight) || kept.len() == Self::ENTRIES_MAX {
                return None;
            }
            sum += weight;
            kept.push((entry, sum));
        }
        (!kept.is_empty()).then_some(Self { entries: kept })
    }

    /// Always `entry`.
    pub fn only(entry: T) -> Self {
        Self { entries: vec![(entry, 1)] }
    }

    /// The same weights for what `map` makes of the entries.
    ///
    /// # Errors
    ///
    /// The first of `map`.
    pub fn try_map<U, E>(self, mut map: impl FnMut(T) -> Result<U, E>) -> Result<Weighted<U>, E> {
        let entries = self.entries.into_iter().map(|(entry, upto)| Ok((map(entry)?, upto)));
        Ok(Weighted { entries: entries.collect::<Result<_, E>>()? })
    }

    /// What there is to choose from.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &T> {
        self.entries.iter().map(|(entry, _)| entry)
    }

    /// The place of one of the entries, chosen by `random`.
    pub(crate) fn choose(&self, random: &mut fastrand::Rng) -> usize {
        let [.., (_, sum)] = self.entries.as_slice() else { return 0 };
        if self.entries.len() == 1 {
            return 0;
        }
        let drawn = random.u32(0..*sum);
        self.entries.partition_point(|(_, upto)| *upto <= drawn)
    }
}

/// `a=8,b=1`; a weight that is not given is 1.
impl<T: FromStr> FromStr for Weighted<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entry = |part: &str| {
            let (name, weight) = part.rsplit_once('=').unwrap_or((part, "1"));
            let weight = weight.parse().map_err(|_| format!("`{part}`: the weight is no whole number"))?;
            let name = name.parse().map_err(|_| format!("`{part}`: `{name}` is not understood"))?;
            Ok((name, weight))
        };
        let entries = text.split(',').map(entry).collect::<Result<Vec<_>, String>>()?;
        Self::new(entries)
            .ok_or_else(|| format!("at most {} entries, weights from 1 to {}", Self::ENTRIES_MAX, Self::WEIGHT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_chosen_by_their_weights() {
        let mix: Weighted<String> = "echo=8,tools/list=1,ping".parse().unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = [0_u32; 3];
        for _ in 0..10_000 {
            counts[mix.choose(&mut random)] += 1;
        }
        assert!((7_700..8_300).contains(&counts[0]), "{counts:?}");
        assert!((850..1_150).contains(&counts[1]) && (850..1_150).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn a_weight_of_nothing_is_refused() {
        assert!("300=0".parse::<Weighted<u32>>().is_err());
        assert!("".parse::<Weighted<u32>>().is_err());
        assert!("300=x".parse::<Weighted<u32>>().is_err());
    }
}
