//! The seeds of fuzz targets, in ordinary tests.

use std::path::Path;

/// Shows `check` each seed of `target`.
pub(crate) fn for_each(target: &str, check: impl Fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let seeds: Vec<_> = std::fs::read_dir(seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        check(&std::fs::read(seed).unwrap());
    }
}
