//! Plays a conversation between OpenMLS clients of two providers and writes down everything that they send.
//! `cargo run` makes the recording anew; `cargo run -- --check` verifies the one that is there.

mod check;
mod client;
mod components;
mod conversation;
mod manifest;
mod names;
mod room;
mod view;

use std::{env, path::PathBuf};

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let mut dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../cmd/parley/dev/conversation");
    let mut only_check = false;
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--check" => only_check = true,
            flag if flag.starts_with('-') => bail!("usage: parley-conversation [--check] [DIR]; {flag} is unknown"),
            path => dir = path.into(),
        }
    }
    if !only_check {
        manifest::write(&dir, &conversation::play()?)?;
    }
    let summary = check::check(&manifest::read(&dir)?)?;
    println!("{}: {summary}", dir.join("manifest.json").display());
    Ok(())
}
