//! What the code of hostile packages reaches from another place: nothing but its own environment.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use fastflow_core::{
    Clock, SystemClock,
    environment::{Environment, EnvironmentFailureKind, EnvironmentRequest},
    pipeline::DependencySource,
    testing::tool,
};

use crate::{
    elsewhere::{config, place, source, there},
    lab::{Lab, environments, files, prepare, python, request, requirements, run_in},
    place::Place,
};

/// Tries to change every file it sees and to leave one in every folder. What belongs to its own build is only marked:
/// broken, it would prove nothing.
const POISON: &str = "def poison():
    for folder, _, files in os.walk('LABORATORY'):
        names = ['poison']
        if '/.building-' not in folder and '/.cache-' not in folder:
            names += files
        for name in names:
            path = os.path.join(folder, name)
            try:
                os.chmod(path, 0o777)
            except OSError:
                pass
            try:
                with open(path, 'ab') as file:
                    file.write(b'poison')
            except OSError:
                pass
        if os.path.basename(folder).startswith('.building-'):
            try:
                os.symlink('LABORATORY/victim', folder + '/fastflow-environment.json')
            except OSError:
                pass
poison()
";

/// A laboratory in which others have made something, and one that wants to change it.
struct Attack {
    lab: Lab,
    place: Arc<Place>,
    before: BTreeMap<String, (Vec<u8>, u32, u32)>,
}

impl Attack {
    async fn new() -> Option<(Self, String)> {
        let lab = Lab::new()?;
        let place = place(&lab, "other-1")?;
        lab.wheel("tiny", "1.0", &[]);
        let other = lab.pipeline("other", &[("requirements.txt", "tiny\n")]);
        prepare(&lab.environments(), &requirements(&other)).await.unwrap();
        prepare(&environments(config(&lab)), &there(&place, requirements(&other))).await.unwrap();
        fs::write(lab.root.path().join("victim"), "victim").unwrap();
        for entry in fs::read_dir(lab.environments_dir().join("pythons")).unwrap() {
            fs::write(entry.unwrap().path().join("python"), "").unwrap();
        }
        let poison = POISON.replace("LABORATORY", lab.root.path().to_str().unwrap());
        let attack = Self { before: BTreeMap::new(), lab, place };
        Some((attack, poison))
    }

    /// Remembers all there is: from here on, the attacker acts.
    fn begin(&mut self) {
        self.before = self.now();
    }

    fn now(&self) -> BTreeMap<String, (Vec<u8>, u32, u32)> {
        let found = files(self.lab.root.path()).into_iter().map(|path| {
            let metadata = fs::metadata(&path).unwrap();
            let content = fs::read(&path).unwrap();
            (path.to_str().unwrap().to_owned(), (content, metadata.mode(), metadata.uid()))
        });
        found.collect()
    }

    /// Everything is as it was, but for what is new and does not come from the attacker. `own` is his own.
    fn holds(&self, own: Option<&Environment>) {
        let own: Vec<_> = own.map(|own| own.directory.clone()).into_iter().collect();
        self.holds_but_for(&own);
    }

