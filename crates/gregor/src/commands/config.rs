//! `gregor config`: the table of keys, and a check of a file against it.

use base::config::{
    BROKER_KEYS, Bound, CLIENT_METRICS_KEYS, GROUP_KEYS, Key, Kind, TOPIC_KEYS, Update, broker_key,
};
use serde::Serialize;

use crate::cli::ConfigCommand;
use crate::config::{File, unknown_key};
use crate::failure::Failure;
use crate::output::{Column, Output};
use crate::reload::{is_live, is_only_kept};

/// Runs `gregor config`.
///
/// # Errors
/// [`Failure`].
pub fn run(command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::List { word, topic, markdown, format } => {
            let mut out = Output::listing(format.json);
            if markdown {
                out.bytes(markdown_tables().as_bytes())?;
            } else {
                list(&mut out, if topic { TOPIC_KEYS } else { BROKER_KEYS }, word.as_deref())?;
            }
            out.flush()
        },
        ConfigCommand::Check { file, format } => {
            check(&mut Output::new(format.json), &File::read(&file)?)
        },
        ConfigCommand::Describe(arguments) => super::settings::describe(&arguments),
        ConfigCommand::Alter(arguments) => super::settings::alter(&arguments),
    }
}

#[derive(Serialize)]
struct Listed {
    key: &'static str,
    kind: &'static str,
    default: Option<&'static str>,
    values: String,
    has_effect: bool,
    /// A change in the file is in force after SIGHUP.
    reloads: bool,
    doc: &'static str,
}

fn list(out: &mut Output, keys: &'static [Key], word: Option<&str>) -> Result<(), Failure> {
    let word = word.unwrap_or("").to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&word);
    let keys: Vec<&Key> = keys.iter().filter(|key| has(key.name) || has(key.doc)).collect();
    if keys.is_empty() {
        return Err(Failure::Advised {
            what: format!("no key has '{word}' in its name or meaning"),
            hint: "`gregor config list` shows them all; --topic the settings of topics".to_owned(),
        });
    }
    let mut rows = Vec::new();
    for key in keys {
        if out.is_json() {
            out.object(&Listed {
                key: key.name,
                kind: kind(key.kind),
                default: key.default,
                values: values(key.bound),
                has_effect: !key.inert,
                reloads: broker_key(key.name).is_some_and(|known| known == key && is_live(key)),
                doc: key.doc,
            })?;
            continue;
        }
        rows.push(vec![
            key.name.to_owned(),
            kind(key.kind).to_owned(),
            key.default.unwrap_or("-").to_owned(),
            if key.inert { "no effect" } else { "" }.to_owned(),
            key.doc.to_owned(),
        ]);
    }
    let columns = ["KEY", "TYPE", "DEFAULT", "", "MEANING"].map(Column::Text);
    out.table(&columns, rows)
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::String => "string",
        Kind::Int => "int",
        Kind::Short => "short",
        Kind::Long => "long",
        Kind::Double => "double",
        Kind::List => "list",
        Kind::Class => "class",
        Kind::Password => "password",
    }
}

fn values(bound: Bound) -> String {
    match bound {
        Bound::Any => String::new(),
        Bound::AtLeast(low) => format!("at least {low}"),
        Bound::Between(low, high) => format!("{low} to {high}"),
        Bound::Fraction(low, high) => format!("{low} to {high}"),
        Bound::OneOf(allowed) => allowed.join(", "),
        Bound::GzipLevel => "-1, 1 to 9".to_owned(),
        Bound::ThrottledReplicas => "`*`, or partition:broker".to_owned(),
        Bound::ShareReset => "earliest, latest, by_duration:P...".to_owned(),
    }
}

/// Both tables as `docs/operations.md` has them.
fn markdown_tables() -> String {
    let mut text = String::new();
    for (title, keys) in [
        ("Keys of a broker", BROKER_KEYS),
        ("Settings of a topic", TOPIC_KEYS),
        ("Settings of a group", GROUP_KEYS),
        ("Settings of a subscription to client metrics", CLIENT_METRICS_KEYS),
    ] {
        let head = "| Key | Type | Default | Values | Meaning |\n|---|---|---|---|---|";
        text.push_str(&format!("### {title}\n\n{head}\n"));
        for key in keys {
            let default = match key.default {
                Some("") => "empty".to_owned(),
                Some(default) => format!("`{default}`"),
                None => "not set".to_owned(),
            };
            let effect = if key.inert { "*inert* " } else { "" };
            let change = match key.update {
                Update::ReadOnly => "",
                // Its words say what becomes of a change.
                _ if is_only_kept(key) => "",
                Update::PerBroker => " Changes while it runs, for one broker.",
                Update::ClusterWide => " Changes while it runs.",
            };
            text.push_str(&format!(
                "| `{}` | {} | {default} | {} | {effect}{}{change} |\n",
                key.name,
                kind(key.kind),
                values(key.bound),
                key.doc.replace('|', "\\|"),
            ));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Checked<'a> {
    file: &'a str,
    valid: bool,
    unknown: Vec<String>,
    wrong: Vec<String>,
    without_effect: Vec<String>,
}

fn print_checked(
    out: &mut Output,
    checked: &Checked<'_>,
    problems: &[String],
) -> Result<(), Failure> {
    let Checked { file, without_effect, .. } = checked;
    if out.is_json() {
        out.object(checked)?;
        return out.flush();
    }
    for name in without_effect {
        out.line(&format!("{file}: {name} has no effect in this version"))?;
    }
    for problem in problems {
        out.line(&format!("{file}: {problem}"))?;
    }
    if problems.is_empty() {
        out.line(&format!("{file}: fine"))?;
    }
    out.flush()
}

fn check(out: &mut Output, file: &File) -> Result<(), Failure> {
    let (mut unknown, mut wrong, mut without_effect) = (Vec::new(), Vec::new(), Vec::new());
    let mut problems = Vec::new();
    let mut pairs: Vec<_> = file.pairs.iter().collect();
    pairs.sort_by_key(|(_, (line, _))| *line);
    for (name, (line, value)) in pairs {
        match broker_key(name) {
            None => {
                problems.push(format!("line {line}: {}", unknown_key(name)));
                unknown.push(name.clone());
            },
            Some(key) => match key.check(value) {
                Err(error) => {
                    problems.push(format!("line {line}: {error}"));
                    wrong.push(error.to_string());
                },
                Ok(()) if key.inert => without_effect.push(name.clone()),
                Ok(()) => {},
            },
        }
    }
    if unknown.is_empty()
        && wrong.is_empty()
        && let Err(failure) = crate::config::from_keys(file.keys())
    {
        problems.push(failure.to_string());
        wrong.push(failure.to_string());
    }
    let file = file.shown.as_str();
    let valid = problems.is_empty();
    let checked = Checked { file, valid, unknown, wrong, without_effect };
    let printed = print_checked(out, &checked, &problems);
    match problems.len() {
        0 => printed,
        1 => Err(Failure::Config(format!("{file} has 1 problem"))),
        count => Err(Failure::Config(format!("{file} has {count} problems"))),
    }
}
