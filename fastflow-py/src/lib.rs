//! The native half of the Python package `fastflow`.
//!
//! It is private to the package: what people use are the Python classes around it. Three rules keep it out of the way
//! of the interpreter that hosts it:
//!
//! - **No thread of ours ever attaches to the interpreter.** Results wait as Rust values until a thread of Python's
//!   fetches them, so that the end of the interpreter, a fork or a held lock cannot meet us inside of it.
//! - **Each operation exists once**, as an [`Operation`](operation::Operation): one caller blocks on it, another awaits it.
//! - **Each flow has a runtime of its own**, and knows the process it belongs to.

#![expect(clippy::too_many_arguments, reason = "Python names its arguments where it gives them")]
#![expect(clippy::needless_pass_by_value, reason = "the macros give values where Python has references")]

mod cli;
mod code;
mod config;
mod engine;
mod error;
mod events;
mod executor;
mod logging;
mod mailbox;
mod operation;
mod packages;
mod pipelines;
mod process;
mod queue;
mod record;
mod runs;
mod schedule_record;
mod schedules;
mod secrets;
mod shim;
mod source;
mod stream;
mod testing;

use pyo3::prelude::*;

/// The module `fastflow._fastflow`.
#[pymodule(gil_used = false)]
fn _fastflow(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<operation::Operation>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<runs::Runs>()?;
    module.add_class::<executor::ExecutorPort>()?;
    module.add_class::<executor::Call>()?;
    module.add_class::<shim::Shim>()?;
    module.add_class::<logging::LogPort>()?;
    module.add_class::<testing::ManualClock>()?;
    module.add_function(wrap_pyfunction!(testing::executor_cases, module)?)?;
    module.add_function(wrap_pyfunction!(testing::run_executor_case, module)?)?;
    module.add_class::<code::Code>()?;
    module.add_class::<pipelines::Pipelines>()?;
    module.add_class::<schedules::Schedules>()?;
    module.add_function(wrap_pyfunction!(schedules::explain_cron, module)?)?;
    module.add_class::<events::Events>()?;
    module.add_class::<packages::Packages>()?;
    module.add_class::<secrets::Secrets>()?;
    module.add_class::<source::Source>()?;
    module.add_function(wrap_pyfunction!(secrets::generate_master_key, module)?)?;
    module.add_class::<record::LogLine>()?;
    module.add_function(wrap_pyfunction!(cli::cli, module)?)
}
