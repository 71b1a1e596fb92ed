//! A population of OpenMLS clients that does what it is told: a frame of JSON on each line of standard input, the answer to
//! it on a line of standard output. Who does what, and when, is decided by the one who writes the frames
//! (`../README.md` says by whom); keys and randomness are drawn here. It ends with its input.

mod client;
mod components;
mod frames;
mod population;

use std::io::{self, BufRead, Write};

use anyhow::{Context, Result};

use crate::{
    frames::{Answer, Frame},
    population::Population,
};

fn main() -> Result<()> {
    let mut population = None;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let frame: Frame = serde_json::from_str(&line?).context("read a frame")?;
        let answer =
            answer(&mut population, frame).unwrap_or_else(|e| Answer { error: format!("{e:#}"), ..Answer::default() });
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(population: &mut Option<Population>, frame: Frame) -> Result<Answer> {
    match frame {
        Frame::Hello => Ok(Population::hello()),
        Frame::Begin { suite, not_before, not_after } => {
            *population = Some(Population::new(suite, not_before, not_after)?);
            Ok(Answer::default())
        }
        other => population.as_mut().context("no history has begun")?.answer(other),
    }
}