    fn holds_but_for(&self, own: &[PathBuf]) {
        let now = self.now();
        // Empty files that are only locked, notes of the time, and uv's notes of what it asked when.
        let is_note = |path: &str| path.contains("/used/") || path.ends_with("/witness");
        for (path, content) in &self.before {
            assert!(is_note(path) || now.get(path) == Some(content), "{path} was changed");
        }
        let is_own = |path: &str| own.iter().any(|own| Path::new(path).starts_with(own));
        for (path, (content, ..)) in &now {
            let is_poisoned = path.ends_with("/poison") || content.ends_with(b"poison");
            assert!(!is_poisoned || is_own(path), "{path} is from the attacker");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_build_changes_nothing_but_its_own_environment() {
    let Some((mut attack, poison)) = Attack::new().await else { return };
    source(&attack.lab, "hostile", &poison);
    let folder = attack.lab.pipeline("hostile", &[("requirements.txt", "hostile\ntiny\n")]);
    attack.begin();
    let builder = environments(config(&attack.lab));
    let environment = prepare(&builder, &there(&attack.place, requirements(&folder))).await.unwrap();
    assert!(environment.directory.join("poison").exists(), "the attacker did nothing");
    assert_eq!(run_in(&environment, "import hostile, tiny; print(tiny.VERSION)"), "1.0");
    attack.holds(Some(&environment));
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_starts_with_python_changes_nothing_but_its_own_environment() {
    let Some((mut attack, poison)) = Attack::new().await else { return };
    let pack = "import sys, zipfile
place, poison = sys.argv[1:]
with zipfile.ZipFile(f'{place}/starter-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('starter.py', 'import os\\n' + poison)
    wheel.writestr('starter.pth', 'import starter\\n')
    wheel.writestr('starter-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: starter\\nVersion: 1.0\\n')
    wheel.writestr('starter-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('starter-1.0.dist-info/RECORD', '')
";
    python(pack, &[attack.lab.wheels().to_str().unwrap(), &poison]);
    let folder = attack.lab.pipeline("hostile", &[("requirements.txt", "starter\n")]);
    attack.begin();
    let builder = environments(config(&attack.lab));
    let environment = prepare(&builder, &there(&attack.place, requirements(&folder))).await.unwrap();
    assert!(environment.directory.join("fastflow-environment.json").exists());
    attack.holds(Some(&environment));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_project_that_is_built_to_be_resolved_changes_nothing() {
    let Some((mut attack, poison)) = Attack::new().await else { return };
    let pack = "import sys, zipfile
place, poison = sys.argv[1:]
with zipfile.ZipFile(f'{place}/builder-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('builder.py', 'import os\\n' + poison + 'raise SystemExit(\"the attacker was here\")\\n')
    wheel.writestr('builder-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: builder\\nVersion: 1.0\\n')
    wheel.writestr('builder-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('builder-1.0.dist-info/RECORD', '')
";
    python(pack, &[attack.lab.wheels().to_str().unwrap(), &poison]);
    let project = "[project]\nname = \"p\"\ndynamic = [\"version\"]\nrequires-python = \">=3.8\"\n\
                   [build-system]\nrequires = [\"builder\"]\nbuild-backend = \"builder\"\n";
    let folder = attack.lab.pipeline("hostile", &[("pyproject.toml", project)]);
    attack.begin();
    for wheels_only in [false, true] {
        let mut config = config(&attack.lab);
        config.wheels_only = wheels_only;
        let asked = there(&attack.place, request(&folder, DependencySource::Project { dir: "".into() }));
        let failure = prepare(&environments(config), &asked).await.unwrap_err();
        assert!(failure.message.contains("the attacker was here"), "{failure}");
        attack.holds(None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_leaves_something_open_is_not_settled_by_whoever_comes_first() {
    let Some(lab) = Lab::new() else { return };
    let Some(place) = place(&lab, "other-1") else { return };
    let wheel = lab.wheel("tiny", "1.0", &[]);
    let forge = "import sys, zipfile
real, forged = sys.argv[1:]
with zipfile.ZipFile(real) as real, zipfile.ZipFile(forged, 'w') as forged:
    for name in real.namelist():
        forged.writestr(name, real.read(name) if name != 'tiny.py' else b'VERSION = \"forged\"')
";
    let mut config = config(&lab);
    config.extra_env.remove("UV_FIND_LINKS");
    let builder = environments(config);
    let of = async |folder: &str, packages: &str, lock: &str, settings: &str| {
        let folder =
            lab.pipeline(folder, &[("x.lock", lock), ("uv.toml", settings), ("packages/readme", "")]);
        let packaged = folder.join("packages").join(wheel.file_name().unwrap());
        match packages {
            "real" => drop(fs::copy(&wheel, packaged).unwrap()),
            _ => drop(python(forge, &[wheel.to_str().unwrap(), packaged.to_str().unwrap()])),
        }
        let source = DependencySource::RequirementsLock { path: "x.lock".into() };
        prepare(&builder, &there(&place, request(&folder, source))).await
    };
    let open = "--find-links packages\ntiny==1.0\n";
    let forged = of("first", "forged", open, "").await.unwrap();
    let real = of("second", "real", open, "").await.unwrap();
    assert_eq!(run_in(&forged, "import tiny; print(tiny.VERSION)"), "forged");
    assert_eq!(run_in(&real, "import tiny; print(tiny.VERSION)"), "1.0");

    let bare = "tiny==1.0\n";
    let forged = of("third", "forged", bare, "find-links = [\"packages\"]\n").await.unwrap();
    let settings = "find-links = [\"./packages\"]\n";
    let real = of("fourth", "real", bare, settings).await.unwrap();
    assert_eq!(run_in(&forged, "import tiny; print(tiny.VERSION)"), "forged");
    assert_eq!(run_in(&real, "import tiny; print(tiny.VERSION)"), "1.0");
    let again = of("fifth", "real", bare, settings).await.unwrap();
    assert_eq!((again.id, again.built), (real.id, false), "equal inputs share one");
}

/// A script that is called uv in a place of its maker: it does `then` before it is the real one.
fn hostile_uv(lab: &Lab, then: &str) -> PathBuf {
    let (folder, real) = (lab.root.path().join("image"), tool::uv().unwrap());
    fs::create_dir(&folder).unwrap();
    let uv = folder.join("uv");
    fs::write(&uv, format!("#!/bin/sh\n{then}\nexec '{}' \"$@\"\n", real.display())).unwrap();
    fs::set_permissions(&uv, fs::Permissions::from_mode(0o755)).unwrap();
    uv
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_uv_changes_nothing_that_another_place_or_this_machine_uses() {
    let Some((mut attack, poison)) = Attack::new().await else { return };
    let folder = attack.lab.root.path().join("image");
    let script = folder.join("poison.py");
    let then = format!("PATH=/usr/local/bin:/usr/bin:/bin python3 '{}'", script.display());
    let uv = hostile_uv(&attack.lab, &then);
    fs::write(&script, format!("import os\n{poison}")).unwrap();
    let pipeline = attack.lab.pipeline("hostile", &[("requirements.txt", "tiny\n")]);
    let mut config = config(&attack.lab);
    config.python_downloads = true;
    let builder = environments(config);
    let image =
        |identity: &str| Place::new(&attack.lab, identity).unwrap().with_uv(uv.clone(), folder.clone());
    let (full, bare) = (Arc::new(image("hostile-1")), Arc::new(image("hostile-2").without_python()));
    attack.begin();
    // It may spoil its own environment as it likes.
    let made = prepare(&builder, &there(&full, requirements(&pipeline))).await.ok();
    let failure = prepare(&builder, &there(&bare, requirements(&pipeline))).await.unwrap_err();
    assert_eq!(failure.kind, EnvironmentFailureKind::InterpreterMissing, "{failure}");

    let of_calls =
        |place: &Place| place.calls("").into_iter().flat_map(|call| call.writes).collect::<Vec<_>>();
    let own =
        [&full, &bare].into_iter().flat_map(|place| of_calls(place)).chain(made.map(|made| made.directory));
    let own: Vec<_> = own.filter(|path| path.exists()).collect();
    let theirs = &bare.calls("python install")[0].directory;
    assert!(own.contains(theirs) && theirs.join("poison").exists(), "the attacker did nothing: {own:?}");
    attack.holds_but_for(&own);
    for path in &own {
        let is_shared = attack.before.keys().any(|before| Path::new(before).starts_with(path));
        assert!(!is_shared, "the attacker was given {}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uv_that_never_answers_keeps_nobody_waiting_elsewhere() {
    let Some(lab) = Lab::new() else { return };
    let Some(other) = place(&lab, "other-1") else { return };
    let pipes = lab.root.path().join("pipes");
    fs::create_dir(&pipes).unwrap();
    let (called, never) = (pipes.join("called"), pipes.join("never"));
    for pipe in [&called, &never] {
        assert!(Command::new("mkfifo").args(["-m", "666"]).arg(pipe).status().unwrap().success());
    }
    let uv = hostile_uv(&lab, &format!("echo > '{}'; cat '{}'", called.display(), never.display()));
    let silent = Arc::new(Place::new(&lab, "silent").unwrap().with_uv(uv, pipes));
    let builder = environments(lab.offline());
    let none = request(&lab.pipeline("a", &[("main.py", "")]), DependencySource::None);

    let clock = SystemClock::new();
    let (theirs, asked) = (builder.clone(), there(&silent, none.clone()));
    let waiting = tokio::spawn(async move { prepare(&theirs, &asked).await });
    tokio::task::spawn_blocking(move || fs::read(called)).await.unwrap().unwrap();
    for asked in [there(&other, none.clone()), EnvironmentRequest { ..none }] {
        tokio::select! {
            made = prepare(&builder, &asked) => drop(made.unwrap()),
            () = clock.sleep(Duration::from_mins(1)) => panic!("it waits for the uv of another place"),
        }
    }
    assert!(!waiting.is_finished());
    waiting.abort();
}
