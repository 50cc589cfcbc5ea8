//! The simulator's commands in README.md, each run and compared with what the page prints.

use std::process::Command;

use tests::console;
use tests::markdown::Page;

#[test]
#[expect(clippy::disallowed_methods, reason = "reads the page")]
fn every_simulator_command_of_the_readme_prints_what_the_page_says() {
    let page = std::fs::read_to_string(tests::root().join("README.md")).unwrap();
    let steps = console::steps(&Page::read(&page));
    let mine: Vec<_> = steps
        .iter()
        .filter_map(|step| Some((step, step.command.strip_prefix("cargo sim ")?)))
        .collect();
    assert!(!mine.is_empty());
    for (step, arguments) in mine {
        let arguments = arguments.split_whitespace();
        let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap();

        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "README.md:{}: {printed}", step.line);
        assert!(console::has_shape(&step.output, &printed), "README.md:{}: {printed}", step.line);
    }
}
