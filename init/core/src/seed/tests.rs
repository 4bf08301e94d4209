use super::*;
use proptest::prelude::*;

fn documents(user_data: &str) -> Documents {
    Documents { user_data: Some(user_data.as_bytes().to_vec()), ..Documents::default() }
}

fn refused(user_data: &str) -> String {
    parse(&documents(user_data), "test").expect_err("refused").to_string()
}

#[test]
fn absent_is_not_failed() {
    assert_eq!(parse(&Documents::default(), "test"), Ok(None));
    let network_alone = Documents { network_config: Some(b"version: 2".to_vec()), ..Documents::default() };
    assert_eq!(parse(&network_alone, "test"), Ok(None));
}

#[test]
fn documents_are_read_and_other_keys_are_told() {
    let seed = parse(
        &Documents {
            meta_data: Some(b"instance-id: i-1\nlocal-hostname: cp1\nextra: [1, {a: b}]\n".to_vec()),
            user_data: Some(
                b"#cloud-config\nhostname: cp2\nwrite_files: [{path: /x}]\nntp: {servers: [192.0.2.1]}\n"
                    .to_vec(),
            ),
            vendor_data: Some(b"#!/bin/sh\n".to_vec()),
            network_config: Some(b"version: 2\n".to_vec()),
        },
        "test",
    )
    .expect("good")
    .expect("a seed");
    assert_eq!(seed.meta_data.instance_id.as_deref(), Some("i-1"));
    assert_eq!(seed.user_data.hostname.as_deref(), Some("cp2"));
    assert_eq!(seed.network_config.as_deref(), Some("version: 2\n"));
    assert!(
        seed.warnings.iter().any(|w| w.contains("write_files")) && seed.warnings.len() == 2,
        "{:?}",
        seed.warnings
    );
}

#[test]
fn user_data_of_another_kind_is_refused() {
    assert!(refused("#!/bin/sh\nrm -rf /\n").contains("a script"));
    assert!(refused("hostname: cp1\n").contains("#cloud-config"));
    let gzip = Documents { user_data: Some(vec![0x1f, 0x8b, 8]), ..Documents::default() };
    assert!(parse(&gzip, "test").expect_err("refused").to_string().contains("gzip"));
    assert!(parse(&documents(""), "test").expect("empty is empty").is_some());
}

#[test]
fn errors_have_a_line_and_no_value() {
    let text = "#cloud-config\nnodeimg:\n  cluster: lab\n  rolle: control-plane\n";
    assert!(
        refused(text).starts_with("user-data, line 4, column 3: unknown key \"rolle\""),
        "{}",
        refused(text)
    );
    let secret = "s3cr3t-t0k3n";
    for text in [
        format!("#cloud-config\nnodeimg: {secret}\n"),
        format!("#cloud-config\nnodeimg:\n  role: {secret}\n"),
        format!("#cloud-config\nnodeimg:\n  issuedAt: {secret}\n"),
        format!("#cloud-config\nnodeimg:\n  endpoint: {{ name: a, port: {secret} }}\n"),
        format!("#cloud-config\nnodeimg:\n  controlPlanes: [{{ name: a, address: {secret} }}]\n"),
        format!("#cloud-config\nnodeimg:\n  pki:\n    ca: {secret}\n"),
        format!("#cloud-config\nnodeimg:\n  bootstrapTokens: [{{ token: {secret}, expires: {secret} }}]\n"),
        format!("#cloud-config\nnodeimg: [\"{secret}\"\n"),
        format!("#cloud-config\nkey: |\n  {secret}\n {secret}\n"),
        format!("#cloud-config\nhostname: [{secret}]\n"),
    ] {
        let message = refused(&text);
        assert!(!message.contains(secret), "{message}");
    }
}

#[test]
fn limits_hold() {
    let large = format!("#cloud-config\nhostname: {}\n", "a".repeat(MAX_BYTES));
    assert!(matches!(parse(&documents(&large), "test"), Err(SeedError::TooLarge { .. })));
    let deep = format!("#cloud-config\nx: {}{}\n", "[".repeat(200), "]".repeat(200));
    assert!(matches!(parse(&documents(&deep), "test"), Err(SeedError::Yaml { .. })));
    let mut laughs = String::from("#cloud-config\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..8 {
        laughs.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 8].join(", ")));
    }
    assert!(matches!(parse(&documents(&laughs), "test"), Err(SeedError::Yaml { .. })));
    let not_text = Documents { user_data: Some(b"#cloud-config\n\xff\n".to_vec()), ..Documents::default() };
    assert!(matches!(parse(&not_text, "test"), Err(SeedError::NotText { at: 14, .. })));
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400), cloud in any::<bool>()) {
        let mut user_data = if cloud { b"#cloud-config\n".to_vec() } else { Vec::new() };
        user_data.extend(&bytes);
        let documents = Documents {
            meta_data: Some(bytes.clone()),
            user_data: Some(user_data),
            vendor_data: None,
            network_config: Some(bytes),
        };
        let _ = parse(&documents, "test");
    }

    #[test]
    fn never_panics_on_yaml_like_text(text in "([a-z]{1,3}|: |\n|  |- |\\[|\\]|\\{|\\}|&a|\\*a|\\||>|\"|'|#|nodeimg|pki|~|!!){0,60}") {
        let _ = parse(&documents(&format!("#cloud-config\n{text}")), "test");
    }
}
