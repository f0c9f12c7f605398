//! What pipelines begin with. The tests run each of them.

use clap::ValueEnum;

/// What a pipeline begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Template {
    /// A folder with a program and a parameter
    Minimal,
    /// The same with packages in a requirements.txt
    Requirements,
    /// One file that says itself which packages it needs (PEP 723)
    Script,
    /// A folder that runs every night
    Schedule,
}

/// What is written.
pub(crate) enum File {
    /// One file beside the others.
    Script(&'static str),
    /// Files in a folder, by name.
    Folder(&'static [(&'static str, &'static str)]),
}

impl Template {
    /// What is written.
    pub(crate) fn files(self) -> File {
        match self {
            Self::Minimal => File::Folder(&[
                ("main.py", include_str!("templates/minimal/main.py")),
                ("pipeline.json", include_str!("templates/minimal/pipeline.json")),
            ]),
            Self::Requirements => File::Folder(&[
                ("main.py", include_str!("templates/requirements/main.py")),
                ("pipeline.json", include_str!("templates/requirements/pipeline.json")),
                ("requirements.txt", include_str!("templates/requirements/requirements.txt")),
            ]),
            Self::Script => File::Script(include_str!("templates/script.py")),
            Self::Schedule => File::Folder(&[
                ("main.py", include_str!("templates/schedule/main.py")),
                ("pipeline.json", include_str!("templates/schedule/pipeline.json")),
            ]),
        }
    }
}
