# `just` lists the recipes. CI calls the same ones, so green here is green there.

_list:
    @just --list

# Formatting and lints; meant to stay under a minute
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Tests, by name if one is given, then doctests
test name="":
    cargo nextest run --workspace {{name}}
    cargo test --workspace --doc

# Review changed snapshots
snap:
    cargo insta review

# The library without its adapters: no tokio, no tower, no HTTP
core:
    cargo check -p mcp-guard --no-default-features
    ! cargo tree -p mcp-guard --no-default-features --edges normal --prefix none | grep -E '^(tokio|tower|http|hyper) '

# The library with each feature by itself
features:
    cargo check -p mcp-guard --no-default-features
    cargo check -p mcp-guard --no-default-features --features tower

# One run of the simulation, with all that happens in it and the guard's log
seed number:
    MCP_GUARD_SEED={{number}} cargo nextest run -p mcp-guard-tests --test simulation one_seed --no-capture

# Many of them, as in `just seeds 1000..101000`, by a build that is faster
seeds range:
    MCP_GUARD_SEEDS={{range}} cargo nextest run --cargo-profile seeds -p mcp-guard-tests --test simulation many_seeds --no-capture

# Fuzz one target of those that `.ci/fuzz list` names
fuzz target seconds="60":
    .ci/fuzz {{target}} {{seconds}}

# Small changes to the pure files of the library, one at a time, and which of them no unit test notices: folders of mcp-guard/src, or all
mutants *folders:
    .ci/mutants {{folders}}

# Benches
bench name="":
    cargo bench --workspace {{name}}

# Instructions of the hot pieces against the baseline; `--accept` writes a new one
instructions *args:
    .ci/instructions {{args}}

# What a small call costs through the guard, against nginx, HAProxy and other proxies; memory, start, size
versus *args:
    cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches
    cargo run --release -p mcp-guard-benches --bin versus -- {{args}}

# What a call costs in the library as sessions, tools, keys, rules, schemas, bodies and batches grow, and in the sidecar as nodes do
growth *args:
    cargo build --release -p mcp-guard-sidecar
    cargo run --release -p mcp-guard-benches --bin growth -- {{args}}

# What the library costs a Rust server that links it
layer *args:
    cargo run --release -p mcp-guard-benches --bin layer -- {{args}}

# So many sessions at once, through several guards on one port
crowd *args:
    cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches -p mcp-load
    target/release/crowd {{args}}

# Load that is steady, rises and comes out of nothing, with a node that gets slow, broken and dead; `--soak 30m` for long
shapes *args:
    cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches
    target/release/shapes {{args}}

# Ten times what the node bears: goodput, refusals, priority, recovery, fairness
overload *args:
    cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches
    target/release/overload {{args}}

# The program as it is released, laid out by a profile of itself: target/optimized/mcp-guard, in a quarter of an hour
optimized:
    deploy/optimized

# An image from scratch with its SBOM, in a quarter of an hour, and a try of it; as root, with buildah and podman
container:
    deploy/container/build
    deploy/container/try

# The released program built twice, from two folders: the same bytes?
reproducible:
    deploy/reproducible

# What the program is made of (CycloneDX), to standard output
sbom:
    @deploy/sbom

# Kubernetes manifests and Containerfiles against their schemas and rules
manifests:
    .ci/manifests

# Documentation, warnings denied
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Licences, sources, duplicate versions, advisories
deny:
    .ci/deny

# Install the real programs that the tests talk to
peers:
    .ci/peers

# A new decision record
adr title:
    #!/usr/bin/env bash
    set -euo pipefail
    mkdir -p docs/adr
    last=$(ls docs/adr | grep -Eo '^[0-9]{4}' | sort | tail -n 1 || true)
    file=docs/adr/$(printf '%04d' $((10#${last:-0} + 1)))-$(echo '{{title}}' | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-').md
    printf '# %s\n\n## Context\n\n## Decision\n\n## What we give up\n\n## How we would notice that we were wrong\n' '{{title}}' > "$file"
    echo "$file"

# All that a pull request has to pass
ci:
    .ci/run
