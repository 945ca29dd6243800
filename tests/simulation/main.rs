//! The whole guard in a simulated world: its clients, nodes, network and clock are the seed's, and what must hold is looked at at
//! every step. A run that breaks something is played again by its seed:
//!
//! ```text
//! MCP_GUARD_SEED=17 cargo nextest run -p mcp-guard-tests --test simulation one_seed --no-capture
//! MCP_GUARD_SEEDS=1000..101000 cargo nextest run --cargo-profile seeds -p mcp-guard-tests --test simulation many_seeds --no-capture
//! ```

mod client;
mod guard;
mod http_node;
mod lines_node;
mod logs;
mod meters;
mod network;
mod node;
mod plan;
mod play;
mod vandal;
mod world;

use std::ops::Range;

use crate::play::{Shown, play};

/// How much of what has happened is shown of a run that broke something.
const LINES_SHOWN: usize = 60;

/// Plays the runs of `seeds`, and fails if any of them breaks something.
fn hold(seeds: Range<u64>) {
    let (mut served, mut is_logged, mut failed) = (0, false, Vec::new());
    for seed in seeds.clone() {
        let Shown { told, broken, served: more, log } = play(seed);
        served += more;
        is_logged |= log.contains("mcp_guard::");
        if !broken.is_empty() {
            let last = told.iter().skip(told.len().saturating_sub(LINES_SHOWN)).map(String::as_str);
            failed.push(seed);
            println!("seed {seed} breaks\n{}", broken.join("\n"));
            if failed.len() == 1 {
                println!("what happened last:\n{}", last.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    println!(
        "simulation: of seeds {seeds:?} {} hold, {served} calls had their result",
        seeds.clone().count() - failed.len()
    );
    assert!(failed.is_empty(), "seeds {failed:?} break what must hold; again: MCP_GUARD_SEED={}", failed[0]);
    assert!(served > 0 && is_logged, "nobody was served, or nothing logged");
}

#[test]
fn what_must_hold_holds_in_the_first_quarter_of_seeds() {
    hold(0..250);
}

#[test]
fn what_must_hold_holds_in_the_second_quarter_of_seeds() {
    hold(250..500);
}

#[test]
fn what_must_hold_holds_in_the_third_quarter_of_seeds() {
    hold(500..750);
}

#[test]
fn what_must_hold_holds_in_the_fourth_quarter_of_seeds() {
    hold(750..1000);
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..10 {
        let (once, again) = (play(seed), play(seed));
        let first = once.told.iter().zip(&again.told).find(|(once, again)| once != again);
        assert_eq!(first, None, "seed {seed} is another run the second time");
        assert_eq!(once.told.len(), again.told.len(), "seed {seed}");
    }
}

/// Those of `MCP_GUARD_SEEDS`, as `FIRST..END`.
#[test]
fn many_seeds() {
    let Ok(seeds) = std::env::var("MCP_GUARD_SEEDS") else { return };
    let (first, end) = seeds.split_once("..").expect("FIRST..END");
    hold(first.parse().expect("a number")..end.parse().expect("a number"));
}

/// That of `MCP_GUARD_SEED`, with all that happens and the guard's log.
#[test]
fn one_seed() {
    let Ok(seed) = std::env::var("MCP_GUARD_SEED") else { return };
    let Shown { told, broken, log, .. } = play(seed.parse().expect("a number"));
    println!("{}\n\n{log}", told.join("\n"));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
