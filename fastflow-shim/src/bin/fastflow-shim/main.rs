//! The first process of every attempt: takes the guard, runs the program, writes down what it says, what it
//! uses and how it ends, and leaves nothing behind.
//!
//! ```text
//! fastflow-shim (--order-fd N | --order-file PATH [--wait-ms N]) [--reply | --reply-file PATH] [--detach]
//! ```

mod args;
mod capture;
mod delivery;
mod detach;
mod dumps;
mod intake;
mod leftovers;
mod log;
mod masking;
mod meter;
mod output;
mod program;
mod report;
mod sheet;
mod signal;
mod streams;
mod supervisor;
mod tree;

use std::{io, process::ExitCode};

use args::{Args, ReplyTo};
use detach::Detached;
use fastflow_shim::{Guard, Order, Reply, guard};
use intake::Intake;

/// The exit record is written, whatever it says.
const RECORDED: u8 = 0;
/// Nothing was done: the arguments or the order are wrong.
const BAD_ORDER: u8 = 64;
/// Nothing was done: the guard is somebody else's.
const REFUSED: u8 = 65;
/// Nothing was done: no order came, or a signal came first.
const NO_ORDER: u8 = 66;
/// The exit record could not be written.
const NOT_RECORDED: u8 = 74;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(message) => {
            return refuse(&ReplyTo::Nobody, &Reply::BadOrder { errno: None, message }, BAD_ORDER);
        }
    };
    match run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => refuse(
            &args.reply,
            &Reply::BadOrder {
                errno: error.raw_os_error(),
                message: format!("the shim cannot work: {error}"),
            },
            BAD_ORDER,
        ),
    }
}

/// Errors are those from before the guard was taken: nothing has happened yet.
fn run(args: &Args) -> io::Result<u8> {
    detach::close_inherited(args.order_fd())?;
    if args.detach && detach::detach()? == Detached::Parent {
        return Ok(RECORDED);
    }
    // Before the first secret comes in.
    dumps::keep_memory_out();
    let signals = signal::take_over()?;
    let bytes = match intake::read(args, &signals)? {
        Intake::Complete(bytes) => bytes,
        Intake::Nothing => return Ok(NO_ORDER),
    };
    let order = match Order::from_slice(&bytes) {
        Ok(order) => order,
        Err(error) => {
            let reply = Reply::BadOrder { errno: None, message: error.to_string() };
            refuse(&args.reply, &reply, BAD_ORDER);
            return Ok(BAD_ORDER);
        }
    };
    // The bytes carry secrets and are needed no more. Texts in them that had escapes went through a buffer of the JSON
    // reader, which wipes nothing.
    drop(bytes);
    rustix::process::chdir("/")?;
    if let Some(guard) = guard::take(&order.run_dir, &Guard::taken(order.attempt.as_str())?)? {
        refuse(&args.reply, &Reply::Refused { guard }, REFUSED);
        return Ok(REFUSED);
    }
    Ok(match supervisor::attempt(order, signals, &args.reply) {
        Ok(()) => RECORDED,
        Err(error) => {
            output::complain(&format!("the exit record cannot be written: {error}"));
            NOT_RECORDED
        }
    })
}

/// Says why nothing was done: to the caller, or on standard error for a person.
fn refuse(to: &ReplyTo, reply: &Reply, code: u8) -> ExitCode {
    if *to == ReplyTo::Nobody {
        output::complain(&serde_json::to_string(reply).unwrap_or_default());
    } else {
        output::reply(to, reply);
    }
    ExitCode::from(code)
}
