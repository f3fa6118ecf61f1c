//! TLS, with a certificate that only the test trusts.

use std::process::Command;

use hive_core::cache::Store;
use hive_core::cache::redis::Redis;
use hive_core::testing;
use hive_errors::ErrorKind;

use super::{MINUTE, ask, bare, options};

#[tokio::test]
async fn a_server_is_believed_by_its_certificate_only() {
    let server = testing::Redis::start();
    let folder = testing::folder();
    let (certificate, key) = (folder.path().join("certificate"), folder.path().join("key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");

    let mut bare = bare(server.url()).await;
    let set = |name: &'static str, value: String| (name, value);
    let settings = [
        set("tls-cert-file", certificate.display().to_string()),
        set("tls-key-file", key.display().to_string()),
        set("tls-ca-cert-file", certificate.display().to_string()),
        set("tls-auth-clients", "no".to_owned()),
    ];
    let mut words = vec!["CONFIG", "SET"];
    for (name, value) in &settings {
        words.extend([*name, value.as_str()]);
    }
    let _: () = ask(&mut bare, &words).await;
    // The port changes hands: what spoke plainly speaks TLS from here on.
    let port = server.port().to_string();
    let _: () = ask(&mut bare, &["CONFIG", "SET", "port", "0", "tls-port", &port]).await;

    let url = server
        .url()
        .replace("redis://", "rediss://")
        .replace("127.0.0.1", "localhost");
    let pem = std::fs::read(&certificate).unwrap();
    let store = Redis::new(options(&url).certificate(pem.clone())).unwrap();
    store.put("key", b"value".as_slice().into(), MINUTE).await.unwrap();
    assert_eq!(store.get("key").await.unwrap().unwrap().value[..], *b"value");

    let stranger = Redis::new(options(&url)).unwrap();
    assert_eq!(
        stranger.ping().await.unwrap_err().kind(),
        ErrorKind::Storage,
        "nobody vouches for it"
    );
    let elsewhere = Redis::new(options(&url.replace("localhost", "127.0.0.1")).certificate(pem)).unwrap();
    assert_eq!(
        elsewhere.ping().await.unwrap_err().kind(),
        ErrorKind::Storage,
        "it is another's certificate"
    );
}
