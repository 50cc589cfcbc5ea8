//! The `decode` function of a struct.

use std::fmt::Write as _;

use super::{condition, flexible, function_head, tagged};
use crate::schema::{Field, Kind, Message, Struct, element_bytes_min};

pub(super) fn function(out: &mut String, message: &Message, s: &Struct, is_root: bool) {
    out.push_str("fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {\n");
    function_head(out, message, s, is_root, "DecodeError");
    out.push_str("let mut m = Self::default();\n");
    for field in s.fields.iter().filter(|f| f.tag.is_none()) {
        let read = read(message, field);
        let assign = format!("m.{} = {read};", field.rust_name);
        match condition(field.versions, s.versions) {
            None => out.push_str(&assign),
            Some(condition) => {
                let _infallible = write!(out, "if {condition} {{ {assign} }}");
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
    out.push_str("Ok(m)\n}\n");
}

fn tags(out: &mut String, message: &Message, s: &Struct) {
    let tagged = tagged(s);
    if tagged.is_empty() {
        out.push_str("r.skip_tags()?;\n");
        return;
    }
    out.push_str("r.tags(|tag, r| {\nmatch tag {\n");
    let possible = flexible_versions(message, s);
    for (tag, field) in tagged {
        let guard = condition(field.versions, possible)
            .map_or(String::new(), |condition| format!(" if {condition}"));
        let _infallible = writeln!(
            out,
            "{tag}{guard} => m.{} = {},",
            field.rust_name,
            read(message, field).replace("nullable_struct", "tagged_nullable_struct")
        );
    }
    out.push_str("_ => return Ok(false),\n}\nOk(true)\n})?;\n");
}

/// The versions of the struct in which it has tagged fields.
pub(super) fn flexible_versions(message: &Message, s: &Struct) -> crate::schema::Versions {
    let mut versions = s.versions;
    versions.min = versions.min.max(message.flexible_min.unwrap_or(versions.min));
    versions
}

/// An expression that reads the field.
fn read(message: &Message, field: &Field) -> String {
    match field.nullable.map(|nullable| condition(nullable, field.versions)) {
        None => read_kind(message, &field.kind, false),
        Some(None) => read_kind(message, &field.kind, true),
        Some(Some(condition)) if field.kind == Kind::Records => {
            format!("Records::decode(r, flex, {condition})?")
        },
        Some(Some(condition)) => format!(
            "if {condition} {{ {} }} else {{ Some({}) }}",
            read_kind(message, &field.kind, true),
            read_kind(message, &field.kind, false)
        ),
    }
}

fn read_kind(message: &Message, kind: &Kind, nullable: bool) -> String {
    let prefix = if nullable { "nullable_" } else { "" };
    match kind {
        Kind::Bool => "r.bool()?".into(),
        Kind::Int8 => "r.i8()?".into(),
        Kind::Int16 => "r.i16()?".into(),
        Kind::Uint16 => "r.u16()?".into(),
        Kind::Int32 => "r.i32()?".into(),
        Kind::Int64 => "r.i64()?".into(),
        Kind::Float64 => "r.f64()?".into(),
        Kind::Uuid => "r.uuid()?".into(),
        Kind::String => format!("r.{prefix}string(flex)?"),
        Kind::Bytes => format!("r.{prefix}bytes(flex)?"),
        Kind::Records => format!("Records::decode(r, flex, {nullable})?"),
        Kind::Struct(_) if nullable => "r.nullable_struct(version)?".into(),
        Kind::Struct(name) => format!("{name}::decode(r, version)?"),
        Kind::Array(element) => {
            let min = element_bytes_min(message, element);
            let read = read_kind(message, element, false);
            let read = read.strip_suffix('?').unwrap_or(&read);
            format!("r.{prefix}array(flex, {min}, |r| {read})?")
        },
    }
}
