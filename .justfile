# The steps of CI, one by one; .ci/run is all of them.

# Lists the recipes.
default:
    @just --list

# Formatting, lints, and the rules on the repository's own text.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo nextest run -p mcp-guard-tests --test tidy

# All tests, or those whose name contains `name`; then the examples in the documentation.
test name="":
    .ci/setup
    cargo nextest run --workspace {{name}}
    cargo test --doc --workspace --quiet

# The real programs that the tests talk to.
peers:
    .ci/peers

# Looks through changed snapshots and reference pages.
snap:
    UPDATE=1 INSTA_UPDATE=always cargo nextest run --workspace -E 'test(reference) + test(/mistake/)'
    git diff --stat

# The decisions without their adapters: no tokio, no tower, no http.
core:
    cargo check -p mcp-guard --no-default-features
    ! cargo tree -p mcp-guard --no-default-features -e normal | grep -E '^[^a-z]*(tokio|tower|http) v'

# One fuzz target, or all of them.
fuzz seconds="15" target="":
    .ci/fuzz {{seconds}} {{target}}

# What a small call costs through the guard, against nginx.
versus *args:
    cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches
    cargo run --release -p mcp-guard-benches --bin versus -- {{args}}

# The hot pieces, one by one.
bench name="":
    cargo bench -p mcp-guard-benches {{name}}

# The documentation, broken links denied.
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

# Licences, duplicate versions and sources of the dependencies.
deny:
    cargo deny --config .deny.toml check bans licenses sources

# A new decision record from the template.
adr title:
    cp docs/adr/0000-template.md "docs/adr/$(printf '%04d' $(( $(ls docs/adr | tail -1 | cut -c1-4 | sed 's/^0*//') + 1 )))-$(echo '{{title}}' | tr ' A-Z' '-a-z').md"

# All that a pull request has to pass.
ci:
    .ci/run
