//! The words that `--help` prints, and what a usage error says.

use crate::project::{Project, assert_said};

#[test]
fn every_command_explains_itself() {
    let project = Project::new();
    let cases: &[(&str, &[&str])] = &[
        ("help", &["--help"]),
        ("help_build", &["build", "--help"]),
        ("help_lock", &["lock", "--help"]),
        ("help_run", &["run", "--help"]),
        ("help_bench_build", &["bench", "build", "--help"]),
        ("help_bench_boot", &["bench", "boot", "--help"]),
        ("help_cluster_new", &["cluster", "new", "--help"]),
        ("help_cluster_permit", &["cluster", "permit", "--help"]),
        ("help_cluster_seed", &["cluster", "seed", "--help"]),
        ("help_cluster_remove_node", &["cluster", "remove-node", "--help"]),
        ("version", &["--version"]),
    ];
    for (name, args) in cases {
        assert_said(name, &project.nodeimg(args));
    }
}

#[test]
fn wrong_words_are_usage_errors_with_exit_code_2() {
    let project = Project::new();
    let cases: &[(&str, &[&str])] = &[
        ("usage_command", &["biuld", "profiles/p.toml"]),
        ("usage_option", &["build", "--lokced", "profiles/p.toml"]),
        ("usage_no_profile", &["build"]),
        ("usage_locked_and_update", &["build", "--locked", "--update", "profiles/p.toml"]),
        ("usage_check_and_update", &["lock", "--check", "--update", "profiles/p.toml"]),
        ("usage_timeout", &["run", "profiles/p.toml", "--timeout", "soon"]),
        ("usage_forward", &["run", "profiles/p.toml", "--forward", "8443"]),
        ("usage_until", &["run", "profiles/p.toml", "--until", "redy"]),
        ("usage_memory", &["run", "profiles/p.toml", "--memory", "64"]),
    ];
    for (name, args) in cases {
        let said = project.nodeimg(args);
        assert!(said.starts_with("exit code: 2\n"), "{said}");
        assert_said(name, &said);
    }
}

#[test]
fn completions_are_a_script() {
    let said = Project::new().nodeimg(&["completions", "bash"]);
    assert!(said.starts_with("exit code: 0\n") && said.contains("complete -F _nodeimg"), "{said}");
}
