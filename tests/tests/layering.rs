//! The dependency arrows of the workspace. Editing this table is an architecture decision: say why
//! in an ADR.

#![expect(clippy::expect_used, reason = "a test that cannot read the tree should say so and stop")]

use std::collections::BTreeMap;
use std::process::Command;

/// crate -> the workspace crates it may name (normal dependencies only).
const MAY_USE: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("records", &["base"]),
    ("protocol", &["base"]),
    ("metadata", &["base"]),
    ("coordinator", &["base"]),
    ("quorum", &["base"]),
    ("env", &["base"]),
    ("env-tokio", &["base", "env"]),
    ("storage", &["base", "env", "records"]),
    ("broker", &["base", "env", "records", "metadata", "coordinator", "storage"]),
    ("wire", &["base", "env", "records", "protocol", "broker"]),
    ("gregor", &["base", "env", "env-tokio", "records", "protocol", "storage", "broker", "wire"]),
    (
        "sim",
        &[
            "base",
            "env",
            "records",
            "protocol",
            "metadata",
            "coordinator",
            "storage",
            "broker",
            "wire",
        ],
    ),
    ("proto", &[]),
    ("tests", &[]),
    ("floor", &[]),
];

/// Pure crates: nothing of `IMPURE` may appear anywhere under them, however deep.
const PURE: &[&str] = &["base", "records", "protocol", "metadata", "coordinator", "quorum"];
const IMPURE: &[&str] = &["tokio", "mio", "socket2", "getrandom", "rand", "env", "rustix"];

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn normal_deps(package: &serde_json::Value) -> Vec<String> {
    package["dependencies"]
        .as_array()
        .expect("an array")
        .iter()
        .filter(|d| d["kind"].is_null())
        .map(|d| d["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn crates_name_only_the_layers_below_them() {
    let metadata = metadata();
    let members: Vec<&str> = metadata["workspace_members"]
        .as_array()
        .expect("array")
        .iter()
        .filter_map(|m| m.as_str())
        .collect();
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut broken = Vec::new();
    for package in metadata["packages"].as_array().expect("array") {
        if !members.contains(&package["id"].as_str().expect("id")) {
            continue;
        }
        let name = package["name"].as_str().expect("name");
        let Some(allowed) = allowed.get(name) else {
            broken.push(format!("{name} is not in MAY_USE"));
            continue;
        };
        for dep in normal_deps(package) {
            let internal = MAY_USE.iter().any(|(n, _)| *n == dep);
            if internal && !allowed.contains(&dep.as_str()) {
                broken.push(format!("{name} -> {dep}"));
            }
        }
    }
    assert!(broken.is_empty(), "layering broken:\n{}", broken.join("\n"));
}

#[test]
fn pure_crates_reach_no_runtime() {
    let metadata = metadata();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let name_of: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .expect("array")
        .iter()
        .map(|p| (p["id"].as_str().expect("id"), p["name"].as_str().expect("name")))
        .collect();
    let deps: BTreeMap<&str, Vec<&str>> = nodes
        .iter()
        .map(|n| {
            let normal = n["deps"].as_array().expect("deps").iter().filter(|d| {
                d["dep_kinds"].as_array().expect("kinds").iter().any(|k| k["kind"].is_null())
            });
            (
                n["id"].as_str().expect("id"),
                normal.map(|d| d["pkg"].as_str().expect("pkg")).collect(),
            )
        })
        .collect();
    for pure in PURE {
        let mut todo: Vec<&str> =
            name_of.iter().filter(|(_, n)| *n == pure).map(|(id, _)| *id).collect();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(id) = todo.pop() {
            if seen.insert(id) {
                assert!(!IMPURE.contains(&name_of[id]), "{pure} reaches {}", name_of[id]);
                todo.extend(&deps[id]);
            }
        }
    }
}
