//! The `encode` function of a struct.

use std::fmt::Write as _;

use super::decode::flexible_versions;
use super::{condition, default_value, flexible, function_head, tagged};
use crate::schema::{Field, Kind, Message, Struct};

pub(super) fn function(out: &mut String, message: &Message, s: &Struct, is_root: bool) {
    out.push_str("\nfn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {\n");
    function_head(out, message, s, is_root, "EncodeError");
    for field in s.fields.iter().filter(|f| f.tag.is_none()) {
        let write = write(s, field);
        match condition(field.versions, s.versions) {
            None => out.push_str(write.trim_end()),
            Some(condition) => {
                let _infallible = write!(out, "if {condition} {{\n{write}}}");
                if !field.ignorable {
                    let _infallible = write!(
                        out,
                        " else if {} {{\nreturn Err({});\n}}",
                        is_set(field),
                        error("NotInVersion", s, field)
                    );
                }
            },
        }
        out.push('\n');
    }
    match flexible(message, s).as_str() {
        "false" => {},
        "true" => tags(out, message, s),
        _ => {
            out.push_str("if flex {\n");
            tags(out, message, s);
            out.push_str("}\n");
        },
    }
    for (_, field) in tagged(s).iter().filter(|(_, f)| !f.ignorable) {
        if let Some(condition) = condition(field.versions, s.versions) {
            let _infallible = writeln!(
                out,
                "if !({condition}) && {} {{\nreturn Err({});\n}}",
                is_set(field),
                error("NotInVersion", s, field)
            );
        }
    }
    out.push_str("Ok(())\n}\n");
}

fn error(variant: &str, s: &Struct, field: &Field) -> String {
    format!("EncodeError::{variant} {{ field: \"{}.{}\", version }}", s.name, field.rust_name)
}

fn tags(out: &mut String, message: &Message, s: &Struct) {
    let tagged = tagged(s);
    if tagged.is_empty() {
        out.push_str("w.uvarint(0);\n");
        return;
    }
    let possible = flexible_versions(message, s);
    let mut present = Vec::new();
    for (tag, field) in &tagged {
        let set = is_set(field);
        let test = match condition(field.versions, possible) {
            None => set,
            Some(condition) => format!("{condition} && {set}"),
        };
        let _infallible = writeln!(out, "let tag{tag} = {test};");
        present.push(format!("u32::from(tag{tag})"));
    }
    let _infallible = writeln!(out, "w.uvarint({});", present.join(" + "));
    for (tag, field) in &tagged {
        let write = write(s, field).replace("nullable_struct", "tagged_nullable_struct");
        let _infallible =
            writeln!(out, "if tag{tag} {{\nw.tag({tag}, |w| {{\n{write}Ok(())\n}})?;\n}}");
    }
}

/// A statement that writes the field.
fn write(s: &Struct, field: &Field) -> String {
    let place = format!("self.{}", field.rust_name);
    match field.nullable.map(|nullable| condition(nullable, field.versions)) {
        _ if field.kind == Kind::Records => write_records(s, field, &place),
        None if is_error(field) => format!("w.error_code({place});\n"),
        None => write_kind(&field.kind, &place, true),
        Some(None) => write_nullable(&field.kind, &place),
        Some(Some(condition)) => format!(
            "if {condition} {{\n{}}} else {{\n\
             let Some(value) = &{place} else {{\nreturn Err({});\n}};\n{}}}\n",
            write_nullable(&field.kind, &place),
            error("Null", s, field),
            write_kind(&field.kind, "value", false)
        ),
    }
}

/// Whether it says how something ended, and is counted. That a topic's settings could not be shown is
/// no error of its creation, for Kafka neither.
fn is_error(field: &Field) -> bool {
    let name = field.name.as_str();
    field.kind == Kind::Int16 && name.ends_with("ErrorCode") && name != "TopicConfigErrorCode"
}

