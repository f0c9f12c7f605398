//! What a container with a network reaches.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use fastflow_core::{
    ErrorKind,
    executor::container::{ContainerEngine, ContainerNetwork},
    testing::tool,
};

use crate::lab::Lab;

/// A program in the network of the engine's own process, which need not be that of this machine.
pub(crate) struct Neighbour {
    child: Child,
    /// The words of the first line that it has written.
    pub(crate) said: Vec<String>,
}

impl Neighbour {
    pub(crate) async fn new(lab: &Lab, args: &[&str]) -> Self {
        let stream = tokio::net::UnixStream::connect(&lab.socket).await.unwrap();
        let net = format!("--net=/proc/{}/ns/net", stream.peer_cred().unwrap().pid().unwrap());
        let mut command = Command::new("nsenter");
        command.arg(net).arg("python3").args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, said: line.split_whitespace().map(str::to_owned).collect() }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Listens on the address that others have for it, and on the one that it has for itself; says the first address and both ports.
const LISTENER: &str = "
import socket, sys
way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
way.connect(('192.0.2.1', 9))
address = way.getsockname()[0]
listeners = [socket.create_server((address, 0)), socket.create_server(('127.0.0.1', 0))]
print(address, *[listener.getsockname()[1] for listener in listeners], flush=True)
sys.stdin.read()
";

/// Says for each of its arguments, `address/port`, whether there is anybody.
const CALLER: &str = "
import socket, sys
def is_there(target):
    address, port = target.split('/')
    try:
        socket.create_connection((address, int(port)), timeout=3).close()
        return 'yes'
    except OSError:
        return 'no'
print(*[is_there(target) for target in sys.argv[1:]])
";

/// Listens on every address that it has, and says the one that others would see.
const SERVER: &str = "
import socket, time
listener = socket.create_server(('0.0.0.0', 4711))
way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
way.connect(('192.0.2.1', 9))
print(way.getsockname()[0], flush=True)
time.sleep(100)
";

#[tokio::test]
async fn containers_reach_outwards_and_not_each_other() {
    let Some(lab) = Lab::new().await else { return };
    match lab.engine.ensure_network("fastflow").await.map(drop) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            return tool::require("podman/network", "no slirp4netns");
        }
        result => result.unwrap(),
    }
    lab.engine.ensure_network("fastflow").await.unwrap();
    let network = ContainerNetwork::Named("fastflow".into());
    let outside = Neighbour::new(&lab, &["-c", LISTENER]).await;
    let [address, open, own] = &outside.said[..] else { panic!("{:?}", outside.said) };

    let mut server = lab.spec("server", "exec python3 -c \"$0\" > /out/server");
    server.entrypoint.push(SERVER.into());
    server.network = network.clone();
    let id = lab.engine.create(&server).await.unwrap();
    lab.engine.start(&id).await.unwrap();
    let server = lab.written("server").await;

    // 10.0.2.2 is what slirp4netns calls the machine that it runs on.
    let targets = [
        format!("{address}/{open}"),
        format!("10.0.2.2/{own}"),
        format!("127.0.0.1/{own}"),
        format!("{}/4711", server.trim()),
    ];
    let mut caller = lab.spec("caller", "exec python3 -c \"$0\" \"$@\" > /out/caller");
    caller.entrypoint.push(CALLER.into());
    caller.entrypoint.extend(targets.iter().cloned());
    caller.network = network;
    assert_eq!(lab.run(&caller).await.exit_code, Some(0));
    assert_eq!(lab.written("caller").await, "yes no no no\n", "{targets:?}");

    // The same without a network.
    let mut alone = lab.spec("alone", "exec python3 -c \"$0\" \"$@\" > /out/alone");
    alone.entrypoint.push(CALLER.into());
    alone.entrypoint.push(targets[0].clone());
    assert_eq!(lab.run(&alone).await.exit_code, Some(0));
    assert_eq!(lab.written("alone").await, "no\n");
}
