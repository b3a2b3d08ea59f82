# The same steps as in CI: every recipe calls what .ci/run calls.

# Everything CI runs.
check:
    .ci/run

# Formatting and lints only; quick.
lint:
    .ci/run fmt shell workflow powershell kql clippy

# All tests.
test *args:
    cargo test --locked {{ args }}

# Accept changed snapshots; look at the diff before you commit it.
snap:
    INSTA_UPDATE=always cargo test --locked
    git diff --stat -- '*.snap' src tests

# The tests on the embedded Azure.
sim *args:
    cargo test --locked --test it {{ args }}

# Regenerate the playbook schema and the tables in docs/.
schema:
    AZMEND_BLESS=1 cargo test --locked --lib playbook
    git diff --stat -- playbooks docs

# The README's commands, as written.
readme:
    .ci/run release readme

# Write what README's commands print into it; look at the diff before you commit it.
samples:
    AZMEND_UPDATE=1 cargo test --locked --test it pages::
    git diff --stat -- README.md docs

# The pages as a site, in target/book.
site:
    .ci/run site

# Licences, sources, advisories.
deny:
    .ci/run deny