fn write_records(s: &Struct, field: &Field, place: &str) -> String {
    let nullable = match field.nullable.map(|nullable| condition(nullable, field.versions)) {
        None => "false".to_owned(),
        Some(None) => return format!("{place}.encode(w, flex)?;\n"),
        Some(Some(condition)) => condition,
    };
    format!(
        "if {place}.is_null() && !({nullable}) {{\nreturn Err({});\n}}\n{place}.encode(w, flex)?;\n",
        error("Null", s, field)
    )
}

fn write_nullable(kind: &Kind, place: &str) -> String {
    match kind {
        Kind::String => format!("w.nullable_string({place}.as_deref(), flex)?;\n"),
        Kind::Bytes => format!("w.nullable_bytes({place}.as_ref(), flex)?;\n"),
        Kind::Struct(_) => format!("w.nullable_struct({place}.as_ref(), version)?;\n"),
        Kind::Array(element) => {
            format!(
                "w.nullable_array({place}.as_deref(), flex, |w, e| {{ {} }})?;\n",
                element_body(element)
            )
        },
        Kind::Bool
        | Kind::Int8
        | Kind::Int16
        | Kind::Uint16
        | Kind::Int32
        | Kind::Int64
        | Kind::Float64
        | Kind::Uuid
        | Kind::Records => String::new(),
    }
}

fn write_kind(kind: &Kind, place: &str, owned: bool) -> String {
    let borrow = if owned { "&" } else { "" };
    let star = if owned { "" } else { "*" };
    match kind {
        Kind::Bool => format!("w.bool({star}{place});\n"),
        Kind::Int8 => format!("w.i8({star}{place});\n"),
        Kind::Int16 => format!("w.i16({star}{place});\n"),
        Kind::Uint16 => format!("w.u16({star}{place});\n"),
        Kind::Int32 => format!("w.i32({star}{place});\n"),
        Kind::Int64 => format!("w.i64({star}{place});\n"),
        Kind::Float64 => format!("w.f64({star}{place});\n"),
        Kind::Uuid => format!("w.uuid({star}{place});\n"),
        Kind::String => format!("w.string({borrow}{place}, flex)?;\n"),
        Kind::Bytes => format!("w.nullable_bytes(Some({borrow}{place}), flex)?;\n"),
        Kind::Records => format!("{place}.encode(w, flex)?;\n"),
        Kind::Struct(_) => format!("{place}.encode(w, version)?;\n"),
        Kind::Array(element) => format!(
            "w.nullable_array(Some({borrow}{place}), flex, |w, e| {{ {} }})?;\n",
            element_body(element)
        ),
    }
}

/// The body of the closure that writes one element `e`.
fn element_body(element: &Kind) -> String {
    match element {
        Kind::Struct(_) => "e.encode(w, version)".into(),
        Kind::String => "w.string(e, flex)".into(),
        other => format!("{} Ok(())", write_kind(other, "e", false).trim_end()),
    }
}

/// A condition that holds if the field differs from its default.
fn is_set(field: &Field) -> String {
    let place = format!("self.{}", field.rust_name);
    if field.nullable.is_some() {
        return if field.is_default_null() {
            format!("{place}.is_some()")
        } else {
            format!("{place} != {}", default_value(field))
        };
    }
    match &field.kind {
        Kind::Bool => match field.default.as_deref() {
            Some("true") => format!("!{place}"),
            _ => place,
        },
        Kind::String | Kind::Bytes | Kind::Array(_) => format!("!{place}.is_empty()"),
        Kind::Uuid => format!("!{place}.is_zero()"),
        Kind::Float64 => format!("{place} != 0.0"),
        Kind::Struct(name) => format!("{place} != {name}::default()"),
        Kind::Records => format!("{place} != Records::default()"),
        Kind::Int8 | Kind::Int16 | Kind::Uint16 | Kind::Int32 | Kind::Int64 => {
            format!("{place} != {}", field.default.as_deref().unwrap_or("0"))
        },
    }
}
