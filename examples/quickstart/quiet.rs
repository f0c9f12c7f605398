//! Keeps the terminal from writing `^C` between what moves on it.

use std::io::stdin;

use rustix::{
    process::getpgrp,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};

/// Keys that send a signal show nothing while this lives.
#[derive(Debug)]
pub(crate) struct QuietKeys {
    earlier: Option<Termios>,
}

impl QuietKeys {
    /// Changes nothing where the input is no terminal, or that of somebody else.
    pub(crate) fn new() -> Self {
        // A program in the background that changes the terminal would be stopped.
        let is_ours = tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == getpgrp());
        let earlier = if is_ours { tcgetattr(stdin()).ok() } else { None };
        if let Some(earlier) = &earlier {
            let mut quiet = earlier.clone();
            quiet.local_modes.remove(LocalModes::ECHOCTL);
            // It is only for the looks.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &quiet);
        }
        Self { earlier }
    }
}

impl Drop for QuietKeys {
    fn drop(&mut self) {
        if let Some(earlier) = &self.earlier {
            // It is only for the looks.
            let _ = tcsetattr(stdin(), OptionalActions::Now, earlier);
        }
    }
}
