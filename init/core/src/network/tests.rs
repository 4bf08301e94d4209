use super::*;
use proptest::prelude::*;

#[test]
fn globs_match_as_in_a_shell() {
    for (pattern, name, fits) in [
        ("eth0", "eth0", true),
        ("eth0", "eth01", false),
        ("en*", "enp0s2", true),
        ("e*s?", "enp0s2", true),
        ("e*s?", "enp0s", false),
        ("*", "", true),
        ("en[op]*", "eno1", true),
        ("en[!op]*", "eno1", false),
        ("eth[0-3]", "eth2", true),
        ("eth[0-3]", "eth4", false),
        ("eth[", "eth[", false),
    ] {
        assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
    }
}

#[test]
fn hardware_addresses() {
    let mac: Mac = "52:54:00:AB:cd:ef".parse().expect("an address");
    assert_eq!(mac.to_string(), "52:54:00:ab:cd:ef");
    for bad in ["", "52:54:00:ab:cd", "52:54:00:ab:cd:ef:01", "+2:54:00:ab:cd:ef", "zz:54:00:ab:cd:ef"] {
        assert!(bad.parse::<Mac>().is_err(), "{bad}");
    }
}

#[test]
fn a_match_wants_everything_that_it_names() {
    let mac: Mac = "52:54:00:12:34:56".parse().expect("an address");
    let both = LinkMatch::Link { name: Some("en*".into()), mac: Some(mac) };
    assert!(both.fits("eno1", Some(mac)));
    assert!(!both.fits("eth0", Some(mac)));
    assert!(!both.fits("eno1", None));
}

#[test]
fn an_empty_document_is_dhcp_everywhere() {
    assert_eq!(parse(b"# nothing\n\n"), Ok(NetworkSpec::default()));
}

#[test]
fn a_spec_survives_json() {
    let text = b"version: 2\nethernets: {eth0: {addresses: [192.0.2.1/24], match: {macaddress: '52:54:00:12:34:56'}}}";
    let spec = parse(text).expect("a spec");
    let json = serde_json::to_string(&spec).expect("JSON");
    assert_eq!(serde_json::from_str::<NetworkSpec>(&json).expect("the same"), spec);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_yaml_of_the_right_shape_makes_it_panic(
        version in 0u8..4, key in "[a-z0-9-]{0,12}", word in "[a-z0-9:./ \\[\\]{},'-]{0,40}",
    ) {
        let _ = parse(format!("version: {version}\nethernets:\n  {key}:\n    addresses: [{word}]\n    mtu: {word}\n").as_bytes());
        let _ = parse(format!("version: {version}\nconfig:\n - type: physical\n   name: {key}\n   subnets: [{{type: static, address: {word}}}]\n").as_bytes());
    }

    #[test]
    fn no_glob_makes_it_panic(pattern in "[a-c*?\\[\\]!-]{0,20}", name in "[a-c]{0,20}") {
        let _ = glob(pattern.as_bytes(), name.as_bytes());
    }
}
