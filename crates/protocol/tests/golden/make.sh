#!/bin/sh
# Writes frames.txt: what kafka-clients 4.4.0 makes of the samples that no other codec has seen.
# Needs a JDK (17 or later) and Maven. All samples are checked on the way.
set -eu
cd "$(dirname "$0")"
work=../../../../target/golden
mkdir -p "$work"
mvn -q -B dependency:copy-dependencies -DoutputDirectory="$PWD/$work/jars"
(cd ../../../.. && cargo codegen samples) > "$work/samples.txt"
# One argument per line of wanted.txt, such as "OffsetCommitRequest 10".
set --
while read -r pair; do set -- "$@" "$pair"; done < wanted.txt
java -cp "$work/jars/*" Golden.java "$@" < "$work/samples.txt" | awk '!seen[$0]++' > frames.txt
