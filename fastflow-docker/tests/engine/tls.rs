//! The engine over TCP: with TLS that both sides check, and without it only on this machine.

use std::{fs, path::Path, sync::Arc};

use fastflow_core::{Clock, ErrorKind, SystemClock, executor::container::ContainerEngine};
use fastflow_docker::{DockerConfig, DockerEngine};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt, copy_bidirectional},
    net::{TcpListener, UnixStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
};

use crate::kit::with_docker;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certificate(by: &Authority, purpose: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

/// What a client has: the authority that it trusts, and a certificate by another.
fn client_folder(trusts: &Authority, by: &Authority) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(by, ExtendedKeyUsagePurpose::ClientAuth);
    fs::write(folder.path().join("ca.pem"), trusts.pem()).unwrap();
    fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
    fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    folder
}

/// Takes the TLS off, asks for certificates of this authority, and hands on to the engine. Returns the port.
async fn proxy(authority: &Authority, socket: &Path, tasks: &mut JoinSet<()>) -> u16 {
    let (certificate, key) = certificate(authority, ExtendedKeyUsagePurpose::ServerAuth);
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = socket.to_owned();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            connections.spawn(async move {
                let accepted = acceptor.accept(stream).into_fallible().await;
                match accepted {
                    Ok(mut stream) => {
                        let mut inner = UnixStream::connect(socket).await.unwrap();
                        let _ = copy_bidirectional(&mut stream, &mut inner).await;
                    }
                    // What the client has sent meanwhile is read, or the reason would be lost with the connection.
                    Err((_, mut stream)) => {
                        let _ = stream.read_to_end(&mut Vec::new()).await;
                    }
                }
            });
        }
    });
    port
}

fn over_tcp(port: u16, tls: Option<&Path>) -> DockerEngine {
    let mut config = DockerConfig::default();
    config.host = Some(format!("tcp://127.0.0.1:{port}").parse().unwrap());
    config.tls_folder = tls.map(Path::to_owned);
    config.call_timeout = std::time::Duration::from_secs(5);
    DockerEngine::new(config, Arc::new(SystemClock::new())).unwrap()
}

#[tokio::test]
async fn with_tls_both_sides_are_sure_of_each_other() {
    with_docker(async |lab| {
        let (ours, other) = (authority(), authority());
        let mut tasks = JoinSet::new();
        let port = proxy(&ours, &lab.socket, &mut tasks).await;

        let right = client_folder(&ours, &ours);
        let engine = over_tcp(port, Some(right.path()));
        assert_eq!(engine.info().await.unwrap().id, lab.engine.info().await.unwrap().id);
        let id = engine.create(&lab.spec("a", "exit 6")).await.unwrap();
        engine.start(&id).await.unwrap();
        engine.wait(&id).await.unwrap();
        assert_eq!(engine.inspect(id.as_str()).await.unwrap().unwrap().exit_code, Some(6));

        for (trusts, by) in [(&other, &ours), (&ours, &other)] {
            let folder = client_folder(trusts, by);
            let error = over_tcp(port, Some(folder.path())).info().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        }
        // Without TLS nothing can be understood on either side.
        let error = over_tcp(port, None).info().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn on_this_machine_tcp_is_enough() {
    with_docker(async |lab| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = lab.socket.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut inner = UnixStream::connect(&socket).await.unwrap();
                connections.spawn(async move {
                    let _ = copy_bidirectional(&mut stream, &mut inner).await;
                });
            }
        });
        let engine = over_tcp(port, None);
        assert_eq!(engine.info().await.unwrap().id, lab.engine.info().await.unwrap().id);

        tasks.shutdown().await;
        let clock = SystemClock::new();
        let error = engine.info().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(clock.elapsed().as_secs() < 5, "a port without anybody took all its time");
    })
    .await;
}

#[tokio::test]
async fn files_that_are_missing_or_no_use_are_named_at_once() {
    let ours = authority();
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        for content in [None, Some("nothing")] {
            let folder = client_folder(&ours, &ours);
            match content {
                None => fs::remove_file(folder.path().join(name)).unwrap(),
                Some(content) => fs::write(folder.path().join(name), content).unwrap(),
            }
            let mut config = DockerConfig::default();
            config.host = Some("tcp://engine.example:2376".parse().unwrap());
            config.tls_folder = Some(folder.path().to_owned());
            let error = DockerEngine::new(config, Arc::new(SystemClock::new())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error:?}");
            assert!(error.to_string().contains(name), "{error:?}");
        }
    }
}

#[tokio::test]
async fn another_machine_without_tls_is_refused() {
    let mut config = DockerConfig::default();
    config.host = Some("tcp://192.0.2.1:2375".parse().unwrap());
    let error = DockerEngine::new(config.clone(), Arc::new(SystemClock::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    config.allow_plain_tcp = true;
    DockerEngine::new(config, Arc::new(SystemClock::new())).unwrap();
}
