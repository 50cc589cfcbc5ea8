//! What follows from a parsed message: in which versions each struct and field can occur.
//!
//! Owns: the narrowing of version ranges, so that the generator emits no condition that always
//! holds, and the proof that every array count can be checked.

use super::{Kind, Message, Problem, Struct, Versions};

/// Narrows all ranges to what can occur, and checks names.
pub(super) fn resolve(message: &mut Message) -> Result<(), Problem> {
    let reached = reached(message)?;
    for (at, found) in message.structs.iter_mut().zip(&reached) {
        at.versions = found.ok_or_else(|| Problem::Struct(at.name.clone()))?;
        narrow_fields(at);
    }
    for s in &message.structs {
        for field in &s.fields {
            if let Kind::Array(element) = &field.kind
                && element_bytes_min(message, element) == 0
            {
                return Err(Problem::Empty(field.name.clone()));
            }
        }
    }
    Ok(())
}

/// For each struct the versions of the message in which something refers to it.
fn reached(message: &Message) -> Result<Vec<Option<Versions>>, Problem> {
    let mut reached: Vec<Option<Versions>> = vec![None; message.structs.len()];
    let mut todo = vec![(0_usize, message.versions)];
    while let Some((index, versions)) = todo.pop() {
        let (Some(seen), Some(s)) = (reached.get_mut(index), message.structs.get(index)) else {
            continue;
        };
        let wider = seen.map_or(versions, |seen| seen.hull(versions));
        if *seen == Some(wider) {
            continue;
        }
        *seen = Some(wider);
        for field in &s.fields {
            let Some(name) = field.kind.struct_name() else { continue };
            let target = message.structs.iter().position(|s| s.name == name);
            let target = target.ok_or_else(|| Problem::Struct(name.to_owned()))?;
            if let Some(versions) = field.versions.and(wider) {
                todo.push((target, versions));
            }
        }
    }
    Ok(reached)
}

/// Narrows the fields of a struct, and drops those that only withdrawn versions had.
fn narrow_fields(s: &mut Struct) {
    let possible = s.versions;
    s.fields.retain(|field| field.versions.and(possible).is_some());
    for field in &mut s.fields {
        field.versions = field.versions.and(possible).unwrap_or(possible);
        field.nullable = field.nullable.and_then(|nullable| nullable.and(field.versions));
    }
}

/// The fewest bytes an element can take in any version.
pub(crate) fn element_bytes_min(message: &Message, element: &Kind) -> usize {
    match element {
        Kind::Bool | Kind::Int8 => 1,
        Kind::Int16 | Kind::Uint16 => 2,
        Kind::Int32 => 4,
        Kind::Int64 | Kind::Float64 => 8,
        Kind::Uuid => 16,
        // The length alone, in its compact form.
        Kind::String | Kind::Bytes | Kind::Records | Kind::Array(_) => {
            if message.is_flexible(message.versions.max) { 1 } else { 2 }
        },
        Kind::Struct(name) => message.find(name).map_or(0, |s| {
            s.versions
                .iter()
                .map(|version| struct_bytes_min(message, s, version))
                .min()
                .unwrap_or(0)
        }),
    }
}

fn struct_bytes_min(message: &Message, s: &Struct, version: i16) -> usize {
    let flexible = message.is_flexible(version);
    let fields = s.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version));
    let sum: usize = fields
        .map(|field| match &field.kind {
            Kind::String if !flexible => 2,
            Kind::Bytes | Kind::Records | Kind::Array(_) if !flexible => 4,
            Kind::Struct(_) if field.nullable.is_some_and(|n| n.contains(version)) => 1,
            Kind::Struct(name) => {
                message.find(name).map_or(0, |inner| struct_bytes_min(message, inner, version))
            },
            kind => element_bytes_min(message, kind),
        })
        .sum();
    sum + usize::from(flexible)
}
